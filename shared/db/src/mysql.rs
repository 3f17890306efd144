//! Connections to a MySQL server and the statements that run on them, without knowledge of transactions.

pub(crate) mod lease;
mod permits;
pub(crate) mod pool;
pub(crate) mod session;
pub(crate) mod statement;
pub(crate) mod text;
