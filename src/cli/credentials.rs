//! The life of a stored token after its set-up: its age, its successor, its password, its end.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::Process;
use super::failure::Form;
use super::setup::{Setup, SetupArguments, SetupError, ask_for_password, report};
use super::terminal::{Prompt, Terminal};
use crate::audit::Event;
use crate::config::{Profile, names};
use crate::credentials::{
    CredentialStore, Credentials, NewPassword, NewUnlock, Seen, StoreError, UnlockOptions,
    UnlockSource,
};

/// Days after which a token should be replaced.
const ROTATE_AFTER_DAYS: i64 = 90;
/// Days before that from which a word is said about it.
const NUDGE_DAYS_BEFORE: i64 = 14;

#[derive(Debug, clap::Subcommand)]
pub(super) enum CredentialsCommand {
    /// Show what is stored, how it is unlocked and how old it is; never the token
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Exit with 1 when the token is older than this many days
        #[arg(long, value_name = "DAYS")]
        fail_if_older: Option<u32>,
    },
    /// Replace the token; workspace and unlock source stay
    Rotate {
        /// Read the new token from this file
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Make no call to Layer
        #[arg(long)]
        offline: bool,
        /// Accept a token with hyphens
        #[arg(long)]
        allow_hyphen: bool,
        /// Ask nothing
        #[arg(long)]
        yes: bool,
        /// Tell the result as JSON
        #[arg(long)]
        json: bool,
        #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
        token: Option<String>,
    },
    /// Lock the store with a new password, the system's keyring, or the device key again
    Password {
        /// Use the device key from now on
        #[arg(long)]
        remove: bool,
        /// Use the system's keyring from now on
        #[arg(long, conflicts_with = "remove")]
        keyring: bool,
        /// Tell the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Erase the stored token
    Remove {
        /// Ask nothing
        #[arg(long)]
        yes: bool,
        /// Erase the device key too; other stores of this user can then not be opened
        #[arg(long)]
        device_key: bool,
        /// Tell the result as JSON
        #[arg(long)]
        json: bool,
    },
}

impl CredentialsCommand {
    fn form(&self) -> Form {
        match self {
            Self::Status { json, .. }
            | Self::Rotate { json, .. }
            | Self::Password { json, .. }
            | Self::Remove { json, .. } => Form::of(*json),
        }
    }
}

/// Runs one of the commands.
pub(super) fn run(
    process: &Process,
    command: CredentialsCommand,
    runtime: &Runtime,
    terminal: &mut Terminal,
) -> ExitCode {
    let form = command.form();
    let life = Life { process, store: process.store(), runtime, form };
    if let Some(problem) = process.config.store_problem() {
        let message = format!("`{}`: {}", problem.setting, problem.message);
        let hint = "correct it; nothing was done";
        return report(&SetupError::setup("configuration", message, hint), form, terminal);
    }
    let ended = match command {
        CredentialsCommand::Status { fail_if_older, .. } => life.status(fail_if_older, terminal),
        CredentialsCommand::Rotate { token: Some(_), .. } => Err(SetupError::token_as_flag()),
        CredentialsCommand::Rotate { token_file, offline, allow_hyphen, yes, .. } => {
            let arguments = SetupArguments::for_rotation(token_file, offline, allow_hyphen, yes);
            life.rotate(arguments, terminal)
        }
        CredentialsCommand::Password { remove: true, .. } => {
            life.relock(Some(NewUnlock::Device(process.config.unlock.device_key.clone())), terminal)
        }
        CredentialsCommand::Password { keyring: true, .. } => {
            life.relock(Some(NewUnlock::Keyring), terminal)
        }
        CredentialsCommand::Password { .. } => life.relock(None, terminal),
        CredentialsCommand::Remove { yes, device_key, .. } => {
            life.remove(yes, device_key, terminal)
        }
    };
    match ended {
        Ok(code) => code,
        Err(error) => report(&error, form, terminal),
    }
}

struct Life<'a> {
    process: &'a Process,
    store: CredentialStore,
    runtime: &'a Runtime,
    form: Form,
}

