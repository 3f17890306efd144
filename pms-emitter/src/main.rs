//! `pms-emitter`: parses, sets logging up, and does what it is asked.

use kit::config::EXIT_CONFIG;
use kit::healthcheck::healthcheck;
use kit::lifecycle::{Ended, Lifecycle};
use pms_emitter::app::{App, Runtime, StartError, open_store, retry_dead};
use pms_emitter::config::{Command, Config, read_or_exit};
use std::process::ExitCode;

/// A webhook takes some 200 allocations on its way, many of about a kilobyte, at which the C library's own allocator is slow:
/// docs/performance.md has the figures. SQLite's C uses it too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let (command, config, log) = read_or_exit();
    // A question has nothing to log: its answer is all that is wanted.
    if command != Command::Healthcheck
        && let Err(error) = kit::telemetry::init(&log)
    {
        error.exit();
    }
    match run(command, config).await {
        Ok(code) => Ok(code),
        Err(error) => match error.downcast::<StartError>() {
            Ok(error) => {
                eprintln!("error: {error}");
                Ok(ExitCode::from(EXIT_CONFIG as u8))
            }
            Err(error) => Err(error),
        },
    }
}

async fn run(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    let runtime = Runtime::system();
    match command {
        Command::Serve => {
            let app = App::build(config, runtime).await?;
            let lifecycle = Lifecycle::new();
            lifecycle.stop_on_signals()?;
            Ok(match app.run_until_stopped(lifecycle).await {
                Ended::Finished => ExitCode::SUCCESS,
                Ended::Aborted | Ended::Failed => ExitCode::FAILURE,
            })
        }
        Command::Migrate => {
            open_store(&config, &runtime, false)
                .await?
                .db()
                .clone()
                .close()
                .await;
            Ok(ExitCode::SUCCESS)
        }
        Command::Healthcheck => {
            healthcheck(&config.http).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::RetryDead { since } => {
            let store = open_store(&config, &runtime, false).await?;
            let count = retry_dead(&store, &runtime, since).await?;
            store.db().clone().close().await;
            println!("{count} deliveries are due again");
            Ok(ExitCode::SUCCESS)
        }
    }
}
