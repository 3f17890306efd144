//! What waits to be projected, and the tries of an event whose projection fails.

use super::{Store, dead_letters::cut};
use crate::event::PendingEvent;
use contract::{EventId, UnixMillis};
use db::{DbError, Row, Tx, in_lists, params, read_id};
use std::collections::HashMap;

/// The largest body of an event.
pub const BODY_LEN_MAX: usize = 256 * 1024;
/// Bytes of the bodies of one step at most: they are in memory at once, and parsed they take several times as much.
pub const STEP_BYTES_MAX: usize = 8 << 20;

/// For each live event of a step, so many requeued ones, while both wait.
const REQUEUED_TURNS: usize = 7;
/// An event by its id: an index on the bare column would be taken for the better one, and all that waits be read.
const ACCEPTED: &str = "COALESCE(inbox.status, '') = 'accepted'";

impl Store {
    /// The next events that may be projected, at most `limit` and about [`STEP_BYTES_MAX`], but one at least: those
    /// never tried, and those whose next try is due. One that is due later than in `wait_max_ms` was set before the
    /// clock was set back: it is due too.
    ///
    /// Those that runs have requeued and the others take turns, so that neither wait for all of the other: the others one, and
    /// then seven requeued ones.
    pub async fn pending(
        &self,
        now: UnixMillis,
        wait_max_ms: i64,
        limit: usize,
    ) -> Result<Vec<PendingEvent>, DbError> {
        let due = Due {
            now,
            later: now.plus_millis(wait_max_ms),
        };
        self.db
            .read("pending", move |tx| {
                Box::pin(async move {
                    let requeued = due.find(tx, Origin::Requeued, limit).await?;
                    let live = due.find(tx, Origin::Live, limit).await?;
                    let next = in_turns(live, requeued).into_iter().take(limit);
                    read_events(tx, fitting(next)).await
                })
            })
            .await
    }

    /// Since when the oldest event waits that waits for a further try, due or not. It looks at all that waits.
    pub async fn oldest_retry(&self) -> Result<Option<UnixMillis>, DbError> {
        self.db
            .read("oldest_retry", move |tx| {
                Box::pin(async move {
                    let sql = "SELECT MIN(COALESCE(requeued_at, received_at)) AS oldest FROM inbox \
                               WHERE status = 'accepted' AND attempts > 0";
                    let row = tx.query_one(sql, params![]).await?;
                    row.map_or(Ok(None), |row| row.get("oldest"))
                })
            })
            .await
    }

    /// Counts a try of one event before it is made, so that a try which ends the process counts too, and sets when the
    /// next one is due. False when the event is not accepted any more, or another projector counted this try already.
    pub async fn count_try(
        &self,
        event: &EventId,
        tried: u32,
        next_due: UnixMillis,
    ) -> Result<bool, DbError> {
        let event = event.clone();
        self.db
            .transaction("count_try", move |tx| {
                let params = params![tried + 1, next_due, event.as_str(), tried];
                Box::pin(async move {
                    let sql = "UPDATE inbox SET attempts = ?, due_at = ? \
                               WHERE event_id = ? AND status = 'accepted' AND attempts = ?";
                    Ok(tx.execute(sql, params).await? == 1)
                })
            })
            .await
    }

    /// Keeps why the last try of an event failed.
    pub async fn keep_failure(&self, event: &EventId, reason: &str) -> Result<(), DbError> {
        let (event, reason) = (event.clone(), cut(reason));
        self.db
            .transaction("keep_failure", move |tx| {
                let params = params![&reason, event.as_str()];
                Box::pin(async move {
                    let sql = "UPDATE inbox SET last_error = ? WHERE event_id = ? AND status = 'accepted'";
                    tx.execute(sql, params).await.map(drop)
                })
            })
            .await
    }
}

/// What may be projected at an instant.
#[derive(Clone, Copy)]
struct Due {
    now: UnixMillis,
    /// No wait ends later.
    later: UnixMillis,
}

/// How an event has come to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It has arrived, or was requeued alone.
    Live,
    /// A run has requeued it, and knows it as waiting.
    Requeued,
}

/// An event that is due.
struct Found {
    event_id: String,
    /// Of its body.
    bytes: usize,
}

