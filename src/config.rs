//! The settings, read once: flag over environment over `config.toml` in the home over default.
//!
//! A wrong setting never keeps the server from starting. It is kept as a [`Problem`], and each
//! call that needs Layer then says what is wrong and how to mend it.

mod answers;
mod file;
mod limits;
mod profile;
pub mod project;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

pub use file::read_small;
pub use limits::LimitFlags;
pub use profile::{NotAProfile, Profile};
pub use project::ProjectHome;

use file::{File, OF_PROJECTS};
use profile::profile_dir;

use crate::credentials::token::is_placeholder;
use crate::credentials::{
    PasswordCommand, PasswordSettings, UnlockOptions, default_device_key_path,
};
use crate::layer::{AllowedHost, ApiBase, ProxyChoice, WorkspaceId};
use crate::runs::{Limits, Pace};

/// Names of the settings as environment variables. In `config.toml` they stand in lower case and
/// without `LAYER_`.
pub mod names {
    /// The user's token, when there is no store.
    pub const TOKEN: &str = "LAYER_API_TOKEN";
    /// The workspace that pays.
    pub const WORKSPACE: &str = "LAYER_WORKSPACE_ID";
    /// Where Layer's API lies.
    pub const BASE_URL: &str = "LAYER_API_BASE_URL";
    /// PEM file of further certificate authorities.
    pub const CA_BUNDLE: &str = "LAYER_CA_BUNDLE";
    /// A proxy for Layer alone.
    pub const PROXY: &str = "LAYER_PROXY";
    /// What the TLS and HTTP libraries read by themselves.
    pub const SYSTEM_NETWORK: [&str; 6] =
        ["SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    /// Hosts that the proxy is not used for.
    pub const NO_PROXY: &str = "NO_PROXY";
    /// Further hosts that files may come from.
    pub const ALLOWED_HOSTS: &str = "LAYER_ALLOWED_HOSTS";
    /// Hosts whose files may be references when a call gives their address.
    pub const REFERENCE_HOSTS: &str = "LAYER_REFERENCE_HOSTS";
    /// The `.layer-mcp` folder.
    pub const HOME: &str = "LAYER_MCP_HOME";
    /// Where the device key lies.
    pub const DEVICE_KEY: &str = "LAYER_MCP_DEVICE_KEY";
    /// `env`: use the environment's token although a store exists.
    pub const CREDENTIALS: &str = "LAYER_MCP_CREDENTIALS";
    /// The store's password.
    pub const PASSWORD: &str = "LAYER_MCP_PASSWORD";
    /// A file with the store's password.
    pub const PASSWORD_FILE: &str = "LAYER_MCP_PASSWORD_FILE";
    /// A command that prints the store's password.
    pub const PASSWORD_COMMAND: &str = "LAYER_MCP_PASSWORD_COMMAND";
    /// Where assets may be written.
    pub const OUTPUT_DIR: &str = "LAYER_OUTPUT_DIR";
    /// The most that one purchase may cost.
    pub const BUDGET_RUN: &str = "LAYER_BUDGET_RUN_CU";
    /// The most that one process may spend.
    pub const BUDGET_SESSION: &str = "LAYER_BUDGET_SESSION_CU";
    /// The most that may be spent in a day.
    pub const BUDGET_DAY: &str = "LAYER_BUDGET_DAY_CU";
    /// The most that may be spent for one project, ever.
    pub const BUDGET_PROJECT: &str = "LAYER_BUDGET_PROJECT_CU";
    /// Above this price a purchase needs the user's consent.
    pub const CONFIRM_ABOVE: &str = "LAYER_CONFIRM_ABOVE_CU";
    /// How many hours the same request is answered with the same job.
    pub const SAME_REQUEST: &str = "LAYER_SAME_REQUEST_HOURS";
    /// Starts that may leave in a minute; half of them videos.
    pub const STARTS: &str = "LAYER_STARTS_PER_MINUTE";
    /// Runs that may be under way at once.
    pub const RUNS_AT_ONCE: &str = "LAYER_RUNS_AT_ONCE";
    /// The longest that one call blocks.
    pub const MAX_WAIT: &str = "LAYER_MAX_WAIT_SECONDS";
    /// `off`: no pictures in answers.
    pub const PREVIEWS: &str = "LAYER_PREVIEWS";
    /// Which of several stored tokens is used.
    pub const PROFILE: &str = "LAYER_MCP_PROFILE";
    /// How many days the audit trail is kept.
    pub const AUDIT_DAYS: &str = "LAYER_AUDIT_DAYS";
    /// The log's filter.
    pub const LOG: &str = "LAYER_LOG";
    /// `true`: an offline Layer inside the process, as by `--sandbox`.
    pub const SANDBOX: &str = "LAYER_SANDBOX";
    /// How much faster the sandbox's clock runs.
    pub const SANDBOX_SPEED: &str = "LAYER_SANDBOX_SPEED";
}

/// What stands on the command line before the subcommand.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// An offline Layer inside the process.
    pub sandbox: bool,
    /// The `.layer-mcp` folder.
    pub home: Option<PathBuf>,
    /// Where assets may be written.
    pub output_dir: Option<PathBuf>,
    /// Only tools that neither spend nor change anything.
    pub read_only: bool,
    /// Which of several stored tokens is used.
    pub profile: Option<String>,
    /// The user's limits, in the words of the command line.
    pub limits: LimitFlags,
}

