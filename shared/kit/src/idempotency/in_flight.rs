//! The keys that are being worked on in this process.

use super::slot::Scope;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// Which keys are taken, each with what its leaving is announced by. As many as there are requests at most.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight(Arc<Mutex<HashMap<Scope, CancellationToken>>>);

/// What came of entering.
pub(super) enum Entered {
    /// The key is this request's until the place is dropped.
    First(Place),
    /// Somebody is there; the token is cancelled when they have left.
    Behind(CancellationToken),
}

/// A key that is taken. Dropping it frees the key and wakes whoever waits.
pub(super) struct Place {
    keys: InFlight,
    scope: Scope,
}

impl InFlight {
    pub(super) fn enter(&self, scope: &Scope) -> Entered {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.entry(scope.clone()) {
            Entry::Occupied(taken) => Entered::Behind(taken.get().clone()),
            Entry::Vacant(free) => {
                free.insert(CancellationToken::new());
                Entered::First(Place {
                    keys: self.clone(),
                    scope: scope.clone(),
                })
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = self
            .keys
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.scope);
        if let Some(left) = left {
            left.cancel();
        }
    }
}
