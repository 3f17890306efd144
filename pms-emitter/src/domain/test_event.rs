//! An event that is sent to an endpoint at once to try it, and how that ended.

use contract::{EventId, id::EndpointId};
use std::time::Duration;

/// An event that is sent at once.
#[derive(Clone, Debug)]
pub struct TestEvent {
    /// The endpoint that it goes to.
    pub endpoint: EndpointId,
    /// Its id.
    pub id: EventId,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestOutcome {
    /// It was sent.
    Sent {
        /// The status that came; none: no answer did.
        status: Option<u16>,
        /// How long it took.
        duration: Duration,
    },
    /// The endpoint has no address or cannot be read, or the event does not fit its scheme.
    Unusable,
}
