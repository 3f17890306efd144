//! Rows that stand in a receiver's tables before a measurement, written by SQL: events as they were left long ago.
//!
//! Their bodies are those of a load, so that each can be projected. All events of one planting have one time of receipt, which
//! finds them again, and their ids are of that time.

use super::lives::BodyStyle;
use super::pool::{Batch, Pool};
use super::service::{Service, Stage};
use super::template::SOURCE;
use anyhow::{Context, Result};
use contract::{SecretList, UnixMillis};
use serde_json::Value;
use std::fmt::Write;

/// Events that are made at once.
const SLICE: u64 = 20_000;
/// Rows of one statement.
const ROWS: u64 = 200;
/// Stand for a fingerprint and its salt: nobody sends these events again.
const FINGERPRINT: &str = "X'0000000000000000000000000000000000000000000000000000000000000000'";
const SALT: &str = "X'00000000000000000000000000000000'";

/// What is planted.
#[derive(Clone, Copy, Debug)]
pub struct Planting {
    /// When all of them were received.
    pub received_at: UnixMillis,
    /// How many.
    pub events: u64,
    /// Their status, which was decided.
    pub status: &'static str,
}

impl Planting {
    /// Writes the rows.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn write(self, receiver: &Service, stage: &Stage<'_>, style: BodyStyle) -> Result<()> {
        let secrets: SecretList = stage.secret.parse()?;
        for first in (0..self.events).step_by(usize::try_from(SLICE)?) {
            let batch = Batch {
                run: self.received_at,
                first,
                events: SLICE.min(self.events - first),
                style,
                source: SOURCE.to_owned(),
            };
            let pool = Pool::sign(&batch, self.received_at, &secrets)?;
            for from in (0..pool.len()).step_by(usize::try_from(ROWS)?) {
                let bodies: Vec<&[u8]> = (from..pool.len().min(from + ROWS))
                    .map(|number| pool.body(number))
                    .collect();
                receiver.execute(&self.events_of(&bodies)?).await?;
                receiver.execute(&bodies_of(&bodies)?).await?;
            }
        }
        Ok(())
    }

    fn events_of(self, bodies: &[&[u8]]) -> Result<String> {
        let mut sql =
            "INSERT INTO inbox (event_id, source_id, idempotency_key, fingerprint, salt, status, type, \
                       schema_version, property_id, entity_kind, entity_id, entity_version, correlation_id, \
                       occurred_at, received_at, applied_at, attempts, last_error, due_at) VALUES "
                .to_owned();
        let at = self.received_at.0;
        for (number, body) in bodies.iter().enumerate() {
            let event: Value = serde_json::from_slice(body)?;
            let id = text(&event["idempotency_key"]);
            let entity = &event["entity"];
            let separator = if number == 0 { "" } else { ", " };
            write!(
                sql,
                "{separator}({id}, '{SOURCE}', {id}, {FINGERPRINT}, {SALT}, '{}', {}, {}, {}, {}, {}, {}, {}, {at}, {at}, \
                 {at}, 0, NULL, {at})",
                self.status,
                text(&event["type"]),
                event["schema_version"],
                text(&event["property_id"]),
                text(&entity["kind"]),
                text(&entity["id"]),
                entity["version"],
                match text(&event["correlation_id"]) {
                    none if none == NULL => id.clone(),
                    some => some,
                },
            )?;
        }
        Ok(sql)
    }
}

const NULL: &str = "NULL";

fn bodies_of(bodies: &[&[u8]]) -> Result<String> {
    let mut sql = "INSERT INTO inbox_bodies (event_id, body) VALUES ".to_owned();
    for (number, body) in bodies.iter().enumerate() {
        let event: Value = serde_json::from_slice(body).context("a body that we wrote")?;
        let separator = if number == 0 { "" } else { ", " };
        write!(sql, "{separator}({}, X'", text(&event["idempotency_key"]))?;
        for byte in *body {
            write!(sql, "{byte:02x}")?;
        }
        sql.push_str("')");
    }
    Ok(sql)
}

/// A text of JSON as SQL has it, and NULL for what is none.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(
        || NULL.to_owned(),
        |text| format!("'{}'", text.replace('\'', "''")),
    )
}
