//! What a flood of connections costs the receiver and well-behaved clients.
//!
//! The receiver is a process of its own. It gets good deliveries before and during the flood, each on a connection of its
//! own. Reported are their latencies, what became of the flood, and the receiver's resident memory.

use super::{Flood, Tally};
use crate::attack::FloodKind;
use crate::options::Options;
use crate::service::{Service, Stage};
use crate::watch::{resident, too_large};
use anyhow::Result;
use api::open_files::allow_connections;
use contract::{Clock, SecretList};
use harness::program::RECEIVER;
use harness::signer::send;
use kit::random::SystemClock;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Good deliveries a second.
const GOOD_RATE: u64 = 200;
/// A p99 that is always allowed; beyond it, twice what it was before the flood.
const P99_ALWAYS: Duration = Duration::from_millis(10);
/// For the last sockets to close before the next phase.
const PAUSE: Duration = Duration::from_millis(100);

/// The result of a flood.
#[derive(Clone, Debug, Serialize)]
pub struct FloodReport {
    /// What each connection did.
    pub kind: FloodKind,
    /// How many there were.
    pub connections: usize,
    /// How long it took to open them.
    pub opened_in: Duration,
    /// What had become of them at the end.
    pub flood: Tally,
    /// Good deliveries before it.
    pub before: GoodDeliveries,
    /// Good deliveries in it.
    pub during: GoodDeliveries,
    /// Resident in the receiver before anything was sent, in MiB.
    pub at_rest_mib: f64,
    /// Once all were open.
    pub opened_mib: f64,
    /// At most, over all.
    pub most_mib: f64,
    /// What must not be; empty when the run is good.
    pub faults: Vec<String>,
}

/// How the good deliveries of one phase fared.
#[derive(Clone, Debug, Serialize)]
pub struct GoodDeliveries {
    /// How many were sent.
    pub sent: usize,
    /// How many were answered 202.
    pub accepted: usize,
    /// Of those, from the instant at which they were due.
    pub p50: Duration,
    /// The same for the slowest of a hundred.
    pub p99: Duration,
}

/// Floods a receiver of its own.
///
/// # Errors
/// When it does not start or goes away, or this process may not open as many connections.
pub async fn measure(kind: FloodKind, options: &Options, stage: &Stage<'_>) -> Result<FloodReport> {
    let connections = options.connections();
    allow_connections(u32::try_from(connections)?);
    let secrets: SecretList = stage.secret.parse()?;
    let variables = [("WEBHOOK_SHARED_SECRET", stage.secret.clone())];
    let receiver = Service::start(stage, RECEIVER, &variables).await?;
    let (address, process) = (receiver.address(), receiver.process()?);
    let at_rest_mib = resident(process, "VmRSS")?;
    let before = GoodDeliveries::send(address, &secrets, "before", options.time()).await;
    let begun = Instant::now();
    let flood = Flood::open(address, kind, connections, SystemClock.now().seconds()).await?;
    let opened_in = begun.elapsed();
    let opened_mib = resident(process, "VmRSS")?;
    let during = GoodDeliveries::send(address, &secrets, "during", options.time()).await;
    let most_mib = resident(process, "VmHWM")?;
    let mut faults: Vec<String> = too_large("the receiver", most_mib).into_iter().collect();
    faults.extend(before.refused("before"));
    if kind.leaves_room() {
        faults.extend(during.refused("during"));
        faults.extend(during.slower_than(&before));
    }
    let report = FloodReport {
        kind,
        connections,
        opened_in,
        flood: flood.tally().await,
        before,
        during,
        at_rest_mib,
        opened_mib,
        most_mib,
        faults,
    };
    drop(flood);
    receiver.end().await?;
    Ok(report)
}

impl FloodKind {
    /// Whether others still get in: half bodies are evicted for newer ones and for whole ones. Of the other kinds so many stay open
    /// that nobody else gets in before the oldest of them are closed.
    fn leaves_room(self) -> bool {
        matches!(self, Self::HalfBodies | Self::LongBodies)
    }
}

impl GoodDeliveries {
    fn refused(&self, phase: &str) -> Option<String> {
        let Self { sent, accepted, .. } = self;
        (accepted < sent).then(|| format!("{accepted} of {sent} good deliveries were accepted {phase}"))
    }

    fn slower_than(&self, alone: &Self) -> Option<String> {
        let most = (2 * alone.p99).max(P99_ALWAYS);
        (self.p99 > most).then(|| {
            format!(
                "p99 of good deliveries is {:.1?}, and {most:.1?} are allowed",
                self.p99
            )
        })
    }

    /// Sends them at a steady rate.
    async fn send(address: SocketAddr, secrets: &SecretList, phase: &str, time: Duration) -> Self {
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(GOOD_RATE).expect("a small number"));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sending = JoinSet::new();
        for number in 0..time.as_secs() * GOOD_RATE {
            let due = ticks.tick().await;
            let (secrets, id) = (secrets.clone(), format!("good_{phase}_{number}"));
            sending.spawn(async move {
                let body = format!(
                    r#"{{"type":"ping","idempotency_key":"{id}","timestamp":1763769600000,"schema_version":1}}"#
                );
                let now = SystemClock.now().seconds();
                let sent = send(address, "pms", &id, body.as_bytes(), &secrets, now).await;
                (sent.map(|answer| answer.status).ok(), due.elapsed())
            });
        }
        let answers = sending.join_all().await;
        let accepted = answers.iter().filter(|(status, _)| *status == Some(202));
        let mut times: Vec<Duration> = accepted.map(|(_, time)| *time).collect();
        times.sort_unstable();
        sleep(PAUSE).await;
        let at = |share: f64| {
            let place = (times.len() as f64 * share) as usize;
            let place = place.min(times.len().saturating_sub(1));
            times.get(place).copied().unwrap_or_default()
        };
        Self {
            sent: answers.len(),
            accepted: times.len(),
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

impl fmt::Display for GoodDeliveries {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            accepted,
            p50,
            p99,
        } = self;
        write!(out, "{accepted} of {sent} accepted, p50 {p50:.1?}, p99 {p99:.1?}")
    }
}

impl fmt::Display for FloodReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:?}, {} connections", self.kind, self.connections)?;
        writeln!(out, "at rest:   resident {:.1} MiB", self.at_rest_mib)?;
        writeln!(out, "before:    {}", self.before)?;
        let (opened_in, opened_mib) = (self.opened_in, self.opened_mib);
        writeln!(out, "opened in: {opened_in:.1?}; resident {opened_mib:.1} MiB")?;
        writeln!(out, "during:    {}", self.during)?;
        writeln!(out, "flood:     {:?}", self.flood)?;
        writeln!(out, "at most:   {:.1} MiB", self.most_mib)?;
        for fault in &self.faults {
            writeln!(out, "FAULT: {fault}")?;
        }
        Ok(())
    }
}
