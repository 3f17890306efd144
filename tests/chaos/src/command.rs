//! `cargo chaos -- --kills N --events M --engine sqlite|mysql --seed S`: kills under load, and the ledger.
//!
//! Exit code 1 says that something was lost, doubled, stuck, out of order or wrong, that a write was not confirmed or took no
//! effect, or that writes or deliveries went on too late after a return of the database server, or not at all. With
//! `--plant NAME` both services make a mistake on purpose, which must then be found.

use crate::environment::Environment;
use crate::run::{Options, SILENT, clerks_for, run};
use anyhow::Result;
use clap::{Parser, builder::PossibleValuesParser};
use harness::engine::{Engine, Servers};
use harness::program::exit_code;
use harness::serve::main_of_service;
use kit::planted::Bug;
use std::process::ExitCode;
use tokio::runtime::Runtime;

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

/// The program `chaos`. The run starts its services from this file, under their own names.
pub fn main_of_chaos() -> ExitCode {
    main_of_service().unwrap_or_else(|| {
        let arguments = Arguments::parse();
        let ended = Runtime::new().map_err(Into::into);
        exit_code(ended.and_then(|runtime| runtime.block_on(chaos(arguments))))
    })
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
    let environment = Environment::fresh(engine, &Servers::find()).await?;
    let report = run(&options, &environment).await?.report;
    environment.clear().await?;
    eprint!("{report}");
    println!("{}", report.json());
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
