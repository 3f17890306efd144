//! One state of the tables: who may send, looked up by the path alone, and the decoys that stand in for everyone else.

use super::{
    FOREIGN_NETWORK, PMS, UNKNOWN_SOURCE,
    keys::{SenderKey, TableKey, of_list, open_digest_keys, open_keys, schemes},
};
use crate::{
    ingest::{
        IngestError,
        counts::Counts,
        queue_share::{LaneQueue, QueuePlace},
        refusals::Refusals,
        source_usage::SourceUsage,
    },
    store::{OnInvalid, RATE_WINDOW_SECONDS, SealedDigestKey, Source, SourceRows},
};
use contract::{
    Entropy, PropertyId, Scope, SecretList, SourceId, UnixMillis,
    scheme::{DigestKey, Key, Scheme},
};
use ipnet::IpNet;
use kit::{
    access::{Limit, is_allowed},
    secrets::MasterKeys,
};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

/// A source with its keys, or a decoy, which has none.
#[derive(Debug)]
pub struct Sender {
    /// Who it is, or why nobody.
    pub(in crate::ingest) id: Result<SourceId, &'static str>,
    pub(in crate::ingest) scheme: Arc<Scheme>,
    pub(in crate::ingest) max_skew_seconds: u32,
    pub(in crate::ingest) on_invalid: OnInvalid,
    pub(in crate::ingest) folds: bool,
    pub(in crate::ingest) property_ids: Scope,
    /// The one of a source that has one alone.
    pub(in crate::ingest) only_property: Option<PropertyId>,
    /// For bodies without an id.
    pub(in crate::ingest) digests: DigestKey,
    allowed_networks: Vec<IpNet>,
    pub(super) rate: Option<Limit>,
    /// What is counted of it here. All states of the tables share it.
    pub(super) usage: Arc<SourceUsage>,
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
    pub(super) revision: i64,
    pub(super) known: HashMap<SourceId, Arc<Sender>>,
    unknown: Arc<Sender>,
    /// The decoys of sources that are bound to networks: what is refused there is counted as theirs.
    elsewhere: HashMap<SourceId, Arc<Sender>>,
    /// Whether one of the sources may be silent for so long alone.
    pub(super) may_be_silent: bool,
    /// Of every source, the disabled ones too.
    pub(super) usages: Usages,
}

type Usages = HashMap<SourceId, Arc<SourceUsage>>;

impl Sender {
    /// What makes its refusals like all others.
    pub(in crate::ingest) fn refusals(&self) -> &Refusals {
        &self.common.refusals
    }

    /// The keys that are valid now.
    pub(in crate::ingest) fn keys(&self, now: UnixMillis) -> impl Iterator<Item = &Key> {
        self.valid(now).map(|key| &key.key)
    }

    /// Notes that the valid key of this place has signed, so that something authentic has come.
    pub(in crate::ingest) fn note_use(&self, place: usize, now: UnixMillis) {
        if let Some(key) = self.valid(now).nth(place).and_then(|key| key.of_tables.as_ref()) {
            key.used.fetch_max(now.0, Ordering::Relaxed);
        }
        self.usage.saw(now);
    }

    /// What became of its deliveries, by hour. Of nobody's it is counted too, and written nowhere.
    pub fn counts(&self) -> &Counts {
        &self.usage.counts
    }

    /// Whether it has its share of a queue.
    pub(in crate::ingest) fn has_its_share(&self, queue: &LaneQueue) -> bool {
        self.usage.places.are_all_taken(queue, self.common.is_only)
    }

    /// A place in a queue for what is authentic.
    ///
    /// # Errors
    /// As [`QueuePlaces::take`](super::queue_share::QueuePlaces::take).
    pub(in crate::ingest) fn take_place(&self, queue: &Arc<LaneQueue>) -> Result<QueuePlace, IngestError> {
        self.usage.places.take(queue, self.common.is_only)
    }

    fn valid(&self, now: UnixMillis) -> impl Iterator<Item = &SenderKey> {
        self.keys.iter().filter(move |key| key.is_valid(now))
    }
}

impl Senders {
    /// The enabled ones among the rows. Where the environment gives keys, [`PMS`] has these alone. The uses of keys go on being
    /// noted where those of `before` are.
    pub(super) fn new(
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

    pub(super) fn has_a_key(&self, now: UnixMillis) -> bool {
        let mut senders = self.known.values();
        senders.any(|sender| sender.keys(now).next().is_some())
    }

    pub(super) fn table_keys(&self) -> impl Iterator<Item = &TableKey> {
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

/// What is counted of each source, going on where it was counted before.
fn usages(sources: &[Source], before: Option<&Senders>) -> Usages {
    let usage = |source: &Source| {
        let known = before.and_then(|before| before.usages.get(&source.id));
        let usage = known.map_or_else(|| Arc::new(SourceUsage::new(source.id.as_str())), Arc::clone);
        (source.id.clone(), usage)
    };
    sources.iter().map(usage).collect()
}
