//! `cargo load`: how fast the services are on this machine. `--help` says what can be asked; docs/performance.md, how.
//!
//! Exit code 1 says that an answer was neither 2xx nor 503, that the tables do not hold what was answered, or that an attack
//! took what it must not. Started
//! under the name of a service, it is that service: so one build measures itself.

use anyhow::{Context, Result};
use clap::Parser;
use e2e::engine::Servers;
use e2e::load::options::{Options, Target};
use e2e::load::service::{EMITTER, RECEIVER, Stage};
use e2e::load::session::{self, BARE_ROLE};
use e2e::load::{bare, hostile, limits, replay, writes};
use e2e::serve;
use e2e::server::Room;
use e2e::world::fresh_secret;
use serde::Serialize;
use std::ffi::OsStr;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use tokio::runtime::Builder;

/// As the services have it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<ExitCode> {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().and_then(OsStr::to_str);
    // As the services have it, one thread for each core; the generator has threads of its own.
    let service = || Builder::new_multi_thread().enable_all().build();
    match name {
        Some(RECEIVER) => service()?.block_on(serve::receiver())?,
        Some(EMITTER) => service()?.block_on(serve::emitter())?,
        Some(BARE_ROLE) => service()?.block_on(bare::serve())?,
        _ => {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            return runtime.block_on(measure(&Options::parse()));
        }
    }
    Ok(ExitCode::SUCCESS)
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
    let servers = Servers::with(Room::LOAD);
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
    if let Some(attack) = options.hostile {
        let report = hostile::attack(attack, options, &stage).await?;
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
