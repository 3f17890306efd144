//! The audit rows: one per effect, written in the transaction of that effect.
//!
//! A row names who, what, when and which fields, and never a value of a field: no personal data. Duplicates and
//! rejects, which a flood could multiply, are counted per minute and cause instead.

use std::borrow::Cow;

use contract::clock::UnixMillis;

use db::params;
use db::{DbError, Params, Row, Statement, Tx};

/// The most entries that [`find_by_event`] returns.
const FOUND_MOST: i64 = 1_000;
/// A minute in milliseconds.
const MINUTE_MILLIS: i64 = 60_000;

const COLUMNS: [&str; 13] = [
    "at",
    "action",
    "outcome",
    "actor",
    "source",
    "event_id",
    "property_id",
    "entity_kind",
    "entity_id",
    "entity_version",
    "changed",
    "correlation_id",
    "request_id",
];

/// One effect. Everything but `action` and `at` may be absent:
/// `AuditEntry { event_id: Some(id), ..AuditEntry::new("applied", now) }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditEntry {
    /// What was done: `applied`, `stale`, `delivered`, `id_reuse`, ...
    pub action: Cow<'static, str>,
    /// How it ended, where the action does not say it.
    pub outcome: Option<Cow<'static, str>>,
    /// Who did it: an API key's name, a worker.
    pub actor: Option<String>,
    /// The source of the event.
    pub source: Option<String>,
    /// The event that it is an effect of.
    pub event_id: Option<String>,
    /// The property that it belongs to.
    pub property_id: Option<String>,
    /// `guest` or `reservation`.
    pub entity_kind: Option<String>,
    /// The entity that changed.
    pub entity_id: Option<String>,
    /// Its version after the change.
    pub entity_version: Option<i64>,
    /// The names of the changed fields.
    pub changed: Vec<String>,
    /// The correlation id, the same in both services.
    pub correlation_id: Option<String>,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// When it was done.
    pub at: UnixMillis,
}

impl AuditEntry {
    /// An entry that says only what and when.
    pub fn new(action: impl Into<Cow<'static, str>>, at: UnixMillis) -> Self {
        Self {
            action: action.into(),
            at,
            ..Self::default()
        }
    }

    fn bind(&self, params: &mut Params) {
        let changed =
            (!self.changed.is_empty()).then(|| serde_json::Value::from(self.changed.clone()).to_string());
        params.extend(params![
            self.at,
            self.action.as_ref(),
            self.outcome.as_deref(),
            &self.actor,
            &self.source,
            &self.event_id,
            &self.property_id,
            &self.entity_kind,
            &self.entity_id,
            self.entity_version,
            changed,
            &self.correlation_id,
            &self.request_id,
        ]);
    }

    fn read(row: &Row) -> Result<Self, DbError> {
        let changed: Option<String> = row.get("changed")?;
        let unreadable = |_| DbError::Decode {
            column: "changed".to_owned(),
            expected: "list of names",
        };
        Ok(Self {
            action: Cow::Owned(row.get("action")?),
            outcome: row.get::<Option<String>>("outcome")?.map(Cow::Owned),
            actor: row.get("actor")?,
            source: row.get("source")?,
            event_id: row.get("event_id")?,
            property_id: row.get("property_id")?,
            entity_kind: row.get("entity_kind")?,
            entity_id: row.get("entity_id")?,
            entity_version: row.get("entity_version")?,
            changed: changed
                .map_or(Ok(Vec::new()), |names| serde_json::from_str(&names))
                .map_err(unreadable)?,
            correlation_id: row.get("correlation_id")?,
            request_id: row.get("request_id")?,
            at: row.get("at")?,
        })
    }
}

/// Writes the entries, in their order, in the caller's transaction.
///
/// # Errors
/// Those of the database.
pub async fn append(tx: &mut Tx, entries: &[AuditEntry]) -> Result<(), DbError> {
    tx.insert("audit_entries", &COLUMNS, "", bound(entries)).await
}

/// What [`append`] does, for a batch; None without entries.
pub fn statement(entries: &[AuditEntry]) -> Option<Statement> {
    Statement::rows("audit_entries", &COLUMNS, "", bound(entries))
}

fn bound(entries: &[AuditEntry]) -> Params {
    let mut params = Params::with_capacity(entries.len() * COLUMNS.len());
    entries.iter().for_each(|entry| entry.bind(&mut params));
    params
}

/// The entries of one event in the order of their writing, at most 1,000.
///
/// # Errors
/// Those of the database.
pub async fn find_by_event(tx: &mut Tx, event_id: &str) -> Result<Vec<AuditEntry>, DbError> {
    let columns = COLUMNS.join(", ");
    let sql = format!("SELECT {columns} FROM audit_entries WHERE event_id = ? ORDER BY id LIMIT ?");
    let rows = tx.query(&sql, params![event_id, FOUND_MOST]).await?;
    rows.iter().map(AuditEntry::read).collect()
}

/// Adds `n` to the counter of a kind (`duplicate`, `reject`) and its cause in the minute of `at`.
///
/// # Errors
/// Those of the database.
pub async fn count_minute(
    tx: &mut Tx,
    at: UnixMillis,
    kind: &str,
    cause: &str,
    n: u64,
) -> Result<(), DbError> {
    let minute = at.0 - at.0.rem_euclid(MINUTE_MILLIS);
    let upsert = tx.dialect().on_conflict_add(&["minute", "kind", "cause"], &["n"]);
    let sql = format!("INSERT INTO audit_counts (minute, kind, cause, n) VALUES (?, ?, ?, ?){upsert}");
    tx.execute(&sql, params![minute, kind, cause, n]).await.map(drop)
}
