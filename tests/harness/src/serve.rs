//! The services as programs of the tests: each serves until it is stopped, after a line on standard output that says
//! where it listens; or asks, as `healthcheck`, the one that does; or, the receiver, reconciles; or, the emitter, purges.

use crate::process::READY;
use crate::program::{EMITTER, RECEIVER, called_by, exit_code};
use anyhow::{Result, bail};
use futures::future::BoxFuture;
use kit::{config::EXIT_CONFIG, healthcheck::healthcheck, lifecycle::Lifecycle};
use std::{
    error::Error,
    process::{ExitCode, exit},
    time::Duration,
};
use tokio::runtime::Runtime as Threads;

/// Set, the emitter's leases and its breaker's open periods are short: for runs in which it dies every second.
pub const SHORT_WAITS: &str = "SHORT_WAITS";
/// What a lease then has beyond an attempt's deadline.
pub const SHORT_LEASE_SLACK: Duration = Duration::from_secs(1);
const SHORT_OPEN: Duration = Duration::from_millis(50);
const SHORT_LOOK: Duration = Duration::from_millis(100);

/// Runs the service whose name this process was called by, until it is stopped; `None` when it was called by another name.
pub fn main_of_service() -> Option<ExitCode> {
    let service: BoxFuture<'_, Result<ExitCode>> = match called_by()?.as_str() {
        EMITTER => Box::pin(async { emitter().await.map(|()| ExitCode::SUCCESS) }),
        RECEIVER => Box::pin(receiver()),
        _ => return None,
    };
    // As the services have it: one thread for each core.
    let ended = Threads::new().map_err(Into::into);
    let ended = ended.and_then(|threads| threads.block_on(service));
    Some(exit_code(ended))
}

/// The emitter, configured by the environment.
async fn emitter() -> Result<()> {
    use pms_emitter::{
        app::{App, Runtime},
        config::Command,
    };
    arm_or_exit();
    let (command, mut config, log) = pms_emitter::config::read_or_exit();
    if matches!(command, Command::Healthcheck) {
        return Ok(healthcheck(&config.http).await?);
    }
    kit::telemetry::init(&log)?;
    if let Command::Purge(args) = command {
        let done = pms_emitter::purge(args, &config).await;
        return done.or_else(|error| refuse(error.as_ref()));
    }
    #[expect(clippy::disallowed_methods, reason = "the harness's own configuration")]
    if std::env::var_os(SHORT_WAITS).is_some() {
        config.delivery.lease_slack = SHORT_LEASE_SLACK;
        config.delivery.breaker_open = SHORT_OPEN;
        config.delivery.look_every = SHORT_LOOK;
    }
    let app = App::build(config, Runtime::system())
        .await
        .unwrap_or_else(|error| refuse(&error));
    println!("{READY}{}", app.address());
    let lifecycle = Lifecycle::new();
    lifecycle.stop_on_signals()?;
    app.run_until_stopped(lifecycle).await;
    Ok(())
}

/// The receiver, configured by the environment.
async fn receiver() -> Result<ExitCode> {
    use crm_receiver::{
        app::{App, Runtime},
        config::Command,
    };
    arm_or_exit();
    let (command, log) = crm_receiver::config::read_or_exit();
    let config = match command {
        Command::Serve(config) => config,
        Command::Healthcheck(http) => {
            healthcheck(&http).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Reconcile { config, from } => {
            kit::telemetry::init(&log)?;
            let done = crm_receiver::reconcile(config, from).await;
            return Ok(done.unwrap_or_else(|error| refuse(error.as_ref())));
        }
        Command::Migrate(_)
        | Command::Requeue { .. }
        | Command::Rewrap { .. }
        | Command::Purge { .. }
        | Command::Keys { .. } => {
            bail!("this program serves, asks whether it does, and reconciles")
        }
    };
    kit::telemetry::init(&log)?;
    let app = App::build(config, Runtime::system())
        .await
        .unwrap_or_else(|error| refuse(&error));
    println!("{READY}{}", app.address());
    let lifecycle = Lifecycle::new();
    lifecycle.stop_on_signals()?;
    app.run_until_stopped(lifecycle).await;
    Ok(ExitCode::SUCCESS)
}

/// Ends as the services do.
fn refuse(error: &dyn Error) -> ! {
    eprintln!("error: {error}");
    exit(EXIT_CONFIG)
}

/// Arms the faults that a test asks for. Without the feature `faults` there are none.
fn arm_or_exit() {
    #[cfg(feature = "faults")]
    if let Err(error) = kit::config::faults::arm() {
        error.exit();
    }
}
