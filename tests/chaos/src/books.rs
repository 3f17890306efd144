//! What the two databases hold, read by plain SQL over drivers of the tests' own: nothing of the services' code.

use super::contents::Contents;
use super::history::{Entity, Kind};
use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use rusqlite::types::ValueRef;
use std::collections::HashMap;

/// The name under which the receiver knows the emitter.
const SOURCE: &str = "pms";

/// Everything that the ledger asks of both databases.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// The emitter's log, by event id.
    pub events: HashMap<String, Event>,
    /// The status of each delivery, by event id.
    pub deliveries: HashMap<String, String>,
    /// How many `delivered` audit entries each event has.
    pub delivered_entries: HashMap<String, u64>,
    /// The receiver's inbox, by its own event id.
    pub inbox: HashMap<String, Received>,
    /// The receiver's effects, in the order in which they were written.
    pub effects: Vec<Effect>,
    /// The version at which each record stands.
    pub records: HashMap<Entity, u64>,
    /// What the records and profiles say, and should say.
    pub contents: Contents,
}

/// An event of the emitter's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub entity: Entity,
    /// Which version it made.
    pub version: u64,
}

/// A row of the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The emitter's event id.
    pub key: String,
    /// What became of it.
    pub status: String,
}

/// An audit entry of the receiver that says what became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The receiver's own event id.
    pub event_id: String,
    /// `applied`, or `stale`.
    pub action: String,
    /// What it is about.
    pub entity: Entity,
    /// Which version it told of.
    pub version: u64,
}

/// One database.
pub enum Database {
    /// A file.
    Sqlite(rusqlite::Connection),
    /// A server's.
    Mysql(Box<Conn>),
}

/// A row's values as text; None is NULL.
pub type Row = Vec<Option<String>>;

impl Database {
    /// Opens it by its `DATABASE_URL`.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn open(url: &str) -> Result<Self> {
        match url.strip_prefix("sqlite://") {
            Some(path) => Ok(Self::Sqlite(rusqlite::Connection::open(path)?)),
            None => Ok(Self::Mysql(Box::new(Conn::new(Opts::from_url(url)?).await?))),
        }
    }

    /// The rows of a query, every value as text, each given to `each`.
    ///
    /// # Errors
    /// Those of the database, and of `each`.
    pub async fn each(&mut self, sql: &str, mut each: impl FnMut(Row) -> Result<()>) -> Result<()> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare(sql)?;
                let columns = statement.column_count();
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let values = (0..columns).map(|column| Ok(of_sqlite(row.get_ref(column)?)));
                    each(values.collect::<rusqlite::Result<_>>()?)?;
                }
            }
            Self::Mysql(conn) => {
                let mut rows = conn.query_iter(sql).await?;
                while let Some(row) = rows.next().await? {
                    each(row.unwrap().into_iter().map(of_mysql).collect())?;
                }
            }
        }
        Ok(())
    }

    /// The number that a query answers.
    ///
    /// # Errors
    /// Those of the database, or when there is none.
    pub async fn count(&mut self, sql: &str) -> Result<u64> {
        let mut count = None;
        let read = |row: Row| {
            count = row.into_iter().next().flatten();
            Ok(())
        };
        self.each(sql, read).await?;
        Ok(count.context("no row")?.parse()?)
    }

    /// Runs a statement: for tests that plant a fault into real books.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn execute(&mut self, sql: &str) -> Result<()> {
        match self {
            Self::Sqlite(connection) => connection.execute_batch(sql)?,
            Self::Mysql(conn) => conn.query_drop(sql).await?,
        }
        Ok(())
    }
}

impl Books {
    /// Reads both.
    ///
    /// # Errors
    /// When one cannot be read, or holds what was never written.
    pub async fn read(emitter: &mut Database, receiver: &mut Database) -> Result<Self> {
        let mut books = Self::default();
        books.read_emitter(emitter).await?;
        books.read_receiver(receiver).await?;
        books.contents = Contents::read(emitter, receiver).await?;
        Ok(books)
    }

