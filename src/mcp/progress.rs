//! How a call goes, told to the client that asked for it.

use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use rmcp::RoleServer;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::RequestContext;
use tokio::sync::watch;

use crate::runs::Progress;

/// A client that does not read must not hold up a job.
const PATIENCE: Duration = Duration::from_millis(500);

type Sink = Box<dyn Fn(Progress) + Send + Sync>;

/// A sink for the use cases, and the future that forwards what falls into it. The future never
/// ends by itself; dropping it with the call means that nothing is told after the answer.
pub(super) fn channel(context: &RequestContext<RoleServer>) -> (Sink, BoxFuture<'static, ()>) {
    let Some(token) = context.meta.get_progress_token() else {
        return (Box::new(|_| {}), pending().boxed());
    };
    let peer = context.peer.clone();
    // Only the latest is worth telling.
    let (sender, mut receiver) = watch::channel(None::<Progress>);
    let forward = async move {
        let mut told = 0.0;
        while receiver.changed().await.is_ok() {
            let Some(progress) = receiver.borrow_and_update().clone() else { continue };
            if progress.percent <= told {
                continue;
            }
            told = progress.percent;
            let note = ProgressNotificationParam::new(token.clone(), progress.percent)
                .with_total(100.0)
                .with_message(progress.message);
            let _ = tokio::time::timeout(PATIENCE, peer.notify_progress(note)).await;
        }
        pending::<()>().await;
    };
    let sink = move |progress| {
        sender.send_replace(Some(progress));
    };
    (Box::new(sink), forward.boxed())
}
