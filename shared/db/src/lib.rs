//! One SQL text on two engines: the only way to the database, for every store.
//!
//! A store method is one [`Db::transaction`]: a closure that can run again from its start and awaits nothing but its
//! [`Tx`]. On SQLite it runs on the one writer thread and shares its flush with other waiting transactions (group
//! commit); on MySQL in a task of its own. Either way a caller that goes away, or whose deadline passes, does not
//! cancel it. Statements that do not need each other's results go together, as a `batch`: on MySQL each alone costs a
//! round trip. Below: `fault` says what an error means, `retry` how often the whole of it runs again, `migrate` keeps
//! the schema.

mod batch;
mod closure;
mod concurrency_limit;
mod counts;
mod database;
mod dialect;
mod engine;
mod error;
pub mod failpoint;
mod fault;
pub mod files;
pub mod leases;
mod lists;
mod migrate;
mod mysql;
mod row;
mod settings;
mod sqlite_connection;
mod tls;
mod tx;
mod url;
mod value;

pub use self::url::{DatabaseUrl, DatabaseUrlError};
pub use batch::{BatchResult, Statement, StatementResult};
pub use counts::Counts;
pub use database::Db;
pub use dialect::{Dialect, placeholders};
pub use error::DbError;
pub use lists::{IN_LIST_MAX, InList, in_lists, read_id, read_ids, read_optional_id};
pub use migrate::{MigrateError, Migration, MigrationSet, migrate};
pub use row::Row;
pub use settings::{DbSettings, SILENCE_MAX};
pub use tls::{InvalidTlsMode, Tls, TlsError, TlsMode};
pub use tx::Tx;
pub use value::{FromValue, Params, Value};

/// Where MySQL and MariaDB listen.
pub const MYSQL_PORT: u16 = 3306;
