//! What projection counts, and under which name metrics show it.

use crate::event::ProjectionOutcome;
use kit::metrics::{Counter, Metrics};
use std::collections::BTreeMap;
use strum::VariantArray;

/// Counters of projected events.
pub struct ProjectionMeters {
    outcomes: BTreeMap<ProjectionOutcome, Counter>,
    dead_letters: Counter,
}

impl ProjectionMeters {
    /// Shows them as `projection_events_total`.
    pub fn new(metrics: &Metrics) -> Self {
        let counter = |outcome| {
            let help = "Events projected, by what became of them.";
            metrics.counter("projection_events_total", help, &[("outcome", outcome)])
        };
        let outcomes = ProjectionOutcome::VARIANTS.iter();
        Self {
            outcomes: outcomes
                .map(|outcome| (*outcome, counter(outcome.into_str())))
                .collect(),
            dead_letters: counter("dead_letter"),
        }
    }

    /// So many events with one outcome.
    pub fn projected(&self, outcome: ProjectionOutcome, events: u64) {
        if let Some(counter) = self.outcomes.get(&outcome) {
            counter.inc_by(events);
        }
    }

    /// One event that became a dead letter because each of its tries failed.
    pub fn dead_letter(&self) {
        self.dead_letters.inc();
    }
}
