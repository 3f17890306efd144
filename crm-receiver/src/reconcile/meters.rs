//! What the metrics show of reconciliation.

use crate::store::Reconciliation;
use contract::Clock;
use kit::metrics::{Counter, Metrics};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Shows how far it is, as this process last saw it. Clones are the same.
#[derive(Clone)]
pub struct ReconcileMeters {
    seen: Arc<Mutex<Option<Reconciliation>>>,
    pub(super) taken_in: Counter,
    pub(super) runs: Counter,
    pub(super) failed_runs: Counter,
}

impl ReconcileMeters {
    /// Shows them as `feed_*`; `NaN` while nothing was compared.
    pub fn new(metrics: &Metrics, clock: Arc<dyn Clock>) -> Self {
        let seen = Arc::new(Mutex::new(None));
        let gauge = |name: &str, help: &str, read: fn(&Reconciliation) -> Option<f64>| {
            let seen = Arc::clone(&seen);
            metrics.read_gauge(name, help, &[], move || {
                let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.as_ref().and_then(read).unwrap_or(f64::NAN)
            });
        };
        gauge(
            "feed_complete_place",
            "The place of the PMS's feed up to which every event is here or counted as missing.",
            |seen| Some(number(seen.complete_up_to)),
        );
        gauge(
            "feed_head_place",
            "The last place of the PMS's feed when it was last read.",
            |seen| Some(number(seen.feed_head)),
        );
        gauge(
            "feed_missing_events",
            "Events of the PMS's feed that are not here and could not be taken in.",
            |seen| Some(number(seen.missing.cast_signed())),
        );
        gauge(
            "feed_past_retention_events",
            "Those of the missing events whose body the PMS keeps no more.",
            |seen| Some(number(seen.past_retention.cast_signed())),
        );
        gauge(
            "feed_given_up_events",
            "Events of the PMS's feed that were missing until they were older than what is remembered.",
            |seen| Some(number(seen.given_up.cast_signed())),
        );
        let of_age = Arc::clone(&seen);
        let help = "How long ago the PMS's feed was last read to its end.";
        metrics.read_gauge("feed_check_age_seconds", help, &[], move || {
            let seen = of_age.lock().unwrap_or_else(PoisonError::into_inner);
            let checked_at = seen.as_ref().and_then(|seen: &Reconciliation| seen.checked_at);
            checked_at.map_or(f64::NAN, |at| {
                let age = u64::try_from(clock.now().0 - at.0).unwrap_or_default();
                Duration::from_millis(age).as_secs_f64()
            })
        });
        let counter = |name, help| metrics.counter(name, help, &[]);
        Self {
            seen,
            taken_in: counter(
                "feed_taken_in_events_total",
                "Events that were missing and were taken in from the PMS's feed.",
            ),
            runs: counter(
                "feed_runs_total",
                "Runs of this process that have read the PMS's feed to its end.",
            ),
            failed_runs: counter(
                "feed_failed_runs_total",
                "Runs of this process that ended before, and are tried again.",
            ),
        }
    }

    pub(super) fn show(&self, state: Option<Reconciliation>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

#[expect(clippy::cast_precision_loss, reason = "places are far below 2^52")]
fn number(place: i64) -> f64 {
    place as f64
}
