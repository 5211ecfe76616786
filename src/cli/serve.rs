//! Serving MCP over stdio. The only user of standard output while it lasts.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::signals::told_to_stop;
use super::{Process, parent};
use crate::mcp::stdio::{self, StdioTransport};
use crate::mcp::{Server, ServerSettings, Tools};

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
    let tools =
        Tools::new(runs.clone(), &super::tools::offered(&process), process.redactor.clone());
    let settings = ServerSettings { max_wait: config.max_wait, pictures: config.pictures };
    let server = Server::new(Arc::new(tools), settings);
    let shutdown = CancellationToken::new();
    let on_signal = shutdown.clone();
    tokio::spawn(async move {
        told_to_stop().await;
        on_signal.cancel();
    });
    // A file that may grow no further is an error to be told, and not the end.
    #[cfg(unix)]
    super::signals::keep_large_files_harmless();
    let orphaned = CancellationToken::new();
    let on_parents_end = orphaned.clone();
    tokio::spawn(async move {
        parent::gone().await;
        on_parents_end.cancel();
    });
    let transport = StdioTransport::stdio(shutdown);
    let ended = stdio::serve_child(server, transport, orphaned).await;
    runs.shut_down(GRACE).await;
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "no session could be opened");
            ExitCode::FAILURE
        }
    }
}
