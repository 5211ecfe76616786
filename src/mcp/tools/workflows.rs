//! Workflows: what there is, and running one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::consent::buy;
use super::object::FreeObject;
use super::{Answer, Call, Entry, Handled, Hints, Toolset, data, offset, parse, spec};
use crate::files::SaveTo;
use crate::layer::{Workflow, WorkflowInput};
use crate::redact::clean_line;
use crate::runs::{ErrorReport, JobReport, Limit, RunError, WaitSeconds, Wanted, WorkflowWish};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListWorkflowsArgs {
    /// Words in the name or description.
    search: Option<String>,
    /// Default 20.
    limit: Option<Limit>,
    /// next_cursor of the last answer.
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct ListWorkflowsAnswer {
    workflows: Vec<WorkflowLine>,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    message: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct WorkflowLine {
    workflow_id: String,
    name: String,
    description: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

/// So much of a page is put before a model; the rest is on the next one.
const MOST_BYTES: usize = 24_000;

pub(super) fn list_workflows() -> Entry {
    Entry {
        spec: spec::<ListWorkflowsArgs, ListWorkflowsAnswer>(
            "list_workflows",
            "List workflows",
            "Lists the workflows that people built in this workspace, with what each takes and \
             makes. Use it before run_workflow.",
            Hints::READS_LAYER,
        ),
        toolset: Toolset::Workflows,
        handle: |call, arguments| Box::pin(list(call, arguments)) as Handled<'_>,
    }
}

async fn list(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<ListWorkflowsArgs>(arguments)?;
    let limit = args.limit.map_or(20, Limit::get) as usize;
    let skip: usize = offset(args.cursor.as_deref())?;
    let search = args.search.as_deref().map(str::trim).filter(|words| !words.is_empty());
    let all = call.runs.workflows(search).await.map_err(|error| error.report())?;
    let mut room = MOST_BYTES;
    let fits = |line: &WorkflowLine| {
        let bytes = line.inputs.iter().chain(&line.outputs).map(String::len).sum::<usize>();
        let whole = bytes + line.description.len();
        let first = room == MOST_BYTES;
        room = room.saturating_sub(whole);
        first || room > 0
    };
    let page: Vec<WorkflowLine> =
        all.iter().skip(skip).take(limit).map(line).take_while(fits).collect();
    let more = all.len() > skip + page.len();
    let message = match (all.len(), search) {
        (0, None) => "This workspace has no workflows; they are built at app.layer.ai.".to_owned(),
        (0, Some(_)) => "No workflow fits; leave out `search`.".to_owned(),
        (count, _) => format!("{count} workflows."),
    };
    data(&ListWorkflowsAnswer {
        next_cursor: more.then(|| (skip + page.len()).to_string()),
        workflows: page,
        total: all.len(),
        message,
    })
}

fn line(workflow: &Workflow) -> WorkflowLine {
    let output = |(name, words): &(String, String)| match words.as_str() {
        "" => name.clone(),
        words => format!("{name}: {words}"),
    };
    WorkflowLine {
        workflow_id: workflow.id.to_string(),
        name: workflow.name.clone(),
        description: workflow.description.clone(),
        inputs: workflow.inputs.iter().take(40).map(in_words).collect(),
        outputs: workflow.outputs.iter().take(40).map(output).collect(),
    }
}

/// "count (optional, default 4): a whole number from 1 to 12. How many icons the set has."
fn in_words(input: &WorkflowInput) -> String {
    let need = match (&input.default, input.required) {
        (Some(default), _) => {
            format!("optional, default {}", clean_line(&default.to_string(), 60))
        }
        (None, true) => "needed".to_owned(),
        (None, false) => "optional".to_owned(),
    };
    format!("{} ({need}): {}. {}", input.name, input.takes(), input.description)
        .trim_end()
        .to_owned()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunWorkflowArgs {
    /// Id or name from list_workflows.
    #[serde(alias = "workflow_id")]
    workflow: String,
    /// JSON object by input name; files as paths, job ids or file ids.
    #[serde(default)]
    inputs: FreeObject,
    /// File or folder in the output folder.
    save_to: Option<String>,
    /// Longest wait; the job goes on.
    wait_seconds: Option<WaitSeconds>,
    /// Buys the same again; never to retry.
    #[serde(default)]
    variation: bool,
    /// From quote; holds its price.
    quote_id: Option<String>,
}

impl RunWorkflowArgs {
    pub(super) fn wanted(self) -> Result<(Wanted, Option<WaitSeconds>), RunError> {
        let wish = WorkflowWish {
            workflow: self.workflow,
            inputs: self.inputs.0,
            save_to: self.save_to.as_deref().map(SaveTo::parse).transpose()?,
            variation: self.variation,
            quote_id: self.quote_id,
        };
        Ok((Wanted::Workflow(wish), self.wait_seconds))
    }
}

pub(super) fn run_workflow() -> Entry {
    Entry {
        spec: spec::<RunWorkflowArgs, JobReport>(
            "run_workflow",
            "Run workflow",
            "Runs a workflow and saves all that it makes; words come in `texts`. Spends Creative \
             Units. If that takes long, returns status running and a job_id for get_job.",
            Hints::SPENDS,
        ),
        toolset: Toolset::Workflows,
        handle: |call, arguments| Box::pin(run(call, arguments)) as Handled<'_>,
    }
}

async fn run(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let (wanted, wait) =
        parse::<RunWorkflowArgs>(arguments)?.wanted().map_err(|error| error.report())?;
    buy(call, wanted, wait).await
}
