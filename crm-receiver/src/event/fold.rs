//! Which of two states of one record is current.

use super::Event;
use crate::profile::Record;
use contract::EventId;

/// What an event does to the record that it is about.
#[derive(Debug, PartialEq)]
pub enum Folded {
    /// Its state is current now.
    Applied(Record),
    /// A state of a higher version, or the same state, is current already.
    Stale,
    /// Another state of this very version is current: this event is a dead letter.
    ConflictLost,
    /// Its state is current now, in place of another one of this very version: that one's event is a dead letter.
    ConflictWon {
        /// The new state.
        record: Record,
        /// The event of the state before.
        loser: EventId,
    },
}

/// Folds an event into the latest known state of its record.
///
/// A higher version replaces, a lower one is stale. Of two different states under one version the one whose payload has
/// the smaller SHA-256 becomes current, whichever came first. The same state sent twice is stale; but of two events
/// that state it with different times the earlier one's time is kept, so that nothing depends on which came first.
pub fn fold(known: Option<&Record>, event: &Event) -> Folded {
    let proposed = &event.record;
    let Some(known) = known else {
        return Folded::Applied(proposed.clone());
    };
    let outranks = proposed.precedence() > known.precedence();
    let conflict = proposed.version == known.version && !proposed.same_state(known);
    match (outranks, conflict) {
        (true, false) => Folded::Applied(proposed.clone()),
        (false, false) => Folded::Stale,
        (false, true) => Folded::ConflictLost,
        (true, true) => Folded::ConflictWon {
            record: proposed.clone(),
            loser: known.event_id.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::permutations::sent;
    use serde_json::json;

    #[test]
    fn a_higher_version_replaces_and_a_lower_one_is_stale() {
        let first = sent("guest.created", "g", 1, 10, json!({"last_name": "A"}));
        let second = sent("guest.updated", "g", 2, 5, json!({"last_name": "B"}));
        assert_eq!(fold(None, &first), Folded::Applied(first.record.clone()));
        assert_eq!(
            fold(Some(&first.record), &second),
            Folded::Applied(second.record.clone()),
            "the version decides, not the clock"
        );
        assert_eq!(fold(Some(&second.record), &first), Folded::Stale);
    }

    #[test]
    fn the_same_state_sent_again_is_stale_whatever_the_order_of_its_keys() {
        let proposed = sent("guest.updated", "g", 2, 5, json!({"a": 1, "last_name": "B"}));
        let again = sent("guest.updated", "g", 2, 5, json!({"last_name": "B", "a": 1}));
        assert_eq!(fold(Some(&proposed.record), &again), Folded::Stale);
    }

    #[test]
    fn of_two_states_under_one_version_the_smaller_digest_stands() {
        let one = sent("guest.updated", "g", 2, 5, json!({"last_name": "A"}));
        let other = sent("guest.updated", "g", 2, 5, json!({"last_name": "B"}));
        let (smaller, larger) = if one.record.digest < other.record.digest {
            (one, other)
        } else {
            (other, one)
        };
        assert_eq!(fold(Some(&smaller.record), &larger), Folded::ConflictLost);
        assert_eq!(
            fold(Some(&larger.record), &smaller),
            Folded::ConflictWon {
                record: smaller.record.clone(),
                loser: larger.record.event_id.clone()
            }
        );
    }

    #[test]
    fn a_tombstone_outlives_what_came_before_it_and_yields_to_what_came_after() {
        let gone = sent("guest.deleted", "g", 2, 5, json!({"last_name": "A"}));
        let late = sent("guest.created", "g", 1, 1, json!({"last_name": "A"}));
        let back = sent("guest.updated", "g", 3, 9, json!({"last_name": "A"}));
        assert!(gone.record.deleted);
        assert_eq!(fold(Some(&gone.record), &late), Folded::Stale);
        assert_eq!(
            fold(Some(&gone.record), &back),
            Folded::Applied(back.record.clone())
        );
    }
}
