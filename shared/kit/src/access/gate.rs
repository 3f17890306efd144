//! Decides who the caller of a request is.

use super::{
    FailedAttempts, Networks,
    client_address::{client_address, is_forwarded},
    key::{ApiKey, KeyDigest, digest},
    rate_limit::{Standing, Window},
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
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use subtle::ConstantTimeEq;
use tokio::{sync::Mutex, time::Instant};

/// For how long a key is used as it was read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);
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
    db: Db,
    store: KeyStore,
    clock: Arc<dyn Clock>,
    settings: AccessSettings,
    usage: Usage,
    known: Cache<KeyDigest, Arc<Mutex<Known>>>,
    failed: FailedAttempts,
    keyless: Keyless,
    anyone: Arc<Caller>,
    environment: Arc<Caller>,
}

/// A key that was found valid once. Its mutex is also the singleflight of reading it again and of drawing from its limit.
struct Known {
    key: ApiKey,
    caller: Arc<Caller>,
    looked: Looked,
    window: Window,
}

/// Whether requests without a key are answered.
struct Keyless {
    /// Never again.
    is_over: AtomicBool,
    /// When the table was last seen empty.
    looked: Mutex<Looked>,
}

/// When something was last read from the table.
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
        let is_recent = |at: Option<Instant>| at.is_some_and(|at| at.elapsed() < READ_AGAIN_AFTER);
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
            })
        };
        Ok(Self(Arc::new(Shared {
            usage: Usage::new(db, Arc::clone(&clock)),
            db: db.clone(),
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

    /// Forgets what this process knows of a key that has changed, and that requests without a key were ever answered.
    pub(super) fn changed(&self, key: &ApiKey) {
        self.0.known.invalidate(&key.digest);
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
}

impl Shared {
    async fn admit(&self, visit: Visit<'_>) -> Admission {
        let client = client_address(visit.context, visit.headers, &self.settings.trusted_proxies);
        let admitted = match sent_credential(visit.headers, visit.query) {
            Credential::One(text) => self.by_key(&digest(text), client).await,
            Credential::None => self
                .without_key(visit)
                .await
                .map(|admitted| admitted.map(Admission::of)),
            Credential::Refused => Ok(None),
        };
        match admitted {
            Ok(Some(admission)) => admission,
            Ok(None) => Admission::refused(self.failure(client)),
            Err(error) => Admission::refused(database_problem(error)),
        }
    }

    /// The refusal of who has not proved anything, which is counted.
    fn failure(&self, client: Option<IpAddr>) -> Problem {
        let client = client.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        if let Some(seconds) = self.failed.refuse(client) {
            return too_many(seconds);
        }
        self.failed.count(client);
        key_required()
    }

    /// The caller of this key; none for a key that is not valid.
    async fn by_key(&self, digest: &KeyDigest, client: Option<IpAddr>) -> Result<Option<Admission>, DbError> {
        let admin = self.settings.admin_key.as_ref();
        if admin.is_some_and(|admin| admin.ct_eq(digest).into()) {
            return Ok(Some(Admission::of(Arc::clone(&self.environment))));
        }
        let known = match self.known.get(digest) {
            Some(known) => known,
            None => match self.find(digest, client).await? {
                Some(known) => known,
                None => return Ok(None),
            },
        };
        let mut known = known.lock().await;
        if known.looked.is_due()? && !self.read_again(&mut known).await? {
            return Ok(None);
        }
        let now = self.clock.now();
        if !known.key.is_valid(now, client) {
            return Ok(None);
        }
        let Known {
            key, caller, window, ..
        } = &mut *known;
        let standing = window.take(&self.db, key.id.as_str(), &key.settings, now).await?;
        Ok(Some(Admission {
            caller: if standing.is_within {
                Ok(Arc::clone(caller))
            } else {
                Err(too_many(standing.seconds_left()))
            },
            headers: Standing::headers(&standing),
        }))
    }

    /// Reads a known key again; false when it is gone.
    async fn read_again(&self, known: &mut Known) -> Result<bool, DbError> {
        let digest = known.key.digest;
        let found = self.store.find(digest).await;
        let Some(key) = known.looked.note(found)? else {
            self.known.invalidate(&digest);
            return Ok(false);
        };
        if key.updated_at != known.key.updated_at {
            known.caller = self.caller(&key);
            known.key = key;
        }
        Ok(true)
    }

    /// Looks for a key that this process does not know. Who fails too often is not looked up any more.
    async fn find(
        &self,
        digest: &KeyDigest,
        client: Option<IpAddr>,
    ) -> Result<Option<Arc<Mutex<Known>>>, DbError> {
        if client.is_some_and(|client| self.failed.refuse(client).is_some()) {
            return Ok(None);
        }
        let Some(key) = self.store.find(*digest).await? else {
            return Ok(None);
        };
        let known = Known {
            caller: self.caller(&key),
            key,
            looked: Looked {
                read_at: Some(Instant::now()),
                failed_at: None,
            },
            window: Window::default(),
        };
        Ok(Some(self.known.get_with(*digest, || Arc::new(Mutex::new(known)))))
    }

    fn caller(&self, key: &ApiKey) -> Arc<Caller> {
        Arc::new(Caller {
            id: key.id.as_str().into(),
            name: key.settings.name.clone(),
            permissions: key.settings.permissions.clone(),
            level_max: self.anyone.level_max,
            scope: key.settings.scope.clone(),
        })
    }

    /// Anyone, from this machine alone and while no key was ever made. A proxy on this machine has other machines behind it, and
    /// a page of another origin in a browser on it is no program of it.
    async fn without_key(&self, visit: Visit<'_>) -> Result<Option<Arc<Caller>>, DbError> {
        let Keyless { is_over, looked } = &self.keyless;
        let is_of_this_machine =
            visit.is_for_loopback && !visit.is_cross_origin && !is_forwarded(visit.headers);
        if is_over.load(Ordering::Relaxed) || !is_of_this_machine {
            return Ok(None);
        }
        let mut looked = looked.lock().await;
        if looked.is_due()? {
            let was_ever_one = self.store.was_ever_one().await;
            if looked.note(was_ever_one)? {
                is_over.store(true, Ordering::Relaxed);
                return Ok(None);
            }
        }
        Ok(Some(Arc::clone(&self.anyone)))
    }
}

fn too_many(seconds: u32) -> Problem {
    Problem::new(ProblemCode::TooManyRequests).with_retry_after(seconds)
}
