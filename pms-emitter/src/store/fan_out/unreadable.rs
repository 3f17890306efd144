//! Endpoints whose rows cannot be read: each is logged once, and not with every step that leaves it out.

use db::DbError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Those that the last step left out. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Unreadable(Arc<Mutex<BTreeSet<String>>>);

impl Unreadable {
    /// Logs those of a step, by their ids, that the step before did not leave out.
    pub(super) fn log(&self, found: &BTreeMap<String, DbError>) {
        for id in self.note(found.keys().cloned().collect()) {
            let error = &found[&id];
            tracing::error!(endpoint.id = id, %error, "nothing is queued for an endpoint: its row cannot be read");
        }
    }

    /// Which of these are new.
    fn note(&self, found: BTreeSet<String>) -> Vec<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = found.difference(&known).cloned().collect();
        *known = found;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_new_once_and_again_after_it_could_be_read() {
        let unreadable = Unreadable::default();
        let note = |ids: &[&str]| unreadable.note(ids.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(note(&["a"]), ["a"]);
        assert_eq!(note(&["a", "b"]), ["b"]);
        assert!(note(&["a", "b"]).is_empty());
        assert!(note(&["b"]).is_empty());
        assert_eq!(note(&["a", "b"]), ["a"]);
    }
}
