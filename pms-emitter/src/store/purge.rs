//! What is deleted once it is old enough: deliveries with their attempts, bodies, the log of events, statistics.
//!
//! Events are gone through once, in the order of their places, up to the one that is too young or that an endpoint behind it is still
//! to be queued. An event whose deliveries are all settled, long enough ago, loses them and its body; one that is not is noted in
//! `unsettled_events` and looked at again with each purge, so that none walks through all that is kept.
//!
//! A batch is looked for outside of a transaction and deleted in a short one, fenced by a lease, in which what was found is looked at
//! again: an event that was made due meanwhile keeps its body. Bodies are locked before deliveries are looked at, and a backfill reads
//! them locked: so nothing is queued whose body is going.

use super::{Store, claims::lease_bound, entity_order, fan_out::FEED, webhooks::place_before};
use crate::domain::{audit_action::AuditAction, delivery::DeliveryStatus};
use contract::UnixMillis;
use db::{
    DbError, InList, Params, Row, Statement, Tx,
    leases::{self, Lease},
    params, read_id, read_ids,
};
use kit::{
    audit::{self, AuditEntry},
    listing::Index,
    purge::PurgeBatch,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};
use strum::{IntoStaticStr, VariantArray};

/// Events, deliveries or hours of one transaction at most; of an event with more deliveries it deletes a part.
pub const PURGE_BATCH: usize = 200;
/// The row of the purges.
const PURGE: &str = "purge";

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

#[derive(Clone)]
struct FoundEvent {
    place: i64,
    id: String,
    committed_at: UnixMillis,
}

/// What an event has.
#[derive(Default)]
struct Deliveries {
    count: usize,
    attempts: u64,
    is_unsettled: bool,
    is_claimed: bool,
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
        PurgeTarget::Dead => {
            let Some(dead) = before.dead else {
                return Ok(Found::default());
            };
            let of = OfEndpoints {
                table: "deliveries",
                key: "event_id",
                condition: "status = 'dead' AND due_at < ?",
                order: "due_at, event_id",
                what: Purged::Delivery,
            };
            of.find(tx, dead, after, only_counts).await
        }
        PurgeTarget::Hours => {
            let of = OfEndpoints {
                table: "delivery_hours",
                key: "hour",
                condition: "hour < ?",
                order: "hour, type",
                what: Purged::DeliveryHour,
            };
            of.find(tx, before.hour, after, only_counts).await
        }
        PurgeTarget::Events | PurgeTarget::Unsettled | PurgeTarget::Log => {
            find_events(tx, target, before, after, only_counts, now).await
        }
    }
}

/// Rows that belong to endpoints, which are gone through by their ids.
struct OfEndpoints {
    table: &'static str,
    key: &'static str,
    condition: &'static str,
    order: &'static str,
    what: Purged,
}

impl OfEndpoints {
    /// The rows of the next endpoints, a batch at most; where there may be more, it is gone on with the same endpoints.
    async fn find(
        &self,
        tx: &mut Tx,
        before: UnixMillis,
        after: &PurgePosition,
        only_counts: bool,
    ) -> Result<Found, DbError> {
        let Self {
            table,
            key,
            condition,
            order,
            what,
        } = self;
        let sql = "SELECT id FROM endpoints WHERE id > ? ORDER BY id LIMIT ?";
        let rows = tx.query(sql, params![&after.id, PURGE_BATCH]).await?;
        let ids: Vec<String> = read_ids(&rows, "id")?;
        let behind = ids
            .last()
            .filter(|_| ids.len() == PURGE_BATCH)
            .map(|id| PurgePosition {
                id: id.clone(),
                ..PurgePosition::default()
            });
        let list = InList::of(&ids);
        if only_counts {
            let sql =
                format!("SELECT COUNT(*) AS n FROM {table} WHERE endpoint_id IN {list} AND {condition}");
            let mut values = list.into_params();
            values.push(before.into());
            let row = tx.query_one(&sql, values).await?;
            let count = row.map_or(Ok(0), |row| row.get("n"))?;
            return Ok(Found {
                counted: BTreeMap::from([(*what, count)]),
                next: behind,
                ..Found::default()
            });
        }
        let mut found = Found::default();
        for id in &ids {
            let sql = format!(
                "SELECT {key} AS k FROM {table} WHERE endpoint_id = ? AND {condition} ORDER BY {order} LIMIT ?"
            );
            let room = PURGE_BATCH - found.keys.len();
            for row in &tx.query(&sql, params![id, before, room]).await? {
                let key = match what {
                    Purged::DeliveryHour => row.get::<i64>("k")?.to_string(),
                    _ => row.get("k")?,
                };
                found.keys.push((id.clone(), key));
            }
            if found.keys.len() == PURGE_BATCH {
                found.next = Some(after.clone());
                return Ok(found);
            }
        }
        found.next = behind;
        Ok(found)
    }
}

