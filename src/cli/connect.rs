//! Writing this server into the configuration of a client, and taking it out again.

mod file;
mod overview;
mod program;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::terminal::{Prompt, Terminal};
use crate::config::{Config, Flags, Surroundings, names};
use crate::connect::entry::{holds_secret, in_words, is_ours};
use crate::connect::shown::difference;
use crate::connect::{
    Client, EditError, Entry, Format, Os, Outcome, Places, Scope, Site, Wish, find, plan,
};
use crate::mcp::Toolset;
use crate::redact::{Redactor, clean_line};
use file::{FileError, Present};
use program::Call;

/// The name of the entry, unless another one is wanted.
const NAME: &str = "layer";
/// With `mcp__`, `__` and the longest name of a tool, clients allow 64 characters.
const LONGEST_NAME: usize = 32;

#[derive(Debug, clap::Args)]
pub(super) struct ConnectArguments {
    /// claude-desktop, claude-code, cursor, vscode, windsurf, zed, codex or gemini-cli; without
    /// one, all are listed with their files
    client: Option<Client>,
    /// Only show what would change
    #[arg(long)]
    print: bool,
    /// Take the entry out again
    #[arg(long)]
    remove: bool,
    /// Ask nothing, and replace an entry of the same name that is another program's
    #[arg(long)]
    yes: bool,
    /// The client's file in the project around the working directory
    #[arg(long, conflicts_with = "user")]
    project: bool,
    /// The client's file in your home folder, which is the default
    #[arg(long)]
    user: bool,
    /// The entry's name
    #[arg(long, value_name = "NAME", default_value = NAME, value_parser = parse_name)]
    name: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

fn parse_name(name: &str) -> Result<String, String> {
    let good = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_');
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(good) {
        Ok(name.to_owned())
    } else {
        Err(format!("it has 1 to {LONGEST_NAME} letters, digits, `-` and `_`"))
    }
}

/// What the server is to be started with, as it stands on this command line.
pub(super) struct Passed {
    pub(super) flags: Flags,
    pub(super) toolsets: Option<Vec<Toolset>>,
}

impl Passed {
    /// Whether any option for the server stands on the command line.
    fn any(&self) -> bool {
        let Flags { sandbox, home, output_dir, read_only, profile, limits } = &self.flags;
        let paths = [home, output_dir].iter().any(|path| path.is_some());
        let limits =
            [&limits.run, &limits.session, &limits.day, &limits.project, &limits.confirm_above];
        *sandbox
            || *read_only
            || paths
            || profile.is_some()
            || self.toolsets.is_some()
            || limits.iter().any(|limit| limit.is_some())
    }
}

/// The arguments of an entry that starts this program's server, when this program takes them all:
/// what it doesn't know may be a secret in the wrong place.
fn kept_arguments(found: &Value) -> Option<Vec<String>> {
    let words = found.get("args")?.as_array()?;
    let words: Option<Vec<String>> =
        words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
    let takes = |words: &Vec<String>| {
        let line = std::iter::once("layer-mcp").chain(words.iter().map(String::as_str));
        super::command().try_get_matches_from(line).is_ok()
    };
    words.filter(|words| words.iter().any(|word| word == "serve")).filter(takes)
}

/// Why nothing was changed.
enum Refusal {
    /// The command line makes no sense.
    Usage(String),
    /// The file was left alone. A message and what to do.
    Left { message: String, next_step: String },
    /// The person said no.
    Declined,
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Self {
        Self::Left { message: error.to_string(), next_step: error.next_step().to_owned() }
    }
}

/// Runs the command.
pub(super) fn run(
    arguments: &ConnectArguments,
    passed: &Passed,
    config: &Config,
    around: &Surroundings<'_>,
    terminal: &mut Terminal,
) -> ExitCode {
    let Some(places) = places(around) else {
        let message = "there is no home folder that clients' files could lie in";
        let _ = terminal.note(format!("error: {message}"));
        return ExitCode::FAILURE;
    };
    let Some(client) = arguments.client else {
        return overview::show(&places, &arguments.name, arguments.json, terminal);
    };
    let connecting = Connecting { arguments, client, passed, config, around, places };
    match connecting.run(terminal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            let (message, next_step, code) = match refusal {
                Refusal::Usage(message) => (message, String::new(), 2),
                Refusal::Left { message, next_step } => (message, next_step, 1),
                Refusal::Declined => ("nothing was changed".to_owned(), String::new(), 1),
            };
            let _ = terminal.note(format!("error: {}", clean_line(&message, 1000)));
            if !next_step.is_empty() {
                let _ = terminal.hint(&next_step);
            }
            if arguments.json {
                let error =
                    json!({ "status": "error", "message": message, "next_step": next_step });
                let _ = terminal.print(error);
            }
            ExitCode::from(code)
        }
    }
}

