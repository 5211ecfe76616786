//! Workflows: finding one, judging its inputs, running it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::RunError;
use super::prepare::{Files, Prepared};
use super::{Connection, Runs, api};
use crate::files::SaveTo;
use crate::journal::Fingerprint;
use crate::layer::{Modality, Order, Takes, Workflow, WorkflowId, WorkflowRequest, WorkspaceId};
use crate::redact::clean_line;

/// A run of a workflow as a caller asks for it.
#[derive(Clone, Debug)]
pub struct WorkflowWish {
    /// Its id or name.
    pub workflow: String,
    /// Its inputs by name; files as paths, jobs or ids.
    pub inputs: Map<String, Value>,
    /// Where to put the files below the output folder.
    pub save_to: Option<SaveTo>,
    /// Buy a new run although the same was made before.
    pub variation: bool,
    /// A price that was named before and is to be held to.
    pub quote_id: Option<String>,
}

impl Runs {
    /// The workspace's workflows, those that fit the words where there are any.
    pub async fn workflows(&self, search: Option<&str>) -> Result<Vec<Workflow>, RunError> {
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        connection.client.workflows(&workspace, search).await.map_err(api)
    }

    pub(super) async fn prepare_workflow(
        &self,
        wish: &WorkflowWish,
        connection: Arc<Connection>,
        workspace: WorkspaceId,
    ) -> Result<Prepared, RunError> {
        let workflow = find(wish.workflow.trim(), &connection, &workspace).await?;
        let (inputs, named) = judge(&workflow, &wish.inputs)?;
        let mut files = Vec::with_capacity(named.len());
        for (name, is_list, texts) in named {
            let found = self.find(&texts).await?;
            if !is_list && found.len() != 1 {
                let count = found.len();
                return Err(bad_input(format!("`{name}` takes one file; these are {count}")));
            }
            files.push((name, is_list, found));
        }
        let keys: Vec<String> = files
            .iter()
            .flat_map(|(name, _, found)| found.iter().map(move |one| format!("{name} {}", one.key)))
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let name = match workflow.name.trim() {
            "" => workflow.id.to_string(),
            name => name.to_owned(),
        };
        let (request_name, workflow_id) = (name.clone(), workflow.id.clone());
        let order =
            Order::Workflow(WorkflowRequest { workflow: workflow_id, name: request_name, inputs });
        Ok(Prepared {
            fingerprint: Fingerprint::of(&connection.origin, &workspace, &order, &keys),
            connection,
            workspace,
            order,
            files: Files::Inputs(files),
            chosen: format!("Workflow `{name}`."),
            name,
            modality: workflow.modality.unwrap_or(Modality::Text),
        })
    }
}

/// By id, or by a name that only one has.
async fn find(
    asked: &str,
    connection: &Connection,
    workspace: &WorkspaceId,
) -> Result<Workflow, RunError> {
    let all = connection.client.workflows(workspace, None).await.map_err(api)?;
    if let Some(exact) = all.iter().find(|workflow| workflow.id.as_str() == asked) {
        return Ok(exact.clone());
    }
    let lower = asked.to_lowercase();
    let named = |workflow: &&Workflow| workflow.name.trim().to_lowercase() == lower;
    match all.iter().filter(named).collect::<Vec<_>>().as_slice() {
        [one] => return Ok((*one).clone()),
        [] => {}
        several => {
            let ids: Vec<String> = several.iter().map(|one| format!("`{}`", one.id)).collect();
            let ids = ids.join(", ");
            return Err(wrong(format!("several workflows have this name; give an id: {ids}")));
        }
    }
    // One that is not published is in no list.
    if uuid::Uuid::try_parse(asked).is_ok()
        && let Ok(id) = asked.parse::<WorkflowId>()
        && let Some(found) = connection.client.workflow(workspace, &id).await.map_err(api)?
    {
        return Ok(found);
    }
    let names: Vec<String> = all.iter().take(8).map(|one| format!("`{}`", one.name)).collect();
    Err(wrong(match names.as_slice() {
        [] => "this workspace has no workflows".to_owned(),
        some => format!(
            "there is no workflow `{}`; there are {}",
            clean_line(asked, 100),
            some.join(", ")
        ),
    }))
}

/// Files that an input names: its name, whether it takes a list, and what was given.
type Named = (String, bool, Vec<String>);

