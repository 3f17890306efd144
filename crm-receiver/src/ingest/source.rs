//! Who may send.
//!
//! [`Senders`] is one state of the tables, which never changes: a request looks its sender up there without waiting for
//! anybody. [`Sources`] holds the present one and replaces it: at once after a change of this process, and within a second or
//! two after one of another, which it hears of by the revision in the tables.
//!
//! An unknown or disabled source, and one that sends from a network that is not its own, is answered exactly as a known one
//! with a wrong signature, after the same work: `refusals`.

mod keys;
mod senders;
mod watch;

pub use self::senders::{Sender, Senders};

use self::{
    keys::{open, schemes},
    watch::Watch,
};
use super::IngestError;
use crate::store::{HasKey, SealedDigestKey, Source, SourceRows, SourceSecret, Store};
use arc_swap::ArcSwap;
use contract::{Clock, Entropy, SecretId, SecretList, SourceId, UnixMillis, scheme::Key};
use db::DbError;
use futures::future::BoxFuture;
use kit::{lifecycle::Lifecycle, secrets::MasterKeys};
use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

/// The source whose keys and skew the environment gives, where it gives them.
pub const PMS: &str = "pms";
/// Why a delivery is refused whose source is not known, or disabled.
pub const UNKNOWN_SOURCE: &str = "unknown_source";
/// Why a delivery is refused that does not come from a network of its source.
pub const FOREIGN_NETWORK: &str = "foreign_network";

/// For how long a delivery waits at most for a draw from its source's rate.
const DRAW_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at the revision in the tables.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many looks later it is written what was counted.
const LOOKS_PER_WRITE: u32 = 5;

/// The senders of this process.
#[derive(Clone)]
pub struct Sources(Arc<Shared>);

