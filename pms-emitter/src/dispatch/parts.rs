//! What a dispatcher is made of, put together in `app`.

use super::attempt::Sender;
use crate::meters::DispatchMeters;
use crate::store::Store;
use contract::Clock;
use contract::Ids;
use kit::breaker::{Breaker, Change};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a claim's lease has beyond an attempt's deadline by default.
pub const LEASE_SLACK: Duration = Duration::from_secs(15);
/// How often it looks for what is due without being woken: retries, and what other replicas committed.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Changes of the breaker that are not written yet, oldest first.
pub type BreakerChanges = Arc<Mutex<VecDeque<Change>>>;

/// What a dispatcher is made of.
pub struct DispatcherParts {
    /// The tables.
    pub store: Store,
    /// Whose deliveries.
    pub endpoint: &'static str,
    /// Makes attempts.
    pub sender: Arc<Sender>,
    /// Guards the endpoint.
    pub breaker: Breaker,
    /// Filled by the breaker.
    pub breaker_changes: BreakerChanges,
    /// Makes tokens.
    pub ids: Ids,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Attempts at once.
    pub concurrency: usize,
    /// How often it looks without being woken.
    pub look_every: Duration,
    /// What a claim's lease has beyond an attempt's deadline.
    pub lease_slack: Duration,
    /// Counts attempts and what was settled.
    pub meters: DispatchMeters,
}
