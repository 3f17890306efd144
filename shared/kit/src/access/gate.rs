//! Decides who the caller of a request is.

use super::{
    FailedAttempts, Networks,
    client_address::{client_address, is_forwarded},
    key::{ApiKey, KeyDigest, digest, looks_like_a_key},
    rate_limit::{Limiter, Standing, WindowTable},
    store::KeyStore,
    usage::Usage,
};
use crate::{database_problem, lifecycle::Lifecycle};
use api::access::{
    Admission, Caller, Credential, Gate, Level, Permissions, Visit, key_required, sent_credential,
};
use contract::{Clock, Problem, ProblemCode, Scope};
use db::{Db, DbError};
use futures::future::BoxFuture;
use http::StatusCode;
use moka::sync::Cache;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use subtle::ConstantTimeEq;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::{Instant, timeout},
};

/// What replicas have drawn of the limits of keys.
const WINDOWS: WindowTable = WindowTable {
    name: "api_key_windows",
    subject: "key_id",
};
/// For how long a key is used as it was read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// For how long a request waits at most until its key is read and counted: as long as for any other operation.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a key that is not used is kept in memory.
const KEPT_UNUSED: Duration = Duration::from_secs(3600);
/// Keys in memory: more than there can be.
const KEYS_IN_MEMORY: u64 = 2 * super::KEYS_MAX as u64;
/// The ids of callers without a key in the table: anyone, while no key was ever made, and the holder of ADMIN_API_KEY.
pub const ANYONE: &str = "anyone";
/// See [`ANYONE`].
pub const ENVIRONMENT: &str = "environment";

/// What the operator has set about access.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    /// The digest of ADMIN_API_KEY.
    pub admin_key: Option<[u8; 32]>,
    /// Whether everyone may only read.
    pub demo: bool,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: Networks,
    /// Where the service listens.
    pub address: SocketAddr,
}

/// The keys of a service. Clones share everything.
#[derive(Clone)]
pub struct ApiKeys(Arc<Shared>);

struct Shared {
    /// For draws from limits.
    draws: Db,
    store: KeyStore,
    clock: Arc<dyn Clock>,
    settings: AccessSettings,
    usage: Usage,
    known: Cache<KeyDigest, Entry>,
    failed: FailedAttempts,
    keyless: Keyless,
    anyone: Arc<Caller>,
    environment: Arc<Caller>,
}

/// A key that was found once, beside what says that it has changed since: a change does not wait for the key's mutex.
#[derive(Clone)]
struct Entry {
    is_outdated: Arc<AtomicBool>,
    known: Arc<Mutex<Known>>,
}

/// What is known of a key. Its mutex is also the singleflight of reading it again.
struct Known {
    key: ApiKey,
    caller: Arc<Caller>,
    looked: Looked,
    limiter: Limiter,
}

/// Whether requests without a key are answered.
struct Keyless {
    /// Never again.
    is_over: AtomicBool,
    /// When the table was last seen empty.
    looked: Mutex<Looked>,
}

/// When something was last read there, and could not be.
#[derive(Clone, Copy, Debug, Default)]
struct Looked {
    read_at: Option<Instant>,
    failed_at: Option<Instant>,
}

impl Looked {
    /// Whether it is time to read it again.
    ///
    /// # Errors
    /// `Unavailable` soon after it could not be read: those who wait for their turn fail at once, not one after the other.
    fn is_due(&self) -> Result<bool, DbError> {
        if is_recent(self.read_at) {
            return Ok(false);
        }
        if is_recent(self.failed_at) {
            return Err(DbError::Unavailable);
        }
        Ok(true)
    }

    /// Notes that it was read now, or could not be.
    fn note<T>(&mut self, read: Result<T, DbError>) -> Result<T, DbError> {
        let now = Some(Instant::now());
        match read {
            Ok(_) => self.read_at = now,
            Err(_) => self.failed_at = now,
        }
        read
    }
}

fn is_recent(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at.elapsed() < READ_AGAIN_AFTER)
}

/// Why a service does not begin to answer.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Anyone could do anything.
    #[error(
        "APP_HOST: other machines reach this address, and there is no API key: set ADMIN_API_KEY, or make one with \
         `keys create`"
    )]
    NoKey,
    /// The keys cannot be read.
    #[error("DATABASE_URL or DB_HOST: {0}")]
    Database(#[from] DbError),
}

