//! The figures of a run: a table for people, one line of JSON for programs.
//!
//! Every figure was measured in this run, and says which load it is of.

use super::figures::{LoadFigures, heading, hundredths, line};
use super::greedy::Greedy;
use super::lives::BodyStyle;
use super::options::{Target, Via};
use super::overload::{Beside, Overload};
use super::purging::Purging;
use super::receiver::Run;
use super::requeuing::Requeuing;
use super::streaming::StreamFigures;
use super::tally::Percentiles;
use super::watch::Memory;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A whole run; as JSON, exactly these fields.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `sqlite` or `mysql`.
    pub engine: &'static str,
    /// Connections of the generator.
    pub connections: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Seconds of each load.
    pub seconds: u64,
    /// How much of a body is written.
    pub bodies: BodyStyle,
    /// The mean length of a body.
    pub body_bytes: u64,
    /// Sources that the receiver had in the rounds and at half of the rate.
    pub sources: usize,
    /// Microseconds to write and sign one request, beforehand.
    pub sign_micros: f64,
    /// The level at which the services logged.
    pub log_level: String,
    /// One load after the other.
    pub rounds: Vec<Round>,
    /// Half of the best rate, as an open loop.
    pub half: Option<ReceiverFigures>,
    /// More than the best rate, as an open loop.
    pub overload: Option<Overload>,
    /// More connections than the queue has places, in a closed loop.
    pub crowd: Option<Overload>,
    /// Half of the best rate beside unsigned bodies.
    pub beside_unsigned: Option<Beside>,
    /// Sources beside one that sends ten times its share.
    pub greedy: Option<Greedy>,
    /// A quarter of the best rate beside a run of dead letters.
    pub requeue: Option<Requeuing>,
    /// The top rate beside a purge.
    pub purge: Option<Purging>,
    /// The median of the rounds' ratios: the receiver's rate by that of the bare endpoint.
    pub ratio: Option<f64>,
    /// What must not be; empty when the run is good.
    pub faults: Vec<String>,
}

/// The bare endpoint, if it is wanted, and then the receiver.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// The bare endpoint.
    pub bare: Option<LoadFigures>,
    /// The receiver.
    pub receiver: ReceiverFigures,
}

/// What became of it in the receiver.
#[derive(Clone, Debug, Serialize)]
pub struct ReceiverFigures {
    /// What the generator was answered.
    pub load: LoadFigures,
    /// Events applied a second during the load.
    pub applied_rate: f64,
    /// Events that waited for the projector at the last answer.
    pub backlog: u64,
    /// Seconds until nothing waited.
    pub drain_seconds: f64,
    /// Events applied a second meanwhile, if there were many.
    pub drain_rate: Option<f64>,
    /// Events a second, taken in and applied, over load and drain.
    pub steady_rate: f64,
    /// MiB resident.
    pub memory_mib: Memory,
    /// Processor microseconds of the receiver for one event, taken in and applied.
    pub cpu_micros_per_event: f64,
    /// The events of the inbox by status, at the end.
    pub inbox: BTreeMap<String, u64>,
    /// What a client read that had the live stream open.
    pub stream: Option<StreamFigures>,
}

impl ReceiverFigures {
    /// The figures of a run.
    pub fn new(run: &Run, load: LoadFigures, stream: Option<StreamFigures>) -> Self {
        let events: u64 = run.inbox.values().sum();
        Self {
            load,
            applied_rate: run.applied_rate().round(),
            backlog: run.backlog,
            drain_seconds: hundredths(run.drain.as_secs_f64()),
            drain_rate: run.drain_rate().map(f64::round),
            steady_rate: run.steady_rate().round(),
            memory_mib: run.memory,
            cpu_micros_per_event: hundredths(run.cpu_seconds * 1e6 / events.max(1) as f64),
            inbox: run.inbox.clone(),
            stream,
        }
    }
}

impl Report {
    /// The median of the ratios of the rounds that have one.
    pub fn ratio_of(rounds: &[Round]) -> Option<f64> {
        let ratios = rounds
            .iter()
            .filter_map(|round| Some(round.receiver.load.rate / round.bare.as_ref()?.rate.max(1.0)));
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        let middle = ratios.get(ratios.len() / 2)?;
        Some((middle * 1000.0).round() / 1000.0)
    }

    /// The best rate of the receiver.
    pub fn top_rate(rounds: &[Round]) -> f64 {
        rounds
            .iter()
            .map(|round| round.receiver.load.rate)
            .fold(0.0, f64::max)
    }
}

