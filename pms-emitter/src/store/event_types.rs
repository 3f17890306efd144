//! The registered types of events: read one, list them, make, change and delete one, each write with its audit entry.

use super::Store;
use crate::domain::{
    audit_action::AuditAction,
    origin::Origin,
    type_definition::{TYPES_MAX, TypeDefinition, TypeName},
};
use contract::UnixMillis;
use db::{DbError, Row, Statement, Tx, params, read_id};
use kit::audit::{self, AuditEntry};
use kit::idempotency::{Answer, Slot};
use serde_json::Value;

const SELECT: &str = "SELECT type, version, revision, category, description, payload_schema, example, created_at, updated_at \
                      FROM event_types";

/// What a list shows of a type.
#[derive(Clone, Debug)]
pub struct TypeSummary {
    /// What it is called.
    pub name: TypeName,
    /// How often it was changed, from 1.
    pub version: u64,
    /// What it is found by.
    pub category: Option<String>,
    /// What it means.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was last changed.
    pub updated_at: UnixMillis,
}

/// A new type, a type's next version, or its deletion, that is about to be committed.
#[derive(Clone, Debug)]
pub struct TypeWrite {
    /// The version before it; none when the type is new.
    pub before: Option<TypeDefinition>,
    /// What it becomes; none when it is deleted.
    pub after: Option<TypeDefinition>,
    /// When.
    pub at: UnixMillis,
    /// The request, for the audit entry.
    pub origin: Origin,
    /// Where a retry finds the answer.
    pub slot: Slot,
    /// What the client is answered.
    pub answer: Answer,
}

/// How writing a type ended. Only `Committed` wrote anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeWritten {
    /// It is committed.
    Committed,
    /// Another commit came first.
    Overtaken,
    /// There is a type of this name.
    Taken,
    /// There are [`TYPES_MAX`] types.
    TooMany,
}

impl Store {
    /// The type of a name, if it is registered.
    ///
    /// # Errors
    /// The database's.
    pub async fn event_type(&self, name: &TypeName) -> Result<Option<TypeDefinition>, DbError> {
        let name = name.clone();
        self.db
            .read("find_event_type", move |tx| {
                let name = name.clone();
                Box::pin(async move { find(tx, &name).await })
            })
            .await
    }

    /// All registered types, without their schemas and examples.
    ///
    /// # Errors
    /// The database's.
    pub async fn event_types(&self) -> Result<Vec<TypeSummary>, DbError> {
        let rows = self.lists.read("list_event_types", |tx| {
            Box::pin(async move {
                let sql =
                    "SELECT type, version, category, description, created_at, updated_at FROM event_types
                           ORDER BY type LIMIT ?";
                tx.query(sql, params![TYPES_MAX]).await
            })
        });
        rows.await?.iter().map(read_summary).collect()
    }

    /// Writes a new type, a type's next version or its deletion, guarded by the version before it, with its audit entry and the
    /// answer under its idempotency key.
    ///
    /// # Errors
    /// The database's; `Duplicate` when the idempotency key is taken.
    pub async fn write_event_type(&self, write: TypeWrite) -> Result<TypeWritten, DbError> {
        self.transaction(
            "write_event_type",
            write,
            |tx, write| Box::pin(commit(tx, write)),
            |tx, write| Box::pin(find_committed(tx, write)),
        )
        .await
    }
}

async fn find(tx: &mut Tx, name: &TypeName) -> Result<Option<TypeDefinition>, DbError> {
    let sql = format!("{SELECT} WHERE type = ?");
    let row = tx.query_one(&sql, params![name.as_str()]).await?;
    row.as_ref().map(read).transpose()
}

async fn commit(tx: &mut Tx, write: &TypeWrite) -> Result<TypeWritten, DbError> {
    let statements = match (&write.before, &write.after) {
        // The count first: who makes one waits there, and each counts those before it.
        (None, Some(after)) => vec![one_more(), insert(after)],
        (Some(before), Some(after)) => vec![update(before, after)],
        (Some(before), None) => vec![delete(before), one_less()],
        (None, None) => Vec::new(),
    };
    let audited = audit::statement(&write.audit_entry());
    let ran = write
        .slot
        .run(tx, &write.answer, statements.into_iter().chain(audited).collect())
        .await?;
    let ended = if ran.matched_none(0) && write.before.is_none() {
        TypeWritten::TooMany
    } else if ran.matched_none(0) {
        TypeWritten::Overtaken
    } else if ran.outcomes.len() == 1 && ran.error == Some(DbError::Duplicate) {
        TypeWritten::Taken
    } else {
        ran.all()?;
        return Ok(TypeWritten::Committed);
    };
    tx.abandon();
    Ok(ended)
}

