//! A service as a process of its own on a fresh database, and what can be counted in its tables from outside.

use anyhow::{Result, ensure};
use harness::client::Client;
use harness::config::{BASE_PATH, MASTER_KEY};
use harness::database::{Database, Row};
use harness::engine::{Engine, Servers, TestDatabase};
use harness::process::Process;
use harness::program::Program;
use harness::waiting::LOOK_EVERY;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// For everything that waits after the last answer.
const DRAINED_WITHIN: Duration = Duration::from_secs(600);
/// Between two looks so many times as long as the last one took: many rows are long to count, for the very database that is
/// measured.
const PAUSES_PER_LOOK: u32 = 20;

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
    program: Program,
    variables: Vec<(&'static str, String)>,
    database: TestDatabase,
    counting: Mutex<Database>,
    // Its working folder.
    folder: TempDir,
}

impl Service {
    /// Starts the service of that name on a fresh database, with these variables beside those that every one has.
    ///
    /// # Errors
    /// When there is no server of that engine, or it does not start.
    pub async fn start(
        stage: &Stage<'_>,
        name: &'static str,
        variables: &[(&'static str, String)],
    ) -> Result<Self> {
        let database = stage.servers.fresh(stage.engine, "load").await?;
        let folder = tempfile::Builder::new().prefix("guestwire-load-").tempdir()?;
        let mut all = vec![
            ("DATABASE_URL", database.url().to_owned()),
            ("LOG_LEVEL", stage.log_level.clone()),
            ("APP_PORT", "0".to_owned()),
            ("MASTER_KEY", MASTER_KEY.to_owned()),
        ];
        all.extend(variables.iter().cloned());
        let program = Program::new(&stage.program, name);
        let process = Process::start(&program, folder.path(), &all).await?;
        Ok(Self {
            process,
            program,
            variables: all,
            counting: Mutex::new(Database::open(database.url()).await?),
            database,
            folder,
        })
    }

    /// Stops it, and starts it again on the same database.
    ///
    /// # Errors
    /// When it does not stop or start.
    pub async fn restarted(self) -> Result<Self> {
        let Self {
            process,
            program,
            variables,
            database,
            counting,
            folder,
        } = self;
        process.stop().await?;
        Ok(Self {
            process: Process::start(&program, folder.path(), &variables).await?,
            program,
            variables,
            database,
            counting,
            folder,
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
    pub async fn rows(&self, sql: &str) -> Result<Vec<Row>> {
        self.counting.lock().await.rows(sql).await
    }

    /// The one number that a query answers.
    ///
    /// # Errors
    /// When the database cannot be read, or it answers no number.
    pub async fn count(&self, sql: &str) -> Result<u64> {
        self.counting.lock().await.count(sql).await
    }

    /// Runs a statement on its database, and answers how many rows it wrote.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn execute(&self, sql: &str) -> Result<u64> {
        self.counting.lock().await.execute(sql).await
    }

    /// A client of its API.
    pub fn client(&self) -> Client {
        Client::new(format!("http://{}{BASE_PATH}", self.address()))
    }

    /// What `sql` counts now, and how long it takes until that is nothing.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn drain(&self, sql: &str) -> Result<(u64, Duration)> {
        self.drain_within(sql, DRAINED_WITHIN).await
    }

    /// The same with a bound of the caller's.
    ///
    /// # Errors
    /// As `drain`.
    pub async fn drain_within(&self, sql: &str, within: Duration) -> Result<(u64, Duration)> {
        let begun = Instant::now();
        let mut counting = self.counting.lock().await;
        let backlog = counting.count(sql).await?;
        let (mut left, mut took) = (backlog, begun.elapsed());
        while left > 0 {
            ensure!(begun.elapsed() < within, "{left} still wait after {within:?}");
            sleep(LOOK_EVERY.max(took * PAUSES_PER_LOOK)).await;
            let look = Instant::now();
            left = counting.count(sql).await?;
            took = look.elapsed();
        }
        Ok((backlog, begun.elapsed()))
    }

    /// Kills it and removes its database.
    ///
    /// # Errors
    /// When the system or the server refuses.
    pub async fn end(self) -> Result<()> {
        self.process.kill().await?;
        drop(self.counting);
        self.database.remove().await
    }
}
