//! Which versions of endpoints this process knows: what was claimed by an older one is not sent any more.

use contract::id::EndpointId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The newest known version of each endpoint. Clones share them.
///
/// Invariant: there are as many as there were ever endpoints that this process changed or delivered to.
#[derive(Clone, Debug, Default)]
pub struct EndpointVersions(Arc<Mutex<HashMap<EndpointId, u64>>>);

impl EndpointVersions {
    /// A version is committed.
    pub fn note(&self, endpoint: &EndpointId, version: u64) {
        let mut versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = versions.entry(endpoint.clone()).or_default();
        *known = version.max(*known);
    }

    /// Whether none that is newer is known.
    pub fn is_current(&self, endpoint: &EndpointId, version: u64) -> bool {
        let versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(endpoint).is_none_or(|known| *known <= version)
    }
}
