//! The audit's counts of what was not kept: rejects and repeats, per minute and cause.

use super::Store;
use contract::UnixMillis;
use db::DbError;
use kit::audit;
use std::sync::Arc;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CountKind {
    /// A delivery that was refused, by its cause.
    Rejected,
    /// A delivery that was refused for its time, by how far off it was.
    Skewed,
    /// A repeat of something committed.
    Duplicate,
}

impl CountKind {
    /// The kind as the audit's counts spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Skewed => "skewed",
            Self::Duplicate => "duplicate",
        }
    }
}

/// So many of one kind and cause in one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinuteCount {
    /// What was counted.
    pub kind: CountKind,
    /// Why.
    pub cause: &'static str,
    /// The beginning of the minute.
    pub minute: UnixMillis,
    /// How many.
    pub number: u64,
}

impl Store {
    /// Adds what this process has counted.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add_counts(&self, counts: Arc<[MinuteCount]>) -> Result<(), DbError> {
        self.db
            .transaction("add_counts", move |tx| {
                let counts = Arc::clone(&counts);
                Box::pin(async move {
                    for count in counts.iter() {
                        let kind = count.kind.as_str();
                        audit::count_minute(tx, count.minute, kind, count.cause, count.number).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}
