//! Records for the tests of this module, and what became of them in a few words.

use super::{Decision, Features, IdentityKey, Resolved, Verdict, features, resolve, shared_keys};
use crate::{event::permutations::sent, profile::GuestKey};
use contract::UnixMillis;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A guest of a hotel: `"lisbon/7"` is guest `7` of the source `lisbon`.
pub fn key(name: &str) -> GuestKey {
    let (source, id) = name.split_once('/').unwrap_or(("pms", name));
    GuestKey {
        source: source.parse().unwrap(),
        id: id.parse().unwrap(),
    }
}

/// Records as the receiver would hold them.
pub fn records<const N: usize>(payloads: [(&str, Value); N]) -> BTreeMap<GuestKey, Features> {
    payloads
        .into_iter()
        .map(|(name, payload)| (key(name), read(name, payload)))
        .collect()
}

/// The features of one record.
pub fn read(name: &str, payload: Value) -> Features {
    let key = key(name);
    let mut record = sent("guest.updated", key.id.as_str(), 1, 5, payload).record;
    record.key.source = key.source;
    features(&record)
}

/// The decision, of `"a b"` with `"c"`, made at that instant.
pub fn decision(at: i64, verdict: Verdict, left: &str, right: &str) -> Decision {
    let side = |names: &str| names.split(' ').map(key).collect();
    Decision {
        id: format!("dec_{at}"),
        at: UnixMillis(at),
        verdict,
        left: side(left),
        right: side(right),
    }
}

/// The whole set resolved, with the keys that are shared in it.
pub fn resolved(
    records: &BTreeMap<GuestKey, Features>,
    decisions: &[Decision],
) -> BTreeMap<GuestKey, Resolved> {
    let shared: BTreeSet<IdentityKey> = shared_keys(records);
    let resolution = resolve(records, &shared, decisions);
    assert!(resolution.left.is_empty());
    resolution.resolved
}

/// The profiles of more than one record: `"a b, c d"`, without the sources.
pub fn profiles(resolved: &BTreeMap<GuestKey, Resolved>) -> String {
    let mut profiles: BTreeMap<&GuestKey, Vec<&str>> = BTreeMap::new();
    for (key, resolved) in resolved {
        profiles.entry(&resolved.owner).or_default().push(key.id.as_str());
    }
    let several = profiles.into_values().filter(|ids| ids.len() > 1);
    several.map(|ids| ids.join(" ")).collect::<Vec<_>>().join(", ")
}
