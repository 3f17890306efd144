//! A sink that refuses connections while events are published, and comes back: how fast what waits is delivered, in how many
//! requests, and how soon what is published meanwhile arrives.

use super::fanned::wait_for;
use super::figures::{hundredths, thousandths};
use super::generator::{Load, Measured, Pace};
use super::options::Options;
use super::producer::{BATCH_EVENTS, Producer};
use super::report::faults;
use super::service::{Service, Stage};
use super::session;
use super::sink::Sink;
use super::tally::Percentiles;
use super::writes::{Writers, arrived};
use anyhow::Result;
use contract::clock::Clock;
use harness::database::DELIVERIES_PENDING;
use harness::program::EMITTER;
use kit::random::SystemClock;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Of what waits in the outage, so much is published before, for the steady rate.
const STEADY_SHARE: u64 = 4;
/// Connections that publish batches.
const BATCH_CONNECTIONS: usize = 2;
/// The most that publishing them takes.
const BATCH_TIME: Duration = Duration::from_secs(120);
/// The least that fresh events are published for.
const FRESH_TIME_MIN: Duration = Duration::from_secs(3);
/// The waits between attempts: what a probe of the outage was spent on is tried again within the run, and no outage of it has so
/// many probes. By the default schedule a delivery that two of them failed with waits five minutes, whatever drains meanwhile.
const WAIT: &str = "1s";
const WAITS: usize = 49;
/// Attempts of all deliveries.
const ATTEMPTS: &str = "SELECT SUM(attempts) AS n FROM deliveries";
const EVENTS: &str = "SELECT COUNT(*) AS n FROM events";
/// The least latency that is divided by, in milliseconds: a histogram's unit.
const LATENCY_MS_MIN: f64 = 0.001;

/// Before, during and after an outage.
#[derive(Clone, Debug, Serialize)]
pub struct OutageReport {
    /// `sqlite` or `mysql`.
    pub engine: &'static str,
    /// Fresh events that were published a second.
    pub fresh_rate: f64,
    /// Events a second that arrive while more wait than can be sent, without an outage.
    pub steady_rate: f64,
    /// Events that waited when the sink came back.
    pub waiting: u64,
    /// Seconds from then to the first arrival.
    pub first_after_seconds: f64,
    /// Of what waited, events a second from the first arrival to the last.
    pub drain_rate: f64,
    /// The same by the steady rate.
    pub drain_ratio: f64,
    /// Attempts of each event, those that were refused included.
    pub attempts_per_event: f64,
    /// From the answer to the arrival of fresh events, without an outage and with nothing that waits.
    pub fresh_alone_ms: Percentiles,
    /// The same while it is drained.
    pub fresh_ms: Percentiles,
    /// The 99th percentile then, by that alone.
    pub fresh_p99_ratio: f64,
    /// What must not be; empty when the run is good.
    pub faults: Vec<String>,
}

/// Has so many events wait for a sink.
///
/// # Errors
/// When something does not start, or fails in a way that is no figure.
pub async fn measure(options: &Options, stage: &Stage<'_>, events: u64) -> Result<OutageReport> {
    let sink = Sink::start()?;
    let variables = [
        ("CRM_WEBHOOK_URL", sink.url()),
        ("CRM_WEBHOOK_SECRET", stage.secret.clone()),
        (
            "DELIVERY_RETRY_SCHEDULE",
            format!("0s{}", format!(",{WAIT}").repeat(WAITS)),
        ),
    ];
    let emitter = Service::start(stage, EMITTER, &variables).await?;
    let publishing = Publishing::new(options, &emitter);
    let mut faults = Vec::new();

    let steady = publishing
        .batches(events.div_ceil(STEADY_SHARE), &mut faults)
        .await?;
    wait_for(&sink, steady.events).await?;
    let steady_rate = steady.rate(&sink);
    let fresh_rate = options.rate().unwrap_or(1.0);
    let fresh_time = Duration::from_secs_f64(events as f64 / steady_rate.max(1.0)).max(FRESH_TIME_MIN);
    let before = sink.requests();
    let fresh = publishing.fresh(fresh_time, &mut faults).await?;
    wait_for(&sink, before + fresh.events).await?;
    let (fresh_alone, missing_alone) = arrived(&fresh.writers.written(), &sink.arrivals(), 1);

    let address = sink.address();
    drop(sink);
    let backlog = publishing.batches(events, &mut faults).await?;
    let waiting = emitter.count(DELIVERIES_PENDING).await?;
    let sink = Sink::again(address).await?;
    let back = Instant::now();
    wait_for(&sink, 1).await?;
    let first_after = back.elapsed();
    let fresh = publishing.fresh(fresh_time, &mut faults).await?;
    wait_for(&sink, backlog.events + fresh.events).await?;
    emitter.drain(DELIVERIES_PENDING).await?;
    let (attempts, all) = (emitter.count(ATTEMPTS).await?, emitter.count(EVENTS).await?);
    emitter.end().await?;
    let arrivals = sink.arrivals();
    let (fresh_beside, missing_fresh) = arrived(&fresh.writers.written(), &arrivals, 1);
    let written = backlog.writers.written();
    let (_, missing) = arrived(&written, &arrivals, 1);
    let of_backlog = || {
        written
            .iter()
            .filter_map(|one| arrivals.get(&one.commit)?.first())
    };
    let (first, last) = (of_backlog().min(), of_backlog().max());
    let took = first
        .zip(last)
        .map_or(0.0, |(first, last)| (*last - *first).as_secs_f64());
    let missing = missing + missing_alone + missing_fresh;
    if missing > 0 {
        faults.push(format!("{missing} events never arrived"));
    }
    if waiting < events {
        faults.push(format!("only {waiting} events waited when the sink came back"));
    }
    let drain_rate = written.len() as f64 / took.max(f64::EPSILON);
    let (alone, beside) = (fresh_alone.percentiles(), fresh_beside.percentiles());
    Ok(OutageReport {
        engine: stage.engine.name(),
        fresh_rate,
        steady_rate: steady_rate.round(),
        waiting,
        first_after_seconds: hundredths(first_after.as_secs_f64()),
        drain_rate: drain_rate.round(),
        drain_ratio: thousandths(drain_rate / steady_rate.max(1.0)),
        attempts_per_event: thousandths(attempts as f64 / all.max(1) as f64),
        fresh_alone_ms: alone,
        fresh_ms: beside,
        fresh_p99_ratio: thousandths(beside.p99 / alone.p99.max(LATENCY_MS_MIN)),
        faults,
    })
}

