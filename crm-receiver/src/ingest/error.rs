//! Errors of a delivery whose result is unknown: it may or may not be stored.

/// The event may be committed anyway; the sender tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The queue is full.
    #[error("the queue is full")]
    Overloaded,
    /// Its source has its share of the queue while others wait.
    #[error("the source has its share of the queue")]
    OverShare,
    /// The database is unavailable, or did not answer in time.
    #[error("the database is unavailable")]
    Unavailable,
    /// The same key is being committed elsewhere, for longer than a caller waits.
    #[error("the same key is in flight")]
    InFlight,
    /// This row is refused by the database, for a reason that is in the log.
    #[error("the event could not be kept")]
    Failed,
}
