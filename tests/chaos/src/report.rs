//! The report of a run: a table for people, and one line of JSON.

use super::counters::Counts;
use super::ledger::Ledger;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// A run that has ended.
#[derive(Debug)]
pub struct Report {
    /// The balance.
    pub ledger: Ledger,
    /// What was done.
    pub counters: Counts,
    /// From the first write to the last answer.
    pub loaded_in: Duration,
    /// From then until nothing waited any more.
    pub settled_in: Duration,
    /// The longest time in which no client was answered.
    pub longest_gap: Duration,
}

impl Report {
    /// Confirmed writes, each with its event, in a second of the load.
    pub fn events_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let confirmed = self.ledger.confirmed as f64;
        confirmed / self.loaded_in.as_secs_f64().max(f64::EPSILON)
    }

    /// Whether the books balance, every write was confirmed and took effect, and both services used the database again in
    /// time.
    pub fn is_good(&self) -> bool {
        self.ledger.is_zero() && self.ledger.is_whole() && self.counters.unhealed().is_empty()
    }

    /// Everything as one object.
    pub fn json(&self) -> Value {
        let deaths = self.counters.deaths.iter();
        let deaths: serde_json::Map<String, Value> = deaths
            .map(|((who, how), count)| (format!("{who} {how}"), json!(count)))
            .collect();
        let recoveries = self.counters.recoveries.iter();
        let recoveries: serde_json::Map<String, Value> = recoveries
            .filter(|(_, seen)| seen.count > 0)
            .map(|(who, seen)| ((*who).to_owned(), json!(millis(seen.longest))))
            .collect();
        let unmeasured: u64 = self
            .counters
            .recoveries
            .values()
            .map(|seen| seen.unmeasured)
            .sum();
        json!({
            "ledger": self.ledger,
            "kills": self.counters.kills(),
            "deaths": deaths,
            "pauses": self.counters.pauses,
            "locks": self.counters.locks,
            "longest_recovery_ms": recoveries,
            "recoveries_unmeasured": unmeasured,
            "longest_gap_ms": millis(self.longest_gap),
            "loaded_ms": millis(self.loaded_in),
            "settled_ms": millis(self.settled_in),
            "events_per_second": self.events_per_second().round(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ledger {
            confirmed,
            repeated,
            refused,
            unknown,
            events,
            deliveries,
            sent_again,
            requests,
            dead,
            applied,
            stale,
            lost,
            doubled,
            stuck,
            out_of_order,
            wrong,
            findings,
        } = &self.ledger;
        for ((who, how), count) in &self.counters.deaths {
            writeln!(out, "{count:>9}  {who}: {how}")?;
        }
        writeln!(
            out,
            "{:>9}  kills, {} pauses past the lease, {} locked files",
            self.counters.kills(),
            self.counters.pauses,
            self.counters.locks
        )?;
        for (who, seen) in &self.counters.recoveries {
            let longest = millis(seen.longest);
            writeln!(
                out,
                "{longest:>9}  ms: longest recovery of {who}, of {}",
                seen.count
            )?;
            if seen.unmeasured > 0 {
                writeln!(
                    out,
                    "{:>9}  more not measured: everything was done before",
                    seen.unmeasured
                )?;
            }
        }
        for who in self.counters.unhealed() {
            writeln!(out, "           FAULT: too late, or not at all: {who}")?;
        }
        writeln!(
            out,
            "{:>9}  ms: longest time without an answer",
            millis(self.longest_gap)
        )?;
        writeln!(
            out,
            "{confirmed:>9}  writes confirmed in {:.1} s, {:.0} a second; {repeated} of them took more than one attempt",
            self.loaded_in.as_secs_f64(),
            self.events_per_second()
        )?;
        writeln!(out, "{refused:>9}  refused, {unknown} never answered")?;
        writeln!(
            out,
            "{events:>9}  events, {deliveries} deliveries, {requests} requests on the wire; settled {:.1} s after the last write",
            self.settled_in.as_secs_f64()
        )?;
        writeln!(out, "{sent_again:>9}  delivered, and sent again by hand")?;
        writeln!(out, "{applied:>9}  applied, {stale} stale, {dead} dead")?;
        for finding in findings {
            writeln!(out, "           {finding}")?;
        }
        writeln!(out, "{lost:>9}  lost")?;
        writeln!(out, "{doubled:>9}  doubled")?;
        writeln!(out, "{stuck:>9}  stuck")?;
        writeln!(out, "{out_of_order:>9}  out of order")?;
        writeln!(out, "{wrong:>9}  records and profiles that say something else")
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
