//! Attacks, each alone on each service: the service's peak memory and, where it matters, the answers to well-behaved
//! clients.
//!
//! A service is a process of its own on a fresh database. Its peak is reset when the attack begins, so that the
//! preparation is not counted.

mod bodies;
mod figures;
mod filters;
mod keys;
mod largest;
mod lists;

pub use figures::{Attacked, Growth, HostileReport, Line};

use super::attack::Attack;
use super::figures::LoadFigures;
use super::generator::{self, Load, Measured, Pace, Speakers};
use super::options::Options;
use super::receiver::Receiver;
use super::service::{Service, Stage};
use super::sink::Sink;
use super::watch::{Memory, Watching, cpu_seconds, forget_peak};
use super::writes::start_emitter;
use anyhow::Result;
use harness::program::{EMITTER, RECEIVER};
use std::sync::Arc;
use std::time::Duration;

/// Attacks the emitter, then the receiver.
///
/// # Errors
/// When a service does not start or goes away, or the generator fails.
pub async fn attack(attack: Attack, options: &Options, stage: &Stage<'_>) -> Result<HostileReport> {
    let sink = Sink::start()?;
    let emitter = start_emitter(stage, sink.url()).await?;
    let of_emitter = match attack {
        Attack::Bodies => bodies::on_emitter(&emitter, options).await,
        Attack::Lists => lists::on_emitter(&emitter, options).await,
        Attack::Keys => keys::on_emitter(&emitter, options).await,
        Attack::Filters => filters::on_emitter(&emitter, options).await,
    }?;
    emitter.end().await?;
    drop(sink);
    let receiver = Receiver::start(stage).await?;
    let of_receiver = match attack {
        Attack::Bodies => bodies::on_receiver(receiver.service(), options, &stage.secret).await,
        Attack::Lists => lists::on_receiver(receiver.service(), options, &stage.secret).await,
        Attack::Keys => keys::on_receiver(receiver.service(), options, &stage.secret).await,
        Attack::Filters => filters::on_receiver(receiver.service(), options, &stage.secret).await,
    }?;
    receiver.end().await?;
    Ok(HostileReport::new(
        attack,
        stage.engine.name(),
        [(EMITTER, of_emitter), (RECEIVER, of_receiver)],
    ))
}

/// A service while it is attacked.
struct Target<'s> {
    service: &'s Service,
    watching: Watching,
    lines: Vec<Line>,
    faults: Vec<String>,
}

impl<'s> Target<'s> {
    /// Looks at it from now on.
    fn watch(service: &'s Service) -> Result<Self> {
        let process = service.process()?;
        forget_peak(process)?;
        Ok(Self {
            service,
            watching: Watching::begin(process)?,
            lines: Vec::new(),
            faults: Vec::new(),
        })
    }

    /// A load on it by so many connections.
    fn load(&self, connections: usize, pace: Pace, time: Duration) -> Load {
        Load {
            target: self.service.address(),
            requests_max: None,
            connections,
            threads: 1,
            pace,
            time,
        }
    }

    /// Sends a load, and notes it under a name.
    async fn send<S: Speakers>(&mut self, name: &str, load: Load, speakers: S) -> Result<Measured> {
        let used = cpu_seconds(std::process::id())?;
        let measured = send(load.clone(), speakers).await?;
        let used = cpu_seconds(std::process::id())? - used;
        self.note(name, &load, &measured, used);
        Ok(measured)
    }

    fn note(&mut self, name: &str, load: &Load, measured: &Measured, cpu_seconds: f64) {
        let figures = LoadFigures::new(measured, load.pace.rate(), load.connections, cpu_seconds);
        self.lines.push(Line::load(name, figures));
        if measured.tally.answers() == 0 {
            self.faults.push(format!("{name}: nothing was answered"));
        }
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// What was seen.
    async fn end(self) -> Result<Attacked> {
        let (memory_mib, _): (Memory, f64) = self.watching.end().await?;
        Ok(Attacked {
            lines: self.lines,
            memory_mib,
            faults: self.faults,
        })
    }
}

/// Sends a load concurrently with others.
async fn send<S: Speakers>(load: Load, speakers: S) -> Result<Measured> {
    let speakers = Arc::new(speakers);
    tokio::task::spawn_blocking(move || generator::run(load, &speakers)).await?
}
