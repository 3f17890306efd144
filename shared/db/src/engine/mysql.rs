//! The MySQL engine: every operation in a task of its own, on a connection of its own.
//!
//! A query that is cut half-way leaves its answer in the connection, for the next caller to read as its own. So nothing
//! a caller does reaches the connection: the caller waits for the task, up to its deadline; only the task's own
//! deadline ends it, and then the connection is closed untouched.

use std::sync::Arc;
use std::time::Duration;

use contract::Entropy;
use mysql_async::{Conn, OptsBuilder};

use crate::engine::retry::Reruns;
use crate::fault::{Fate, Fault};
use crate::mysql::lease::{Lease, Session};
use crate::mysql::pool::Pool;
use crate::mysql::session::look_at_server;
use crate::mysql::statement::text;
use crate::operation::{Answer, Operation};
use crate::tx::TxEngine;
use crate::url::Server;
use crate::{DbError, DbSettings, Tx};

pub(crate) struct Mysql {
    pool: Pool,
    entropy: Arc<dyn Entropy>,
}

/// Why an operation failed; for an unknown commit, the session in which it may still be going on.
pub(crate) struct Failure {
    pub error: DbError,
    pub session: Option<Session>,
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self { error, session: None }
    }
}

/// The result of one attempt: the answer, or what went wrong and whether the connection had been idle before.
type Attempted = Result<Answer, (Fault, bool, Option<Session>)>;

impl Mysql {
    pub async fn open(
        server: &Server,
        settings: &DbSettings,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, DbError> {
        let Server { opts, tls } = server;
        let tls = tls.options(opts).map_err(|error| DbError::Open {
            reason: error.to_string(),
        })?;
        let secured = OptsBuilder::from_opts(opts.clone()).ssl_opts(tls);
        let mysql = Self {
            pool: Pool::new(secured, settings),
            entropy,
        };
        let silent = |fault: Fault| match fault.error {
            DbError::Unavailable => DbError::Open {
                reason: format!(
                    "no server answers at {}:{}, or none with a connection left",
                    opts.ip_or_hostname(),
                    opts.tcp_port()
                ),
            },
            other => other,
        };
        let mut lease = mysql.pool.lease(settings.connect_within).await.map_err(silent)?;
        let looked = look_at_server(lease.conn(), mysql.pool.connections()).await;
        looked.map_err(silent)?;
        lease.give_back();
        Ok(mysql)
    }

    /// How many operations can run at once.
    pub fn connections(&self) -> usize {
        self.pool.connections()
    }

    /// Runs the operation to its end, again where it lost a race. Not to be cut: its caller is a task of its own.
    pub async fn run(&self, how: How, f: &Operation, on_rerun: impl Fn()) -> Result<Answer, Failure> {
        let mut reruns = Reruns::new(how.surface_lock_timeouts, &*self.entropy);
        loop {
            let (fault, kept, session) = match self.attempt(how, f).await {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            let Some(wait) = reruns.next(&fault, kept) else {
                return Err(Failure {
                    error: fault.error,
                    session,
                });
            };
            on_rerun();
            tracing::debug!(transaction = how.name, error = %fault.error, "transaction runs again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, how: How, f: &Operation) -> Attempted {
        let lease = self
            .pool
            .lease(how.wait_within)
            .await
            .map_err(|fault| (fault, false, None))?;
        let (kept, alarm) = (lease.kept, lease.alarm());
        let mut tx = Tx::new(TxEngine::Mysql(lease), how.writes);
        let outcome = f(&mut tx).await;
        let (doom, abandoned) = (tx.doom.take(), tx.abandoned);
        let begun = how.writes && !tx.is_unbegun();
        let TxEngine::Mysql(mut lease) = tx.engine else {
            unreachable!("a MySQL transaction keeps its engine");
        };
        let keep = doom.is_none() && outcome.is_ok() && !abandoned && begun;
        let finished = if keep {
            commit(&mut lease).await.map_err(|fault| {
                let session = (fault.error == DbError::CommitUnknown).then(|| lease.session().clone());
                (fault, kept, session)
            })
        } else {
            doom.map_or(Ok(()), |fault| Err((fault, kept, None)))
        };
        alarm.defuse();
        let committed = keep && finished.is_ok();
        end(
            lease,
            finished.as_ref().err().map(|(fault, ..)| fault),
            begun && !committed,
        )
        .await;
        finished?;
        outcome.map_err(|error| (error.into(), kept, None))
    }

    /// Makes sure that a session whose commit is unknown does nothing any more. False when nobody can tell.
    pub async fn kill_session(&self, session: &Session, within: Duration) -> bool {
        let Ok(mut lease) = self.pool.lease(within).await else {
            return false;
        };
        let buried = lease.session().server == session.server && is_gone(lease.conn(), session.number).await;
        if buried {
            lease.give_back();
        }
        buried
    }

    pub async fn close(&self, within: Duration) {
        self.pool.close(within).await;
    }
}

/// How one operation is run.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub name: &'static str,
    pub writes: bool,
    pub wait_within: Duration,
    pub surface_lock_timeouts: bool,
}

/// Sends COMMIT. Only an answer of the server says that nothing was committed.
async fn commit(lease: &mut Lease) -> Result<(), Fault> {
    text(lease.conn(), "COMMIT")
        .await
        .map_err(|fault| match fault.fate {
            // 1180 and the like: the server gave up in the middle of it.
            Fate::ConnectionLost | Fate::GoOn => Fault::new(DbError::CommitUnknown, Fate::Final),
            _ => fault,
        })
}

/// Ends a lease. The connection returns only when its state is known.
async fn end(mut lease: Lease, fault: Option<&Fault>, roll_back: bool) {
    match fault {
        Some(fault) if fault.is_lost() => return lease.discard_all(),
        Some(fault) if fault.fate == Fate::NodeNotReady || fault.error == DbError::CommitUnknown => return,
        _ => {}
    }
    if roll_back && text(lease.conn(), "ROLLBACK").await.is_err() {
        return;
    }
    if fault.is_none() || roll_back {
        lease.give_back();
    }
}

/// What a server answers to the end of a session that is not there.
const NO_SUCH_SESSION: i64 = 1094;

/// Whether a session has ended. It looks for three seconds, since a busy server takes its time to roll a session back, and
/// whoever waits for the commit waits for five.
async fn is_gone(conn: &mut Conn, number: u32) -> bool {
    const LOOKS_FOR: Duration = Duration::from_secs(3);
    // Not by the server's list of sessions: MySQL reads it whole, and refuses when a statement in it holds raw bytes.
    let kill = format!("KILL CONNECTION {number}");
    let looking = async {
        for look in 0.. {
            match text(conn, &kill).await {
                Ok(()) => tokio::time::sleep(pause_after(look)).await,
                Err(fault) => {
                    return matches!(
                        fault.error,
                        DbError::Statement {
                            code: NO_SUCH_SESSION,
                            ..
                        }
                    );
                }
            }
        }
        false
    };
    tokio::time::timeout(LOOKS_FOR, looking).await.unwrap_or(false)
}

/// Between two looks: mostly the first or the second tells.
fn pause_after(look: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(320);
    FIRST.saturating_mul(1 << look.min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_looked_for_often_at_first_and_seldom_later() {
        let pauses: Vec<_> = (0..6).map(|look| pause_after(look).as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320]);
        let looks = (0..100).scan(Duration::ZERO, |passed, look| {
            *passed += pause_after(look);
            (*passed < Duration::from_secs(3)).then_some(look)
        });
        assert!(looks.count() < 16);
    }
}
