//! Who is the same: which profile each record belongs to, by which rule, and on what evidence.
//!
//! [`resolve`] is a pure function of the records, of the keys that too many people share, and of the decisions. It looks
//! at each group of records that share evidence by itself, so a group alone gives what the whole set gives. Within a
//! group it goes from the surest links to the least sure: decisions, then what the sources say (rank 1), then what
//! mailbox, telephone or name and birth date show (ranks 2 to 4), the last by how sure the names are.

use super::{
    bits::Relation,
    clusters::Clusters,
    decision::{Decision, Verdict},
    disjoint_sets::DisjointSets,
    explain::explained,
    features::Features,
    group::{Edge, Group},
    key::{IdentityKey, KeyKind},
    rules::Certainty,
};
use crate::profile::{
    GuestKey,
    link::{Link, LinkRule},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How many records are resolved in one group: memory and time grow with its square. A larger one is left as it is.
pub const GROUP_MAX: usize = 2_000;

/// What became of a set of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Where each record belongs.
    pub resolved: BTreeMap<GuestKey, Resolved>,
    /// The groups of more than [`GROUP_MAX`] records, each in the order of its keys. Nothing is said of these: their links
    /// stay as they are, and somebody has to be informed.
    pub left: Vec<Vec<GuestKey>>,
}

/// Where a record belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The record under whose id the profile answers: the oldest of the profile.
    pub owner: GuestKey,
    /// Why the record belongs there.
    pub link: Link,
}

/// Gives each record of a set its profile, but for those of groups that are too large. `shared` are the keys that link nobody ([`super::shared_keys`] of everything
/// that there is, not of the set); a decision may name records that are not in the set.
pub fn resolve(
    records: &BTreeMap<GuestKey, Features>,
    shared: &BTreeSet<IdentityKey>,
    decisions: &[Decision],
) -> Resolution {
    let all: Vec<(&GuestKey, &Features)> = records.iter().collect();
    let mut groups = DisjointSets::new(all.len());
    let holders = holders(records, shared);
    for (_, holders) in &holders {
        groups.unite_all(holders);
    }
    let index = |key: &GuestKey| all.binary_search_by_key(&key, |(key, _)| *key).ok();
    let named: Vec<(usize, &Decision)> = decisions
        .iter()
        .filter_map(|decision| {
            let named: Vec<usize> = decision.records().filter_map(index).collect();
            groups.unite_all(&named);
            Some((*named.first()?, decision))
        })
        .collect();
    let mut evidence: HashMap<usize, Evidence<'_>> = HashMap::new();
    for (kind, holders) in holders {
        let of_group = evidence.entry(groups.of(holders[0])).or_default();
        of_group.holders.push((kind, holders));
    }
    for (named, decision) in named {
        let of_group = evidence.entry(groups.of(named)).or_default();
        of_group.decisions.push(decision);
    }
    let mut resolution = Resolution::default();
    for set in groups.sets() {
        if set.len() > GROUP_MAX {
            let keys = set.iter().map(|at| all[*at].0.clone());
            resolution.left.push(keys.collect());
            continue;
        }
        let evidence = evidence.remove(&set[0]).unwrap_or_default();
        let mut group = Group::new(set.iter().map(|at| all[*at]));
        let resolved = evidence.within(&set).resolve(&mut group);
        resolution.resolved.extend(resolved);
    }
    resolution
}

/// The records that hold each key which links somebody, two at least.
fn holders(
    records: &BTreeMap<GuestKey, Features>,
    shared: &BTreeSet<IdentityKey>,
) -> Vec<(KeyKind, Vec<usize>)> {
    let mut holders: BTreeMap<IdentityKey, Vec<usize>> = BTreeMap::new();
    for (at, (own, features)) in records.iter().enumerate() {
        for key in features.keys(own) {
            holders.entry(key).or_default().push(at);
        }
    }
    for (at, own) in records.keys().enumerate() {
        if let Some(merged) = holders.get_mut(&Features::key_of_merged(own)) {
            merged.push(at);
        }
    }
    let several = holders
        .into_iter()
        .filter(|(key, holders)| holders.len() > 1 && !shared.contains(key));
    several.map(|(key, holders)| (key.kind, holders)).collect()
}

