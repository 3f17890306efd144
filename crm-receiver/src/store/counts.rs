//! Adding up what was not kept.

use super::Store;
use crate::ingest::counts::Count;
use db::DbError;
use kit::audit;
use std::sync::Arc;

impl Store {
    /// Adds counters of this process to those of the audit.
    pub async fn add_counts(&self, counts: Arc<[Count]>) -> Result<(), DbError> {
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