impl Due {
    /// The first that are due, at most `limit`.
    async fn find(self, tx: &mut Tx, origin: Origin, limit: usize) -> Result<Vec<Found>, DbError> {
        let (from, condition) = match origin {
            Origin::Live => (
                "inbox".to_owned(),
                "inbox.status = 'accepted' AND NOT EXISTS \
                 (SELECT 1 FROM requeued_waiting WHERE requeued_waiting.event_id = inbox.event_id)",
            ),
            // There are a few hundred at most, also of those that do not wait any more.
            Origin::Requeued => {
                let join = tx.dialect().join_in_order();
                let on = "inbox.event_id = requeued_waiting.event_id";
                (format!("requeued_waiting {join} inbox ON {on}"), ACCEPTED)
            }
        };
        // Few always fit, and are not looked at.
        let (bytes, bodies) = if limit <= STEP_BYTES_MAX / BODY_LEN_MAX {
            ("0", "")
        } else {
            (
                "COALESCE(LENGTH(body), 0)",
                "LEFT JOIN inbox_bodies ON inbox_bodies.event_id = inbox.event_id",
            )
        };
        let sql = format!(
            "SELECT inbox.event_id, {bytes} AS bytes FROM {from} {bodies} \
             WHERE {condition} AND (attempts = 0 OR due_at <= ? OR due_at > ?) \
             ORDER BY due_at, inbox.event_id LIMIT ?"
        );
        let rows = tx.query(&sql, params![self.now, self.later, limit]).await?;
        let found = |row: &Row| {
            Ok(Found {
                event_id: row.get("event_id")?,
                bytes: row.get("bytes")?,
            })
        };
        rows.iter().map(found).collect()
    }
}

/// One live event, then [`REQUEUED_TURNS`] requeued ones, and so on; the rest of the one once the other is at its end.
fn in_turns<T>(live: Vec<T>, requeued: Vec<T>) -> Vec<T> {
    let mut turns = Vec::with_capacity(live.len() + requeued.len());
    let (mut live, mut requeued) = (live.into_iter(), requeued.into_iter());
    while live.len() + requeued.len() > 0 {
        turns.extend(live.next());
        turns.extend(requeued.by_ref().take(REQUEUED_TURNS));
    }
    turns
}

/// The ids of the first that have no more than [`STEP_BYTES_MAX`] together, one at least.
fn fitting(found: impl Iterator<Item = Found>) -> Vec<String> {
    let (mut bytes, mut ids) = (0_usize, Vec::new());
    for event in found {
        bytes = bytes.saturating_add(event.bytes);
        if bytes > STEP_BYTES_MAX && !ids.is_empty() {
            break;
        }
        ids.push(event.event_id);
    }
    ids
}

/// Those of the events that nobody has taken yet, in that order.
async fn read_events(tx: &mut Tx, ids: Vec<String>) -> Result<Vec<PendingEvent>, DbError> {
    let mut events = Vec::with_capacity(ids.len());
    for list in in_lists(ids.iter().map(String::as_str)) {
        let sql = format!(
            "SELECT inbox.event_id, source_id, type, schema_version, property_id, entity_kind, entity_id, entity_version, \
             correlation_id, occurred_at, COALESCE(requeued_at, received_at) AS waiting_since, attempts, \
             CASE WHEN requeued_waiting.event_id IS NULL THEN 0 ELSE 1 END AS requeued, body FROM inbox \
             LEFT JOIN requeued_waiting ON requeued_waiting.event_id = inbox.event_id \
             LEFT JOIN inbox_bodies ON inbox_bodies.event_id = inbox.event_id \
             WHERE {ACCEPTED} AND inbox.event_id IN {list}"
        );
        for row in &tx.query(&sql, list.into_params()).await? {
            events.push(pending(row)?);
        }
    }
    let places: HashMap<&str, usize> = ids.iter().map(String::as_str).zip(0..).collect();
    events.sort_by_key(|event| places.get(event.event_id.as_str()).copied());
    Ok(events)
}

fn pending(row: &Row) -> Result<PendingEvent, DbError> {
    let parse = |column: &str| row.get::<Option<String>>(column);
    Ok(PendingEvent {
        event_id: read_id(row, "event_id")?,
        source: read_id(row, "source_id")?,
        event_type: row.get("type")?,
        schema_version: row.get("schema_version")?,
        property_id: parse("property_id")?.and_then(|id| id.parse().ok()),
        entity_kind: parse("entity_kind")?,
        entity_id: parse("entity_id")?.and_then(|id| id.parse().ok()),
        entity_version: row.get("entity_version")?,
        correlation_id: row.get("correlation_id")?,
        occurred_at: row.get("occurred_at")?,
        waiting_since: row.get("waiting_since")?,
        requeued: row.get("requeued")?,
        attempts: row.get("attempts")?,
        body: row.get("body")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_and_requeued_events_take_turns_and_neither_keeps_a_place_that_the_other_could_have() {
        let turns = |live: usize, requeued: usize| -> String {
            in_turns(vec!["l"; live], vec!["r"; requeued]).concat()
        };
        assert_eq!(turns(3, 20), "lrrrrrrrlrrrrrrrlrrrrrr");
        assert_eq!(turns(4, 1), "lrlll");
        assert_eq!(turns(0, 2), "rr");
        assert_eq!(turns(2, 0), "ll");
        assert_eq!(turns(0, 0), "");
    }
}
