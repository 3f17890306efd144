//! How many deliveries wait, as metrics show it.

use crate::store::{PENDING_MAX, Store};
use contract::id::EndpointId;
use kit::metrics::Metrics;
use std::time::Duration;

/// How long a scrape waits for the database.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// Shows how many deliveries of an endpoint wait: a count in an index, bounded in rows and in time.
pub fn expose_pending(metrics: &mut Metrics, endpoint: &EndpointId, store: &Store) {
    let (store, endpoint) = (store.clone(), endpoint.clone());
    let help = "Deliveries that wait, those in flight and events that are not queued yet included; counted up to 100000.";
    metrics.ask_gauge("outbox_pending_deliveries", help, move || {
        let (store, endpoint) = (store.clone(), endpoint.clone());
        async move {
            let pending = store.pending_deliveries(endpoint, PENDING_MAX, ASK_WITHIN).await;
            pending.ok().map(|pending| pending.min(PENDING_MAX.into()))
        }
    });
}
