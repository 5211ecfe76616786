//! Serving MCP over stdio. The only user of standard output while it lasts.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Process;
use super::signals::told_to_stop;
use crate::mcp::stdio::{self, StdioTransport};
use crate::mcp::{Server, Tools, Waiting};

/// Files on their way have so long to be cleared away when the client goes; the rest of the second
/// that an end may take is for everything else.
const GRACE: Duration = Duration::from_millis(500);

/// Serves until the client goes or a signal comes.
pub(super) async fn serve(process: Process) -> ExitCode {
    let config = &process.config;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    for problem in &config.problems {
        tracing::warn!("`{}`: {}", problem.setting, problem.message);
    }
    let runs = super::runs(&process);
    let waiting = Waiting::AtMost(config.max_wait);
    let tools = Arc::new(Tools::new(
        runs.clone(),
        waiting,
        &super::tools::offered(&process),
        process.redactor.clone(),
    ));
    let shutdown = CancellationToken::new();
    let on_signal = shutdown.clone();
    tokio::spawn(async move {
        told_to_stop().await;
        on_signal.cancel();
    });
    let transport = StdioTransport::stdio(shutdown);
    let ended = stdio::serve(Server::new(tools), transport).await;
    runs.shut_down(GRACE).await;
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "no session could be opened");
            ExitCode::FAILURE
        }
    }
}
