//! `crm-receiver`: reads its settings, sets up logging, and runs the command.

use crm_receiver::{
    app::{App, Runtime, StartError, open_store, requeue},
    config::{Command, read_or_exit},
};
use kit::{
    config::EXIT_CONFIG,
    healthcheck::healthcheck,
    lifecycle::{Ended, Lifecycle},
};
use std::process::exit;

/// A webhook takes some 200 allocations on its way, many of about a kilobyte, at which the C library's own allocator is slow:
/// docs/performance.md has the figures. SQLite's C uses it too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (command, log) = read_or_exit();
    // A health check logs nothing: its answer is all that is wanted.
    if !matches!(command, Command::Healthcheck(_))
        && let Err(error) = kit::telemetry::init(&log)
    {
        error.exit();
    }
    match run(command).await {
        Ok(()) => Ok(()),
        Err(error) => match error.downcast_ref::<StartError>() {
            Some(error) => {
                eprintln!("error: {error}");
                exit(EXIT_CONFIG)
            }
            None => Err(error),
        },
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    let runtime = Runtime::system();
    match command {
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
            let one = event.is_some();
            let count = requeue(&store, &runtime, event).await?;
            store.close().await;
            anyhow::ensure!(
                count > 0 || !one,
                "there is no dead letter of that id that still has its body"
            );
            println!("{count} dead letters requeued");
            Ok(())
        }
    }
}
