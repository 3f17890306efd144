//! For which endpoints something was queued or made due: their dispatchers are woken, and no others.

use super::ImmediateClaims;
use contract::id::EndpointId;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// The endpoints that something was queued for since it was last asked. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Queued(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Of transactions that are not committed yet.
    uncommitted: Mutex<BTreeSet<EndpointId>>,
    committed: Mutex<BTreeSet<EndpointId>>,
    changed: Notify,
    /// What is claimed as it is queued wakes nobody: it is handed over.
    immediate: ImmediateClaims,
}

impl Queued {
    /// A transaction queues something for these. One that is run again names them again, or names fewer: then some are woken for
    /// nothing.
    pub(super) fn add(&self, endpoints: impl IntoIterator<Item = EndpointId>) {
        locked(&self.0.uncommitted).extend(endpoints);
    }

    /// It is committed.
    pub(super) fn committed(&self) {
        let mut queued = std::mem::take(&mut *locked(&self.0.uncommitted));
        if !queued.is_empty() {
            locked(&self.0.committed).append(&mut queued);
            self.0.changed.notify_one();
        }
    }

    /// Something was made due for an endpoint, and that is committed.
    pub fn wake(&self, endpoint: &EndpointId) {
        locked(&self.0.committed).insert(endpoint.clone());
        self.0.changed.notify_one();
    }

    /// The dispatchers that are handed what is queued for them.
    pub fn immediate(&self) -> &ImmediateClaims {
        &self.0.immediate
    }

    /// Waits until there is one. A change that came before is not lost.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Those that something was queued for since.
    pub fn take(&self) -> BTreeSet<EndpointId> {
        std::mem::take(&mut *locked(&self.0.committed))
    }
}

fn locked(endpoints: &Mutex<BTreeSet<EndpointId>>) -> std::sync::MutexGuard<'_, BTreeSet<EndpointId>> {
    endpoints.lock().unwrap_or_else(PoisonError::into_inner)
}
