//! Styles: what is trained from files of a workspace, the public ones that everybody has, and
//! the model that all of them run on.

use std::sync::LazyLock;

use sqlx::Row;
use uuid::Uuid;

use super::App;
use super::answers::ApiError;
use super::fields::Detail;
use super::models::{Modality, Model, Price};
use super::money::CreativeUnits;
use super::runs::{Column, Kind, NewRun, Outcome, Phase, Run};
use super::state::{Store, Workspace};

/// What a training costs once it is complete; there is no asking for it beforehand.
const TRAINING_PRICE: CreativeUnits = CreativeUnits::from_micros(50_000_000);
const TRAINING_MS: i64 = 8_000;
pub(super) const LEAST_FILES: usize = 4;
const PUBLISHED_MS: i64 = 1_760_000_000_000;

/// What an inference runs on: a model, under its own id or that of a style.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) model: &'static Model,
    pub(super) id: String,
}

/// The model behind every trained style: one that takes the same requests as FLUX.1 dev.
static TRAINED: LazyLock<Option<Model>> = LazyLock::new(|| {
    let price = Price::Output(CreativeUnits::from_micros(800_000));
    Some(Model { price, ..Model::find("flux")?.clone() })
});

/// The public styles: id, name, description, what it is for.
const PUBLIC: &[(&str, &str, &str, &str)] = &[
    (
        "57e1e000-0000-4000-8000-000000000001",
        "Painted Icons",
        "Item icons in thick paint, one to a picture.",
        "ICONS_SYMBOLS",
    ),
    (
        "57e1e000-0000-4000-8000-000000000002",
        "Pixel Heroes",
        "Small characters of large pixels.",
        "CHARACTER_SINGLE",
    ),
    (
        "57e1e000-0000-4000-8000-000000000003",
        "Storybook Backgrounds",
        "Wide landscapes in water colour.",
        "BACKGROUND",
    ),
];

/// One style.
#[derive(Clone, Debug, Default)]
pub(super) struct Style {
    pub(super) id: String,
    /// `None`: it is public.
    pub(super) workspace: Option<String>,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) kind: String,
    pub(super) content_type: String,
    pub(super) visibility: String,
    pub(super) modality: &'static str,
    pub(super) created: i64,
    pub(super) updated: i64,
    pub(super) deleted: bool,
    /// Its training.
    pub(super) run: Option<Run>,
    pub(super) files: Vec<InputFile>,
}

/// One file that a style is trained from.
#[derive(Clone, Debug)]
pub(super) struct InputFile {
    pub(super) file: String,
    pub(super) caption: Option<String>,
    pub(super) caption_type: Option<String>,
}

impl Style {
    pub(super) fn public() -> Vec<Self> {
        let style = |(id, name, description, content_type): &(&str, &str, &str, &str)| Self {
            id: (*id).to_owned(),
            name: (*name).to_owned(),
            description: Some((*description).to_owned()),
            content_type: (*content_type).to_owned(),
            kind: "LAYER_TRAINED_CHECKPOINT".to_owned(),
            visibility: "PUBLIC".to_owned(),
            modality: "IMAGE",
            created: PUBLISHED_MS,
            updated: PUBLISHED_MS,
            ..Self::default()
        };
        PUBLIC.iter().map(style).collect()
    }

    /// A base model as GraphQL sees it.
    fn of_model(model: &Model) -> Self {
        Self {
            id: model.id.to_owned(),
            name: model.name.to_owned(),
            description: Some(model.description.to_owned()),
            content_type: "OTHER".to_owned(),
            kind: "MODEL_URL".to_owned(),
            visibility: "PUBLIC".to_owned(),
            modality: match model.modality {
                Modality::Text => "TEXT",
                Modality::Image => "IMAGE",
                Modality::Video => "VIDEO",
                Modality::ThreeD => "THREE_D",
                Modality::Audio => "AUDIO",
            },
            created: PUBLISHED_MS,
            updated: PUBLISHED_MS,
            ..Self::default()
        }
    }

