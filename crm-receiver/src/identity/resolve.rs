//! Who is the same: which profile each record belongs to, by which rule, and on what evidence.
//!
//! [`resolve`] is a pure function of the records, of the keys that too many people share, and of the decisions. It looks
//! at each group of records that share evidence by itself, so a group alone gives what the whole set gives. Within a
//! group it goes from the surest links to the least sure: decisions, then what the sources say (rank 1), then what
//! mailbox, telephone or name and birth date show (ranks 2 to 4), the last by how sure the names are.

use super::{
    birth,
    bits::Relation,
    decision::{Decision, Verdict},
    features::Features,
    groups::Groups,
    key::{IdentityKey, KeyKind},
    name::{Names, NamesLikeness},
    overruled::{Known, Pairs, take_out},
    rules::{Certainty, agreements, conflicts, fits},
    settle::Settling,
};
use crate::profile::{
    GuestKey,
    link::{Conflict, Evidence, Link, LinkRule},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
};

/// How many records are resolved in one group; slower than that by its square.
pub const GROUP_MAX: usize = 2_000;

/// Where a record belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The record under whose id the profile answers: the oldest of the profile.
    pub owner: GuestKey,
    /// Why the record belongs there.
    pub link: Link,
}

/// Gives each record of a set its profile. `shared` are the keys that link nobody ([`super::shared_keys`] of everything
/// that there is, not of the set); a decision may name records that are not in the set.
pub fn resolve(
    records: &BTreeMap<GuestKey, Features>,
    shared: &BTreeSet<IdentityKey>,
    decisions: &[Decision],
) -> BTreeMap<GuestKey, Resolved> {
    let keys: Vec<&GuestKey> = records.keys().collect();
    let place: HashMap<&GuestKey, usize> = keys.iter().enumerate().map(|(at, key)| (*key, at)).collect();
    let holders = holders(records, shared);
    let mut groups = Groups::new(keys.len());
    for (_, holders) in &holders {
        groups.unite_all(holders);
    }
    for decision in decisions {
        let named: Vec<usize> = decision
            .records()
            .filter_map(|key| place.get(key).copied())
            .collect();
        groups.unite_all(&named);
    }
    let mut of_group: HashMap<usize, Vec<(KeyKind, Vec<usize>)>> = HashMap::new();
    for (kind, holders) in holders {
        of_group
            .entry(groups.of(holders[0]))
            .or_default()
            .push((kind, holders));
    }
    let mut resolved = BTreeMap::new();
    for set in groups.sets() {
        let holders = of_group.remove(&set[0]).unwrap_or_default();
        let group = Group::new(records, &keys, &set, &holders);
        resolved.extend(group.resolve(decisions));
    }
    resolved
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

/// A link between two records of a group, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    rule: LinkRule,
    certainty: Certainty,
    one: u32,
    other: u32,
}

/// Records that share evidence, in the order of their keys.
struct Group<'r> {
    keys: Vec<&'r GuestKey>,
    features: Vec<&'r Features>,
    /// For each record the number of its names, equal for equal names.
    names: Vec<usize>,
    distinct_names: Vec<&'r Names>,
    holders: Vec<(KeyKind, Vec<usize>)>,
}

