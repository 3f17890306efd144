//! The connections to a MySQL server: a fixed number, all kept, none reset.
//!
//! The driver's own pool is not used: it takes back a connection whose transaction was begun by hand, and it cleans a
//! dirty one without a deadline, on which a silent server starves it. Here a connection returns only when its
//! [`Lease`] says that it is clean.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::fault::{self, Fault};
use super::mysql_lease::{Held, Home, Lease, Session};
use super::{DbError, DbSettings};

/// Statements prepared and kept by each connection; the server's default allows 16,382 over all of them.
const STATEMENTS: usize = 128;
/// Probes on an idle connection, so that a server that vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// For how much of the silence that ends its session a connection is kept: less, so that none is used as it ends.
const KEPT_SHARE: f64 = 0.75;
/// Closing the idle connections politely at the end.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

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

impl Pool {
    pub fn new(opts: &Opts, settings: &DbSettings) -> Self {
        // Milliseconds for MySQL and seconds for MariaDB: each reads only its own of the two marked comments.
        // A process that stands still in the middle of a transaction loses it, so that its locks hold nobody up: with its
        // whole session, or on MariaDB before. One that runs has dropped the connection before.
        let limit = settings.abort_after;
        let session = format!(
            "SET SESSION innodb_lock_wait_timeout = 1, wait_timeout = {} \
             /*!80000 , max_execution_time = {} */ \
             /*M!100300 , max_statement_time = {}, idle_transaction_timeout = {} */",
            settings.silence_max.as_secs().max(1),
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
            home: Arc::new(Home::new(settings.silence_max.mul_f64(KEPT_SHARE))),
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
        let (held, kept) = match self.home.take() {
            Some(held) => (held, true),
            None => (self.connect().await?, false),
        };
        Ok(Lease::new(held, kept, self.home.clone(), permit))
    }

    async fn connect(&self) -> Result<Held, Fault> {
        let generation = self.home.generation();
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
        let goodbye = self.home.take_all().map(|held| held.conn.disconnect());
        let goodbye = futures::future::join_all(goodbye);
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

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
