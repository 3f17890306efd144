//! SQLite's single writer: group commit. Waiting jobs share one transaction and its flush.
//!
//! Every job of a group runs inside a SAVEPOINT of its own and is answered after the shared COMMIT, even when it failed
//! or changed nothing: it may have read what another job of the group wrote. When the group as a whole fails, all of
//! its jobs run again, or all get the error.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::engine::job::{Job, JobQueue, WriteDecision};
use crate::fault::{ErrorEffect, Fault};
use crate::sqlite_connection::{Connected, Opener};
use crate::tx::TxEngine;
use crate::{DbError, Tx};

/// Jobs of one group, at most.
const GROUP: usize = 128;
/// How often a group is begun again while another process holds the file; each wait is SQLite's busy time-out.
const BUSY_RERUNS: usize = 3;

type Group = VecDeque<Job>;

/// Runs the queue's jobs until it is closed and empty.
pub(crate) fn run(queue: &JobQueue, opener: &Opener, first: Connected) {
    let mut tx = Some(Tx::of_sqlite(first, true));
    loop {
        let group = queue.take(GROUP);
        if group.is_empty() {
            break;
        }
        run_group(opener, &mut tx, group);
    }
    if let Some(tx) = tx {
        connected(&tx).checkpoint();
    }
}

/// Runs one job under its deadline, on a transaction that is reset for it.
pub(crate) fn drive(job: &mut Job, tx: &mut Tx) -> WriteDecision {
    connected(tx).set_deadline(Some(Instant::now() + job.abort_after));
    let verdict = job.run(tx);
    connected(tx).set_deadline(None);
    verdict
}

fn run_group(opener: &Opener, slot: &mut Option<Tx>, mut group: Group) {
    let mut busy = 0;
    while !group.is_empty() {
        if slot.is_none() {
            *slot = opener
                .connect(true)
                .ok()
                .map(|connected| Tx::of_sqlite(connected, true));
        }
        let Some(tx) = slot else {
            return answer_all(group, &DbError::Unavailable);
        };
        match attempt(tx, &mut group) {
            Attempt::Committed => return answer_each(group),
            Attempt::Failed { fault, .. } if fault.effect == ErrorEffect::Rerun && busy < BUSY_RERUNS => {
                busy += 1;
                let first = group.front().map(|job| job.name);
                tracing::debug!(
                    transaction = first,
                    members = group.len(),
                    "database busy, the group runs again"
                );
            }
            // One job ended the shared transaction: it is answered, and the others run again.
            Attempt::Failed {
                fault,
                member: Some(member),
            } if !fault.is_lost() => {
                if let Some(culprit) = group.remove(member) {
                    culprit.answer(Err(fault.error));
                }
            }
            // A refused COMMIT does not show which job caused it: they run one by one.
            Attempt::Failed { fault, member: None } if may_succeed_one_by_one(&fault) && group.len() > 1 => {
                for job in group {
                    run_group(opener, slot, VecDeque::from([job]));
                }
                return;
            }
            Attempt::Failed { fault, .. } => {
                if fault.is_lost() {
                    tracing::error!(error = %fault.error, "the database file failed, it is opened again");
                    *slot = None;
                }
                return answer_all(group, &fault.error);
            }
        }
    }
}

enum Attempt {
    Committed,
    /// Rolled back as a whole, because of one job (`member`), or of BEGIN or COMMIT.
    Failed {
        fault: Fault,
        member: Option<usize>,
    },
}

fn attempt(tx: &mut Tx, group: &mut Group) -> Attempt {
    tx.renew();
    if let Err(fault) = connected(tx).execute("BEGIN IMMEDIATE", &[]) {
        return Attempt::Failed { fault, member: None };
    }
    let shared = group.len() > 1;
    let mut kept = 0;
    for (member, job) in group.iter_mut().enumerate() {
        match run_member(tx, job, shared) {
            Ok(WriteDecision::Keep) => kept += 1,
            Ok(WriteDecision::Undo) => {}
            Err(fault) => {
                roll_back(tx);
                return Attempt::Failed {
                    fault,
                    member: Some(member),
                };
            }
        }
    }
    let end = if kept > 0 { "COMMIT" } else { "ROLLBACK" };
    match connected(tx).execute(end, &[]) {
        Ok(_) => Attempt::Committed,
        Err(mut fault) => {
            // A failed flush: the pages may or may not be in the WAL when it is read again.
            if fault.is_lost() && kept > 0 {
                fault.error = DbError::CommitUnknown;
            }
            roll_back(tx);
            Attempt::Failed { fault, member: None }
        }
    }
}

/// Runs one job of the group; an error means that the shared transaction has ended.
fn run_member(tx: &mut Tx, job: &mut Job, shared: bool) -> Result<WriteDecision, Fault> {
    tx.renew();
    if shared {
        connected(tx).execute("SAVEPOINT member", &[])?;
    }
    let verdict = drive(job, tx);
    if let Some(ended_by) = tx.ended_by.take() {
        return Err(ended_by);
    }
    if shared {
        if verdict == WriteDecision::Undo {
            connected(tx).execute("ROLLBACK TO member", &[])?;
        }
        connected(tx).execute("RELEASE member", &[])?;
    }
    Ok(verdict)
}

/// Whether some jobs of a failed group may succeed when they run one by one.
fn may_succeed_one_by_one(fault: &Fault) -> bool {
    !fault.is_lost() && fault.effect != ErrorEffect::Rerun
}

fn roll_back(tx: &Tx) {
    if !connected(tx).is_outside()
        && let Err(fault) = connected(tx).execute("ROLLBACK", &[])
    {
        tracing::warn!(error = %fault.error, "rollback failed");
    }
}

fn answer_each(group: Group) {
    for job in group {
        job.answer(Ok(()));
    }
}

fn answer_all(group: Group, error: &DbError) {
    for job in group {
        job.answer(Err(error.clone()));
    }
}

fn connected(tx: &Tx) -> &Connected {
    match &tx.engine {
        TxEngine::Sqlite(connected) => connected,
        TxEngine::Mysql(_) => unreachable!("SQLite's threads make their own transactions"),
    }
}