/// Publishes at an emitter.
struct Publishing {
    load: Load,
    fresh: Pace,
}

/// What was published.
struct Published {
    writers: Writers,
    events: u64,
}

impl Publishing {
    fn new(options: &Options, emitter: &Service) -> Self {
        let load = session::load(options, Pace::Closed, BATCH_TIME);
        Self {
            load: Load {
                target: emitter.address(),
                ..load
            },
            fresh: options.pace(),
        }
    }

    /// So many, as fast as they are taken in.
    async fn batches(&self, events: u64, faults: &mut Vec<String>) -> Result<Published> {
        let load = Load {
            connections: BATCH_CONNECTIONS,
            requests_max: Some(events.div_ceil(BATCH_EVENTS as u64)),
            ..self.load.clone()
        };
        publish(load, BATCH_EVENTS, faults).await
    }

    /// One by one, when each is due.
    async fn fresh(&self, time: Duration, faults: &mut Vec<String>) -> Result<Published> {
        let load = Load {
            pace: self.fresh,
            time,
            ..self.load.clone()
        };
        publish(load, 1, faults).await
    }
}

async fn publish(load: Load, events: usize, faults: &mut Vec<String>) -> Result<Published> {
    let run = SystemClock.now().0.to_string();
    let writers = Writers::Producer(Arc::new(Producer::new(run, events)));
    let measured: Measured = writers.send(load).await?;
    if measured.tally.answers() > measured.tally.good() {
        let refused = measured.tally.answers() - measured.tally.good();
        faults.push(format!("{refused} requests were not answered 2xx"));
    }
    Ok(Published {
        writers,
        events: measured.tally.good() * events as u64,
    })
}

impl Published {
    /// How many arrive a second, from the first answer on.
    fn rate(&self, sink: &Sink) -> f64 {
        let (written, arrivals) = (self.writers.written(), sink.arrivals());
        let last = arrivals.values().flatten().max();
        let first = arrivals.values().flatten().min();
        let took = first
            .zip(last)
            .map_or(0.0, |(first, last)| (*last - *first).as_secs_f64());
        written.len() as f64 / took.max(f64::EPSILON)
    }
}

impl fmt::Display for OutageReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} engine; {} events waited when the sink came back, the first arrived {:.2} s later",
            self.engine, self.waiting, self.first_after_seconds
        )?;
        writeln!(
            out,
            "    drained at {:.0}/s, {:.3} of the steady {:.0}/s; {:.3} attempts an event",
            self.drain_rate, self.drain_ratio, self.steady_rate, self.attempts_per_event
        )?;
        writeln!(
            out,
            "    {:.0} fresh events a second: p50 {:.2}, p99 {:.2} ms meanwhile; {:.2}, {:.2} ms alone: p99 {:.3} times that",
            self.fresh_rate,
            self.fresh_ms.p50,
            self.fresh_ms.p99,
            self.fresh_alone_ms.p50,
            self.fresh_alone_ms.p99,
            self.fresh_p99_ratio
        )?;
        faults(out, &self.faults)
    }
}
