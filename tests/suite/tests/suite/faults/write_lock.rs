//! Holds every write to the inbox back, as another program at the same database would.

use harness::engine::Engine;
use mysql_async::{Conn, Opts, prelude::Queryable};

use crate::case::Ctx;

/// Nobody else writes to the inbox until it ends.
pub enum WriteLock {
    Sqlite(rusqlite::Connection),
    Mysql(Conn),
}

impl WriteLock {
    /// Waits for anyone who writes now, and holds back all who come after.
    pub async fn on_inbox(ctx: &Ctx) -> Self {
        match ctx.engine {
            Engine::Sqlite => {
                let file = rusqlite::Connection::open(ctx.database.file().unwrap()).unwrap();
                file.execute_batch("BEGIN IMMEDIATE").unwrap();
                Self::Sqlite(file)
            }
            Engine::Mysql => {
                let opts = Opts::from_url(ctx.database.url()).unwrap();
                let mut conn = Conn::new(opts).await.unwrap();
                conn.query_drop("LOCK TABLES inbox WRITE").await.unwrap();
                Self::Mysql(conn)
            }
        }
    }

    /// Lets them go on.
    pub async fn end(self) {
        match self {
            Self::Sqlite(file) => file.execute_batch("ROLLBACK").unwrap(),
            Self::Mysql(conn) => conn.disconnect().await.unwrap(),
        }
    }
}
