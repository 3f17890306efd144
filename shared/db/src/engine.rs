//! Running operations: on SQLite by dedicated threads, one of which writes; on MySQL each in a task of its own. A
//! transaction that lost to a concurrent one runs again from its start.

pub(crate) mod job;
pub(crate) mod mysql;
pub(crate) mod retry;
pub(crate) mod sqlite;
pub(crate) mod sqlite_writer;
