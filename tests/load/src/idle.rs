//! Webhooks that never get anything: what an emitter costs while nothing happens, and under a load, beside one without them.
//!
//! Both have the environment's webhook, which gets all that is written. Each is started again before, so that what it took to make the
//! webhooks does not count.

use super::fanned::wait_for;
use super::figures::{LoadFigures, heading, hundredths, line, thousandths};
use super::generator::Load;
use super::options::Options;
use super::report::faults;
use super::service::Stage;
use super::session;
use super::sink::Sink;
use super::watch::{cpu_seconds, forget_peak, resident};
use super::webhooks::{make_idle, start_emitter};
use super::writes::Writers;
use anyhow::{Context, Result};
use bytes::Bytes;
use harness::client::Client;
use http::Method;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What a start brings about is over by then.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// Counts the statements of the emitter.
const STATEMENTS: &str = "pms_emitter_db_statements_total";

/// An emitter with webhooks that get nothing, or with none.
#[derive(Clone, Debug, Serialize)]
pub struct Idle {
    /// Webhooks that get nothing.
    pub endpoints: u16,
    /// Statements a second while nothing happens.
    pub statements_rate: f64,
    /// MiB resident then.
    pub resident_mib: f64,
    /// MiB resident at most under the load.
    pub peak_mib: f64,
    /// The writes of the load.
    pub load: LoadFigures,
}

/// Without them, and with them.
#[derive(Clone, Debug, Serialize)]
pub struct IdleReport {
    /// `sqlite` or `mysql`.
    pub engine: &'static str,
    /// Connections of the generator.
    pub connections: usize,
    /// Without them.
    pub none: Idle,
    /// With them.
    pub with: Idle,
    /// MiB resident more while nothing happens.
    pub more_mib: f64,
    /// MiB resident more at most under the load.
    pub more_peak_mib: f64,
    /// The rate of writes with them, by that without.
    pub rate_ratio: f64,
    /// What must not be; empty when the run is good.
    pub faults: Vec<String>,
}

/// Compares so many webhooks that get nothing with none.
///
/// # Errors
/// When something does not start, or fails in a way that is no figure.
pub async fn measure(options: &Options, stage: &Stage<'_>, endpoints: u16) -> Result<IdleReport> {
    let mut faults = Vec::new();
    let none = idle(options, stage, 0, &mut faults).await?;
    let with = idle(options, stage, endpoints, &mut faults).await?;
    Ok(IdleReport {
        engine: stage.engine.name(),
        connections: options.connections(),
        more_mib: hundredths(with.resident_mib - none.resident_mib),
        more_peak_mib: hundredths(with.peak_mib - none.peak_mib),
        rate_ratio: thousandths(with.load.rate / none.load.rate.max(f64::EPSILON)),
        none,
        with,
        faults,
    })
}

async fn idle(
    options: &Options,
    stage: &Stage<'_>,
    endpoints: u16,
    faults: &mut Vec<String>,
) -> Result<Idle> {
    let sink = Sink::start()?;
    let environment = [
        ("CRM_WEBHOOK_URL", sink.url()),
        ("CRM_WEBHOOK_SECRET", stage.secret.clone()),
    ];
    let (emitter, metrics) = start_emitter(stage, &environment).await?;
    make_idle(&emitter, endpoints, &sink.url()).await?;
    let emitter = emitter.restarted().await?;
    let writers = Writers::of(options, &emitter).await?;
    sleep(SETTLED_AFTER).await;
    let (before, begun) = (statements(metrics).await?, Instant::now());
    sleep(options.time()).await;
    let statements_rate = (statements(metrics).await? - before) / begun.elapsed().as_secs_f64();
    let resident_mib = resident(emitter.process()?, "VmRSS")?;
    forget_peak(emitter.process()?)?;
    let load = Load {
        target: emitter.address(),
        ..session::load(options, options.pace(), options.time())
    };
    let used = cpu_seconds(std::process::id())?;
    let measured = writers.send(load).await?;
    let used = cpu_seconds(std::process::id())? - used;
    wait_for(&sink, measured.tally.good()).await?;
    let peak_mib = resident(emitter.process()?, "VmHWM")?;
    emitter.end().await?;
    if measured.tally.wrong() > 0 {
        faults.push(format!(
            "{} answers were neither 2xx nor 503",
            measured.tally.wrong()
        ));
    }
    if sink.requests() != measured.tally.good() {
        faults.push(format!(
            "{} writes, and {} requests",
            measured.tally.good(),
            sink.requests()
        ));
    }
    Ok(Idle {
        endpoints,
        statements_rate: hundredths(statements_rate),
        resident_mib: hundredths(resident_mib),
        peak_mib: hundredths(peak_mib),
        load: LoadFigures::new(&measured, options.rate(), options.connections(), used),
    })
}

/// Statements that an emitter has run, by its metrics.
async fn statements(metrics: SocketAddr) -> Result<f64> {
    let client = Client::new("");
    let url = format!("http://{metrics}/metrics");
    let page = client
        .send(&Method::GET, &url, &[], Bytes::new())
        .await?
        .into_body();
    let page = std::str::from_utf8(&page)?;
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(STATEMENTS)?.trim().parse().ok());
    value.context("an emitter counts its statements")
}

impl fmt::Display for IdleReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} engine; {} connections", self.engine, self.connections)?;
        heading(out)?;
        for one in [&self.none, &self.with] {
            line(out, &format!("{} idle", one.endpoints), &one.load)?;
            writeln!(
                out,
                "    {:.1} statements a second while nothing happens, {:.1} MiB resident; {:.1} at most under the load",
                one.statements_rate, one.resident_mib, one.peak_mib
            )?;
        }
        writeln!(
            out,
            "{:.1} MiB more while nothing happens, {:.1} under the load; {:.3} of the writes",
            self.more_mib, self.more_peak_mib, self.rate_ratio
        )?;
        faults(out, &self.faults)
    }
}
