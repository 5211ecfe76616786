//! What a package brings along for the shell and for `man`: both made from the definition of the
//! command line, so that they can't say anything else than it does.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::terminal::Terminal;
use crate::connect::Client;
use crate::mcp::Tools;
use crate::sandbox::Fault;

const NAME: &str = "layer-mcp";

/// `layer-mcp completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArguments {
    /// The shell that is to complete
    shell: Shell,
}

/// `layer-mcp man`.
#[derive(Debug, clap::Args)]
pub(super) struct ManArguments {
    /// Write a page for every command into this folder, which is made; replaces older pages
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
}

/// Prints the completions of a shell.
pub(super) fn completions(
    definition: Command,
    arguments: &CompletionsArguments,
    terminal: &mut Terminal,
) -> ExitCode {
    let mut script = Vec::new();
    let mut definition = with_values(definition);
    clap_complete::generate(arguments.shell, &mut definition, NAME, &mut script);
    if arguments.shell == Shell::Bash {
        // Its generator (4.6.11) calls a command with a hyphen by two names, and finds nothing.
        let text = String::from_utf8_lossy(&script).replace("layer__subcmd__mcp", "layer__mcp");
        script = text.into_bytes();
    }
    if arguments.shell == Shell::Fish {
        // Its generator passes over the values of what has no flag.
        let tools = Tools::names().join(" ");
        let at = "__fish_layer_mcp_using_subcommand call";
        let line = format!("complete -c {NAME} -n \"{at}\" -f -a \"{tools}\"\n");
        script.extend_from_slice(line.as_bytes());
    }
    print(&script, terminal)
}

/// Prints the manual page, or writes those of all commands.
pub(super) fn man(
    definition: Command,
    arguments: &ManArguments,
    terminal: &mut Terminal,
) -> ExitCode {
    // A page for `help` would only repeat the others.
    let mut definition = definition.disable_help_subcommand(true);
    definition.build();
    let Some(folder) = &arguments.out else {
        let mut text = Vec::new();
        return match page(&definition, &mut text) {
            Ok(_) => print(&text, terminal),
            Err(_) => ExitCode::FAILURE,
        };
    };
    match pages(&definition, folder) {
        Ok(pages) => {
            let _ = terminal.note(format!("{pages} pages lie in {}", folder.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let folder = folder.display();
            let _ = terminal.note(format!("error: no pages can be written to {folder}: {error}"));
            let _ = terminal.hint("name a folder that you may write to with `--out`");
            ExitCode::FAILURE
        }
    }
}

fn pages(definition: &Command, folder: &Path) -> io::Result<usize> {
    std::fs::create_dir_all(folder)?;
    let mut open = vec![definition];
    let mut pages = 0;
    while let Some(command) = open.pop() {
        open.extend(command.get_subcommands().filter(|below| !below.is_hide_set()));
        let mut text = Vec::new();
        let name = page(command, &mut text)?;
        std::fs::write(folder.join(name), text)?;
        pages += 1;
    }
    Ok(pages)
}

/// Writes the page of one command, and tells the name of its file.
fn page(command: &Command, out: &mut Vec<u8>) -> io::Result<String> {
    let title = command.get_display_name().unwrap_or(NAME).to_uppercase();
    // No date: it would be another one each time, or wrong. `roff` leaves out what is empty, and
    // everything after it would move up.
    let page = Man::new(command.clone()).title(title).date("\"\"").manual(NAME);
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        page.render_subcommands_section(out)?;
    }
    if let Some(notes) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        notes_section(&notes.to_string()).to_writer(out)?;
    }
    Ok(page.get_filename())
}

/// What stands below the options: paragraphs, and indented lines that are set as they stand.
fn notes_section(text: &str) -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["NOTES"]);
    let mut as_it_stands = false;
    for line in text.lines() {
        if line.starts_with(' ') != as_it_stands {
            as_it_stands = !as_it_stands;
            section.control(if as_it_stands { "nf" } else { "fi" }, []);
        }
        match line {
            "" => section.control("PP", []),
            line => section.text([roman(line)]),
        };
    }
    if as_it_stands {
        section.control("fi", []);
    }
    section
}

/// The definition with the values that a shell may offer and that the parser leaves to others,
/// who answer a wrong one in more words.
fn with_values(definition: Command) -> Command {
    definition
        .mut_subcommand("call", |call| {
            // What is changed is put behind the others, unless its place is told.
            call.mut_arg("arguments", |arguments| arguments.index(2)).mut_arg("tool", |tool| {
                tool.index(1).value_parser(PossibleValuesParser::new(Tools::names()))
            })
        })
        .mut_subcommand("connect", |connect| {
            let names = Client::ALL.map(Client::name);
            connect
                .mut_arg("client", |client| client.value_parser(PossibleValuesParser::new(names)))
        })
        .mut_subcommand("sandbox", |sandbox| {
            let names = Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>();
            sandbox.mut_arg("fault", |fault| fault.value_parser(PossibleValuesParser::new(names)))
        })
}

fn print(text: &[u8], terminal: &mut Terminal) -> ExitCode {
    let text = String::from_utf8_lossy(text);
    match terminal.print(text.trim_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
