//! The receiver under load: a process of its own on a fresh database, from its start until all is applied.
//!
//! The receiver is asked nothing. What it took in and what it applied is counted in its tables, by SQL that does not
//! know its code, and compared with what the generator was answered.

use super::generator::{self, Load, Measured, Speakers};
use super::pool::Pool;
use super::service::{Service, Stage};
use super::tally::Tally;
use super::watch::{Memory, Watching};
use anyhow::Result;
use harness::books::texts;
use harness::database::EVENTS_ACCEPTED;
use harness::program::RECEIVER;
use harness::waiting::LOOK_EVERY;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A running receiver.
pub struct Receiver(Service);

/// What a load made of it.
#[derive(Clone, Debug)]
pub struct Run {
    /// What the generator was answered.
    pub measured: Measured,
    /// Events that were not applied when the last answer came.
    pub backlog: u64,
    /// From the last answer until nothing waited.
    pub drain: Duration,
    /// Its memory.
    pub memory: Memory,
    /// Seconds of processor time until nothing waited.
    pub cpu_seconds: f64,
    /// The events of the inbox by status, at the end.
    pub inbox: BTreeMap<String, u64>,
}

impl Receiver {
    /// Starts it on a fresh database.
    ///
    /// # Errors
    /// When there is no server of that engine, or it does not start.
    pub async fn start(stage: &Stage<'_>) -> Result<Self> {
        Self::start_with(stage, &[]).await
    }

    /// The same with these variables besides.
    ///
    /// # Errors
    /// As `start`.
    pub async fn start_with(stage: &Stage<'_>, more: &[(&'static str, String)]) -> Result<Self> {
        let own = [("WEBHOOK_SHARED_SECRET", stage.secret.clone())];
        let variables = [&own, more].concat();
        Ok(Self(Service::start(stage, RECEIVER, &variables).await?))
    }

    /// Stops it, and starts it again on the same database.
    ///
    /// # Errors
    /// When it does not stop or start.
    pub async fn restarted(self) -> Result<Self> {
        Ok(Self(self.0.restarted().await?))
    }

    /// The service.
    pub fn service(&self) -> &Service {
        &self.0
    }

    /// Sends it each request of a pool once, whatever target and number `load` says, and waits until everything is
    /// applied.
    ///
    /// # Errors
    /// When the generator fails, the receiver goes away, or something waits for ever.
    pub async fn run(&self, load: &Load, pool: &Arc<Pool>) -> Result<Run> {
        let speakers = Arc::new(Arc::clone(pool));
        self.run_with(load, pool.len(), &speakers).await
    }

    /// The same of what is said by somebody else, who has so many requests.
    ///
    /// # Errors
    /// As `run`.
    pub async fn run_with<S: Speakers>(&self, load: &Load, requests: u64, speakers: &Arc<S>) -> Result<Run> {
        let watching = self.watch()?;
        let measured = self.generate(load, requests, speakers).await?;
        self.drained(watching, measured).await
    }

    /// Looks at it from now on.
    ///
    /// # Errors
    /// When it is gone.
    pub fn watch(&self) -> Result<Watching> {
        Watching::begin(self.0.process()?)
    }

    /// The first half of `run_with`: the load itself.
    ///
    /// # Errors
    /// When the generator fails.
    pub async fn generate<S: Speakers>(
        &self,
        load: &Load,
        requests: u64,
        speakers: &Arc<S>,
    ) -> Result<Measured> {
        let load = Load {
            target: self.0.address(),
            requests_max: Some(requests),
            ..load.clone()
        };
        let speakers = Arc::clone(speakers);
        tokio::task::spawn_blocking(move || generator::run(load, &speakers)).await?
    }

    /// The other half: what became of it, once everything is applied.
    ///
    /// # Errors
    /// When the receiver goes away, or something waits for ever.
    pub async fn drained(&self, watching: Watching, measured: Measured) -> Result<Run> {
        let (backlog, drain) = self.0.drain(EVENTS_ACCEPTED).await?;
        let (memory, cpu_seconds) = watching.end().await?;
        Ok(Run {
            measured,
            backlog,
            drain,
            memory,
            cpu_seconds,
            inbox: self.inbox().await?,
        })
    }

    /// Kills it and removes its database.
    ///
    /// # Errors
    /// When the system or the server refuses.
    pub async fn end(self) -> Result<()> {
        self.0.end().await
    }

    /// Its events by status.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn inbox(&self) -> Result<BTreeMap<String, u64>> {
        let sql = "SELECT status, COUNT(*) AS n FROM inbox GROUP BY status";
        let counts = self.0.rows(sql).await?.into_iter().map(|row| {
            let [status, count] = texts(row)?;
            Ok((status, count.parse()?))
        });
        counts.collect()
    }
}

