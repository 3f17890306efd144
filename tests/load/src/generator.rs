//! Sends requests over keep-alive connections, with as little work as possible: it shares the machine with what it
//! measures.
//!
//! Each thread has its share of the connections and a runtime of its own, so that nothing is shared but the number of
//! the next request. Closed loop: a connection sends as soon as it has its answer. Open loop: request `n` is due `n`
//! intervals after the start, a free connection sends it, and its latency counts from then; tokio's timer is a
//! millisecond coarse, so requests go out up to that much late, and that counts too.

use super::{pool::Pool, tally::Tally, wire};
use anyhow::{Context, Result, anyhow};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// For the requests that are in progress when the time is up.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// Between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
/// A connection that is not used for so long is closed, and a new one takes its place: well before a service closes it, which it
/// does after 10 s.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// How long before its request is due it is opened.
const OPENED_BEFORE: Duration = Duration::from_millis(100);
/// Attempts without an answer after which a connection gives up.
const FAILURES_MAX: u32 = 50;
/// What is read at once.
const READ_BYTES: usize = 4096;

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// One after the other on each connection.
    Closed,
    /// So many a second.
    Open(f64),
}

impl Pace {
    /// The rate of an open loop.
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::Closed => None,
            Self::Open(rate) => Some(rate),
        }
    }
}

/// The requests of one connection. It stays with its connection, so that an answer can decide the next request.
pub trait Speaker: 'static {
    /// The request of this number, which no other connection sends.
    fn request(&mut self, number: u64) -> &[u8];

    /// Called with the complete answer to its last request: the status and every byte.
    fn hear(&mut self, _status: u16, _answer: &[u8]) {}

    /// How long the last answer asked it to stay away.
    fn rest(&self) -> Option<Duration> {
        None
    }
}

/// Gives every connection its speaker.
pub trait Speakers: Send + Sync + 'static {
    /// What it gives.
    type Speaker: Speaker;

    /// A speaker for one connection.
    fn speaker(&self) -> Self::Speaker;
}

impl Speakers for Arc<Pool> {
    type Speaker = Self;

    fn speaker(&self) -> Self {
        Self::clone(self)
    }
}

impl Speaker for Arc<Pool> {
    fn request(&mut self, number: u64) -> &[u8] {
        Pool::request(self, number)
    }
}

/// One load.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where it goes.
    pub target: SocketAddr,
    /// The most requests; None has no end but the time's.
    pub requests_max: Option<u64>,
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// Threads that share the connections.
    pub threads: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// How long new ones are sent, unless there are no more before.
    pub time: Duration,
}

/// The result of a load.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The answers.
    pub tally: Tally,
    /// From the start to the last answer.
    pub elapsed: Duration,
    /// Whether there were no more requests before the time was up.
    pub ran_dry: bool,
}

impl Measured {
    /// Answers of 2xx a second.
    pub fn rate(&self) -> f64 {
        self.tally.good() as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

/// What all connections share.
struct Shared {
    load: Load,
    next: AtomicU64,
    /// Set when every connection is open, so that no time is spent on connecting.
    start: OnceLock<Instant>,
    /// Met by every thread when its connections are open.
    ready: Barrier,
}

/// Runs one load to its end. It blocks the thread that it is called on.
///
/// # Errors
/// When a thread cannot be started, or a connection never got through.
pub fn run<S: Speakers>(load: Load, speakers: &Arc<S>) -> Result<Measured> {
    let threads = load.threads.clamp(1, load.connections.max(1));
    let connections = load.connections;
    let shared = Arc::new(Shared {
        load,
        next: AtomicU64::new(0),
        start: OnceLock::new(),
        ready: Barrier::new(threads),
    });
    let running: Vec<_> = (0..threads)
        .map(|thread| {
            let (shared, speakers) = (Arc::clone(&shared), Arc::clone(speakers));
            // Every thread has its share, and the first ones what is left.
            let share = connections / threads + usize::from(thread < connections % threads);
            std::thread::spawn(move || drive(&shared, speakers.as_ref(), share))
        })
        .collect();
    let mut tally = Tally::new();
    for thread in running {
        let part = thread
            .join()
            .map_err(|_| anyhow!("a thread of the generator panicked"))??;
        tally.add(&part);
    }
    let elapsed = shared.start().elapsed();
    let taken = shared.next.load(Ordering::Relaxed);
    Ok(Measured {
        // An open loop's number is what is due in its time.
        ran_dry: shared.load.pace == Pace::Closed
            && shared.load.requests_max.is_some_and(|max| taken > max)
            && elapsed < shared.load.time,
        tally,
        elapsed,
    })
}

/// One thread and its connections.
fn drive<S: Speakers>(shared: &Arc<Shared>, speakers: &S, connections: usize) -> Result<Tally> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let tally = Rc::new(RefCell::new(Tally::new()));
    let local = LocalSet::new();
    let connecting = (0..connections).map(|_| connect(shared.load.target));
    let streams = runtime.block_on(futures::future::join_all(connecting));
    // Before any error may end this thread: the others wait here for it.
    shared.ready.wait();
    let mut open = Vec::with_capacity(connections);
    for stream in streams {
        let talk = converse(Arc::clone(shared), stream?, speakers.speaker(), Rc::clone(&tally));
        open.push(local.spawn_local(talk));
    }
    let all = futures::future::join_all(open);
    let within = shared.load.time + LAST_ANSWERS_WITHIN;
    let ended = local.block_on(&runtime, async { timeout(within, all).await });
    match ended {
        Ok(connections) => {
            for ended in connections {
                ended.context("a connection of the generator panicked")??;
            }
        }
        // Those that still wait have no answer.
        Err(_) => drop(local),
    }
    let tally = tally.borrow().clone();
    Ok(tally)
}

/// One connection: takes requests until there are no more, and connects again when it is cut.
async fn converse<S: Speaker>(
    shared: Arc<Shared>,
    stream: TcpStream,
    mut speaker: S,
    tally: Rc<RefCell<Tally>>,
) -> Result<()> {
    let mut stream = Some(stream);
    let mut answer = Vec::with_capacity(READ_BYTES);
    let mut failures = 0;
    // Since when its connection is idle.
    let mut idle_since = shared.start();
    while let Some((n, due)) = shared.take() {
        if let Some(due) = due {
            if idle_since + IDLE_MAX < due {
                drop(stream.take());
                sleep_until(due - OPENED_BEFORE).await;
                stream = Some(connect(shared.load.target).await?);
            }
            if Instant::now() < due {
                sleep_until(due).await;
            }
        }
        let request = speaker.request(n);
        let sent = due.unwrap_or_else(Instant::now);
        let mut open = match stream.take() {
            Some(open) => open,
            None => connect(shared.load.target).await?,
        };
        tally.borrow_mut().sends();
        match exchange(&mut open, request, &mut answer).await {
            Ok(got) => {
                tally.borrow_mut().answered(got.status, sent.elapsed());
                speaker.hear(got.status, &answer[..got.len]);
                failures = 0;
                stream = got.keeps.then_some(open);
                if let Some(rest) = speaker.rest() {
                    // A connection that would send nothing more does not wait.
                    let end = shared.start() + shared.load.time;
                    sleep_until(end.min(Instant::now() + rest)).await;
                }
            }
            Err(error) => {
                failures += 1;
                if failures == FAILURES_MAX {
                    return Err(error.context("request after request has no answer"));
                }
                sleep(CONNECT_PAUSE).await;
            }
        }
        idle_since = Instant::now();
    }
    Ok(())
}

impl Shared {
    /// When the first request was, or is, due.
    fn start(&self) -> Instant {
        *self.start.get_or_init(Instant::now)
    }

