//! Measures what a flood of connections costs the receiver, and those who behave: `flood --attack idle`.
//!
//! It starts the receiver as a process of its own, sends it good deliveries before and during the flood, each on a
//! connection of its own, and prints their latencies, what became of the flood, and the receiver's resident memory.

use anyhow::{Context, Result};
use clap::Parser;
use contract::{Clock, SecretList};
use e2e::{
    flood::{Attack, Flood},
    process::Process,
    signer::send,
    world::fresh_secret,
};
use kit::random::SystemClock;
use std::{fs::read_to_string, net::SocketAddr, path::Path, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

/// Good deliveries a second.
const GOOD_RATE: u64 = 200;

#[derive(Parser, Debug)]
struct Args {
    /// What each connection of the flood does
    #[arg(long, value_enum)]
    attack: Attack,
    /// How many there are; the receiver's cap is 10000
    #[arg(long, default_value_t = 12_000)]
    connections: usize,
    /// For how long good deliveries are sent, before the flood and in it
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    api::open_files::allow_connections(u32::try_from(args.connections)?);
    let folder = tempfile::tempdir()?;
    let secret = fresh_secret();
    let variables = [
        (
            "DATABASE_URL",
            format!("sqlite://{}/crm.db", folder.path().display()),
        ),
        ("WEBHOOK_SHARED_SECRET", secret.clone()),
        ("APP_PORT", "0".to_owned()),
        ("LOG_LEVEL", "warn".to_owned()),
    ];
    let program = std::env::current_exe()?.with_file_name("e2e-receiver");
    let receiver = Process::start(&program, folder.path(), &variables).await?;
    let (address, secrets) = (receiver.address(), secret.parse()?);
    let status = format!("/proc/{}/status", receiver.id()?);
    let span = Duration::from_secs(args.seconds);

    println!("{:?}, {} connections", args.attack, args.connections);
    println!("at rest:   {}", memory(Path::new(&status))?);
    println!("before:    {}", good(address, &secrets, "before", span).await);
    let begun = Instant::now();
    let flood = Flood::open(
        address,
        args.attack,
        args.connections,
        SystemClock.now().seconds(),
    )
    .await?;
    let opened = begun.elapsed();
    println!("opened in: {opened:.1?}; {}", memory(Path::new(&status))?);
    println!("during:    {}", good(address, &secrets, "during", span).await);
    println!("flood:     {:?}", flood.tally().await);
    println!("at most:   {}", memory(Path::new(&status))?);
    drop(flood);
    receiver.kill().await
}

/// What stays of the process in memory now, and did at most.
fn memory(status: &Path) -> Result<String> {
    let text = read_to_string(status)?;
    let kibibytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim_end_matches("kB").trim().parse::<f64>().ok());
        number.with_context(|| format!("no {name} in {}", status.display()))
    };
    let (now, most) = (kibibytes("VmRSS:")? / 1024.0, kibibytes("VmHWM:")? / 1024.0);
    Ok(format!("resident {now:.1} MiB, at most {most:.1} MiB"))
}

/// Sends good deliveries at a steady rate, and says how they fared.
async fn good(address: SocketAddr, secrets: &SecretList, phase: &str, span: Duration) -> String {
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(GOOD_RATE).expect("a small number"));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sending = JoinSet::new();
    for number in 0..span.as_secs() * GOOD_RATE {
        let due = ticks.tick().await;
        let (secrets, id) = (secrets.clone(), format!("good_{phase}_{number}"));
        sending.spawn(async move {
            let body = format!(
                r#"{{"type":"ping","idempotency_key":"{id}","timestamp":1763769600000,"schema_version":1}}"#
            );
            let sent = send(
                address,
                "pms",
                &id,
                body.as_bytes(),
                &secrets,
                SystemClock.now().seconds(),
            )
            .await;
            (sent.map(|answer| answer.status).ok(), due.elapsed())
        });
    }
    let answers = sending.join_all().await;
    let mut taken: Vec<_> = answers
        .iter()
        .filter(|(status, _)| *status == Some(202))
        .map(|(_, time)| *time)
        .collect();
    taken.sort_unstable();
    // Let the last sockets go before the next phase.
    sleep(Duration::from_millis(100)).await;
    let at = |share: f64| {
        let place = (taken.len() as f64 * share) as usize;
        taken
            .get(place.min(taken.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    };
    format!(
        "{} of {} taken in, p50 {:.1?}, p99 {:.1?}",
        taken.len(),
        answers.len(),
        at(0.5),
        at(0.99)
    )
}
