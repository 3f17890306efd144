//! Who purges, and when a purge was last at its end: over all replicas.

use contract::UnixMillis;
use db::{
    Db, DbError, Tx,
    leases::{self, Lease},
    params,
};
use futures::future::BoxFuture;
use std::time::Duration;

/// How long a replica holds the lease without renewing it.
pub const PURGE_LEASE: Duration = Duration::from_secs(60);
/// The lease of purges, and the name of their row.
const PURGE: &str = "purge";

/// The lease of purges, and their row in the service's table `purges`, which has an `id` and `finished_at`.
#[derive(Clone, Debug)]
pub struct PurgeLease {
    db: Db,
}

impl PurgeLease {
    /// That of a database.
    pub fn new(db: &Db) -> Self {
        Self { db: db.clone() }
    }

    /// Claims it, with a commit of its own; None when another holds it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim(&self, owner: &str, now: UnixMillis) -> Result<Option<Lease>, DbError> {
        let owner = owner.to_owned();
        self.repeatable("claim_purge", move |tx| {
            let owner = owner.clone();
            Box::pin(async move { leases::claim(tx, PURGE, &owner, now, PURGE_LEASE).await })
        })
        .await
    }

    /// Lengthens it; None when it is another's by now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn renew(&self, lease: &Lease, now: UnixMillis) -> Result<Option<Lease>, DbError> {
        let lease = lease.clone();
        self.repeatable("renew_purge", move |tx| {
            let lease = lease.clone();
            Box::pin(async move { leases::renew(tx, &lease, now, PURGE_LEASE).await })
        })
        .await
    }

    /// Gives it up.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn release(&self, lease: Lease) -> Result<(), DbError> {
        self.repeatable("release_purge", move |tx| {
            let lease = lease.clone();
            Box::pin(async move { leases::release(tx, &lease).await })
        })
        .await
    }

    /// When a purge was last at its end, at any replica; 0: never.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn last(&self) -> Result<UnixMillis, DbError> {
        self.db
            .read("last_purge", |tx| {
                Box::pin(async move {
                    let sql = "SELECT finished_at FROM purges WHERE id = ?";
                    let row = tx.query_one(sql, params![PURGE]).await?;
                    row.map_or(Ok(UnixMillis(0)), |row| row.get("finished_at"))
                })
            })
            .await
    }

    /// Notes that a purge is at its end, and gives the lease up. False when it is another's by now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end(&self, lease: Lease, now: UnixMillis) -> Result<bool, DbError> {
        self.repeatable("end_purge", move |tx| {
            let lease = lease.clone();
            Box::pin(async move {
                if !leases::fence(tx, &lease).await? {
                    tx.abandon();
                    return Ok(false);
                }
                let sql = "UPDATE purges SET finished_at = ? WHERE id = ?";
                if tx.execute(sql, params![now, PURGE]).await? == 0 {
                    let sql = "INSERT INTO purges (id, finished_at) VALUES (?, ?)";
                    tx.execute(sql, params![PURGE, now]).await?;
                }
                leases::release(tx, &lease).await?;
                Ok(true)
            })
        })
        .await
    }

    /// One transaction whose repetition does no harm: after a commit of unknown result it is run again.
    async fn repeatable<T, F>(&self, name: &'static str, run: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, DbError>> + Send + Sync + 'static,
    {
        self.db
            .transaction_or_find(name, run, |_| Box::pin(async { Ok(None) }))
            .await
    }
}
