//! The command line.

mod assets;
mod audit;
mod call;
mod connect;
mod credentials;
mod doctor;
mod examples;
mod failure;
mod guard;
mod jobs;
mod layer_access;
mod manual;
mod parent;
mod progress;
mod proof;
mod sandbox;
mod serve;
mod setup;
mod signals;
mod spend;
mod status;
mod table;
pub mod terminal;
pub mod theme;
mod tools;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueHint};

use crate::audit::{AuditTrail, Event};
use crate::config::{Config, Flags, LimitFlags, Surroundings};
use crate::credentials::{CredentialStore, Credentials, StoreError, UnlockOptions};
use crate::log;
use crate::mcp::Toolset;
use crate::redact::{Redactor, cut_foreign_keys};
use crate::runs::{Runs, RunsSettings, SetupProblem};
use crate::sandbox::FaultSpec;
use failure::Form;
use layer_access::LayerAccess;
use terminal::Terminal;
use theme::{ColorWish, Tone, colours};

/// Makes game assets with Layer.ai: an MCP server that your editor or chat client starts, and a
/// command for scripts.
#[derive(Debug, Parser)]
#[command(name = "layer-mcp", version, after_help = examples::ALL)]
struct Arguments {
    /// Without a command: the state as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Settings, for every command")]
struct SettingFlags {
    /// Talk to an offline Layer inside the process: no account, no Creative Units
    #[arg(long, global = true)]
    sandbox: bool,
    /// The `.layer-mcp` folder to use
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    home: Option<PathBuf>,
    /// Where assets may be written
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    output_dir: Option<PathBuf>,
    /// Offer only tools that neither spend nor change anything
    #[arg(long, global = true)]
    read_only: bool,
    /// Which groups of tools clients are offered, as a comma list: default, workflows, history, all
    #[arg(long, global = true, value_name = "LIST", value_parser = Toolset::parse_list)]
    toolsets: Option<std::vec::Vec<Toolset>>,
    /// Use the token stored under this name, such as `staging`
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// Colours: auto, always or never; auto heeds NO_COLOR, CLICOLOR, CLICOLOR_FORCE and FORCE_COLOR
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    color: ColorWish,
    #[command(flatten)]
    limits: LimitArguments,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits in CU, for every command")]
struct LimitArguments {
    /// The most that one purchase may cost
    #[arg(long, global = true, value_name = "CU")]
    budget_run: Option<String>,
    /// The most that this process may spend
    #[arg(long, global = true, value_name = "CU")]
    budget_session: Option<String>,
    /// The most that may be spent in a day
    #[arg(long, global = true, value_name = "CU")]
    budget_day: Option<String>,
    /// The most that may be spent for one project, ever
    #[arg(long, global = true, value_name = "CU")]
    budget_project: Option<String>,
    /// Above this price a purchase needs your consent
    #[arg(long, global = true, value_name = "CU")]
    confirm_above: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the state at a glance, and the next step
    #[command(after_help = examples::STATUS)]
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Serve MCP over standard input and output
    #[command(after_help = examples::SERVE)]
    Serve,
    /// Call one tool and print its result as JSON
    #[command(after_help = examples::CALL)]
    Call {
        /// The tool's name; `layer-mcp tools` lists them
        tool: String,
        /// Its arguments: a JSON object, `@FILE`, or `-` for standard input
        #[arg(allow_hyphen_values = true)]
        arguments: Option<String>,
        /// Return as soon as a job is started
        #[arg(long)]
        no_wait: bool,
    },
    /// List the tools as a client sees them
    #[command(after_help = examples::TOOLS)]
    Tools {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List what was bought, the newest first, with its files
    #[command(after_help = examples::JOBS)]
    Jobs(jobs::JobsArguments),
    /// List the files that jobs made, and whether they are still as they were saved
    #[command(after_help = examples::ASSETS)]
    Assets(assets::AssetsArguments),
    /// Show what was spent, by day, model, asset, project or job, and what is left
    #[command(after_help = examples::SPEND)]
    Spend(spend::SpendArguments),
    /// Write this server into a client's configuration, or take it out again
    #[command(after_help = examples::CONNECT)]
    Connect(connect::ConnectArguments),
    /// Store your Layer.ai token, encrypted
    #[command(after_help = examples::SETUP)]
    Setup(setup::SetupArguments),
    /// Show, replace, relock or erase the stored token
    #[command(subcommand, after_help = examples::CREDENTIALS)]
    Credentials(credentials::CredentialsCommand),
    /// Check settings, store, permissions and clients, and say how to mend what is wrong
    #[command(after_help = examples::DOCTOR)]
    Doctor(doctor::DoctorArguments),
    /// Show the audit trail, or check that it is whole
    #[command(after_help = examples::AUDIT)]
    Audit(audit::AuditArguments),
    /// Run the offline Layer as an HTTPS server on loopback, for tests
    #[command(after_help = examples::SANDBOX)]
    Sandbox {
        /// Port of its API; any free one by default
        #[arg(long)]
        port: Option<u16>,
        /// Misbehave in this way, as `NAME` or `NAME:TIMES`; may be repeated
        #[arg(long, value_name = "NAME", value_parser = parse_fault)]
        fault: Vec<FaultSpec>,
        /// List the faults and what they do
        #[arg(long)]
        list_faults: bool,
        /// Where its state lies; in the home by default
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        state_dir: Option<PathBuf>,
        /// The list of faults as JSON; what a running sandbox prints is JSON always
        #[arg(long)]
        json: bool,
    },
    /// Print a script that makes a shell complete commands, flags and names of tools
    #[command(after_help = examples::COMPLETIONS)]
    Completions(manual::CompletionsArguments),
    /// Print the manual page, or write one for every command
    #[command(after_help = examples::MAN)]
    Man(manual::ManArguments),
}

fn parse_fault(text: &str) -> Result<FaultSpec, String> {
    text.parse().map_err(|error: crate::sandbox::FaultError| error.to_string())
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    if let Some(code) = guard::keep() {
        return code;
    }
    let redactor = Redactor::new();
    let mut terminal = Terminal::system(&redactor);
    let env = |name: &str| std::env::var_os(name);
    let line: Vec<OsString> = std::env::args_os().collect();
    // What is wrong with a line is told in colours, too, or without them.
    let wish = colour_wish(&line);
    terminal.coloured(wish, &env);
    let forced = [false, true].map(|is_terminal| colours(wish, &env, is_terminal));
    let choice = match forced {
        [true, _] => clap::ColorChoice::Always,
        [_, true] => clap::ColorChoice::Auto,
        [_, false] => clap::ColorChoice::Never,
    };
    let parsed = Arguments::command().color(choice).try_get_matches_from(line);
    let arguments = match parsed.and_then(|found| Arguments::from_arg_matches(&found)) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            let plain = error.render().to_string();
            let safe = cut_foreign_keys(&redactor.redact(&plain)).into_owned();
            // Only clap knows whether colours are welcome.
            let _ = if safe == plain { error.print() } else { terminal.note(safe.trim_end()) };
            return ExitCode::from(2);
        }
        // Help and version are no failure.
        Err(error) => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    if arguments.json && arguments.command.is_some() {
        let _ = terminal.tell(Tone::Bad, "error:", "`--json` belongs behind the command");
        return ExitCode::from(2);
    }
    harden();
    #[cfg(all(debug_assertions, unix))]
    if let Some(step) = env("LAYER_MCP_DIE_AT") {
        crate::drill::die_at(step.to_string_lossy().into_owned());
    }
    let SettingFlags { sandbox, home, output_dir, read_only, toolsets, profile, limits, .. } =
        arguments.settings;
    let limits = LimitFlags {
        run: limits.budget_run,
        session: limits.budget_session,
        day: limits.budget_day,
        project: limits.budget_project,
        confirm_above: limits.confirm_above,
    };
    let flags = Flags { sandbox, home, output_dir, read_only, profile, limits };
    let around = Surroundings {
        env: &env,
        all_env: std::env::vars_os().collect(),
        user_home: std::env::home_dir(),
        cwd: std::env::current_dir().ok(),
    };
    let mut config = Config::load(&flags, &around);
    if let Some(Command::Setup(setup)) = &arguments.command
        && let Err(message) = setup.choose_home(&mut config, &around)
    {
        let hint = "`layer-mcp setup` without `--project` stores the token in your home folder";
        let report = failure::free("invalid_argument", &message, hint);
        failure::tell(&report, setup.form(), false, &mut terminal);
        return ExitCode::from(2);
    }
    if let Some(command) = &mut config.unlock.password.command {
        command.kept_by(guard::program());
    }
    let config = Arc::new(config);
    let audit = AuditTrail::new(
        config.audit_dir(),
        config.audit_days,
        redactor.clone(),
        jiff::Timestamp::now,
    );
    let passed_on = proof::passed_on(&around.all_env).into();
    let offered = toolsets.clone().map_or_else(|| [Toolset::Default].into(), Arc::from);
    let user_home = around.user_home.clone();
    let process = Process { config, redactor, audit, toolsets: offered, passed_on, user_home };
    let at_terminal = std::io::stdin().is_terminal();
    let command = match arguments.command {
        None if arguments.json || at_terminal => Command::Status { json: arguments.json },
        None => Command::Serve,
        Some(command) => command,
    };
    if let Command::Connect(arguments) = &command {
        let passed = connect::Passed { flags, toolsets };
        return connect::run(arguments, &passed, &process.config, &around, &mut terminal);
    }
    if let Command::Status { json } = command {
        // Looking leaves nothing behind, so it comes before the log.
        let places = connect::places(&around);
        return status::run(&process, places.as_ref(), Form::of(json), &mut terminal);
    }
    // What a script or person sees at once is the result; the details are in the log file.
    let to_stderr = match (&command, (around.env)(crate::config::names::LOG)) {
        (Command::Serve, _) | (_, Some(_)) => process.config.log.as_str(),
        _ => "error",
    };
    log::start(&process.config.log_dir(), to_stderr, &process.config.log, &process.redactor);
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let said = format!("no threads can be started: {error}");
                let _ = terminal.tell(Tone::Bad, "error:", said);
                return ExitCode::FAILURE;
            }
        };
    let code = match command {
        Command::Status { .. } => ExitCode::SUCCESS,
        Command::Serve => runtime.block_on(serve::serve(process)),
        Command::Call { tool, arguments, no_wait } => runtime.block_on(call::call(
            &process,
            &tool,
            arguments.as_deref(),
            no_wait,
            &mut terminal,
        )),
        Command::Tools { json } => tools::run(&process, json, &mut terminal),
        Command::Jobs(arguments) => {
            runtime.block_on(jobs::run(&process, &arguments, &mut terminal))
        }
        Command::Assets(arguments) => {
            runtime.block_on(assets::run(&process, &arguments, &mut terminal))
        }
        Command::Spend(arguments) => {
            runtime.block_on(spend::run(&process, &arguments, &mut terminal))
        }
        Command::Setup(arguments) => setup::run(&process, arguments, &runtime, &mut terminal),
        Command::Credentials(command) => {
            credentials::run(&process, command, &runtime, &mut terminal)
        }
        Command::Doctor(arguments) => {
            let places = connect::places(&around);
            doctor::run(&process, &arguments, &runtime, places.as_ref(), &mut terminal)
        }
        Command::Audit(arguments) => audit::run(&process, &arguments, &mut terminal),
        // It needs neither logs nor threads, and has ended above.
        Command::Connect(_) => ExitCode::SUCCESS,
        Command::Sandbox { list_faults: true, json, .. } => tools::list_faults(json, &mut terminal),
        Command::Sandbox { port, fault, state_dir, .. } => {
            runtime.block_on(sandbox::run(&process.config, port, fault, state_dir, &mut terminal))
        }
        Command::Completions(arguments) => {
            manual::completions(self::command(), &arguments, &mut terminal)
        }
        Command::Man(arguments) => manual::man(self::command(), &arguments, &mut terminal),
    };
    // A read of stdin that nobody will end must not keep the process.
    runtime.shutdown_background();
    code
}

