//! All clients at a glance.

use std::process::ExitCode;

use serde_json::json;

use super::super::table::{Fit, Row, Table};
use super::super::terminal::Terminal;
use super::super::theme::{Line, Tone};
use super::{file, state};
use crate::connect::entry::in_words;
use crate::connect::{Places, Scope, Site, find};

struct Seen {
    site: Site,
    installed: bool,
    state: &'static str,
    about: String,
}

/// Lists the clients with their files, and says what to do next.
pub(super) fn show(
    places: &Places,
    name: &str,
    as_json: bool,
    terminal: &mut Terminal,
) -> ExitCode {
    let sites = places.sites().into_iter();
    let lines: Vec<Seen> = sites
        // Files of the project that are not there would only make the list longer.
        .filter(|site| site.scope == Scope::User || site.file.exists())
        .map(|site| look_at(places, site, name))
        .collect();
    let wants = lines
        .iter()
        .find(|line| line.installed && matches!(line.state, "not_connected" | "broken"))
        .map(|line| line.site.client.name());
    let next_step = match wants {
        Some(client) => format!("`layer-mcp connect {client}`"),
        None if lines.iter().any(|line| line.state == "connected") => {
            "`layer-mcp doctor` checks the rest.".to_owned()
        }
        None => "`layer-mcp connect CLIENT`, for the one that you use.".to_owned(),
    };
    let shown = if as_json {
        let clients: Vec<_> = lines
            .iter()
            .map(|line| {
                json!({
                    "client": line.site.client.name(),
                    "scope": line.site.scope.name(),
                    "file": line.site.file,
                    "installed": line.installed,
                    "status": line.state,
                    "about": line.about,
                })
            })
            .collect();
        terminal.print_json(&json!({ "clients": clients, "next_step": next_step }))
    } else {
        let fits = [Fit::Whole, Fit::Whole, Fit::Cut(20), Fit::CutFront(20)];
        let mut table = Table::new(fits);
        for line in &lines {
            let (tone, about) = match line.state {
                "connected" => (Tone::Good, "connected".to_owned()),
                "not_connected" if line.installed => (Tone::Plain, "not connected".to_owned()),
                "not_connected" => (Tone::Dim, "not found here".to_owned()),
                _ => (Tone::Warning, line.about.clone()),
            };
            let client = line.site.client;
            let title = match line.site.scope {
                Scope::User => client.title().to_owned(),
                _ => format!("{}, project", client.title()),
            };
            table.push(Row::new([
                (Tone::Plain, title),
                (Tone::Strong, client.name().to_owned()),
                (tone, about),
                (Tone::Plain, line.site.file.display().to_string()),
            ]));
        }
        let mut shown = table.lines(terminal.columns());
        shown.push(Line::new());
        shown.push(
            Line::new().with(Tone::Strong, "next:").with(Tone::Plain, format!(" {next_step}")),
        );
        terminal.print_lines(&shown)
    };
    if shown.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn look_at(places: &Places, site: Site, name: &str) -> Seen {
    let installed = places.trace(site.client).exists();
    let read = file::read(&site.file).map_err(|error| error.to_string()).and_then(|present| {
        let Some(present) = present else { return Ok(None) };
        find(&site, &present.text, name).map_err(|error| error.to_string())
    });
    let (state, about) = match &read {
        Err(why) => ("unreadable", why.clone()),
        Ok(found) => {
            let state = state(found.as_ref());
            let what = found.as_ref().map(in_words).unwrap_or_default();
            let about = match state {
                "broken" => format!("{what} is gone"),
                "other" => format!("`{name}` is {what}"),
                _ => what,
            };
            (state, about)
        }
    };
    Seen { site, installed, state, about }
}