/// Where the settings come from, so that this module never looks for itself.
pub struct Surroundings<'a> {
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// All of it, for a password command.
    pub all_env: Vec<(OsString, OsString)>,
    /// The user's home folder.
    pub user_home: Option<PathBuf>,
    /// The working directory.
    pub cwd: Option<PathBuf>,
}

/// A setting that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its name, or the file's.
    pub setting: String,
    /// What is wrong and what is allowed. Never the value of a secret.
    pub message: String,
}

/// All settings.
#[derive(Debug)]
pub struct Config {
    /// The `.layer-mcp` folder, absolute.
    pub home: PathBuf,
    /// The home of the project around the working directory, trusted or not.
    pub project_home: Option<ProjectHome>,
    /// Which of several stored tokens is used; `None` is the usual one.
    pub profile: Option<Profile>,
    /// An offline Layer inside the process.
    pub sandbox: bool,
    /// How much faster the sandbox's clock runs; above 0.
    pub sandbox_speed: f64,
    /// Only tools that neither spend nor change anything.
    pub read_only: bool,
    /// Where Layer's API lies.
    pub api_base: ApiBase,
    /// PEM file of further certificate authorities.
    pub ca_bundle: Option<PathBuf>,
    /// How connections leave the machine.
    pub proxy: ProxyChoice,
    /// The system's own variables for certificates and proxies, as far as they are set.
    pub system_network: Vec<(&'static str, String)>,
    /// Further hosts that files may come from.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Hosts whose files may be references when a call gives their address.
    pub reference_hosts: Vec<AllowedHost>,
    /// The environment's token.
    pub token: Option<SecretString>,
    /// The workspace that pays, when it is named.
    pub workspace: Option<WorkspaceId>,
    /// True when the environment's token is to be used although a store exists.
    pub credentials_from_env: bool,
    /// How the store is opened.
    pub unlock: UnlockOptions,
    /// Where assets may be written; `None` when nothing named or guessed will do.
    pub output_dir: Option<PathBuf>,
    /// Nobody named it, and there is no project around the working directory: a client that knows
    /// the project's folder may name it.
    pub output_dir_open: bool,
    /// The user's limits.
    pub limits: Limits,
    /// How long the same request is answered with the same job.
    pub same_request: Duration,
    /// How fast starts may leave.
    pub pace: Pace,
    /// The longest that one call blocks; `None` leaves it to what the client waits for.
    pub max_wait: Option<Duration>,
    /// Whether answers may have pictures.
    pub pictures: bool,
    /// How many days the audit trail is kept.
    pub audit_days: u32,
    /// The log's filter.
    pub log: String,
    /// Settings that can't be used.
    pub problems: Vec<Problem>,
    /// Things worth a line in the log.
    pub warnings: Vec<String>,
    /// Variables that hold a placeholder which the client did not fill in.
    pub unfilled: Vec<String>,
}

const AUDIT_DAYS: u32 = 30;

impl Config {
    /// Reads all settings. The only files it opens are `config.toml` and that of the profile.
    pub fn load(flags: &Flags, around: &Surroundings<'_>) -> Self {
        let mut reader =
            Reader { around, problems: Vec::new(), warnings: Vec::new(), unfilled: Vec::new() };
        let home = reader.home(flags);
        let profile = flags.profile.clone().or_else(|| reader.text(names::PROFILE, None));
        // A name that is none is a problem, and a problem stops every call: nothing of another
        // profile is used in its place.
        let profile = reader.parse::<Profile>(names::PROFILE, profile);
        let mut file = reader.file(&home.join("config.toml"));
        if let Some(profile) = &profile {
            let own = profile_dir(&home, profile).join("config.toml");
            file = reader.file(&own).over(file);
        }
        let limits = reader.limits(&flags.limits, &file);
        let (same_request, pace) = (reader.same_request(&file), reader.pace(&file));
        let mut base_url = reader.text(names::BASE_URL, file.api_base_url);
        if base_url.as_deref().is_some_and(|text| text.trim().is_empty()) {
            base_url = None;
        }
        let api_base = reader
            .parse(names::BASE_URL, base_url)
            .or_else(|| ApiBase::from_str(ApiBase::DEFAULT).ok());
        let user_home = around.user_home.clone().unwrap_or_default();
        let device_key = reader.path(names::DEVICE_KEY, file.device_key).unwrap_or_else(|| {
            let data = if cfg!(windows) { "LOCALAPPDATA" } else { "XDG_DATA_HOME" };
            let data = (around.env)(data).map(PathBuf::from);
            default_device_key_path(&user_home, data.as_deref())
        });
        let project_home = reader.project_home(flags, &device_key);
        let project = reader.project_file(project_home.as_ref());
        let limits = reader.lowered(limits, &project);
        let password = PasswordSettings {
            value: reader.secret(names::PASSWORD),
            file: reader.path(names::PASSWORD_FILE, file.password_file),
            command: reader
                .text(names::PASSWORD_COMMAND, file.password_command)
                .map(|line| PasswordCommand::new(line, around.all_env.clone())),
        };
        let allowed_hosts = reader.hosts(names::ALLOWED_HOSTS, file.allowed_hosts);
        let reference_hosts = reader.hosts(names::REFERENCE_HOSTS, file.reference_hosts);
        let workspace = project.workspace_id.or(file.workspace_id);
        let workspace = reader.text(names::WORKSPACE, workspace);
        let credentials_from_env = match reader.text(names::CREDENTIALS, None).as_deref() {
            None => false,
            Some("env") => true,
            Some(_) => {
                reader.problem(names::CREDENTIALS, "the only value is `env`");
                false
            }
        };
        let (output_dir, output_dir_open) =
            reader.output_dir(flags, project.output_dir.or(file.output_dir));
        Self {
            sandbox: reader.switch(names::SANDBOX) || flags.sandbox,
            sandbox_speed: reader.speed(),
            read_only: flags.read_only,
            api_base: match api_base {
                Some(base) => base,
                // The default is a constant that parses; this only satisfies the types.
                None => return Self::load(&Flags::default(), around),
            },
            ca_bundle: reader.path(names::CA_BUNDLE, file.ca_bundle),
            proxy: reader.proxy(file.proxy),
            system_network: names::SYSTEM_NETWORK
                .into_iter()
                .filter_map(|name| Some((name, reader.text(name, None)?)))
                .collect(),
            allowed_hosts,
            reference_hosts,
            token: reader.secret(names::TOKEN),
            workspace: reader.parse(names::WORKSPACE, workspace),
            credentials_from_env,
            unlock: UnlockOptions { device_key, password },
            output_dir,
            output_dir_open,
            limits,
            project_home,
            profile,
            same_request,
            pace,
            max_wait: reader.max_wait(file.max_wait_seconds),
            pictures: reader.pictures(file.previews),
            audit_days: reader.audit_days(file.audit_days),
            log: reader.text(names::LOG, file.log).unwrap_or_else(|| "info".to_owned()),
            home,
            problems: reader.problems,
            warnings: reader.warnings,
            unfilled: reader.unfilled,
        }
    }