/// Of which place on events are kept, since an endpoint is still to be queued them.
async fn first_to_be_queued(tx: &mut Tx) -> Result<Option<i64>, DbError> {
    let sql =
        "SELECT MIN(backfill_seq) AS behind FROM endpoints WHERE subscribed = 1 AND backfill_seq IS NOT NULL";
    let row = tx.query_one(sql, params![]).await?;
    row.map_or(Ok(None), |row| row.get("behind"))
}

async fn find_events(
    tx: &mut Tx,
    target: PurgeTarget,
    before: PurgeBefore,
    after: &PurgePosition,
    only_counts: bool,
    now: UnixMillis,
) -> Result<Found, DbError> {
    let (until, mut place) = match after.until {
        Some(until) => (until, after.place),
        None => begin(tx, target, before).await?,
    };
    place = place.max(after.place);
    let from = match target {
        PurgeTarget::Unsettled => {
            "SELECT u.feed_seq, e.id, e.committed_at FROM unsettled_events u JOIN events e ON e.id = u.event_id
             WHERE u.feed_seq > ? AND u.feed_seq <= ? ORDER BY u.feed_seq LIMIT ?"
        }
        _ => {
            "SELECT feed_seq, id, committed_at FROM events WHERE feed_seq > ? AND feed_seq <= ? ORDER BY feed_seq LIMIT ?"
        }
    };
    let rows = tx.query(from, params![place, until, PURGE_BATCH]).await?;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        events.push(FoundEvent {
            place: row.get("feed_seq")?,
            id: row.get("id")?,
            committed_at: row.get("committed_at")?,
        });
    }
    let mut deliveries = deliveries_of(tx, &events, before.settled, now).await?;
    let mut found = Found::default();
    let (mut room, mut is_whole) = (PURGE_BATCH, true);
    for event in &events {
        let of_event = deliveries.remove(event.id.as_str()).unwrap_or_default();
        if !before.takes(target, event, &of_event) {
            found.left.push(event.clone());
            found.through = Some(event.place);
            continue;
        }
        if of_event.count > room && !found.going.is_empty() {
            is_whole = false;
            break;
        }
        room = room.saturating_sub(of_event.count);
        if target == PurgeTarget::Events {
            found.oldest = found.oldest.into_iter().chain([event.committed_at]).min();
        }
        found.going.push(event.clone());
        if of_event.count > PURGE_BATCH && !only_counts {
            // The rest of it is deleted with the next batch, which finds it again.
            is_whole = false;
            break;
        }
        found.through = Some(event.place);
        if only_counts {
            *found.counted.entry(Purged::Delivery).or_default() += of_event.count as u64;
            *found.counted.entry(Purged::Attempt).or_default() += of_event.attempts;
        }
    }
    if rows.len() == PURGE_BATCH || !is_whole {
        found.next = Some(PurgePosition {
            place: found.through.unwrap_or(place),
            until: Some(until),
            ..PurgePosition::default()
        });
    }
    if only_counts {
        count(tx, target, &mut found).await?;
    }
    if target != PurgeTarget::Events {
        (found.left, found.through) = (Vec::new(), None);
    }
    Ok(found)
}