impl ApiKeys {
    /// The gate of a service.
    ///
    /// # Errors
    /// `NoKey` where other machines reach the service and no key can be used; those of the database.
    pub async fn open(db: &Db, clock: Arc<dyn Clock>, settings: AccessSettings) -> Result<Self, AccessError> {
        let store = KeyStore::new(db);
        let is_local = settings.address.ip().to_canonical().is_loopback();
        if !is_local && settings.admin_key.is_none() && !store.is_one_usable(clock.now()).await? {
            return Err(AccessError::NoKey);
        }
        let level_max = if settings.demo { Level::Read } else { Level::Admin };
        let admin = |id: &str, name: &str| {
            Arc::new(Caller {
                id: id.into(),
                name: name.to_owned(),
                permissions: Permissions::all(Level::Admin),
                level_max,
                scope: Scope::All,
                version: 0,
            })
        };
        Ok(Self(Arc::new(Shared {
            usage: Usage::new(db, Arc::clone(&clock)),
            draws: db.answering_after_abort(),
            store,
            clock,
            known: Cache::builder()
                .max_capacity(KEYS_IN_MEMORY)
                .time_to_idle(KEPT_UNUSED)
                .build(),
            failed: FailedAttempts::default(),
            keyless: Keyless {
                is_over: AtomicBool::new(!is_local || settings.admin_key.is_some()),
                looked: Mutex::default(),
            },
            anyone: admin(ANYONE, ANYONE),
            environment: admin(ENVIRONMENT, "ADMIN_API_KEY"),
            settings,
        })))
    }

    /// Writes what the keys were used for, until a stop.
    pub fn run(self, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.0.usage.run(lifecycle).await })
    }

    pub(super) fn store(&self) -> &KeyStore {
        &self.0.store
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.0.usage
    }

    /// Deletes what the keys were used for longer ago than is kept, batch by batch. For a service without a purge of its own.
    ///
    /// # Errors
    /// Those of the database; the batches before stay deleted.
    pub fn purge_usage(&self, lifecycle: &Lifecycle) -> BoxFuture<'_, Result<(), DbError>> {
        let lifecycle = lifecycle.clone();
        Box::pin(async move {
            let mut after = Some(String::new());
            while let Some(key) = after
                && !lifecycle.is_stopping()
            {
                after = self.0.usage.purge(key).await?;
            }
            Ok(())
        })
    }

    /// Writes what is not written yet of what the keys were used for. For a stop, after the last answer.
    pub fn write_usage(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.usage.write())
    }

    /// Has a key that has changed read again, and requests without a key refused. What was drawn for the key stays.
    pub(super) fn changed(&self, key: &ApiKey) {
        if let Some(entry) = self.0.known.get(&key.digest) {
            entry.is_outdated.store(true, Ordering::Release);
        }
        self.0.keyless.is_over.store(true, Ordering::Relaxed);
    }
}

impl Gate for ApiKeys {
    fn admit<'v>(&'v self, visit: Visit<'v>) -> BoxFuture<'v, Admission> {
        Box::pin(self.0.admit(visit))
    }

    fn answered(&self, caller: &Arc<Caller>, route: &Arc<str>, status: StatusCode, took: Duration) {
        if !matches!(&*caller.id, ANYONE | ENVIRONMENT) {
            self.0.usage.count(&caller.id, route, status, took);
        }
    }

    fn is_unchanged<'c>(&'c self, caller: &'c Caller) -> BoxFuture<'c, Option<bool>> {
        Box::pin(async move { self.0.is_unchanged(caller).await.ok() })
    }
}

impl Shared {
    async fn admit(&self, visit: Visit<'_>) -> Admission {
        let client = client_address(visit.context, visit.headers, &self.settings.trusted_proxies);
        let admitted = match sent_credential(visit.headers, visit.query) {
            // The key may be waited for while another request draws from its limit.
            Credential::One(text) => timeout(ANSWER_WITHIN, self.by_key(text, client))
                .await
                .unwrap_or_else(|_| Err(database_problem(DbError::Timeout))),
            Credential::None => self.without_key(visit, client).await,
            Credential::Refused => Err(self.failure(client)),
        };
        admitted.unwrap_or_else(Admission::refused)
    }

    /// The refusal of who has not proved anything, which is counted.
    fn failure(&self, client: Option<IpAddr>) -> Problem {
        match self.failed.count(client) {
            Ok(()) => key_required(),
            Err(seconds) => too_many(seconds),
        }
    }

