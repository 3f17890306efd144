//! A cache of committed keys, to answer a repeat without the database: it says "seen and committed", or nothing.
//!
//! It is written only after a commit, so an unsigned or failed request leaves no trace in it, and it never says "new".
//! It never says "another body" either: erasure may have dropped the row's fingerprint since, so that is left to the
//! database. Losing it, or having none, changes no answer.
//!
//! Keys are remembered by their hashes alone, under a seed of this process. Two keys of one hash only push each other out:
//! a hit needs the same body too, and a body holds its key, though not its source.

use crate::event::{DedupeKey, Fingerprint};
use contract::EventId;
use foldhash::quality::RandomState;
use moka::{policy::EvictionPolicy, sync::Cache};
use std::{
    hash::{BuildHasher, BuildHasherDefault, Hasher},
    time::Duration,
};

/// Committed keys that are remembered by default.
pub const SEEN_ENTRIES: u64 = 20_000;
/// How long a key is remembered: most retries come within minutes, and digests of personal data are not kept for longer
/// than needed.
const SEEN_FOR: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
struct Seen {
    event_id: EventId,
    fingerprint: Fingerprint,
}

/// Committed keys, the least recently used one leaving first.
#[derive(Clone, Debug)]
pub struct SeenCache {
    seen: Cache<u64, Seen, BuildHasherDefault<Hashed>>,
    hashes: RandomState,
}

/// The hash of a key that is a hash already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a u64 is written as one")
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

impl SeenCache {
    /// A cache of so many `entries`; with 0 it remembers nothing.
    pub fn new(entries: u64) -> Self {
        // The default policy refuses new keys when it is full, and it is the new ones that are repeated.
        let seen = Cache::builder()
            .max_capacity(entries)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(SEEN_FOR)
            .build_with_hasher(BuildHasherDefault::default());
        Self {
            seen,
            hashes: RandomState::default(),
        }
    }

    /// The id under which this very body was committed, if that is remembered.
    pub fn find(&self, key: &DedupeKey, body: &[u8]) -> Option<EventId> {
        let seen = self.seen.get(&self.hashes.hash_one(key))?;
        seen.fingerprint.matches(body).then_some(seen.event_id)
    }

    /// Remembers a key. Only ever after its commit.
    pub fn committed(&self, key: &DedupeKey, event_id: EventId, fingerprint: Fingerprint) {
        let seen = Seen {
            event_id,
            fingerprint,
        };
        self.seen.insert(self.hashes.hash_one(key), seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> DedupeKey {
        DedupeKey {
            source: "pms".parse().unwrap(),
            id: id.parse().unwrap(),
        }
    }

    fn remember(cache: &SeenCache, id: &str) {
        cache.committed(&key(id), id.parse().unwrap(), Fingerprint::of([0; 16], b"body"));
        cache.seen.run_pending_tasks();
    }

    #[test]
    fn answers_for_the_same_body_alone() {
        let cache = SeenCache::new(10);
        remember(&cache, "evt_1");
        assert_eq!(cache.find(&key("evt_1"), b"body"), Some("evt_1".parse().unwrap()));
        assert_eq!(cache.find(&key("evt_1"), b"other"), None);
        let elsewhere = DedupeKey {
            source: "other".parse().unwrap(),
            ..key("evt_1")
        };
        assert_eq!(cache.find(&elsewhere, b"body"), None);
    }

    #[test]
    fn a_full_cache_keeps_the_newest() {
        let cache = SeenCache::new(10);
        for number in 0..100 {
            remember(&cache, &format!("evt_{number}"));
        }
        assert!(cache.find(&key("evt_99"), b"body").is_some());
        assert!(cache.find(&key("evt_0"), b"body").is_none());
    }

    #[test]
    fn a_cache_of_size_0_remembers_nothing() {
        let cache = SeenCache::new(0);
        remember(&cache, "evt_1");
        assert_eq!(cache.find(&key("evt_1"), b"body"), None);
    }
}
