//! What a purge of old bodies costs those who send meanwhile: the top rate without a purge, while one goes on, and without
//! one again, on the same tables. The receiver starts again before each, with a purge that is due or not.

use super::compared::{Compared, Sent};
use super::events::Events;
use super::figures::thousandths;
use super::generator::Load;
use super::options::Options;
use super::plant::Planting;
use super::receiver::{Receiver, misplaced};
use super::service::{Service, Stage};
use super::template::SOURCE;
use super::watch::{Memory, too_large};
use anyhow::{Result, ensure};
use contract::{Clock, UnixMillis};
use harness::database::EVENTS_ACCEPTED;
use harness::waiting::Looks;
use kit::random::SystemClock;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// How old the bodies are: older than they are kept, and younger than their events are.
const AGE_MILLIS: i64 = 60 * 24 * 3_600_000;
/// Within this a purge that is due begins.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);
const PURGES_ENDED: &str = "SELECT COUNT(*) AS n FROM purges";

/// The top rate beside a purge.
#[derive(Clone, Debug, Serialize)]
pub struct Purging {
    /// Bodies that were old enough.
    pub planted: u64,
    /// Bodies that were purged during the load.
    pub purged: u64,
    /// The load without a purge, and while one went on.
    pub compared: Compared,
    /// The rate of the load without a purge after that, by the one before it: what is not the purge's.
    pub again_ratio: f64,
    /// The rate beside the purge, by the mean of the two without one.
    pub mean_ratio: f64,
    /// MiB resident while the purge went on.
    pub memory_mib: Memory,
}

/// Plants so many old bodies, and sends as fast as is answered.
///
/// # Errors
/// When the receiver does not start, or the generator fails.
pub async fn purging(
    stage: &Stage<'_>,
    (load, options): (&Load, &Options),
    bodies: u64,
    faults: &mut Vec<String>,
) -> Result<Purging> {
    let receiver = Receiver::start(stage).await?;
    // The purge of empty tables that a first start makes is over before there is something to purge.
    wait_for(receiver.service(), PURGES_ENDED, |purges| purges > 0).await?;
    let received_at = UnixMillis(SystemClock.now().0 - AGE_MILLIS);
    let planting = Planting {
        received_at,
        events: bodies,
        status: "applied",
    };
    planting.write(receiver.service(), stage, options.bodies).await?;
    let mut events = Events::new(SOURCE, &stage.secret, options.bodies)?;
    let mut sign = || events.sign(options.pool_events());
    let pool = sign()?;
    let receiver = start_again(receiver, false).await?;
    let mut alone = Sent::pool(&receiver, load, pool).await?;
    receiver.service().drain(EVENTS_ACCEPTED).await?;
    let pool = sign()?;
    let receiver = start_again(receiver, true).await?;
    // Bodies are purged in the order of their ids.
    let gone = format!(
        "SELECT COUNT(*) AS n FROM inbox WHERE received_at = {} AND event_id < \
         (SELECT COALESCE(MIN(event_id), 'f') FROM inbox_bodies)",
        received_at.0
    );
    wait_for(receiver.service(), &gone, |gone| gone > 0).await?;
    let watching = receiver.watch()?;
    let before = receiver.service().count(&gone).await?;
    let beside = Sent::pool(&receiver, load, pool).await?;
    let purged = receiver.service().count(&gone).await? - before;
    let (memory_mib, _) = watching.end().await?;
    let pool = sign()?;
    let receiver = start_again(receiver, false).await?;
    receiver.service().drain(EVENTS_ACCEPTED).await?;
    let again = Sent::pool(&receiver, load, pool).await?;
    receiver.service().drain(EVENTS_ACCEPTED).await?;
    let mut inbox = receiver.inbox().await?;
    receiver.end().await?;
    let compared = Compared::new(&alone, &beside);
    let [before, during, after] =
        [&alone, &beside, &again].map(|sent| sent.measured.rate().max(f64::EPSILON));
    for other in [&beside, &again] {
        alone.measured.tally.add(&other.measured.tally);
    }
    let all = &alone.measured.tally;
    if all.wrong() > 0 {
        faults.push(format!("{} answers were neither 2xx nor 503", all.wrong()));
    }
    if let Some(applied) = inbox.get_mut("applied") {
        *applied -= bodies.min(*applied);
    }
    faults.extend(misplaced(all, &inbox));
    faults.extend(too_large("a receiver that purges", memory_mib.peak));
    if purged == 0 {
        faults.push("nothing was purged during the load: plant more".to_owned());
    }
    Ok(Purging {
        planted: bodies,
        purged,
        compared,
        again_ratio: thousandths(after / before),
        mean_ratio: thousandths(2.0 * during / (before + after)),
        memory_mib,
    })
}

/// Starts the receiver again: then it purges at once when the last purge ended long ago, and else not within the hour.
async fn start_again(receiver: Receiver, is_due: bool) -> Result<Receiver> {
    let ended = if is_due { 0 } else { SystemClock.now().0 };
    let sql = format!("UPDATE purges SET finished_at = {ended}");
    receiver.service().execute(&sql).await?;
    receiver.restarted().await
}

async fn wait_for(receiver: &Service, sql: &str, is_so: impl Fn(u64) -> bool) -> Result<()> {
    let looks = Looks::within(BEGINS_WITHIN);
    while !is_so(receiver.count(sql).await?) {
        ensure!(looks.go_on().await, "no purge after {BEGINS_WITHIN:?}");
    }
    Ok(())
}

impl fmt::Display for Purging {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "purge of {} bodies:", self.planted)?;
        write!(out, "{}", self.compared)?;
        writeln!(
            out,
            "    {} bodies purged meanwhile; without a purge again {:.3} of the rate; {:.3} of the mean of both without",
            self.purged, self.again_ratio, self.mean_ratio
        )?;
        writeln!(out, "    {}", self.memory_mib)
    }
}
