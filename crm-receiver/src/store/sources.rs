//! The table of sources: who may send, and how strictly they are read.

use super::Store;
use contract::SourceId;
use db::params;
use db::{DbError, Row};
use strum::EnumString;

/// Sources of one receiver at most; each is held in memory.
const SOURCES_MAX: i64 = 1_000;
/// The one signature scheme so far: Standard Webhooks 1.0.
const SCHEME: &str = "standard-webhooks";

/// What becomes of a delivery that is authentic and readable, but whose payload is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum OnInvalid {
    /// 422 with the reasons; nothing is kept.
    Reject,
    /// 202; it is kept as a dead letter.
    Quarantine,
}

/// A row of the table of sources. It has no secrets: those stay in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name in the path, and half of every idempotency key.
    pub id: SourceId,
    /// How far its clock may be from ours, on both sides.
    pub max_skew_seconds: u32,
    /// What becomes of its invalid payloads.
    pub on_invalid: OnInvalid,
    /// A disabled source is as good as unknown.
    pub enabled: bool,
}

/// What a store method could not do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A row holds what this program does not know.
    #[error("the row {row} of table {table} holds a value that is not known here")]
    UnknownValue {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
    },
}

impl Store {
    /// Makes the source if it is not there; its skew is the configuration's at every start, the rest stays as it is.
    pub async fn keep_source(&self, id: &SourceId, max_skew_seconds: u32) -> Result<(), DbError> {
        let id = id.clone();
        self.db
            .transaction("keep_source", move |tx| {
                let id = id.clone();
                Box::pin(async move {
                    let skip = tx.dialect().skip_existing("id");
                    let sql = format!(
                        "INSERT INTO sources (id, scheme, max_skew_seconds, on_invalid, enabled) \
                         VALUES (?, ?, ?, 'reject', 1){skip}"
                    );
                    tx.execute(&sql, params![id.as_str(), SCHEME, max_skew_seconds])
                        .await?;
                    let sql = "UPDATE sources SET max_skew_seconds = ? WHERE id = ?";
                    tx.execute(sql, params![max_skew_seconds, id.as_str()])
                        .await
                        .map(drop)
                })
            })
            .await
    }

    /// All sources.
    pub async fn sources(&self) -> Result<Vec<Source>, StoreError> {
        let rows = self
            .db
            .read("sources", |tx| {
                Box::pin(async move {
                    let sql =
                        "SELECT id, max_skew_seconds, on_invalid, enabled FROM sources ORDER BY id LIMIT ?";
                    tx.query(sql, params![SOURCES_MAX]).await
                })
            })
            .await?;
        rows.iter().map(source).collect()
    }
}

fn source(row: &Row) -> Result<Source, StoreError> {
    let id: String = row.get("id")?;
    let unknown = || StoreError::UnknownValue {
        table: "sources",
        row: id.clone(),
    };
    Ok(Source {
        id: id.parse().map_err(|_| unknown())?,
        max_skew_seconds: row.get("max_skew_seconds")?,
        on_invalid: row.get::<String>("on_invalid")?.parse().map_err(|_| unknown())?,
        enabled: row.get("enabled")?,
    })
}
