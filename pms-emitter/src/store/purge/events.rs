//! Events that are old enough: their deliveries, attempts and bodies, and at last their rows in the log.
//!
//! They are gone through once, in the order of their places, up to the one that is too young or that an endpoint behind it is still
//! to be queued. An event whose deliveries are all settled, long enough ago, loses them and its body; one that is not is noted in
//! `unsettled_events` and looked at again with each purge, so that none walks through all that is kept.
//!
//! Bodies are locked before deliveries are looked at, and a backfill reads them locked: so nothing is queued whose body is going.

use super::{
    Found, PURGE_BATCH, PurgeBefore, PurgePosition, PurgeTarget, Purged, by_endpoint, delete_deliveries,
};
use crate::domain::delivery::DeliveryStatus;
use crate::store::{claims::lease_bound, entity_order, fan_out::FEED, webhooks::place_before};
use contract::UnixMillis;
use db::{DbError, InList, Params, Row, Statement, Tx, params, read_id};
use kit::listing::Index;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The row of the purges.
const PURGE: &str = "purge";

#[derive(Clone)]
pub(super) struct FoundEvent {
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

/// Of which place on events are kept, since an endpoint is still to be queued them.
async fn first_to_be_queued(tx: &mut Tx) -> Result<Option<i64>, DbError> {
    let sql =
        "SELECT MIN(backfill_seq) AS behind FROM endpoints WHERE subscribed = 1 AND backfill_seq IS NOT NULL";
    let row = tx.query_one(sql, params![]).await?;
    row.map_or(Ok(None), |row| row.get("behind"))
}

/// What the next batch of events may delete.
pub(super) async fn find(
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

/// Deletes what of the found events is still to be deleted.
pub(super) async fn delete(
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
