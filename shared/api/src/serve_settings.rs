//! The limits of one listener.

use std::time::Duration;

/// Connections at once by default.
pub const CONNECTIONS_MAX: usize = 10_000;
/// How long a request's head may take, and how long a kept connection may be silent, by default.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may fall behind in reading its answer by default.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Headers of one request by default; one more is 431.
pub const HEADERS_MAX: usize = 100;
/// Bytes that a connection buffers of what it reads, and as many of what it writes; also the bound of a request's head:
/// beyond it 431. hyper takes no less, and 10,000 connections with both cost 160 MiB.
pub const BUFFER_BYTES_MAX: usize = 8 * 1024;

/// The limits of one listener.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// Connections at once; further ones get a 503 and are closed.
    pub connections_max: usize,
    /// For a request's head, and for the silence between requests.
    pub header_read_timeout: Duration,
    /// From a write that the peer does not take whole until one that it does.
    pub write_timeout: Duration,
    /// Headers of one request.
    pub headers_max: usize,
    /// Bytes that a connection buffers; at least 8192.
    pub buffer_bytes_max: usize,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            header_read_timeout: HEADER_READ_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            headers_max: HEADERS_MAX,
            buffer_bytes_max: BUFFER_BYTES_MAX,
        }
    }
}
