//! The inbox as the API shows it: events without their bodies, newest first.

use super::Store;
use contract::{EventId, PropertyId, SourceId, UnixMillis, id::IdempotencyKey};
use kit::{
    audit::{self, AuditEntry},
    db::{DbError, Params, Row},
    params,
};

/// What an event must have to be in the list. Absent: anything.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Who sent it.
    pub source: Option<SourceId>,
    /// The sender's key.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The event's type.
    pub event_type: Option<String>,
    /// `accepted`, `applied`, `stale`, `ignored`, `dead_letter` or `suppressed`.
    pub status: Option<String>,
    /// The property.
    pub property_id: Option<PropertyId>,
    /// The entity that it is about.
    pub entity_id: Option<String>,
    /// What ties it to a request.
    pub correlation_id: Option<String>,
    /// Received at or after.
    pub from: Option<UnixMillis>,
    /// Received before.
    pub to: Option<UnixMillis>,
}

/// Where a page ended: the order of the list is by reception, then by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPosition {
    /// When the last one was received.
    pub received_at: UnixMillis,
    /// Its id.
    pub event_id: EventId,
}

/// One event of the inbox.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// Our id.
    pub event_id: String,
    /// Who sent it.
    pub source: String,
    /// The sender's key.
    pub idempotency_key: String,
    /// Its type.
    pub event_type: String,
    /// What became of it so far.
    pub status: String,
    /// The property.
    pub property_id: Option<String>,
    /// Kind, id and version of what it is about.
    pub entity: Option<(String, String, i64)>,
    /// What ties it to a request.
    pub correlation_id: String,
    /// When the change was committed at the sender.
    pub occurred_at: UnixMillis,
    /// When it came.
    pub received_at: UnixMillis,
    /// When the projector was done with it.
    pub applied_at: Option<UnixMillis>,
    /// How often the projector failed on it.
    pub attempts: u32,
    /// Why it failed last.
    pub last_error: Option<String>,
}

const COLUMNS: &str = "event_id, source_id, idempotency_key, type, status, property_id, entity_kind, entity_id, \
                       entity_version, correlation_id, occurred_at, received_at, applied_at, attempts, last_error";

impl Store {
    /// At most `limit` events that pass the filter, in order of reception: `descending` is newest first.
    pub async fn events(
        &self,
        filter: EventFilter,
        after: Option<EventPosition>,
        descending: bool,
        limit: i64,
    ) -> Result<Vec<EventRow>, DbError> {
        self.queries
            .read("events", move |tx| {
                let (sql, params) = list_sql(&filter, after.as_ref(), descending, limit);
                Box::pin(async move { tx.query(&sql, params).await?.iter().map(event_row).collect() })
            })
            .await
    }

    /// One event with what the audit log says of it, oldest first.
    pub async fn event(&self, event_id: &EventId) -> Result<Option<(EventRow, Vec<AuditEntry>)>, DbError> {
        let id = event_id.to_string();
        self.queries
            .read("event", move |tx| {
                let id = id.clone();
                Box::pin(async move {
                    let sql = format!("SELECT {COLUMNS} FROM inbox WHERE event_id = ?");
                    let Some(row) = tx.query_one(&sql, params![&id]).await? else {
                        return Ok(None);
                    };
                    Ok(Some((event_row(&row)?, audit::find_by_event(tx, &id).await?)))
                })
            })
            .await
    }
}

fn list_sql(
    filter: &EventFilter,
    after: Option<&EventPosition>,
    descending: bool,
    limit: i64,
) -> (String, Params) {
    let mut conditions = Vec::new();
    let mut params = Params::new();
    let equalities = [
        ("source_id", filter.source.as_ref().map(SourceId::as_str)),
        (
            "idempotency_key",
            filter.idempotency_key.as_ref().map(IdempotencyKey::as_str),
        ),
        ("type", filter.event_type.as_deref()),
        ("status", filter.status.as_deref()),
        ("property_id", filter.property_id.as_ref().map(PropertyId::as_str)),
        ("entity_id", filter.entity_id.as_deref()),
        ("correlation_id", filter.correlation_id.as_deref()),
    ];
    for (column, value) in equalities {
        if let Some(value) = value {
            conditions.push(format!("{column} = ?"));
            params.push(value.into());
        }
    }
    for (condition, at) in [("received_at >= ?", filter.from), ("received_at < ?", filter.to)] {
        if let Some(at) = at {
            conditions.push(condition.to_owned());
            params.push(at.into());
        }
    }
    let (beyond, direction) = if descending { ("<", "DESC") } else { (">", "ASC") };
    if let Some(after) = after {
        // Spelled out so that both engines walk the index: MariaDB does not use one for a row comparison.
        conditions.push(format!(
            "received_at {beyond}= ? AND (received_at {beyond} ? OR event_id {beyond} ?)"
        ));
        params.extend(params![
            after.received_at,
            after.received_at,
            after.event_id.as_str()
        ]);
    }
    let conditions = if conditions.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", conditions.join(" AND "))
    };
    params.push(limit.into());
    let order = format!("ORDER BY received_at {direction}, event_id {direction} LIMIT ?");
    let waiting = "status = 'accepted'";
    let decided = "status <> 'accepted'";
    let select = |part: &str| format!("SELECT {COLUMNS} FROM inbox{conditions}{part} {order}");
    // SQLite's index on entities leaves out what waits, which is found by its status. It has to be told which it is.
    match (&filter.entity_id, filter.status.as_deref()) {
        (None, _) | (Some(_), Some("accepted")) => (select(""), params),
        (Some(_), Some(_)) => (select(&format!(" AND {decided}")), params),
        (Some(_), None) => {
            let part = |which: &str| {
                let rows = select(&format!(" AND {which}"));
                format!("SELECT * FROM ({rows}) AS part")
            };
            let sql = format!("{} UNION ALL {} {order}", part(waiting), part(decided));
            (sql, [params.clone(), params, params![limit]].concat())
        }
    }
}

fn event_row(row: &Row) -> Result<EventRow, DbError> {
    let (kind, id) = (
        row.get::<Option<String>>("entity_kind")?,
        row.get::<Option<String>>("entity_id")?,
    );
    let version: Option<i64> = row.get("entity_version")?;
    Ok(EventRow {
        event_id: row.get("event_id")?,
        source: row.get("source_id")?,
        idempotency_key: row.get("idempotency_key")?,
        event_type: row.get("type")?,
        status: row.get("status")?,
        property_id: row.get("property_id")?,
        entity: kind
            .zip(id)
            .zip(version)
            .map(|((kind, id), version)| (kind, id, version)),
        correlation_id: row.get("correlation_id")?,
        occurred_at: row.get("occurred_at")?,
        received_at: row.get("received_at")?,
        applied_at: row.get("applied_at")?,
        attempts: row.get("attempts")?,
        last_error: row.get("last_error")?,
    })
}