impl<'r> Group<'r> {
    fn new(
        records: &'r BTreeMap<GuestKey, Features>,
        keys: &[&'r GuestKey],
        set: &[usize],
        holders: &[(KeyKind, Vec<usize>)],
    ) -> Self {
        let within = |record: &usize| {
            set.binary_search(record)
                .expect("a key's holders are of one group")
        };
        let keys: Vec<&GuestKey> = set.iter().map(|at| keys[*at]).collect();
        let features: Vec<&Features> = keys.iter().map(|key| &records[*key]).collect();
        let distinct: BTreeSet<&Names> = features.iter().map(|features| &features.names).collect();
        let distinct_names: Vec<&Names> = distinct.into_iter().collect();
        let number =
            |features: &&Features| distinct_names.binary_search(&&features.names).unwrap_or_default();
        Self {
            names: features.iter().map(number).collect(),
            keys,
            features,
            holders: holders
                .iter()
                .map(|(kind, holders)| (*kind, holders.iter().map(within).collect()))
                .collect(),
            distinct_names,
        }
    }

    fn resolve(&self, decisions: &[Decision]) -> Vec<(GuestKey, Resolved)> {
        if self.keys.len() == 1 {
            return vec![self.alone(0)];
        }
        let count = self.keys.len();
        let mut compared = Compared::new(self);
        let (same, apart) = self.decided(decisions);
        let mut edges: Vec<Edge> = Vec::new();
        for one in 0..count {
            for other in same.of(one).iter().filter(|other| *other > one) {
                edges.push(compared.edge(LinkRule::Decision, one, other));
            }
        }
        for (kind, holders) in &self.holders {
            for (at, one) in holders.iter().enumerate() {
                for other in &holders[at + 1..] {
                    if !apart.contains(*one, *other) {
                        edges.extend(compared.rule(*kind, *one, *other));
                    }
                }
            }
        }
        let mut settling = Settling::new(count);
        let mut links = Relation::new(count);
        let of_rank = |rank| edges.iter().filter(move |edge| edge.rule.rank() == rank);
        add(&mut links, of_rank(0));
        settling.step(&links, &apart, false);
        let decided = settling.sets();
        add(&mut links, of_rank(1));
        settling.step(&links, &apart, false);
        let conflicts = compared.conflicts(&edges, &apart, &decided, &settling.sets());
        for certainty in Certainty::ALL {
            let of_certainty = edges
                .iter()
                .filter(|edge| edge.rule.rank() > 1 && edge.certainty == certainty);
            if add(&mut links, of_certainty) {
                settling.step(&links, &conflicts, !certainty.knows_given_names());
            }
        }
        edges.sort_unstable();
        let sets = settling.sets();
        let mut set_of = vec![0; count];
        for (at, set) in sets.iter().enumerate() {
            set.iter().for_each(|record| set_of[*record] = at);
        }
        let mut within: Vec<Vec<Edge>> = vec![Vec::new(); sets.len()];
        for edge in edges {
            if set_of[place(edge.one)] == set_of[place(edge.other)] {
                within[set_of[place(edge.one)]].push(edge);
            }
        }
        let explained = sets.iter().zip(&within);
        explained
            .flat_map(|(set, edges)| self.explained(set, edges, decisions, &mut compared))
            .collect()
    }

    /// The pairs of which the last decision says that they are one person's, and those of which it says that they are not.
    fn decided(&self, decisions: &[Decision]) -> (Relation, Relation) {
        let count = self.keys.len();
        let (mut same, mut apart) = (Relation::new(count), Relation::new(count));
        let mut in_order: Vec<&Decision> = decisions.iter().collect();
        in_order.sort_by_key(|decision| (decision.at, &decision.id));
        let places = |side: &BTreeSet<GuestKey>| -> Vec<usize> {
            let places = side.iter().filter_map(|key| self.keys.binary_search(&key).ok());
            places.collect()
        };
        for decision in in_order {
            let (now, before) = match decision.verdict {
                Verdict::Same => (&mut same, &mut apart),
                Verdict::Different => (&mut apart, &mut same),
            };
            let right = places(&decision.right);
            for one in places(&decision.left) {
                for other in right.iter().filter(|other| **other != one) {
                    now.insert(one, *other);
                    before.remove(one, *other);
                }
            }
        }
        (same, apart)
    }

    /// Each record of a profile with the surest links by which all of them hang together, from the owner on.
    fn explained(
        &self,
        set: &[usize],
        edges: &[Edge],
        decisions: &[Decision],
        compared: &mut Compared<'_, '_>,
    ) -> Vec<(GuestKey, Resolved)> {
        let owner = self.oldest(set);
        let mut linked = Groups::new(self.keys.len());
        let mut tree: HashMap<usize, Vec<Edge>> = HashMap::new();
        for edge in edges {
            if linked.unite(place(edge.one), place(edge.other)) {
                tree.entry(place(edge.one)).or_default().push(*edge);
                tree.entry(place(edge.other)).or_default().push(*edge);
            }
        }
        let mut resolved = vec![self.belongs(owner, owner, Link::OWN)];
        let mut reached = VecDeque::from([(owner, owner)]);
        while let Some((record, from)) = reached.pop_front() {
            for edge in tree.get(&record).into_iter().flatten() {
                let next = place(edge.one) + place(edge.other) - record;
                if next != from {
                    let link = self.link(*edge, record, decisions, compared);
                    resolved.push(self.belongs(next, owner, link));
                    reached.push_back((next, record));
                }
            }
        }
        resolved
    }

    fn link(&self, edge: Edge, with: usize, decisions: &[Decision], compared: &mut Compared<'_, '_>) -> Link {
        let (one, other) = (place(edge.one), place(edge.other));
        let is_it = |decision: &&Decision| {
            decision.verdict == Verdict::Same && decision.is_about(self.keys[one], self.keys[other])
        };
        let decided = decisions
            .iter()
            .filter(is_it)
            .max_by_key(|decision| (decision.at, &decision.id));
        let decision = decided.filter(|_| edge.rule == LinkRule::Decision);
        Link {
            rule: edge.rule,
            evidence: Some(Evidence {
                with: self.keys[with].clone(),
                decision: decision.map(|decision| decision.id.clone()),
                conflicts: compared.against(one, other),
            }),
        }
    }

    /// The oldest record: the first that was made, those that do not say when last; of equals the first by its key.
    fn oldest(&self, set: &[usize]) -> usize {
        let made = |record: &&usize| {
            let at = self.features[**record].created_at;
            (Reverse(at.is_some()), at, **record)
        };
        set.iter().min_by_key(made).copied().unwrap_or_default()
    }

    fn alone(&self, record: usize) -> (GuestKey, Resolved) {
        self.belongs(record, record, Link::OWN)
    }

    fn belongs(&self, record: usize, owner: usize, link: Link) -> (GuestKey, Resolved) {
        let owner = self.keys[owner].clone();
        (self.keys[record].clone(), Resolved { owner, link })
    }
}

/// Adds links to a relation; whether there were any.
fn add<'e>(links: &mut Relation, edges: impl Iterator<Item = &'e Edge>) -> bool {
    let mut any = false;
    for edge in edges {
        links.insert(place(edge.one), place(edge.other));
        any = true;
    }
    any
}

