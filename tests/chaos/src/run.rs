//! One run: starts everything, kills processes by the plan while the clerks write, waits until nothing is pending, and
//! balances the books.

use super::contents::Contents;
use super::counters::{Counters, DATABASE_KILLED, DELIVERIES, WRITES};
use super::environment::{Environment, strike};
use super::front_desk::FrontDesk;
use super::history::History;
use super::ledger::Ledger;
use super::lives::Service;
use super::plan::{Plan, Scenario};
use super::progress::Progress;
use super::report::Report;
use super::wire_tap::{WireLog, WireTap};
use anyhow::{Context, Result, ensure};
use harness::books::Books;
use harness::client::Client;
use harness::config::{BASE_PATH, MASTER_KEY, fresh_secret};
use harness::database::{Databases, SETTLED_WITHIN};
use harness::process::Process;
use harness::program::{EMITTER, Program, RECEIVER};
use harness::serve::{SHORT_LEASE_SLACK, SHORT_WAITS};
use kit::planted::Bug;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Writes at once.
const CLERKS: usize = 48;
/// Few enough that an emitter that stops is mostly in no transaction, whose locks would keep the other one out.
const CLERKS_FEW: usize = 3;
/// One attempt of a delivery; with the slack it makes the lease.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(1);
/// Short waits: a killed process is back within a second or two. Most waits are added where it matters, at the end.
const RETRY_SCHEDULE: [&str; 8] = ["0s", "50ms", "100ms", "200ms", "300ms", "400ms", "500ms", "800ms"];
const RETRY_LAST: &str = "1s";
const RETRIES: usize = 50;
/// So many gaps between two strikes after its time, a process that has not come to its step is killed where it is.
const STEP_GAPS: u64 = 4;
/// How long a locked file stays locked: longer than an attempt waits for its answer.
const LOCKED_FOR: Duration = Duration::from_millis(2_500);
/// And with a bug that shows when a commit fails: longer than the service waits for the file, twice, since what it
/// wants to write goes in two groups at most.
const LOCKED_TOO_LONG: Duration = Duration::from_secs(9);
/// How long the taking of the lock may wait for the service's own commits.
const LOCK_WITHIN: Duration = Duration::from_secs(60);
/// Ports below those that the system gives to clients, one of which might else sit on a dead service's.
const PORTS: Range<u16> = 20_000..32_000;
/// Where the receivers take deliveries, below the tap.
const WEBHOOK_PATH: &str = "/api/v1/webhooks/pms";
/// Where the webhooks may be, beside the environment's endpoint.
const LOOPBACK: &str = "127.0.0.0/8";
/// Where the next run of this process begins to look.
const PORTS_OF_RUN: u16 = 16;

/// The log level at which the services say nothing at all.
pub const SILENT: &str = "off";

/// What a run is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file that is either service when it is called by its name.
    pub program: PathBuf,
    /// Deaths.
    pub kills: u64,
    /// Writes.
    pub events: u64,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Writes at once.
    pub clerks: usize,
    /// A bug that is planted in both services.
    pub bug: Option<Bug>,
    /// What the services log.
    pub log_level: String,
}

/// How many clerks show a bug, or none, best.
pub fn clerks_for(bug: Option<Bug>) -> usize {
    match bug {
        Some(Bug::MissingFence) => CLERKS_FEW,
        _ => CLERKS,
    }
}

/// The result of a run; with the two databases it can be balanced again.
pub struct Outcome {
    /// The balance, and what was done.
    pub report: Report,
    /// What the clients were answered.
    pub history: History,
    /// What went over the wire.
    pub wire: WireLog,
}

/// All parts of a run.
struct Cast<'a> {
    options: &'a Options,
    environment: &'a Environment,
    progress: Arc<Progress>,
    counters: Arc<Counters>,
    tap: Arc<WireTap>,
    emitters: Vec<SocketAddr>,
    receivers: Vec<SocketAddr>,
    started: Arc<Barrier>,
    secret: String,
    digest_key: String,
}

/// Runs in a fresh environment.
///
/// # Errors
/// When a part does not start, does not come back, or ends by itself; what the books say is no error here.
pub async fn run(options: &Options, environment: &Environment) -> Result<Outcome> {
    let replicas = if environment.emitter.starts_with("sqlite") {
        1
    } else {
        2
    };
    ensure!(
        replicas > 1 || options.bug != Some(Bug::MissingFence),
        "an emitter alone is overtaken by nobody: this bug shows on mysql"
    );
    let plan = Plan::draw(Scenario {
        kills: options.kills,
        events: options.events,
        seed: options.seed,
        replicas,
        has_server: environment.server.is_some(),
        bug: options.bug,
    });
    let mut emitters = ports(2 * replicas)?;
    let receivers = emitters.split_off(replicas);
    let cast = Cast {
        options,
        environment,
        progress: Arc::default(),
        counters: Arc::default(),
        tap: Arc::new(WireTap::start(receivers.clone()).await?),
        started: Arc::new(Barrier::new(2 * replicas + 1)),
        emitters,
        receivers,
        secret: fresh_secret(),
        digest_key: fresh_secret(),
    };
    cast.perform(plan).await
}