/// Where the clients' files lie for this user.
pub(super) fn places(around: &Surroundings<'_>) -> Option<Places> {
    let home = around.user_home.clone().filter(|home| home.is_absolute())?;
    let folder = |name: &str| (around.env)(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let local_app_data = folder("LOCALAPPDATA");
    let packages = local_app_data.as_ref().map(|local| local.join("Packages"));
    let packages = packages.and_then(|packages| std::fs::read_dir(packages).ok());
    let mut packages: Vec<String> = packages
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    packages.sort();
    Some(Places {
        os: Os::here(),
        app_data: folder("APPDATA"),
        local_app_data,
        packages,
        xdg_config_home: folder("XDG_CONFIG_HOME"),
        claude_config_dir: folder("CLAUDE_CONFIG_DIR"),
        codex_home: folder("CODEX_HOME"),
        gemini_cli_home: folder("GEMINI_CLI_HOME"),
        project: around.cwd.as_ref().and_then(|cwd| {
            let mut above = cwd.ancestors().filter(|folder| folder.parent().is_some());
            let repository = above.find(|folder| folder.join(".git").exists());
            let is_project = cwd.parent().is_some() && *cwd != home;
            repository.map(PathBuf::from).or_else(|| is_project.then(|| cwd.clone()))
        }),
        home,
    })
}

struct Connecting<'a> {
    arguments: &'a ConnectArguments,
    client: Client,
    passed: &'a Passed,
    config: &'a Config,
    around: &'a Surroundings<'a>,
    places: Places,
}

