//! The HTTP client: every outgoing call of the process is made here.
//!
//! A [`TargetUrl`] is checked when it is made. A call connects within 5 s, ends within its total time-out, follows no
//! redirect, asks no proxy but the one of [`EgressSettings`], and keeps a bounded excerpt of the answer's body. The status line
//! decides: folded, malformed or long headers are accepted, and a failure of the connection after the status line is not an
//! error; but for [`Egress::fetch`], of which the whole body is wanted.
//!
//! Where a URL is one that a client of an API chose, its addresses are checked when it is saved ([`Egress::check`]) and again when
//! they are dialled, and no address gets more than a bounded number of calls at once. Calls to an operator's own URLs use other
//! connections, so that none of them serves a call that might not have opened it.

mod address;
mod custom_header;
mod destinations;
mod error;
mod fetch;
mod policy;
mod resolver;
mod target;
mod tls;

pub use custom_header::{HeaderRefusal, custom_header};
pub use error::{EgressError, EgressErrorKind};
pub use fetch::{FetchError, Fetched};
pub use policy::{EgressProxy, EgressSettings, PER_ADDRESS, TargetRefusal};
pub use resolver::{Lookup, SystemLookup};
pub use target::{InvalidTarget, TargetUrl};

use bytes::Bytes;
use destinations::{Destination, Destinations, Slot};
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use reqwest::{Client, Proxy, RequestBuilder, Response, redirect};
use resolver::{DialResolver, Resolver};
use rustls::ClientConfig;
use std::{fmt, net::IpAddr, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// How long a call waits for others to the same address: longer than for a name, so that a failure of that is named.
const SLOT_WAIT: Duration = Duration::from_secs(6);
/// How long establishing a connection may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
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
#[derive(Clone)]
pub struct Egress {
    /// Dials what the settings allow.
    guarded: Client,
    /// Dials anything, for URLs of the operator.
    operators: Client,
    settings: EgressSettings,
    resolver: Resolver,
    destinations: Destinations,
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
    pub fn new(user_agent: &str, settings: EgressSettings) -> Result<Self, reqwest::Error> {
        let lookup = Arc::new(SystemLookup::default());
        Self::with_lookup(user_agent, settings, lookup)
    }

    /// A client that asks `lookup` for the addresses of names, for tests of what names may mean.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_lookup(
        user_agent: &str,
        settings: EgressSettings,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, reqwest::Error> {
        Self::build(user_agent, settings, lookup, &tls::config())
    }

    fn build(
        user_agent: &str,
        settings: EgressSettings,
        lookup: Arc<dyn Lookup>,
        tls: &ClientConfig,
    ) -> Result<Self, reqwest::Error> {
        let resolver = Resolver::new(lookup);
        // A proxy resolves the names, and only its own is dialled.
        let guard = Some(&settings).filter(|settings| settings.proxy.is_none());
        let client = |guard| client(user_agent, &settings, DialResolver::new(&resolver, guard), tls);
        Ok(Self {
            guarded: client(guard)?,
            operators: client(None)?,
            destinations: Destinations::new(settings.per_address),
            resolver,
            settings,
        })
    }

    /// A URL that a client of an API chose, if calls may go to it now. Its name is resolved, for at most 5 s, unless a proxy does
    /// that.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub async fn check(&self, url: &str) -> Result<TargetUrl, TargetRefusal> {
        let target: TargetUrl = url.parse()?;
        self.settings.check_url(&target)?;
        if let Some(name) = target.name()
            && self.settings.proxy.is_none()
        {
            let addresses = self.resolver.addresses(name).await;
            let addresses = addresses.map_err(|_| TargetRefusal::Unresolvable)?;
            self.settings.check_addresses(&target, &addresses)?;
        }
        Ok(target)
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
            let request = self.client(target).post(target.url().clone());
            self.call(target, request.headers(headers).body(body), total)
                .await
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
        Box::pin(async move {
            let request = self.client(target).get(target.url().clone());
            self.call(target, request, total).await
        })
    }

    fn client(&self, target: &TargetUrl) -> &Client {
        if target.is_operators() {
            &self.operators
        } else {
            &self.guarded
        }
    }

    async fn call(
        &self,
        target: &TargetUrl,
        request: RequestBuilder,
        total: Duration,
    ) -> Result<Answered, EgressError> {
        let begun = Instant::now();
        let failed = |kind| EgressError {
            kind,
            duration: begun.elapsed(),
        };
        let _slot = if target.is_operators() {
            None
        } else {
            let refused = self.settings.check_url(target).is_err();
            if refused {
                return Err(failed(EgressErrorKind::Forbidden));
            }
            let slot = timeout(SLOT_WAIT, self.slot(target)).await;
            Some(slot.map_err(|_| failed(EgressErrorKind::Busy))?.map_err(failed)?)
        };
        // Its own time, whatever others at the same address took.
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

impl Egress {
    /// The right to one more call to the target's addresses, as far as they are known; the connection is opened to no others than
    /// were looked up within the last seconds.
    async fn slot(&self, target: &TargetUrl) -> Result<Slot, EgressErrorKind> {
        let destinations = match (target.literal(), target.name()) {
            (Some(address), _) => vec![Destination::Address(address.to_canonical())],
            (None, Some(name)) if self.settings.proxy.is_some() => vec![Destination::Name(name.to_owned())],
            (None, name) => {
                let addresses = self.resolver.last_addresses(name.unwrap_or_default()).await;
                let addresses = addresses.map_err(|_| EgressErrorKind::Dns)?;
                let canonical = addresses.iter().map(IpAddr::to_canonical);
                canonical.map(Destination::Address).collect()
            }
        };
        Ok(self.destinations.slot(destinations).await)
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Egress({:?})", self.settings)
    }
}

fn client(
    user_agent: &str,
    settings: &EgressSettings,
    dial: DialResolver,
    tls: &ClientConfig,
) -> Result<Client, reqwest::Error> {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .user_agent(user_agent)
        // Those of the environment; one that is set on purpose follows.
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .dns_resolver(dial)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_IDLE_MAX)
        .tcp_nodelay(true)
        .http1_only()
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_max_headers(HEADERS_MAX);
    match &settings.proxy {
        Some(proxy) => builder.proxy(Proxy::all(proxy.url().clone())?).build(),
        None => builder.build(),
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

#[cfg(test)]
mod tests;