impl Cast<'_> {
    async fn perform(self, plan: Plan) -> Result<Outcome> {
        let mut strikes = JoinSet::new();
        for (lives, address) in plan.receivers.into_iter().zip(&self.receivers) {
            strikes.spawn(self.service(RECEIVER, *address).live(lives));
        }
        for (lives, address) in plan.emitters.into_iter().zip(&self.emitters) {
            strikes.spawn(self.service(EMITTER, *address).live(lives));
        }
        let mut blows = JoinSet::new();
        blows.spawn(self.kill_server(plan.database));
        blows.spawn(self.lock_file(plan.locks));
        let begun = Instant::now();
        let desk = Arc::new(self.desk());
        let (mut clerks, opened) = (JoinSet::new(), Arc::new(Barrier::new(self.options.clerks + 1)));
        for _ in 0..self.options.clerks {
            let (desk, opened) = (Arc::clone(&desk), Arc::clone(&opened));
            clerks.spawn(async move {
                opened.wait().await;
                desk.work().await;
            });
        }
        blows.spawn(self.open(Arc::clone(&desk), opened));
        let mut alive: Vec<Process> = Vec::new();
        // A process that cannot be restarted ends the run; the clerks would wait for it for ever.
        while !clerks.is_empty() || !strikes.is_empty() || !blows.is_empty() {
            tokio::select! {
                Some(clerk) = clerks.join_next() => clerk?,
                Some(last) = strikes.join_next() => alive.push(last??),
                Some(blow) = blows.join_next() => blow??,
            }
        }
        let loaded_in = begun.elapsed();
        let longest_gap = self.progress.longest_gap();
        let mut databases = Databases::open(&self.environment.emitter, &self.environment.receiver).await?;
        let settling = Instant::now();
        // What still waits then is stuck, as the ledger says.
        databases.settle(SETTLED_WITHIN).await?;
        let settled_in = settling.elapsed();
        for process in alive {
            process.kill().await?;
        }
        let history = Arc::into_inner(desk)
            .context("every clerk has gone")?
            .into_history();
        let books = Books::read(&mut databases).await?;
        let contents = Contents::read(&mut databases).await?;
        let wire = self.tap.log();
        let report = Report {
            ledger: Ledger::balance(&history, &wire, &books, &contents),
            counters: self.counters.read(),
            loaded_in,
            settled_in,
            longest_gap,
        };
        Ok(Outcome {
            report,
            history,
            wire,
        })
    }

    /// Makes the webhooks once every process has started, opens the desk to the clerks, and sends again what a person may. With a
    /// planted bug nobody does, whose deliveries could hide it.
    fn open(
        &self,
        desk: Arc<FrontDesk>,
        opened: Arc<Barrier>,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let (started, events) = (Arc::clone(&self.started), self.options.events);
        let sends_again = self.options.bug.is_none();
        async move {
            started.wait().await;
            desk.subscribe(WEBHOOK_PATH.to_owned()).await?;
            opened.wait().await;
            if sends_again {
                desk.send_again([events / 2, events / 4 * 3]).await;
            }
            Ok(())
        }
    }

    fn desk(&self) -> FrontDesk {
        let client = |address: &SocketAddr| Client::new(format!("http://{address}{BASE_PATH}"));
        let clients = self.emitters.iter().map(client).collect();
        let run = format!("chaos-{}", self.options.seed);
        let (progress, tap) = (Arc::clone(&self.progress), Arc::clone(&self.tap));
        FrontDesk::new(clients, run, self.options.events, progress, tap)
    }

    fn service(&self, name: &'static str, address: SocketAddr) -> Service {
        let mut variables = vec![
            ("APP_PORT", address.port().to_string()),
            ("LOG_LEVEL", self.options.log_level.clone()),
            ("MASTER_KEY", MASTER_KEY.to_owned()),
        ];
        if name == EMITTER {
            let url = format!("http://{}{WEBHOOK_PATH}", self.tap.address());
            let last = std::iter::repeat_n(RETRY_LAST, RETRIES - RETRY_SCHEDULE.len());
            let schedule: Vec<&str> = RETRY_SCHEDULE.into_iter().chain(last).collect();
            variables.extend([
                ("DATABASE_URL", self.environment.emitter.clone()),
                ("CRM_WEBHOOK_URL", url),
                ("CRM_WEBHOOK_SECRET", self.secret.clone()),
                ("DELIVERY_RETRY_SCHEDULE", schedule.join(", ")),
                ("DELIVERY_TIMEOUT_SECONDS", DELIVERY_TIMEOUT.as_secs().to_string()),
                ("DOCUMENT_DIGEST_KEY", self.digest_key.clone()),
                ("EGRESS_ALLOW", LOOPBACK.to_owned()),
                ("EGRESS_ALLOW_HTTP", "true".to_owned()),
                (SHORT_WAITS, "1".to_owned()),
            ]);
        } else {
            variables.extend([
                ("DATABASE_URL", self.environment.receiver.clone()),
                ("WEBHOOK_SHARED_SECRET", self.secret.clone()),
            ]);
        }
        variables.extend(self.options.bug.map(|bug| ("PLANTED_BUG", bug.name().to_owned())));
        Service {
            program: Program::new(&self.options.program, name),
            folder: self.environment.folder.path().to_owned(),
            variables,
            silent: self.options.log_level == SILENT,
            // The lease, and the second within which it is taken over.
            pause: DELIVERY_TIMEOUT + SHORT_LEASE_SLACK + Duration::from_secs(1),
            progress: Arc::clone(&self.progress),
            tap: Arc::clone(&self.tap),
            counters: Arc::clone(&self.counters),
            events: self.options.events,
            patience: STEP_GAPS * self.options.events / (self.options.kills + 1),
            must_come: self.options.bug.is_some(),
            started: Arc::clone(&self.started),
        }
    }

    /// Kills the database server at each of these numbers of writes.
    fn kill_server(&self, at: Vec<u64>) -> impl Future<Output = Result<()>> + Send + use<> {
        let (server, events) = (self.environment.server.clone(), self.options.events);
        let (progress, counters) = (Arc::clone(&self.progress), Arc::clone(&self.counters));
        let tap = Arc::clone(&self.tap);
        async move {
            for (until, server) in at.into_iter().zip(server.iter().cycle()) {
                progress.reaches(until).await;
                let struck = Instant::now();
                strike(server).await?;
                counters.death(DATABASE_KILLED.0, DATABASE_KILLED.1);
                counters.recovered(DATABASE_KILLED.0, struck.elapsed());
                let back = Instant::now();
                let (written, taken) = (progress.count(), tap.taken());
                // After the last write, and the delivery of its event, nothing comes by which it could be seen.
                let writes = async {
                    if written < events {
                        progress.reaches(written + 1).await;
                        counters.recovered(WRITES, back.elapsed());
                    } else {
                        counters.unmeasured(WRITES);
                    }
                };
                let deliveries = async {
                    if taken >= events {
                        counters.unmeasured(DELIVERIES);
                        return;
                    }
                    // If none ever is, the ledger shall still say what is stuck.
                    let next = tap.until_taken(|now| now > taken);
                    if timeout(SETTLED_WITHIN, next).await.is_ok() {
                        counters.recovered(DELIVERIES, back.elapsed());
                    }
                };
                tokio::join!(writes, deliveries);
            }
            Ok(())
        }
    }

    /// Takes the write lock of the receiver's file at each of these numbers of writes, as another process may (F19). The
    /// clerks wait until it is taken: the writes that are left are made while it is held.
    fn lock_file(&self, at: Vec<u64>) -> impl Future<Output = Result<()>> + Send + use<> {
        let path = self
            .environment
            .receiver
            .strip_prefix("sqlite://")
            .map(PathBuf::from);
        let (progress, counters) = (Arc::clone(&self.progress), Arc::clone(&self.counters));
        let locked_for = self.options.bug.map_or(LOCKED_FOR, |_| LOCKED_TOO_LONG);
        async move {
            for (until, path) in at.into_iter().zip(path.iter().cycle()) {
                progress.reaches(until).await;
                progress.pause(true);
                let (path, clerks) = (path.clone(), Arc::clone(&progress));
                let locking = tokio::task::spawn_blocking(move || -> Result<()> {
                    let connection = rusqlite::Connection::open(path)?;
                    connection.busy_timeout(LOCK_WITHIN)?;
                    let locked = connection.execute_batch("BEGIN IMMEDIATE");
                    clerks.pause(false);
                    locked?;
                    std::thread::sleep(locked_for);
                    Ok(connection.execute_batch("ROLLBACK")?)
                });
                locking.await??;
                counters.locked();
            }
            Ok(())
        }
    }
}

/// Free ports, to be had again after each death; those of runs side by side lie apart.
fn ports(count: usize) -> Result<Vec<SocketAddr>> {
    static RUNS: AtomicU16 = AtomicU16::new(0);
    let width = PORTS.end - PORTS.start;
    let run = RUNS.fetch_add(1, Ordering::SeqCst).wrapping_mul(PORTS_OF_RUN);
    let first = (u16::try_from(std::process::id() % u32::from(width))? + run % width) % width;
    let candidates = (first..width).chain(0..first).map(|offset| PORTS.start + offset);
    let free = candidates.filter_map(|port| {
        let bound = TcpListener::bind(("127.0.0.1", port)).ok()?;
        Some((bound.local_addr().ok()?, bound))
    });
    // Held together, so that they differ.
    let held: Vec<(SocketAddr, TcpListener)> = free.take(count).collect();
    ensure!(held.len() == count, "no port is free");
    Ok(held.into_iter().map(|(address, _)| address).collect())
}
