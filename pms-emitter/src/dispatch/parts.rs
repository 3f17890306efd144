//! What dispatchers are made of, put together in `app`.

use super::{
    breaker::Breakers, places::Places, schedule::Schedule, sending::AttemptCounters,
    settling::SettlementCounters,
};
use crate::store::{LEASE_MAX, Store};
use contract::{Clock, Entropy, Ids, SecretList};
use kit::egress::Egress;
use kit::secrets::MasterKeys;
use std::sync::Arc;
use std::time::Duration;

/// What a claim's lease has beyond an attempt's deadline by default.
pub const LEASE_SLACK: Duration = Duration::from_secs(15);
/// The longest that an attempt may be given by the configuration, in seconds.
pub const TIMEOUT_SECONDS_MAX: u64 = 120;
// The store sees by it which leases a clock that was set back has left.
const _: () = assert!(TIMEOUT_SECONDS_MAX + LEASE_SLACK.as_secs() <= LEASE_MAX.as_secs());
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
    /// What the environment's endpoint is signed with: it is in memory alone, never in a table.
    pub env_secrets: Option<SecretList>,
    /// Opens the secrets and headers of the others.
    pub master_keys: MasterKeys,
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
    /// Counts breakers by their state.
    pub breakers: Breakers,
    /// What all of them may hold at once.
    pub places: Places,
}
