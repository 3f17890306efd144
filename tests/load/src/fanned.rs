//! Webhooks that get all that is written: one beside many, and those that answer alone and beside as many that never do.
//!
//! Each is a fresh emitter that gets the same load, an open loop, and then as much as makes so many deliveries as fast as it goes.

use super::figures::{LoadFigures, heading, line, thousandths};
use super::generator::{Load, Pace};
use super::options::Options;
use super::report::faults;
use super::service::Stage;
use super::session;
use super::sink::Sink;
use super::tally::Percentiles;
use super::watch::{Memory, Watching, cpu_seconds};
use super::webhooks::{make_matching, start_emitter};
use super::writes::{Writers, arrived};
use anyhow::{Result, ensure};
use harness::waiting::Looks;
use serde::Serialize;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Deliveries of a burst, to those that answer.
const BURST_DELIVERIES: u64 = 20_000;
/// Connections that write it.
const BURST_CONNECTIONS: usize = 8;
/// The most that writing it takes.
const BURST_TIME: Duration = Duration::from_secs(60);
/// For what was written to arrive everywhere: so long after what arrived last.
const ARRIVED_WITHIN: Duration = Duration::from_secs(40);
/// The least latency that is divided by, in milliseconds: a histogram's unit.
const LATENCY_MS_MIN: f64 = 0.001;

/// Both loads of an emitter.
#[derive(Clone, Debug, Serialize)]
pub struct Fanned {
    /// Webhooks that get everything and answer.
    pub endpoints: u16,
    /// Webhooks that get everything and never answer.
    pub black_holes: u16,
    /// The writes.
    pub load: LoadFigures,
    /// From the answer of a write to its arrivals, at each webhook that answers.
    pub arrival_ms: Percentiles,
    /// Delivered a second during a burst, to all that answer.
    pub delivered_rate: f64,
    /// MiB resident.
    pub memory_mib: Memory,
}

/// The same twice: first the one that the other is compared with.
#[derive(Clone, Debug, Serialize)]
pub struct FannedReport {
    /// `sqlite` or `mysql`.
    pub engine: &'static str,
    /// Connections of the generator.
    pub connections: usize,
    /// What is compared with.
    pub alone: Fanned,
    /// What is compared.
    pub beside: Fanned,
    /// The 99th percentile of a write, by that alone.
    pub write_p99_ratio: f64,
    /// The 99th percentile of an arrival, by that alone.
    pub arrival_p99_ratio: f64,
    /// Delivered a second in all, by that alone.
    pub delivered_ratio: f64,
    /// What must not be; empty when the run is good.
    pub faults: Vec<String>,
}

/// Compares so many webhooks with one.
///
/// # Errors
/// When something does not start, or fails in a way that is no figure.
pub async fn endpoints(options: &Options, stage: &Stage<'_>, endpoints: u16) -> Result<FannedReport> {
    compare(options, stage, [(1, 0), (endpoints, 0)]).await
}

/// Compares so many webhooks with the same ones beside as many that never answer.
///
/// # Errors
/// As `endpoints`.
pub async fn black_holes(options: &Options, stage: &Stage<'_>, endpoints: u16) -> Result<FannedReport> {
    compare(options, stage, [(endpoints, 0), (endpoints, endpoints)]).await
}

async fn compare(options: &Options, stage: &Stage<'_>, both: [(u16, u16); 2]) -> Result<FannedReport> {
    let mut faults = Vec::new();
    let alone = fanned(options, stage, both[0], &mut faults).await?;
    let beside = fanned(options, stage, both[1], &mut faults).await?;
    let ratio = |of: fn(&Fanned) -> f64| thousandths(of(&beside) / of(&alone).max(LATENCY_MS_MIN));
    Ok(FannedReport {
        engine: stage.engine.name(),
        connections: options.connections(),
        write_p99_ratio: ratio(|one| one.load.latency_ms.p99),
        arrival_p99_ratio: ratio(|one| one.arrival_ms.p99),
        delivered_ratio: ratio(|one| one.delivered_rate),
        alone,
        beside,
        faults,
    })
}