struct Shared {
    present: ArcSwap<Senders>,
    /// Held by who replaces the senders.
    replacing: Mutex<()>,
    /// Held by who writes counts and uses of secrets, or reads them with what is not written yet.
    writing: Mutex<()>,
    /// How many sources are silent.
    silent: AtomicUsize,
    store: Store,
    master_keys: MasterKeys,
    /// The keys of [`PMS`], where the environment gives them.
    of_environment: Option<SecretList>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Sources {
    /// The senders of the tables.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn open(
        store: &Store,
        master_keys: MasterKeys,
        of_environment: Option<SecretList>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, DbError> {
        let rows = rows(store, &master_keys, entropy.as_ref()).await?;
        let senders = Senders::new(
            rows,
            of_environment.as_ref(),
            &master_keys,
            None,
            entropy.as_ref(),
        );
        if !senders.has_a_key(clock.now()) {
            tracing::warn!("no source has a secret: every webhook is refused");
        }
        Ok(Self(Arc::new(Shared {
            present: ArcSwap::from_pointee(senders),
            replacing: Mutex::default(),
            writing: Mutex::default(),
            silent: AtomicUsize::default(),
            store: store.clone(),
            master_keys,
            of_environment,
            clock,
            entropy,
        })))
    }

    /// The sender of that name, or a decoy.
    pub fn named(&self, name: &str, client: impl FnOnce() -> Option<IpAddr>) -> Arc<Sender> {
        Arc::clone(self.0.present.load().named(name, client))
    }

    /// The sender of that name, if there is one and it is enabled, wherever it sends from.
    pub fn enabled(&self, source: &SourceId) -> Option<Arc<Sender>> {
        self.0.present.load().known.get(source).map(Arc::clone)
    }

    /// Whether a path of that name is one of a source.
    pub fn is_known(&self, name: &str) -> bool {
        let id = name.parse::<SourceId>();
        id.is_ok_and(|id| self.0.present.load().known.contains_key(&id))
    }

    /// Counts an authentic delivery against the rate of its source, and answers the seconds to wait where it is one too many.
    /// `is_shut`: the database counts as unavailable, so nobody waits for a draw.
    ///
    /// # Errors
    /// `Unavailable` when nothing is left of what was drawn, and the database does not answer.
    pub async fn take_rate(
        &self,
        sender: &Sender,
        is_shut: bool,
        now: UnixMillis,
    ) -> Result<Option<u32>, IngestError> {
        let Some(rate) = sender.rate else {
            return Ok(None);
        };
        let limiter = &sender.usage.limiter;
        let standing = match limiter.take_drawn(rate, now) {
            Some(standing) => standing,
            None if is_shut => return Err(IngestError::Unavailable),
            None => timeout(DRAW_WITHIN, limiter.take(&self.0.store.draws, rate, now))
                .await
                .unwrap_or(Err(DbError::Timeout))
                .map_err(failed_draw)?,
        };
        Ok((!standing.is_within()).then(|| standing.seconds_left()))
    }

    /// Whether the environment decides what this source is and signs with.
    pub fn is_of_environment(&self, id: &SourceId) -> bool {
        self.0.of_environment.is_some() && id.as_str() == PMS
    }

    /// Whether a source signs with a key, or may again: no two may, since what was signed for one path would be taken at the
    /// other.
    pub fn has_key(&self, key: Key) -> HasKey {
        let shared = Arc::clone(&self.0);
        Arc::new(move |rows| {
            let of_environment = shared.of_environment.iter().flat_map(SecretList::as_slice);
            let mut of_environment = of_environment.cloned().map(Key::Shared);
            let schemes = schemes(&rows.sources);
            let now = shared.clock.now();
            let mut of_tables = rows
                .secrets
                .iter()
                .filter(|row| !row.has_ended(now))
                .filter_map(|row| {
                    let scheme = schemes.get(&row.source)?;
                    open(row, scheme, &shared.master_keys, Arc::default())
                });
            of_environment.any(|known| known == key) || of_tables.any(|known| known.key == key)
        })
    }

    /// A new digest key of a source that is to be made.
    pub fn digest_key(&self, source: &SourceId) -> SealedDigestKey {
        SealedDigestKey::random(source, &self.0.master_keys, self.0.entropy.as_ref())
    }

    /// A secret's text as it is kept in the tables.
    pub fn seal(&self, source: &SourceId, id: &SecretId, text: &str) -> Vec<u8> {
        let Shared {
            master_keys, entropy, ..
        } = &*self.0;
        let row = SourceSecret::row(source, id);
        master_keys.seal(SourceSecret::place(&row), text.as_bytes(), entropy.as_ref())
    }

    /// Reads the tables again, after a change of this process. When that fails, the next look does it.
    pub async fn changed(&self) {
        if let Err(error) = self.0.replace().await {
            tracing::warn!(error = %error, "the sources are not read again yet");
        }
    }

    /// Reads the tables again whenever their revision has changed, until a stop. Nothing else is waited for here: a secret that
    /// is ended at another replica has to end at this one too.
    pub fn run(self, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            loop {
                tokio::select! {
                    () = lifecycle.stopping() => return,
                    () = sleep(LOOK_EVERY) => {}
                }
                // What the database cannot answer now, it is asked again; the outage is logged where requests fail.
                if let Ok(revision) = self.0.store.sources_revision().await
                    && revision != self.0.present.load().revision
                {
                    self.changed().await;
                }
            }
        })
    }

    /// Writes what was counted of the sources every few seconds, and looks for silent ones, until a stop.
    pub fn watch(self, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut watch = Watch::default();
            loop {
                let stopping = tokio::select! {
                    () = lifecycle.stopping() => true,
                    () = sleep(LOOK_EVERY) => false,
                };
                watch.look(&self, stopping).await;
                if stopping {
                    return;
                }
            }
        })
    }

    /// Writes what was counted after the last look.
    pub async fn write_rest(&self) {
        self.write_uses().await;
        self.write_counts().await;
    }

    /// Writes when secrets were used. What cannot be written is tried with the next ones.
    pub async fn write_uses(&self) {
        let _one_at_a_time = self.0.writing.lock().await;
        let present = self.0.present.load_full();
        let mut taken = Vec::new();
        for key in present.table_keys() {
            let at = key.used.swap(0, Ordering::Relaxed);
            if at != 0 {
                taken.push((key, at));
            }
        }
        if taken.is_empty() {
            return;
        }
        // In one order in every replica, or two of them could wait for each other.
        taken.sort_unstable_by_key(|(key, _)| &key.id);
        let used = taken.iter().map(|(key, at)| (key.id.clone(), UnixMillis(*at)));
        if self.0.store.note_secrets_used(used.collect()).await.is_err() {
            for (key, at) in taken {
                key.used.fetch_max(at, Ordering::Relaxed);
            }
        }
    }

    /// The secrets of a source, used as the tables say, or later, as far as this process has not written it yet.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn secrets_of(&self, source: &SourceId) -> Result<Vec<SourceSecret>, DbError> {
        // A use that is being written just now would be in neither.
        let _nobody_writes = self.0.writing.lock().await;
        let mut secrets = self.0.store.source_secrets(source).await?;
        for key in self.0.present.load_full().table_keys() {
            let at = key.used.load(Ordering::Relaxed);
            if at != 0
                && let Some(secret) = secrets.iter_mut().find(|secret| secret.id == key.id)
            {
                secret.last_used_at = secret.last_used_at.max(Some(UnixMillis(at)));
            }
        }
        Ok(secrets)
    }
}

impl Shared {
    async fn replace(&self) -> Result<(), DbError> {
        let _one_at_a_time = self.replacing.lock().await;
        let rows = rows(&self.store, &self.master_keys, self.entropy.as_ref()).await?;
        let before = self.present.load_full();
        let senders = Senders::new(
            rows,
            self.of_environment.as_ref(),
            &self.master_keys,
            Some(&before),
            self.entropy.as_ref(),
        );
        self.present.store(Arc::new(senders));
        Ok(())
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Sources").field(&self.0.present.load()).finish()
    }
}

/// The rows, with a digest key for every source: those that the version before made have none yet.
async fn rows(store: &Store, master_keys: &MasterKeys, entropy: &dyn Entropy) -> Result<SourceRows, DbError> {
    let rows = store.source_rows().await?;
    let has_one = |source: &&Source| rows.digest_keys.iter().any(|key| key.source == source.id);
    let missing = rows.sources.iter().filter(|source| !has_one(source));
    let made: Vec<_> = missing
        .map(|source| SealedDigestKey::random(&source.id, master_keys, entropy))
        .collect();
    if made.is_empty() {
        return Ok(rows);
    }
    store.keep_digest_keys(made).await?;
    store.source_rows().await
}

/// An outage is logged where batches fail.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn failed_draw(error: DbError) -> IngestError {
    if !error.is_outage() {
        tracing::error!(error = %error, "a source's rate cannot be drawn from");
    }
    IngestError::Unavailable
}
