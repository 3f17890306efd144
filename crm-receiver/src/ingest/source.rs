//! Who may send, and the decoy that stands in for everyone else.
//!
//! [`Senders`] is one state of the tables, which never changes: a request looks its sender up there without waiting for
//! anybody. [`Sources`] holds the present one and replaces it: at once after a change of this process, and within a second or
//! two after one of another, which it hears of by the revision in the tables.
//!
//! An unknown or disabled source, and one that sends from a network that is not its own, is answered exactly as a known one
//! with a wrong signature, after the same work: [`Refusals`].

mod watch;

use self::watch::Watch;
use super::{
    IngestError,
    counts::Counts,
    queue_share::{LaneQueue, QueuePlace},
    refusals::Refusals,
    source_usage::SourceUsage,
};
use crate::store::{
    HasKey, OnInvalid, RATE_WINDOW_SECONDS, SealedDigestKey, Source, SourceRows, SourceSecret, Store,
};
use arc_swap::ArcSwap;
use contract::{
    Clock, Entropy, PropertyId, Scope, Secret, SecretId, SecretList, SourceId, UnixMillis,
    scheme::{DigestKey, Key, Scheme},
};
use db::DbError;
use futures::future::BoxFuture;
use ipnet::IpNet;
use kit::{
    access::{Limit, is_allowed},
    lifecycle::Lifecycle,
    secrets::MasterKeys,
};
use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
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

/// One key of a sender.
#[derive(Clone, Debug)]
pub struct SenderKey {
    key: Key,
    /// Of what the tables have; the environment's are valid as long as the process runs.
    of_tables: Option<TableKey>,
}

#[derive(Clone, Debug)]
struct TableKey {
    id: SecretId,
    until: Option<UnixMillis>,
    /// When it last signed, as far as that is not written yet; 0 for never. All states of the tables share it.
    used: Arc<AtomicI64>,
}

/// A source with its keys, or a decoy, which has none.
#[derive(Debug)]
pub struct Sender {
    /// Who it is, or why nobody.
    pub(super) id: Result<SourceId, &'static str>,
    pub(super) scheme: Arc<Scheme>,
    pub(super) max_skew_seconds: u32,
    pub(super) on_invalid: OnInvalid,
    pub(super) folds: bool,
    pub(super) property_ids: Scope,
    /// The one of a source that has one alone.
    pub(super) only_property: Option<PropertyId>,
    /// For bodies without an id.
    pub(super) digests: DigestKey,
    allowed_networks: Vec<IpNet>,
    rate: Option<Limit>,
    /// What is counted of it here. All states of the tables share it.
    usage: Arc<SourceUsage>,
    keys: Vec<SenderKey>,
    common: Common,
}

/// What all senders of one state share.
#[derive(Clone, Debug)]
struct Common {
    refusals: Arc<Refusals>,
    /// Whether at most one source can sign.
    is_only: bool,
}

/// All senders as of one revision of the tables, looked up by the path alone.
#[derive(Debug)]
pub struct Senders {
    revision: i64,
    known: HashMap<SourceId, Arc<Sender>>,
    unknown: Arc<Sender>,
    /// The decoys of sources that are bound to networks: what is refused there is counted as theirs.
    elsewhere: HashMap<SourceId, Arc<Sender>>,
    /// Whether one of the sources may be silent for so long alone.
    may_be_silent: bool,
    /// Of every source, the disabled ones too.
    usages: Usages,
}

type Usages = HashMap<SourceId, Arc<SourceUsage>>;

/// The senders of this process.
#[derive(Clone)]
pub struct Sources(Arc<Shared>);

struct Shared {
    present: ArcSwap<Senders>,
    /// Held by who replaces the senders.
    replacing: Mutex<()>,
    /// Held by who writes counts, so that who reads them after a write finds all that were taken before.
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

impl SenderKey {
    fn is_valid(&self, now: UnixMillis) -> bool {
        self.of_tables
            .as_ref()
            .is_none_or(|key| key.until.is_none_or(|until| now < until))
    }
}

impl Sender {
    /// What makes its refusals like all others.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.common.refusals
    }

    /// The keys that are valid now.
    pub(super) fn keys(&self, now: UnixMillis) -> impl Iterator<Item = &Key> {
        self.valid(now).map(|key| &key.key)
    }

    /// Notes that the valid key of this place has signed, so that something authentic has come.
    pub(super) fn note_use(&self, place: usize, now: UnixMillis) {
        if let Some(key) = self.valid(now).nth(place).and_then(|key| key.of_tables.as_ref()) {
            key.used.fetch_max(now.0, Ordering::Relaxed);
        }
        self.usage.saw(now);
    }

    /// What became of its deliveries, by hour. Of nobody's it is counted too, and written nowhere.
    pub fn counts(&self) -> &Counts {
        &self.usage.counts
    }