    /// The next request and, in an open loop, the instant at which it is due. What is due within the time is sent, however late.
    fn take(&self) -> Option<(u64, Option<Instant>)> {
        if self.load.pace == Pace::Closed && self.start().elapsed() >= self.load.time {
            return None;
        }
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        if self.load.requests_max.is_some_and(|max| n >= max) {
            return None;
        }
        let Pace::Open(rate) = self.load.pace else {
            return Some((n, None));
        };
        let after = Duration::from_secs_f64(n as f64 / rate);
        if after >= self.load.time {
            return None;
        }
        Some((n, Some(self.start() + after)))
    }
}

async fn connect(target: SocketAddr) -> Result<TcpStream> {
    let mut failures = 0;
    loop {
        match TcpStream::connect(target).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => {
                failures += 1;
                if failures == FAILURES_MAX {
                    return Err(error).with_context(|| format!("nobody listens at {target}"));
                }
                sleep(CONNECT_PAUSE).await;
            }
        }
    }
}

/// Sends one request and reads its answer into `answer`, which keeps its room.
async fn exchange(stream: &mut TcpStream, request: &[u8], answer: &mut Vec<u8>) -> Result<wire::Answer> {
    answer.clear();
    // What is refused at its head may be cut off before its end: the answer is what counts.
    let written = stream.write_all(request).await;
    loop {
        answer.reserve(READ_BYTES);
        if stream.read_buf(answer).await? == 0 {
            written?;
            return Err(anyhow!("closed after {} bytes of an answer", answer.len()));
        }
        if let Some(got) = wire::read(answer)? {
            return Ok(got);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::net::TcpListener;

    /// As a service closes what is idle.
    const CLOSED_AFTER: Duration = Duration::from_secs(10);

    struct Asks;

    impl Speaker for Asks {
        fn request(&mut self, _number: u64) -> &[u8] {
            b"?"
        }
    }

    /// Answers every byte until its client is idle for too long.
    async fn answer(mut stream: TcpStream, answered: Rc<Cell<u64>>) {
        let mut byte = [0];
        while let Ok(Ok(1)) = timeout(CLOSED_AFTER, stream.read(&mut byte)).await {
            let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            answered.set(answered.get() + 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_open_loop_is_answered_to_its_end_though_idle_connections_are_closed() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let load = Load {
            target: listener.local_addr().unwrap(),
            requests_max: None,
            connections: 3,
            threads: 1,
            pace: Pace::Open(0.2),
            time: Duration::from_secs(150),
        };
        let shared = Arc::new(Shared {
            load,
            next: AtomicU64::new(0),
            start: OnceLock::new(),
            ready: Barrier::new(1),
        });
        let (tally, answered) = (Rc::new(RefCell::new(Tally::new())), Rc::new(Cell::new(0)));
        let (local, counted) = (LocalSet::new(), Rc::clone(&answered));
        local.spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(answer(stream, Rc::clone(&counted)));
            }
        });
        let talks = (0..3).map(|_| async {
            let stream = connect(shared.load.target).await.unwrap();
            converse(Arc::clone(&shared), stream, Asks, Rc::clone(&tally)).await
        });
        let ended = local.run_until(futures::future::join_all(talks)).await;
        assert!(ended.iter().all(Result::is_ok), "{ended:?}");
        let tally = tally.borrow();
        assert_eq!((tally.sent(), tally.unanswered(), answered.get()), (30, 0, 30));
        assert!(shared.start().elapsed() >= Duration::from_secs(145));
    }
}
