//! What only Layer's GraphQL side has, as use cases: words about pictures, prompts, styles, history,
//! what was spent.

use std::time::Duration;

use super::error::RunError;
use super::references::Found;
use super::{Runs, api};
use crate::journal::{Job, JobId};
use crate::layer::{
    FileId, HistoryPage, NewStyle, PastFile, PastRun, Plan, Session, Style, StyleFilter, StyleId,
    StylePage, Usage,
};
use crate::redact::clean_line;

/// How much is said about a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// The first sentence.
    Basic,
    /// All that Layer says.
    #[default]
    Detailed,
    /// That, and how it was made where this home knows it.
    Comprehensive,
}

/// A picture in words.
#[derive(Clone, Debug)]
pub struct Described {
    /// What it shows.
    pub words: String,
    /// How it was made, where asked for and known: sentences.
    pub made: Option<String>,
    /// The picture at Layer, by which it can be a reference.
    pub file: FileId,
}

/// What a prompt is to be made of.
#[derive(Clone, Debug, Default)]
pub struct PromptWish {
    /// Words to begin with.
    pub base: Option<String>,
    /// What it is for, such as `icon`.
    pub asset_type: Option<String>,
    /// Pictures to go by: paths, jobs, ids.
    pub references: Vec<String>,
}

/// A style to be made.
#[derive(Clone, Debug)]
pub struct NewStyleWish {
    /// The name.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// What it shows, in Layer's word.
    pub content_type: Option<&'static str>,
    /// The pictures that show the look: paths, patterns, jobs, ids.
    pub references: Vec<String>,
    /// Train it at once.
    pub train: bool,
}

/// A file that was just sent may take a moment until it has an address.
const ADDRESS_TRIES: u32 = 5;

impl Runs {
    /// Says what a picture shows.
    pub async fn describe(&self, image: &str, detail: Detail) -> Result<Described, RunError> {
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        let found = self.find_picture("image", image).await?;
        let (file, url) = self.addresses(&[found]).await?.pop().ok_or_else(no_picture)?;
        let said = connection.client.describe(&workspace, &url).await.map_err(api)?;
        let words = match detail {
            Detail::Basic => first_sentence(&said).to_owned(),
            Detail::Detailed | Detail::Comprehensive => said,
        };
        let job = image.trim().split('#').next().unwrap_or_default().parse::<JobId>();
        let made = match (detail, job) {
            (Detail::Comprehensive, Ok(id)) => Some(made(&self.known_job(&id).await?)),
            _ => None,
        };
        Ok(Described { words, made, file })
    }

    /// Makes a prompt; nothing is drawn.
    pub async fn write_prompt(&self, wish: &PromptWish) -> Result<String, RunError> {
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        let found = self.find(&wish.references).await?;
        if let Some(other) = found.iter().find(|one| !one.is_picture()) {
            return Err(RunError::Argument {
                field: "references",
                message: format!("a prompt goes by pictures only, and {} is none", other.key),
            });
        }
        let pictures = self.addresses(&found).await?;
        let hint = wish
            .asset_type
            .as_deref()
            .map(|kind| format!("Write it as the prompt for one game asset of this type: {kind}."));
        let client = &connection.client;
        let written =
            client.write_prompt(&workspace, wish.base.as_deref(), &pictures, hint.as_deref());
        written.await.map_err(api)
    }

    /// The workspace's styles, or those of Layer's public library.
    pub async fn styles(&self, filter: &StyleFilter) -> Result<StylePage, RunError> {
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        connection.client.styles(&workspace, filter).await.map_err(api)
    }

    /// One style.
    pub async fn style(&self, id: &str) -> Result<Style, RunError> {
        let connection = self.connection().await?;
        let asked = || clean_line(id, 80);
        let not_there = || RunError::NotThere { what: "the style", asked: asked() };
        let id: StyleId = id.trim().parse().map_err(|_| not_there())?;
        connection.client.style(&id).await.map_err(api)?.ok_or_else(not_there)
    }

