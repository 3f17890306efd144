//! A session: one load after the other, the bare endpoint and the receiver in turn, so that both see the same machine.
//!
//! Every load on a receiver has a fresh process and a fresh database, and sends the same signed requests.

use super::events::Events;
use super::figures::LoadFigures;
use super::generator::{self, Load, Measured, Pace};
use super::greedy::greedy;
use super::lives::BodyStyle;
use super::options::Options;
use super::overload::{beside_unsigned, crowd, overload};
use super::pool::Pool;
use super::purging::purging;
use super::receiver::{Receiver, Run};
use super::report::{ReceiverFigures, Report, Round, whole_seconds};
use super::requeuing::requeuing;
use super::service::Stage;
use super::sources;
use super::streaming::Streaming;
use super::template::SOURCE;
use super::watch::cpu_seconds;
use anyhow::Result;
use harness::process::Process;
use harness::program::Program;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The name of the program that is the bare endpoint.
pub const BARE: &str = "bare";

/// Measures the receiver, and the bare endpoint beside it if that is wanted.
///
/// # Errors
/// When something does not start, or fails in a way that is no figure.
pub async fn receiver(options: &Options, stage: &Stage<'_>) -> Result<Report> {
    let pool = sign(options.bodies, options.pool_events(), &stage.secret)?;
    let load = load(options, options.pace(), options.time());
    let mut report = Report {
        engine: stage.engine.name(),
        connections: load.connections,
        threads: load.threads,
        seconds: whole_seconds(load.time),
        bodies: options.bodies,
        sources: options.sources(),
        body_bytes: pool.body_bytes_mean(),
        sign_micros: pool.sign_micros(),
        log_level: stage.log_level.clone(),
        rounds: Vec::new(),
        half: None,
        overload: None,
        crowd: None,
        beside_unsigned: None,
        greedy: None,
        requeue: None,
        purge: None,
        ratio: None,
        faults: Vec::new(),
    };
    for _ in 0..options.repeat {
        let bare = if options.baseline {
            Some(bare(stage, &load, &pool, &mut report.faults).await?)
        } else {
            None
        };
        let receiver = one_receiver(stage, (&load, options), &pool, &mut report.faults).await?;
        report.rounds.push(Round { bare, receiver });
    }
    report.ratio = Report::ratio_of(&report.rounds);
    let top_rate = Report::top_rate(&report.rounds).max(2.0);
    if options.half {
        let load = Load {
            pace: Pace::Open(top_rate / 2.0),
            ..load.clone()
        };
        report.half = Some(one_receiver(stage, (&load, options), &pool, &mut report.faults).await?);
    }
    if let Some(times) = options.overload {
        let beyond = overload(stage, &load, &pool, (times, top_rate), &mut report.faults).await?;
        report.overload = Some(beyond);
    }
    if let Some(connections) = options.crowd {
        let of = (usize::from(connections), top_rate);
        report.crowd = Some(crowd(stage, &load, &pool, of, &mut report.faults).await?);
    }
    if let Some(connections) = options.unsigned {
        let with = (usize::from(connections), top_rate);
        report.beside_unsigned = Some(beside_unsigned(stage, &load, &pool, with, &mut report.faults).await?);
    }
    // What follows signs events of its own.
    drop(pool);
    let asked = (&load, options);
    if let Some(connections) = options.greedy {
        let with = (usize::from(connections), top_rate);
        report.greedy = Some(greedy(stage, asked, with, &mut report.faults).await?);
    }
    if let Some(dead_letters) = options.requeue {
        let of = (dead_letters, top_rate);
        report.requeue = Some(requeuing(stage, asked, of, &mut report.faults).await?);
    }
    if let Some(bodies) = options.purge {
        report.purge = Some(purging(stage, asked, bodies, &mut report.faults).await?);
    }
    Ok(report)
}

/// The load that is asked for, to nobody yet.
pub fn load(options: &Options, pace: Pace, time: Duration) -> Load {
    Load {
        target: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        requests_max: None,
        connections: options.connections(),
        threads: options.threads(),
        pace,
        time,
    }
}

/// Signs events of a fresh run.
///
/// # Errors
/// When they are too many.
pub fn sign(style: BodyStyle, events: u64, secret: &str) -> Result<Arc<Pool>> {
    Events::new(SOURCE, secret, style)?.sign(events)
}

/// The bare endpoint under a load. It gets the requests again and again: none is a repetition to it.
///
/// # Errors
/// When it does not start, or the generator fails.
pub async fn bare(
    stage: &Stage<'_>,
    load: &Load,
    pool: &Arc<Pool>,
    faults: &mut Vec<String>,
) -> Result<LoadFigures> {
    let folder = tempfile::tempdir()?;
    let process = Process::start(&Program::new(&stage.program, BARE), folder.path(), &[]).await?;
    let load = Load {
        target: process.address(),
        ..load.clone()
    };
    let used = cpu_seconds(std::process::id())?;
    let (rate, connections) = (load.pace.rate(), load.connections);
    let speakers = Arc::new(Arc::clone(pool));
    let measured: Measured = tokio::task::spawn_blocking(move || generator::run(load, &speakers)).await??;
    let used = cpu_seconds(std::process::id())? - used;
    process.kill().await?;
    let failed = measured.tally.answers() - measured.tally.of(202) + measured.tally.unanswered();
    if failed > 0 {
        faults.push(format!(
            "{failed} requests to the bare endpoint were not answered 202"
        ));
    }
    Ok(LoadFigures::new(&measured, rate, connections, used))
}

async fn one_receiver(
    stage: &Stage<'_>,
    (load, options): (&Load, &Options),
    pool: &Arc<Pool>,
    faults: &mut Vec<String>,
) -> Result<ReceiverFigures> {
    let receiver = Receiver::start(stage).await?;
    sources::fill(receiver.service(), options.sources()).await?;
    let stream = if options.stream {
        Some(Streaming::open(receiver.service()).await?)
    } else {
        None
    };
    let used = cpu_seconds(std::process::id())?;
    let run: Run = receiver.run(load, pool).await?;
    let used = cpu_seconds(std::process::id())? - used;
    faults.extend(run.faults());
    let stream = match stream {
        Some(stream) => Some(stream.end(run.inbox.values().sum(), faults).await?),
        None => None,
    };
    receiver.end().await?;
    let figures = LoadFigures::new(&run.measured, load.pace.rate(), load.connections, used);
    Ok(ReceiverFigures::new(&run, figures, stream))
}
