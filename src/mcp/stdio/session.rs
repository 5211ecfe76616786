//! One client, from the first message to the end.

use rmcp::{RoleServer, Service, ServiceExt, service::ServerInitializeError};
use tokio::io::AsyncRead;

use super::{PATIENCE, PanicGuard, StdioTransport};

/// Serves the client behind a transport until it has gone or the transport's `shutdown` fires,
/// and then ends soon, whatever the service does.
///
/// The service's [`RequestContext::ct`](rmcp::service::RequestContext) fires with `shutdown`, so
/// that is all a tool has to watch.
///
/// # Errors
///
/// When rmcp cannot open a session. A client that goes before it opens one is no error.
pub async fn serve<S, R>(
    service: S,
    transport: StdioTransport<R>,
) -> Result<(), ServerInitializeError>
where
    S: Service<RoleServer>,
    R: AsyncRead + Send + Unpin + 'static,
{
    let shutdown = transport.shutdown.clone();
    let flush = transport.outbox.flush();
    let session = match PanicGuard(service).serve_with_ct(transport, shutdown.clone()).await {
        Ok(session) => session,
        Err(error) => {
            // What has been said to such a client has yet to be written.
            flush.wait(PATIENCE).await;
            return match error {
                ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled => {
                    Ok(())
                }
                error => Err(error),
            };
        }
    };

    // rmcp waits seconds for handlers that do not end, and no longer serves what they may be
    // waiting for: a progress notification, say.
    let overdue = async {
        shutdown.cancelled().await;
        tokio::join!(tokio::time::sleep(PATIENCE), flush.wait(PATIENCE));
    };
    tokio::select! {
        ended = session.waiting() => if let Err(error) = ended {
            tracing::error!(%error, "the session ended badly");
        },
        () = overdue => tracing::warn!("a request did not end, or its answer was not read"),
    }
    Ok(())
}
