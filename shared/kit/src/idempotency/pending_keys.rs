//! The keys that are being worked on in this process.

use super::slot::Operation;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// The keys that are held, each with a token that is cancelled when the key is released. At most one for each request.
#[derive(Clone, Debug, Default)]
pub(super) struct PendingKeys(Arc<Mutex<HashMap<Operation, CancellationToken>>>);

/// The result of acquiring a key.
pub(super) enum Acquire {
    /// This request holds the key until the guard is dropped.
    Acquired(KeyGuard),
    /// Another request holds the key; the token is cancelled when it is released.
    HeldByAnother(CancellationToken),
}

/// Holds a key. Dropping it releases the key and wakes waiting requests.
pub(super) struct KeyGuard {
    keys: PendingKeys,
    operation: Operation,
}

impl PendingKeys {
    pub(super) fn enter(&self, operation: &Operation) -> Acquire {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.entry(operation.clone()) {
            Entry::Occupied(taken) => Acquire::HeldByAnother(taken.get().clone()),
            Entry::Vacant(free) => {
                free.insert(CancellationToken::new());
                Acquire::Acquired(KeyGuard {
                    keys: self.clone(),
                    operation: operation.clone(),
                })
            }
        }
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        let left = self
            .keys
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.operation);
        if let Some(left) = left {
            left.cancel();
        }
    }
}
