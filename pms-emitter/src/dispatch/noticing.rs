//! Looks from time to time what is to be said of endpoints: that one is failing, was stopped or has recovered, and the pings that
//! are due.

use super::{outage::Outage, parts::DispatcherParts};
use contract::{EventId, TypedId};
use db::DbError;
use kit::lifecycle::Lifecycle;
use std::sync::Arc;
use tokio::time::sleep;

/// How often it looks: once in so many looks for what is due.
const LOOKS: u32 = 10;

/// Says it until a stop.
pub async fn notice(parts: Arc<DispatcherParts>, lifecycle: Lifecycle) {
    let mut outage = Outage::default();
    while !lifecycle.is_stopping() {
        match look(&parts).await {
            Ok(()) => outage.is_over(),
            Err(error) => outage.failed(&error),
        }
        tokio::select! {
            () = lifecycle.stopping() => {}
            () = sleep(parts.delivery.look_every * LOOKS) => {}
        }
    }
}

/// What fails for one endpoint holds up no other: the last failure is the answer.
async fn look(parts: &DispatcherParts) -> Result<(), DbError> {
    let now = parts.clock.now();
    let found = parts.store.endpoints_to_notice(now).await?;
    let mut looked = Ok(());
    for (endpoint, is_alarm) in found.rates {
        let event = event_id(parts);
        let noticed = parts.store.notice_rate(endpoint, is_alarm, event, now).await;
        looked = noticed.and(looked);
    }
    for endpoint in found.beats {
        looked = parts.store.beat(endpoint, event_id(parts), now).await.and(looked);
    }
    for found in found.ailing {
        looked = parts
            .store
            .notice_health(found, event_id(parts), now)
            .await
            .and(looked);
    }
    looked
}

/// A new id for an event about an endpoint.
pub(super) fn event_id(parts: &DispatcherParts) -> EventId {
    let id = parts.ids.new_id(EventId::PREFIX).parse();
    id.unwrap_or_else(|_| unreachable!("the ids we make are valid ids"))
}