impl Run {
    /// What is wrong with it, in words; nothing when nothing is.
    ///
    /// An event that was answered 2xx is in the inbox. One that was answered otherwise or not at all may be.
    pub fn faults(&self) -> Vec<String> {
        let tally = &self.measured.tally;
        let wrong =
            (tally.wrong() > 0).then(|| format!("{} answers were neither 2xx nor 503", tally.wrong()));
        wrong.into_iter().chain(misplaced(tally, &self.inbox)).collect()
    }

    /// Events that were applied a second while the load went on.
    pub fn applied_rate(&self) -> f64 {
        let applied = self.measured.tally.good().saturating_sub(self.backlog);
        applied as f64 / self.measured.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// Events that were applied a second after the last answer, where there were enough to measure.
    pub fn drain_rate(&self) -> Option<f64> {
        (self.drain > 2 * LOOK_EVERY).then(|| self.backlog as f64 / self.drain.as_secs_f64())
    }

    /// Events a second that were taken in and applied, from the first request until nothing waited: a load of this
    /// rate does not grow the backlog.
    pub fn steady_rate(&self) -> f64 {
        let whole = self.measured.elapsed + self.drain;
        self.measured.tally.good() as f64 / whole.as_secs_f64().max(f64::EPSILON)
    }
}

/// What is wrong with an inbox after all of these answers, in words.
pub fn misplaced(tally: &Tally, inbox: &BTreeMap<String, u64>) -> Vec<String> {
    let kept: u64 = inbox.values().sum();
    let accepted = tally.good();
    let mut faults = Vec::new();
    if kept < accepted {
        faults.push(format!(
            "{accepted} events were taken in, but the inbox has {kept}"
        ));
    }
    let uncertain = tally.sent() - accepted;
    if kept > accepted + uncertain {
        faults.push(format!(
            "the inbox has {kept} events, but {} were sent",
            tally.sent()
        ));
    }
    for bad in ["dead_letter", "ignored", "suppressed"] {
        if let Some(count) = inbox.get(bad) {
            faults.push(format!("{count} events ended as {bad}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two events were answered 202, one 503, one not at all; the inbox has `kept`.
    fn run(kept: &[(&str, u64)]) -> Run {
        let mut tally = Tally::new();
        for status in [202, 202, 503] {
            tally.sends();
            tally.answered(status, Duration::from_millis(1));
        }
        tally.sends();
        Run {
            measured: Measured {
                tally,
                elapsed: Duration::from_secs(1),
                ran_dry: false,
            },
            backlog: 0,
            drain: Duration::ZERO,
            memory: Memory::default(),
            cpu_seconds: 0.0,
            inbox: kept
                .iter()
                .map(|(status, count)| ((*status).to_owned(), *count))
                .collect(),
        }
    }

    #[test]
    fn the_inbox_has_what_was_answered_and_nothing_that_was_not_sent() {
        for good in [2, 3, 4] {
            assert_eq!(run(&[("applied", good)]).faults(), Vec::<String>::new());
        }
        for bad in [1, 5] {
            assert_eq!(run(&[("applied", bad)]).faults().len(), 1, "{bad}");
        }
        assert_eq!(run(&[("applied", 1), ("dead_letter", 1)]).faults().len(), 1);
        let mut wrong = run(&[("applied", 2)]);
        wrong.measured.tally.sends();
        wrong.measured.tally.answered(500, Duration::from_millis(1));
        assert_eq!(wrong.faults().len(), 1);
    }
}
