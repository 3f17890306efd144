//! The lease of a connection to a MySQL server, and the idle connections.
//!
//! A connection goes back to the idle ones only when its lease says that it is clean; otherwise its socket is closed
//! without another byte. After the server was lost, connections from before are not taken back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mysql_async::Conn;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// Identifies a session, so that it can be killed: the server's name and port, and the session's number there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub server: (String, u64),
    pub number: u32,
    /// The longest packet that the server accepts.
    pub packet_bytes: usize,
}

/// The idle connections. A connection made before the last outage is not taken back. One that was idle for too long is
/// not handed out: its server is about to end it.
pub(crate) struct IdleConnections {
    /// With the instant since which each is idle; the most recently used is last.
    idle: Mutex<Vec<(Instant, PooledConnection)>>,
    idle_most: Duration,
    generation: AtomicU64,
}

/// A connection, and the number of outages when it was made.
pub(crate) struct PooledConnection {
    pub conn: Conn,
    pub session: Session,
    pub generation: u64,
}

impl IdleConnections {
    /// No connections yet; each is handed out again if it was idle for less than `idle_most`.
    pub fn new(idle_most: Duration) -> Self {
        Self {
            idle: Mutex::default(),
            idle_most,
            generation: AtomicU64::new(0),
        }
    }

    /// The outages so far.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The most recently used connection. If even that was idle for too long, so were all.
    pub fn take(&self) -> Option<PooledConnection> {
        let stale = {
            let mut idle = self.lock();
            match idle.pop() {
                Some((since, held)) if since.elapsed() < self.idle_most => return Some(held),
                Some(last) => std::mem::take(&mut *idle).into_iter().chain([last]),
                None => return None,
            }
        };
        stale.for_each(|(_, held)| close_untouched(held));
        None
    }

    /// All of them.
    pub fn take_all(&self) -> impl Iterator<Item = PooledConnection> {
        let all = std::mem::take(&mut *self.lock());
        all.into_iter().map(|(_, held)| held)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, PooledConnection)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn discard_idle(&self) {
        let idle = {
            let mut idle = self.lock();
            self.generation.fetch_add(1, Ordering::AcqRel);
            std::mem::take(&mut *idle)
        };
        idle.into_iter().for_each(|(_, held)| close_untouched(held));
    }
}

/// A connection in use. On drop its socket is closed without another byte, unless it was given back.
pub(crate) struct Lease {
    held: Option<PooledConnection>,
    /// It had been idle before this lease.
    pub kept: bool,
    clean: bool,
    pool: Arc<IdleConnections>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// `kept`: the connection was idle before.
    pub fn new(
        held: PooledConnection,
        kept: bool,
        pool: Arc<IdleConnections>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            held: Some(held),
            kept,
            clean: true,
            pool,
            _permit: permit,
        }
    }

    pub fn conn(&mut self) -> &mut Conn {
        &mut self
            .held
            .as_mut()
            .expect("a lease holds its connection to its end")
            .conn
    }

    pub fn session(&self) -> &Session {
        &self
            .held
            .as_ref()
            .expect("a lease holds its connection to its end")
            .session
    }

    /// The session's settings were changed: the connection is not reused.
    pub fn mark_changed(&mut self) {
        self.clean = false;
    }

    /// Returns the connection: no transaction is open on it, and no answer outstanding.
    pub fn give_back(mut self) {
        if self.clean
            && let Some(held) = self.held.take()
        {
            let mut idle = self.pool.lock();
            if held.generation == self.pool.generation() {
                idle.push((Instant::now(), held));
            } else {
                drop(idle);
                self.held = Some(held);
            }
        }
    }

    /// Drops the connection and all idle ones because the server is gone or silent: they would fail the next callers
    /// one by one.
    pub fn discard_all(self) {
        self.pool.discard_idle();
    }

    /// A guard that discards the idle connections if it is dropped before [`DiscardOnDrop::disarm`].
    pub fn discard_on_drop(&self) -> DiscardOnDrop {
        DiscardOnDrop {
            pool: Some(self.pool.clone()),
        }
    }
}

/// Discards the idle connections when it is dropped; armed while an operation may be aborted from outside.
pub(crate) struct DiscardOnDrop {
    pool: Option<Arc<IdleConnections>>,
}

impl DiscardOnDrop {
    pub fn disarm(mut self) {
        self.pool = None;
    }
}

impl Drop for DiscardOnDrop {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.discard_idle();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            close_untouched(held);
        }
    }
}

/// Closes the socket without another byte. Inside of a runtime the driver would first read outstanding answers and say
/// goodbye, in a task without a deadline; on a thread without a runtime it just closes the socket.
fn close_untouched(held: PooledConnection) {
    let thread = std::thread::Builder::new().name("mysql-close".to_owned());
    if let Err(error) = thread.spawn(move || drop(held)) {
        tracing::warn!(%error, "a connection was closed in the driver's own way");
    }
}
