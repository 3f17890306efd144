//! The demo's options and its steps: start, load, wait until everything is applied, and show.

use crate::conclusion::{Conclusion, End, Signals};
use crate::tour;
use anyhow::Result;
use clap::Parser;
use harness::bookings::{self, Booking, CSV};
use harness::client::Client;
use harness::loader::{self, Loaded};
use harness::people::{self, Cast};
use harness::plan;
use harness::program::exit_code;
use harness::seeded::DEFAULT_SEED;
use harness::world::{Settings, World};
use indicatif::{ProgressBar, ProgressStyle};
use kit::config::{LogArgs, LogFormat};
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;

const EMITTER_PORT: u16 = 4001;
const RECEIVER_PORT: u16 = 5001;
/// After the last call, for the last events.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// Loads real hotel bookings through both services, and shows where to look
#[derive(Parser, Debug)]
#[command(name = "demo")]
struct Options {
    /// End when everything is applied, instead of staying up
    #[arg(long)]
    once: bool,
    /// Print the result as one JSON object, as the last line
    #[arg(long)]
    json: bool,
    /// Another seed invents other people
    #[arg(long, default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// What the services log
    #[arg(long, default_value = "warn")]
    log_level: String,
}

/// The program `demo`.
pub fn main_of_demo() -> ExitCode {
    let options = Options::parse();
    let ended = Runtime::new().map_err(Into::into);
    exit_code(ended.and_then(|runtime| runtime.block_on(demo(&options))))
}

async fn demo(options: &Options) -> Result<ExitCode> {
    kit::telemetry::init(&LogArgs {
        log_level: options.log_level.clone(),
        log_format: LogFormat::Text,
    })?;
    // Before there is anything to remove.
    let mut signals = Signals::listen()?;
    let folder = tempfile::Builder::new().prefix("guestwire-demo-").tempdir()?;
    let database = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    let world = World::start(Settings {
        emitter_database: database("pms.db"),
        receiver_database: database("crm.db"),
        emitter_port: free_or_any(EMITTER_PORT),
        receiver_port: free_or_any(RECEIVER_PORT),
    })
    .await?;
    eprintln!("data     {}", folder.path().display());
    let end = run(&world, options, &mut signals).await;
    let stopped = if end.as_ref().is_ok_and(|end| end.is_early()) {
        world.abandon().await
    } else {
        world.stop().await
    };
    let removed = folder.close();
    let end = end?;
    stopped?;
    removed?;
    Ok(end.into())
}

/// Shows everything, unless a signal comes before its end, and stays up for one if that is wanted.
async fn run(world: &World, options: &Options, signals: &mut Signals) -> Result<End> {
    let end = tokio::select! {
        biased;
        early = signals.next() => return Ok(early),
        shown = show(world, options) => shown?,
    };
    if !options.once {
        signals.next().await;
    }
    Ok(end)
}

/// Loads everything, and reports; the answer is what the books say.
async fn show(world: &World, options: &Options) -> Result<End> {
    let (emitter, receiver) = (world.emitter_api(), world.receiver_api());
    eprintln!("emitter  {emitter}\nreceiver {receiver}");
    let bookings = bookings::read(CSV)?;
    let cast = people::cast(&bookings, options.seed);
    let (people, returning) = (cast.people.len(), cast.returning());
    eprintln!(
        "{} bookings by {people} invented people, {returning} of them returning",
        bookings.len()
    );
    let started = Instant::now();
    let loaded = load(world, &bookings, &cast, options.seed).await?;
    world.settled(SETTLED_WITHIN).await?;
    let elapsed = started.elapsed();
    let conclusion =
        Conclusion::of(&mut world.databases().await?, &bookings, &cast, &loaded, elapsed).await?;
    eprintln!(
        "{}steps of refused rows that were skipped: {}",
        conclusion.report, loaded.skipped
    );
    if !options.once {
        let expected = &conclusion.expected;
        let commands = tour::where_to_look(&emitter, &receiver, &cast, &loaded, expected).await?;
        println!("{commands}\nCtrl-C ends it, and removes the data.");
    }
    if options.json {
        println!("{}", conclusion.last_line()?);
    }
    Ok(conclusion.end)
}

/// The port if it is free, else 0, which takes any free one.
fn free_or_any(port: u16) -> u16 {
    if TcpListener::bind(("127.0.0.1", port)).is_ok() {
        return port;
    }
    eprintln!("port {port} is taken: another one is used");
    0
}

async fn load(world: &World, bookings: &[Booking], cast: &Cast, seed: u64) -> Result<Loaded> {
    let plans = plan::plan(bookings, cast, seed);
    let bar = ProgressBar::new(plan::calls(&plans) as u64);
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {pos}/{len} calls, {per_sec}, {eta} left",
    )?);
    let client = Client::new(world.emitter_api());
    let loaded = loader::load(&client, bookings, cast, &plans, &|calls| bar.inc(calls)).await?;
    bar.finish_and_clear();
    Ok(loaded)
}