/// Where a purge of events ends and begins.
async fn begin(tx: &mut Tx, target: PurgeTarget, before: PurgeBefore) -> Result<(i64, i64), DbError> {
    let mut until = FEED.last_place(tx).await?;
    until = first_to_be_queued(tx).await?.unwrap_or(until).min(until);
    Ok(match target {
        PurgeTarget::Events => {
            let sql = "SELECT place FROM purges WHERE id = ?";
            let row = tx.query_one(sql, params![PURGE]).await?;
            let place = row.map_or(Ok(0), |row| row.get("place"))?;
            (place_before(tx, before.settled, until).await?, place)
        }
        PurgeTarget::Log => (place_before(tx, before.events, until).await?, 0),
        PurgeTarget::Dead | PurgeTarget::Unsettled | PurgeTarget::Hours => (until, 0),
    })
}

/// How many deliveries and attempts events have, and whether any of them is not settled long enough, or is claimed.
async fn deliveries_of(
    tx: &mut Tx,
    events: &[FoundEvent],
    settled: UnixMillis,
    now: UnixMillis,
) -> Result<HashMap<String, Deliveries>, DbError> {
    let list = InList::of(events.iter().map(|event| &event.id));
    let sql = format!(
        "SELECT event_id, COUNT(*) AS n, SUM(attempts) AS attempts,
             MAX(CASE WHEN status IN ('pending', 'dead') OR settled_at >= ? THEN 1 ELSE 0 END) AS unsettled,
             MAX(CASE WHEN status = 'pending' AND owner IS NOT NULL AND lease_until >= ? AND lease_until <= ?
                 THEN 1 ELSE 0 END) AS claimed
         FROM deliveries WHERE event_id IN {list} GROUP BY event_id"
    );
    let values = params![settled, now, lease_bound(now)];
    let mut of_events = HashMap::new();
    for row in &tx.query(&sql, list.after(values)).await? {
        let deliveries = Deliveries {
            count: row.get::<u64>("n")? as usize,
            attempts: row.get("attempts")?,
            is_unsettled: row.get("unsettled")?,
            is_claimed: row.get("claimed")?,
        };
        of_events.insert(row.get("event_id")?, deliveries);
    }
    Ok(of_events)
}

impl PurgeBefore {
    /// Whether an event loses what it has. One with a delivery that is claimed does not, however old: what its attempt comes to is
    /// still to be written.
    fn takes(&self, target: PurgeTarget, event: &FoundEvent, deliveries: &Deliveries) -> bool {
        if deliveries.is_claimed {
            return false;
        }
        match target {
            // It is past every other time.
            PurgeTarget::Log => event.committed_at < self.events,
            _ => {
                let is_settled = event.committed_at < self.settled && !deliveries.is_unsettled;
                event.committed_at < self.undelivered || is_settled
            }
        }
    }
}

/// What else would go: bodies, and events of the log. What these have is counted where it is come to first.
async fn count(tx: &mut Tx, target: PurgeTarget, found: &mut Found) -> Result<(), DbError> {
    if target == PurgeTarget::Log {
        found.counted = BTreeMap::from([(Purged::Event, found.going.len() as u64)]);
        return Ok(());
    }
    let list = InList::of(found.going.iter().map(|event| &event.id));
    let sql = format!("SELECT COUNT(*) AS n FROM event_bodies WHERE event_id IN {list}");
    let row = tx.query_one(&sql, list.into_params()).await?;
    let bodies = row.map_or(Ok(0), |row| row.get("n"))?;
    found.counted.insert(Purged::Body, bodies);
    Ok(())
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
        PurgeTarget::Dead => drop_dead(tx, &found.keys, now).await,
        PurgeTarget::Hours => {
            let mut last: BTreeMap<&str, i64> = BTreeMap::new();
            for (endpoint, hour) in &found.keys {
                last.insert(endpoint, hour.parse().unwrap_or_default());
            }
            let mut count = 0;
            for (endpoint, hour) in last {
                let sql = "DELETE FROM delivery_hours WHERE endpoint_id = ? AND hour <= ?";
                count += tx.execute(sql, params![endpoint, hour]).await?;
            }
            Ok(BTreeMap::from([(Purged::DeliveryHour, count)]))
        }
        PurgeTarget::Events | PurgeTarget::Unsettled | PurgeTarget::Log => {
            delete_events(tx, target, before, found, now).await
        }
    }
}

