//! Leases: they let one replica at a time do work such as migrating, sequencing or purging.
//!
//! A lease is a row claimed by a committed compare-and-set. Its holder acts only after that commit, and every later
//! write checks [`fence`] in the same transaction: a holder that was paused past its time, and replaced, changes
//! nothing. A lock of the database would not do: it ends with its connection, and on a cluster it is local to a node.

use futures::future::BoxFuture;
use std::time::Duration;

use contract::clock::UnixMillis;

use crate::params;
use crate::{DbError, Params, Statement, Tx};

/// A claimed lease. `epoch` grows with every claim of that name, so it distinguishes this holder from every earlier
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What it is a lease of.
    pub name: String,
    /// The token of the process that holds it.
    pub owner: String,
    /// When it ends, unless it is renewed.
    pub until: UnixMillis,
    /// Which claim of the name this is.
    pub epoch: i64,
}

/// Claims the lease of a name for `length`, when it is free, ended, or ends later than a lease can (a clock was set
/// back). Act on it only after the transaction's commit. `owner` is unique to the process.
///
/// # Errors
/// Those of the database.
pub fn claim<'t>(
    tx: &'t mut Tx,
    name: &'t str,
    owner: &'t str,
    now: UnixMillis,
    length: Duration,
) -> BoxFuture<'t, Result<Option<Lease>, DbError>> {
    Box::pin(async move {
        if !take(tx, name, owner, now, length).await? {
            if tx
                .query_one("SELECT epoch FROM leases WHERE name = ?", params![name])
                .await?
                .is_some()
            {
                return Ok(None);
            }
            let insert = "INSERT INTO leases (name, epoch, fences) VALUES (?, 0, 0)";
            tx.execute(
                &(insert.to_owned() + &tx.dialect().skip_existing("name")),
                params![name],
            )
            .await?;
            if !take(tx, name, owner, now, length).await? {
                return Ok(None);
            }
        }
        let sql = "SELECT epoch FROM leases WHERE name = ? AND owner = ?";
        let Some(row) = tx.query_one(sql, params![name, owner]).await? else {
            return Ok(None);
        };
        let (name, owner, until) = (name.to_owned(), owner.to_owned(), after(now, length));
        Ok(Some(Lease {
            name,
            owner,
            until,
            epoch: row.get("epoch")?,
        }))
    })
}

async fn take(
    tx: &mut Tx,
    name: &str,
    owner: &str,
    now: UnixMillis,
    length: Duration,
) -> Result<bool, DbError> {
    let sql = "UPDATE leases SET owner = ?, lease_until = ?, epoch = epoch + 1 \
               WHERE name = ? AND (owner IS NULL OR lease_until < ? OR lease_until > ?)";
    let beyond = held_at_most(now, length);
    Ok(tx
        .execute(sql, params![owner, after(now, length), name, now, beyond])
        .await?
        == 1)
}

/// The latest instant until which a lease can be held. Twice the length: another replica's clock may be ahead of ours.
fn held_at_most(now: UnixMillis, length: Duration) -> UnixMillis {
    after(now, length.saturating_mul(2))
}

/// An expression of SQL that says whether [`claim`] would find the lease held at present, and its values: for a query that is asked
/// often, and asks for more.
pub fn is_held(name: &str, now: UnixMillis, length: Duration) -> (&'static str, Params) {
    (
        "EXISTS (SELECT 1 FROM leases
             WHERE name = ? AND owner IS NOT NULL AND lease_until >= ? AND lease_until <= ?)",
        params![name, now, held_at_most(now, length)],
    )
}

/// Ends the lease of a name, even one that is held: for a caller who knows that its holder has died.
///
/// # Errors
/// Those of the database.
pub fn end<'t>(tx: &'t mut Tx, name: &'t str) -> BoxFuture<'t, Result<(), DbError>> {
    Box::pin(async move {
        let sql = "UPDATE leases SET owner = NULL, lease_until = NULL WHERE name = ?";
        tx.execute(sql, params![name]).await.map(drop)
    })
}

/// Lengthens a lease that is still held to `length` from now; None when another claim has replaced it.
///
/// # Errors
/// Those of the database.
pub fn renew<'t>(
    tx: &'t mut Tx,
    lease: &'t Lease,
    now: UnixMillis,
    length: Duration,
) -> BoxFuture<'t, Result<Option<Lease>, DbError>> {
    Box::pin(async move {
        // As a batch it is one round trip with the transaction's beginning.
        let renewed = tx.run(&[renewal(lease, now, length)]).await.all()?;
        let held = renewed[0].matched == 1;
        Ok(held.then(|| Lease {
            until: after(now, length),
            ..lease.clone()
        }))
    })
}

/// What [`renew`] runs, for a batch with more: it matches one row where the lease is still held, and where it does not, nothing of the
/// batch may be committed.
pub fn renewal(lease: &Lease, now: UnixMillis, length: Duration) -> Statement {
    Statement::change(
        "UPDATE leases SET lease_until = ?, fences = fences + 1 WHERE name = ? AND owner = ? AND epoch = ?",
        params![after(now, length), &lease.name, &lease.owner, lease.epoch],
    )
}

/// Gives the lease up, if it is still held.
///
/// # Errors
/// Those of the database.
pub fn release<'t>(tx: &'t mut Tx, lease: &'t Lease) -> BoxFuture<'t, Result<(), DbError>> {
    Box::pin(async move {
        let sql =
            "UPDATE leases SET owner = NULL, lease_until = NULL WHERE name = ? AND owner = ? AND epoch = ?";
        tx.execute(sql, params![&lease.name, &lease.owner, lease.epoch])
            .await
            .map(drop)
    })
}

/// Whether the lease is still this holder's; if so it stays so until the transaction ends, since the row is written.
/// Call it first in every transaction that the lease protects, and write nothing when it says no.
///
/// # Errors
/// Those of the database.
pub fn fence<'t>(tx: &'t mut Tx, lease: &'t Lease) -> BoxFuture<'t, Result<bool, DbError>> {
    Box::pin(async move {
        let sql = "UPDATE leases SET fences = fences + 1 WHERE name = ? AND owner = ? AND epoch = ?";
        Ok(tx
            .execute(sql, params![&lease.name, &lease.owner, lease.epoch])
            .await?
            == 1)
    })
}

fn after(now: UnixMillis, length: Duration) -> UnixMillis {
    UnixMillis(
        now.0
            .saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)),
    )
}
