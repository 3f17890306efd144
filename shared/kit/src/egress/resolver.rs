//! Names to addresses: with a deadline for each name, off the hot path, and checked before anything is dialled.
//!
//! One look-up of a name is in progress at a time, and all who ask wait for it. Its answer is kept: what is younger than [`FRESH`] is
//! dialled without asking again, and older answers only say whose turn it is (see `destinations`), while a new look-up runs beside
//! the call. So a name service that is slow delays the first call to a name, and connections that have to be opened.

use super::{error::ResolveFailed, policy::EgressSettings};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use moka::sync::Cache;
use reqwest::dns::{Name, Resolve, Resolving};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout},
};

/// How long a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long an answer is dialled. Not longer than an idle connection is kept.
const FRESH: Duration = Duration::from_secs(5);
/// The names whose answers are kept.
const KNOWN_NAMES_MAX: u64 = 10_000;
/// The addresses of one name that are looked at and dialled.
const ADDRESSES_MAX: usize = 16;
/// Look-ups of the system in progress: each occupies a thread until the system gives up, which may be long after the deadline.
const LOOKUPS_MAX: usize = 128;

/// What knows the addresses of names.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of a name.
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's: its hosts file and its name service.
pub struct SystemLookup {
    permits: Arc<Semaphore>,
}

impl Default for SystemLookup {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }
}

impl Lookup for SystemLookup {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let permits = Arc::clone(&self.permits);
        Box::pin(async move {
            let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
            let looking = spawn_blocking(move || {
                let _until_the_end = permit;
                let addresses = (name.as_str(), 0).to_socket_addrs()?;
                Ok(addresses.map(|address| address.ip()).collect())
            });
            looking.await.map_err(io::Error::other)?
        })
    }
}

/// The addresses of a name, at least one.
pub(super) type Addresses = Arc<[IpAddr]>;

type Resolved = Shared<BoxFuture<'static, Result<Addresses, ResolveFailed>>>;

/// What is known of names. Clones share it.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Inner>);

struct Inner {
    lookup: Arc<dyn Lookup>,
    /// Bounded by the calls that wait, and by one beside each name in use.
    pending: Mutex<HashMap<String, Resolved>>,
    known: Cache<String, Known>,
}

#[derive(Clone)]
struct Known {
    addresses: Addresses,
    at: Instant,
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH
    }
}

impl Resolver {
    pub fn new(lookup: Arc<dyn Lookup>) -> Self {
        Self(Arc::new(Inner {
            lookup,
            pending: Mutex::default(),
            known: Cache::new(KNOWN_NAMES_MAX),
        }))
    }

    /// The addresses that a name has now, to check or to dial them.
    pub async fn addresses(&self, name: &str) -> Result<Addresses, ResolveFailed> {
        match self.0.known.get(name).filter(Known::is_fresh) {
            Some(known) => Ok(known.addresses),
            None => self.look_up(name).await,
        }
    }

    /// The addresses that a name had last, without waiting when there are any.
    pub async fn last_addresses(&self, name: &str) -> Result<Addresses, ResolveFailed> {
        let Some(known) = self.0.known.get(name) else {
            return self.look_up(name).await;
        };
        if !known.is_fresh() {
            drop(self.look_up(name));
        }
        Ok(known.addresses)
    }

    /// A look-up, begun by now, in a task of its own: it goes on for others when nobody waits for it.
    fn look_up(&self, name: &str) -> Resolved {
        let mut pending = self.0.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolved) = pending.get(name) {
            return resolved.clone();
        }
        let (inner, name) = (Arc::clone(&self.0), name.to_owned());
        let key = name.clone();
        let looking = tokio::spawn(async move {
            let looked_up = timeout(RESOLVE_TIMEOUT, inner.lookup.lookup(name.clone())).await;
            let resolved = match looked_up {
                Ok(Ok(addresses)) if !addresses.is_empty() => {
                    let addresses: Addresses = addresses.into_iter().take(ADDRESSES_MAX).collect();
                    let known = Known {
                        addresses: Arc::clone(&addresses),
                        at: Instant::now(),
                    };
                    inner.known.insert(name.clone(), known);
                    Ok(addresses)
                }
                _ => Err(ResolveFailed),
            };
            let mut pending = inner.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.remove(&name);
            resolved
        });
        let resolved = async move { looking.await.unwrap_or(Err(ResolveFailed)) };
        let resolved = resolved.boxed().shared();
        pending.insert(key, resolved.clone());
        resolved
    }
}

/// What the client asks when it opens a connection: what it is given is what it dials.
pub(super) struct DialResolver {
    resolver: Resolver,
    /// None: any address may be dialled.
    settings: Option<EgressSettings>,
}

impl DialResolver {
    pub fn new(resolver: &Resolver, settings: Option<&EgressSettings>) -> Self {
        Self {
            resolver: resolver.clone(),
            settings: settings.cloned(),
        }
    }
}

/// A name has an address that may not be dialled: none of them is.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name has an address that is not public")]
pub(super) struct ForbiddenName;

impl Resolve for DialResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, settings) = (self.resolver.clone(), self.settings.clone());
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str()).await?;
            if settings.is_some_and(|settings| !settings.admit(&addresses)) {
                return Err(Box::new(ForbiddenName) as _);
            }
            let addresses: Vec<_> = addresses
                .iter()
                .map(|address| SocketAddr::new(*address, 0))
                .collect();
            Ok(Box::new(addresses.into_iter()) as _)
        })
    }
}
