//! The MySQL engine: every operation in a task of its own, on a connection of its own.
//!
//! A query that is cancelled half-way leaves its answer in the connection, where the next caller would read it as its
//! own. So a caller cannot cancel work on a connection: it waits for the task, up to its deadline. Only the task's own
//! deadline ends the task, and then the connection is closed without another byte.

use std::sync::Arc;
use std::time::Duration;

use contract::Entropy;
use mysql_async::{Conn, OptsBuilder};

use crate::closure::{Answer, Closure};
use crate::engine::retry::Reruns;
use crate::fault::{ErrorEffect, Fault};
use crate::mysql::lease::{Lease, Session};
use crate::mysql::pool::Pool;
use crate::mysql::session::check_server;
use crate::mysql::statement::text;
use crate::tx::TxEngine;
use crate::url::Server;
use crate::{DbError, DbSettings, Tx};

pub(crate) struct Mysql {
    pool: Pool,
    entropy: Arc<dyn Entropy>,
}

/// Why an operation failed; after a commit of unknown result, the session in which it may still be running.
pub(crate) struct Failure {
    pub error: DbError,
    pub session: Option<Session>,
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self { error, session: None }
    }
}

/// The result of one attempt: the answer, or the fault, whether the connection had been idle before, and the session.
type Attempted = Result<Answer, (Fault, bool, Option<Session>)>;

impl Mysql {
    pub async fn open(
        server: &Server,
        settings: &DbSettings,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, DbError> {
        let Server { opts, tls } = server;
        let tls = tls.options(opts);
        let tls = tls.map_err(|error| DbError::open(error.to_string()))?;
        let secured = OptsBuilder::from_opts(opts.clone()).ssl_opts(tls);
        let mysql = Self {
            pool: Pool::new(secured, settings),
            entropy,
        };
        let silent = |fault: Fault| match fault.error {
            DbError::Unavailable => DbError::open(format!(
                "no server answers at {}:{}, or none with a connection left",
                opts.ip_or_hostname(),
                opts.tcp_port()
            )),
            other => other,
        };
        let mut lease = mysql.pool.lease(settings.connect_within).await.map_err(silent)?;
        let looked = check_server(lease.conn(), mysql.pool.connections()).await;
        looked.map_err(silent)?;
        lease.give_back();
        Ok(mysql)
    }

    /// How many operations can run at once.
    pub fn connections(&self) -> usize {
        self.pool.connections()
    }

    /// Runs the operation to its end, again after a conflict. It must not be cancelled: its caller is a task of its
    /// own.
    pub async fn run(
        &self,
        operation: Operation,
        f: &Closure,
        on_rerun: impl Fn(),
    ) -> Result<Answer, Failure> {
        let mut reruns = Reruns::new(operation.fail_on_lock_timeout, &*self.entropy);
        loop {
            let (fault, kept, session) = match self.attempt(operation, f).await {
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
            tracing::debug!(transaction = operation.name, error = %fault.error, "transaction runs again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, operation: Operation, f: &Closure) -> Attempted {
        let lease = self
            .pool
            .lease(operation.wait_within)
            .await
            .map_err(|fault| (fault, false, None))?;
        let (kept, discard) = (lease.kept, lease.discard_on_drop());
        let mut tx = Tx::new(TxEngine::Mysql(lease), operation.writes);
        let outcome = f(&mut tx).await;
        let (ended_by, abandoned) = (tx.ended_by.take(), tx.abandoned);
        let begun = operation.writes && !tx.is_unbegun();
        let TxEngine::Mysql(mut lease) = tx.engine else {
            unreachable!("a MySQL transaction keeps its engine");
        };
        let keep = ended_by.is_none() && outcome.is_ok() && !abandoned && begun;
        let finished = if keep {
            commit(&mut lease).await.map_err(|fault| {
                let session = (fault.error == DbError::CommitUnknown).then(|| lease.session().clone());
                (fault, kept, session)
            })
        } else {
            ended_by.map_or(Ok(()), |fault| Err((fault, kept, None)))
        };
        discard.disarm();
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

    /// Kills a session whose commit has an unknown result. True once it has certainly ended.
    pub async fn kill_session(&self, session: &Session, within: Duration) -> bool {
        let Ok(mut lease) = self.pool.lease(within).await else {
            return false;
        };
        let ended = lease.session().server == session.server && has_ended(lease.conn(), session.number).await;
        if ended {
            lease.give_back();
        }
        ended
    }

    pub async fn close(&self, within: Duration) {
        self.pool.close(within).await;
    }
}

/// How one operation is run.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub name: &'static str,
    pub writes: bool,
    pub wait_within: Duration,
    pub fail_on_lock_timeout: bool,
}

/// Sends COMMIT. Only an answer of the server says that nothing was committed.
async fn commit(lease: &mut Lease) -> Result<(), Fault> {
    text(lease.conn(), "COMMIT")
        .await
        .map_err(|fault| match fault.effect {
            // Such as 1180: the server failed in the middle of the commit.
            ErrorEffect::ConnectionLost | ErrorEffect::GoOn => {
                Fault::new(DbError::CommitUnknown, ErrorEffect::Final)
            }
            _ => fault,
        })
}

/// Ends a lease. The connection goes back to the pool only when its state is known.
async fn end(mut lease: Lease, fault: Option<&Fault>, roll_back: bool) {
    match fault {
        Some(fault) if fault.is_lost() => return lease.discard_all(),
        Some(fault) if fault.effect == ErrorEffect::NodeNotReady || fault.error == DbError::CommitUnknown => {
            return;
        }
        _ => {}
    }
    if roll_back && text(lease.conn(), "ROLLBACK").await.is_err() {
        return;
    }
    if fault.is_none() || roll_back {
        lease.give_back();
    }
}

/// The server's error for a KILL of a session that does not exist.
const NO_SUCH_SESSION: i64 = 1094;

/// Whether a session has ended. It polls for three seconds: a busy server takes time to roll a session back, and the
/// caller waits five seconds for its answer.
async fn has_ended(conn: &mut Conn, number: u32) -> bool {
    const LOOKS_FOR: Duration = Duration::from_secs(3);
    // The list of sessions is not used: MySQL reads all of it, and fails when a statement in it holds raw bytes.
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

/// The pause between two polls: usually the first or the second is enough.
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