    /// A setting that can't be used and would have named the store, so that another one would be
    /// taken in its place.
    pub fn store_problem(&self) -> Option<&Problem> {
        let names_store = [names::PROFILE, names::HOME, names::DEVICE_KEY];
        self.problems.iter().find(|problem| names_store.contains(&problem.setting.as_str()))
    }

    /// The folder of the credential store.
    pub fn secure_dir(&self) -> PathBuf {
        let home = match &self.project_home {
            Some(ProjectHome { home, trusted: true }) => home,
            _ => &self.home,
        };
        match &self.profile {
            Some(profile) => profile_dir(home, profile).join("secure"),
            None => home.join("secure"),
        }
    }

    /// The project that assets are made for: the repository around the output folder, or that
    /// folder, by its real name so that no link makes another project of it.
    pub fn project(&self) -> Option<PathBuf> {
        Self::project_of(self.output_dir.as_deref()?)
    }

    /// The project that assets in this folder are made for.
    fn project_of(folder: &Path) -> Option<PathBuf> {
        let there = folder.ancestors().find(|above| above.exists())?;
        let rest = folder.strip_prefix(there).ok()?;
        // Nothing joined would still add a slash, and make another name.
        let real = rest.iter().fold(there.canonicalize().ok()?, |real, part| real.join(part));
        let repository = real.ancestors().find(|above| above.join(".git").exists());
        Some(repository.unwrap_or(&real).to_owned())
    }

