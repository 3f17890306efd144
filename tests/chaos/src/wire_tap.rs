//! The wire between emitter and receiver, with a record: each delivery's path and `webhook-id`, and every status that answered it.
//!
//! It listens at the endpoints' address. What goes to the receivers' path it forwards to one of them, each connection to the same,
//! and does not answer by itself: when the connection to a receiver breaks, so does the emitter's. To other paths, those of webhooks,
//! it answers 200. It can hold back every answer for a while, so that an emitter dies after its request went out and before the
//! answer (F3).

use super::http_message::{Head, read_message};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a path that is the receivers' ends with.
const RECEIVERS: &str = "/webhooks/pms";
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What passed.
#[derive(Clone, Debug, Default)]
pub struct WireLog {
    /// The statuses that answered each path and `webhook-id`, in the order in which they came.
    pub answers: HashMap<(String, String), Vec<u16>>,
    /// Each path and `webhook-id` once, in the order in which they first came.
    pub arrived: Vec<(String, String)>,
    /// Requests, answered or not.
    pub requests: u64,
}

/// A tap that listens for as long as it lives.
pub struct WireTap {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

struct Shared {
    upstreams: Vec<SocketAddr>,
    turn: AtomicUsize,
    requests: AtomicU64,
    /// Deliveries that a receiver ever answered with a 2xx.
    taken: watch::Sender<u64>,
    /// Answers with a 2xx to deliveries that had one before.
    again: watch::Sender<u64>,
    noted: Mutex<Noted>,
    holding: watch::Sender<bool>,
    held: watch::Sender<usize>,
}

#[derive(Default)]
struct Noted {
    answers: HashMap<(String, String), Vec<u16>>,
    arrived: Vec<(String, String)>,
}

impl WireTap {
    /// Listens on a free port of 127.0.0.1, before these receivers.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(upstreams: Vec<SocketAddr>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstreams,
            turn: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            taken: watch::Sender::new(0),
            again: watch::Sender::new(0),
            noted: Mutex::default(),
            holding: watch::Sender::new(false),
            held: watch::Sender::new(0),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            listening,
        })
    }

    /// Where the emitters connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds every answer back from now on, or lets them go.
    pub fn hold(&self, holding: bool) {
        self.shared.holding.send_replace(holding);
    }

    /// Waits until so many answers are held.
    pub async fn holds(&self, answers: usize) {
        let mut held = self.shared.held.subscribe();
        // The sender lives as long as this does.
        let _ = held.wait_for(|held| *held >= answers).await;
    }

    /// How many deliveries were taken by a receiver, each counted once.
    pub fn taken(&self) -> u64 {
        *self.shared.taken.borrow()
    }

    /// Waits until so many deliveries were taken by a receiver, each counted once, as `enough` says.
    pub async fn until_taken(&self, mut enough: impl FnMut(u64) -> bool) {
        let mut taken = self.shared.taken.subscribe();
        // The sender lives as long as this does.
        let _ = taken.wait_for(|taken| enough(*taken)).await;
    }

    /// How many deliveries were taken again.
    pub fn again(&self) -> watch::Receiver<u64> {
        self.shared.again.subscribe()
    }

    /// What passed so far.
    pub fn log(&self) -> WireLog {
        let noted = self.shared.noted();
        WireLog {
            answers: noted.answers.clone(),
            arrived: noted.arrived.clone(),
            requests: self.shared.requests.load(Ordering::SeqCst),
        }
    }
}

impl Drop for WireTap {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // However it ends, both its sides are closed.
        tokio::spawn(async move { drop(serve(client, &shared).await) });
    }
}

/// One connection: request and answer by turns, as HTTP/1.1 without pipelining has them.
async fn serve(mut client: TcpStream, shared: &Shared) -> Result<()> {
    client.set_nodelay(true)?;
    let turn = shared.turn.fetch_add(1, Ordering::SeqCst);
    let mut receiver = None;
    let mut holding = shared.holding.subscribe();
    let (mut unread_request, mut unread_answer) = (Vec::new(), Vec::new());
    while let Some(request) = read_message(&mut client, &mut unread_request).await? {
        let head = Head::of(&request)?;
        let path = head.path().context("no path")?.to_owned();
        let id = head.header("webhook-id").unwrap_or_default().to_owned();
        shared.requests.fetch_add(1, Ordering::SeqCst);
        shared.arrived(&path, &id);
        let answer = if path.ends_with(RECEIVERS) {
            let upstream = match &mut receiver {
                Some(upstream) => upstream,
                none => none.insert(connect(&shared.upstreams, turn).await?),
            };
            upstream.write_all(&request).await?;
            let answer = read_message(upstream, &mut unread_answer).await?;
            answer.context("the receiver hung up")?
        } else {
            TAKEN.to_vec()
        };
        let status = Head::of(&answer)?.status().context("no status line")?;
        // Before the emitter can know it.
        shared.note(path, id, status);
        if *holding.borrow_and_update() {
            shared.held.send_modify(|held| *held += 1);
            let _ = holding.wait_for(|holding| !holding).await;
            shared.held.send_modify(|held| *held -= 1);
        }
        client.write_all(&answer).await?;
    }
    Ok(())
}

/// The receiver whose turn it is, or the next one that takes connections.
async fn connect(upstreams: &[SocketAddr], turn: usize) -> Result<TcpStream> {
    for offset in 0..upstreams.len() {
        let upstream = upstreams[(turn + offset) % upstreams.len()];
        if let Ok(stream) = TcpStream::connect(upstream).await {
            stream.set_nodelay(true)?;
            return Ok(stream);
        }
    }
    anyhow::bail!("no receiver takes connections")
}

impl Shared {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self, path: &str, id: &str) {
        let mut noted = self.noted();
        let key = (path.to_owned(), id.to_owned());
        if !noted.answers.contains_key(&key) {
            noted.answers.insert(key.clone(), Vec::new());
            noted.arrived.push(key);
        }
    }

    fn note(&self, path: String, id: String, status: u16) {
        let is_receivers = path.ends_with(RECEIVERS);
        let mut noted = self.noted();
        let answers = noted.answers.entry((path, id)).or_default();
        let is_taken = |status: &u16| (200..300).contains(status);
        if is_taken(&status) {
            if answers.iter().any(is_taken) {
                self.again.send_modify(|again| *again += 1);
            } else if is_receivers {
                self.taken.send_modify(|taken| *taken += 1);
            }
        }
        answers.push(status);
    }
}
