//! What dispatchers are made of, put together in `app`.

use super::{
    attempt::Sender, secrets::SigningSecrets, sending::AttemptCounters, settling::SettlementCounters,
    wakers::Wakers,
};
use crate::store::Store;
use contract::Clock;
use contract::{Entropy, Ids};
use kit::breaker::BreakerSettings;
use std::sync::Arc;
use std::time::Duration;

/// What a claim's lease has beyond an attempt's deadline by default.
pub const LEASE_SLACK: Duration = Duration::from_secs(15);
/// How often a dispatcher looks for what is due without being woken: retries, and what other replicas committed.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What the dispatchers of all endpoints share. Clones share everything.
#[derive(Clone)]
pub struct DispatcherParts {
    /// The tables.
    pub store: Store,
    /// Makes attempts.
    pub sender: Arc<Sender>,
    /// What is signed with, by endpoint.
    pub secrets: Arc<SigningSecrets>,
    /// What wakes each dispatcher.
    pub wakers: Wakers,
    /// Makes the tokens of claims.
    pub ids: Ids,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// For the breakers' jitter.
    pub entropy: Arc<dyn Entropy>,
    /// How sensitive the breaker before each endpoint is.
    pub breaker: BreakerSettings,
    /// Attempts at one endpoint at once.
    pub concurrency: usize,
    /// How often a dispatcher looks without being woken.
    pub look_every: Duration,
    /// What a claim's lease has beyond an attempt's deadline.
    pub lease_slack: Duration,
    /// Counts attempts.
    pub attempts: AttemptCounters,
    /// Counts what was settled.
    pub settlements: SettlementCounters,
}