/// After an unknown commit: whether what stands there is what would have been written.
async fn find_committed(tx: &mut Tx, write: &TypeWrite) -> Result<Option<TypeWritten>, DbError> {
    let Some(name) = write.name() else {
        return Ok(None);
    };
    let stored = find(tx, name).await?;
    Ok((stored == write.after).then_some(TypeWritten::Committed))
}

impl TypeWrite {
    fn name(&self) -> Option<&TypeName> {
        let one = self.after.as_ref().or(self.before.as_ref());
        one.map(|one| &one.name)
    }

    fn audit_entry(&self) -> Vec<AuditEntry> {
        let (action, changed) = match (&self.before, &self.after) {
            (Some(before), Some(after)) => (AuditAction::EventTypeUpdated, before.differences(after)),
            (None, _) => (AuditAction::EventTypeCreated, Vec::new()),
            (Some(_), None) => (AuditAction::EventTypeDeleted, Vec::new()),
        };
        let version = self
            .after
            .as_ref()
            .or(self.before.as_ref())
            .map(|one| one.version);
        vec![AuditEntry {
            entity_kind: Some("event_type".to_owned()),
            entity_id: self.name().map(ToString::to_string),
            entity_version: version.and_then(|version| i64::try_from(version).ok()),
            changed: changed.into_iter().map(str::to_owned).collect(),
            actor: Some(self.origin.actor.clone()),
            correlation_id: Some(self.origin.correlation_id.to_string()),
            request_id: Some(self.origin.request_id.to_string()),
            ..AuditEntry::new(action, self.at)
        }]
    }
}

fn one_more() -> Statement {
    let sql = "UPDATE event_type_count SET types = types + 1 WHERE id = 'all' AND types < ?";
    Statement::change(sql, params![TYPES_MAX])
}

fn one_less() -> Statement {
    let sql = "UPDATE event_type_count SET types = types - 1 WHERE id = 'all'";
    Statement::change(sql, params![])
}

fn insert(one: &TypeDefinition) -> Statement {
    Statement::change(
        "INSERT INTO event_types (type, version, revision, category, description, payload_schema, example, created_at,
             updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            one.name.as_str(),
            one.version,
            &one.revision,
            &one.category,
            &one.description,
            one.schema.as_ref().map(Value::to_string),
            one.example.as_ref().map(Value::to_string),
            one.created_at,
            one.updated_at
        ],
    )
}

/// Matches nothing unless what it was decided on stands there.
fn update(before: &TypeDefinition, one: &TypeDefinition) -> Statement {
    Statement::change(
        "UPDATE event_types SET version = ?, revision = ?, category = ?, description = ?, payload_schema = ?, example = ?,
             updated_at = ?
         WHERE type = ? AND revision = ?",
        params![
            one.version,
            &one.revision,
            &one.category,
            &one.description,
            one.schema.as_ref().map(Value::to_string),
            one.example.as_ref().map(Value::to_string),
            one.updated_at,
            one.name.as_str(),
            &before.revision
        ],
    )
}

fn delete(one: &TypeDefinition) -> Statement {
    Statement::change(
        "DELETE FROM event_types WHERE type = ? AND revision = ?",
        params![one.name.as_str(), &one.revision],
    )
}

fn read(row: &Row) -> Result<TypeDefinition, DbError> {
    let json = |column: &str| {
        let text: Option<String> = row.get(column)?;
        let read = text.map(|text| serde_json::from_str::<Value>(&text)).transpose();
        read.map_err(|_| DbError::unreadable(column))
    };
    Ok(TypeDefinition {
        name: read_id(row, "type")?,
        version: row.get("version")?,
        revision: row.get("revision")?,
        category: row.get("category")?,
        description: row.get("description")?,
        schema: json("payload_schema")?,
        example: json("example")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

fn read_summary(row: &Row) -> Result<TypeSummary, DbError> {
    Ok(TypeSummary {
        name: read_id(row, "type")?,
        version: row.get("version")?,
        category: row.get("category")?,
        description: row.get("description")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}
