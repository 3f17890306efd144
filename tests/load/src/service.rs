//! A service as a process of its own on a fresh database, and what can be counted in its tables from outside.

use anyhow::{Context, Result, ensure};
use db::{Db, DbSettings, Params, Row};
use harness::engine::{Engine, Servers, TestDatabase};
use harness::process::Process;
use harness::program::Program;
use kit::random::SystemEntropy;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// For everything that waits after the last answer.
const DRAINED_WITHIN: Duration = Duration::from_secs(180);
/// How often it is looked at meanwhile.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A count may take long on a busy machine.
const COUNT_WITHIN: Duration = Duration::from_secs(60);

/// What services are started from.
pub struct Stage<'s> {
    /// The file that is any of the services, by the name that it is called by.
    pub program: PathBuf,
    /// Where databases come from.
    pub servers: &'s Servers,
    /// The engine of every database.
    pub engine: Engine,
    /// What signs and verifies.
    pub secret: String,
    /// What the services log, as `LOG_LEVEL` has it.
    pub log_level: String,
}

/// A running service.
pub struct Service {
    process: Process,
    database: TestDatabase,
    counting: Db,
    // Its working folder.
    _folder: TempDir,
}

impl Service {
    /// Starts the service of that name on a fresh database, with these variables beside those that every one has.
    ///
    /// # Errors
    /// When there is no server of that engine, or it does not start.
    pub async fn start(stage: &Stage<'_>, name: &'static str, variables: &[(&str, String)]) -> Result<Self> {
        let database = stage.servers.fresh(stage.engine, "load").await?;
        let folder = tempfile::Builder::new().prefix("guestwire-load-").tempdir()?;
        let mut all = vec![
            ("DATABASE_URL", database.url().to_owned()),
            ("LOG_LEVEL", stage.log_level.clone()),
            ("APP_PORT", "0".to_owned()),
        ];
        all.extend(variables.iter().cloned());
        let process = Process::start(&Program::new(&stage.program, name), folder.path(), &all).await?;
        let settings = DbSettings {
            exclusive: false,
            connections: 1,
            readers: 1,
            answer_within: COUNT_WITHIN,
            abort_after: COUNT_WITHIN,
            ..DbSettings::default()
        };
        Ok(Self {
            process,
            counting: Db::open(&database.parsed(), &settings, Arc::new(SystemEntropy)).await?,
            database,
            _folder: folder,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it has ended.
    pub fn process(&self) -> Result<u32> {
        self.process.id()
    }

    /// The rows of a query on its database.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn rows(&self, sql: &'static str, params: Params) -> Result<Vec<Row>> {
        let rows = self.counting.read("load_look", move |tx| {
            let params = params.clone();
            Box::pin(tx.query(sql, params))
        });
        Ok(rows.await?)
    }

    /// The one number that a query answers, as `n`.
    ///
    /// # Errors
    /// When the database cannot be read, or it answers no number.
    pub async fn count(&self, sql: &'static str) -> Result<u64> {
        let rows = self.rows(sql, vec![]).await?;
        let count: i64 = rows.first().context("a count is one row")?.get("n")?;
        Ok(u64::try_from(count)?)
    }

    /// What `sql` counts now, and how long it takes until that is nothing.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn drain(&self, sql: &'static str) -> Result<(u64, Duration)> {
        let begun = Instant::now();
        let backlog = self.count(sql).await?;
        let mut left = backlog;
        while left > 0 {
            ensure!(
                begun.elapsed() < DRAINED_WITHIN,
                "{left} still wait after {DRAINED_WITHIN:?}"
            );
            sleep(LOOK_EVERY).await;
            left = self.count(sql).await?;
        }
        Ok((backlog, begun.elapsed()))
    }

    /// Kills it and removes its database.
    ///
    /// # Errors
    /// When the system or the server refuses.
    pub async fn end(self) -> Result<()> {
        self.process.kill().await?;
        self.counting.close().await;
        self.database.remove().await
    }
}
