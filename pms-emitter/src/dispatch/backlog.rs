//! How many deliveries wait, and for how long, as metrics show it: over all endpoints, since labels have fixed values. How one
//! endpoint stands, its status says.

use crate::store::{PENDING_MAX, Store};
use contract::Clock;
use kit::metrics::Metrics;
use std::{sync::Arc, time::Duration};

/// How long a scrape waits for the database.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// Shows how many deliveries wait, a count in an index, and how long the one has waited that has waited for longest of those that go
/// next, a look at each endpoint: both bounded in rows and in time.
pub fn expose_backlog(metrics: &mut Metrics, store: &Store, clock: &Arc<dyn Clock>) {
    let counted = store.clone();
    let help = "Deliveries that wait, those in flight and events that are not queued yet included; counted up to 100000.";
    metrics.ask_gauge("outbox_pending_deliveries", help, move || {
        let store = counted.clone();
        async move {
            let pending = store.pending_deliveries(PENDING_MAX, ASK_WITHIN).await;
            pending.ok().map(|pending| pending.min(PENDING_MAX.into()))
        }
    });
    let (store, clock) = (store.clone(), Arc::clone(clock));
    let help = "How long the delivery has waited that goes next, of the webhook where that is longest.";
    metrics.ask_gauge("outbox_lag_seconds", help, move || {
        let (store, now) = (store.clone(), clock.now());
        async move {
            let lag = store.delivery_lag(now, ASK_WITHIN).await;
            lag.ok().map(|lag| lag.as_secs())
        }
    });
}
