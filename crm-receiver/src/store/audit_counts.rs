//! The audit's counts of what was not kept: rejects and repeats, per minute and cause.

use super::Store;
use contract::UnixMillis;
use db::DbError;
use kit::audit;
use std::sync::Arc;
use strum::{EnumString, IntoStaticStr};

/// What is counted, as the audit's counts spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum CountKind {
    /// A delivery that was refused, by its cause.
    Rejected,
    /// A delivery that was refused for its time, by how far off it was.
    Skewed,
    /// A repeat of something committed.
    Duplicate,
    /// Something new that was committed; the audit has a row for each.
    Accepted,
}

/// So many of one kind and cause in one period: a minute for the audit, an hour for a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodCount {
    /// What was counted.
    pub kind: CountKind,
    /// Why.
    pub cause: &'static str,
    /// The beginning of the period.
    pub since: UnixMillis,
    /// How many.
    pub number: u64,
}

impl Store {
    /// Adds what this process has counted.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add_counts(&self, counts: Arc<[PeriodCount]>) -> Result<(), DbError> {
        self.db
            .transaction("add_counts", move |tx| {
                let counts = Arc::clone(&counts);
                Box::pin(async move {
                    for count in counts.iter() {
                        let kind = count.kind.into_str();
                        audit::count_minute(tx, count.since, kind, count.cause, count.number).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}
