//! The program `crm-receiver`: parses, sets logging up, and does what it is asked.
//!
//! It is in the library, so that `main.rs` has no async code to compile and only links.

use crate::{
    app::{App, Reconciliation, Runtime, StartError, key_maker, open_store, purge, requeue_all, rewrap},
    config::{Command, Config, read_or_exit},
    http::KEY_TERMS,
    ingest::PMS,
    store::{Purged, RUNNING_MAX, RUNNING_OF_ONE_MAX, RequeueCreation, Store},
};
use contract::EventId;
use kit::access::command::KeysError;
use kit::{
    config::EXIT_CONFIG,
    healthcheck::healthcheck,
    lifecycle::{Ended, Lifecycle},
};
use std::process::{ExitCode, exit};
use strum::VariantArray;
use tokio::runtime::Runtime as Threads;

/// The exit code of `reconcile` when it did not come to the end of the feed.
const EXIT_NOT_COMPARED: u8 = 3;
/// Missing events that `reconcile` prints.
const MISSING_SHOWN_MAX: u32 = 10_000;

/// The whole program, from its arguments to its exit code.
pub fn main_of_receiver() -> ExitCode {
    let ended = Threads::new().map_err(Into::into);
    match ended.and_then(|threads| threads.block_on(program())) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn program() -> anyhow::Result<ExitCode> {
    let (command, log) = read_or_exit();
    // The health check logs nothing: only its answer matters.
    if !matches!(command, Command::Healthcheck(_))
        && let Err(error) = kit::telemetry::init(&log)
    {
        error.exit();
    }
    match run(command).await {
        Ok(code) => Ok(code),
        Err(error) if error.is::<StartError>() || error.is::<KeysError>() => {
            eprintln!("error: {error}");
            exit(EXIT_CONFIG)
        }
        Err(error) => Err(error),
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = Runtime::system();
    let done = match command {
        Command::Reconcile { config, from } => return reconcile(config, from).await,
        Command::Serve(config) => {
            let app = App::build(config, runtime).await?;
            let lifecycle = Lifecycle::new();
            lifecycle.stop_on_signals()?;
            match app.run_until_stopped(lifecycle).await {
                Ended::Finished => Ok(()),
                Ended::Aborted => anyhow::bail!("stopped before everything was finished"),
                Ended::Failed => anyhow::bail!("a task panicked; see the log"),
            }
        }
        Command::Migrate(database) => {
            open_store(&database, &runtime, false).await?.close().await;
            Ok(())
        }
        Command::Healthcheck(http) => Ok(healthcheck(&http).await?),
        Command::Requeue { database, event } => {
            let store = open_store(&database, &runtime, false).await?;
            let done = match event {
                Some(event) => requeue_one(&store, &runtime, &event).await,
                None => requeue_every(&store, &runtime).await,
            };
            store.close().await;
            println!("{}", done?);
            Ok(())
        }
        Command::Rewrap { database, master_key } => {
            let done = rewrap(&master_key, &database, &runtime).await?;
            println!("{done}");
            anyhow::ensure!(
                done.unopened == 0,
                "some open under none of its keys, and are left as they are"
            );
            Ok(())
        }
        Command::Purge {
            database,
            retention,
            dry_run,
        } => {
            let store = open_store(&database, &runtime, false).await?;
            let purged = purge(&store, &runtime, retention, dry_run).await;
            store.close().await;
            let Some(purged) = purged? else {
                anyhow::bail!("another purge is going on: try again when it has ended");
            };
            let done = if dry_run { "would be purged" } else { "purged" };
            for what in Purged::VARIANTS {
                let rows = purged.get(what).copied().unwrap_or_default();
                println!("{done}: {} {rows}", what.into_str());
            }
            Ok(())
        }
        Command::Keys {
            database,
            prefix,
            command,
        } => {
            let store = open_store(&database, &runtime, false).await?;
            let done =
                kit::access::command::run(command, &store.db, &key_maker(prefix, &runtime), KEY_TERMS).await;
            store.close().await;
            println!("{}", done?);
            Ok(())
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// The command `reconcile`: compares the feed with what is here, says what is missing, and answers the exit code.
///
/// # Errors
/// When it cannot begin.
pub async fn reconcile(config: Config, from: Option<i64>) -> anyhow::Result<ExitCode> {
    let mut reconciliation = Reconciliation::open(config, Runtime::system(), from).await?;
    let done = reconciliation.to_the_end().await;
    let source = PMS.parse().expect("it is a valid id");
    let missing = match &done {
        Ok(Some(_)) => {
            reconciliation
                .store()
                .missing_events(&source, MISSING_SHOWN_MAX)
                .await
        }
        Ok(None) | Err(_) => Ok(Vec::new()),
    };
    reconciliation.close().await;
    let done = match done {
        Ok(Some(done)) => done,
        Ok(None) => {
            eprintln!("error: another process reconciles: try again when it has ended");
            return Ok(ExitCode::from(EXIT_NOT_COMPARED));
        }
        Err(error) if error.is_of_settings() => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(EXIT_CONFIG as u8));
        }
        Err(error) => {
            eprintln!("error: {error}; what was taken in stays, and the next run goes on there");
            return Ok(ExitCode::from(EXIT_NOT_COMPARED));
        }
    };
    let (missing, state) = (missing?, done.state);
    for event in &missing {
        println!(
            "missing: {} at place {}, {}: {}",
            event.key,
            event.feed_seq,
            event.event_type,
            event.reason.into_str()
        );
    }
    println!(
        "complete up to place {} of {}: {} taken in, {} missing, of which {} past retention",
        state.complete_up_to, state.feed_head, done.taken_in, state.missing, state.past_retention
    );
    if state.given_up > 0 {
        println!(
            "given up: {} were missing until they were older than what is remembered here",
            state.given_up
        );
    }
    if done.too_old > 0 {
        println!(
            "not compared: {} are older than what is remembered here",
            done.too_old
        );
    }
    Ok(if state.missing == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn requeue_one(store: &Store, runtime: &Runtime, event: &EventId) -> anyhow::Result<String> {
    let is_requeued = store.requeue_one(event, runtime.clock.now()).await?;
    anyhow::ensure!(
        is_requeued,
        "there is no dead letter of that id that still has its body"
    );
    Ok("1 dead letter requeued".to_owned())
}

async fn requeue_every(store: &Store, runtime: &Runtime) -> anyhow::Result<String> {
    let (id, begun) = requeue_all(store, runtime).await?;
    let running = match begun {
        RequeueCreation::Begun => {
            return Ok(format!(
                "{id} has begun: the receiver requeues the dead letters, and GET /requeues/{id} says how far it is"
            ));
        }
        RequeueCreation::TooMany => RUNNING_MAX,
        RequeueCreation::TooManyOfOne => RUNNING_OF_ONE_MAX,
    };
    anyhow::bail!("{running} runs are not at their end: wait for one, or have one cancelled")
}
