//! What accepting webhooks counts, and under which names metrics show it.
//!
//! Built once for each running service and handed to the webhook's handler and the lanes. No label holds personal data:
//! labels are names from lists of our own.

use super::delivery::Rejection;
use super::source::{FOREIGN_NETWORK, UNKNOWN_SOURCE};
use crate::event::Accepted;
use contract::{ProblemCode, scheme::Cause};
use kit::metrics::{Counter, Histogram, Metrics, SECONDS};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use strum::VariantNames;

/// Why a delivery is refused that comes from an address from which too much came that was not authentic.
pub const FAILED_TOO_OFTEN: &str = "failed_too_often";
/// Why an authentic delivery is refused whose source has sent as many as its rate allows.
pub const OVER_RATE: &str = "over_rate";
/// Why an authentic delivery is refused whose source has its share of the queue.
pub const OVER_SHARE: &str = "over_share";
/// Why a delivery was refused that is not for one of the [`Cause`]s: the sender, or the code of the answer.
const REFUSALS: [&str; 18] = [
    UNKNOWN_SOURCE,
    FOREIGN_NETWORK,
    FAILED_TOO_OFTEN,
    OVER_RATE,
    OVER_SHARE,
    ProblemCode::InvalidRequest.as_str(),
    ProblemCode::InvalidJson.as_str(),
    ProblemCode::InvalidJobStatus.as_str(),
    ProblemCode::TooManyUpdates.as_str(),
    ProblemCode::RequestTimeout.as_str(),
    ProblemCode::PayloadTooLarge.as_str(),
    ProblemCode::UnsupportedMediaType.as_str(),
    ProblemCode::ValidationFailed.as_str(),
    ProblemCode::InFlight.as_str(),
    ProblemCode::Unavailable.as_str(),
    ProblemCode::Overloaded.as_str(),
    ProblemCode::Internal.as_str(),
    OTHER,
];
/// Any refusal that is not in the list above.
const OTHER: &str = "other";
/// Upper ends of the buckets for clocks that are off, in seconds.
const SKEW_SECONDS: &[f64] = &[
    10.0, 60.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0, 604_800.0,
];
/// Upper ends of the buckets for rows of a batch.
const ROWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

/// Counters of accepted and refused webhooks. Clones count together.
#[derive(Clone)]
pub struct IngestMeters(Arc<Meters>);

struct Meters {
    new: Counter,
    duplicate: Counter,
    id_reuse: Counter,
    refused: BTreeMap<&'static str, Counter>,
    ahead: Histogram,
    behind: Histogram,
    rows: Histogram,
    commit: Histogram,
}

impl IngestMeters {
    /// Shows them as `ingest_*`.
    pub fn new(metrics: &Metrics) -> Self {
        let answer = |answer| {
            let help = "Webhooks answered as authentic and readable, by answer.";
            metrics.counter("ingest_accepts_total", help, &[("answer", answer)])
        };
        let refusal = |cause| {
            let help = "Webhooks refused, by cause.";
            (
                cause,
                metrics.counter("ingest_rejects_total", help, &[("cause", cause)]),
            )
        };
        let skew = |direction| {
            let help = "How far the sender's clock was from ours, of webhooks refused for it.";
            let labels = [("direction", direction)];
            metrics.histogram("ingest_rejected_skew_seconds", help, &labels, SKEW_SECONDS)
        };
        let (rows, commit) = ("Rows of a committed batch.", "Time of a committed batch.");
        Self(Arc::new(Meters {
            new: answer("new"),
            duplicate: answer("duplicate"),
            id_reuse: answer("id_reuse"),
            refused: Cause::VARIANTS
                .iter()
                .copied()
                .chain(REFUSALS)
                .map(refusal)
                .collect(),
            ahead: skew("ahead"),
            behind: skew("behind"),
            rows: metrics.histogram("ingest_batch_rows", rows, &[], ROWS),
            commit: metrics.histogram("ingest_commit_seconds", commit, &[], SECONDS),
        }))
    }

    /// One answer.
    pub fn accepted(&self, accepted: &Accepted) {
        match accepted {
            Accepted::New(_) => self.0.new.inc(),
            Accepted::Duplicate(_) => self.0.duplicate.inc(),
            Accepted::IdReuse(_) => self.0.id_reuse.inc(),
        }
    }

    /// One answer to an update of a job.
    pub fn job_update(&self, is_repeat: bool) {
        let counter = if is_repeat { &self.0.duplicate } else { &self.0.new };
        counter.inc();
    }

    /// One refusal, with how far the clocks were apart if that was the cause.
    #[expect(
        clippy::cast_precision_loss,
        reason = "ten digits of seconds are far below 2^52"
    )]
    pub fn refused(&self, why: &Rejection) {
        let counter = self.0.refused.get(why.cause);
        let counter = counter.or_else(|| self.0.refused.get(OTHER));
        counter.expect("the list has another").inc();
        match why.skew_seconds {
            Some(ahead @ 1..) => self.0.ahead.observe(ahead as f64),
            Some(behind) => self.0.behind.observe(behind.unsigned_abs() as f64),
            None => {}
        }
    }

    /// One batch.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a batch has at most a few thousand rows"
    )]
    pub fn committed(&self, rows: usize, took: Duration) {
        self.0.rows.observe(rows as f64);
        self.0.commit.observe(took.as_secs_f64());
    }
}
