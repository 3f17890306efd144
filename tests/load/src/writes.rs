//! Writes at the emitter under load: how fast they are, and how soon what they commit is where it has to be.
//!
//! `emitter`: to a sink in this process, timed from the answer of the write, which the client has after the commit, to
//! the arrival of the event; both instants are of one clock. `e2e`: to a receiver, timed from the event's own
//! `occurred_at` to the `applied_at` of the receiver's table; those are whole milliseconds of the two services' clocks,
//! which are one machine's.

use super::desk::{Desk, Written};
use super::figures::LoadFigures;
use super::generator::{self, Load, Measured, Speakers};
use super::options::{Options, Via};
use super::producer::{BATCH_EVENTS, Producer};
use super::receiver::Receiver;
use super::report::WritesReport;
use super::service::{Service, Stage};
use super::session;
use super::sink::{Arrivals, Sink};
use super::tally::Tally;
use super::watch::{Watching, cpu_seconds};
use anyhow::Result;
use contract::clock::Clock;
use harness::books::texts;
use harness::config::BASE_PATH;
use harness::database::{DELIVERIES_PENDING, EVENTS_ACCEPTED};
use harness::program::EMITTER;
use kit::random::SystemClock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Counts the events of the emitter's log.
const EVENTS: &str = "SELECT COUNT(*) AS n FROM events";
/// Counts the deliveries that are done.
const DELIVERED: &str = "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'delivered'";
/// When each event of the inbox was committed at the emitter, and applied.
const TIMES: &str = "SELECT occurred_at, applied_at FROM inbox WHERE applied_at IS NOT NULL";

/// What is written, delivered to a sink.
///
/// # Errors
/// When something does not start, or fails in a way that is no figure.
pub async fn emitter(options: &Options, stage: &Stage<'_>) -> Result<WritesReport> {
    let sink = Sink::start()?;
    let emitter = start_emitter(stage, sink.url()).await?;
    let writers = Writers::of(options, &emitter).await?;
    let mut report = under_load(options, stage, &emitter, None, &writers).await?;
    let (arrived, missing) = arrived(&writers.written(), &sink.arrivals(), 1);
    if missing > 0 {
        report
            .faults
            .push(format!("{missing} writes never arrived at the sink"));
    }
    report.arrival = "from the answer of the write to its event's arrival at the sink";
    report.arrival_ms = arrived.percentiles();
    emitter.end().await?;
    Ok(report)
}

/// Writes to the emitter, applied in the receiver.
///
/// # Errors
/// When something does not start, or fails in a way that is no figure.
pub async fn end_to_end(options: &Options, stage: &Stage<'_>) -> Result<WritesReport> {
    let receiver = Receiver::start(stage).await?;
    let url = format!("http://{}{BASE_PATH}/webhooks/pms", receiver.service().address());
    let emitter = start_emitter(stage, url).await?;
    let writers = Writers::of(options, &emitter).await?;
    let mut report = under_load(options, stage, &emitter, Some(receiver.service()), &writers).await?;
    let mut applied = Tally::new();
    let mut effects = 0_u64;
    for row in receiver.service().rows(TIMES).await? {
        let [occurred_at, applied_at] = texts(row)?;
        let took = applied_at.parse::<i64>()? - occurred_at.parse::<i64>()?;
        applied.took(Duration::from_millis(u64::try_from(took).unwrap_or(0)));
        effects += 1;
    }
    let events = emitter.count(EVENTS).await?;
    if effects != events {
        report.faults.push(format!(
            "the emitter has {events} events, and the receiver applied {effects}"
        ));
    }
    report.arrival = "from the commit in the PMS to applied in the CRM, by both tables";
    report.arrival_ms = applied.percentiles();
    emitter.end().await?;
    receiver.end().await?;
    Ok(report)
}

/// An emitter that delivers to `url`.
///
/// # Errors
/// When there is no server of its engine, or it does not start.
pub async fn start_emitter(stage: &Stage<'_>, url: String) -> Result<Service> {
    let variables = [
        ("CRM_WEBHOOK_URL", url),
        ("CRM_WEBHOOK_SECRET", stage.secret.clone()),
    ];
    Service::start(stage, EMITTER, &variables).await
}

/// Who writes at an emitter.
pub enum Writers {
    /// A front desk.
    Desk(Arc<Desk>),
    /// Another system.
    Producer(Arc<Producer>),
}

