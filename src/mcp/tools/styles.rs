//! Styles: models that were trained on pictures of one look.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Answer, Call, Entry, Handled, Hints, Toolset, argument_error, data, parse, spec};
use crate::layer::{Style, StyleFilter};
use crate::runs::{ErrorReport, Limit, NewStyleWish};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListStylesArgs {
    /// Only this one, with all that is known.
    style_id: Option<String>,
    /// Words in the name or description.
    search: Option<String>,
    /// Layer's public library instead of the workspace's own.
    #[serde(default)]
    public: bool,
    /// E.g. complete: only such can be used.
    status: Option<String>,
    /// Default 20.
    limit: Option<Limit>,
    /// next_cursor of the last answer.
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct ListStylesAnswer {
    styles: Vec<StyleLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    message: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct StyleLine {
    style_id: String,
    name: String,
    status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modality: Option<crate::layer::Modality>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_suffix: Option<String>,
}

impl From<Style> for StyleLine {
    fn from(style: Style) -> Self {
        Self {
            style_id: style.id.to_string(),
            name: style.name,
            status: style.status,
            description: style.description,
            kind: style.content_type,
            modality: style.modality,
            missing: style.missing,
            prompt_prefix: style.prompt_prefix,
            prompt_suffix: style.prompt_suffix,
        }
    }
}

pub(super) fn list_styles() -> Entry {
    Entry {
        spec: spec::<ListStylesArgs, ListStylesAnswer>(
            "list_styles",
            "List styles",
            "Lists trained styles of the workspace. Give a style_id as `model` \
             to create_asset. Use it when the user names a style or look.",
            Hints::READS_LAYER,
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(list(call, arguments)) as Handled<'_>,
    }
}

async fn list(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<ListStylesArgs>(arguments)?;
    if let Some(id) = &args.style_id {
        let style = call.runs.style(id).await.map_err(|error| error.report())?;
        let message = match style.status.as_str() {
            "complete" => "Give its style_id as `model` to create_asset.".to_owned(),
            other => format!("It can't be used yet: it is `{other}` at Layer."),
        };
        let styles = vec![StyleLine::from(style)];
        return data(&ListStylesAnswer { styles, total: Some(1), next_cursor: None, message });
    }
    let filter = StyleFilter {
        public: args.public,
        status: args.status.filter(|word| !word.trim().is_empty()),
        limit: args.limit.map_or(20, Limit::get),
        after: args.cursor,
    };
    let page = call.runs.styles(&filter).await.map_err(|error| error.report())?;
    let lower = args.search.as_deref().unwrap_or_default().to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    let on_the_page = page.items.len();
    let fits = |style: &Style| {
        let text = format!("{} {}", style.name, style.description).to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    let styles: Vec<StyleLine> = page.items.into_iter().filter(fits).map(StyleLine::from).collect();
    let more =
        if page.next.is_some() { " There are more: call again with next_cursor." } else { "" };
    let message = match (styles.len(), on_the_page) {
        (0, 0) if args.public => "Layer's library has no such style.".to_owned(),
        (0, 0) => "This workspace has no styles of its own; `public` lists Layer's.".to_owned(),
        (found, all) if found < all => format!("{found} of {all} styles on this page fit.{more}"),
        (found, _) => format!("{found} styles.{more}"),
    };
    data(&ListStylesAnswer { styles, total: page.total, next_cursor: page.next, message })
}

/// What a style shows. The words are Layer's.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum ContentType {
    CharacterSingle,
    CharacterMulti,
    ItemsInGame,
    ItemsEnvironment,
    Vehicles,
    Background,
    UiElements,
    IconsSymbols,
    Other,
}

impl ContentType {
    fn word(self) -> &'static str {
        match self {
            Self::CharacterSingle => "CHARACTER_SINGLE",
            Self::CharacterMulti => "CHARACTER_MULTI",
            Self::ItemsInGame => "ITEMS_IN_GAME",
            Self::ItemsEnvironment => "ITEMS_ENVIRONMENT",
            Self::Vehicles => "VEHICLES",
            Self::Background => "BACKGROUND",
            Self::UiElements => "UI_ELEMENTS",
            Self::IconsSymbols => "ICONS_SYMBOLS",
            Self::Other => "OTHER",
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateStyleArgs {
    /// A name for people.
    name: String,
    /// Pictures of the look: paths (art/*.png), job ids or file ids.
    #[schemars(length(min = 1, max = 20))]
    references: Vec<String>,
    /// What the pictures show.
    kind: Option<ContentType>,
    /// For people.
    description: Option<String>,
    /// Refused, because nobody knows its price; the description says where it is done.
    #[schemars(skip)]
    #[serde(default)]
    train: bool,
}

#[derive(Serialize, JsonSchema)]
struct CreateStyleAnswer {
    style_id: String,
    name: String,
    status: String,
    missing: Vec<String>,
    message: String,
    next_step: String,
}

pub(super) fn create_style() -> Entry {
    Entry {
        spec: spec::<CreateStyleArgs, CreateStyleAnswer>(
            "create_style",
            "Create style",
            "Makes a style from pictures of one look, as a draft: free, and not usable until the \
             user has it trained in Layer's app. Uploads the pictures.",
            Hints { idempotent: false, ..Hints::CHANGES_LAYER },
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(create(call, arguments)) as Handled<'_>,
    }
}

async fn create(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<CreateStyleArgs>(arguments)?;
    let name = crate::redact::clean_line(args.name.trim(), 120);
    if name.is_empty() {
        return Err(argument_error("`name` can't be empty"));
    }
    if args.references.is_empty() {
        return Err(argument_error("`references` names at least one picture"));
    }
    let wish = NewStyleWish {
        name,
        description: args.description.map(|text| crate::redact::clean(&text, 2_000)),
        content_type: args.kind.map(ContentType::word),
        references: args.references,
        train: args.train,
    };
    let style = call.runs.create_style(&wish).await.map_err(|error| error.report())?;
    let next_step = match style.missing.is_empty() {
        true => "Tell the user that they can start its training at app.layer.ai, where they see \
                 what it costs. When list_styles shows it as complete, its style_id works as \
                 `model`."
            .to_owned(),
        false => {
            let missing = style.missing.join("; ");
            format!("Before it can be trained: {}.", missing.trim_end_matches('.'))
        }
    };
    data(&CreateStyleAnswer {
        style_id: style.id.to_string(),
        message: format!(
            "The style `{}` is there as a {}; nothing was trained.",
            style.name, style.status
        ),
        name: style.name,
        status: style.status,
        missing: style.missing,
        next_step,
    })
}
