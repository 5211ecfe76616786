//! What a package brings along for the shell and for `man`: both made from the definition of the
//! command line, so that they can't say anything else than it does.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;

use super::terminal::Terminal;
use crate::mcp::Tools;
use crate::sandbox::Fault;

const NAME: &str = "layer-mcp";

/// `layer-mcp completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Where they belong:
  bash        layer-mcp completions bash > ~/.local/share/bash-completion/completions/layer-mcp
  zsh         layer-mcp completions zsh > DIR/_layer-mcp, for a DIR of your fpath
  fish        layer-mcp completions fish > ~/.config/fish/completions/layer-mcp.fish
  powershell  layer-mcp completions powershell | Out-String | Invoke-Expression
  elvish      eval (layer-mcp completions elvish | slurp)")]
pub(super) struct CompletionsArguments {
    /// The shell that is to complete
    shell: Shell,
}

/// `layer-mcp man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  layer-mcp man | man -l -                          read it at once
  layer-mcp man --out ~/.local/share/man/man1       a page for every command")]
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
    print(&script, terminal)
}

/// Prints the manual page, or writes those of all commands.
pub(super) fn man(
    definition: Command,
    arguments: &ManArguments,
    terminal: &mut Terminal,
) -> ExitCode {
    let Some(folder) = &arguments.out else {
        let mut page = Vec::new();
        return match Man::new(definition).manual(NAME).render(&mut page) {
            Ok(()) => print(&page, terminal),
            Err(_) => ExitCode::FAILURE,
        };
    };
    match pages(definition, folder) {
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

fn pages(definition: Command, folder: &Path) -> io::Result<usize> {
    std::fs::create_dir_all(folder)?;
    let mut definition = definition.disable_help_subcommand(true);
    definition.build();
    let mut open = vec![&definition];
    let mut pages = 0;
    while let Some(command) = open.pop() {
        open.extend(command.get_subcommands().filter(|below| !below.is_hide_set()));
        Man::new(command.clone()).manual(NAME).generate_to(folder)?;
        pages += 1;
    }
    Ok(pages)
}

/// The definition with the values that a shell may offer and that the parser leaves to others,
/// who answer a wrong one in more words.
fn with_values(definition: Command) -> Command {
    definition
        .mut_subcommand("call", |call| {
            call.mut_arg("tool", |tool| {
                tool.value_parser(PossibleValuesParser::new(Tools::names()))
            })
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
