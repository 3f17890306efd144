//! Rows that are old enough by themselves, endpoint by endpoint: dead deliveries that a person drops, and statistics.

use super::{Found, PURGE_BATCH, PurgePosition, Purged, by_endpoint, delete_deliveries};
use crate::domain::audit_action::AuditAction;
use contract::UnixMillis;
use db::{DbError, InList, Tx, params, read_ids};
use kit::audit::{self, AuditEntry};
use std::collections::BTreeMap;

/// Deliveries that died before.
pub(super) const DEAD: OfEndpoints = OfEndpoints {
    table: "deliveries",
    key: "event_id",
    condition: "status = 'dead' AND due_at < ?",
    order: "due_at, event_id",
    what: Purged::Delivery,
};

/// Statistics of hours before.
pub(super) const HOURS: OfEndpoints = OfEndpoints {
    table: "delivery_hours",
    key: "hour",
    condition: "hour < ?",
    order: "hour, type",
    what: Purged::DeliveryHour,
};

/// Rows that belong to endpoints, which are gone through by their ids.
pub(super) struct OfEndpoints {
    table: &'static str,
    key: &'static str,
    condition: &'static str,
    order: &'static str,
    what: Purged,
}

impl OfEndpoints {
    /// The rows of the next endpoints, a batch at most; where there may be more, it is gone on with the same endpoints.
    pub(super) async fn find(
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

/// Deletes deliveries that are still dead, and their attempts; with an audit entry for each endpoint.
pub(super) async fn drop_dead(
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

/// Deletes statistics, of each endpoint up to its last key.
pub(super) async fn delete_hours(
    tx: &mut Tx,
    keys: &[(String, String)],
) -> Result<BTreeMap<Purged, u64>, DbError> {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for (endpoint, hour) in keys {
        last.insert(endpoint, hour.parse().unwrap_or_default());
    }
    let mut count = 0;
    for (endpoint, hour) in last {
        let sql = "DELETE FROM delivery_hours WHERE endpoint_id = ? AND hour <= ?";
        count += tx.execute(sql, params![endpoint, hour]).await?;
    }
    Ok(BTreeMap::from([(Purged::DeliveryHour, count)]))
}