/// Deletes deliveries that are still dead, and their attempts; with an audit entry for each endpoint.
async fn drop_dead(
    tx: &mut Tx,
    keys: &[(String, String)],
    now: UnixMillis,
) -> Result<BTreeMap<Purged, u64>, DbError> {
    let lock = tx.dialect().for_update();
    let (mut purged, mut entries) = (BTreeMap::new(), Vec::new());
    for (endpoint, events) in by_endpoint(keys) {
        let list = InList::of(events);
        let sql = format!(
            "SELECT event_id FROM deliveries WHERE endpoint_id = ? AND event_id IN {list} AND status = 'dead'
             ORDER BY event_id{lock}"
        );
        let rows = tx.query(&sql, list.after(params![endpoint])).await?;
        let events: Vec<String> = read_ids(&rows, "event_id")?;
        let keys: Vec<(String, String)> = events
            .into_iter()
            .map(|event| (endpoint.to_owned(), event))
            .collect();
        let dropped = delete_deliveries(tx, &keys, &mut purged).await?;
        if dropped > 0 {
            entries.push(AuditEntry {
                actor: Some("operator".to_owned()),
                source: Some(endpoint.to_owned()),
                outcome: Some(dropped.to_string().into()),
                ..AuditEntry::new(AuditAction::DeadDropped, now)
            });
        }
    }
    audit::append(tx, &entries).await?;
    Ok(purged)
}

