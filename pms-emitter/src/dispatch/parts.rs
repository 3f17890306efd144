//! What dispatchers are made of, put together in `app`.

use super::{schedule::Schedule, sending::AttemptCounters, settling::SettlementCounters, wakers::Wakers};
use crate::store::Store;
use contract::{Clock, Entropy, Ids, SecretList, id::EndpointId};
use kit::egress::Egress;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What a claim's lease has beyond an attempt's deadline by default.
pub const LEASE_SLACK: Duration = Duration::from_secs(15);
/// How often a dispatcher looks for what is due without being woken: retries, and what other replicas queued.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How deliveries are made.
#[derive(Clone, Debug)]
pub struct DeliveryConfig {
    /// The waits between attempts, for endpoints without a schedule of their own.
    pub schedule: Schedule,
    /// One attempt, from connecting to the end of the answer.
    pub timeout: Duration,
    /// Attempts at one endpoint at once.
    pub concurrency: usize,
    /// Consecutive failures that open an endpoint's breaker.
    pub breaker_failures: u32,
    /// For how long it opens first; each time it opens again this doubles, to a minute.
    pub breaker_open: Duration,
    /// How often the dispatcher looks for what is due without being woken.
    pub look_every: Duration,
    /// What a claim's lease has beyond `timeout`.
    pub lease_slack: Duration,
}

/// What the dispatchers of all endpoints share.
pub struct DispatcherParts {
    /// How deliveries are made.
    pub delivery: DeliveryConfig,
    /// The tables.
    pub store: Store,
    /// The HTTP client.
    pub egress: Egress,
    /// What is signed with, by endpoint. It is in memory alone, never in a table.
    pub secrets: HashMap<EndpointId, SecretList>,
    /// What wakes each dispatcher.
    pub wakers: Wakers,
    /// Makes the tokens of claims.
    pub ids: Ids,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// For the jitter.
    pub entropy: Arc<dyn Entropy>,
    /// Counts attempts.
    pub attempts: AttemptCounters,
    /// Counts what was settled.
    pub settlements: SettlementCounters,
}
