//! The databases of the services, read by plain SQL over drivers of the tests' own: nothing of the services' code.

use crate::waiting::Looks;
use anyhow::{Context, Result, ensure};
use futures::future::BoxFuture;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use rusqlite::types::ValueRef;
use std::time::Duration;
use tokio::time::Instant;

/// Counts the deliveries that are still to be made: also events that are not queued yet, and endpoints that are still to be queued
/// some. It is one statement, since an event that is queued meanwhile would else be in neither count.
pub const DELIVERIES_PENDING: &str = "SELECT (SELECT COUNT(*) FROM deliveries WHERE status = 'pending')
         + (SELECT COUNT(*) FROM events WHERE feed_seq IS NULL)
         + (SELECT COUNT(*) FROM endpoints WHERE subscribed = 1 AND backfill_seq IS NOT NULL) AS n";
/// Counts the events that are still to be applied.
pub const EVENTS_ACCEPTED: &str = "SELECT COUNT(*) AS n FROM inbox WHERE status = 'accepted'";
/// What is still pending after that is stuck.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// A look is not bound by what a case has the server do to its sessions.
const NO_LIMITS: &str =
    "SET SESSION sql_big_selects = 1, sql_select_limit = 18446744073709551615, autocommit = 1";
/// Too many connections, altogether or of one user: those of a service that has just ended may still be counted.
const TOO_MANY: [u16; 3] = [1040, 1203, 1226];
/// How long that may last.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

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
    pub fn open(url: &str) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async move {
            match url.strip_prefix("sqlite://") {
                Some(path) => Ok(Self::Sqlite(rusqlite::Connection::open(path)?)),
                None => {
                    let mut conn = connect(url).await?;
                    conn.query_drop(NO_LIMITS).await?;
                    Ok(Self::Mysql(Box::new(conn)))
                }
            }
        })
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

    /// All rows of a query.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let keep = |row| {
            rows.push(row);
            Ok(())
        };
        self.each(sql, keep).await?;
        Ok(rows)
    }

    /// Looks again and again until `count`, a query for one number, answers 0, or `within` is over; answers the last number.
    ///
    /// # Errors
    /// Those of the database.
    pub fn drained<'a>(&'a mut self, count: &'a str, within: Duration) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let looks = Looks::within(within);
            loop {
                let left = self.count(count).await?;
                if left == 0 || !looks.go_on().await {
                    return Ok(left);
                }
            }
        })
    }

    /// Runs a statement, and answers how many rows it wrote: for tests that plant a fault into real books.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn execute(&mut self, sql: &str) -> Result<u64> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute(sql, [])? as u64),
            Self::Mysql(conn) => {
                conn.query_drop(sql).await?;
                Ok(conn.affected_rows())
            }
        }
    }
}

async fn connect(url: &str) -> Result<Conn> {
    let opts = Opts::from_url(url)?;
    let looks = Looks::within(CONNECTED_WITHIN);
    loop {
        match Conn::new(opts.clone()).await {
            Err(mysql_async::Error::Server(error))
                if TOO_MANY.contains(&error.code) && looks.go_on().await => {}
            connected => return Ok(connected?),
        }
    }
}

/// The databases of both services.
pub struct Databases {
    /// The emitter's.
    pub emitter: Database,
    /// The receiver's.
    pub receiver: Database,
}

/// What still waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Deliveries that are still to be made.
    pub deliveries: u64,
    /// Events that are still to be applied.
    pub events: u64,
}

impl Databases {
    /// Opens both by their `DATABASE_URL`.
    ///
    /// # Errors
    /// When one cannot be reached.
    pub async fn open(emitter: &str, receiver: &str) -> Result<Self> {
        Ok(Self {
            emitter: Database::open(emitter).await?,
            receiver: Database::open(receiver).await?,
        })
    }

    /// What waits now. The deliveries are counted first: a delivered event is in the inbox before it stops being a pending
    /// delivery.
    ///
    /// # Errors
    /// When one of the databases cannot be asked.
    pub fn waiting(&mut self) -> BoxFuture<'_, Result<Waiting>> {
        Box::pin(async {
            Ok(Waiting {
                deliveries: self.emitter.count(DELIVERIES_PENDING).await?,
                events: self.receiver.count(EVENTS_ACCEPTED).await?,
            })
        })
    }

    /// Waits until nothing waits, or `within` is over, and answers what waited at the last look.
    ///
    /// # Errors
    /// When one of the databases cannot be asked.
    pub async fn settle(&mut self, within: Duration) -> Result<Waiting> {
        let deadline = Instant::now() + within;
        let deliveries = self.emitter.drained(DELIVERIES_PENDING, within).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let events = self.receiver.drained(EVENTS_ACCEPTED, left).await?;
        Ok(Waiting { deliveries, events })
    }

    /// Waits until nothing waits any more.
    ///
    /// # Errors
    /// When something still waits after `within`.
    pub async fn settled(&mut self, within: Duration) -> Result<()> {
        let waiting = self.settle(within).await?;
        ensure!(
            waiting.is_nothing(),
            "still waiting after {within:?}: {waiting:?}"
        );
        Ok(())
    }
}

impl Waiting {
    /// Whether everything had its effect.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
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