/// No core dump and no look into this process's memory: it will hold the token.
fn harden() {
    // A debugger is welcome to what a developer builds.
    #[cfg(all(target_os = "linux", not(debug_assertions)))]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    #[cfg(all(unix, not(debug_assertions)))]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

/// What all commands share.
#[derive(Clone)]
struct Process {
    config: Arc<Config>,
    redactor: Redactor,
    audit: AuditTrail,
    /// Which groups of tools clients are offered.
    toolsets: Arc<[Toolset]>,
    /// Variables that a server would have if a client started it.
    passed_on: Arc<[(OsString, OsString)]>,
    user_home: Option<PathBuf>,
}

impl Process {
    /// The credential store of the home.
    fn store(&self) -> CredentialStore {
        CredentialStore::new(self.config.secure_dir()).with_redactor(self.redactor.clone())
    }

    /// Opens the store; from here on the audit trail is sealed with its key.
    fn open_store(&self, unlock: &UnlockOptions) -> Result<Credentials, StoreError> {
        let opened = self.store().load(unlock);
        match &opened {
            Ok(credentials) => {
                self.audit.seal_with(credentials.audit_key().as_bytes());
                self.audit.note(Event::new("auth.unlock").with("outcome", "ok"));
            }
            Err(error) if error.is_absent() => {}
            Err(error) => {
                let name = match error {
                    StoreError::Permissions { .. } => "security.permissions",
                    StoreError::Tampered => "security.tampered",
                    _ => "auth.fail",
                };
                self.audit.note(Event::new(name).with("code", error.code()));
            }
        }
        opened
    }
}

/// The use cases as the settings say.
fn runs(process: &Process) -> Runs {
    let Process { config, redactor, audit, .. } = process.clone();
    let nowhere = || SetupProblem {
        code: "configuration",
        message: "There is no folder to write assets to.".to_owned(),
        next_step: format!(
            "Ask the user to set `{}` to an absolute path.",
            crate::config::names::OUTPUT_DIR
        ),
    };
    Runs::new(RunsSettings {
        journal: config.journal(),
        output_dir: config.output_dir.clone().ok_or_else(nowhere),
        project: config.project(),
        roots: config.output_dir_open.then(|| -> crate::runs::PlaceOfRoot {
            let user_home = process.user_home.clone();
            Box::new(move |root| Config::place_of(root, user_home.as_deref()))
        }),
        limits: config.limits.clone(),
        pace: config.pace,
        same_request: config.same_request,
        now: jiff::Zoned::now,
        redactor,
        audit,
        connect: Box::new(LayerAccess::new(process.clone())),
    })
}

/// What a line says about colours, before anybody understood it.
fn colour_wish(line: &[OsString]) -> ColorWish {
    let words: Vec<&str> = line.iter().filter_map(|word| word.to_str()).collect();
    let said = words.iter().enumerate().find_map(|(index, word)| match *word {
        "--color" => words.get(index + 1).copied(),
        word => word.strip_prefix("--color="),
    });
    match said {
        Some("always") => ColorWish::Always,
        Some("never") => ColorWish::Never,
        _ => ColorWish::Auto,
    }
}

/// The definition of the command line, for whoever writes manuals from it.
pub fn command() -> clap::Command {
    Arguments::command()
}
