//! Overload of the receiver: signed events at a multiple of its top rate from senders that ignore answers, many senders
//! that retry when asked to, and unsigned bodies together with signed ones.
//!
//! The queue of the first two is shorter than the connections are many, or a connection that waits for its answer would
//! send nothing and so hold the load down to what is taken.

use super::compared::{Compared, Sent};
use super::elsewhere;
use super::figures::{LoadFigures, line, thousandths};
use super::generator::{Load, Pace, Speaker, Speakers};
use super::pool::Pool;
use super::receiver::Receiver;
use super::service::Stage;
use super::tally::Percentiles;
use super::watch::{Memory, cpu_seconds, too_large};
use super::wire;
use anyhow::{Result, ensure};
use futures::future::join_all;
use harness::waiting::Looks;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What the receiver's queue takes.
const QUEUE: usize = 256;
/// Connections of the overload.
const CONNECTIONS: usize = 1_024;
/// The least of the top rate that an overload was ever measured to leave, on either engine: docs/performance.md. The goal, 0.90,
/// is not reached.
const GOODPUT_MIN: f64 = 0.30;
/// The same of the signed events beside unsigned bodies: R40's goal.
const BESIDE_UNSIGNED_MIN: f64 = 0.90;
/// From the end of an overload until nobody is turned away (F34).
const RECOVERS_WITHIN: Duration = Duration::from_secs(5);
/// How unsigned bodies are answered: as not authentic, and soon as too many.
const UNSIGNED_REFUSALS: [&[u8]; 2] = [b"HTTP/1.1 401 ", b"HTTP/1.1 429 "];
/// Of an unsigned body.
const UNSIGNED_BYTES: usize = 20_000;
/// What is read of an answer to it: its status line is enough.
const ANSWER_BYTES: usize = 512;

/// A load beyond the top rate.
#[derive(Clone, Debug, Serialize)]
pub struct Overload {
    /// What was sent a second.
    pub offered_rate: f64,
    /// What was taken in a second, by the top rate.
    pub goodput: f64,
    /// Milliseconds to the answers of 2xx: in an open loop from the instant at which a request was due.
    pub accepted_ms: Percentiles,
    /// What the generator was answered.
    pub load: LoadFigures,
    /// Seconds from the last answer until as many as half of the queue takes were taken in at once, nobody turned away.
    pub recovered_seconds: f64,
    /// MiB resident.
    pub memory_mib: Memory,
}

/// Half of the top rate beside unsigned bodies.
#[derive(Clone, Debug, Serialize)]
pub struct Beside {
    /// Connections that send nothing but those.
    pub connections: usize,
    /// Unsigned bodies that were answered 401 or 429 a second.
    pub refused_rate: f64,
    /// What was taken in a second, by what was sent.
    pub goodput: f64,
    /// The signed events, without unsigned bodies and beside them.
    pub signed: Compared,
    /// MiB resident.
    pub memory_mib: Memory,
}

impl fmt::Display for Overload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.load.rate_wanted.is_some();
        line(out, if open { "overload" } else { "crowd" }, &self.load)?;
        let Percentiles {
            p50, p99, p999, max, ..
        } = self.accepted_ms;
        writeln!(
            out,
            "    {:.0}/s sent, {:.3} of the top rate taken in; 2xx after p50 {p50:.2}, p99 {p99:.2}, p99.9 {p999:.2}, at \
             most {max:.2} ms; recovered after {:.2} s",
            self.offered_rate, self.goodput, self.recovered_seconds
        )?;
        writeln!(out, "    {}", self.memory_mib)
    }
}

impl fmt::Display for Beside {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "half the rate, and unsigned bodies beside it:")?;
        write!(out, "{}", self.signed)?;
        writeln!(
            out,
            "    beside {} connections with {:.0} unsigned bodies a second: {:.3} of what was signed taken in",
            self.connections, self.refused_rate, self.goodput
        )?;
        writeln!(out, "    {}", self.memory_mib)
    }
}

