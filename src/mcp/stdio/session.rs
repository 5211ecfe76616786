//! One client, from the first message to the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rmcp::model::{PingRequest, ServerRequest};
use rmcp::service::{PeerRequestOptions, ServerInitializeError, ServiceError};
use rmcp::{Peer, RoleServer, Service, ServiceExt};
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, PanicGuard, StdioTransport};

/// A client whose server lost its parent opens its session within this time, if it is there.
const OPENS_WITHIN: Duration = Duration::from_secs(10);
/// A client that is there answers a ping in less; it is asked so many times.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const ASKED: u32 = 2;
/// One that answered is asked again after this time.
const AGAIN: Duration = Duration::from_secs(60);
/// A client that can't be asked, because it opens no session, says something within this time.
const SPEAKS_WITHIN: Duration = Duration::from_secs(600);

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
    serve_child(service, transport, CancellationToken::new()).await
}

/// The same for a process that was started by the client, or by a launcher of the client's, and
/// knows when that parent has ended (`orphaned`).
///
/// Another process may hold the client's ends of the pipes open: a sibling that inherited them.
/// Then the death of the client is told by nothing but the death of the parent. That may as well
/// be a launcher which did its work, so the client is asked: one that is there answers a ping.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_child<S, R>(
    service: S,
    transport: StdioTransport<R>,
    orphaned: CancellationToken,
) -> Result<(), ServerInitializeError>
where
    S: Service<RoleServer>,
    R: AsyncRead + Send + Unpin + 'static,
{
    let shutdown = transport.shutdown.clone();
    let heard = Arc::clone(&transport.heard);
    let flush = transport.outbox.flush();
    let opened = tokio::select! {
        opened = PanicGuard(service).serve_with_ct(transport, shutdown.clone()) => opened,
        () = is_silent(&orphaned) => {
            tracing::info!("the parent process ended, and no client opened a session");
            shutdown.cancel();
            return Ok(());
        }
    };
    let session = match opened {
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

    let (peer, ends) = (session.peer().clone(), shutdown.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = ends.cancelled() => {}
            () = is_alone(&orphaned, &peer, &heard) => {
                tracing::info!("the parent process ended, and the client is not there any more");
                ends.cancel();
            }
        }
    });

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

/// Returns when the parent has ended and nobody opened a session since.
async fn is_silent(orphaned: &CancellationToken) {
    orphaned.cancelled().await;
    tokio::time::sleep(OPENS_WITHIN).await;
}

/// Returns when the parent has ended and the client is gone as well.
async fn is_alone(orphaned: &CancellationToken, peer: &Peer<RoleServer>, heard: &AtomicU64) {
    orphaned.cancelled().await;
    let has_session = peer.peer_info().is_some();
    loop {
        if has_session {
            if !answers(peer).await {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        } else {
            let before = heard.load(Ordering::Relaxed);
            tokio::time::sleep(SPEAKS_WITHIN).await;
            if heard.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

async fn answers(peer: &Peer<RoleServer>) -> bool {
    for _ in 0..ASKED {
        let ping = ServerRequest::PingRequest(PingRequest::default());
        let options = PeerRequestOptions::with_timeout(ANSWERS_WITHIN);
        let answer = match peer.send_request_with_option(ping, options).await {
            Ok(asked) => asked.await_response().await,
            Err(error) => Err(error),
        };
        match answer {
            // An error of the client's own making is a sign of life, too.
            Ok(_) | Err(ServiceError::McpError(_)) => return true,
            Err(ServiceError::Timeout { .. }) => {}
            Err(_) => return false,
        }
    }
    false
}
