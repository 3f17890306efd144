//! The connections to a MySQL server: a fixed number, all kept, none reset.
//!
//! The driver's own pool is not used: it takes back a connection whose transaction was begun by hand, and it cleans a
//! dirty one without a deadline, on which a silent server starves it. Here a connection returns only when the code
//! that used it says that it is clean; however else its lease ends, its socket is closed without another byte.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::fault::{self, Fault};
use super::{DbError, DbSettings};

/// Statements prepared and kept by each connection; the server's default allows 16,382 over all of them.
const STATEMENTS: usize = 128;
/// Probes on an idle connection, so that a server that vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Closing the idle connections politely at the end.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// Where a session lives, so that it can be found again: the server's name and port, and the session's number there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub server: (String, u64),
    pub number: u32,
}

pub(super) struct Pool {
    opts: Opts,
    connect_within: Duration,
    /// One permit for each connection that may exist.
    permits: Arc<Semaphore>,
    connections: usize,
    waiting: AtomicUsize,
    waiting_most: usize,
    home: Arc<Home>,
    reachable: AtomicBool,
}

/// The idle connections. A connection made before the last outage is not taken back.
struct Home {
    idle: Mutex<Vec<Held>>,
    generation: AtomicU64,
}

struct Held {
    conn: Conn,
    session: Session,
    generation: u64,
}

impl Pool {
    pub fn new(opts: &Opts, settings: &DbSettings) -> Self {
        // Milliseconds for MySQL and seconds for MariaDB: each reads only its own of the two marked comments.
        // A process that stands still in the middle of a transaction loses it, so that its locks hold nobody up: only
        // MariaDB can. One that runs has dropped the connection before.
        let limit = settings.abort_after;
        let session = format!(
            "SET SESSION innodb_lock_wait_timeout = 1 \
             /*!80000 , max_execution_time = {} */ \
             /*M!100300 , max_statement_time = {}, idle_transaction_timeout = {} */",
            limit.as_millis(),
            limit.as_secs_f64(),
            limit.as_secs() + 1
        );
        let setup = vec![
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
            "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_TRANS_TABLES')".to_owned(),
            session,
        ];
        let opts = OptsBuilder::from_opts(opts.clone())
            .prefer_socket(false)
            .client_found_rows(true)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(KEEPALIVE))
            .stmt_cache_size(STATEMENTS)
            .setup(setup);
        Self {
            opts: opts.into(),
            connect_within: settings.connect_within,
            permits: Arc::new(Semaphore::new(settings.connections.max(1))),
            connections: settings.connections.max(1),
            waiting: AtomicUsize::new(0),
            waiting_most: settings.queue,
            home: Arc::new(Home {
                idle: Mutex::new(Vec::new()),
                generation: AtomicU64::new(0),
            }),
            reachable: AtomicBool::new(true),
        }
    }

    /// How many there may be.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// A connection that is idle, or a new one. Waits for one of the fixed number for at most `within`.
    pub async fn lease(&self, within: Duration) -> Result<Lease, Fault> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.waiting_most {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(DbError::Unavailable.into());
        }
        let waiting = Waiting(&self.waiting);
        let permit = timeout(within, self.permits.clone().acquire_owned()).await;
        drop(waiting);
        let Ok(Ok(permit)) = permit else {
            return Err(DbError::Unavailable.into());
        };
        let idle = self.home.lock().pop();
        let (held, kept) = match idle {
            Some(held) => (held, true),
            None => (self.connect().await?, false),
        };
        Ok(Lease {
            held: Some(held),
            kept,
            clean: true,
            home: self.home.clone(),
            _permit: permit,
        })
    }

    async fn connect(&self) -> Result<Held, Fault> {
        let generation = self.home.generation.load(Ordering::Acquire);
        let connected = timeout(self.connect_within, connect(self.opts.clone())).await;
        let outcome = connected.unwrap_or_else(|_| Err(Fault::lost()));
        let reachable = outcome.is_ok();
        if self.reachable.swap(reachable, Ordering::Relaxed) != reachable {
            match &outcome {
                Ok(_) => tracing::info!("database reachable again"),
                Err(fault) => tracing::error!(error = %fault.error, "database unreachable"),
            }
        }
        let (conn, session) = outcome.map_err(|fault| Fault::from(fault.error))?;
        Ok(Held {
            conn,
            session,
            generation,
        })
    }

    /// Waits until every connection is back, and says goodbye to them. Later leases are refused.
    pub async fn close(&self, within: Duration) {
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        drop(timeout(within, self.permits.acquire_many(all)).await);
        self.permits.close();
        let idle = std::mem::take(&mut *self.home.lock());
        let goodbye = futures::future::join_all(idle.into_iter().map(|held| held.conn.disconnect()));
        drop(timeout(GOODBYE_WITHIN, goodbye).await);
    }
}

/// Connects, and refuses a server that would cut values to fit instead of refusing them.
async fn connect(opts: Opts) -> Result<(Conn, Session), Fault> {
    let of = |error: &mysql_async::Error| match fault::of_mysql(error) {
        fault if fault.is_lost() => fault,
        fault => DbError::Open {
            reason: fault.error.to_string(),
        }
        .into(),
    };
    let mut conn = Conn::new(opts).await.map_err(|error| of(&error))?;
    let found: Option<(String, String, u64)> = conn
        .query_first("SELECT @@SESSION.sql_mode, @@hostname, @@port")
        .await
        .map_err(|error| of(&error))?;
    let (mode, name, port) = found.unwrap_or_default();
    if !mode.split(',').any(|mode| mode.starts_with("STRICT_")) {
        return Err(DbError::Open {
            reason: "the server takes no strict sql_mode".to_owned(),
        }
        .into());
    }
    let session = Session {
        server: (name, port),
        number: conn.id(),
    };
    Ok((conn, session))
}

impl Home {
    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection in use. Dropped, its socket is closed untouched, unless it was given back.
pub(super) struct Lease {
    held: Option<Held>,
    /// It had been idle before this lease.
    pub kept: bool,
    clean: bool,
    home: Arc<Home>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
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
            if held.generation == self.home.generation.load(Ordering::Acquire) {
                idle.push(held);
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
pub(super) struct Alarm {
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

impl Home {
    fn discard_idle(&self) {
        let idle = {
            let mut idle = self.lock();
            self.generation.fetch_add(1, Ordering::AcqRel);
            std::mem::take(&mut *idle)
        };
        idle.into_iter().for_each(close_untouched);
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
