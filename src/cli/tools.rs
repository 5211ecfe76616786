//! Lists: of the tools as a client sees them, and of the sandbox's faults.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::Process;
use super::table::{Fit, Row, Table};
use super::terminal::Terminal;
use super::theme::Tone;
use crate::mcp::{Offered, Tools};
use crate::sandbox::Fault;

/// The tools that a client is offered.
pub(super) fn offered(process: &Process) -> Offered {
    Offered { toolsets: process.toolsets.to_vec(), read_only: process.config.read_only }
}

/// Lists the tools.
pub(super) fn run(process: &Process, json: bool, terminal: &mut Terminal) -> ExitCode {
    let runs = super::runs(process);
    let tools = Tools::new(runs, &offered(process), process.redactor.clone());
    let shown = if json {
        let list: Vec<Value> = tools
            .specs()
            .map(|spec| {
                let hints = spec.hints;
                let mut tool = json!({
                    "name": spec.name,
                    "title": spec.title,
                    "description": spec.description,
                    "inputSchema": *spec.input,
                    "annotations": {
                        "readOnlyHint": hints.read_only,
                        "destructiveHint": hints.destructive,
                        "idempotentHint": hints.idempotent,
                        "openWorldHint": hints.open_world,
                    },
                });
                if let (Some(tool), Some(output)) = (tool.as_object_mut(), spec.output.as_deref()) {
                    tool.insert("outputSchema".to_owned(), output.clone().into());
                }
                if let Some(tool) = tool.as_object_mut() {
                    tool.insert("_meta".to_owned(), spec.meta().into());
                }
                tool
            })
            .collect();
        terminal.print_json(&Value::Array(list))
    } else {
        let named = tools.specs().map(|spec| (spec.name.to_string(), spec.description.to_string()));
        terminal.print_lines(&names_and_words(named).lines(terminal.columns()))
    };
    if shown.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lists the ways in which the sandbox misbehaves on request.
pub(super) fn list_faults(json: bool, terminal: &mut Terminal) -> ExitCode {
    let shown = if json {
        let one = |fault: &Fault| json!({ "fault": fault.name(), "does": fault.description() });
        terminal.print_json(&Fault::ALL.iter().map(one).collect())
    } else {
        let one = |fault: &Fault| (fault.to_string(), fault.description().to_string());
        let table = names_and_words(Fault::ALL.iter().map(one));
        terminal.print_lines(&table.lines(terminal.columns()))
    };
    if shown.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn names_and_words(named: impl Iterator<Item = (String, String)>) -> Table {
    let mut table = Table::new([Fit::Whole, Fit::Wrap(30)]);
    for (name, words) in named {
        table.push(Row::new([(Tone::Strong, name), (Tone::Plain, words)]));
    }
    table
}
