//! One connection to the SQLite file: how it is set up, its statements, and the deadline of what runs on it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, params_from_iter};
use tokio::time::Instant;

use super::Row;
use super::fault::Fault;
use super::value::Value;

/// How long a statement waits for another process's lock before the transaction is run again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Prepared statements kept by each connection.
const STATEMENTS: usize = 256;
/// Pages in the WAL at which a commit moves them into the file: 16 MiB. A page that is written often is moved once; the
/// commit that triggers this waits for all pages.
const WAL_PAGES: u32 = 4_000;
/// KiB of pages that the writer keeps in memory.
const WRITER_CACHE_KIB: i64 = 24 * 1024;
/// Bytes to which the WAL file is truncated after that.
const WAL_BYTES: u32 = 64 * 1024 * 1024;
/// Steps of SQLite's virtual machine between two checks of the deadline.
const STEPS_PER_LOOK: i32 = 20_000;

/// Makes connections to the file.
#[derive(Clone)]
pub(super) struct Opener {
    pub path: PathBuf,
}

impl Opener {
    pub fn connect(&self, writes: bool) -> Result<Connected, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            // The path was resolved already: a link in it was put there since.
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | if writes {
                OpenFlags::SQLITE_OPEN_CREATE
            } else {
                OpenFlags::empty()
            };
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // A statement is planned once, not again for each value that is bound: none of ours depends on them.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
        connection.pragma_update(None, "query_only", !writes)?;
        if writes {
            // Negative: KiB, not pages.
            connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        }
        let deadline = Arc::new(Mutex::new(None::<Instant>));
        let seen = deadline.clone();
        let overdue = move || {
            let deadline = *seen.lock().unwrap_or_else(PoisonError::into_inner);
            deadline.is_some_and(|deadline| Instant::now() > deadline)
        };
        connection.progress_handler(STEPS_PER_LOOK, Some(overdue))?;
        Ok(Connected { connection, deadline })
    }
}

/// One connection and the deadline of what runs on it.
pub(super) struct Connected {
    connection: Connection,
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl Connected {
    /// A statement that is still running then is interrupted.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    /// Whether no transaction is open: SQLite ends one by itself on some errors.
    pub fn is_outside(&self) -> bool {
        self.connection.is_autocommit()
    }

    pub fn execute(&self, sql: &str, params: &[Value]) -> Result<u64, Fault> {
        refuse_too_large(params)?;
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.execute(params_from_iter(params))? as u64)
    }

    pub fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, Fault> {
        refuse_too_large(params)?;
        let mut statement = self.connection.prepare_cached(sql)?;
        let columns: Arc<[String]> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query(params_from_iter(params))?;
        let mut answer = Vec::new();
        while let Some(row) = rows.next()? {
            let values = (0..columns.len()).map(|place| Ok(row.get_ref(place)?.into()));
            let values = values.collect::<rusqlite::Result<_>>()?;
            answer.push(Row {
                columns: columns.clone(),
                values,
            });
        }
        Ok(answer)
    }

    pub fn define(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.connection.execute_batch(sql)?)
    }

    /// Moves the whole WAL into the file and cuts it to nothing.
    pub fn checkpoint(&self) {
        let done = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = done {
            tracing::warn!(error = %Fault::from(error).error, "the write-ahead log was not emptied");
        }
    }
}

fn refuse_too_large(params: &[Value]) -> Result<(), Fault> {
    if params.contains(&Value::TooLarge) {
        return Err(Fault::statement(0, "a number over i64::MAX"));
    }
    Ok(())
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null | Self::TooLarge => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(content: ValueRef<'_>) -> Self {
        match content {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Int(number),
            // No column of ours holds one; as text, reading it as a number is refused.
            ValueRef::Real(number) => Self::Text(number.to_string()),
            ValueRef::Text(text) => match String::from_utf8(text.to_vec()) {
                Ok(text) => Self::Text(text),
                Err(error) => Self::Bytes(error.into_bytes()),
            },
            ValueRef::Blob(bytes) => Self::Bytes(bytes.to_vec()),
        }
    }
}
