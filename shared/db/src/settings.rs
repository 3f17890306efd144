//! How many connections a process uses, and how long it waits.

use std::time::Duration;

/// MySQL connections of one process; all are kept, since churn costs ten times the work.
pub const CONNECTIONS: usize = 32;
/// SQLite connections that read beside the one writer: one for lists, one for a live stream, two for single reads, and one for
/// the work.
pub const READERS: usize = 5;
/// Operations that may wait for a connection or for the writer; the next is answered `Unavailable` at once.
pub const QUEUE: usize = 4_096;
/// After this the caller gets `Timeout`; the operation goes on.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// After this the operation is aborted and its connection closed without another byte.
pub const ABORT_AFTER: Duration = Duration::from_secs(10);
/// A TCP connection and its handshake.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How long a MySQL server keeps an idle session: a process that stops in a transaction keeps its rows locked for that
/// long. Connections that were idle for nearly as long are not used again.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The bounds of one [`Db`](super::Db). `abort_after` is at least `answer_within`.
#[derive(Clone, Debug)]
pub struct DbSettings {
    /// MySQL: connections, at least 1.
    pub connections: usize,
    /// SQLite: reader threads, at least 1.
    pub readers: usize,
    /// Operations that may wait.
    pub queue: usize,
    /// The caller's deadline, waiting included.
    pub answer_within: Duration,
    /// The operation's own deadline.
    pub abort_after: Duration,
    /// MySQL: the deadline of connecting.
    pub connect_within: Duration,
    /// MySQL: the idle time after which the server ends a session, in whole seconds, at least 1.
    pub silence_max: Duration,
    /// SQLite: whether this process claims the file for itself with a lock file beside it. `serve` does; the
    /// one-shot commands, which may run beside a server, do not.
    pub exclusive: bool,
}

impl Default for DbSettings {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            readers: READERS,
            queue: QUEUE,
            answer_within: ANSWER_WITHIN,
            abort_after: ABORT_AFTER,
            connect_within: CONNECT_WITHIN,
            silence_max: SILENCE_MAX,
            exclusive: true,
        }
    }
}
