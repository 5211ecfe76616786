//! `config.toml`: what it may say.

use serde::Deserialize;

/// `config.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) workspace_id: Option<String>,
    pub(super) api_base_url: Option<String>,
    pub(super) ca_bundle: Option<String>,
    pub(super) proxy: Option<String>,
    pub(super) allowed_hosts: Option<Vec<String>>,
    pub(super) reference_hosts: Option<Vec<String>>,
    pub(super) device_key: Option<String>,
    pub(super) password_file: Option<String>,
    pub(super) password_command: Option<String>,
    pub(super) output_dir: Option<String>,
    pub(super) budget_run_cu: Option<f64>,
    pub(super) budget_session_cu: Option<f64>,
    pub(super) budget_day_cu: Option<f64>,
    pub(super) budget_project_cu: Option<f64>,
    pub(super) confirm_above_cu: Option<f64>,
    pub(super) same_request_hours: Option<f64>,
    pub(super) starts_per_minute: Option<u32>,
    pub(super) runs_at_once: Option<u32>,
    pub(super) max_wait_seconds: Option<f64>,
    pub(super) previews: Option<String>,
    pub(super) audit_days: Option<u32>,
    pub(super) log: Option<String>,
}

/// What the `config.toml` of a project may set.
pub(super) const OF_PROJECTS: [&str; 7] = [
    "workspace_id",
    "output_dir",
    "budget_run_cu",
    "budget_session_cu",
    "budget_day_cu",
    "budget_project_cu",
    "confirm_above_cu",
];

impl File {
    /// These settings, and those of `below` where there are none here.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            workspace_id: self.workspace_id.or(below.workspace_id),
            api_base_url: self.api_base_url.or(below.api_base_url),
            ca_bundle: self.ca_bundle.or(below.ca_bundle),
            proxy: self.proxy.or(below.proxy),
            allowed_hosts: self.allowed_hosts.or(below.allowed_hosts),
            reference_hosts: self.reference_hosts.or(below.reference_hosts),
            device_key: self.device_key.or(below.device_key),
            password_file: self.password_file.or(below.password_file),
            password_command: self.password_command.or(below.password_command),
            output_dir: self.output_dir.or(below.output_dir),
            budget_run_cu: self.budget_run_cu.or(below.budget_run_cu),
            budget_session_cu: self.budget_session_cu.or(below.budget_session_cu),
            budget_day_cu: self.budget_day_cu.or(below.budget_day_cu),
            budget_project_cu: self.budget_project_cu.or(below.budget_project_cu),
            confirm_above_cu: self.confirm_above_cu.or(below.confirm_above_cu),
            same_request_hours: self.same_request_hours.or(below.same_request_hours),
            starts_per_minute: self.starts_per_minute.or(below.starts_per_minute),
            runs_at_once: self.runs_at_once.or(below.runs_at_once),
            max_wait_seconds: self.max_wait_seconds.or(below.max_wait_seconds),
            previews: self.previews.or(below.previews),
            audit_days: self.audit_days.or(below.audit_days),
            log: self.log.or(below.log),
        }
    }
}

/// No file of settings is larger, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Reads a small text file. A pipe or a device in its place neither hangs nor floods.
///
/// # Errors
///
/// When it can't be read, is no plain file, has more than 1 MiB, or is not UTF-8.
pub fn read_small(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::{Error, Read as _};

    let mut options = std::fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    let file = options.open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(Error::other("it is no file"));
    }
    if facts.len() > LARGEST {
        return Err(Error::other("it is larger than 1 MiB"));
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}
