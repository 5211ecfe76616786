//! The sandbox as a server of its own, for anyone's tests.

use std::path::PathBuf;
use std::process::ExitCode;

use super::failure::{self, Form};
use super::signals::told_to_stop;
use super::terminal::Terminal;
use crate::config::Config;
use crate::sandbox::{FaultSpec, Sandbox, SandboxOptions};

/// Runs the sandbox until it is told to stop by a signal.
pub(super) async fn run(
    config: &Config,
    port: Option<u16>,
    faults: Vec<FaultSpec>,
    state_dir: Option<PathBuf>,
    terminal: &mut Terminal,
) -> ExitCode {
    let state_dir = state_dir.unwrap_or_else(|| config.sandbox_dir().join("layer"));
    let mut options = SandboxOptions::new(state_dir);
    options.speed = config.sandbox_speed;
    options.faults = faults;
    options.port = port;
    let sandbox = match Sandbox::start(options).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            let message = format!("the sandbox can't start: {error}");
            let hint = "choose another `--port` or `--state-dir`, or leave them out";
            let report = failure::free("configuration", &message, hint);
            failure::tell(&report, Form::Text, false, terminal);
            return ExitCode::FAILURE;
        }
    };
    let line = serde_json::json!({
        "base_url": sandbox.base_url(),
        "ca_file": sandbox.ca_file(),
        "token": sandbox.token(),
        "workspace_id": sandbox.workspace_id(),
        "empty_workspace_id": sandbox.empty_workspace_id(),
        "allowed_hosts": sandbox.allowed_hosts().join(","),
    });
    let stop = told_to_stop();
    if terminal.print_public(line).is_err() {
        sandbox.shutdown().await;
        return ExitCode::FAILURE;
    }
    stop.await;
    sandbox.shutdown().await;
    ExitCode::SUCCESS
}
