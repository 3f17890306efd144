//! The connections to a MySQL server: a fixed number, fewer where the server allows fewer; all are kept open, none is
//! reset.
//!
//! The driver's own pool is not used: it takes back a connection whose transaction was begun by hand, and it cleans a
//! dirty one without a deadline, so a silent server would exhaust it. Here a connection returns only when its [`Lease`]
//! says that it is clean.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql_async::{Opts, OptsBuilder};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::fault::Fault;
use crate::mysql::lease::{IdleConnections, Lease, PooledConnection};
use crate::mysql::permits::Permits;
use crate::mysql::session::{self, ConnectFailure};
use crate::{DbError, DbSettings};

/// Statements prepared and kept by each connection; the server's default allows 16,382 over all of them.
const STATEMENTS: usize = 128;
/// Probes on an idle connection, so that a server that vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The fraction of the server's idle limit for which a connection is reused: less than 1, so that none is used while
/// the server closes it.
const KEPT_SHARE: f64 = 0.75;
/// Closing the idle connections politely at the end.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

pub(crate) struct Pool {
    opts: Opts,
    connect_within: Duration,
    permits: Permits,
    /// A permit for each operation that may wait for a connection.
    waiting: Semaphore,
    idle: Arc<IdleConnections>,
    reachable: AtomicBool,
}

impl Pool {
    pub fn new(opts: OptsBuilder, settings: &DbSettings) -> Self {
        let opts = opts
            .prefer_socket(false)
            .client_found_rows(true)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(KEEPALIVE))
            .stmt_cache_size(STATEMENTS)
            .setup(session::setup(settings));
        Self {
            opts: opts.into(),
            connect_within: settings.connect_within,
            permits: Permits::new(settings.connections),
            waiting: Semaphore::new(settings.queue),
            idle: Arc::new(IdleConnections::new(settings.silence_max.mul_f64(KEPT_SHARE))),
            reachable: AtomicBool::new(true),
        }
    }

    /// How many there may be.
    pub fn connections(&self) -> usize {
        self.permits.wanted()
    }

    /// An idle connection, or a new one. Waits at most `within` for a permit, also when the server refuses a new
    /// connection.
    pub async fn lease(&self, within: Duration) -> Result<Lease, Fault> {
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(DbError::Unavailable.into());
        };
        let deadline = Instant::now() + within;
        loop {
            let permit = self.permits.permit(deadline).await.ok_or(DbError::Unavailable)?;
            let (held, kept) = match self.idle.take() {
                Some(held) => (held, true),
                None => match self.connect().await {
                    Ok(held) => (held, false),
                    Err(ConnectFailure::TooMany) if self.permits.withdraw(permit) => continue,
                    Err(ConnectFailure::TooMany) => return Err(DbError::Unavailable.into()),
                    Err(ConnectFailure::Fault(fault)) => return Err(fault),
                },
            };
            return Ok(Lease::new(held, kept, self.idle.clone(), permit));
        }
    }

    async fn connect(&self) -> Result<PooledConnection, ConnectFailure> {
        let generation = self.idle.generation();
        let connected = timeout(self.connect_within, session::connect(self.opts.clone())).await;
        let outcome = connected.unwrap_or_else(|_| Err(Fault::lost().into()));
        let unreachable = match &outcome {
            Err(ConnectFailure::Fault(fault)) => Some(fault),
            Ok(_) | Err(ConnectFailure::TooMany) => None,
        };
        if self.reachable.swap(unreachable.is_none(), Ordering::Relaxed) != unreachable.is_none() {
            match unreachable {
                None => tracing::info!("database reachable again"),
                Some(fault) => tracing::error!(error = %fault.error, "database unreachable"),
            }
        }
        let (conn, session) = outcome.map_err(|refused| match refused {
            // No statement was sent yet.
            ConnectFailure::Fault(fault) => ConnectFailure::Fault(fault.error.into()),
            ConnectFailure::TooMany => ConnectFailure::TooMany,
        })?;
        Ok(PooledConnection {
            conn,
            session,
            generation,
        })
    }

    /// Waits until every connection is back, and says goodbye to them. Later leases are refused.
    pub async fn close(&self, within: Duration) {
        self.permits.close(within).await;
        let goodbye = self.idle.take_all().map(|held| held.conn.disconnect());
        let goodbye = futures::future::join_all(goodbye);
        drop(timeout(GOODBYE_WITHIN, goodbye).await);
    }
}
