//! Why each record of a profile is there: the surest links by which all of them hang together.

use super::{
    decision::{Decision, Verdict},
    disjoint_sets::DisjointSets,
    group::{Edge, Group},
    overruled::Pairs,
    resolve::Resolved,
};
use crate::profile::{
    GuestKey,
    link::{Evidence, Link, LinkRule},
};
use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
};

/// The records of each set with their link, from the set's oldest record on: each names the record by which it came.
/// `edges` are all links of the group.
pub(super) fn explained(
    group: &mut Group<'_>,
    sets: &[Vec<usize>],
    mut edges: Vec<Edge>,
    decisions: &[&Decision],
) -> Vec<(GuestKey, Resolved)> {
    let mut set_of = vec![0; group.len()];
    for (at, set) in sets.iter().enumerate() {
        set.iter().for_each(|record| set_of[*record] = at);
    }
    edges.sort_unstable();
    let mut linked = DisjointSets::new(group.len());
    let mut tree: HashMap<usize, Vec<Edge>> = HashMap::new();
    for edge in edges {
        let (one, other) = edge.ends();
        if set_of[one] == set_of[other] && linked.unite(one, other) {
            tree.entry(one).or_default().push(edge);
            tree.entry(other).or_default().push(edge);
        }
    }
    let mut resolved = Vec::with_capacity(group.len());
    for set in sets {
        let owner = oldest(group, set);
        let belongs = |group: &Group<'_>, record: usize, link| {
            let owner = group.keys[owner].clone();
            (group.keys[record].clone(), Resolved { owner, link })
        };
        resolved.push(belongs(group, owner, Link::OWN));
        let mut reached = VecDeque::from([(owner, owner)]);
        while let Some((record, from)) = reached.pop_front() {
            for edge in tree.get(&record).into_iter().flatten() {
                let (one, other) = edge.ends();
                let next = if one == record { other } else { one };
                if next != from {
                    let link = link(group, *edge, record, decisions);
                    resolved.push(belongs(group, next, link));
                    reached.push_back((next, record));
                }
            }
        }
    }
    resolved
}

fn link(group: &mut Group<'_>, edge: Edge, with: usize, decisions: &[&Decision]) -> Link {
    let (one, other) = edge.ends();
    let is_it = |decision: &&&Decision| {
        decision.verdict == Verdict::Same && decision.is_about(group.keys[one], group.keys[other])
    };
    let decision = decisions
        .iter()
        .filter(is_it)
        .max_by_key(|decision| (decision.at, &decision.id))
        .filter(|_| edge.rule == LinkRule::Decision);
    Link {
        rule: edge.rule,
        evidence: Some(Evidence {
            with: group.keys[with].clone(),
            decision: decision.map(|decision| decision.id.clone()),
            conflicts: group.against(one, other).shown(),
        }),
    }
}

/// The oldest record: the first that was made, those that do not say when last; of equals the first by its key.
fn oldest(group: &Group<'_>, set: &[usize]) -> usize {
    let made = |record: &&usize| {
        let at = group.features[**record].created_at;
        (Reverse(at.is_some()), at, **record)
    };
    set.iter().min_by_key(made).copied().unwrap_or_default()
}
