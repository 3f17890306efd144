//! Both services are killed in mid-load, as a power cut kills, and started again: nothing is lost, nothing doubled.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use harness::client::Client;
use harness::config::{BASE_PATH, MASTER_KEY, fresh_secret};
use harness::database::{Databases, SETTLED_WITHIN};
use harness::ledger;
use harness::loader;
use harness::plan::calls;
use harness::process::Process;
use harness::program::Program;
use tokio::sync::Notify;

use crate::bookings::Weeks;
use crate::case::{Case, Ctx, cases};
use crate::programs;

pub fn cases() -> Vec<Case> {
    cases![f1_f3_f4_f6_f7_both_killed_in_mid_load_lose_and_double_nothing]
}

/// A claim of a killed emitter is taken over after this and 15 s, so an attempt may not take long here.
const DELIVERY_TIMEOUT_SECONDS: &str = "1";
/// Soon again: the receiver is back within a second or two.
const RETRY_SCHEDULE: &str =
    "0s, 100ms, 200ms, 400ms, 800ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s";
/// How often each service is killed.
const KILLS: u64 = 3;

/// How far the load is, for anyone who waits to strike.
#[derive(Default)]
struct Progress {
    done: AtomicU64,
    moved: Notify,
}

impl Progress {
    fn add(&self, calls: u64) {
        self.done.fetch_add(calls, Ordering::SeqCst);
        self.moved.notify_waiters();
    }

    async fn reaches(&self, calls: u64) {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if self.done.load(Ordering::SeqCst) >= calls {
                return;
            }
            moved.await;
        }
    }
}

/// A service that comes back where it was.
struct Service<'a> {
    program: Program,
    folder: &'a Path,
    variables: Vec<(&'static str, String)>,
    process: Process,
}

impl<'a> Service<'a> {
    async fn start(program: Program, folder: &'a Path, variables: Vec<(&'static str, String)>) -> Self {
        let process = Process::start(&program, folder, &with_port(&variables, 0))
            .await
            .unwrap();
        Self {
            program,
            folder,
            variables,
            process,
        }
    }

    async fn die_and_return(mut self) -> Self {
        let port = self.process.address().port();
        self.process.kill().await.unwrap();
        let variables = with_port(&self.variables, port);
        self.process = Process::start(&self.program, self.folder, &variables)
            .await
            .unwrap();
        self
    }
}

fn with_port(variables: &[(&'static str, String)], port: u16) -> Vec<(&'static str, String)> {
    let mut variables = variables.to_vec();
    variables.push(("APP_PORT", port.to_string()));
    variables
}

async fn f1_f3_f4_f6_f7_both_killed_in_mid_load_lose_and_double_nothing(ctx: Ctx) {
    let other = ctx.servers.fresh(ctx.engine, "kills_receiver").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let secret = fresh_secret();
    let variables = vec![
        ("DATABASE_URL", other.url().to_owned()),
        ("WEBHOOK_SHARED_SECRET", secret.clone()),
        ("MASTER_KEY", MASTER_KEY.to_owned()),
        ("LOG_LEVEL", "error".to_owned()),
    ];
    let mut receiver = Service::start(programs::receiver(), folder.path(), variables).await;
    let url = format!("http://{}{BASE_PATH}/webhooks/pms", receiver.process.address());
    let variables = vec![
        ("DATABASE_URL", ctx.database.url().to_owned()),
        ("CRM_WEBHOOK_URL", url),
        ("CRM_WEBHOOK_SECRET", secret),
        ("MASTER_KEY", MASTER_KEY.to_owned()),
        ("DELIVERY_TIMEOUT_SECONDS", DELIVERY_TIMEOUT_SECONDS.to_owned()),
        ("DELIVERY_RETRY_SCHEDULE", RETRY_SCHEDULE.to_owned()),
        ("LOG_LEVEL", "error".to_owned()),
    ];
    let mut emitter = Service::start(programs::emitter(), folder.path(), variables).await;

    let weeks = Weeks::of_2015();
    let client = Client::new(format!("http://{}{BASE_PATH}", emitter.process.address()));
    let progress = Progress::default();
    let count = |calls| progress.add(calls);
    let load = loader::load(&client, &weeks.bookings, &weeks.cast, &weeks.plans, &count);
    let strikes = async {
        let step = calls(&weeks.plans) as u64 / (2 * KILLS + 1);
        for strike in 1..=2 * KILLS {
            progress.reaches(strike * step).await;
            if strike % 2 == 0 {
                emitter = emitter.die_and_return().await;
            } else {
                receiver = receiver.die_and_return().await;
            }
        }
        (emitter, receiver)
    };
    let (loaded, services) = tokio::join!(load, strikes);
    let loaded = loaded.unwrap();
    assert_eq!(loaded.refused, Weeks::refused());

    let mut databases = Databases::open(ctx.database.url(), other.url()).await.unwrap();
    databases.settled(SETTLED_WITHIN).await.unwrap();
    let expected = weeks.expected(&loaded);
    let ledger = ledger::balance(&mut databases, &expected).await.unwrap();
    assert!(ledger.is_balanced(), "{ledger:?}");
    assert_eq!(ledger.applied + ledger.stale, ledger.events());
    assert_eq!(ledger.delivered, ledger.events());
    assert_eq!(ledger.profiles, weeks.cast.people.len() as u64);
    services.0.process.kill().await.unwrap();
    services.1.process.kill().await.unwrap();
    other.remove().await.unwrap();
}