impl Writers {
    /// Those of `--via`, let in.
    ///
    /// # Errors
    /// When the emitter refuses something.
    pub async fn of(options: &Options, emitter: &Service) -> Result<Self> {
        let run = SystemClock.now().0;
        if options.via == Via::Guests {
            let mut desk = Desk::new(format!("load-{run}"))?;
            desk.open_hotels(emitter.address()).await?;
            if options.api_key {
                desk.make_key(emitter.address()).await?;
            }
            return Ok(Self::Desk(Arc::new(desk)));
        }
        let events = if options.via == Via::Batch {
            BATCH_EVENTS
        } else {
            1
        };
        let mut producer = Producer::new(run.to_string(), events);
        if options.api_key {
            producer.make_key(emitter.address()).await?;
        }
        Ok(Self::Producer(Arc::new(producer)))
    }

    /// Sends a load.
    ///
    /// # Errors
    /// When the generator fails.
    pub async fn send(&self, load: Load) -> Result<Measured> {
        match self {
            Self::Desk(desk) => send(load, desk).await,
            Self::Producer(producer) => send(load, producer).await,
        }
    }

    /// What was written until now; nothing is answered twice.
    pub fn written(&self) -> Vec<Written> {
        match self {
            Self::Desk(desk) => desk.written(),
            Self::Producer(producer) => producer.written(),
        }
    }
}

async fn send<W>(load: Load, writers: &Arc<W>) -> Result<Measured>
where
    Arc<W>: Speakers,
    W: Send + Sync + 'static,
{
    let speakers = Arc::new(Arc::clone(writers));
    tokio::task::spawn_blocking(move || generator::run(load, &speakers)).await?
}

/// How long what was written took to arrive at each of so many endpoints, and how many arrivals there are too few.
pub fn arrived(written: &[Written], arrivals: &Arrivals, endpoints: usize) -> (Tally, usize) {
    let (mut took, mut missing) = (Tally::new(), 0);
    for written in written {
        let times = arrivals.get(&written.commit).map_or(&[][..], Vec::as_slice);
        for at in times.iter().take(endpoints) {
            // Nothing when it was there before its answer was read.
            took.took(at.saturating_duration_since(written.at));
        }
        missing += endpoints.saturating_sub(times.len());
    }
    (took, missing)
}

/// Sends the load and waits until nothing waits anywhere. The arrival is the caller's to fill in.
async fn under_load(
    options: &Options,
    stage: &Stage<'_>,
    emitter: &Service,
    receiver: Option<&Service>,
    writers: &Writers,
) -> Result<WritesReport> {
    let (requests_max, time) = options.writes();
    let load = Load {
        target: emitter.address(),
        requests_max,
        ..session::load(options, options.pace(), time)
    };
    let mut watched = vec![("emitter", Watching::begin(emitter.process()?)?)];
    if let Some(receiver) = receiver {
        watched.push(("receiver", Watching::begin(receiver.process()?)?));
    }
    let used = cpu_seconds(std::process::id())?;
    // What ends before its time has written as many as were asked for.
    let measured = Measured {
        ran_dry: false,
        ..writers.send(load).await?
    };
    let used = cpu_seconds(std::process::id())? - used;
    let (backlog, mut drain) = emitter.drain(DELIVERIES_PENDING).await?;
    if let Some(receiver) = receiver {
        drain += receiver.drain(EVENTS_ACCEPTED).await?.1;
    }
    let events = emitter.count(EVENTS).await?;
    let mut memory_mib = BTreeMap::new();
    let mut cpu_micros_per_event = BTreeMap::new();
    for (name, watching) in watched {
        let (memory, cpu) = watching.end().await?;
        memory_mib.insert(name, memory);
        cpu_micros_per_event.insert(name, (cpu * 1e6 / events.max(1) as f64).round());
    }
    let mut faults = Vec::new();
    let (good, delivered) = (measured.tally.good(), emitter.count(DELIVERED).await?);
    if measured.tally.wrong() > 0 {
        faults.push(format!(
            "{} answers were neither 2xx nor 503",
            measured.tally.wrong()
        ));
    }
    if events < good {
        faults.push(format!(
            "{good} writes were answered, but the log has {events} events"
        ));
    }
    if delivered != events {
        faults.push(format!("of {events} events {delivered} were delivered"));
    }
    let load = LoadFigures::new(&measured, options.rate(), options.connections(), used);
    Ok(WritesReport {
        target: options.target,
        via: options.via,
        engine: stage.engine.name(),
        connections: options.connections(),
        steady_rate: (events as f64 / (measured.elapsed + drain).as_secs_f64()).round(),
        load,
        arrival: "",
        arrival_ms: Tally::new().percentiles(),
        backlog,
        drain_seconds: (drain.as_secs_f64() * 100.0).round() / 100.0,
        memory_mib,
        cpu_micros_per_event,
        log_level: stage.log_level.clone(),
        faults,
    })
}