/// Sends `times` as much as `top_rate` a second, whatever is answered.
///
/// # Errors
/// When the receiver does not start, or the generator fails.
pub async fn overload(
    stage: &Stage<'_>,
    load: &Load,
    pool: &Arc<Pool>,
    (times, top_rate): (f64, f64),
    faults: &mut Vec<String>,
) -> Result<Overload> {
    let load = Load {
        connections: CONNECTIONS,
        pace: Pace::Open(times * top_rate),
        ..load.clone()
    };
    beyond(stage, load, Overloading::new(pool, false), top_rate, faults).await
}

/// Lets so many connections send as fast as they may: each comes back when it was asked to.
///
/// # Errors
/// When the receiver does not start, or the generator fails.
pub async fn crowd(
    stage: &Stage<'_>,
    load: &Load,
    pool: &Arc<Pool>,
    (connections, top_rate): (usize, f64),
    faults: &mut Vec<String>,
) -> Result<Overload> {
    let load = Load {
        connections,
        pace: Pace::Closed,
        ..load.clone()
    };
    beyond(stage, load, Overloading::new(pool, true), top_rate, faults).await
}

async fn beyond(
    stage: &Stage<'_>,
    load: Load,
    speakers: Overloading,
    top_rate: f64,
    faults: &mut Vec<String>,
) -> Result<Overload> {
    let queue = [("INGEST_QUEUE", QUEUE.to_string())];
    let receiver = Receiver::start_with(stage, &queue).await?;
    let speakers = Arc::new(speakers);
    let used = cpu_seconds(std::process::id())?;
    let watching = receiver.watch()?;
    let measured = receiver.generate(&load, speakers.pool.len(), &speakers).await?;
    let sent = measured.tally.sent();
    let recovered = recovers(receiver.service().address(), &speakers.pool, sent).await?;
    let run = receiver.drained(watching, measured).await?;
    let used = cpu_seconds(std::process::id())? - used;
    receiver.end().await?;
    faults.extend(run.faults());
    let rude = speakers.rude.load(Ordering::Relaxed);
    if rude > 0 {
        faults.push(format!("{rude} answers of 503 did not say when to come back"));
    }
    faults.extend(too_large("an overloaded receiver", run.memory.peak));
    let goodput = thousandths(run.measured.rate() / top_rate);
    if goodput < GOODPUT_MIN {
        faults.push(format!(
            "{goodput} of the top rate were taken in, and {GOODPUT_MIN} are the least"
        ));
    }
    if recovered > RECOVERS_WITHIN {
        faults.push(format!(
            "it recovered after {recovered:.1?}, not {RECOVERS_WITHIN:?}"
        ));
    }
    let tally = &run.measured.tally;
    Ok(Overload {
        offered_rate: (tally.sent() as f64 / run.measured.elapsed.as_secs_f64()).round(),
        goodput,
        recovered_seconds: thousandths(recovered.as_secs_f64()),
        accepted_ms: tally.good_percentiles(),
        load: LoadFigures::new(&run.measured, load.pace.rate(), load.connections, used),
        memory_mib: run.memory,
    })
}

/// Sends the last of what was sent again, all at once and for as long as somebody is turned away. What was taken in before is
/// answered 200, and what was refused is new.
async fn recovers(target: SocketAddr, pool: &Pool, sent: u64) -> Result<Duration> {
    let (begun, looks) = (Instant::now(), Looks::within(10 * RECOVERS_WITHIN));
    loop {
        let last = sent.saturating_sub(QUEUE as u64 / 2)..sent;
        let answers = join_all(last.map(|number| is_taken(target, pool.request(number)))).await;
        if answers.into_iter().all(|taken| taken.unwrap_or(false)) {
            return Ok(begun.elapsed());
        }
        ensure!(
            looks.go_on().await,
            "after {:?} it still turns some away",
            begun.elapsed()
        );
    }
}

async fn is_taken(target: SocketAddr, request: &[u8]) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(request).await?;
    let mut answer = [0; ANSWER_BYTES];
    let read = stream.read(&mut answer).await?;
    Ok(answer[..read].starts_with(b"HTTP/1.1 2"))
}