async fn fanned(
    options: &Options,
    stage: &Stage<'_>,
    (endpoints, black_holes): (u16, u16),
    faults: &mut Vec<String>,
) -> Result<Fanned> {
    let (sink, black_hole) = (Sink::start()?, BlackHole::open().await?);
    let (emitter, _) = start_emitter(stage, &[]).await?;
    let writers = Writers::of(options, &emitter).await?;
    make_matching(&emitter, 0..endpoints, &sink.url()).await?;
    make_matching(&emitter, endpoints..endpoints + black_holes, &black_hole.url).await?;
    let watching = Watching::begin(emitter.process()?)?;
    let load = Load {
        target: emitter.address(),
        ..session::load(options, options.pace(), options.time())
    };
    let used = cpu_seconds(std::process::id())?;
    let measured = writers.send(load.clone()).await?;
    let used = cpu_seconds(std::process::id())? - used;
    let each = u64::from(endpoints);
    let mut due = measured.tally.good() * each;
    wait_for(&sink, due).await?;
    let (arrived, missing) = arrived(&writers.written(), &sink.arrivals(), usize::from(endpoints));
    let burst = Load {
        connections: BURST_CONNECTIONS.min(load.connections),
        requests_max: Some(BURST_DELIVERIES.div_ceil(each)),
        pace: Pace::Closed,
        time: BURST_TIME,
        ..load
    };
    // Others, since the requests of a load are numbered from 0 again, and so are their keys.
    let writers = Writers::of(options, &emitter).await?;
    let begun = Instant::now();
    let written = writers.send(burst).await?;
    due += written.tally.good() * each;
    wait_for(&sink, due).await?;
    let last = sink.arrivals().into_values().flatten().max().unwrap_or(begun);
    let took = last.saturating_duration_since(begun).as_secs_f64();
    let (memory_mib, _) = watching.end().await?;
    let wrong = measured.tally.wrong() + written.tally.wrong();
    if wrong > 0 {
        faults.push(format!("{wrong} answers were neither 2xx nor 503"));
    }
    let unanswered = measured.tally.unanswered() + written.tally.unanswered();
    if unanswered > 0 {
        faults.push(format!("{unanswered} writes were not answered"));
    }
    if missing > 0 || sink.requests() != due {
        let arrived = sink.requests();
        faults.push(format!(
            "{due} deliveries were due, {arrived} arrived, {missing} are missing"
        ));
    }
    emitter.end().await?;
    Ok(Fanned {
        endpoints,
        black_holes,
        load: LoadFigures::new(&measured, options.rate(), options.connections(), used),
        arrival_ms: arrived.percentiles(),
        delivered_rate: ((written.tally.good() * each) as f64 / took.max(f64::EPSILON)).round(),
        memory_mib,
    })
}

/// Waits until a sink has had so many requests, however long they take.
///
/// # Errors
/// When no more of them come.
pub async fn wait_for(sink: &Sink, requests: u64) -> Result<()> {
    let (mut so_far, mut looks) = (0, Looks::within(ARRIVED_WITHIN));
    while so_far < requests {
        let now = sink.requests();
        if now > so_far {
            (so_far, looks) = (now, Looks::within(ARRIVED_WITHIN));
        } else {
            ensure!(
                looks.go_on().await,
                "{so_far} of {requests} deliveries, and no more in {ARRIVED_WITHIN:?}"
            );
        }
    }
    Ok(())
}

/// Takes every connection and never says anything. It ends when it is dropped.
struct BlackHole {
    url: String,
    accepting: JoinHandle<()>,
}

impl BlackHole {
    async fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let accepting = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.push(stream);
            }
        });
        Ok(Self { url, accepting })
    }
}

impl Drop for BlackHole {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl fmt::Display for FannedReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} engine; {} connections", self.engine, self.connections)?;
        heading(out)?;
        for one in [&self.alone, &self.beside] {
            let name = match one.black_holes {
                0 => format!("{} webhooks", one.endpoints),
                holes => format!("{} + {holes} mute", one.endpoints),
            };
            line(out, &name, &one.load)?;
            let shown = one.arrival_ms;
            writeln!(
                out,
                "{:<14}{:>10}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>10.2}  from the answer of a write to each arrival",
                "arrival", "", shown.p50, shown.p90, shown.p99, shown.p999, shown.max
            )?;
            writeln!(
                out,
                "    {:.0} delivered a second in a burst; {}",
                one.delivered_rate, one.memory_mib
            )?;
        }
        writeln!(
            out,
            "ratios: p99 of a write {:.3}, p99 of an arrival {:.3}, delivered a second {:.3}",
            self.write_p99_ratio, self.arrival_p99_ratio, self.delivered_ratio
        )?;
        faults(out, &self.faults)
    }
}
