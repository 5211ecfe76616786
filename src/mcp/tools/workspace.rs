//! The paying workspace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Answer, Call, Entry, Handled, Hints, data, parse, spec};
use crate::layer::CreativeUnits;
use crate::runs::ErrorReport;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WorkspaceArgs {}

#[derive(Serialize, JsonSchema)]
struct WorkspaceAnswer {
    workspace_id: String,
    name: String,
    balance_cu: CreativeUnits,
    reserved_cu: CreativeUnits,
    available_cu: CreativeUnits,
    confirm_above_cu: CreativeUnits,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dir: Option<String>,
    api: String,
    other_workspaces: Vec<OtherWorkspace>,
    message: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct OtherWorkspace {
    workspace_id: String,
    name: String,
    available_cu: CreativeUnits,
}

/// Answers stay small in an account with hundreds of workspaces.
const MOST_OTHERS: usize = 20;

pub(super) fn get_workspace_info() -> Entry {
    Entry {
        spec: spec::<WorkspaceArgs, WorkspaceAnswer>(
            "get_workspace_info",
            "Workspace and balance",
            "Shows which workspace pays, its Creative Units, the user's spending limit, and the \
             folder that files go to. Use it for questions about balance or set-up.",
            Hints::READS_LAYER,
        ),
        handle: |call, arguments| Box::pin(show(call, arguments)) as Handled<'_>,
    }
}

async fn show(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let WorkspaceArgs {} = parse(arguments)?;
    let account = call.runs.account().await.map_err(|error| error.report())?;
    let mine = &account.workspace;
    let others = account.all.iter().filter(|workspace| workspace.id != mine.id);
    let output_dir = call.runs.output_dir();
    let mut message = format!(
        "{} has {} to spend ({} balance, {} reserved).",
        if mine.name.is_empty() { mine.id.as_str() } else { &mine.name },
        mine.available,
        mine.balance,
        mine.reserved
    );
    if account.origin == crate::runs::SANDBOX_ORIGIN {
        message.push_str(" This is the offline sandbox: nothing is real, nothing is charged.");
    }
    data(&WorkspaceAnswer {
        workspace_id: mine.id.to_string(),
        name: mine.name.clone(),
        balance_cu: mine.balance,
        reserved_cu: mine.reserved,
        available_cu: mine.available,
        confirm_above_cu: call.runs.limits().confirm_above,
        output_dir: output_dir.ok().map(|path| path.display().to_string()),
        api: account.origin,
        other_workspaces: others
            .take(MOST_OTHERS)
            .map(|workspace| OtherWorkspace {
                workspace_id: workspace.id.to_string(),
                name: workspace.name.clone(),
                available_cu: workspace.available,
            })
            .collect(),
        message,
    })
}