/// Checks the inputs before anything is paid, and takes out those that name files.
fn judge(
    workflow: &Workflow,
    given: &Map<String, Value>,
) -> Result<(Map<String, Value>, Vec<Named>), RunError> {
    let known = || {
        let names: Vec<String> = workflow
            .inputs
            .iter()
            .map(|input| {
                let need = if input.required && input.default.is_none() { ", needed" } else { "" };
                format!("`{}` ({}{need})", input.name, input.takes())
            })
            .collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join("; ") }
    };
    if let Some(stray) =
        given.keys().find(|name| !workflow.inputs.iter().any(|input| input.name == **name))
    {
        let stray = clean_line(stray, 80);
        return Err(bad_input(format!("it has no input `{stray}`. It takes: {}", known())));
    }
    let (mut inputs, mut files) = (Map::new(), Vec::new());
    for input in &workflow.inputs {
        let value = given.get(&input.name).filter(|value| !value.is_null());
        let Some(value) = value else {
            if input.required && input.default.is_none() {
                let name = &input.name;
                return Err(bad_input(format!("`{name}` is missing. It takes: {}", known())));
            }
            continue;
        };
        let takes = input.takes();
        let value = as_meant(&takes, value);
        takes.check(&value).map_err(|allowed| {
            let shown = clean_line(&value.to_string(), 100);
            bad_input(format!("`{}` takes {allowed}, not {shown}", input.name))
        })?;
        if takes.is_of_files() {
            let is_list = value.is_array();
            let texts = match &value {
                Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
                single => single.as_str().into_iter().collect::<Vec<_>>(),
            };
            let texts = texts.into_iter().map(str::to_owned).collect();
            files.push((input.name.clone(), is_list, texts));
        } else {
            inputs.insert(input.name.clone(), value);
        }
    }
    Ok((inputs, files))
}

/// Models write numbers as text, and a single thing where a list is wanted.
fn as_meant(takes: &Takes, value: &Value) -> Value {
    match (takes, value) {
        (Takes::Number { .. } | Takes::Truth, Value::String(text)) => {
            let read = serde_json::from_str::<Value>(text.trim()).ok();
            read.filter(|read| takes.check(read).is_ok()).unwrap_or_else(|| value.clone())
        }
        (Takes::Several(each, ..), single) if !single.is_array() => {
            Value::Array(vec![as_meant(each, single)])
        }
        (Takes::Several(each, ..), Value::Array(values)) => {
            values.iter().map(|value| as_meant(each, value)).collect()
        }
        _ => value.clone(),
    }
}

fn wrong(message: String) -> RunError {
    RunError::Argument { field: "workflow", message }
}

fn bad_input(message: String) -> RunError {
    RunError::Argument { field: "inputs", message }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::*;
    use crate::layer::WorkflowInput;

    fn input(name: &str, required: bool, kind: &str, schema: Value) -> WorkflowInput {
        WorkflowInput {
            name: name.to_owned(),
            display_name: name.to_owned(),
            description: String::new(),
            kind: kind.to_owned(),
            required,
            default: None,
            schema,
        }
    }

    fn icons() -> Workflow {
        Workflow {
            id: "w".parse().unwrap(),
            name: "Icons".to_owned(),
            description: String::new(),
            inputs: vec![
                input("subject", true, "text", json!({"type": "string"})),
                input("count", false, "number", json!({"type": "integer", "minimum": 1})),
                input(
                    "pictures",
                    false,
                    "image",
                    json!({"type": "array", "items": {"format": "uuid", "type": "string"}}),
                ),
            ],
            outputs: Vec::new(),
            modality: None,
        }
    }

    fn judged(given: Value) -> Result<(Map<String, Value>, Vec<Named>), String> {
        judge(&icons(), given.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn inputs_are_judged_before_anything_is_paid() {
        for (given, words) in [
            (json!({}), "`subject` is missing"),
            (json!({"subject": "sword", "colour": "red"}), "no input `colour`"),
            (json!({"subject": 3}), "`subject` takes text, not 3"),
            (json!({"subject": "s", "count": 0}), "`count` takes a whole number of 1 or more"),
            (json!({"subject": "s", "count": "many"}), "`count` takes"),
            (json!({"subject": "s", "pictures": [1]}), "`pictures` takes"),
        ] {
            let error = judged(given.clone()).unwrap_err();
            assert!(error.contains(words), "{given}: {error}");
        }
    }

    #[test]
    fn what_a_model_writes_is_taken_as_it_is_meant() {
        let (inputs, files) =
            judged(json!({"subject": "s", "count": "4", "pictures": "a.png"})).unwrap();
        assert_eq!(Value::from(inputs), json!({"subject": "s", "count": 4}));
        assert_eq!(files, [("pictures".to_owned(), true, vec!["a.png".to_owned()])]);
    }
}