    /// Public styles and base models are always complete; others are as far as their training.
    pub(super) fn status(&self, now_ms: i64) -> &'static str {
        if self.deleted {
            return "DELETED";
        }
        if self.workspace.is_none() {
            return "COMPLETE";
        }
        match self.run.as_ref().map(|run| run.phase(now_ms)) {
            None => "DRAFT",
            Some(Phase::Running(gone)) if gone < 0.25 => "INITIALIZING",
            Some(Phase::Running(_)) => "BUILDING",
            Some(Phase::Complete) => "COMPLETE",
            Some(Phase::Failed { .. }) => "FAILED",
            Some(Phase::Cancelled) => "CANCELLED",
        }
    }

    /// Why it cannot be trained yet.
    pub(super) fn readiness_errors(&self) -> Vec<String> {
        let count = self.files.len();
        if self.workspace.is_none() || count >= LEAST_FILES {
            return Vec::new();
        }
        vec![format!("At least {LEAST_FILES} input files are needed, there are {count}.")]
    }

    /// The slug in its path: the words of its name, and enough of the id to be the only one.
    pub(super) fn slug(&self) -> String {
        let lower = self.name.to_lowercase();
        let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
        let id: String = self.id.chars().rev().take(6).collect();
        format!("{}-{id}", words.collect::<Vec<_>>().join("-"))
    }

    pub(super) async fn find(app: &App, id: &str) -> Result<Option<Self>, sqlx::Error> {
        if let Some(public) = Self::public().into_iter().find(|style| style.id == id) {
            return Ok(Some(public));
        }
        if let Some(model) = Model::find(id) {
            return Ok(Some(Self::of_model(model)));
        }
        let row = sqlx::query("SELECT * FROM styles WHERE id = ?")
            .bind(id.to_ascii_lowercase())
            .fetch_optional(app.store.pool())
            .await?;
        match row {
            Some(row) => Self::from_row(app, &row).await.map(Some),
            None => Ok(None),
        }
    }

    /// The styles of a workspace that were not deleted, newest first.
    pub(super) async fn own(app: &App, workspace: &str) -> Result<Vec<Self>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT * FROM styles WHERE workspace = ? AND deleted = 0 ORDER BY created DESC, id",
        )
        .bind(workspace)
        .fetch_all(app.store.pool())
        .await?;
        let mut styles = Vec::new();
        for row in &rows {
            styles.push(Self::from_row(app, row).await?);
        }
        Ok(styles)
    }

    async fn from_row(app: &App, row: &sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
        let id: String = row.try_get("id")?;
        let run: Option<String> = row.try_get("run")?;
        let run = match run {
            Some(run) => {
                let now = app.clock.now_ms();
                Run::all(&app.store, Column::Id, &run, now).await?.into_iter().next()
            }
            None => None,
        };
        let files = sqlx::query("SELECT * FROM style_files WHERE style = ? ORDER BY position")
            .bind(&id)
            .fetch_all(app.store.pool())
            .await?;
        let file = |row: &sqlx::sqlite::SqliteRow| {
            Ok(InputFile {
                file: row.try_get("file")?,
                caption: row.try_get("caption")?,
                caption_type: row.try_get("caption_type")?,
            })
        };
        Ok(Self {
            id,
            workspace: row.try_get("workspace")?,
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            kind: row.try_get("kind")?,
            content_type: row.try_get("content_type")?,
            visibility: row.try_get("visibility")?,
            modality: "IMAGE",
            created: row.try_get("created")?,
            updated: row.try_get("updated")?,
            deleted: row.try_get("deleted")?,
            run,
            files: files.iter().map(file).collect::<Result<_, sqlx::Error>>()?,
        })
    }

    /// Keeps a new style, or the changes of a known one.
    pub(super) async fn keep(&self, store: &Store) -> Result<(), sqlx::Error> {
        let mut tx = store.write().await?;
        sqlx::query("INSERT OR REPLACE INTO styles VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(&self.id)
            .bind(self.workspace.as_deref().unwrap_or_default())
            .bind(&self.name)
            .bind(&self.description)
            .bind(&self.kind)
            .bind(&self.content_type)
            .bind(&self.visibility)
            .bind(self.created)
            .bind(self.updated)
            .bind(self.run.as_ref().map(|run| &run.id))
            .bind(self.deleted)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM style_files WHERE style = ?")
            .bind(&self.id)
            .execute(&mut *tx)
            .await?;
        for (position, file) in (0_i64..).zip(&self.files) {
            sqlx::query("INSERT INTO style_files VALUES (?, ?, ?, ?, ?)")
                .bind(&self.id)
                .bind(position)
                .bind(&file.file)
                .bind(&file.caption)
                .bind(&file.caption_type)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await
    }

    /// Starts its training: nothing is held for it, and its price is charged at the end.
    pub(super) async fn train(&mut self, app: &App, workspace: &Workspace) -> Result<(), ApiError> {
        let reasons = self.readiness_errors();
        if !reasons.is_empty() {
            let text = format!("The style is not ready for training: {}", reasons.join(" "));
            return Err(ApiError::bad_request(text));
        }
        super::inferences::refuse_start(app)?;
        if workspace.available() < TRAINING_PRICE {
            return Err(ApiError::insufficient_balance());
        }
        let new = NewRun {
            workspace: workspace.id.clone(),
            kind: Kind::Training,
            subject: self.id.clone(),
            video: false,
            artifacts: Vec::new(),
            normalized: serde_json::Value::Null,
            estimated: CreativeUnits::ZERO,
            price: TRAINING_PRICE,
            lasts_ms: Some(TRAINING_MS),
            poll_ms: 2_000,
            outcome: Outcome::Complete,
            session: None,
        };
        self.run = Some(super::inferences::start(app, new).await?);
        Ok(())
    }

    /// An id for a new one.
    pub(super) fn new_id() -> String {
        Uuid::new_v4().to_string()
    }
}

/// The style of an id as a model (Layer REST reference, execute inference, `model_id`).
pub(super) async fn chosen(app: &App, workspace: &Workspace, id: &str) -> Result<Chosen, ApiError> {
    let style = Style::find(app, id).await?;
    let usable = |style: &Style| {
        !style.deleted && style.workspace.as_ref().is_none_or(|own| *own == workspace.id)
    };
    let not_found = || ApiError::model_not_found(id);
    let style = style.filter(usable).ok_or_else(not_found)?;
    let status = style.status(app.clock.now_ms());
    if status != "COMPLETE" {
        let text = format!("style {id} cannot be used: its status is {status}");
        return Err(Detail::value("model_id", text).into());
    }
    let model = TRAINED.as_ref().ok_or_else(not_found)?;
    Ok(Chosen { model, id: style.id })
}