impl Connecting<'_> {
    fn run(&self, terminal: &mut Terminal) -> Result<(), Refusal> {
        let ConnectArguments { print, remove, yes, name, json, .. } = self.arguments;
        let program = self.program()?;
        let site = self.site()?;
        // Two that change files at the same moment would each write what it read before.
        let _turn = file::turn(&self.places.home);
        let present = file::read(&site.file)?;
        let text = present.as_ref().map(|present| present.text.as_str());
        let arguments = match text.and_then(|text| find(&site, text, name).ok()?) {
            // Whoever puts a path right keeps limits and folders.
            Some(found) if !self.passed.any() && is_ours(&found) => kept_arguments(&found),
            _ => None,
        };
        let arguments = match arguments {
            Some(arguments) => arguments,
            None => self.server_arguments()?,
        };
        let entry = Entry::new(self.client, &program, &arguments);
        let wish = if *remove { Wish::Remove } else { Wish::Connect(entry.clone()) };
        let earlier = present.as_ref().filter(|_| *remove).map(file::earlier).unwrap_or_default();
        let mut plan = plan(&site, text, &earlier, name, &wish)
            .map_err(|error| self.not_edited(&site, &error, &entry, terminal))?;
        if plan.after.is_none() && is_link(&site.file) {
            // What the link leads to stays there.
            plan.after = Some(if site.format == Format::Json { "{}\n" } else { "" }.to_owned());
        }
        let after = plan.after.as_deref().unwrap_or_default();
        let found = plan.found.clone().unwrap_or_default();
        let (ours, theirs) = (entry.to_json(), program_alone(&found));
        let changes = plan.outcome.changes();
        let shown = if changes {
            difference(site.format, text.unwrap_or_default(), after, &[&ours, &theirs])
        } else {
            String::new()
        };
        let warnings = self.warnings(&site, &found, text, plan.outcome, &program);
        let mut backup = None;
        if *print {
            if !json {
                let _ = terminal.print(self.would(&site, plan.outcome));
                if changes {
                    let _ = terminal.print(&shown);
                }
            }
        } else if changes {
            if !json {
                let _ = terminal.note(format!("{}\n{shown}", site.file.display()));
            }
            self.agreed(&site, plan.outcome, &found, *yes, terminal)?;
            let after = plan.after.as_deref();
            let private = site.scope != Scope::Project;
            let now = jiff::Zoned::now();
            backup = file::replace(&site.file, present.as_ref(), after, private, &now)?;
        }
        for warning in &warnings {
            let _ = terminal.note(format!("note: {warning}"));
        }
        let next_step = self.next_step(&site, plan.outcome);
        if *json {
            let _ = terminal.print(json!({
                "status": match changes && *print {
                    true => format!("would_be_{}", plan.outcome.name()),
                    false => plan.outcome.name().to_owned(),
                },
                "changed": changes && !print,
                "client": self.client.name(),
                "scope": site.scope.name(),
                "file": site.file,
                "name": name,
                "entry": if *remove { Value::Null } else { entry.to_json() },
                "difference": shown,
                "backup": backup,
                "notes": warnings,
                "next_step": next_step,
            }));
            return Ok(());
        }
        if !print {
            let _ = terminal.print(self.did(&site, plan.outcome));
            if changes && plan.after.is_none() {
                let _ = terminal.print("The file held nothing else, and is gone.");
            }
            if let Some(backup) = backup {
                let _ = terminal.print(format!("As it was: {}", backup.display()));
            }
            if !next_step.is_empty() {
                let _ = terminal.print(format!("Next: {next_step}"));
            }
        }
        Ok(())
    }

    /// The path that the client is to start.
    fn program(&self) -> Result<String, Refusal> {
        let running = std::env::current_exe().map_err(|error| Refusal::Left {
            message: format!("this program can't tell where it lies: {error}"),
            next_step: "Add the entry by hand.".to_owned(),
        })?;
        let call = Call {
            word: std::env::args_os().next(),
            search: (self.around.env)("PATH"),
            cwd: self.around.cwd.clone(),
            running,
        };
        unicode(call.stable_path().into_os_string())
    }

    /// What stands behind the program: the options for the server that were given here.
    fn server_arguments(&self) -> Result<Vec<String>, Refusal> {
        let Flags { sandbox, home, output_dir, read_only, profile, limits } = &self.passed.flags;
        let mut words: Vec<String> = Vec::new();
        let amounts = [
            ("--budget-run", names::BUDGET_RUN, &limits.run),
            ("--budget-session", names::BUDGET_SESSION, &limits.session),
            ("--budget-day", names::BUDGET_DAY, &limits.day),
            ("--budget-project", names::BUDGET_PROJECT, &limits.project),
            ("--confirm-above", names::CONFIRM_ABOVE, &limits.confirm_above),
        ];
        let named = [
            ("--home", "--home", home.is_some()),
            ("--output-dir", "--output-dir", output_dir.is_some()),
            ("--profile", names::PROFILE, profile.is_some()),
        ];
        let given = amounts.iter().map(|(flag, setting, value)| (*flag, *setting, value.is_some()));
        for (flag, setting, _) in given.chain(named).filter(|(.., given)| *given) {
            let mut problems = self.config.problems.iter();
            if let Some(problem) = problems.find(|problem| problem.setting == setting) {
                return Err(Refusal::Usage(format!("`{flag}`: {}", problem.message)));
            }
        }
        if *sandbox {
            words.push("--sandbox".to_owned());
        }
        // Absolute: nobody knows in which folder a client starts its servers.
        if home.is_some() {
            words.extend(["--home".to_owned(), unicode(self.config.home.clone().into())?]);
        }
        if let (Some(_), Some(folder)) = (output_dir, &self.config.output_dir) {
            let folder: PathBuf = folder.components().collect();
            words.extend(["--output-dir".to_owned(), unicode(folder.into())?]);
        }
        if *read_only {
            words.push("--read-only".to_owned());
        }
        if let Some(toolsets) = &self.passed.toolsets {
            let list: Vec<_> = toolsets.iter().map(|set| set.as_str()).collect();
            words.extend(["--toolsets".to_owned(), list.join(",")]);
        }
        if let Some(profile) = profile {
            words.extend(["--profile".to_owned(), profile.clone()]);
        }
        for (flag, _, value) in amounts {
            words.extend(value.iter().flat_map(|value| [flag.to_owned(), value.clone()]));
        }
        words.push("serve".to_owned());
        Ok(words)
    }

    /// The file and the place in it.
    fn site(&self) -> Result<Site, Refusal> {
        let (client, title) = (self.client, self.client.title());
        if self.arguments.project {
            return self.places.site(client, Scope::Project).ok_or_else(|| {
                Refusal::Usage(if self.places.project.is_none() {
                    "there is no project here: go into its folder".to_owned()
                } else {
                    format!("{title} has no configuration file in projects; leave `--project` out")
                })
            });
        }
        if !self.arguments.user {
            // Where `claude mcp add` puts an entry, it goes before the user's own.
            let cwd = Places { project: self.around.cwd.clone(), ..self.places.clone() };
            let here = [&self.places, &cwd].map(|places| places.site(client, Scope::Local));
            for site in here.into_iter().flatten() {
                let text = file::read(&site.file)?.map(|present| present.text);
                let found = text.and_then(|text| find(&site, &text, &self.arguments.name).ok()?);
                if found.is_some() {
                    return Ok(site);
                }
            }
        }
        let site = self.places.site(client, Scope::User);
        site.ok_or_else(|| Refusal::Usage(format!("{title} has no configuration file here")))
    }

    /// A file that can't be understood is the user's to change; the entry is shown to be pasted.
    fn not_edited(
        &self,
        site: &Site,
        error: &EditError,
        entry: &Entry,
        terminal: &mut Terminal,
    ) -> Refusal {
        let file = site.file.display();
        let message = format!("`{file}`: {error}; nothing was changed");
        if self.arguments.remove {
            let name = &self.arguments.name;
            let next_step = format!("Take `{name}` out of it by hand.");
            return Refusal::Left { message, next_step };
        }
        let alone = plan(site, None, &[], &self.arguments.name, &Wish::Connect(entry.clone()));
        if let Ok(Some(text)) = alone.map(|plan| plan.after) {
            let _ = terminal.note(format!("The entry:\n{text}"));
        }
        let next_step = "Correct the file and try again, or add the entry by hand.".to_owned();
        Refusal::Left { message, next_step }
    }

    /// Asks where somebody can answer.
    fn agreed(
        &self,
        site: &Site,
        outcome: Outcome,
        found: &Value,
        yes: bool,
        terminal: &mut Terminal,
    ) -> Result<(), Refusal> {
        if yes {
            return Ok(());
        }
        let name = &self.arguments.name;
        let foreign = !found.is_null() && !is_ours(found);
        if foreign && !terminal.can_ask() {
            return Err(Refusal::Left {
                message: format!(
                    "`{name}` in `{}` is {}, not this program, so nothing was changed",
                    site.file.display(),
                    in_words(found)
                ),
                next_step: "`--yes` takes it away all the same; `--name` leaves it and uses \
                            another name."
                    .to_owned(),
            });
        }
        if !terminal.can_ask() {
            // Whoever writes this into a script wants it.
            return Ok(());
        }
        let question = match (outcome, foreign) {
            (_, true) => format!("`{name}` is {} there. Replace that?", in_words(found)),
            (Outcome::Removed, _) => "Take it out?".to_owned(),
            _ => "Write that?".to_owned(),
        };
        terminal.forget_typed_ahead();
        match terminal.confirm(&question, !foreign) {
            Ok(true) => Ok(()),
            _ => Err(Refusal::Declined),
        }
    }

    fn warnings(
        &self,
        site: &Site,
        found: &Value,
        text: Option<&str>,
        outcome: Outcome,
        program: &str,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        let (title, file) = (self.client.title(), site.file.display());
        if holds_secret(found) || text.is_some_and(|text| Redactor::new().holds_secret(text)) {
            notes.push(format!(
                "A TOKEN OR PASSWORD LIES OPEN in `{file}`. Run `layer-mcp setup`, take it out of \
                 the file (and of its backups), and replace it at Layer.ai if others could read it."
            ));
        }
        if self.arguments.remove || !outcome.changes() {
            return notes;
        }
        if program::is_of_a_build(program.as_ref()) {
            notes.push(format!(
                "`{program}` is a build that may go away. `cargo install --path .` installs one \
                 that stays; run `connect` from that."
            ));
        }
        if self.passed.flags.output_dir.is_none() && !self.client.starts_in_project(site.scope) {
            notes.push(format!(
                "{title} does not start servers in your project, so files will land in \
                 `Pictures/Layer`. `--output-dir FOLDER` names another place."
            ));
        }
        if site.scope == Scope::Project {
            notes.push(format!(
                "`{file}` may be shared with others, and `{program}` is a path of this machine."
            ));
        }
        if site.scope == Scope::User && !self.places.trace(self.client).exists() {
            notes.push(format!("{title} seems never to have run here."));
        }
        notes
    }

    fn next_step(&self, site: &Site, outcome: Outcome) -> String {
        let client = self.client.name();
        match outcome {
            Outcome::NotConnected => {
                let project = self.places.site(self.client, Scope::Project);
                let in_project =
                    project.filter(|_| site.scope != Scope::Project).and_then(|site| {
                        let present: Present = file::read(&site.file).ok()??;
                        find(&site, &present.text, &self.arguments.name).ok()?
                    });
                match in_project {
                    Some(_) => format!(
                        "`layer-mcp connect {client} --project --remove`: the \
                                        project's file has an entry."
                    ),
                    None => String::new(),
                }
            }
            Outcome::Removed => format!("Restart {}.", self.client.title()),
            _ => self
                .client
                .next_step(site.scope)
                .replace("`layer`", &format!("`{}`", self.arguments.name)),
        }
    }

    fn did(&self, site: &Site, outcome: Outcome) -> String {
        let (title, file) = (self.client.title(), site.file.display());
        match outcome {
            Outcome::AlreadyConnected => format!("{title} is already connected: {file}"),
            Outcome::Connected => format!("Connected {title}: {file}"),
            Outcome::Updated => format!("Updated the entry for {title}: {file}"),
            Outcome::Replaced => format!("Replaced an entry for {title}: {file}"),
            Outcome::Removed => format!("Disconnected {title}: {file}"),
            Outcome::NotConnected => format!("{title} is not connected: {file}"),
        }
    }

    fn would(&self, site: &Site, outcome: Outcome) -> String {
        if !outcome.changes() {
            return self.did(site, outcome);
        }
        format!("{} would change:", site.file.display())
    }
}

fn is_link(path: &std::path::Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|facts| facts.is_symlink())
}

/// What may be shown of an entry that was found.
fn program_alone(found: &Value) -> Value {
    if !is_ours(found) || holds_secret(found) {
        return Value::Null;
    }
    json!([found.get("command"), found.get("args")])
}

fn unicode(text: OsString) -> Result<String, Refusal> {
    text.into_string().map_err(|text| Refusal::Left {
        message: format!("`{}` is not Unicode text, and clients' files are", text.display()),
        next_step: "Use another path.".to_owned(),
    })
}

/// How an entry that is there stands to this program, in a word for scripts.
fn state(found: Option<&Value>) -> &'static str {
    match found {
        None => "not_connected",
        Some(found) if !is_ours(found) => "other",
        Some(found) => {
            let program = crate::connect::entry::program_of(found).unwrap_or_default();
            let program = std::path::Path::new(program);
            if program.is_absolute() && !program.exists() { "broken" } else { "connected" }
        }
    }
}