/// Sends half of `top_rate` a second, and again while so many connections send unsigned bodies as fast as they are answered.
///
/// # Errors
/// When the receiver does not start, or the generator fails.
pub async fn beside_unsigned(
    stage: &Stage<'_>,
    load: &Load,
    pool: &Arc<Pool>,
    (connections, top_rate): (usize, f64),
    faults: &mut Vec<String>,
) -> Result<Beside> {
    let rate = top_rate / 2.0;
    let load = Load {
        pace: Pace::Open(rate),
        ..load.clone()
    };
    let alone = Receiver::start(stage).await?;
    let watching = alone.watch()?;
    let sent_alone = Sent::pool(&alone, &load, Arc::clone(pool)).await?;
    faults.extend(
        alone
            .drained(watching, sent_alone.measured.clone())
            .await?
            .faults(),
    );
    alone.end().await?;

    let receiver = Receiver::start(stage).await?;
    let refused = Arc::new(AtomicU64::new(0));
    let mut unsigned = JoinSet::new();
    for _ in 0..connections {
        unsigned.spawn(send_unsigned(receiver.service().address(), Arc::clone(&refused)));
    }
    let watching = receiver.watch()?;
    let sent = Sent::pool(&receiver, &load, Arc::clone(pool)).await?;
    let run = receiver.drained(watching, sent.measured.clone()).await?;
    unsigned.shutdown().await;
    receiver.end().await?;
    faults.extend(run.faults());
    let seconds = run.measured.elapsed + run.drain;
    let refused = refused.load(Ordering::Relaxed);
    if refused == 0 {
        faults.push("no unsigned body was refused".to_owned());
    }
    faults.extend(too_large("a receiver beside unsigned bodies", run.memory.peak));
    let goodput = thousandths(run.measured.rate() / rate);
    if goodput < BESIDE_UNSIGNED_MIN {
        faults.push(format!(
            "{goodput} of what was signed was taken in, and {BESIDE_UNSIGNED_MIN} is the least"
        ));
    }
    Ok(Beside {
        connections,
        refused_rate: (refused as f64 / seconds.as_secs_f64()).round(),
        goodput,
        signed: Compared::new(&sent_alone, &sent),
        memory_mib: run.memory,
    })
}

/// Sends unsigned bodies, one after the other; the receiver ends each connection with its answer.
async fn send_unsigned(target: SocketAddr, refused: Arc<AtomicU64>) {
    let head = format!(
        "POST /api/v1/webhooks/pms HTTP/1.1\r\nhost: {target}\r\ncontent-type: application/json\r\n\
         content-length: {UNSIGNED_BYTES}\r\n\r\n"
    );
    let request = [head.into_bytes(), vec![b' '; UNSIGNED_BYTES]].concat();
    loop {
        let Ok(mut stream) = elsewhere::connect(target).await else {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        // It may be cut off before its end: its head was enough.
        let _ = stream.write_all(&request).await;
        let mut answer = [0; ANSWER_BYTES];
        let read = stream.read(&mut answer).await.unwrap_or(0);
        let is_refused = UNSIGNED_REFUSALS
            .iter()
            .any(|start| answer[..read].starts_with(start));
        refused.fetch_add(u64::from(is_refused), Ordering::Relaxed);
    }
}

/// Speaks from a pool, and counts the refusals that name no time.
struct Overloading {
    pool: Arc<Pool>,
    rude: Arc<AtomicU64>,
    /// Whether it stays away as long as it is asked to.
    heeds: bool,
    rest: Option<Duration>,
}

impl Overloading {
    fn new(pool: &Arc<Pool>, heeds: bool) -> Self {
        Self {
            pool: Arc::clone(pool),
            rude: Arc::default(),
            heeds,
            rest: None,
        }
    }
}

impl Speakers for Overloading {
    type Speaker = Self;

    fn speaker(&self) -> Self {
        Self {
            rude: Arc::clone(&self.rude),
            ..Self::new(&self.pool, self.heeds)
        }
    }
}

impl Speaker for Overloading {
    fn request(&mut self, number: u64) -> &[u8] {
        self.pool.request(number)
    }

    fn hear(&mut self, status: u16, answer: &[u8]) {
        self.rest = None;
        if status != 503 {
            return;
        }
        let seconds = wire::header(answer, b"retry-after:").and_then(|value| value.parse().ok());
        if seconds.is_none() {
            self.rude.fetch_add(1, Ordering::Relaxed);
        }
        self.rest = seconds.filter(|_| self.heeds).map(Duration::from_secs);
    }

    fn rest(&self) -> Option<Duration> {
        self.rest
    }
}
