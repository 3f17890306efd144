//! One SQL text on two engines: the only way to the database, for every store.
//!
//! A store method is one [`Db::transaction`]: a closure that can run again from its start and awaits nothing but its
//! [`Tx`]. On SQLite it runs on the one writer thread and shares its flush with what else is waiting; on MySQL in a task
//! of its own. Either way a caller that goes away, or whose deadline passes, cannot cut it. Statements that need no answer of
//! each other go together, as a `batch`: on MySQL each alone is a round trip. Below: `fault` says what an
//! error means, `retry` how often the whole of it runs again, `migrate` keeps the schema.

mod batch;
mod counts;
mod database;
mod dialect;
mod error;
mod fault;
mod job;
mod migrate;
mod mysql;
mod mysql_lease;
mod mysql_pool;
mod mysql_room;
mod mysql_session;
mod mysql_statement;
mod mysql_text;
mod prefix;
mod retry;
mod row;
mod settings;
mod share;
mod sqlite;
mod sqlite_connection;
mod sqlite_writer;
mod tls;
mod tx;
mod url;
mod value;

pub use self::batch::{Outcome, Ran, Statement};
pub use self::counts::Counts;
pub use self::database::Db;
pub use self::dialect::{Dialect, placeholders};
pub use self::error::DbError;
pub use self::migrate::{MigrateError, Migration, MigrationSet, migrate};
pub use self::prefix::begins_with_any;
pub use self::row::Row;
pub use self::settings::{DbSettings, SILENCE_MAX};
pub use self::tls::{InvalidTlsMode, Tls, TlsError, TlsMode};
pub use self::tx::Tx;
pub use self::url::{DatabaseUrl, DatabaseUrlError};
pub use self::value::{FromValue, Params, Value};
pub use crate::params;

/// Where MySQL and MariaDB listen.
pub const MYSQL_PORT: u16 = 3306;
