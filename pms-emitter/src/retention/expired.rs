//! What the purge of `kit` deletes here: a batch of the store's, and one line for a whole purge. Dead deliveries that a person drops go
//! first, since what they kept goes with the others.

use super::{ByHand, Retention};
use crate::store::{PurgeBefore, PurgePosition, PurgeTarget, Purged, Store};
use contract::{Clock, UnixMillis};
use db::{Db, leases::Lease};
use kit::purge::{self, PurgeMode, Purges, Purging};
use std::sync::Arc;

/// The emitter's purger.
pub type Purger = purge::Purger<Expired>;
/// The metrics of it.
pub type PurgeMeters = purge::PurgeMeters<Expired>;
/// How many rows of each kind.
pub type PurgeTally = purge::PurgeTally<Purged>;

/// What is old enough to be deleted.
pub struct Expired {
    store: Store,
    retention: Retention,
    /// Dead deliveries that died before are deleted too.
    dead_before: Option<UnixMillis>,
}

/// A purger that purges every hour.
pub fn hourly(store: Store, clock: Arc<dyn Clock>, retention: Retention, owner: String) -> Purger {
    let expired = Expired {
        store,
        retention,
        dead_before: None,
    };
    Purger::new(expired, clock, owner, PurgeMode::Hourly)
}

/// A purger that purges at once, as a person asks for.
pub fn at_once(
    store: Store,
    clock: Arc<dyn Clock>,
    retention: Retention,
    owner: String,
    by_hand: ByHand,
) -> Purger {
    let expired = Expired {
        store,
        retention,
        dead_before: by_hand.dead_before,
    };
    Purger::new(expired, clock, owner, PurgeMode::by_hand(by_hand.dry_run))
}

impl Purges for Expired {
    type Kind = Purged;
    type Target = PurgeTarget;
    type Position = PurgePosition;
    type Before = PurgeBefore;

    fn db(&self) -> &Db {
        self.store.db()
    }

    fn before(&self, now: UnixMillis) -> PurgeBefore {
        PurgeBefore {
            dead: self.dead_before,
            ..self.retention.before(now)
        }
    }

    fn batch<'p>(
        &'p self,
        target: PurgeTarget,
        before: PurgeBefore,
        after: PurgePosition,
        lease: Option<&'p Lease>,
        now: UnixMillis,
    ) -> Purging<'p, Purged, PurgePosition> {
        Box::pin(self.store.purge_batch(target, before, after, lease, now))
    }

    fn log(tally: &PurgeTally) {
        let rows = |what| tally.get(&what).copied().unwrap_or_default();
        tracing::info!(
            purged.deliveries = rows(Purged::Delivery),
            purged.attempts = rows(Purged::Attempt),
            purged.bodies = rows(Purged::Body),
            purged.events = rows(Purged::Event),
            purged.delivery_hours = rows(Purged::DeliveryHour),
            "purged"
        );
    }
}
