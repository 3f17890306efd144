//! Running operations: on SQLite by threads of their own, one of which writes; on MySQL each in a task of its own. What
//! lost a race runs again from its start.

pub(crate) mod job;
pub(crate) mod mysql;
pub(crate) mod retry;
pub(crate) mod sqlite;
pub(crate) mod sqlite_writer;
