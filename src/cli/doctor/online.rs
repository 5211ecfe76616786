//! What the live service answers, by reads and questions that cost nothing.

use std::collections::BTreeSet;

use super::Check;
use crate::cli::Process;
use crate::cli::layer_access::LayerAccess;
use crate::layer::{
    ApiError, LayerClient, Operation, Order, PathReport, WorkflowRequest, WorkspaceId,
};
use crate::runs::Connect;

/// Operations that start or stop something, which no check may do.
const UNTRIED: [Operation; 4] = [
    Operation::StartWorkflow,
    Operation::WorkflowRun,
    Operation::CancelInference,
    Operation::CancelWorkflowRun,
];

/// The token, the catalogue, GraphQL, and which of the unsettled paths answer.
pub(super) async fn checks(process: &Process) -> Vec<Check> {
    const NAME: &str = "layer";
    let access = LayerAccess::new(process.clone());
    let connection = match access.connect().await {
        Ok(connection) => connection,
        Err(problem) => return vec![Check::failed(NAME, problem.message, problem.next_step)],
    };
    let client = &connection.client;
    let all = match client.workspaces().await {
        Ok(all) => all,
        Err(error) => {
            return vec![Check::failed(NAME, error.message, "See the errors in README.md.")];
        }
    };
    let reached = format!("answers; the token reaches {} workspaces", all.len());
    let mut checks = vec![Check::ok(NAME, reached)];
    let workspace = connection.workspace.or_else(|| all.first().map(|one| one.id.clone()));
    let Some(workspace) = workspace else { return checks };
    checks.push(catalogue(client, &workspace).await);
    checks.push(graphql(client, &workspace).await);
    ask_of_a_workflow(client, &workspace).await;
    checks.push(paths(&client.paths()));
    checks
}

/// Whether models are described in words that this version knows.
async fn catalogue(client: &LayerClient, workspace: &WorkspaceId) -> Check {
    const NAME: &str = "models";
    let models = match client.models(workspace).await {
        Ok(models) => models,
        Err(error) => return unanswered(NAME, &error),
    };
    let Some(first) = models.first() else {
        return Check::warning(NAME, "the workspace has none", "Ask its owner.");
    };
    // Also finds out whether there is such a page.
    let page = client.model_details(workspace, &first.id).await;
    let silent = models.iter().filter(|model| model.capabilities.names().next().is_none()).count();
    let unknown = models.iter().filter(|model| model.modality.is_none()).count();
    let mut differs = BTreeSet::new();
    if unknown > 0 {
        differs.insert(format!("{unknown} make something that this version does not know"));
    }
    if silent > 0 {
        differs.insert(format!("{silent} list no capability"));
    }
    match page {
        Err(error) => {
            differs.insert(format!("a model's own page fails: {}", error.message));
        }
        Ok(page) if page.reference_types.is_empty() && first.takes_references() => {
            differs.insert("a model's page does not say which files it takes".to_owned());
        }
        Ok(_) => {}
    }
    let count = format!("{} models", models.len());
    if differs.is_empty() {
        return Check::ok(NAME, count);
    }
    let differs: Vec<String> = differs.into_iter().collect();
    Check::warning(NAME, format!("{count}; {}", differs.join("; ")), "A newer layer-mcp may know.")
}

async fn graphql(client: &LayerClient, workspace: &WorkspaceId) -> Check {
    const NAME: &str = "graphql";
    match client.plan(workspace).await {
        Ok(plan) => {
            let tier = plan.tier.map_or("it names no plan".to_owned(), |it| format!("plan {it}"));
            let closed = match plan.disabled.as_slice() {
                [] => String::new(),
                some => format!(", closed for {}", some.join(", ")),
            };
            Check::ok(NAME, format!("answers; {tier}{closed}"))
        }
        Err(error) => unanswered(NAME, &error),
    }
}

/// A price for no inputs is mostly refused, and a refusal tells that the path is there.
async fn ask_of_a_workflow(client: &LayerClient, workspace: &WorkspaceId) {
    let Ok(workflows) = client.workflows(workspace, None).await else { return };
    let Some(first) = workflows.first() else { return };
    let _ = client.workflow(workspace, &first.id).await;
    let order = Order::Workflow(WorkflowRequest {
        workflow: first.id.clone(),
        name: first.name.clone(),
        inputs: serde_json::Map::new(),
    });
    let _ = client.estimate(workspace, &order).await;
}

fn paths(reports: &[PathReport]) -> Check {
    const NAME: &str = "paths";
    let tried = reports.iter().filter(|it| !UNTRIED.contains(&it.operation));
    let mut lines = Vec::new();
    let mut missing = false;
    for report in tried {
        let what = in_words(report.operation);
        lines.push(match report.works {
            Some(path) => {
                let end = path.rsplit_once("{workspace}").map_or(path, |(_, end)| end);
                let other = if report.candidates.first() == Some(&path) { "" } else { " (second)" };
                format!("{what}: /{}{other}", end.trim_start_matches('/'))
            }
            None => {
                missing = true;
                format!("{what}: none answered")
            }
        });
    }
    let untried: Vec<&str> = UNTRIED.into_iter().map(in_words).collect();
    lines.push(format!("not tried, because it starts or stops something: {}", untried.join(", ")));
    let message = lines.join("; ");
    if missing {
        return Check::warning(NAME, message, "Usual where the workspace has no workflow.");
    }
    Check::ok(NAME, message)
}

fn in_words(operation: Operation) -> &'static str {
    match operation {
        Operation::Model => "one model",
        Operation::CancelInference => "stop a run",
        Operation::Workflow => "one workflow",
        Operation::EstimateWorkflow => "price of a workflow",
        Operation::StartWorkflow => "run a workflow",
        Operation::WorkflowRun => "look at a workflow's run",
        Operation::CancelWorkflowRun => "stop a workflow's run",
        Operation::GraphQl => "GraphQL",
    }
}

fn unanswered(name: &'static str, error: &ApiError) -> Check {
    Check::warning(name, error.message.clone(), "Images and sounds can be made all the same.")
}
