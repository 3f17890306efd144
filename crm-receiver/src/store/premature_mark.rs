//! The mistake of marking events as done before they are: planted by tests alone, to be found by the ledger.

use super::{Store, batch_rows::padded};
use crate::event::Event;
use db::{DbError, Params, Tx, params, placeholders};
use std::sync::Arc;

impl Store {
    /// Marks events as applied, in a transaction of its own.
    pub(super) async fn mark(&self, events: Arc<[Event]>) -> Result<(), DbError> {
        self.db
            .transaction("mark", move |tx| {
                let events = Arc::clone(&events);
                Box::pin(async move { set(tx, &events, "accepted", "applied").await })
            })
            .await
    }
}

/// Moves the events from one status to another.
pub(super) async fn set(tx: &mut Tx, events: &[Event], from: &str, to: &str) -> Result<(), DbError> {
    let ids: Vec<&str> = events
        .iter()
        .map(|event| event.record.event_id.as_str())
        .collect();
    for list in padded(&ids) {
        let places = placeholders(1, list.len());
        let sql = format!("UPDATE inbox SET status = ? WHERE status = ? AND event_id IN {places}");
        let mut params: Params = params![to, from];
        params.extend(list.iter().map(|id| (*id).into()));
        tx.execute(&sql, params).await?;
    }
    Ok(())
}