    /// Makes a style as a draft.
    pub async fn create_style(&self, wish: &NewStyleWish) -> Result<Style, RunError> {
        if wish.train {
            return Err(RunError::Unpriced { what: "the training of a style" });
        }
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        let found = self.find(&wish.references).await?;
        if found.iter().any(|one| !one.is_picture()) {
            return Err(RunError::Argument {
                field: "references",
                message: "a style is made of pictures only".to_owned(),
            });
        }
        let files = self.bring(&connection, &workspace, &found).await?;
        let new = NewStyle {
            name: wish.name.clone(),
            description: wish.description.clone(),
            content_type: wish.content_type,
            files,
        };
        connection.client.create_style(&workspace, &new).await.map_err(api)
    }

    /// Runs of the workspace, by whatever program they were started.
    pub async fn past_runs(
        &self,
        limit: u32,
        after: Option<&str>,
    ) -> Result<HistoryPage<PastRun>, RunError> {
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        connection.client.past_runs(&workspace, limit, after).await.map_err(api)
    }

    /// Files of the workspace.
    pub async fn past_files(
        &self,
        limit: u32,
        after: Option<&str>,
    ) -> Result<HistoryPage<PastFile>, RunError> {
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        connection.client.past_files(&workspace, limit, after).await.map_err(api)
    }

    /// Sessions of the workspace.
    pub async fn sessions(
        &self,
        limit: u32,
        after: Option<&str>,
    ) -> Result<HistoryPage<Session>, RunError> {
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        connection.client.sessions(&workspace, limit, after).await.map_err(api)
    }

    /// What the workspace's plan allows, and what was spent by day and by model.
    pub async fn plan_and_usage(&self) -> Result<(Plan, Usage), RunError> {
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        let client = &connection.client;
        let (plan, usage) = tokio::join!(client.plan(&workspace), client.usage(&workspace));
        Ok((plan.map_err(api)?, usage.map_err(api)?))
    }

    /// Brings pictures to Layer, and asks where they lie there.
    async fn addresses(&self, found: &[Found]) -> Result<Vec<(FileId, String)>, RunError> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        let files = self.bring(&connection, &workspace, found).await?;
        for tried in 1..=ADDRESS_TRIES {
            let urls = connection.client.file_addresses(&files).await.map_err(api)?;
            if let Some(urls) = urls.iter().cloned().collect::<Option<Vec<String>>>() {
                return Ok(files.into_iter().zip(urls).collect());
            }
            if tried < ADDRESS_TRIES {
                tokio::time::sleep(Duration::from_millis(400 * u64::from(tried))).await;
            }
        }
        // The next call sends again what may be gone.
        let journal = self.inner.journal().await?;
        let forgotten = journal.forget_uploads(&files.iter().collect::<Vec<_>>()).await;
        forgotten.map_err(RunError::journal)?;
        let asked = files.iter().map(FileId::as_str).collect::<Vec<_>>().join(", ");
        Err(RunError::NotThere { what: "the file", asked })
    }
}

/// How a job's files were made.
fn made(job: &Job) -> String {
    let seed = job.new.order.seed().map(|seed| format!(", seed {seed}")).unwrap_or_default();
    format!(
        "Made with `{}`{seed}, from the prompt: {}",
        job.new.order.subject(),
        clean_line(job.new.order.title(), 600)
    )
}

fn first_sentence(said: &str) -> &str {
    let ends = said.match_indices(['.', '!', '?', '\n']);
    // A point within a number or a name ends no sentence.
    let mut ends = ends.filter(|(at, _)| {
        said.get(at + 1..)
            .is_none_or(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    });
    let end = ends.next().map_or(said.len(), |(at, end)| at + end.len());
    said.get(..end).unwrap_or(said).trim()
}

fn no_picture() -> RunError {
    RunError::Argument { field: "image", message: "there is no picture to describe".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::first_sentence;

    #[test]
    fn the_first_sentence_ends_where_people_end_it() {
        for (said, first) in [
            ("A knight. He waits.", "A knight."),
            ("A 2.5 m tall knight waits! Why?", "A 2.5 m tall knight waits!"),
            ("no end", "no end"),
            ("", ""),
            ("Ein Ritter – groß.\nEr wartet", "Ein Ritter – groß."),
        ] {
            assert_eq!(first_sentence(said), first);
        }
    }
}
