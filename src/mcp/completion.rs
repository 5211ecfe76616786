//! `completion/complete`: what an argument of a prompt, or the variable of a template, may be.
//!
//! Whoever types waits for this at every key, so what can't be told soon is not told at all, and
//! what goes wrong is told by the call that follows.

use std::time::Duration;

use rmcp::model::{CompleteRequestParams, CompletionInfo, ErrorData, Reference};

use super::{prompts, resources};
use crate::layer::StyleFilter;
use crate::runs::Runs;

/// What an argument is completed with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Completes {
    /// Free text.
    Nothing,
    /// Usual values.
    Words(&'static [&'static str]),
    /// Ids of models.
    Model,
    /// Ids of styles.
    Style,
    /// Ids of workspaces.
    Workspace,
    /// Ids of jobs, the newest first.
    Job,
    /// The numbers of the files of the job that was chosen before.
    Number,
    /// Files of the output folder.
    File,
    /// Folders of the output folder.
    Folder,
}

/// So long Layer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many jobs are looked at.
const MOST_JOBS: u32 = 100;

/// The values for a request, best first, at most a hundred.
///
/// # Errors
/// Invalid params for a prompt, a template or an argument that does not exist.
pub(super) async fn complete(
    runs: &Runs,
    request: &CompleteRequestParams,
) -> Result<CompletionInfo, ErrorData> {
    let invalid = |message: &'static str| ErrorData::invalid_params(message, None);
    let name = request.argument.name.as_str();
    let completes = match &request.r#ref {
        Reference::Prompt(asked) => {
            let prompt =
                prompts::find(&asked.name).ok_or_else(|| invalid("there is no such prompt"))?;
            let argument = prompt.arguments.iter().find(|argument| argument.name == name);
            argument.map(|argument| argument.completes)
        }
        Reference::Resource(asked) => {
            let template = resources::template(&asked.uri)
                .ok_or_else(|| invalid("there is no such template"))?;
            template.variables.iter().find(|(variable, _)| *variable == name).map(|(_, it)| *it)
        }
        _ => return Err(invalid("a `ref` is a prompt or a resource template")),
    };
    let completes = completes.ok_or_else(|| invalid("it has no such argument"))?;
    let chosen = request.context.as_ref().and_then(|context| context.get_argument("job_id"));
    let typed = request.argument.value.as_str();
    let found = tokio::time::timeout(PATIENCE, values(runs, completes, typed, chosen));
    let found = found.await.unwrap_or_default();
    let total = u32::try_from(found.len()).ok();
    let more = found.len() > CompletionInfo::MAX_VALUES;
    let shown = found.into_iter().take(CompletionInfo::MAX_VALUES).collect();
    CompletionInfo::with_pagination(shown, total, more)
        .map_err(|error| ErrorData::internal_error(error, None))
}

async fn values(
    runs: &Runs,
    completes: Completes,
    typed: &str,
    chosen: Option<&String>,
) -> Vec<String> {
    match completes {
        Completes::Nothing => Vec::new(),
        Completes::Words(words) => {
            fitting(typed, words.iter().map(|word| ((*word).to_owned(), String::new())))
        }
        Completes::Model => {
            let models = runs.models().await.ok();
            let models = models.iter().flat_map(|models| models.iter());
            fitting(typed, models.map(|model| (model.id.to_string(), model.name.clone())))
        }
        Completes::Style => {
            let filter = StyleFilter { limit: 100, ..StyleFilter::default() };
            let styles = runs.styles(&filter).await.map(|page| page.items).unwrap_or_default();
            fitting(typed, styles.into_iter().map(|style| (style.id.to_string(), style.name)))
        }
        Completes::Workspace => {
            let all = runs.account().await.map(|account| account.all).unwrap_or_default();
            fitting(typed, all.into_iter().map(|it| (it.id.to_string(), it.name)))
        }
        Completes::Job => {
            if !runs.has_journal() {
                return Vec::new();
            }
            let jobs = runs.jobs(None, None, MOST_JOBS, 0).await.unwrap_or_default();
            fitting(
                typed,
                jobs.iter().map(|job| (job.id().to_string(), job.new.order.title().to_owned())),
            )
        }
        Completes::Number => {
            let id = chosen.and_then(|id| id.parse().ok()).filter(|_| runs.has_journal());
            let Some(id) = id else { return Vec::new() };
            let count = runs.known_job(&id).await.map_or(0, |job| job.files.len());
            fitting(typed, (1..=count).map(|number| (number.to_string(), String::new())))
        }
        Completes::File => runs.continuations(typed).await,
        Completes::Folder => {
            let mut all = runs.continuations(typed).await;
            all.retain(|path| path.ends_with('/'));
            all
        }
    }
}

/// The values that begin with what was typed, then those that hold it, in themselves or in what
/// they are called.
fn fitting(typed: &str, values: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let typed = typed.trim().to_lowercase();
    let mut found: Vec<(u8, String)> = values
        .filter_map(|(value, name)| {
            let (lower, name) = (value.to_lowercase(), name.to_lowercase());
            let rank = match () {
                () if lower.starts_with(&typed) => 0,
                () if name.starts_with(&typed) => 1,
                () if lower.contains(&typed) || name.contains(&typed) => 2,
                () => return None,
            };
            Some((rank, value))
        })
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_so_comes_before_what_holds_it() {
        let values = || {
            [("m-2", "Flux Pro"), ("flux-1", "One"), ("m-3", "Red flux"), ("m-4", "Other")]
                .into_iter()
                .map(|(value, name)| (value.to_owned(), name.to_owned()))
        };
        assert_eq!(fitting("FLUX", values()), ["flux-1", "m-2", "m-3"]);
        assert_eq!(fitting("", values()).len(), 4);
        assert!(fitting("nothing", values()).is_empty());
    }
}