/// What the records of a group share, and what was decided about them.
#[derive(Default)]
struct Evidence<'d> {
    holders: Vec<(KeyKind, Vec<usize>)>,
    decisions: Vec<&'d Decision>,
}

impl Evidence<'_> {
    /// The same by the indices of the records within their group, which is this set.
    fn within(mut self, set: &[usize]) -> Self {
        for record in self.holders.iter_mut().flat_map(|(_, holders)| holders) {
            *record = set
                .binary_search(record)
                .expect("a key's holders are of one group");
        }
        for (_, holders) in &mut self.holders {
            holders.sort_unstable();
            holders.dedup();
        }
        self.decisions.sort_by_key(|decision| (decision.at, &decision.id));
        self
    }

    fn resolve(&self, group: &mut Group<'_>) -> Vec<(GuestKey, Resolved)> {
        let (same, apart) = self.decided(group);
        let edges = self.edges(group, &same);
        let mut clusters = Clusters::new(group.len());
        let mut links = Relation::new(group.len());
        let of_rank = |rank| edges.iter().filter(move |edge| edge.rule.rank() == rank);
        add(&mut links, of_rank(0));
        clusters.step(&links, &apart, false);
        let decided = clusters.sets();
        add(&mut links, of_rank(1));
        clusters.step(&links, &apart, false);
        let conflicts = group.conflicts(&edges, &apart, &decided, &clusters.sets());
        for certainty in Certainty::ALL {
            // By rank within a certainty: a weak link in the same step would dissolve what surer ones make two people of.
            for rank in 2..=4 {
                let shown = of_rank(rank).filter(|edge| edge.certainty == certainty);
                if add(&mut links, shown) {
                    clusters.step(&links, &conflicts, !certainty.knows_given_names());
                }
            }
        }
        explained(group, &clusters.sets(), edges, &self.decisions)
    }

    /// The pairs of which the last decision says that they are one person's, and those of which it says that they are not.
    fn decided(&self, group: &Group<'_>) -> (Relation, Relation) {
        let (mut same, mut apart) = (Relation::new(group.len()), Relation::new(group.len()));
        let indices = |side: &BTreeSet<GuestKey>| -> Vec<usize> {
            let indices = side.iter().filter_map(|key| group.keys.binary_search(&key).ok());
            indices.collect()
        };
        for decision in &self.decisions {
            let (now, before) = match decision.verdict {
                Verdict::Same => (&mut same, &mut apart),
                Verdict::Different => (&mut apart, &mut same),
            };
            let right = indices(&decision.right);
            for one in indices(&decision.left) {
                for other in right.iter().filter(|other| **other != one) {
                    now.insert(one, *other);
                    before.remove(one, *other);
                }
            }
        }
        (same, apart)
    }

    /// The surest link that a rule makes of each two records of the group.
    fn edges(&self, group: &mut Group<'_>, same: &Relation) -> Vec<Edge> {
        let mut held: Vec<Vec<(KeyKind, &[usize])>> = vec![Vec::new(); group.len()];
        for (kind, holders) in &self.holders {
            for (at, one) in holders.iter().enumerate() {
                held[*one].push((*kind, &holders[at + 1..]));
            }
        }
        let mut edges = Vec::new();
        let mut surest: Vec<Option<Edge>> = vec![None; group.len()];
        for (one, held) in held.into_iter().enumerate() {
            for other in same.of(one).iter().filter(|other| *other > one) {
                surest[other] = Some(group.edge(LinkRule::Decision, one, other));
            }
            for (kind, others) in held {
                for other in others {
                    let found = group.link(kind, one, *other);
                    surest[*other] = found.into_iter().chain(surest[*other]).min();
                }
            }
            edges.extend(surest.iter_mut().filter_map(Option::take));
        }
        edges
    }
}

/// Adds links to a relation; whether there were any.
fn add<'e>(links: &mut Relation, edges: impl Iterator<Item = &'e Edge>) -> bool {
    let mut any = false;
    for edge in edges {
        let (one, other) = edge.ends();
        links.insert(one, other);
        any = true;
    }
    any
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod ranks;
#[cfg(test)]
mod tests;