    /// The caller of this key.
    async fn by_key(&self, text: &str, client: Option<IpAddr>) -> Result<Admission, Problem> {
        let digest = digest(text);
        let admin = self.settings.admin_key.as_ref();
        if admin.is_some_and(|admin| admin.ct_eq(&digest).into()) {
            return Ok(Admission::of(Arc::clone(&self.environment)));
        }
        let entry = match self.known.get(&digest) {
            Some(entry) => entry,
            None if looks_like_a_key(text) => self.find(digest, client).await?,
            None => return Err(self.failure(client)),
        };
        let mut known = entry.known.lock_owned().await;
        if entry.is_outdated.swap(false, Ordering::Acquire) {
            known.looked = Looked::default();
        }
        if known.looked.is_due().map_err(database_problem)? {
            known = match self.read_again(known).await.map_err(database_problem)? {
                Some(known) => known,
                None => return Err(self.failure(client)),
            };
        }
        let now = self.clock.now();
        if !known.key.is_valid(now, client) {
            return Err(self.failure(client));
        }
        let limit = known.key.settings.limit();
        let standing = known.limiter.take(&self.draws, limit, now).await;
        let standing = standing.map_err(database_problem)?;
        Ok(Admission {
            caller: if standing.is_within() {
                Ok(Arc::clone(&known.caller))
            } else {
                Err(too_many(standing.seconds_left()))
            },
            headers: Standing::headers(&standing),
        })
    }

    /// Reads a known key again; none when it is gone. In a task of its own too: what was read or failed is noted even where its
    /// caller has hung up.
    async fn read_again(
        &self,
        mut known: OwnedMutexGuard<Known>,
    ) -> Result<Option<OwnedMutexGuard<Known>>, DbError> {
        let (store, cache, level_max) = (self.store.clone(), self.known.clone(), self.anyone.level_max);
        let reading = tokio::spawn(async move {
            let digest = known.key.digest;
            let found = store.find_again(digest).await;
            let Some(key) = known.looked.note(found)? else {
                cache.invalidate(&digest);
                return Ok(None);
            };
            if key.updated_at != known.key.updated_at {
                known.caller = caller(&key, level_max);
                known.key = key;
            }
            Ok(Some(known))
        });
        reading.await.unwrap_or(Err(DbError::Panicked))
    }

    /// Looks for a key that this process does not know. It counts as a failure until it is found, so that no more look-ups of
    /// one client than it may fail are under way; one that ends in an error stays counted.
    async fn find(&self, digest: KeyDigest, client: Option<IpAddr>) -> Result<Entry, Problem> {
        self.failed.count(client).map_err(too_many)?;
        let found = self.store.find(digest).await.map_err(database_problem)?;
        let key = found.ok_or_else(key_required)?;
        self.failed.take_back(client);
        let known = Known {
            caller: caller(&key, self.anyone.level_max),
            looked: Looked {
                read_at: Some(Instant::now()),
                failed_at: None,
            },
            limiter: Limiter::new(&WINDOWS, key.id.as_str().into()),
            key,
        };
        Ok(self.known.get_with(digest, || Entry {
            is_outdated: Arc::default(),
            known: Arc::new(Mutex::new(known)),
        }))
    }

    /// Whether a caller's key is as it was, and valid but for its networks, which are a part of what would have changed.
    async fn is_unchanged(&self, caller: &Caller) -> Result<bool, DbError> {
        match &*caller.id {
            ENVIRONMENT => Ok(true),
            ANYONE => Ok(!self.keyless.is_over.load(Ordering::Relaxed) && !self.store.was_ever_one().await?),
            id => {
                let Ok(id) = id.parse() else { return Ok(false) };
                let found = self.store.show(&id).await?;
                Ok(found
                    .is_some_and(|key| key.updated_at.0 == caller.version && key.is_live(self.clock.now())))
            }
        }
    }

    /// Anyone, from this machine alone and while no key was ever made. A proxy on this machine has other machines behind it, and
    /// a page of another origin in a browser on it is no program of it.
    async fn without_key(&self, visit: Visit<'_>, client: Option<IpAddr>) -> Result<Admission, Problem> {
        let Keyless { is_over, looked } = &self.keyless;
        let is_of_this_machine =
            visit.is_for_loopback && !visit.is_cross_origin && !is_forwarded(visit.headers);
        if is_over.load(Ordering::Relaxed) || !is_of_this_machine {
            return Err(self.failure(client));
        }
        let mut looked = looked.lock().await;
        if looked.is_due().map_err(database_problem)? {
            let was_ever_one = self.store.was_ever_one().await;
            if looked.note(was_ever_one).map_err(database_problem)? {
                is_over.store(true, Ordering::Relaxed);
                return Err(self.failure(client));
            }
        }
        Ok(Admission::of(Arc::clone(&self.anyone)))
    }
}

/// The caller that a key is.
fn caller(key: &ApiKey, level_max: Level) -> Arc<Caller> {
    Arc::new(Caller {
        id: key.id.as_str().into(),
        name: key.settings.name.clone(),
        permissions: key.settings.permissions.clone(),
        level_max,
        scope: key.settings.scope.clone(),
        version: key.updated_at.0,
    })
}

fn too_many(seconds: u32) -> Problem {
    Problem::new(ProblemCode::TooManyRequests).with_retry_after(seconds)
}

#[cfg(test)]
mod tests;
