//! What this machine can do at most: a flush, a durable commit alone and in a batch, a bare endpoint.
//!
//! Each is measured in the same way for the same time, with the drivers that the services use and none of their code.
//! A rate of a service means little without these beside it.

use super::generator::Pace;
use super::options::Options;
use super::service::Stage;
use super::session;
use anyhow::{Context, Result};
use harness::engine::{Engine, Servers};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use serde::Serialize;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long each is measured.
const EACH: Duration = Duration::from_secs(3);
/// What is appended before each flush.
const BLOCK: [u8; 4096] = [7; 4096];
/// Rows of a batch.
const BATCH_ROWS: u64 = 200;
/// The bytes of a row beside its key.
const ROW: [u8; 200] = [b'x'; 200];
/// Connections that commit at once, on an engine that has more than one writer.
const CONNECTIONS: usize = 32;
/// Connections that commit batches at once.
const BATCH_CONNECTIONS: usize = 8;
const TABLE: &str = "CREATE TABLE limits (id INTEGER NOT NULL PRIMARY KEY, body BLOB NOT NULL)";

/// One limit.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// What was done.
    pub what: String,
    /// How often in a second.
    pub per_second: f64,
}

/// All limits of this machine.
#[derive(Clone, Debug, Serialize)]
pub struct Limits(Vec<Limit>);

/// Measures everything; the engine that is not here is left out.
///
/// # Errors
/// When a file cannot be written, or a server fails.
pub async fn measure(options: &Options, stage: &Stage<'_>) -> Result<Limits> {
    let folder = tempfile::Builder::new().prefix("guestwire-load-").tempdir()?;
    let mut limits = vec![
        flushes(&folder.path().join("flushes"))?,
        sqlite(&folder.path().join("single.db"), 1)?,
        sqlite(&folder.path().join("batched.db"), BATCH_ROWS)?,
    ];
    if stage.servers.has_mysql() {
        for (connections, rows) in [
            (1, 1),
            (CONNECTIONS, 1),
            (1, BATCH_ROWS),
            (BATCH_CONNECTIONS, BATCH_ROWS),
        ] {
            limits.push(mysql(stage.servers, connections, rows).await?);
        }
    }
    let pool = session::sign(options.bodies, 10_000, &stage.secret)?;
    let load = session::load(options, Pace::Closed, EACH);
    let mut faults = Vec::new();
    let bare = session::bare(stage, &load, &pool, &mut faults).await?;
    anyhow::ensure!(faults.is_empty(), "{}", faults.join("; "));
    limits.push(Limit {
        what: format!(
            "requests to the bare endpoint over {} connections, bodies of {} bytes",
            load.connections,
            pool.body_bytes_mean()
        ),
        per_second: bare.rate,
    });
    Ok(Limits(limits))
}

fn flushes(path: &Path) -> Result<Limit> {
    let mut file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
    let per_second = repeat(|| {
        file.write_all(&BLOCK)?;
        Ok(file.sync_data()?)
    })?;
    Ok(Limit {
        what: "fdatasync of an appended block of 4 KiB".to_owned(),
        per_second,
    })
}

/// Commits of `rows` rows as the services' SQLite does them: WAL, flushed at every commit, one writer.
fn sqlite(path: &Path, rows: u64) -> Result<Limit> {
    let mut database = rusqlite::Connection::open(path)?;
    database.pragma_update(None, "journal_mode", "wal")?;
    database.pragma_update(None, "synchronous", "full")?;
    database.execute(TABLE, [])?;
    let mut next = 0_i64;
    let commits = repeat(|| {
        let transaction = database.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO limits (id, body) VALUES (?, ?)")?;
            for _ in 0..rows {
                next += 1;
                insert.execute(rusqlite::params![next, ROW])?;
            }
        }
        Ok(transaction.commit()?)
    })?;
    Ok(rows_of("SQLite", 1, rows, commits))
}

/// How often a step was done in a second.
fn repeat(mut step: impl FnMut() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    let mut done = 0.0;
    while begun.elapsed() < EACH {
        step()?;
        done += 1.0;
    }
    Ok(done / begun.elapsed().as_secs_f64())
}

/// Commits of `rows` rows on so many connections at once.
async fn mysql(servers: &Servers, connections: usize, rows: u64) -> Result<Limit> {
    let database = servers.fresh(Engine::Mysql, "limits").await?;
    let mut opened = Vec::new();
    for _ in 0..connections {
        opened.push(Conn::new(Opts::from_url(database.url())?).await?);
    }
    let first = opened.first_mut().context("at least one connection")?;
    first.query_drop(TABLE).await?;
    let places = vec!["(?, ?)"; usize::try_from(rows)?].join(", ");
    let sql = Arc::new(format!("INSERT INTO limits (id, body) VALUES {places}"));
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let writing: Vec<_> = opened
        .into_iter()
        .map(|conn| {
            tokio::spawn(insert(
                conn,
                Arc::clone(&sql),
                Arc::clone(&next),
                rows,
                begun + EACH,
            ))
        })
        .collect();
    let mut commits = 0.0;
    for writer in writing {
        commits += writer.await??;
    }
    let commits = commits / begun.elapsed().as_secs_f64();
    database.remove().await?;
    Ok(rows_of("MySQL or MariaDB", connections, rows, commits))
}

/// Inserts until the time is up; the answer is how many commits that were.
async fn insert(
    mut conn: Conn,
    sql: Arc<String>,
    next: Arc<AtomicU64>,
    rows: u64,
    until: Instant,
) -> Result<f64> {
    let statement = conn.prep(sql.as_str()).await?;
    let mut done = 0.0;
    while Instant::now() < until {
        let first = next.fetch_add(rows, Ordering::Relaxed);
        let ids = (first..first + rows).flat_map(|id| [id.into(), ROW.as_slice().into()]);
        conn.exec_drop(&statement, ids.collect::<Vec<mysql_async::Value>>())
            .await?;
        done += 1.0;
    }
    conn.disconnect().await?;
    Ok(done)
}

fn rows_of(engine: &str, connections: usize, rows: u64, commits: f64) -> Limit {
    let what = if rows == 1 {
        format!("durable commits of one row, {engine}, connections: {connections}")
    } else {
        format!("rows committed durably {rows} at a time, {engine}, connections: {connections}")
    };
    Limit {
        what,
        per_second: (commits * rows as f64).round(),
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for limit in &self.0 {
            writeln!(out, "{:>10.0}/s  {}", limit.per_second, limit.what)?;
        }
        Ok(())
    }
}
