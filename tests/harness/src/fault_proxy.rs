//! A TCP proxy between a program and its server, which fails on command.
//!
//! It forwards bytes, or loses them, both ways or one way, or cuts every connection, or cuts one after so many bytes, or
//! the one that sends a COMMIT: before the server sees it, or after the server has answered it, so that the client
//! cannot know.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use db::DatabaseUrl;
use mysql_async::Opts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They pass.
    #[default]
    Forward,
    /// They vanish, both ways, while the connections stay open. A connection that lost bytes stays lost.
    BlackHole,
    /// Requests pass, their answers vanish, while the connections stay open, and stay lost.
    LoseAnswers,
    /// So many bytes more reach the server, then their connection is cut; then as `Forward`.
    CutRequestAfter(usize),
    /// So many bytes more reach the client, then their connection is cut; then as `Forward`.
    CutAnswerAfter(usize),
    /// The next COMMIT never reaches the server, and its connection is cut; then as `Forward`.
    CutBeforeCommit,
    /// The server carries the next COMMIT out, its answer is lost, and the connection is cut; then as `Forward`.
    CutAfterCommit,
}

/// How COMMIT stands on the wire: its length, sequence number 0, COM_QUERY.
const COMMIT: &[u8] = b"\x07\x00\x00\x00\x03COMMIT";

/// A proxy in front of one server, for as long as it lives.
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

struct State {
    upstream: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Every connection of an earlier generation is cut.
    generation: watch::Sender<u64>,
    connections: AtomicU32,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            upstream,
            mode: watch::Sender::new(Mode::Forward),
            generation: watch::Sender::new(0),
            connections: AtomicU32::new(0),
        });
        let listening = tokio::spawn(listen(listener, state.clone()));
        Ok(Self {
            address,
            state,
            listening,
        })
    }

    /// A proxy for the server of a MySQL address; returns the address through the proxy.
    ///
    /// # Errors
    /// When the address is none, or no port can be had.
    pub async fn before(database: &str) -> Result<(Self, DatabaseUrl)> {
        let opts = Opts::from_url(database)?;
        let upstream = format!("{}:{}", opts.ip_or_hostname(), opts.tcp_port()).parse()?;
        let proxy = Self::start(upstream).await?;
        let (user, password) = (opts.user().unwrap_or_default(), opts.pass().unwrap_or_default());
        let name = opts.db_name().context("the address names a database")?;
        let url = DatabaseUrl::mysql("127.0.0.1", proxy.address.port(), user, password, name);
        Ok((proxy, url))
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections taken so far.
    pub fn connections(&self) -> u32 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// What happens from now on, also to the connections that are open.
    pub fn set(&self, mode: Mode) {
        self.state.mode.send_replace(mode);
    }

    /// What happens now: a fault that is met once is over when this says `Forward`.
    pub fn mode(&self) -> Mode {
        *self.state.mode.borrow()
    }

    /// Cuts every open connection.
    pub fn cut_now(&self) {
        self.state.generation.send_modify(|generation| *generation += 1);
    }
}

impl State {
    /// Takes these bytes off what may still pass: the last of them when the cut is here, None when all of them pass.
    fn spend<'b>(&self, left: usize, bytes: &'b [u8], again: fn(usize) -> Mode) -> Option<&'b [u8]> {
        let (mode, last) = match left.checked_sub(bytes.len()) {
            Some(left) => (again(left), None),
            None => (Mode::Forward, Some(&bytes[..left])),
        };
        self.mode.send_replace(mode);
        last
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut_now();
    }
}

async fn listen(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(serve(client, state.clone()));
    }
}

async fn serve(client: TcpStream, state: Arc<State>) {
    let mut generation = state.generation.subscribe();
    let born = *generation.borrow_and_update();
    let Ok(server) = TcpStream::connect(state.upstream).await else {
        return;
    };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Set by the client's half when the server's next answer is to be lost.
    let losing = watch::Sender::new(false);
    tokio::select! {
        () = requests(from_client, to_server, &state, &losing) => {}
        () = answers(from_server, to_client, &state, &losing) => {}
        _ = generation.wait_for(|now| *now != born) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    losing: &watch::Sender<bool>,
) {
    let (mut buffer, mut lost) = (vec![0; 64 * 1024], false);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..read];
        let mode = *state.mode.borrow();
        lost |= mode == Mode::BlackHole;
        if lost {
            continue;
        }
        if matches!(mode, Mode::CutBeforeCommit | Mode::CutAfterCommit) && bytes.ends_with(COMMIT) {
            state.mode.send_replace(Mode::Forward);
            if mode == Mode::CutBeforeCommit {
                return;
            }
            losing.send_replace(true);
        }
        if let Mode::CutRequestAfter(left) = mode
            && let Some(last) = state.spend(left, bytes, Mode::CutRequestAfter)
        {
            // Whether they arrive no longer matters.
            drop(to.write_all(last).await);
            return;
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    losing: &watch::Sender<bool>,
) {
    let (mut buffer, mut lost) = (vec![0; 64 * 1024], false);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if *losing.borrow() {
            return;
        }
        let bytes = &buffer[..read];
        let mode = *state.mode.borrow();
        lost |= matches!(mode, Mode::BlackHole | Mode::LoseAnswers);
        if lost {
            continue;
        }
        if let Mode::CutAnswerAfter(left) = mode
            && let Some(last) = state.spend(left, bytes, Mode::CutAnswerAfter)
        {
            drop(to.write_all(last).await);
            return;
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