impl Life<'_> {
    /// Tells the result: in words, or as a document.
    fn told(
        &self,
        words: &[String],
        document: &Value,
        terminal: &mut Terminal,
    ) -> Result<(), SetupError> {
        let told = match self.form {
            Form::Json => terminal.print_json(document),
            Form::Text => terminal.print_wrapped(words),
        };
        told.map_err(not_printed)
    }

    fn status(
        &self,
        fail_if_older: Option<u32>,
        terminal: &mut Terminal,
    ) -> Result<ExitCode, SetupError> {
        let (credentials, unlock, _) = self.open(terminal)?;
        let header = self.store.header().map_err(not_opened)?;
        let age = Age::of(credentials.created_at(), Timestamp::now());
        let hint = credentials.token().hint();
        let source = unlock.source();
        let ended = credentials.expires_at().is_some_and(|end| end <= Timestamp::now());
        let expires_at = credentials.expires_at().map(|time| time.to_string());
        let document = json!({
            "folder": self.store.folder(),
            "profile": self.process.config.profile.as_ref().map(Profile::as_str),
            "token": format!("{hint}…"),
            "workspace_id": credentials.workspace_id(),
            "api_origin": credentials.api_origin(),
            "unlock": source.name(),
            "iterations": header.iterations,
            "created_at": credentials.created_at().to_string(),
            "age_days": age.days,
            "rotation_due": age.days >= ROTATE_AFTER_DAYS || ended,
            "expires_at": expires_at,
        });
        let mut lines = vec![
            format!("Token: {hint}… in {}", self.store.folder().display()),
            format!("Workspace: {}", credentials.workspace_id()),
            format!("For: {}", credentials.api_origin()),
            format!("Unlocked by: {source} ({} iterations)", header.iterations),
            format!("Stored: {} ({})", credentials.created_at(), age.in_words()),
        ];
        lines.extend(expires_at.map(|time| format!("Expires: {time}")));
        self.told(&lines, &document, terminal)?;
        if let Some(nudge) = nudge(&credentials, Timestamp::now()) {
            let _ = terminal.hint(nudge);
        }
        // A day that is yet to come tells no age, so it can't be young enough.
        let too_old =
            fail_if_older.is_some_and(|limit| age.days > i64::from(limit) || age.days < 0);
        Ok(if too_old { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// The order matters: the new token is known to reach the same workspace before the old one
    /// is replaced.
    fn rotate(
        &self,
        mut arguments: SetupArguments,
        terminal: &mut Terminal,
    ) -> Result<ExitCode, SetupError> {
        let (credentials, unlock, seen) = self.open(terminal)?;
        let here = self.process.config.api_base.origin();
        if credentials.api_origin() != here {
            return Err(SetupError::setup(
                "configuration",
                format!("the stored token belongs to `{}`, not `{here}`", credentials.api_origin()),
                format!("unset `{}`, or run `layer-mcp setup`", names::BASE_URL),
            ));
        }
        arguments.keep_workspace(credentials.workspace_id());
        let setup = Setup { process: self.process, arguments, runtime: self.runtime };
        setup.refuse_settings()?;
        let secret = setup.token(terminal)?;
        self.process.redactor.register(secret.expose_secret());
        if credentials.has_token(secret.expose_secret()) {
            return Err(SetupError::setup(
                "invalid_argument",
                "this is the token that is stored already; nothing was changed",
                "create a new one at app.layer.ai, Settings, Personal Access Tokens",
            ));
        }
        setup.workspace(&secret, terminal)?;
        let old = credentials.token().hint();
        let token = setup.parse(&secret)?;
        let renewed = credentials.with_token(token, Timestamp::now());
        self.store.replace(seen, &renewed, &unlock).map_err(not_stored)?;
        self.process.audit.note(Event::new("auth.rotated"));
        let new = renewed.token().hint();
        let words = [
            format!("Stored the token {new}… in place of {old}…."),
            "Revoke the old one now, at app.layer.ai, Settings, Personal Access Tokens: until then \
             it works."
                .to_owned(),
        ];
        let document = json!({ "token": format!("{new}…"), "replaced": format!("{old}…") });
        self.told(&words, &document, terminal)?;
        setup.name_token_file(terminal);
        Ok(ExitCode::SUCCESS)
    }

    /// Writes the store under another lock: this one, or a password that is asked for.
    fn relock(
        &self,
        unlock: Option<NewUnlock>,
        terminal: &mut Terminal,
    ) -> Result<ExitCode, SetupError> {
        let (credentials, _, seen) = self.open(terminal)?;
        let unlock = if let Some(unlock) = unlock {
            unlock
        } else if terminal.can_ask() {
            NewUnlock::Password(ask_for_password(terminal)?)
        } else {
            let piped = terminal.piped_secret()?;
            self.process.redactor.register(piped.expose_secret());
            let password = NewPassword::parse(&piped);
            NewUnlock::Password(password.map_err(|error| SetupError::Usage(error.to_string()))?)
        };
        self.store.replace(seen, &credentials, &unlock).map_err(not_stored)?;
        let event = Event::new("auth.relocked").with("unlock", unlock.source().name());
        self.process.audit.note(event);
        let said = match unlock.source() {
            UnlockSource::Password => format!(
                "The store has a new password. The server needs it in `{}`, `{}` or `{}`.",
                names::PASSWORD,
                names::PASSWORD_FILE,
                names::PASSWORD_COMMAND
            ),
            UnlockSource::Keyring => {
                "The store is unlocked by the system's keyring from now on.".to_owned()
            }
            UnlockSource::Device => format!(
                "The store is unlocked by the device key {} from now on.",
                self.process.config.unlock.device_key.display()
            ),
        };
        self.told(&[said], &json!({ "unlock": unlock.source().name() }), terminal)?;
        Ok(ExitCode::SUCCESS)
    }

    fn remove(
        &self,
        yes: bool,
        device_key: bool,
        terminal: &mut Terminal,
    ) -> Result<ExitCode, SetupError> {
        if !yes {
            if !terminal.can_ask() {
                let (message, hint) = ("nothing was erased", "`--yes` erases the token");
                return Err(SetupError::unanswered(message, hint));
            }
            let question = format!("Erase the token stored in {}?", self.store.folder().display());
            if !terminal.confirm(&question, false)? {
                let (message, hint) = ("nothing was erased", "the token stays in use");
                return Err(SetupError::unanswered(message, hint));
            }
        }
        // So that the trail's last word on this key is under its seal.
        if let Ok(credentials) = self.store.load(&self.process.config.unlock) {
            self.process.audit.seal_with(credentials.audit_key().as_bytes());
        }
        let key = device_key.then_some(self.process.config.unlock.device_key.as_path());
        let found = self
            .store
            .forget(key)
            .map_err(|error| SetupError::store(format!("not all was erased: {error}"), &error))?;
        if found {
            self.process.audit.end_key(Event::new("auth.removed"));
        }
        let said = if found {
            "Erased what was stored. Copies may survive in backups, on solid-state disks and on \
             file systems that copy on write; only revoking the token ends it: app.layer.ai, \
             Settings, Personal Access Tokens."
        } else {
            "There was nothing to erase."
        };
        let document = json!({ "erased": found, "device_key_erased": found && key.is_some() });
        self.told(&[said.to_owned()], &document, terminal)?;
        if found && key.is_some() {
            let _ = terminal.hint(
                "the device key is gone too: what it unlocked elsewhere, such as another profile \
                 or a project, can't be opened any more",
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The credentials, the way to lock them again, and what must still be there then. At a
    /// terminal a password that no setting gives is asked for; a server never does that.
    fn open(&self, terminal: &mut Terminal) -> Result<(Credentials, NewUnlock, Seen), SetupError> {
        let mut options: UnlockOptions = self.process.config.unlock.clone();
        // Before it is read: what comes in between is a change.
        let seen = self.store.seen();
        let source = self.store.source().map_err(not_opened)?;
        if source == UnlockSource::Password {
            if options.password.is_set() {
                options.password = options.password.read_once().map_err(not_opened)?;
            } else if terminal.can_ask() {
                options.password.value = Some(terminal.secret("The store's password:")?);
            }
        }
        let credentials = self.process.open_store(&options).map_err(not_opened)?;
        let unlock = match source {
            UnlockSource::Password => match options.password.new_password().map_err(not_opened)? {
                Some(Ok(password)) => NewUnlock::Password(password),
                Some(Err(error)) => return Err(SetupError::Usage(error.to_string())),
                None => return Err(SetupError::Usage("no password was given".to_owned())),
            },
            UnlockSource::Keyring => NewUnlock::Keyring,
            UnlockSource::Device => NewUnlock::Device(options.device_key),
        };
        Ok((credentials, unlock, seen))
    }
}

/// How long a token has been stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Age {
    /// Whole days; negative when the clock is behind the day on which it was stored.
    days: i64,
}

impl Age {
    pub(super) fn of(stored: Timestamp, now: Timestamp) -> Self {
        let day = SignedDuration::from_hours(24).as_secs();
        Self { days: now.duration_since(stored).as_secs().div_euclid(day) }
    }

    pub(super) fn in_words(self) -> String {
        match self.days {
            ..0 => "in the future, says this machine's clock".to_owned(),
            0 => "today".to_owned(),
            1 => "1 day ago".to_owned(),
            days => format!("{days} days ago"),
        }
    }

    /// What to say about it, from two weeks before the token should be replaced.
    fn nudge(self) -> Option<String> {
        let left = ROTATE_AFTER_DAYS - self.days;
        match self.days {
            ..0 => {
                Some("the clock of this machine is wrong, or was when the token was stored".into())
            }
            _ if left <= 0 => Some(format!(
                "the token was stored {ROTATE_AFTER_DAYS} or more days ago: replace it with \
                 `layer-mcp credentials rotate`"
            )),
            _ if left <= NUDGE_DAYS_BEFORE => Some(format!(
                "the token should be replaced within {left} day{}, with `layer-mcp credentials \
                 rotate`",
                if left == 1 { "" } else { "s" }
            )),
            _ => None,
        }
    }
}

/// What to say about the token's end or age.
pub(super) fn nudge(credentials: &Credentials, now: Timestamp) -> Option<String> {
    match credentials.expires_at() {
        Some(end) if end <= now => Some(format!(
            "the token ended at {end}: replace it with `layer-mcp credentials rotate`"
        )),
        _ => Age::of(credentials.created_at(), now).nudge(),
    }
}

fn not_opened(error: StoreError) -> SetupError {
    SetupError::store(format!("the store can't be opened: {error}"), &error)
}

fn not_stored(error: StoreError) -> SetupError {
    SetupError::setup(
        error.code(),
        format!("the new store was not completed: {error}"),
        format!("{} `layer-mcp credentials status` shows what is stored.", error.next_step()),
    )
}

fn not_printed(error: io::Error) -> SetupError {
    SetupError::Prompt(error.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    #[test]
    fn a_token_is_old_after_90_days_and_announced_14_days_before() {
        let stored: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let cases = [
            ("2025-12-31T12:00:00Z", -1, Some("clock")),
            ("2026-01-01T12:00:00Z", 0, None),
            ("2026-01-02T11:59:59Z", 0, None),
            ("2026-03-17T12:00:00Z", 75, None),
            ("2026-03-18T12:00:00Z", 76, Some("within 14 days")),
            ("2026-04-01T11:59:59Z", 89, Some("within 1 day,")),
            ("2026-04-01T12:00:00Z", 90, Some("90 or more days ago")),
        ];
        for (now, days, said) in cases {
            let age = Age::of(stored, now.parse().unwrap());
            assert_eq!(age.days, days, "{now}");
            let nudge = age.nudge();
            assert_eq!(nudge.is_some(), said.is_some(), "{now}: {nudge:?}");
            assert!(nudge.unwrap_or_default().contains(said.unwrap_or_default()), "{now}");
        }
    }
}
