//! The table `source_counts`: what became of each source's deliveries, by hour and cause; and when each source was last seen.
//!
//! Both are counted in memory and written every few seconds. A row is of a source that there is, and of a cause from our own
//! lists, so who sends makes no more rows than one for each cause and hour.

use super::{CountKind, PeriodCount, Store};
use contract::{SourceId, UnixMillis};
use db::{DbError, Params, Statement, Tx, params, read_id};
use std::sync::Arc;

/// How long counts are kept, which is also the longest period of a report.
pub const COUNT_DAYS_KEPT: u32 = 30;
/// Milliseconds in an hour.
pub const HOUR_MILLIS: i64 = 3_600_000;

/// What a process has counted of one source since it last wrote.
#[derive(Clone, Debug)]
pub struct SourceTally {
    /// Whose.
    pub source: SourceId,
    /// When something authentic last came, if that is not written yet.
    pub seen_at: Option<UnixMillis>,
    /// By hour and cause.
    pub counts: Vec<PeriodCount>,
}

/// So many of one kind and cause in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourCount {
    /// The beginning of the hour.
    pub hour: UnixMillis,
    /// [`CountKind`], as it is spelled.
    pub kind: String,
    /// Why.
    pub cause: String,
    /// How many.
    pub number: u64,
}

impl From<PeriodCount> for HourCount {
    fn from(count: PeriodCount) -> Self {
        Self {
            hour: count.since,
            kind: count.kind.into_str().to_owned(),
            cause: count.cause.to_owned(),
            number: count.number,
        }
    }
}

/// How long a source may be silent, and since when it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The source.
    pub source: SourceId,
    /// Nothing authentic for longer makes it silent.
    pub silent_after_seconds: u32,
    /// When something authentic last came, or when the source was made.
    pub since: UnixMillis,
}

impl Sighting {
    /// Whether it is silent.
    pub fn is_silent(&self, now: UnixMillis) -> bool {
        now.0 - self.since.0 > i64::from(self.silent_after_seconds) * 1_000
    }
}

/// The beginning of the hour.
pub fn hour_of(at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0 - at.0.rem_euclid(HOUR_MILLIS))
}

impl Store {
    /// Adds what this process has counted, of sources in the order of their ids.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add_source_counts(&self, tallies: Arc<[SourceTally]>) -> Result<(), DbError> {
        self.db
            .transaction("add_source_counts", move |tx| {
                let tallies = Arc::clone(&tallies);
                Box::pin(async move { add(tx, &tallies).await })
            })
            .await
    }

    /// Removes the counts of one hour before this one, the oldest; false when there are none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn drop_source_counts(&self, oldest: UnixMillis) -> Result<bool, DbError> {
        self.db
            .transaction("drop_source_counts", move |tx| {
                Box::pin(async move {
                    let sql = "SELECT hour FROM source_counts WHERE hour < ? ORDER BY hour LIMIT 1";
                    let Some(row) = tx.query_one(sql, params![oldest]).await? else {
                        return Ok(false);
                    };
                    let hour: UnixMillis = row.get("hour")?;
                    let sql = "DELETE FROM source_counts WHERE hour = ?";
                    tx.execute(sql, params![hour]).await?;
                    Ok(true)
                })
            })
            .await
    }

    /// What was counted of a source from this hour on, the oldest first, and when it was last seen.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn source_counts(
        &self,
        id: &SourceId,
        first: UnixMillis,
    ) -> Result<(Option<UnixMillis>, Vec<HourCount>), DbError> {
        let id = id.clone();
        self.reads
            .read("source_counts", move |tx| {
                let id = id.clone();
                Box::pin(async move {
                    let sql = "SELECT last_seen_at FROM sources WHERE id = ?";
                    let row = tx.query_one(sql, params![id.as_str()]).await?;
                    let seen_at = row.map_or(Ok(None), |row| row.get("last_seen_at"))?;
                    let sql = "SELECT hour, kind, cause, n FROM source_counts WHERE source_id = ? AND hour >= ? \
                               ORDER BY hour, kind, cause";
                    let rows = tx.query(sql, params![id.as_str(), first]).await?;
                    let count = |row: &db::Row| {
                        Ok::<_, DbError>(HourCount {
                            hour: row.get("hour")?,
                            kind: row.get("kind")?,
                            cause: row.get("cause")?,
                            number: row.get("n")?,
                        })
                    };
                    Ok((seen_at, rows.iter().map(count).collect::<Result<_, _>>()?))
                })
            })
            .await
    }

    /// The enabled sources that may be silent for so long alone.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn source_sightings(&self) -> Result<Vec<Sighting>, DbError> {
        self.db
            .read("source_sightings", |tx| {
                Box::pin(async move {
                    let sql = "SELECT id, silent_after_seconds, COALESCE(last_seen_at, created_at) AS since FROM sources \
                               WHERE silent_after_seconds IS NOT NULL AND enabled = 1 AND deleted_at IS NULL";
                    let rows = tx.query(sql, Params::new()).await?;
                    let sighting = |row: &db::Row| {
                        Ok(Sighting {
                            source: read_id(row, "id")?,
                            silent_after_seconds: row.get("silent_after_seconds")?,
                            since: row.get("since")?,
                        })
                    };
                    rows.iter().map(sighting).collect()
                })
            })
            .await
    }
}

/// The sources first, in one order everywhere, and then their counts: what deletes a source goes the same way.
async fn add(tx: &mut Tx, tallies: &[SourceTally]) -> Result<(), DbError> {
    let mut statements = Vec::new();
    let mut values = Params::new();
    for SourceTally {
        source,
        seen_at,
        counts,
    } in tallies
    {
        if let Some(at) = *seen_at {
            let sql = "UPDATE sources SET last_seen_at = CASE WHEN last_seen_at > ? THEN last_seen_at ELSE ? END \
                       WHERE id = ?";
            statements.push(Statement::change(sql, params![at, at, source.as_str()]));
        }
        for count in counts {
            let kind: &str = CountKind::into_str(&count.kind);
            values.extend(params![
                source.as_str(),
                count.since,
                kind,
                count.cause,
                count.number
            ]);
        }
    }
    let columns = ["source_id", "hour", "kind", "cause", "n"];
    let add = tx.dialect().on_conflict_add(&columns[..4], &columns[4..]);
    statements.extend(Statement::rows("source_counts", &columns, &add, values));
    tx.run(&statements).await.all().map(drop)
}
