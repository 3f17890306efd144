//! `cargo chaos -- --kills N --events M --engine sqlite|mysql --seed S`: kills under load, and the ledger.
//!
//! Exit code 1 says that something was lost, doubled, stuck or out of order. With `--plant NAME` both services make a
//! mistake on purpose, which must then be found.

use anyhow::Result;
use clap::{Parser, builder::PossibleValuesParser};
use e2e::chaos::ground::Ground;
use e2e::chaos::run::{Options, SILENT, clerks_for, run};
use e2e::engine::{Engine, Servers};
use e2e::serve;
use kit::planted::Bug;
use std::process::ExitCode;

/// Kills both services and their database under load, and balances the books
#[derive(Parser, Debug)]
#[command(name = "chaos")]
struct Arguments {
    /// Deaths of processes: at named steps, at random, and on MySQL of the server too
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// Writes through the REST API, each of which makes one event
    #[arg(long, default_value_t = 10_000)]
    events: u64,
    /// sqlite or mysql
    #[arg(long, default_value = "sqlite", value_parser = PossibleValuesParser::new(["sqlite", "mysql"]))]
    engine: String,
    /// Another seed draws other deaths
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes at once; 48 when not said, and few where a planted bug shows better so
    #[arg(long)]
    clerks: Option<usize>,
    /// A mistake that both services make on purpose
    #[arg(long, value_parser = PossibleValuesParser::new(Bug::ALL.map(Bug::name)))]
    plant: Option<String>,
    /// What the services log
    #[arg(long, default_value = SILENT)]
    log_level: String,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    // The run starts its services from this program, under their own names.
    match std::env::args().next().as_deref() {
        Some(serve::EMITTER) => serve::emitter().await.map(|()| ExitCode::SUCCESS),
        Some(serve::RECEIVER) => serve::receiver().await.map(|()| ExitCode::SUCCESS),
        _ => chaos(Arguments::parse()).await,
    }
}

async fn chaos(arguments: Arguments) -> Result<ExitCode> {
    let engine = match arguments.engine.as_str() {
        "mysql" => Engine::Mysql,
        _ => Engine::Sqlite,
    };
    let bug = arguments.plant.as_deref().and_then(Bug::named);
    let options = Options {
        program: std::env::current_exe()?,
        kills: arguments.kills,
        events: arguments.events,
        seed: arguments.seed,
        clerks: arguments.clerks.unwrap_or_else(|| clerks_for(bug)),
        bug,
        log_level: arguments.log_level,
    };
    let ground = Ground::fresh(engine, &Servers::find()).await?;
    let report = run(&options, &ground).await?.report;
    ground.clear().await?;
    eprint!("{report}");
    println!("{}", report.json());
    Ok(if report.ledger.is_zero() && report.ledger.is_whole() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
