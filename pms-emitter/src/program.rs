//! The program `pms-emitter`: parses, sets logging up, and does what it is asked.
//!
//! It stands in the library, so that `main.rs` has no async code to compile and only links.

use crate::app::{
    App, Runtime, StartError, adopt_env, key_maker, open_store, purge_at_once, retry_dead, rewrap,
};
use crate::config::{Adopted, Command, Config, PurgeArgs, WebhooksCommand, read_or_exit};
use crate::http::KEY_TERMS;
use crate::store::Purged;
use db::Db;
use kit::access::command::KeysError;
use kit::config::EXIT_CONFIG;
use kit::healthcheck::healthcheck;
use kit::lifecycle::{Ended, Lifecycle};
use std::process::ExitCode;
use strum::VariantArray;
use tokio::runtime::Runtime as Threads;

/// The whole program, from its arguments to its exit code.
pub fn main_of_emitter() -> ExitCode {
    let ended = Threads::new().map_err(Into::into);
    ended
        .and_then(|threads| threads.block_on(program()))
        .unwrap_or_else(|error| {
            eprintln!("Error: {error:?}");
            ExitCode::FAILURE
        })
}

async fn program() -> anyhow::Result<ExitCode> {
    let (command, config, log) = read_or_exit();
    // A question has nothing to log: its answer is all that is wanted.
    if !matches!(command, Command::Healthcheck)
        && let Err(error) = kit::telemetry::init(&log)
    {
        error.exit();
    }
    match run(command, config).await {
        Ok(code) => Ok(code),
        Err(error) if error.is::<StartError>() || error.is::<KeysError>() => {
            eprintln!("error: {error}");
            Ok(ExitCode::from(EXIT_CONFIG as u8))
        }
        Err(error) => Err(error),
    }
}

async fn run(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    let runtime = Runtime::system();
    match command {
        Command::Serve => {
            let app = App::build(config, runtime).await?;
            let lifecycle = Lifecycle::new();
            lifecycle.stop_on_signals()?;
            if app.run_until_stopped(lifecycle).await != Ended::Finished {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Migrate => {
            let store = open_store(&config, &runtime, false).await?;
            store.db().clone().close().await;
        }
        Command::Healthcheck => healthcheck(&config.http).await?,
        Command::RetryDead { since } => {
            let store = open_store(&config, &runtime, false).await?;
            let count = retry_dead(&store, &runtime, since.unwrap_or_default()).await?;
            store.db().clone().close().await;
            println!("{count} deliveries are due again");
        }
        Command::Webhooks {
            command: WebhooksCommand::Adopt {
                webhook: Adopted::Env,
            },
        } => {
            anyhow::ensure!(
                adopt_env(&config, &runtime).await?,
                "nothing was changed: it was adopted before, or the emitter has not been started yet"
            );
            println!("env is a webhook like any other now: unset CRM_WEBHOOK_URL and CRM_WEBHOOK_SECRET");
        }
        Command::Rewrap => {
            let done = rewrap(&config, &runtime).await?;
            println!("{done}");
            anyhow::ensure!(
                done.unopened == 0,
                "some open under none of its keys, and are left as they are"
            );
        }
        Command::Purge(args) => purge(args, &config).await?,
        Command::Keys { command } => {
            let store = open_store(&config, &runtime, false).await?;
            let done =
                kit::access::command::run(command, store.db(), &key_maker(&config, &runtime), KEY_TERMS)
                    .await;
            store.db().clone().close().await;
            println!("{}", done?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The command `purge`: deletes what is old enough, and says how much that was.
///
/// # Errors
/// When the database cannot be used, or another purge is going on.
pub async fn purge(args: PurgeArgs, config: &Config) -> anyhow::Result<()> {
    let runtime = Runtime::system();
    let store = open_store(config, &runtime, false).await?;
    let purged = purge_at_once(&store, &runtime, config.retention, args.into()).await;
    store.db().clone().close().await;
    let Some(purged) = purged? else {
        anyhow::bail!("another purge is going on: try again when it has ended");
    };
    let done = if args.dry_run { "would be purged" } else { "purged" };
    for what in Purged::VARIANTS {
        let rows = purged.get(what).copied().unwrap_or_default();
        println!("{done}: {} {rows}", what.into_str());
    }
    if args.vacuum {
        match Db::vacuum(&config.database).await.map_err(StartError::from)? {
            true => println!("the file has no free space any more"),
            false => println!("nothing to vacuum: MySQL uses the space again by itself"),
        }
    }
    Ok(())
}
