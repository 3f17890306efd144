//! The demo's report: for people, and as one JSON object for programs.

use harness::ledger::Ledger;
use harness::loader::Loaded;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The result of a run; as JSON, exactly these fields in this order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Rows of the file.
    pub bookings: u64,
    /// Rows of which a step was refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Accepted events about guests.
    pub guest_events: u64,
    /// Accepted events about reservations.
    pub reservation_events: u64,
    /// All accepted events.
    pub events: u64,
    /// Deliveries that are done.
    pub delivered: u64,
    /// Effects that changed a record.
    pub applied: u64,
    /// Events without an effect.
    pub lost: u64,
    /// Events with more than one effect, and effects without an event.
    pub doubled: u64,
    /// Effects that came too late to change a record.
    pub stale: u64,
    /// Profiles that differ from what the file says.
    pub wrong_totals: u64,
    /// Profiles.
    pub profiles: u64,
    /// From the first call to the last effect.
    pub seconds: f64,
    /// Events by seconds.
    pub events_per_second: f64,
}

impl Report {
    /// The report of one run over `bookings` rows that took `elapsed`.
    pub fn new(bookings: usize, loaded: &Loaded, ledger: &Ledger, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        Self {
            bookings: bookings as u64,
            refused: loaded.refused.clone(),
            guest_events: ledger.guest_events,
            reservation_events: ledger.reservation_events,
            events: ledger.events(),
            delivered: ledger.delivered,
            applied: ledger.applied,
            lost: ledger.lost,
            doubled: ledger.doubled,
            stale: ledger.stale,
            wrong_totals: ledger.wrong_totals,
            profiles: ledger.profiles,
            seconds: rounded(seconds),
            events_per_second: rounded(ledger.events() as f64 / seconds.max(f64::EPSILON)),
        }
    }
}

/// To hundredths: what is left is noise.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} bookings became {} events ({} of guests, {} of reservations) in {} s: {} a second",
            self.bookings,
            self.events,
            self.guest_events,
            self.reservation_events,
            self.seconds,
            self.events_per_second
        )?;
        writeln!(
            out,
            "{} delivered, {} applied, {} stale",
            self.delivered, self.applied, self.stale
        )?;
        writeln!(
            out,
            "{} profiles; lost {}, doubled {}, wrong totals {}",
            self.profiles, self.lost, self.doubled, self.wrong_totals
        )?;
        writeln!(
            out,
            "rows that the rules refused: {}",
            self.refused.values().sum::<u64>()
        )?;
        for (reason, rows) in &self.refused {
            writeln!(out, "  {rows:>5}  {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_exactly_its_fields() {
        let report = Report::new(
            2,
            &Loaded::default(),
            &Ledger::default(),
            Duration::from_millis(1_234),
        );
        let line = serde_json::to_string(&report).unwrap();
        let fields = "bookings refused guest_events reservation_events events delivered applied lost doubled stale \
                      wrong_totals profiles seconds events_per_second";
        let named: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        assert_eq!(named.join(" "), fields);
        assert!(line.contains("\"seconds\":1.23"), "{line}");
    }
}