async fn delete_events(
    tx: &mut Tx,
    target: PurgeTarget,
    before: PurgeBefore,
    found: &Found,
    now: UnixMillis,
) -> Result<BTreeMap<Purged, u64>, DbError> {
    let lock = tx.dialect().for_update();
    let list = InList::of(found.going.iter().map(|event| &event.id));
    let index = Index::Primary.hint(tx.dialect());
    let sql =
        format!("SELECT event_id FROM event_bodies{index} WHERE event_id IN {list} ORDER BY event_id{lock}");
    tx.query(&sql, list.into_params()).await?;
    // After the lock: who was made meanwhile, and begins before, is seen or finds no body.
    let first = first_to_be_queued(tx).await?.unwrap_or(i64::MAX);
    let stays = |event: &FoundEvent| event.place > first;
    let (staying, going): (Vec<_>, Vec<_>) = found.going.iter().cloned().partition(stays);
    let mut left = [found.left.clone(), staying].concat();

    let list = InList::of(going.iter().map(|event| &event.id));
    let index = Index::Named("deliveries_event").hint(tx.dialect());
    let sql = format!(
        "SELECT event_id, endpoint_id, status, settled_at, owner, lease_until FROM deliveries{index} WHERE event_id IN {list}
         ORDER BY event_id, endpoint_id LIMIT ?{lock}"
    );
    let mut values = list.into_params();
    values.push((PURGE_BATCH + 1).into());
    let rows = tx.query(&sql, values).await?;
    let mut keys = Vec::with_capacity(rows.len());
    let (mut unsettled, mut pending, mut claimed) = (BTreeSet::new(), HashSet::new(), BTreeSet::new());
    for row in &rows {
        let event: String = row.get("event_id")?;
        if read_id::<DeliveryStatus>(row, "status")? == DeliveryStatus::Pending {
            pending.insert(event.clone());
            if is_claimed(row, now)? {
                claimed.insert(event.clone());
            }
        }
        if is_unsettled(row, before.settled)? {
            unsettled.insert(event.clone());
        }
        keys.push((row.get::<String>("endpoint_id")?, event));
    }
    let last = keys.get(PURGE_BATCH).map(|(_, event)| event.clone());
    keys.truncate(PURGE_BATCH);
    let is_left = |event: &FoundEvent| {
        claimed.contains(&event.id)
            || (event.committed_at >= before.undelivered && unsettled.contains(&event.id))
    };
    let (unsettled, mut going): (Vec<_>, Vec<_>) = going.into_iter().partition(is_left);
    keys.retain(|(_, event)| unsettled.iter().all(|left| left.id != *event));
    left.extend(unsettled);
    let mut purged = BTreeMap::new();
    delete_deliveries(tx, &keys, &mut purged).await?;
    keys.retain(|(_, event)| pending.contains(event));
    for (endpoint, events) in by_endpoint(&keys) {
        entity_order::leave(tx, endpoint, &events).await?;
    }
    if let Some(last) = last {
        // From there on there are more deliveries: their events go with a later batch.
        let is_later = |event: &FoundEvent| event.id >= last;
        left.extend(going.iter().filter(|event| is_later(event)).cloned());
        going.retain(|event| !is_later(event));
    }
    let ids = || InList::of(going.iter().map(|event| &event.id));
    if !going.is_empty() {
        let sql = format!("DELETE FROM event_bodies WHERE event_id IN {}", ids());
        purged.insert(Purged::Body, tx.execute(&sql, ids().into_params()).await?);
        let places = InList::of(going.iter().map(|event| event.place));
        let sql = format!("DELETE FROM unsettled_events WHERE feed_seq IN {places}");
        tx.execute(&sql, places.into_params()).await?;
        if target == PurgeTarget::Log {
            let sql = format!("DELETE FROM events WHERE id IN {}", ids());
            purged.insert(Purged::Event, tx.execute(&sql, ids().into_params()).await?);
        }
    }
    if target == PurgeTarget::Events {
        note(tx, &left, found.through).await?;
    }
    Ok(purged)
}

/// Notes what was left, and up to where all was gone through.
async fn note(tx: &mut Tx, left: &[FoundEvent], through: Option<i64>) -> Result<(), DbError> {
    let rows = left.iter().flat_map(|event| params![event.place, &event.id]);
    let rows: Params = rows.collect();
    let skip = tx.dialect().skip_existing("feed_seq");
    let columns = ["feed_seq", "event_id"];
    let mut statements: Vec<_> = Statement::rows("unsettled_events", &columns, &skip, rows)
        .into_iter()
        .collect();
    if let Some(place) = through {
        let sql = "UPDATE purges SET place = ? WHERE id = ? AND place < ?";
        statements.push(Statement::change(sql, params![place, PURGE, place]));
    }
    tx.run(&statements).await.all().map(drop)
}

/// Whether a pending delivery is claimed: an attempt at it may be going on.
fn is_claimed(row: &Row, now: UnixMillis) -> Result<bool, DbError> {
    let (owner, until): (Option<String>, UnixMillis) = (row.get("owner")?, row.get("lease_until")?);
    Ok(owner.is_some() && until >= now && until <= lease_bound(now))
}

fn is_unsettled(row: &Row, settled: UnixMillis) -> Result<bool, DbError> {
    Ok(match read_id(row, "status")? {
        DeliveryStatus::Pending | DeliveryStatus::Dead => true,
        DeliveryStatus::Delivered | DeliveryStatus::Cancelled => {
            let at: Option<UnixMillis> = row.get("settled_at")?;
            at.is_some_and(|at| at >= settled)
        }
    })
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
