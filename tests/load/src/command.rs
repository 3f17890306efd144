//! Runs the measurements that `cargo load` is asked for, and shows the results. `--help` lists the options;
//! docs/performance.md explains them.
//!
//! Exit code 1 says that an answer was neither 2xx nor 503, that the tables do not hold what was answered, or that an attack,
//! a flood or an overload took what it must not: of memory, or of those who behave. Called by the name of a service, it is that service: so one build measures itself.

use crate::options::{Options, Target};
use crate::service::Stage;
use crate::session::{self, BARE};
use crate::{bare, fanned, flood, hostile, idle, limits, outage, replay, writes};
use anyhow::{Context, Result};
use clap::Parser;
use harness::config::fresh_secret;
use harness::engine::Servers;
use harness::program::{called_by, exit_code};
use harness::serve::main_of_service;
use harness::server::ServerSize;
use serde::Serialize;
use std::fmt::Display;
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};

/// The program `load`; or one of the services or the bare endpoint, when it is called by that name.
pub fn main_of_load() -> ExitCode {
    if let Some(ended) = main_of_service() {
        return ended;
    }
    exit_code(if called_by().as_deref() == Some(BARE) {
        serve_bare()
    } else {
        generate(&Options::parse())
    })
}

/// As the services have it, one thread for each core.
fn serve_bare() -> Result<ExitCode> {
    Runtime::new()?.block_on(bare::serve())?;
    Ok(ExitCode::SUCCESS)
}

/// The generator has threads of its own.
fn generate(options: &Options) -> Result<ExitCode> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> Result<ExitCode> {
    options.check()?;
    let secret = options.secret.clone().unwrap_or_else(fresh_secret);
    if let (Some(events), Some(out)) = (options.prepare, &options.out) {
        replay::prepare(options, events, &secret, out)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(file), Some(url)) = (&options.replay, &options.url) {
        let figures = replay::replay(options, file, url).await?;
        return show(options, &figures, figures.is_good());
    }
    let servers = Servers::with(ServerSize::LOAD);
    let stage = Stage {
        program: std::env::current_exe().context("this program has a file")?,
        servers: &servers,
        engine: options.engine(),
        secret,
        log_level: options.log_level.clone(),
    };
    if options.limits {
        return show(options, &limits::measure(options, &stage).await?, true);
    }
    if let Some(kind) = options.flood {
        let report = flood::measure(kind, options, &stage).await?;
        return show(options, &report, report.faults.is_empty());
    }
    if let Some(attack) = options.hostile {
        let report = hostile::attack(attack, options, &stage).await?;
        return show(options, &report, report.faults.is_empty());
    }
    if let Some(endpoints) = options.endpoints {
        let report = fanned::endpoints(options, &stage, endpoints).await?;
        return show(options, &report, report.faults.is_empty());
    }
    if let Some(endpoints) = options.black_holes {
        let report = fanned::black_holes(options, &stage, endpoints).await?;
        return show(options, &report, report.faults.is_empty());
    }
    if let Some(endpoints) = options.idle_endpoints {
        let report = idle::measure(options, &stage, endpoints).await?;
        return show(options, &report, report.faults.is_empty());
    }
    if let Some(events) = options.outage {
        let report = outage::measure(options, &stage, events).await?;
        return show(options, &report, report.faults.is_empty());
    }
    let report = match options.target {
        Target::Receiver => {
            let report = session::receiver(options, &stage).await?;
            return show(options, &report, report.faults.is_empty());
        }
        Target::Emitter => writes::emitter(options, &stage).await?,
        Target::E2e => writes::end_to_end(options, &stage).await?,
    };
    show(options, &report, report.faults.is_empty())
}

/// Prints the figures; the exit code says whether all is as it must be.
fn show(options: &Options, figures: &(impl Serialize + Display), good: bool) -> Result<ExitCode> {
    if options.json {
        println!("{}", serde_json::to_string(figures)?);
    } else {
        print!("{figures}");
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