    /// A place in a queue for what is authentic.
    ///
    /// # Errors
    /// As [`QueuePlaces::take`](super::queue_share::QueuePlaces::take).
    pub(super) fn take_place(&self, queue: &Arc<LaneQueue>) -> Result<QueuePlace, IngestError> {
        self.usage.places.take(queue, self.common.is_only)
    }

    fn valid(&self, now: UnixMillis) -> impl Iterator<Item = &SenderKey> {
        self.keys.iter().filter(move |key| key.is_valid(now))
    }
}

impl Senders {
    /// The enabled ones among the rows. Where the environment gives keys, [`PMS`] has these alone. The uses of keys go on being
    /// noted where those of `before` are.
    fn new(
        rows: SourceRows,
        of_environment: Option<&SecretList>,
        master_keys: &MasterKeys,
        before: Option<&Self>,
        entropy: &dyn Entropy,
    ) -> Self {
        let sources = rows.sources;
        let schemes = schemes(&sources);
        let mut keys = open_keys(&rows.secrets, &schemes, master_keys, before);
        if let Some(secrets) = of_environment {
            keys.insert(PMS.parse().expect("it is a valid id"), of_list(secrets));
        }
        let usages = usages(&sources, before);
        let is_only = sources
            .iter()
            .filter(|source| source.settings.enabled && keys.contains_key(&source.id))
            .count()
            <= 1;
        let none = Vec::new();
        let known_keys = sources.iter().map(|source| {
            let own = keys.get(&source.id).unwrap_or(&none);
            (&schemes[&source.id], own.iter().map(|key| &key.key))
        });
        let skews = sources.iter().map(|source| source.settings.max_skew_seconds);
        let widest = skews.max().unwrap_or_default();
        let common = Common {
            refusals: Arc::new(Refusals::new(known_keys, widest, entropy)),
            is_only,
        };
        let nobody = |cause, usage: &Arc<SourceUsage>| {
            Arc::new(Sender {
                id: Err(cause),
                scheme: Scheme::standard(),
                max_skew_seconds: common.refusals.widest_skew_seconds,
                on_invalid: OnInvalid::Reject,
                folds: false,
                property_ids: Scope::All,
                only_property: None,
                digests: DigestKey::random(entropy),
                allowed_networks: Vec::new(),
                rate: None,
                usage: Arc::clone(usage),
                keys: Vec::new(),
                common: common.clone(),
            })
        };
        let bound = sources
            .iter()
            .filter(|source| !source.settings.allowed_networks.is_empty());
        let elsewhere = bound.map(|source| (source.id.clone(), nobody(FOREIGN_NETWORK, &usages[&source.id])));
        let elsewhere = elsewhere.collect();
        let unknown = nobody(UNKNOWN_SOURCE, &Arc::new(SourceUsage::new(UNKNOWN_SOURCE)));
        let may_be_silent = sources
            .iter()
            .any(|source| source.settings.enabled && source.settings.silent_after_seconds.is_some());
        let mut digests = open_digest_keys(&rows.digest_keys, master_keys);
        let enabled = sources.into_iter().filter(|source| source.settings.enabled);
        let senders = enabled.filter_map(|source| {
            let own = keys.remove(&source.id).unwrap_or_default();
            let usage = Arc::clone(&usages[&source.id]);
            let digests = digests.remove(&source.id)?;
            let id = source.id.clone();
            Some((id, Sender::of(source, own, digests, usage, common.clone())))
        });
        let known: HashMap<_, _> = senders.collect();
        Self {
            revision: rows.revision,
            known,
            unknown,
            elsewhere,
            may_be_silent,
            usages,
        }
    }

    /// The sources of these rows with no keys but the environment's, as tests make them.
    pub fn of_environment(sources: Vec<Source>, secrets: &SecretList, entropy: &dyn Entropy) -> Self {
        let mut key = [0; 32];
        entropy.fill(&mut key);
        let master_keys = MasterKeys::spell(&key).parse().expect("it is a key");
        let digest_key = |source: &Source| SealedDigestKey::random(&source.id, &master_keys, entropy);
        let rows = SourceRows {
            digest_keys: sources.iter().map(digest_key).collect(),
            sources,
            ..SourceRows::default()
        };
        Self::new(rows, Some(secrets), &master_keys, None, entropy)
    }

    /// The sender of that name, or a decoy. The client is asked for only where it matters.
    pub fn named(&self, name: &str, client: impl FnOnce() -> Option<IpAddr>) -> &Arc<Sender> {
        let id = name.parse().ok();
        let Some((id, known)) = id.and_then(|id: SourceId| self.known.get_key_value(&id)) else {
            return &self.unknown;
        };
        if known.allowed_networks.is_empty() || is_allowed(&known.allowed_networks, client()) {
            known
        } else {
            &self.elsewhere[id]
        }
    }

    fn has_a_key(&self, now: UnixMillis) -> bool {
        let mut senders = self.known.values();
        senders.any(|sender| sender.keys(now).next().is_some())
    }

