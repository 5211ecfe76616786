//! The paying workspace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Answer, Call, Entry, Handled, Hints, Toolset, data, parse, spec};
use crate::layer::{CreativeUnits, Plan, Usage};
use crate::runs::ErrorReport;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WorkspaceArgs {
    /// Also the plan, and Creative Units spent by day and by model.
    #[serde(default)]
    usage: bool,
}

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
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_cu: Option<CreativeUnits>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    used_by_day: Vec<Spent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    used_by_model: Vec<Spent>,
    message: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Spent {
    /// A day, or a model.
    name: String,
    cu: CreativeUnits,
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
/// As many days and models as a question about money needs.
const MOST_ROWS: usize = 31;

pub(super) fn get_workspace_info() -> Entry {
    Entry {
        spec: spec::<WorkspaceArgs, WorkspaceAnswer>(
            "get_workspace_info",
            "Workspace and balance",
            "Which workspace pays, its Creative Units, the user's limit and the output folder; with \
             `usage` what was spent on what. For questions about balance, plan or set-up.",
            Hints::READS_LAYER,
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(show(call, arguments)) as Handled<'_>,
    }
}

async fn show(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<WorkspaceArgs>(arguments)?;
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
    let mut plan = Plan::default();
    let mut usage = Usage::default();
    if args.usage {
        (plan, usage) = call.runs.plan_and_usage().await.map_err(|error| error.report())?;
        if let Some(used) = usage.used {
            message.push_str(&format!(" {used} used so far."));
        }
        if usage.unreadable {
            message.push_str(" Layer told more about what was used, in a form not known here.");
        }
    }
    let spent = |rows: Vec<(String, CreativeUnits)>| {
        rows.into_iter().take(MOST_ROWS).map(|(name, cu)| Spent { name, cu }).collect()
    };
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
        plan: plan.tier,
        disabled: args.usage.then_some(plan.disabled),
        used_cu: usage.used,
        used_by_day: spent(usage.by_day),
        used_by_model: spent(usage.by_model),
        message,
    })
}
