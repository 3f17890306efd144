//! What the purge of `kit` deletes here: a batch of the store's, and one line for a whole purge. An hourly one lets arrivals go first.

use super::Retention;
use crate::{
    backlog::Backlog,
    store::{PurgeBefore, PurgePosition, PurgeTarget, Purged, Store},
};
use contract::{Clock, UnixMillis};
use db::{Db, leases::Lease};
use futures::future::BoxFuture;
use kit::purge::{self, PurgeMode, Purges, Purging};
use std::{sync::Arc, time::Duration};

/// How long a batch waits for pending arrivals, where only one of all writers writes at a time.
const YIELD_MAX: Duration = Duration::from_millis(50);

/// The receiver's purger.
pub type Purger = purge::Purger<Expired>;
/// The metrics of it.
pub type PurgeMeters = purge::PurgeMeters<Expired>;
/// How many rows of each kind.
pub type PurgeTally = purge::PurgeTally<Purged>;

/// What is old enough to be deleted.
pub struct Expired {
    store: Store,
    retention: Retention,
    backlog: Backlog,
}

/// A purger that purges every hour, behind what arrives.
pub fn hourly(
    store: Store,
    backlog: Backlog,
    clock: Arc<dyn Clock>,
    retention: Retention,
    owner: String,
) -> Purger {
    let expired = Expired {
        store,
        retention,
        backlog,
    };
    Purger::new(expired, clock, owner, PurgeMode::Hourly)
}

/// A purger that purges at once, or with `dry_run` counts what would be deleted.
pub fn at_once(
    store: Store,
    clock: Arc<dyn Clock>,
    retention: Retention,
    owner: String,
    dry_run: bool,
) -> Purger {
    let expired = Expired {
        store,
        retention,
        backlog: Backlog::default(),
    };
    Purger::new(expired, clock, owner, PurgeMode::by_hand(dry_run))
}

impl Purges for Expired {
    type Kind = Purged;
    type Target = PurgeTarget;
    type Position = PurgePosition;
    type Before = PurgeBefore;

    fn db(&self) -> &Db {
        &self.store.db
    }

    fn before(&self, now: UnixMillis) -> PurgeBefore {
        self.retention.before(now)
    }

    fn batch<'p>(
        &'p self,
        target: PurgeTarget,
        before: PurgeBefore,
        after: PurgePosition,
        lease: Option<&'p Lease>,
        _now: UnixMillis,
    ) -> Purging<'p, Purged, PurgePosition> {
        Box::pin(self.store.purge_batch(target, before, after, lease))
    }

    fn make_way(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if self.store.has_one_writer() {
                self.backlog.wait_for_no_arrivals(YIELD_MAX).await;
            }
        })
    }

    fn log(tally: &PurgeTally) {
        let rows = |what| tally.get(&what).copied().unwrap_or_default();
        tracing::info!(
            purged.bodies = rows(Purged::Body),
            purged.dead_letter_bodies = rows(Purged::DeadLetterBody),
            purged.idempotency_keys = rows(Purged::IdempotencyKey),
            purged.api_key_usage = rows(Purged::ApiKeyUsage),
            purged.rejections = rows(Purged::Rejection),
            purged.requeues = rows(Purged::Requeue),
            purged.stream_batches = rows(Purged::StreamBatch),
            "purged"
        );
    }
}