    fn table_keys(&self) -> impl Iterator<Item = &TableKey> {
        let keys = self.known.values().flat_map(|sender| &sender.keys);
        keys.filter_map(|key| key.of_tables.as_ref())
    }
}

impl Sender {
    fn of(
        source: Source,
        keys: Vec<SenderKey>,
        digests: DigestKey,
        usage: Arc<SourceUsage>,
        common: Common,
    ) -> Arc<Self> {
        let settings = source.settings;
        Arc::new(Self {
            id: Ok(source.id),
            scheme: settings.scheme.scheme(),
            max_skew_seconds: settings.max_skew_seconds,
            on_invalid: settings.on_invalid,
            folds: settings.folds,
            only_property: settings.property_ids.only().and_then(|code| code.parse().ok()),
            property_ids: settings.property_ids,
            digests,
            allowed_networks: settings.allowed_networks,
            rate: settings.rate_limit.map(|count| Limit {
                count,
                window_seconds: RATE_WINDOW_SECONDS,
            }),
            usage,
            keys,
            common,
        })
    }
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

    /// Reads the tables again whenever their revision has changed, and writes what was counted of the sources, until a stop.
    pub fn run(self, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
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
                // What the database cannot answer now, it is asked again; the outage is logged where requests fail.
                if let Ok(revision) = self.0.store.sources_revision().await
                    && revision != self.0.present.load().revision
                {
                    self.changed().await;
                }
            }
        })
    }

    /// Writes when secrets were used. What cannot be written is tried with the next ones.
    pub async fn write_uses(&self) {
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

/// What is counted of each source, going on where it was counted before.
fn usages(sources: &[Source], before: Option<&Senders>) -> Usages {
    let usage = |source: &Source| {
        let known = before.and_then(|before| before.usages.get(&source.id));
        let usage = known.map_or_else(|| Arc::new(SourceUsage::new(source.id.as_str())), Arc::clone);
        (source.id.clone(), usage)
    };
    sources.iter().map(usage).collect()
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

fn open_digest_keys(rows: &[SealedDigestKey], master_keys: &MasterKeys) -> HashMap<SourceId, DigestKey> {
    let open = |row: &SealedDigestKey| {
        let key = row.open(master_keys);
        if key.is_none() {
            does_not_open(&row.source, "digest key");
        }
        Some((row.source.clone(), key?))
    };
    rows.iter().filter_map(open).collect()
}

fn schemes(sources: &[Source]) -> HashMap<SourceId, Arc<Scheme>> {
    let scheme = |source: &Source| (source.id.clone(), source.settings.scheme.scheme());
    sources.iter().map(scheme).collect()
}

/// The keys of these rows, by their sources. Their uses go on being noted where those of `before` are.
fn open_keys(
    rows: &[SourceSecret],
    schemes: &HashMap<SourceId, Arc<Scheme>>,
    master_keys: &MasterKeys,
    before: Option<&Senders>,
) -> HashMap<SourceId, Vec<SenderKey>> {
    let uses: HashMap<_, _> = before
        .into_iter()
        .flat_map(Senders::table_keys)
        .map(|key| (&key.id, &key.used))
        .collect();
    let mut keys = HashMap::<SourceId, Vec<SenderKey>>::new();
    for row in rows {
        let Some(scheme) = schemes.get(&row.source) else {
            continue;
        };
        let used = uses.get(&row.id).map(|used| Arc::clone(used));
        if let Some(key) = open(row, scheme, master_keys, used.unwrap_or_default()) {
            keys.entry(row.source.clone()).or_default().push(key);
        }
    }
    keys
}

fn of_list(secrets: &SecretList) -> Vec<SenderKey> {
    let key = |secret: &Secret| SenderKey {
        key: Key::Shared(secret.clone()),
        of_tables: None,
    };
    secrets.as_slice().iter().map(key).collect()
}

/// The key of a row, unless it does not open there, or is none of the scheme's: then nobody can sign with it.
fn open(
    row: &SourceSecret,
    scheme: &Scheme,
    master_keys: &MasterKeys,
    used: Arc<AtomicI64>,
) -> Option<SenderKey> {
    let place = SourceSecret::row(&row.source, &row.id);
    let text = master_keys
        .open(SourceSecret::place(&place), &row.sealed)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(key) = text.and_then(|text| scheme.key(&text).ok()) else {
        does_not_open(&row.source, row.id.as_str());
        return None;
    };
    Some(SenderKey {
        key,
        of_tables: Some(TableKey {
            id: row.id.clone(),
            until: row.until,
            used,
        }),
    })
}

fn does_not_open(source: &SourceId, what: &str) {
    tracing::error!(
        secret.id = what,
        source = source.as_str(),
        "a secret does not open: another master key encrypted it, or it was changed or moved"
    );
}

/// An outage is logged where batches fail.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn failed_draw(error: DbError) -> IngestError {
    if !error.is_outage() {
        tracing::error!(error = %error, "a source's rate cannot be drawn from");
    }
    IngestError::Unavailable
}
