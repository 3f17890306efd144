//! The services as programs of the harness: each serves until it is stopped, after a line on standard output that
//! says where it listens; or asks, as `healthcheck`, the one that does.
//!
//! The thin programs of `src/bin` are these functions, and so is what `load` starts of itself, so that `cargo run` of
//! one program can never measure yesterday's build of another.

use crate::process::READY;
use anyhow::{Result, bail};
use kit::{healthcheck::healthcheck, lifecycle::Lifecycle};

/// The emitter, configured by the environment.
///
/// # Errors
/// When it cannot start.
pub async fn emitter() -> Result<()> {
    use pms_emitter::{
        app::{App, Runtime},
        config::Command,
    };
    let (command, config, log) = pms_emitter::config::read_or_exit();
    if command == Command::Healthcheck {
        return Ok(healthcheck(&config.http).await?);
    }
    kit::telemetry::init(&log)?;
    let app = App::build(config, Runtime::system()).await?;
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
    let (command, log) = crm_receiver::config::read_or_exit();
    let config = match command {
        Command::Serve(config) => config,
        Command::Healthcheck(http) => return Ok(healthcheck(&http).await?),
        Command::Migrate(_) | Command::Requeue { .. } => {
            bail!("this program serves, and asks whether it does")
        }
    };
    kit::telemetry::init(&log)?;
    let app = App::build(config, Runtime::system()).await?;
    println!("{READY}{}", app.address());
    let lifecycle = Lifecycle::new();
    lifecycle.stop_on_signals()?;
    app.run_until_stopped(lifecycle).await;
    Ok(())
}
