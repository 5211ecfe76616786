//! The first run: token, workspace, encrypted store.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::runtime::Runtime;
use url::Url;
use zeroize::Zeroizing;

use super::Process;
use super::failure::{self, Form};
use super::layer_access::{configuration_problem, settings, unusable};
use super::proof::opens_without_a_terminal;
use super::terminal::{Prompt, PromptError, Terminal};
use super::theme::Tone;
use crate::audit::Event;
use crate::config::{Config, Profile, ProjectHome, Surroundings, names, project};
use crate::credentials::{
    ApiToken, AuditKey, CredentialStore, Credentials, NewPassword, NewUnlock, StoreError,
    UnlockError, UnlockSource,
};
use crate::layer::{ApiErrorKind, LayerClient, Workspace};
use crate::redact::is_secret;
use crate::runs::{ErrorReport, RunError};

/// What can be answered beforehand. The token never: a command line can be read by everybody on
/// the machine.
#[derive(Debug, clap::Args)]
pub(super) struct SetupArguments {
    /// The workspace that pays: its id, slug or name
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// What unlocks the store: `device` (a key outside of it), `password`, or `keyring` (the
    /// system's)
    #[arg(long, value_name = "SOURCE", default_value = "device", value_parser = ["device", "password", "keyring"])]
    unlock: String,
    /// Read the token from this file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Replace what is stored, and ask nothing
    #[arg(long)]
    yes: bool,
    /// Make no call to Layer; needs `--workspace`
    #[arg(long)]
    offline: bool,
    /// Store it in `.layer-mcp` of this project instead of your home folder, and trust that folder
    #[arg(long)]
    project: bool,
    /// Accept a token with hyphens
    #[arg(long)]
    allow_hyphen: bool,
    /// Tell the result as JSON
    #[arg(long)]
    json: bool,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    token: Option<String>,
}

impl SetupArguments {
    /// The answers for a new token under the old workspace and unlock source.
    pub(super) fn for_rotation(
        token_file: Option<PathBuf>,
        offline: bool,
        allow_hyphen: bool,
        yes: bool,
    ) -> Self {
        let unlock = UnlockSource::Device.name().to_owned();
        let (workspace, project, token, json) = (None, false, None, false);
        Self { workspace, unlock, token_file, yes, offline, project, allow_hyphen, json, token }
    }

    /// With `--project`, turns the settings to the home of the project around the working
    /// directory. Without it, a project's home that is not trusted stays untouched.
    ///
    /// # Errors
    ///
    /// Why there can't be such a home.
    pub(super) fn choose_home(
        &self,
        config: &mut Config,
        around: &Surroundings<'_>,
    ) -> Result<(), String> {
        if !self.project {
            return Ok(());
        }
        if cfg!(not(unix)) {
            return Err("`--project` is not there on this system: a folder's owner can't be told"
                .to_owned());
        }
        let place =
            around.cwd.as_deref().and_then(|cwd| project::place(cwd, around.user_home.as_deref()));
        let home = place.ok_or("no project can be here: change into its folder first")?;
        config.project_home = Some(ProjectHome { home: home.clone(), trusted: true });
        match project::link_on_the_way(&home, &config.secure_dir()) {
            Some(link) => Err(format!("`{}` is a link; remove it first", link.display())),
            None => Ok(()),
        }
    }

    /// How the result is told.
    pub(super) fn form(&self) -> Form {
        Form::of(self.json)
    }

    /// Names the workspace that the token must reach.
    pub(super) fn keep_workspace(&mut self, id: &str) {
        self.workspace = Some(id.to_owned());
    }
}