/// Writes at the emitter; as JSON, exactly these fields.
#[derive(Clone, Debug, Serialize)]
pub struct WritesReport {
    /// What was measured.
    pub target: Target,
    /// What was written.
    pub via: Via,
    /// `sqlite` or `mysql`, of every service.
    pub engine: &'static str,
    /// Connections of the generator.
    pub connections: usize,
    /// The writes.
    pub load: LoadFigures,
    /// From where to where `arrival_ms` counts.
    pub arrival: &'static str,
    /// Milliseconds.
    pub arrival_ms: Percentiles,
    /// Deliveries that were still to be made when the last write was answered.
    pub backlog: u64,
    /// Seconds until nothing waited anywhere.
    pub drain_seconds: f64,
    /// Events a second, written and arrived, over load and drain.
    pub steady_rate: f64,
    /// MiB resident, by service.
    pub memory_mib: BTreeMap<&'static str, Memory>,
    /// Processor microseconds for one event, by service.
    pub cpu_micros_per_event: BTreeMap<&'static str, f64>,
    /// The level at which the services logged.
    pub log_level: String,
    /// What must not be; empty when the run is good.
    pub faults: Vec<String>,
}

impl fmt::Display for WritesReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} engine; {} connections; services log {}",
            self.engine, self.connections, self.log_level
        )?;
        heading(out)?;
        let written = match self.via {
            Via::Guests => "writes",
            Via::Events => "events",
            Via::Batch => "batches",
        };
        line(out, written, &self.load)?;
        let shown = self.arrival_ms;
        writeln!(
            out,
            "{:<14}{:>10}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>10.2}  {}",
            "arrival", "", shown.p50, shown.p90, shown.p99, shown.p999, shown.max, self.arrival
        )?;
        writeln!(
            out,
            "    {} deliveries waited at the end, all arrived {:.2} s later; steady {:.0}/s",
            self.backlog, self.drain_seconds, self.steady_rate
        )?;
        for (service, memory) in &self.memory_mib {
            let cpu = self.cpu_micros_per_event.get(service).copied().unwrap_or(0.0);
            writeln!(
                out,
                "    {service}: {memory}; {cpu:.0} us of processor time an event"
            )?;
        }
        faults(out, &self.faults)
    }
}

/// A duration of whole seconds, as the report has it.
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs()
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} engine; {} connections, {} threads, {} s each; {} sources; bodies of {} bytes, each request written and signed in \
             {:.2} us beforehand; services log {}",
            self.engine,
            self.connections,
            self.threads,
            self.seconds,
            self.sources,
            self.body_bytes,
            self.sign_micros,
            self.log_level
        )?;
        heading(out)?;
        for round in &self.rounds {
            if let Some(bare) = &round.bare {
                line(out, "bare", bare)?;
            }
            line(out, "receiver", &round.receiver.load)?;
            write!(out, "{}", round.receiver)?;
        }
        if let Some(half) = &self.half {
            line(out, "half the rate", &half.load)?;
            write!(out, "{half}")?;
        }
        for overload in self.overload.iter().chain(&self.crowd) {
            write!(out, "{overload}")?;
        }
        if let Some(beside) = &self.beside_unsigned {
            write!(out, "{beside}")?;
        }
        if let Some(greedy) = &self.greedy {
            write!(out, "{greedy}")?;
        }
        if let Some(requeue) = &self.requeue {
            write!(out, "{requeue}")?;
        }
        if let Some(purge) = &self.purge {
            write!(out, "{purge}")?;
        }
        if let Some(ratio) = self.ratio {
            writeln!(out, "ratio: the receiver reaches {ratio:.3} of the bare endpoint")?;
        }
        faults(out, &self.faults)
    }
}

/// What must not be, a line each.
///
/// # Errors
/// When nothing more can be written.
pub fn faults(out: &mut fmt::Formatter<'_>, faults: &[String]) -> fmt::Result {
    for fault in faults {
        writeln!(out, "FAULT: {fault}")?;
    }
    Ok(())
}

impl fmt::Display for ReceiverFigures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drain = self
            .drain_rate
            .map_or_else(String::new, |rate| format!(" at {rate:.0}/s"));
        writeln!(
            out,
            "    applied {:.0}/s meanwhile; {} waited at the end, drained in {:.2} s{drain}; steady {:.0}/s",
            self.applied_rate, self.backlog, self.drain_seconds, self.steady_rate
        )?;
        writeln!(
            out,
            "    {}; {:.1} us of processor time an event; inbox {:?}",
            self.memory_mib, self.cpu_micros_per_event, self.inbox
        )?;
        self.stream.map_or(Ok(()), |stream| write!(out, "{stream}"))
    }
}