    /// The output folder and its project when a client works in `root`; `None` where no project can
    /// be: the root of a disk, and the user's home with all that is above it.
    pub fn place_of(root: &Path, user_home: Option<&Path>) -> Option<(PathBuf, PathBuf)> {
        let root = root.canonicalize().ok().filter(|root| root.is_dir())?;
        let project = Self::project_of(&root)?;
        project::can_be_project(&root, user_home).then_some((root, project))
    }

    /// The journal's file. The sandbox has one of its own: it spends nothing real.
    pub fn journal(&self) -> PathBuf {
        if self.sandbox {
            self.sandbox_dir().join("journal.db")
        } else {
            self.home.join("journal.db")
        }
    }

    /// The sandbox's folder.
    pub fn sandbox_dir(&self) -> PathBuf {
        self.home.join("sandbox")
    }

    /// The audit trail's folder. The sandbox has one of its own.
    pub fn audit_dir(&self) -> PathBuf {
        if self.sandbox { self.sandbox_dir().join("audit") } else { self.home.join("audit") }
    }

    /// The log's folder.
    pub fn log_dir(&self) -> PathBuf {
        self.home.join("logs")
    }
}

struct Reader<'a> {
    around: &'a Surroundings<'a>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    unfilled: Vec<String>,
}

impl Reader<'_> {
    fn problem(&mut self, setting: &str, message: impl Into<String>) {
        self.problems.push(Problem { setting: setting.to_owned(), message: message.into() });
    }

    /// A variable that is set to something. Some clients pass `${...}` on as it stands, and empty
    /// text for a field that was left empty: both mean that nothing was set.
    fn env(&mut self, name: &str) -> Option<OsString> {
        let value = (self.around.env)(name)?;
        let text = value.to_string_lossy();
        if is_placeholder(text.trim()) {
            self.warnings.push(format!(
                "`{name}` holds a placeholder that the client did not fill in; it counts as unset"
            ));
            self.unfilled.push(name.to_owned());
            return None;
        }
        if text.trim().is_empty() { None } else { Some(value) }
    }

    fn text(&mut self, name: &str, file: Option<String>) -> Option<String> {
        let Some(value) = self.env(name) else { return file };
        match value.into_string() {
            Ok(text) => Some(text.trim().to_owned()),
            Err(_) => {
                self.problem(name, "it is not Unicode text");
                None
            }
        }
    }

    fn secret(&mut self, name: &str) -> Option<SecretString> {
        // A password's own spaces count, so nothing is trimmed here.
        let value = self.env(name)?;
        match value.into_string() {
            Ok(text) => Some(SecretString::from(text)),
            Err(_) => {
                self.problem(name, "it is not Unicode text");
                None
            }
        }
    }

    fn parse<T: FromStr>(&mut self, name: &str, text: Option<String>) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        match text?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(name, error.to_string());
                None
            }
        }
    }

    fn path(&mut self, name: &str, file: Option<String>) -> Option<PathBuf> {
        let path = match self.env(name) {
            Some(value) => PathBuf::from(value),
            None => PathBuf::from(file?),
        };
        self.absolute(name, &path)
    }

    /// An absolute path: `~/` is the user's home, anything else relative is below the working
    /// directory.
    fn absolute(&mut self, name: &str, path: &Path) -> Option<PathBuf> {
        // `${HOME}/art` would become a folder of that very name.
        if path.to_string_lossy().starts_with("${") {
            self.problem(name, "it begins with a placeholder that the client did not fill in");
            return None;
        }
        let path = match (path.strip_prefix("~"), &self.around.user_home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path.to_owned(),
        };
        if path.is_absolute() {
            return Some(path);
        }
        match &self.around.cwd {
            Some(cwd) => Some(cwd.join(path)),
            None => {
                self.problem(name, "it must be an absolute path");
                None
            }
        }
    }

    fn hosts(&mut self, name: &str, file: Option<Vec<String>>) -> Vec<AllowedHost> {
        let listed = match self.text(name, None) {
            Some(text) => text.split(',').map(|host| host.trim().to_owned()).collect(),
            None => file.unwrap_or_default(),
        };
        let mut hosts = Vec::new();
        for host in listed.into_iter().filter(|host| !host.is_empty()) {
            hosts.extend(self.parse::<AllowedHost>(name, Some(host)));
        }
        hosts
    }

    fn proxy(&mut self, file: Option<String>) -> ProxyChoice {
        let Some(text) = self.text(names::PROXY, file) else { return ProxyChoice::System };
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                let except = self.text(names::NO_PROXY, None);
                ProxyChoice::Through(url, except)
            }
            // Never the value: a proxy's address may carry a password.
            _ => {
                self.problem(names::PROXY, "it must look like `http://proxy.example:8080`");
                ProxyChoice::System
            }
        }
    }

    /// A switch, in the words of clients that ask their user with a check box.
    fn switch(&mut self, name: &str) -> bool {
        match self.text(name, None).map(|text| text.to_ascii_lowercase()).as_deref() {
            Some("true" | "1") => true,
            None | Some("false" | "0") => false,
            Some(_) => {
                self.problem(name, "it must be `true` or `false`");
                false
            }
        }
    }

    fn speed(&mut self) -> f64 {
        let Some(text) = self.text(names::SANDBOX_SPEED, None) else { return 1.0 };
        match text.parse::<f64>() {
            Ok(speed) if speed.is_finite() && speed > 0.0 => speed,
            _ => {
                self.problem(names::SANDBOX_SPEED, "it must be a number above 0, such as `10`");
                1.0
            }
        }
    }

    fn audit_days(&mut self, file: Option<u32>) -> u32 {
        let days = match self.text(names::AUDIT_DAYS, None) {
            Some(text) => text.parse::<u32>().ok(),
            None => file.or(Some(AUDIT_DAYS)),
        };
        match days {
            Some(days) if (1..=3_650).contains(&days) => days,
            _ => {
                self.problem(names::AUDIT_DAYS, "it must be a number of days from 1 to 3650");
                AUDIT_DAYS
            }
        }
    }

    fn home(&mut self, flags: &Flags) -> PathBuf {
        if let Some(home) = &flags.home
            && let Some(home) = self.absolute("--home", home)
        {
            return home;
        }
        if let Some(home) = self.path(names::HOME, None) {
            return home;
        }
        match &self.around.user_home {
            Some(home) if home.is_absolute() => home.join(".layer-mcp"),
            _ => {
                self.problem(names::HOME, "there is no home folder: set it to an absolute path");
                std::env::temp_dir().join("layer-mcp-without-home")
            }
        }
    }

    fn project_home(&mut self, flags: &Flags, device_key: &Path) -> Option<ProjectHome> {
        if flags.home.is_some() || self.env(names::HOME).is_some() {
            return None;
        }
        let cwd = self.around.cwd.as_deref()?;
        let list = project::list_beside(device_key);
        let found = project::find(cwd, self.around.user_home.as_deref(), &list)?;
        if !found.trusted {
            self.warnings.push(format!(
                "`{}` is ignored: it is not a home that you set up; `layer-mcp setup --project` \
                 makes it one",
                found.home.display()
            ));
        }
        Some(found)
    }

    /// What a trusted project's `config.toml` may say. Whatever else it says is named and
    /// ignored: it may have come with the project.
    fn project_file(&mut self, found: Option<&ProjectHome>) -> File {
        let Some(found) = found.filter(|found| found.trusted) else { return File::default() };
        let path = found.home.join("config.toml");
        let place = path.display();
        let text = match read_small(&path) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => return File::default(),
            Err(error) => {
                self.warnings.push(format!("`{place}` is ignored: {error}"));
                return File::default();
            }
        };
        let mut table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                let why = crate::redact::clean_line(error.message(), 200);
                self.warnings.push(format!("`{place}` is ignored: {why}"));
                return File::default();
            }
        };
        let mut refused = Vec::new();
        table.retain(|key, _| {
            let allowed = OF_PROJECTS.contains(&key);
            if !allowed {
                refused.push(crate::redact::clean_line(key, 80));
            }
            allowed
        });
        for key in refused {
            self.warnings.push(format!("`{place}`: a project may not set `{key}`; it is ignored"));
        }
        let mut file = File::deserialize(table).unwrap_or_else(|error| {
            let why = crate::redact::clean_line(error.message(), 200);
            self.warnings.push(format!("`{place}` is ignored: {why}"));
            File::default()
        });
        if let Some(wish) = file.output_dir.take() {
            let inside = found.project().join(&wish);
            let climbs = Path::new(&wish).components().any(|part| {
                !matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)
            });
            // A link inside the project may lead out of it.
            let real = inside.ancestors().find_map(|folder| folder.canonicalize().ok());
            if !climbs && real.is_some_and(|real| real.starts_with(found.project())) {
                file.output_dir = Some(inside.display().to_string());
            } else {
                self.warnings.push(format!(
                    "`{place}`: `output_dir` leads out of the project; it is ignored"
                ));
            }
        }
        file
    }

    fn file(&mut self, path: &Path) -> File {
        let text = match read_small(path) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => return File::default(),
            Err(error) => {
                self.problem(&path.display().to_string(), format!("it can't be read: {error}"));
                return File::default();
            }
        };
        #[cfg(unix)]
        if std::fs::metadata(path).is_ok_and(|file| {
            std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o002 != 0
        }) {
            let place = path.display().to_string();
            self.problem(&place, format!("others may write to it; run: chmod 600 {place}"));
            return File::default();
        }
        match toml::from_str(&text) {
            Ok(file) => file,
            Err(error) => {
                let message = crate::redact::clean_line(error.message(), 200);
                self.problem(&path.display().to_string(), message);
                File::default()
            }
        }
    }

    /// The named folder, else the repository around the working directory, else the user's
    /// pictures.
    /// The output folder, and whether it is nobody's choice.
    fn output_dir(&mut self, flags: &Flags, file: Option<String>) -> (Option<PathBuf>, bool) {
        if let Some(named) = &flags.output_dir {
            return (self.absolute("--output-dir", named), false);
        }
        if let Some(named) = self.path(names::OUTPUT_DIR, file) {
            return (Some(named), false);
        }
        let repository = self.around.cwd.as_deref().and_then(|cwd| {
            cwd.ancestors()
                .filter(|folder| folder.parent().is_some())
                .find(|folder| folder.join(".git").exists())
        });
        match (repository, &self.around.user_home) {
            (Some(repository), _) => (Some(repository.to_owned()), false),
            (None, Some(home)) => (Some(home.join("Pictures").join("Layer")), true),
            (None, None) => (None, true),
        }
    }
}

