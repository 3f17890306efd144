//! What is deleted once it is old enough: deliveries with their attempts, bodies, the log of events, statistics.
//!
//! A batch is looked for outside of a transaction and deleted in a short one, fenced by a lease, in which what was found is looked at
//! again: an event that was made due meanwhile keeps its body.

mod events;
mod of_endpoints;

use self::{
    events::FoundEvent,
    of_endpoints::{DEAD, HOURS},
};
use super::Store;
use contract::UnixMillis;
use db::{
    DbError, InList, Statement, Tx,
    leases::{self, Lease},
    params,
};
use kit::purge::PurgeBatch;
use std::{collections::BTreeMap, sync::Arc};
use strum::{IntoStaticStr, VariantArray};

/// Events, deliveries or hours of one transaction at most; of an event with more deliveries it deletes a part.
pub const PURGE_BATCH: usize = 200;

/// What is deleted, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Purged {
    /// An event on its way to an endpoint, at its end.
    Delivery,
    /// An attempt at one.
    Attempt,
    /// The bytes of an event.
    Body,
    /// An event in the log.
    Event,
    /// The counts of an endpoint, an hour and a type.
    DeliveryHour,
}

/// What a purge goes through, a batch of each in turn; the first alone, up to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum PurgeTarget {
    /// Dead deliveries that a person drops.
    Dead,
    /// Events that no purge has come to yet: their deliveries, attempts and bodies.
    Events,
    /// Events that an earlier purge had to leave.
    Unsettled,
    /// The log.
    Log,
    /// Statistics.
    Hours,
}

impl kit::purge::PurgeTarget for PurgeTarget {
    fn goes_first(self) -> bool {
        self == Self::Dead
    }
}

/// What is older is deleted.
#[derive(Clone, Copy, Debug)]
pub struct PurgeBefore {
    /// Of events that were committed before, and whose deliveries were all settled before.
    pub settled: UnixMillis,
    /// Of events that were committed before, whatever became of them.
    pub undelivered: UnixMillis,
    /// Events that were committed before.
    pub events: UnixMillis,
    /// Hours before.
    pub hour: UnixMillis,
    /// Deliveries that died before; none: only with their events.
    pub dead: Option<UnixMillis>,
}

/// How far a purge of a target is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgePosition {
    /// Of events: all up to this place are behind it.
    place: i64,
    /// Of events: where it ends. It is found once for each purge.
    until: Option<i64>,
    /// Of endpoints.
    id: String,
}

/// What a batch may delete.
#[derive(Default)]
struct Found {
    /// Events that lose what they have, in the order of their places; the last one perhaps not all of it.
    going: Vec<FoundEvent>,
    /// Events that are left, and noted.
    left: Vec<FoundEvent>,
    /// Deliveries or hours, by their endpoint.
    keys: Vec<(String, String)>,
    /// What goes, as far as it is only counted.
    counted: BTreeMap<Purged, u64>,
    /// The place up to which all is gone through.
    through: Option<i64>,
    oldest: Option<UnixMillis>,
    next: Option<PurgePosition>,
}

impl Store {
    /// Deletes what the next batch of a target may, or without a lease only counts it. None when the lease is another's by now.
    ///
    /// # Errors
    /// Those of the database; nothing of the batch is deleted then, or all of it.
    pub async fn purge_batch(
        &self,
        target: PurgeTarget,
        before: PurgeBefore,
        after: PurgePosition,
        lease: Option<&Lease>,
        now: UnixMillis,
    ) -> Result<Option<PurgeBatch<Purged, PurgePosition>>, DbError> {
        let db = self.db.answering_after_abort();
        let only_counts = lease.is_none();
        let found = db.read("purge_find", move |tx| {
            let after = after.clone();
            Box::pin(async move { find(tx, target, before, &after, only_counts, now).await })
        });
        let found = Arc::new(found.await?);
        let next = found.next.clone();
        let oldest_overdue_ms = found.oldest.map(|oldest| before.settled.0 - oldest.0);
        let is_none = found.going.is_empty() && found.keys.is_empty() && found.through.is_none();
        let purged = match lease {
            None => Some(found.counted.clone()),
            Some(_) if is_none => Some(BTreeMap::new()),
            Some(lease) => {
                let lease = lease.clone();
                let delete = db.transaction("purge", move |tx| {
                    let (lease, found) = (lease.clone(), Arc::clone(&found));
                    Box::pin(async move {
                        if !leases::fence(tx, &lease).await? {
                            tx.abandon();
                            return Ok(None);
                        }
                        delete(tx, target, before, &found, now).await.map(Some)
                    })
                });
                delete.await?
            }
        };
        Ok(purged.map(|purged| PurgeBatch {
            purged,
            oldest_overdue_ms,
            next,
        }))
    }
}

async fn find(
    tx: &mut Tx,
    target: PurgeTarget,
    before: PurgeBefore,
    after: &PurgePosition,
    only_counts: bool,
    now: UnixMillis,
) -> Result<Found, DbError> {
    match target {
        PurgeTarget::Dead => match before.dead {
            None => Ok(Found::default()),
            Some(dead) => DEAD.find(tx, dead, after, only_counts).await,
        },
        PurgeTarget::Hours => HOURS.find(tx, before.hour, after, only_counts).await,
        PurgeTarget::Events | PurgeTarget::Unsettled | PurgeTarget::Log => {
            events::find(tx, target, before, after, only_counts, now).await
        }
    }
}

/// Deletes what of the batch is still to be deleted.
async fn delete(
    tx: &mut Tx,
    target: PurgeTarget,
    before: PurgeBefore,
    found: &Found,
    now: UnixMillis,
) -> Result<BTreeMap<Purged, u64>, DbError> {
    match target {
        PurgeTarget::Dead => of_endpoints::drop_dead(tx, &found.keys, now).await,
        PurgeTarget::Hours => of_endpoints::delete_hours(tx, &found.keys).await,
        PurgeTarget::Events | PurgeTarget::Unsettled | PurgeTarget::Log => {
            events::delete(tx, target, before, found, now).await
        }
    }
}

/// Deletes deliveries by their keys, endpoint and event, with their attempts; answers how many.
async fn delete_deliveries(
    tx: &mut Tx,
    keys: &[(String, String)],
    purged: &mut BTreeMap<Purged, u64>,
) -> Result<u64, DbError> {
    let mut statements = Vec::new();
    for (endpoint, events) in by_endpoint(keys) {
        for table in ["delivery_attempts", "deliveries"] {
            let list = InList::of(&events);
            let sql = format!("DELETE FROM {table} WHERE endpoint_id = ? AND event_id IN {list}");
            statements.push(Statement::change(sql, list.after(params![endpoint])));
        }
    }
    let answers = tx.run(&statements).await.all()?;
    let of = |nth: usize| {
        answers
            .iter()
            .skip(nth)
            .step_by(2)
            .map(|one| one.matched)
            .sum::<u64>()
    };
    let (attempts, deliveries) = (of(0), of(1));
    *purged.entry(Purged::Attempt).or_default() += attempts;
    *purged.entry(Purged::Delivery).or_default() += deliveries;
    Ok(deliveries)
}

fn by_endpoint(keys: &[(String, String)]) -> BTreeMap<&str, Vec<String>> {
    let mut by_endpoint: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (endpoint, event) in keys {
        by_endpoint.entry(endpoint).or_default().push(event.clone());
    }
    by_endpoint
}
