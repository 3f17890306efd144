//! How fast dead letters are applied again while live events arrive, and what that costs those: a quarter of the top rate
//! alone, and the same beside a run that requeues everything.

use super::compared::{Compared, Sent};
use super::events::Events;
use super::figures::thousandths;
use super::generator::{Load, Pace};
use super::options::Options;
use super::plant::Planting;
use super::receiver::{Receiver, misplaced};
use super::service::{Service, Stage};
use super::template::SOURCE;
use super::watch::{Memory, too_large};
use anyhow::{Context, Result, ensure};
use contract::{Clock, UnixMillis};
use harness::database::EVENTS_ACCEPTED;
use http::StatusCode;
use kit::random::SystemClock;
use serde::Serialize;
use serde_json::json;
use std::fmt;
use std::time::Duration;

/// Of the top rate, what arrives live.
const LIVE_SHARE: f64 = 0.25;
/// One dead letter in so many is applied first, with nothing beside it: that is the drain rate.
const DRAIN_SHARE: u64 = 10;
/// The least of the drain rate at which a run is to be applied.
const DRAIN_RATIO: f64 = 0.5;
/// The longest load for that, and the most events of it.
const LIVE_SECONDS_MAX: f64 = 120.0;
const LIVE_EVENTS_MAX: f64 = 700_000.0;
const DAY_MILLIS: i64 = 24 * 3_600_000;
/// For the whole run: a million dead letters at a thousand a second.
const RUN_WITHIN: Duration = Duration::from_secs(1_000);
const RUNS_LEFT: &str = "SELECT COUNT(*) AS n FROM requeues WHERE status = 'running'";

/// Dead letters beside live events.
#[derive(Clone, Debug, Serialize)]
pub struct Requeuing {
    /// Seconds of each load of live events.
    pub seconds: f64,
    /// Dead letters that one run requeued.
    pub dead_letters: u64,
    /// Events applied a second where many wait and none arrives; None where it was too fast to measure.
    pub drain_rate: Option<f64>,
    /// Requeued events that were applied during the load.
    pub applied: u64,
    /// The same a second, until the load ended or the last was applied.
    pub applied_rate: f64,
    /// That by the drain rate.
    pub drain_ratio: Option<f64>,
    /// The live events without the run, and beside it.
    pub compared: Compared,
    /// Seconds from the request for the run until its last event was applied.
    pub whole_seconds: f64,
    /// MiB resident.
    pub memory_mib: Memory,
}

/// Plants so many dead letters and requeues them beside a quarter of `top_rate`.
///
/// # Errors
/// When the receiver does not start, or the generator fails.
pub async fn requeuing(
    stage: &Stage<'_>,
    (load, options): (&Load, &Options),
    (dead_letters, top_rate): (u64, f64),
    faults: &mut Vec<String>,
) -> Result<Requeuing> {
    let rate = (top_rate * LIVE_SHARE).max(1.0);
    let receiver = Receiver::start(stage).await?;
    let service = receiver.service();
    let now = SystemClock.now().0;
    let [drained, dead] = [
        (2 * DAY_MILLIS, dead_letters.div_ceil(DRAIN_SHARE)),
        (DAY_MILLIS, dead_letters),
    ]
    .map(|(age, events)| Planting {
        received_at: UnixMillis(now - age),
        events,
        status: "dead_letter",
    });
    for planting in [drained, dead] {
        planting.write(service, stage, options.bodies).await?;
    }
    let watching = receiver.watch()?;
    let drain_rate = drain_rate(service, drained).await?;

    let load = Load {
        pace: Pace::Open(rate),
        time: live_time(load.time, rate, dead_letters as f64, drain_rate),
        ..load.clone()
    };
    let mut events = Events::new(SOURCE, &stage.secret, options.bodies)?;
    let wanted = (rate * load.time.as_secs_f64()).ceil() as u64;
    let (first, second) = (events.sign(wanted)?, events.sign(wanted)?);
    let mut alone = Sent::pool(&receiver, &load, first).await?;
    service.drain(EVENTS_ACCEPTED).await?;

    let begun = SystemClock.now();
    let run = service
        .client()
        .post("/requeues", &json!({"filter": {}}), "all")
        .await?;
    ensure!(
        run.status == StatusCode::ACCEPTED,
        "the run is refused: {} {}",
        run.status,
        run.body
    );
    let beside = Sent::pool(&receiver, &load, second).await?;
    let ended = SystemClock.now();
    let (applied, last) = applied(service, dead, ended).await?;
    let until = if applied == dead_letters { last } else { ended };
    service.drain_within(RUNS_LEFT, RUN_WITHIN).await?;
    service.drain(EVENTS_ACCEPTED).await?;
    let (_, last) = self::applied(service, dead, SystemClock.now()).await?;
    let (memory_mib, _) = watching.end().await?;
    let mut inbox = receiver.inbox().await?;
    receiver.end().await?;

    let compared = Compared::new(&alone, &beside);
    let all = &mut alone.measured.tally;
    all.add(&beside.measured.tally);
    if all.wrong() > 0 {
        faults.push(format!("{} answers were neither 2xx nor 503", all.wrong()));
    }
    let mut planted = drained.events + dead.events;
    for decided in ["applied", "stale"] {
        if let Some(events) = inbox.get_mut(decided) {
            let ours = planted.min(*events);
            *events -= ours;
            planted -= ours;
        }
    }
    faults.extend(misplaced(all, &inbox));
    faults.extend(too_large("a receiver that requeues", memory_mib.peak));
    let applied_rate = applied as f64 / seconds(begun, until);
    Ok(Requeuing {
        seconds: thousandths(load.time.as_secs_f64()),
        dead_letters,
        drain_rate: drain_rate.map(f64::round),
        applied,
        applied_rate: applied_rate.round(),
        drain_ratio: drain_rate.map(|drain| thousandths(applied_rate / drain)),
        compared,
        whole_seconds: thousandths(seconds(begun, last)),
        memory_mib,
    })
}