fn place(record: u32) -> usize {
    usize::try_from(record).expect("a group's places fit in memory")
}

/// The comparisons of a group's names, each made once.
struct Compared<'g, 'r> {
    group: &'g Group<'r>,
    names: HashMap<(usize, usize), NamesLikeness>,
}

impl<'g, 'r> Compared<'g, 'r> {
    fn new(group: &'g Group<'r>) -> Self {
        Self {
            group,
            names: HashMap::new(),
        }
    }

    fn names(&mut self, one: usize, other: usize) -> NamesLikeness {
        let group = self.group;
        let (one, other) = (group.names[one], group.names[other]);
        let pair = (one.min(other), one.max(other));
        *self
            .names
            .entry(pair)
            .or_insert_with(|| group.distinct_names[pair.0].compare(group.distinct_names[pair.1]))
    }

    fn edge(&mut self, rule: LinkRule, one: usize, other: usize) -> Edge {
        let birth = birth::compare(self.group.features[one].birth, self.group.features[other].birth);
        let number = |record: usize| u32::try_from(record).expect("a group is small");
        Edge {
            rule,
            certainty: Certainty::of(self.names(one, other), birth),
            one: number(one.min(other)),
            other: number(one.max(other)),
        }
    }

    /// The link that a rule makes of two records with a key in common; none where a conflict forbids it.
    fn rule(&mut self, kind: KeyKind, one: usize, other: usize) -> Option<Edge> {
        let birth = birth::compare(self.group.features[one].birth, self.group.features[other].birth);
        let rule = fits(kind, self.names(one, other), birth)?;
        let forbidden = rule.rank() > 1 && !self.against(one, other).is_empty();
        (one != other && !forbidden).then(|| self.edge(rule, one, other))
    }

    /// The conflicts among records that any chain of links connects, but for those that ranks 0 and 1 have overruled, and
    /// the pairs that shall stay apart.
    fn conflicts(
        &mut self,
        edges: &[Edge],
        apart: &Relation,
        decided: &[Vec<usize>],
        known: &[Vec<usize>],
    ) -> Relation {
        let mut chains = Groups::new(self.group.keys.len());
        let mut links = Relation::new(self.group.keys.len());
        for edge in edges {
            chains.unite(place(edge.one), place(edge.other));
            links.insert(place(edge.one), place(edge.other));
        }
        let mut conflicts = apart.clone();
        for chain in chains.sets() {
            for (at, one) in chain.iter().enumerate() {
                for other in &chain[at + 1..] {
                    if !self.against(*one, *other).is_empty() {
                        conflicts.insert(*one, *other);
                    }
                }
            }
        }
        let several = |sets: &&Vec<usize>| sets.len() > 1;
        let decided = decided.iter().filter(several).map(|members| Known {
            members,
            decided: true,
        });
        let known = known.iter().filter(several).map(|members| Known {
            members,
            decided: false,
        });
        for known in decided.chain(known) {
            take_out(&mut conflicts, &known, &links, apart, self);
        }
        conflicts
    }
}

impl Pairs for Compared<'_, '_> {
    fn against(&mut self, one: usize, other: usize) -> BTreeSet<Conflict> {
        let names = self.names(one, other);
        let group = self.group;
        let same_source = group.keys[one].source == group.keys[other].source;
        conflicts(group.features[one], group.features[other], names, same_source)
    }

    fn for_it(&mut self, one: usize, other: usize) -> BTreeSet<Conflict> {
        let names = self.names(one, other);
        agreements(self.group.features[one], self.group.features[other], names)
    }
}

#[cfg(test)]
mod tests;