/// Why the set-up, or a change of what it stored, did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    #[error("{0}")]
    Usage(String),
    #[error("{message}")]
    Setup { code: &'static str, message: String, hint: String },
    #[error("{message}")]
    Layer { code: &'static str, message: String, hint: String },
    #[error("{0}")]
    Prompt(#[from] PromptError),
}

impl SetupError {
    /// Something about settings or credentials, with what to do about it.
    pub(super) fn setup(
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::Setup { code, message: message.into(), hint: hint.into() }
    }

    /// Something was asked and got no answer, or a no.
    pub(super) fn unanswered(message: &str, hint: &str) -> Self {
        Self::Setup { code: "unanswered", message: message.to_owned(), hint: hint.to_owned() }
    }

    /// The store could not be opened or written.
    pub(super) fn store(message: impl Into<String>, error: &StoreError) -> Self {
        Self::setup(error.code(), message, error.next_step())
    }

    pub(super) fn token_as_flag() -> Self {
        Self::Usage(
            "a token is never given as a flag, because everybody on this machine can read command \
             lines: revoke that one if it is real. Pipe a token in, or use `--token-file` or a \
             terminal"
                .to_owned(),
        )
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => "invalid_argument",
            Self::Setup { code, .. } | Self::Layer { code, .. } => code,
            Self::Prompt(_) => "unanswered",
        }
    }

    fn report(&self) -> ErrorReport {
        let hint = match self {
            Self::Usage(_) => "`layer-mcp help` with the command's name shows what it takes",
            Self::Setup { hint, .. } | Self::Layer { hint, .. } => hint,
            Self::Prompt(_) => "run it again in a terminal; `--help` lists what can be said before",
        };
        failure::free(self.code(), &self.to_string(), hint)
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Layer { .. } => 1,
            Self::Usage(_) => 2,
            Self::Setup { .. } | Self::Prompt(_) => 3,
        }
    }
}

/// Sets up the store, asking for what the arguments leave open.
pub(super) fn run(
    process: &Process,
    arguments: SetupArguments,
    runtime: &Runtime,
    terminal: &mut Terminal,
) -> ExitCode {
    let form = arguments.form();
    let setup = Setup { process, arguments, runtime };
    match setup.run(terminal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error, form, terminal),
    }
}

/// Tells the error and what to do next; gives the exit code.
pub(super) fn report(error: &SetupError, form: Form, terminal: &mut Terminal) -> ExitCode {
    if let SetupError::Prompt(PromptError::Io(error)) = error
        && error.kind() == std::io::ErrorKind::BrokenPipe
    {
        // Who reads only the first lines has seen what they wanted.
        return ExitCode::FAILURE;
    }
    failure::tell(&error.report(), form, false, terminal);
    ExitCode::from(error.exit_code())
}

pub(super) struct Setup<'a> {
    pub(super) process: &'a Process,
    pub(super) arguments: SetupArguments,
    pub(super) runtime: &'a Runtime,
}

const WHERE_TOKENS_COME_FROM: &str =
    "create a token at app.layer.ai, Settings, Personal Access Tokens";

