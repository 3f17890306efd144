//! Where a change comes from: who asks for it, and what its event and its audit entry say about the request that caused it.

use contract::{RequestId, Scope};

/// The request that caused a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The request's own id, for the audit log.
    pub request_id: RequestId,
    /// The id that the request shares with everything it causes, in both services.
    pub correlation_id: RequestId,
    /// The trace that it belongs to (W3C Trace Context), sent along with its event.
    pub traceparent: Option<String>,
    /// The name of who asks, for the audit log.
    pub actor: String,
    /// The properties that who asks may see: what belongs to another is not there.
    pub scope: Scope,
}
