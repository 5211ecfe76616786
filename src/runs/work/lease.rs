//! Keeping jobs ours while the work on them lasts.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use crate::journal::{JobId, LEASE};
use crate::runs::Inner;

/// Renews all leases of this process, as long as there are any.
#[derive(Default)]
pub(in crate::runs) struct Keeper(Mutex<Held>);

#[derive(Default)]
struct Held {
    count: usize,
    renewal: Option<JoinHandle<()>>,
}

impl Keeper {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that this process works on.
pub(super) struct Lease {
    inner: Arc<Inner>,
    id: JobId,
    given_back: bool,
}

impl Lease {
    /// Keeps what the journal says is ours.
    pub(super) fn keep(inner: &Arc<Inner>, id: &JobId) -> Self {
        let mut held = inner.keeper.held();
        held.count += 1;
        if held.renewal.is_none() {
            let keeper = Arc::downgrade(inner);
            held.renewal = Some(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(LEASE / 3).await;
                    let Some(inner) = keeper.upgrade() else { return };
                    if let Ok(journal) = inner.records().await {
                        let _ = journal.hold_all(&inner.session, inner.now()).await;
                    }
                }
            }));
        }
        Self { inner: inner.clone(), id: id.clone(), given_back: false }
    }

    pub(super) async fn give_back(mut self) {
        self.given_back = true;
        if let Ok(journal) = self.inner.records().await {
            let _ = journal.release(&self.id, &self.inner.session).await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.inner.keeper.held();
        held.count = held.count.saturating_sub(1);
        if held.count == 0
            && let Some(renewal) = held.renewal.take()
        {
            renewal.abort();
        }
        drop(held);
        if !self.given_back
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (inner, id) = (self.inner.clone(), self.id.clone());
            runtime.spawn(async move {
                if let Ok(journal) = inner.records().await {
                    let _ = journal.release(&id, &inner.session).await;
                }
            });
        }
    }
}