impl Setup<'_> {
    fn run(&self, terminal: &mut Terminal) -> Result<(), SetupError> {
        if self.arguments.token.is_some() {
            return Err(SetupError::token_as_flag());
        }
        if self.arguments.workspace.as_deref().is_some_and(is_secret) {
            return Err(SetupError::Usage(
                "`--workspace` names a workspace, and this is a token or key. It is on the command \
                 line now, which others can read: revoke it"
                    .to_owned(),
            ));
        }
        self.refuse_settings()?;
        let source: UnlockSource = self
            .arguments
            .unlock
            .parse()
            .map_err(|_| SetupError::Usage(UnlockError::Unknown.to_string()))?;
        let store = self.process.store();
        let seen = store.seen();
        self.may_replace(&store, terminal)?;
        let secret = self.token(terminal)?;
        self.process.redactor.register(secret.expose_secret());
        let workspace = self.workspace(&secret, terminal)?;
        let unlock = self.unlock(source, terminal)?;
        let credentials = self.credentials(&secret, &workspace.id)?;
        let hint = credentials.token().hint();
        let stored = |error: StoreError| {
            let message = match error {
                StoreError::Unfinished(_) => error.to_string(),
                _ => format!("nothing was stored: {error}"),
            };
            SetupError::store(message, &error)
        };
        store.replace(seen, &credentials, &unlock).map_err(stored)?;
        self.trust_project(terminal)?;
        let event = Event::new("auth.stored").with("unlock", source.name());
        self.process.audit.note(event.with("checked", !self.arguments.offline));
        self.summary(&store, &hint, &workspace, source, terminal)
            .map_err(|error| SetupError::Prompt(error.into()))?;
        self.name_token_file(terminal);
        Ok(())
    }

    /// The store protects nothing that lies beside it in the clear.
    pub(super) fn name_token_file(&self, terminal: &mut Terminal) {
        if let Some(path) = &self.arguments.token_file {
            let path = path.display();
            let _ = terminal.hint(format!("the token still lies in `{path}`: delete that file"));
        }
    }

    /// Refuses to work with the sandbox or with settings that can't be used.
    pub(super) fn refuse_settings(&self) -> Result<(), SetupError> {
        if self.process.config.sandbox {
            return Err(SetupError::Usage("the sandbox needs no token".to_owned()));
        }
        match configuration_problem(&self.process.config) {
            Some(problem) => {
                Err(SetupError::setup(problem.code, problem.message, problem.next_step))
            }
            None => Ok(()),
        }
    }

    /// From now on the project's home counts, for this user and this very folder.
    fn trust_project(&self, terminal: &mut Terminal) -> Result<(), SetupError> {
        let config = &self.process.config;
        let Some(found) = config.project_home.as_ref().filter(|_| self.arguments.project) else {
            return Ok(());
        };
        let list = project::list_beside(&config.unlock.device_key);
        let new = project::trust(&found.home, &list).map_err(|error| {
            SetupError::setup(
                "configuration",
                format!("the project's home can't be trusted: {}: {error}", list.display()),
                "correct that folder's permissions and run `layer-mcp setup --project` again",
            )
        })?;
        let settings = found.home.join("config.toml");
        if new && settings.exists() {
            let said = format!(
                "`{}` was there before and counts from now on: see what it sets",
                settings.display()
            );
            let _ = terminal.tell(Tone::Warning, "warning:", said);
        }
        Ok(())
    }

    fn may_replace(
        &self,
        store: &CredentialStore,
        terminal: &mut Terminal,
    ) -> Result<(), SetupError> {
        let there = store.exists().map_err(|error| SetupError::store(error.to_string(), &error))?;
        if !there || self.arguments.yes {
            return Ok(());
        }
        if !terminal.can_ask() {
            let (message, hint) = ("a token is stored already", "`--yes` replaces it");
            return Err(SetupError::unanswered(message, hint));
        }
        if terminal.confirm("A token is stored already. Replace it?", false)? {
            Ok(())
        } else {
            let (message, hint) = ("nothing was changed", "the stored token stays in use");
            Err(SetupError::unanswered(message, hint))
        }
    }

    pub(super) fn token(&self, terminal: &mut Terminal) -> Result<SecretString, SetupError> {
        let secret = if let Some(path) = &self.arguments.token_file {
            let text = read_token_file(path).map_err(|error| {
                let what = format!("`{}` can't be read: {error}", path.display());
                SetupError::setup("credentials_missing", what, WHERE_TOKENS_COME_FROM)
            })?;
            SecretString::from(text.trim())
        } else if terminal.can_ask() && !self.arguments.yes {
            return self.ask_for_token(terminal);
        } else {
            match (terminal.piped_secret(), &self.process.config.token) {
                (Ok(piped), _) if !piped.expose_secret().is_empty() => piped,
                // What can't be used must not lead to another token.
                (Err(error @ (PromptError::TooLong | PromptError::NotText)), _) => {
                    return Err(error.into());
                }
                (_, Some(token)) => SecretString::from(token.expose_secret().trim()),
                _ => {
                    return Err(SetupError::setup(
                        "credentials_missing",
                        "no token was given",
                        format!(
                            "{WHERE_TOKENS_COME_FROM}, then pipe it in, use `--token-file`, or \
                             run `layer-mcp setup` in a terminal"
                        ),
                    ));
                }
            }
        };
        self.judge(&secret)?;
        Ok(secret)
    }

    fn ask_for_token(&self, terminal: &mut Terminal) -> Result<SecretString, SetupError> {
        let _ = terminal.note(format!("To begin, {WHERE_TOKENS_COME_FROM}."));
        let mut tries = 0;
        loop {
            let secret = terminal.secret("Paste it here (it will not be shown):")?;
            tries += 1;
            match self.judge(&secret) {
                Ok(()) => return Ok(secret),
                Err(error) if tries >= 3 => return Err(error),
                Err(error) => {
                    let _ = terminal.note(error);
                }
            }
        }
    }

    fn judge(&self, secret: &SecretString) -> Result<(), SetupError> {
        self.parse(secret).map(drop)
    }

    pub(super) fn parse(&self, secret: &SecretString) -> Result<ApiToken, SetupError> {
        let text = secret.expose_secret();
        let parsed = if self.arguments.allow_hyphen {
            ApiToken::parse_allowing_hyphen(text)
        } else {
            ApiToken::parse(text)
        };
        parsed.map_err(|error| {
            let message = format!("this is no Layer.ai token: {error}");
            SetupError::setup("configuration", message, WHERE_TOKENS_COME_FROM)
        })
    }

    /// The paying workspace: one cheap call tells whether the token works and what it reaches.
    pub(super) fn workspace(
        &self,
        secret: &SecretString,
        terminal: &mut Terminal,
    ) -> Result<Chosen, SetupError> {
        let named = self
            .arguments
            .workspace
            .clone()
            .or_else(|| self.process.config.workspace.as_ref().map(ToString::to_string));
        if self.arguments.offline {
            let id = named.ok_or_else(|| {
                SetupError::Usage(format!(
                    "`--offline` can't look up workspaces: give `--workspace` or `{}`",
                    names::WORKSPACE
                ))
            })?;
            return Ok(Chosen { id, name: String::new() });
        }
        let all = self.workspaces(secret)?;
        if let Some(named) = named {
            let found = all.iter().find(|workspace| {
                workspace.id.as_str() == named || workspace.slug == named || workspace.name == named
            });
            return found.map(Chosen::of).ok_or_else(|| {
                SetupError::setup(
                    "workspace_missing",
                    "the token does not reach the workspace that was named",
                    format!("it reaches {}", listed(&all)),
                )
            });
        }
        match all.as_slice() {
            [] => Err(SetupError::setup(
                "workspace_missing",
                "the token works, but its user has no workspace",
                "create one at app.layer.ai",
            )),
            [one] => Ok(Chosen::of(one)),
            many if terminal.can_ask() && !self.arguments.yes => {
                let items: Vec<String> = many
                    .iter()
                    .map(|workspace| {
                        format!("{} ({} available)", workspace.name, workspace.available)
                    })
                    .collect();
                let index = terminal.choose("Which workspace pays?", &items, Some(0))?;
                many.get(index)
                    .map(Chosen::of)
                    .ok_or_else(|| SetupError::Usage("no workspace was chosen".to_owned()))
            }
            many => Err(SetupError::setup(
                "workspace_missing",
                "the token reaches several workspaces",
                format!("choose one with `--workspace`: {}", listed(many)),
            )),
        }
    }

    fn workspaces(&self, secret: &SecretString) -> Result<Vec<Workspace>, SetupError> {
        let token = self.parse(secret)?;
        let problem = |problem: crate::runs::SetupProblem| {
            SetupError::setup(problem.code, problem.message, problem.next_step)
        };
        let asked = self.runtime.block_on(async {
            let settings = settings(self.process).await.map_err(problem)?;
            let client = LayerClient::new(settings, token).map_err(unusable).map_err(problem)?;
            Ok::<_, SetupError>(client.workspaces().await)
        })?;
        asked.map_err(|error| match error.kind {
            ApiErrorKind::Unauthenticated => SetupError::setup(
                "unauthenticated",
                "Layer.ai does not accept this token: it is wrong, expired or revoked",
                WHERE_TOKENS_COME_FROM,
            ),
            _ => SetupError::Layer {
                code: RunError::Layer { source: error.clone() }.report().code,
                message: format!(
                    "Layer.ai could not be asked: {}",
                    self.process.redactor.redact(&error.message)
                ),
                hint: "try again, or store the token without asking with `--offline`".to_owned(),
            },
        })
    }

    fn unlock(
        &self,
        source: UnlockSource,
        terminal: &mut Terminal,
    ) -> Result<NewUnlock, SetupError> {
        match source {
            UnlockSource::Device => {
                return Ok(NewUnlock::Device(self.process.config.unlock.device_key.clone()));
            }
            UnlockSource::Keyring => return Ok(NewUnlock::Keyring),
            UnlockSource::Password => {}
        }
        let given = self
            .process
            .config
            .unlock
            .password
            .new_password()
            .map_err(|error| SetupError::store(error.to_string(), &error))?;
        let password = match given {
            Some(password) => password.map_err(|error| SetupError::Usage(error.to_string()))?,
            None if terminal.can_ask() && !self.arguments.yes => ask_for_password(terminal)?,
            None => {
                return Err(SetupError::Usage(format!(
                    "`--unlock password` needs a password: set one of `{}`, `{}` and `{}`, or run \
                     `layer-mcp setup` in a terminal",
                    names::PASSWORD,
                    names::PASSWORD_FILE,
                    names::PASSWORD_COMMAND
                )));
            }
        };
        Ok(NewUnlock::Password(password))
    }

    fn credentials(
        &self,
        secret: &SecretString,
        workspace: &str,
    ) -> Result<Credentials, SetupError> {
        let refused = |error: crate::credentials::InvalidCredentials| {
            let message = format!("nothing was stored: {error}");
            SetupError::setup("configuration", message, "correct it and run again")
        };
        let origin = Url::parse(&self.process.config.api_base.origin())
            .map_err(|_| SetupError::Usage("the API's address has no origin".to_owned()))?;
        let now = jiff::Timestamp::now();
        let token = self.parse(secret)?;
        let key = match self.process.open_store(&self.process.config.unlock) {
            // The trail so far stays verifiable.
            Ok(old) => old.into_audit_key(),
            Err(_) => {
                let key = AuditKey::generate().map_err(refused)?;
                self.process.audit.seal_with_new(key.as_bytes());
                key
            }
        };
        Credentials::new(token, workspace, &origin, now, key).map_err(refused)
    }

    fn summary(
        &self,
        store: &CredentialStore,
        hint: &str,
        workspace: &Chosen,
        source: UnlockSource,
        terminal: &mut Terminal,
    ) -> std::io::Result<()> {
        let name = crate::redact::clean_line(&workspace.name, 200);
        let proof = opens_without_a_terminal(self.process);
        if self.arguments.json {
            let config = &self.process.config;
            terminal.print_json(&json!({
                "token": format!("{hint}…"),
                "folder": store.folder(),
                "profile": config.profile.as_ref().map(Profile::as_str),
                "workspace_id": workspace.id,
                "workspace": Some(name).filter(|name| !name.is_empty()),
                "api_origin": config.api_base.origin(),
                "unlock": source.name(),
                "checked": !self.arguments.offline,
                "opens_for_clients": proof.is_ok(),
            }))?;
        } else {
            let name = match name.as_str() {
                "" => workspace.id.clone(),
                name => format!("{name} ({})", workspace.id),
            };
            let mut lines = vec![
                format!("Stored the token {hint}… in {}.", store.folder().display()),
                format!("Workspace: {name}."),
            ];
            if cfg!(unix) {
                let modes = "Its folder has mode 0700 and its files 0600: for you alone.";
                lines.push(modes.to_owned());
            }
            lines.push(self.what_is_protected(source));
            if proof.is_ok() {
                lines.push(
                    "Tried: a server that a client starts can open it. Next: `layer-mcp connect` \
                     connects your client; `layer-mcp doctor` checks everything."
                        .to_owned(),
                );
            }
            terminal.print_wrapped(&lines)?;
        }
        let Err(why) = proof else { return Ok(()) };
        let said = format!("a server that a client starts can't open it yet: {why}");
        terminal.tell(Tone::Warning, "warning:", said)?;
        let settings = self.process.config.home.join("config.toml");
        terminal.hint(match source {
            UnlockSource::Keyring => "clients pass on few variables: put \
                                      `DBUS_SESSION_BUS_ADDRESS`, with its value of now, into the \
                                      client's own settings"
                .to_owned(),
            _ => format!(
                "clients pass on few variables: put `password_file` or `device_key` into `{}`, or \
                 the variable into the client's own settings",
                settings.display()
            ),
        })
    }

    /// From whom the store is safe, and from whom it is not.
    fn what_is_protected(&self, source: UnlockSource) -> String {
        match source {
            UnlockSource::Password => format!(
                "Unlocked by your password. The server needs it in `{}`, `{}` or `{}`. Protected: \
                 a copy of the store, of your whole home folder too, as far as the password is \
                 strong; other users. Not protected: from programs that run as you and find the \
                 password where the server gets it.",
                names::PASSWORD,
                names::PASSWORD_FILE,
                names::PASSWORD_COMMAND
            ),
            UnlockSource::Keyring => "Unlocked by the system's keyring. Protected: a copy of the \
                                      store, of your whole home folder too, as far as your login \
                                      password is strong; from other users. Not protected: from \
                                      programs that run as you while the keyring is unlocked."
                .to_owned(),
            UnlockSource::Device => format!(
                "Unlocked by the device key {}. Protected: a copy of the store alone; from other \
                 users. Not protected: a copy of your whole home folder; from programs that run \
                 as you.",
                self.process.config.unlock.device_key.display()
            ),
        }
    }
}

