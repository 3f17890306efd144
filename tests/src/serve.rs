//! The services as programs of the harness: each serves until it is stopped, after a line on standard output that
//! says where it listens; or asks, as `healthcheck`, the one that does.
//!
//! The thin programs of `src/bin` are these functions, and so is what `load` starts of itself, so that `cargo run` of
//! one program can never measure yesterday's build of another.

use crate::process::READY;
use anyhow::{Result, bail};
use kit::{config::EXIT_CONFIG, healthcheck::healthcheck, lifecycle::Lifecycle};
use std::{error::Error, process::exit, time::Duration};

/// The name under which a program that is several is the emitter.
pub const EMITTER: &str = "e2e-emitter";
/// The name under which it is the receiver.
pub const RECEIVER: &str = "e2e-receiver";

/// Set, the emitter's leases and its breaker's open periods are short: for runs in which it dies every second.
pub const SHORT_WAITS: &str = "SHORT_WAITS";
/// What a lease then has beyond an attempt's deadline.
pub const SHORT_LEASE_SLACK: Duration = Duration::from_secs(1);
const SHORT_OPEN: Duration = Duration::from_millis(50);
const SHORT_LOOK: Duration = Duration::from_millis(100);

/// The emitter, configured by the environment.
///
/// # Errors
/// When it cannot start.
pub async fn emitter() -> Result<()> {
    use pms_emitter::{
        app::{App, Runtime},
        config::Command,
    };
    arm_or_exit();
    let (command, mut config, log) = pms_emitter::config::read_or_exit();
    if command == Command::Healthcheck {
        return Ok(healthcheck(&config.http).await?);
    }
    kit::telemetry::init(&log)?;
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
///
/// # Errors
/// When it cannot start.
pub async fn receiver() -> Result<()> {
    use crm_receiver::{
        app::{App, Runtime},
        config::Command,
    };
    arm_or_exit();
    let (command, log) = crm_receiver::config::read_or_exit();
    let config = match command {
        Command::Serve(config) => config,
        Command::Healthcheck(http) => return Ok(healthcheck(&http).await?),
        Command::Migrate(_) | Command::Requeue { .. } => {
            bail!("this program serves, and asks whether it does")
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
    Ok(())
}

/// Ends as the services do.
fn refuse(error: &dyn Error) -> ! {
    eprintln!("error: {error}");
    exit(EXIT_CONFIG)
}

/// Arms what a test wants to go wrong. Without the feature `faults` nothing can.
fn arm_or_exit() {
    #[cfg(feature = "faults")]
    if let Err(error) = kit::config::faults::arm() {
        error.exit();
    }
}