    async fn read_emitter(&mut self, emitter: &mut Database) -> Result<()> {
        let log = "SELECT entity_kind, entity_id, entity_version, id FROM events";
        let note = |row: Row| {
            let (entity, version, [id]) = about(row)?;
            self.events.insert(id, Event { entity, version });
            Ok(())
        };
        emitter.each(log, note).await?;
        let note = |row: Row| {
            let [event, status] = texts(row)?;
            self.deliveries.insert(event, status);
            Ok(())
        };
        emitter
            .each("SELECT event_id, status FROM deliveries", note)
            .await?;
        let note = |row: Row| {
            let [event] = texts(row)?;
            *self.delivered_entries.entry(event).or_default() += 1;
            Ok(())
        };
        let entries = "SELECT event_id FROM audit_entries WHERE action = 'delivered'";
        emitter.each(entries, note).await
    }

    async fn read_receiver(&mut self, receiver: &mut Database) -> Result<()> {
        let inbox =
            format!("SELECT event_id, idempotency_key, status FROM inbox WHERE source_id = '{SOURCE}'");
        let note = |row: Row| {
            let [event, key, status] = texts(row)?;
            self.inbox.insert(event, Received { key, status });
            Ok(())
        };
        receiver.each(&inbox, note).await?;
        let effects = "SELECT entity_kind, entity_id, entity_version, event_id, action FROM audit_entries
             WHERE action IN ('applied', 'stale') ORDER BY id";
        let note = |row: Row| {
            let (entity, version, [event_id, action]) = about(row)?;
            self.effects.push(Effect {
                event_id,
                action,
                entity,
                version,
            });
            Ok(())
        };
        receiver.each(effects, note).await?;
        let records = format!(
            "SELECT kind, entity_id, version FROM records WHERE version > 0 AND source_id = '{SOURCE}'"
        );
        let note = |row: Row| {
            let (entity, version, []) = about(row)?;
            self.records.insert(entity, version);
            Ok(())
        };
        receiver.each(&records, note).await
    }
}

/// How much waits: deliveries, and then events, since a delivered event is in the inbox before it stops to wait as a
/// delivery.
///
/// # Errors
/// When one of the databases cannot be asked.
pub async fn waiting(emitter: &mut Database, receiver: &mut Database) -> Result<(u64, u64)> {
    let deliveries = "SELECT COUNT(*) FROM deliveries WHERE status = 'pending'";
    let events = "SELECT COUNT(*) FROM inbox WHERE status = 'accepted'";
    Ok((emitter.count(deliveries).await?, receiver.count(events).await?))
}

pub(super) fn texts<const N: usize>(row: Row) -> Result<[String; N]> {
    let values: Option<Vec<String>> = row.into_iter().collect();
    let values = values.context("a NULL")?;
    values.try_into().ok().context("another number of columns")
}

/// A row that begins with kind, id and version of an entity.
pub(super) fn about<const N: usize>(mut row: Row) -> Result<(Entity, u64, [String; N])> {
    let rest = texts(row.split_off(3))?;
    let [kind, id, version] = texts(row)?;
    let kind = Kind::named(&kind).context("an entity of another kind")?;
    Ok((Entity { kind, id }, version.parse()?, rest))
}

fn of_sqlite(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => Some(String::from_utf8_lossy(text).into_owned()),
    }
}

fn of_mysql(value: mysql_async::Value) -> Option<String> {
    match value {
        mysql_async::Value::NULL => None,
        mysql_async::Value::Bytes(text) => Some(String::from_utf8_lossy(&text).into_owned()),
        mysql_async::Value::Int(number) => Some(number.to_string()),
        mysql_async::Value::UInt(number) => Some(number.to_string()),
        other => Some(other.as_sql(true)),
    }
}