/// How long live events are sent, once without a run and once beside it: as long as one takes that reaches the goal, as far as so
/// many can be signed beforehand.
fn live_time(asked: Duration, rate: f64, dead_letters: f64, drain_rate: Option<f64>) -> Duration {
    let run = drain_rate.map_or(0.0, |drain| dead_letters / (DRAIN_RATIO * drain));
    let run = Duration::from_secs_f64(run.min(LIVE_SECONDS_MAX).min(LIVE_EVENTS_MAX / rate));
    asked.max(run)
}

/// Lets all of a planting wait at once, and answers how many of them are applied a second. Those of the first transaction
/// begin the time, and do not count.
async fn drain_rate(service: &Service, planting: Planting) -> Result<Option<f64>> {
    let planted = format!("received_at = {}", planting.received_at.0);
    let sql = format!("UPDATE inbox SET status = 'accepted', applied_at = NULL WHERE {planted}");
    service.execute(&sql).await?;
    service.drain(EVENTS_ACCEPTED).await?;
    let sql = format!("SELECT MIN(applied_at) AS n FROM inbox WHERE {planted}");
    let first = i64::try_from(service.count(&sql).await?)?;
    let sql = format!("SELECT MAX(applied_at) AS n FROM inbox WHERE {planted}");
    let last = i64::try_from(service.count(&sql).await?)?;
    let sql = format!("SELECT COUNT(*) AS n FROM inbox WHERE {planted} AND applied_at > {first}");
    let after = service.count(&sql).await?;
    Ok((after > 0).then(|| after as f64 / seconds(UnixMillis(first), UnixMillis(last))))
}

/// How many of a planting were applied by then, and when the last of them.
async fn applied(service: &Service, planting: Planting, by: UnixMillis) -> Result<(u64, UnixMillis)> {
    let sql = format!(
        "SELECT COUNT(*) AS n, COALESCE(MAX(applied_at), 0) AS last FROM inbox WHERE received_at = {} \
         AND status IN ('applied', 'stale') AND applied_at <= {}",
        planting.received_at.0, by.0
    );
    let row = service.rows(&sql).await?.pop().context("a count is one row")?;
    let [count, last] = harness::books::texts(row)?;
    Ok((count.parse()?, UnixMillis(last.parse()?)))
}

/// From one instant to another, a millisecond at least.
fn seconds(from: UnixMillis, to: UnixMillis) -> f64 {
    (to.0 - from.0).max(1) as f64 / 1000.0
}

impl fmt::Display for Requeuing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} dead letters requeued, at a quarter of the top rate for {:.0} s:",
            self.dead_letters, self.seconds
        )?;
        write!(out, "{}", self.compared)?;
        writeln!(
            out,
            "    {} of them applied meanwhile, {:.0}/s; all within {:.1} s",
            self.applied, self.applied_rate, self.whole_seconds
        )?;
        match (self.drain_rate, self.drain_ratio) {
            (Some(rate), Some(ratio)) => {
                writeln!(
                    out,
                    "    {ratio:.3} of the drain rate, {rate:.0}/s with nothing beside it"
                )?;
            }
            _ => writeln!(out, "    the drain was too short to measure: plant more")?,
        }
        writeln!(out, "    {}", self.memory_mib)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_events_are_sent_for_as_long_as_a_run_at_the_goal_takes() {
        let time = |rate, drain| live_time(Duration::from_secs(10), rate, 100_000.0, drain).as_secs();
        assert_eq!(time(6_000.0, Some(5_000.0)), 40);
        assert_eq!(time(6_000.0, Some(500_000.0)), 10);
        assert_eq!(time(6_000.0, None), 10);
        assert_eq!(time(1_000.0, Some(100.0)), 120);
        assert_eq!(time(35_000.0, Some(1_000.0)), 20);
    }
}
