//! The lives of one process: it is started, armed with a failpoint or killed later, watched until it ends, and started
//! again.

use super::counters::Counters;
use super::plan::{End, Life};
use super::progress::Progress;
use super::wire_tap::WireTap;
use anyhow::{Context, Result, bail};
use harness::process::Process;
use harness::program::Program;
use harness::waiting::Looks;
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::time::{Instant, sleep, timeout};

/// A process that cannot start, because its database is down, is started again until then.
const STARTED_WITHIN: Duration = Duration::from_secs(90);
/// How long answers are held back for one to be on its way to the process that is to die.
const ANSWERS_WITHIN: Duration = Duration::from_millis(300);
/// More answers than the other emitter can wait for, at 32 of the environment's endpoint and 64 of others at one address.
const ANSWERS: usize = 97;
/// How long it may take until a process stops itself.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
/// How long it may take until its deliveries are made by the other one.
const OVERTAKEN_WITHIN: Duration = Duration::from_secs(20);
/// How long a process that goes on after a pause may take to settle its current work.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
/// SIGABRT.
const ABORTED: i32 = 6;

/// What never changes about a process.
pub struct Service {
    /// What is run.
    pub program: Program,
    /// Where.
    pub folder: PathBuf,
    /// With what.
    pub variables: Vec<(&'static str, String)>,
    /// Whether its output is discarded: while its database is down, it logs each time why it cannot start.
    pub silent: bool,
    /// How long a pause lasts: longer than a lease, and the time to take over.
    pub pause: Duration,
    /// Of the whole run.
    pub progress: Arc<Progress>,
    /// The tap on the connection to the receivers.
    pub tap: Arc<WireTap>,
    /// What is reported at the end.
    pub counters: Arc<Counters>,
    /// After so many writes nobody waits for a step any more.
    pub events: u64,
    /// Nor after so many beyond its time.
    pub patience: u64,
    /// Its step is all that reveals a planted bug: it is waited for as long as an event is not taken yet.
    pub must_come: bool,
    /// Where every process waits once it has first started, and who makes the webhooks before the first write: else the writes could be
    /// over before a process that starts slowly sees any, and its kill would strike nothing.
    pub started: Arc<Barrier>,
}

impl Service {
    /// Runs all planned lives, and begins the last one.
    ///
    /// # Errors
    /// When it ends by itself, or does not come back.
    pub async fn live(self, lives: Vec<Life>) -> Result<Process> {
        let mut died = None;
        for life in lives {
            let mut process = self.start(armed(&life), died).await?;
            if life.pause.is_some() {
                self.pause(&mut process).await?;
            }
            let how = self.die(process, &life).await?;
            self.counters.death(self.program.name(), how);
            died = Some(Instant::now());
        }
        self.start(None, died).await
    }

    async fn start(&self, armed: Option<String>, died: Option<Instant>) -> Result<Process> {
        let mut variables = self.variables.clone();
        variables.extend(armed.map(|failpoint| ("FAILPOINT", failpoint)));
        let looks = Looks::within(STARTED_WITHIN);
        loop {
            let log = if self.silent {
                Stdio::null()
            } else {
                Stdio::inherit()
            };
            let started = Process::start_logging_to(log, &self.program, &self.folder, &variables).await;
            match started {
                Ok(process) => {
                    match died {
                        Some(died) => self.counters.recovered(self.program.name(), died.elapsed()),
                        None => {
                            self.started.wait().await;
                        }
                    }
                    return Ok(process);
                }
                Err(error) if !looks.go_on().await => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Waits until it has stopped itself, leaves it so for longer than its lease and until the other emitter has delivered
    /// what this one holds, and lets it go on (F40).
    async fn pause(&self, process: &mut Process) -> Result<()> {
        let id = process.id()?;
        let looks = Looks::within(STOPPED_WITHIN);
        while !is_stopped(id)? {
            if !looks.go_on().await {
                return Ok(());
            }
        }
        let mut again = self.tap.again();
        let before = *again.borrow_and_update();
        sleep(self.pause).await;
        // No other emitter takes over if the other one is killed in that time.
        let _ = timeout(OVERTAKEN_WITHIN, again.wait_for(|again| *again > before)).await;
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process id")?, Signal::CONT)?;
        self.counters.paused();
        Ok(())
    }

    /// Ends a life as planned, and returns how it ended.
    async fn die(&self, mut process: Process, life: &Life) -> Result<&'static str> {
        if let End::AtStep { step, .. } = life.end {
            // Its step may come only once in a long while: then it is killed like any other.
            let until = (life.until + self.patience).min(self.events);
            let given_up = async {
                match life.pause {
                    Some(_) => sleep(SETTLED_WITHIN).await,
                    None => {
                        self.progress.reaches(until).await;
                        if self.must_come {
                            let all = self.tap.until_taken(|taken| taken >= self.events);
                            let _ = timeout(SETTLED_WITHIN, all).await;
                        }
                    }
                }
            };
            tokio::select! {
                status = process.ended() => {
                    let status = status?;
                    if status.signal() != Some(ABORTED) {
                        bail!("{} ended by itself: {status}", self.program.name());
                    }
                    return Ok(step);
                }
                () = given_up => {}
            }
            process.kill().await?;
            return Ok("not at its step");
        }
        tokio::select! {
            status = process.ended() => bail!("{} ended by itself: {}", self.program.name(), status?),
            () = self.progress.reaches(life.until) => {}
        }
        if life.end != End::Unanswered {
            process.kill().await?;
            return Ok("killed");
        }
        self.tap.hold(true);
        // With fewer requests than that it dies all the same.
        let _ = timeout(ANSWERS_WITHIN, self.tap.holds(ANSWERS)).await;
        let killed = process.kill().await;
        self.tap.hold(false);
        killed?;
        Ok("request.sent")
    }
}

fn armed(life: &Life) -> Option<String> {
    let stop = life
        .pause
        .map(|passage| format!("attempt.answered:{passage}:stop"));
    let abort = match life.end {
        End::AtStep { step, passage } => Some(format!("{step}:{passage}")),
        End::Killed | End::Unanswered => None,
    };
    let armed: Vec<String> = stop.into_iter().chain(abort).collect();
    (!armed.is_empty()).then(|| armed.join(","))
}

/// Whether the kernel says that a process is stopped.
fn is_stopped(id: u32) -> Result<bool> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The state follows the name, which stands in brackets and may hold anything.
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('T'));
    Ok(state.unwrap_or(false))
}
