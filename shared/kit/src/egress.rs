//! The HTTP client: every outgoing call of the process is made here.
//!
//! A [`TargetUrl`] is checked when it is made. A call connects within 5 s, ends within its total time-out, follows no
//! redirect, asks no proxy, and keeps a bounded excerpt of the answer's body. The status line decides: folded,
//! malformed or long headers are accepted, and a failure of the connection after the status line is not an error.

mod error;
mod target;
mod tls;

pub use error::{EgressError, EgressErrorKind};
pub use target::{InvalidTarget, TargetUrl};

use bytes::Bytes;
use error::ResolveFailed;
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use reqwest::{
    Client, RequestBuilder, Response,
    dns::{Name, Resolve, Resolving},
    redirect,
};
use std::time::Duration;
use tokio::{
    net::lookup_host,
    time::{Instant, timeout},
};

/// How long establishing a connection may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept: less than the 10 s after which our own receiver closes one.
const POOL_IDLE: Duration = Duration::from_secs(5);
/// Idle connections kept for one host.
const POOL_IDLE_MAX: usize = 64;
/// Headers of an answer; their bytes are bounded by hyper, at about 400 KiB. hyper allocates entries for all of them
/// for each answer that it reads: four times as many cost 12 us per delivery.
const HEADERS_MAX: usize = 1024;
/// Bytes of an answer's body that are kept.
const EXCERPT_BYTES_MAX: usize = 2 * 1024;
/// Bytes of a body that are read, so that the connection can be reused; beyond them it is closed.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a body may take after its status line.
const BODY_WAIT: Duration = Duration::from_secs(1);

/// The client. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Egress {
    client: Client,
}

/// An answer whose status line arrived.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The beginning of the body unless the status is 2xx: at most 2 KiB of it, escaped to printable text without
    /// `<`, `>` and `&`. It may hold personal data: it is stored, never logged.
    pub excerpt: String,
    /// From the start of the call to the status line.
    pub duration: Duration,
}

impl Egress {
    /// A client that names itself `user_agent`. The roots of trust are the system's, or Mozilla's where it has none.
    ///
    /// # Errors
    /// When the client cannot be built, as with a `user_agent` that is no header value.
    pub fn new(user_agent: &str) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls::config())
            .user_agent(user_agent)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .dns_resolver(BoundedResolver)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_IDLE_MAX)
            .tcp_nodelay(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_max_headers(HEADERS_MAX)
            .build()?;
        Ok(Self { client })
    }

    /// Sends a POST and waits for its answer, at most `total` in all.
    ///
    /// # Errors
    /// When no status line arrived: see [`EgressErrorKind`]. The request may have arrived anyway.
    pub fn post<'e>(
        &'e self,
        target: &'e TargetUrl,
        headers: HeaderMap,
        body: Bytes,
        total: Duration,
    ) -> BoxFuture<'e, Result<Answered, EgressError>> {
        Box::pin(async move {
            let request = self.client.post(target.url().clone());
            self.call(request.headers(headers).body(body), total).await
        })
    }

    /// Sends a GET and waits for its answer, at most `total` in all.
    ///
    /// # Errors
    /// When no status line came: see [`EgressErrorKind`].
    pub fn get<'e>(
        &'e self,
        target: &'e TargetUrl,
        total: Duration,
    ) -> BoxFuture<'e, Result<Answered, EgressError>> {
        Box::pin(async move { self.call(self.client.get(target.url().clone()), total).await })
    }

    async fn call(&self, request: RequestBuilder, total: Duration) -> Result<Answered, EgressError> {
        let begun = Instant::now();
        let mut response = match request.timeout(total).send().await {
            Ok(response) => response,
            Err(error) => return Err(EgressError::new(&error, begun.elapsed())),
        };
        let (status, duration) = (response.status(), begun.elapsed());
        let headers = std::mem::take(response.headers_mut());
        let mut excerpt = Vec::new();
        // Whether the body ends, breaks off or is cut off here, the status is valid.
        let _ = timeout(BODY_WAIT, read_excerpt(response, &mut excerpt)).await;
        let excerpt = if status.is_success() {
            String::new()
        } else {
            escape(&excerpt)
        };
        Ok(Answered {
            status,
            headers,
            excerpt,
            duration,
        })
    }
}

async fn read_excerpt(mut response: Response, excerpt: &mut Vec<u8>) {
    let mut taken = 0;
    while taken < BODY_BYTES_MAX {
        let Ok(Some(chunk)) = response.chunk().await else {
            return;
        };
        taken += chunk.len();
        let left = EXCERPT_BYTES_MAX - excerpt.len();
        excerpt.extend_from_slice(&chunk[..chunk.len().min(left)]);
    }
}

/// Printable text without markup characters.
fn escape(bytes: &[u8]) -> String {
    let mut escaped = String::new();
    for character in String::from_utf8_lossy(bytes).trim().chars() {
        match character {
            '<' | '>' | '&' => escaped.extend(character.escape_unicode()),
            '"' | '\'' => escaped.push(character),
            other => escaped.extend(other.escape_debug()),
        }
    }
    escaped
}

/// The system's resolver with a deadline, and with an error of its own.
#[derive(Clone, Debug)]
struct BoundedResolver;

impl Resolve for BoundedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let looking = timeout(RESOLVE_TIMEOUT, lookup_host((name.as_str(), 0)));
            match looking.await {
                Ok(Ok(addresses)) => Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as _),
                Ok(Err(_)) | Err(_) => Err(Box::new(ResolveFailed) as _),
            }
        })
    }
}

#[cfg(test)]
mod tests;
