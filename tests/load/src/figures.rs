//! The figures of one load, as the generator saw it.

use super::generator::Measured;
use super::tally::Percentiles;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What the generator was answered.
#[derive(Clone, Debug, Serialize)]
pub struct LoadFigures {
    /// The rate that was asked for; None is as fast as the connections go.
    pub rate_wanted: Option<f64>,
    /// Seconds from the start to the last answer.
    pub seconds: f64,
    /// Answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Answers of 2xx a second.
    pub rate: f64,
    /// Milliseconds; in an open loop from the instant at which a request was due.
    pub latency_ms: Percentiles,
    /// Milliseconds, corrected for the requests that a closed loop did not send while it waited.
    pub latency_corrected_ms: Option<Percentiles>,
    /// Whether the signed requests ran out before the time.
    pub ran_dry: bool,
    /// Processor seconds of the generator and its process.
    pub generator_cpu_seconds: f64,
}

impl LoadFigures {
    /// The figures of a load that used `cpu_seconds` in the generator. A closed loop's latencies are corrected by the
    /// mean interval at which one of its `connections` sent.
    pub fn new(measured: &Measured, rate_wanted: Option<f64>, connections: usize, cpu_seconds: f64) -> Self {
        let tally = &measured.tally;
        let answers = u32::try_from(tally.answers().max(1)).unwrap_or(u32::MAX);
        let interval = measured.elapsed * u32::try_from(connections).unwrap_or(u32::MAX) / answers;
        Self {
            rate_wanted,
            seconds: hundredths(measured.elapsed.as_secs_f64()),
            answers: tally.statuses().clone(),
            unanswered: tally.unanswered(),
            rate: measured.rate().round(),
            latency_ms: tally.percentiles(),
            latency_corrected_ms: rate_wanted.is_none().then(|| tally.corrected(interval)),
            ran_dry: measured.ran_dry,
            generator_cpu_seconds: hundredths(cpu_seconds),
        }
    }

    /// Whether every answer was a 2xx or a 503, and every request was answered.
    pub fn is_good(&self) -> bool {
        let expected = |status: &u16| (200..300).contains(status) || *status == 503;
        self.unanswered == 0 && self.answers.keys().all(expected)
    }

    /// The latencies to go by.
    fn honest(&self) -> Percentiles {
        self.latency_corrected_ms.unwrap_or(self.latency_ms)
    }
}

/// To hundredths: what is left is noise.
pub fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

impl fmt::Display for LoadFigures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(out)?;
        line(out, "requests", self)
    }
}

/// The heading of a table of loads.
///
/// # Errors
/// When nothing more can be written; the same for its lines.
pub fn heading(out: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        out,
        "{:<14}{:>10}{:>9}{:>9}{:>9}{:>9}{:>10}  answers",
        "load", "2xx/s", "p50 ms", "p90 ms", "p99 ms", "p99.9", "max"
    )
}

/// A line of it.
///
/// # Errors
/// When nothing more can be written.
pub fn line(out: &mut fmt::Formatter<'_>, name: &str, load: &LoadFigures) -> fmt::Result {
    let shown = load.honest();
    let answers: Vec<String> = load
        .answers
        .iter()
        .map(|(status, count)| format!("{count} x {status}"))
        .collect();
    writeln!(
        out,
        "{name:<14}{:>10.0}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>10.2}  {}; {} unanswered{}",
        load.rate,
        shown.p50,
        shown.p90,
        shown.p99,
        shown.p999,
        shown.max,
        answers.join(", "),
        load.unanswered,
        if load.ran_dry { "; the pool ran dry" } else { "" }
    )
}

/// To thousandths: as a ratio is shown.
pub fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
