//! What was deleted, and how far the purge is behind.

use super::{PurgeTally, Purges};
use crate::metrics::{Counter, Metrics};
use contract::{Clock, UnixMillis};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use strum::VariantArray;

/// No purge goes on.
const NONE_DUE: i64 = i64::MAX;

/// The metrics of a service's purge.
pub struct PurgeMeters<P: Purges> {
    counters: BTreeMap<P::Kind, Counter>,
    /// When the oldest body that the purge has last come to should have gone, in Unix milliseconds.
    oldest_due: Arc<AtomicI64>,
}

impl<P: Purges> PurgeMeters<P> {
    /// Shows them as `purged_rows_total` and `purge_lag_seconds`.
    pub fn new(metrics: &Metrics, clock: Arc<dyn Clock>) -> Self {
        let oldest_due = Arc::new(AtomicI64::new(NONE_DUE));
        let due = Arc::clone(&oldest_due);
        let help = "How long ago the oldest body should have been deleted to which the purge has come; 0 when none goes on here.";
        metrics.read_gauge("purge_lag_seconds", help, &[], move || {
            let behind = clock.now().0.saturating_sub(due.load(Ordering::Relaxed));
            Duration::from_millis(u64::try_from(behind).unwrap_or_default()).as_secs_f64()
        });
        let counter = |what: &P::Kind| {
            let help = "Rows deleted because they were old enough, by what they are.";
            let labels = [("what", (*what).into())];
            (*what, metrics.counter("purged_rows_total", help, &labels))
        };
        Self {
            counters: P::Kind::VARIANTS.iter().map(counter).collect(),
            oldest_due,
        }
    }

    pub(super) fn show_lag(&self, oldest: Option<UnixMillis>) {
        let due = oldest.map_or(NONE_DUE, |at| at.0);
        self.oldest_due.store(due, Ordering::Relaxed);
    }

    pub(super) fn count(&self, purged: &PurgeTally<P::Kind>) {
        for (what, rows) in purged {
            if let Some(counter) = self.counters.get(what) {
                counter.inc_by(*rows);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::{PurgeTarget, Purging};
    use db::{Db, leases::Lease};
    use strum::IntoStaticStr;

    struct Clockwork;

    impl Clock for Clockwork {
        fn now(&self) -> UnixMillis {
            UnixMillis(90_000)
        }
    }

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
    #[strum(serialize_all = "snake_case")]
    enum Kind {
        OldBody,
    }

    #[derive(Clone, Copy, VariantArray)]
    enum Target {}

    impl PurgeTarget for Target {}

    struct Nothing;

    impl Purges for Nothing {
        type Kind = Kind;
        type Target = Target;
        type Position = ();
        type Before = ();

        fn db(&self) -> &Db {
            unreachable!("only metrics are looked at")
        }

        fn before(&self, _now: UnixMillis) {}

        fn batch<'p>(
            &'p self,
            _target: Target,
            _before: (),
            _after: (),
            _lease: Option<&'p Lease>,
            _now: UnixMillis,
        ) -> Purging<'p, Kind, ()> {
            unreachable!("only metrics are looked at")
        }

        fn log(_tally: &PurgeTally<Kind>) {}
    }

    #[tokio::test]
    async fn the_lag_is_the_age_of_the_oldest_body_since_it_was_due() {
        let metrics = Metrics::new("x", "1");
        let meters = PurgeMeters::<Nothing>::new(&metrics, Arc::new(Clockwork));
        for (due, line) in [
            (None, "x_purge_lag_seconds 0\n"),
            (Some(UnixMillis(60_000)), "x_purge_lag_seconds 30\n"),
            (None, "x_purge_lag_seconds 0\n"),
        ] {
            meters.show_lag(due);
            let page = metrics.scrape().await;
            assert!(page.contains(line), "{due:?}: {page}");
        }
        meters.count(&PurgeTally::from([(Kind::OldBody, 3)]));
        let page = metrics.scrape().await;
        assert!(
            page.contains("x_purged_rows_total{what=\"old_body\"} 3\n"),
            "{page}"
        );
    }
}