/// In the place of the home there may be a file: then there are no settings, and whatever needs a
/// home says so.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::layer::CreativeUnits;

    fn load(variables: &[(&str, &str)], toml: &str, flags: &Flags) -> (tempfile::TempDir, Config) {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".layer-mcp")).unwrap();
        std::fs::write(home.path().join(".layer-mcp/config.toml"), toml).unwrap();
        let env = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        };
        let around = Surroundings {
            env: &env,
            all_env: Vec::new(),
            user_home: Some(home.path().to_owned()),
            cwd: Some("/".into()),
        };
        let config = Config::load(flags, &around);
        (home, config)
    }

    #[test]
    fn without_any_setting_the_defaults_hold() {
        let (home, config) = load(&[], "", &Flags::default());
        assert_eq!(config.problems, []);
        assert_eq!(config.home, home.path().join(".layer-mcp"));
        assert_eq!(config.api_base.origin(), ApiBase::DEFAULT);
        assert_eq!((config.max_wait, config.pictures), (None, true));
        assert_eq!(config.limits.confirm_above.to_string(), "20 CU");
        assert_eq!(config.output_dir, Some(home.path().join("Pictures/Layer")));
        assert!(config.reference_hosts.is_empty());
        assert!(config.token.is_none());
    }

    #[test]
    fn flag_beats_environment_beats_file() {
        let toml = "output_dir = '/file'\nmax_wait_seconds = 10\nbudget_day_cu = 5.5";
        let variables = [("LAYER_OUTPUT_DIR", "/env"), ("LAYER_MAX_WAIT_SECONDS", "20")];
        let flags = Flags { output_dir: Some("/flag".into()), ..Flags::default() };
        let (_home, config) = load(&variables, toml, &flags);
        assert_eq!(config.output_dir, Some("/flag".into()));
        assert_eq!(config.max_wait, Some(Duration::from_secs(20)));
        assert_eq!(config.limits.day.unwrap().to_string(), "5.5 CU");
        let (_home, config) = load(&variables, toml, &Flags::default());
        assert_eq!(config.output_dir, Some("/env".into()));
        let (_home, config) = load(&[], toml, &Flags::default());
        assert_eq!(config.output_dir, Some("/file".into()));
    }

    #[cfg(unix)]
    #[test]
    fn settings_that_others_may_write_are_not_followed() {
        use std::os::unix::fs::PermissionsExt;
        let (home, _) = load(&[], "confirm_above_cu = 1000", &Flags::default());
        let file = home.path().join(".layer-mcp/config.toml");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        let around = Surroundings {
            env: &|_| None,
            all_env: Vec::new(),
            user_home: Some(home.path().to_owned()),
            cwd: None,
        };
        let config = Config::load(&Flags::default(), &around);
        assert_eq!(config.limits.confirm_above.to_string(), "20 CU");
        assert_eq!(config.problems.len(), 1);
    }

    #[test]
    fn what_a_client_failed_to_fill_in_counts_as_unset() {
        let variables = [
            ("LAYER_API_TOKEN", "${user_config.token}"),
            ("LAYER_WORKSPACE_ID", ""),
            ("LAYER_API_BASE_URL", "  "),
        ];
        let (_home, config) = load(&variables, "", &Flags::default());
        assert!(config.token.is_none());
        assert!(config.workspace.is_none());
        assert_eq!(config.problems, []);
        assert_eq!(config.warnings.len(), 1);
    }

    #[test]
    fn a_wrong_setting_is_a_problem_and_never_a_looser_limit() {
        let variables = [
            ("LAYER_API_BASE_URL", "http://api.app.layer.ai"),
            ("LAYER_BUDGET_DAY_CU", "lots"),
            ("LAYER_MAX_WAIT_SECONDS", "-1"),
            ("LAYER_ALLOWED_HOSTS", "ok.example, https://not.example"),
            ("LAYER_REFERENCE_HOSTS", "cdn.example:8443, */x"),
            ("LAYER_PROXY", "secret:word@host"),
            ("LAYER_MCP_CREDENTIALS", "file"),
            ("LAYER_SANDBOX_SPEED", "0"),
        ];
        let (_home, config) = load(&variables, "typo = 1", &Flags::default());
        assert_eq!(config.problems.len(), 9, "{:#?}", config.problems);
        assert_eq!(config.limits.day, Some(CreativeUnits::ZERO));
        assert_eq!(config.allowed_hosts.len(), 1);
        assert_eq!(config.reference_hosts, ["cdn.example:8443".parse().unwrap()]);
        assert!(!format!("{:?}", config.problems).contains("secret"));
    }
}