/// Longest file that may hold a token, in bytes.
const MAX_TOKEN_FILE: u16 = u16::MAX;

fn read_token_file(path: &Path) -> std::io::Result<Zeroizing<String>> {
    // With room for all of it, or growing would leave copies that are not wiped.
    let mut text = Zeroizing::new(String::with_capacity(usize::from(MAX_TOKEN_FILE) + 1));
    std::fs::File::open(path)?.take(MAX_TOKEN_FILE.into()).read_to_string(&mut text)?;
    Ok(text)
}

pub(super) struct Chosen {
    id: String,
    name: String,
}

impl Chosen {
    fn of(workspace: &Workspace) -> Self {
        Self { id: workspace.id.to_string(), name: workspace.name.clone() }
    }
}

fn listed(workspaces: &[Workspace]) -> String {
    let shown: Vec<String> = workspaces
        .iter()
        .take(10)
        .map(|workspace| format!("`{}` ({})", workspace.id, workspace.name))
        .collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

pub(super) fn ask_for_password(terminal: &mut Terminal) -> Result<NewPassword, SetupError> {
    for _ in 0..3 {
        let first = terminal.secret("A new password for the store (12 characters or more):")?;
        match NewPassword::parse(&first) {
            Ok(password) => {
                let again = terminal.secret("Once more:")?;
                if again.expose_secret() == first.expose_secret() {
                    return Ok(password);
                }
                let _ = terminal.note("The two are not the same.");
            }
            Err(error) => {
                let _ = terminal.note(error);
            }
        }
    }
    Err(SetupError::Usage("no password was set".to_owned()))
}
