//! One step of a migration: fenced by the lease, recorded with what it did, the lease renewed while it lasts.

use std::pin::pin;
use std::time::Duration;

use contract::clock::Clock;

use super::MigrateError;
use crate::failpoint;
use crate::leases::{self, Lease};
use crate::{Db, DbError, Params, Tx};

/// How long the lease holds; it is renewed at a third of it.
pub(super) const LEASE_LENGTH: Duration = Duration::from_secs(30);
/// A third of the lease.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// Exists already: table, column, index; does not exist any more.
const DONE_ALREADY: [i64; 4] = [1050, 1060, 1061, 1091];

/// One statement of a migration and the record that it is done.
#[derive(Clone, Default)]
pub(super) struct Step {
    pub statement: Option<String>,
    pub record: &'static str,
    pub params: Params,
    /// An earlier run may have carried the statement out without recording it.
    pub resumed: bool,
}

impl Step {
    pub async fn run(self, db: &Db, clock: &dyn Clock, lease: &Lease) -> Result<(), MigrateError> {
        let held = lease.clone();
        let step = db.transaction("migration_step", move |tx| {
            let (step, lease) = (self.clone(), held.clone());
            Box::pin(async move { step.carry_out(tx, &lease).await })
        });
        let mut step = pin!(step);
        loop {
            match tokio::time::timeout(RENEW_EVERY, step.as_mut()).await {
                Ok(outcome) => {
                    return if outcome? {
                        Ok(())
                    } else {
                        Err(MigrateError::Overtaken)
                    };
                }
                Err(_) => keep(db, clock, lease).await,
            }
        }
    }

    async fn carry_out(self, tx: &mut Tx, lease: &Lease) -> Result<bool, DbError> {
        if !leases::fence(tx, lease).await? {
            return Ok(false);
        }
        if let Some(statement) = &self.statement {
            match tx.define(statement).await {
                Err(DbError::Statement { code, .. }) if self.resumed && DONE_ALREADY.contains(&code) => {}
                other => other?,
            }
            failpoint::reached("migrate.defined");
        }
        tx.execute(self.record, self.params).await?;
        Ok(true)
    }
}

/// Renews the lease. After a failure the fence of the next step decides.
async fn keep(db: &Db, clock: &dyn Clock, lease: &Lease) {
    let (lease, now) = (lease.clone(), clock.now());
    let renewed = db.transaction("renew_migrate", move |tx| {
        let lease = lease.clone();
        Box::pin(async move { leases::renew(tx, &lease, now, LEASE_LENGTH).await })
    });
    if let Err(error) = renewed.await {
        tracing::warn!(%error, "the migration lease was not renewed");
    }
}
