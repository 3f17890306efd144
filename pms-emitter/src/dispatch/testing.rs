//! Sends a test event at once, by what its endpoint is now, through the same egress as deliveries. It asks no breaker and reports
//! to none, and settles nothing.

use super::{attempt, parts::DispatcherParts, route::Route};
use crate::domain::test_event::{TestEvent, TestOutcome};
use bytes::Bytes;
use contract::id::IdempotencyKey;
use db::DbError;
use std::sync::Arc;

/// Sends tests. How many go on at once is for its caller to bound.
#[derive(Clone)]
pub struct Testing {
    parts: Arc<DispatcherParts>,
}

impl Testing {
    /// With what dispatchers have.
    pub fn new(parts: &Arc<DispatcherParts>) -> Self {
        Self {
            parts: Arc::clone(parts),
        }
    }

    /// Sends one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn send(self, event: TestEvent) -> Result<TestOutcome, DbError> {
        let target = self.parts.store.target(event.endpoint.clone()).await?;
        let route = target.and_then(|target| Route::of(&self.parts, &event.endpoint, &target).ok());
        let Some(route) = route else {
            return Ok(TestOutcome::Unusable);
        };
        let (at, id) = (self.parts.clock.now(), IdempotencyKey::from(event.id));
        let Some((headers, body)) = attempt::request(&route, &id, at, 1, &Bytes::from(event.body)) else {
            return Ok(TestOutcome::Unusable);
        };
        let sent = self.parts.egress.post(&route.url, headers, body, route.timeout);
        let (status, duration) = match sent.await {
            Ok(answered) => (Some(answered.status.as_u16()), answered.duration),
            Err(error) => (None, error.duration),
        };
        Ok(TestOutcome::Sent { status, duration })
    }
}
