//! A connection to a MySQL server while it is used, and where it waits until it is.
//!
//! A lease says when its connection is clean, and only then is it kept; however else it ends, the socket is closed without
//! another byte. Once a server was lost, no connection of before is taken back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mysql_async::Conn;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// Where a session lives, so that it can be found again: the server's name and port, and the session's number there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub server: (String, u64),
    pub number: u32,
    /// The longest packet that the server takes.
    pub packet_bytes: usize,
}

/// The idle connections. A connection made before the last outage is not taken back, and one that was idle for too long
/// not given out: its server is about to end it.
pub(crate) struct Home {
    /// By the time since which they are idle: the last was used last.
    idle: Mutex<Vec<(Instant, Held)>>,
    idle_most: Duration,
    generation: AtomicU64,
}

/// A connection, and before how many outages it was made.
pub(crate) struct Held {
    pub conn: Conn,
    pub session: Session,
    pub generation: u64,
}

impl Home {
    /// An empty one, whose connections are given out again within `idle_most`.
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

    /// The connection that was used last. Where even that is idle for too long, all are.
    pub fn take(&self) -> Option<Held> {
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
    pub fn take_all(&self) -> impl Iterator<Item = Held> {
        let all = std::mem::take(&mut *self.lock());
        all.into_iter().map(|(_, held)| held)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, Held)>> {
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

/// A connection in use. Dropped, its socket is closed untouched, unless it was given back.
pub(crate) struct Lease {
    held: Option<Held>,
    /// It had been idle before this lease.
    pub kept: bool,
    clean: bool,
    home: Arc<Home>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// `kept`: it comes from its home.
    pub fn new(held: Held, kept: bool, home: Arc<Home>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            held: Some(held),
            kept,
            clean: true,
            home,
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

    /// The session was changed: it serves this lease and no other.
    pub fn taint(&mut self) {
        self.clean = false;
    }

    /// Returns the connection: no transaction is open on it, and no answer outstanding.
    pub fn give_back(mut self) {
        if self.clean
            && let Some(held) = self.held.take()
        {
            let mut idle = self.home.lock();
            if held.generation == self.home.generation() {
                idle.push((Instant::now(), held));
            } else {
                drop(idle);
                self.held = Some(held);
            }
        }
    }

    /// Drops the connection because its server is gone or silent, and the idle ones with it: they would fail the
    /// next callers one by one.
    pub fn discard_all(self) {
        self.home.discard_idle();
    }

    /// Does what [`discard_all`](Self::discard_all) does if its holder is dropped before [`Alarm::defuse`].
    pub fn alarm(&self) -> Alarm {
        Alarm {
            home: Some(self.home.clone()),
        }
    }
}

/// Set while an operation may be aborted from outside.
pub(crate) struct Alarm {
    home: Option<Arc<Home>>,
}

impl Alarm {
    pub fn defuse(mut self) {
        self.home = None;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.discard_idle();
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

/// Closes the socket without another byte. Inside of a runtime the driver would first read outstanding answers and
/// say goodbye, in a task without a deadline; on a thread without one it just closes.
fn close_untouched(held: Held) {
    let thread = std::thread::Builder::new().name("mysql-close".to_owned());
    if let Err(error) = thread.spawn(move || drop(held)) {
        tracing::warn!(%error, "a connection was closed in the driver's own way");
    }
}
