//! Records that share evidence, and their comparisons two by two, each made once.

use super::{
    bits::Relation,
    disjoint_sets::DisjointSets,
    features::Features,
    key::KeyKind,
    name::{Names, NamesLikeness},
    overruled::{Known, Pairs, overruled},
    rules::{Certainty, Compared, Fields, fits},
};
use crate::profile::{GuestKey, link::LinkRule};
use std::collections::BTreeSet;

/// A link between two records of a group, by their indices. The order is that of certainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    /// The rule that links them.
    pub rule: LinkRule,
    /// How sure names and birth dates are.
    pub certainty: Certainty,
    one: u32,
    other: u32,
}

impl Edge {
    /// The two records, the smaller index first.
    pub fn ends(self) -> (usize, usize) {
        let index = |record| usize::try_from(record).expect("a group fits in memory");
        (index(self.one), index(self.other))
    }
}

/// Records that share evidence, in the order of their keys.
pub(super) struct Group<'r> {
    /// Which records.
    pub keys: Vec<&'r GuestKey>,
    /// What is compared of each.
    pub features: Vec<&'r Features>,
    /// For each record the number of its names, equal for equal names.
    names: Vec<usize>,
    distinct_names: Vec<&'r Names>,
    /// How alike the names of two numbers are, as far as they were compared.
    names_compared: Vec<Vec<Option<NamesLikeness>>>,
    /// What two records say of each other, as far as they were compared: under the greater index, by the smaller.
    compared: Vec<Vec<Option<Compared>>>,
    /// How many comparisons were made.
    pub counted: Counted,
}

/// How many comparisons a group took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// Of two records.
    pub records: usize,
    /// Of two names.
    pub names: usize,
}

impl<'r> Group<'r> {
    /// A group of these records, in the order of their keys.
    pub fn new(records: impl Iterator<Item = (&'r GuestKey, &'r Features)>) -> Self {
        let (keys, features): (Vec<_>, Vec<_>) = records.unzip();
        let distinct: BTreeSet<&Names> = features
            .iter()
            .map(|features: &&Features| &features.names)
            .collect();
        let distinct_names: Vec<&Names> = distinct.into_iter().collect();
        let number =
            |features: &&Features| distinct_names.binary_search(&&features.names).unwrap_or_default();
        Self {
            names: features.iter().map(number).collect(),
            compared: vec![Vec::new(); keys.len()],
            keys,
            features,
            names_compared: vec![Vec::new(); distinct_names.len()],
            distinct_names,
            counted: Counted::default(),
        }
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The link that a rule makes of two records.
    pub fn edge(&mut self, rule: LinkRule, one: usize, other: usize) -> Edge {
        let compared = self.compare(one, other);
        let number = |record: usize| u32::try_from(record).expect("a group is small");
        Edge {
            rule,
            certainty: Certainty::of(compared.names, compared.birth),
            one: number(one.min(other)),
            other: number(one.max(other)),
        }
    }

    /// The link of two records that share a key of this kind; none where no rule fits, or a conflict forbids it.
    pub fn link(&mut self, kind: KeyKind, one: usize, other: usize) -> Option<Edge> {
        if one == other {
            return None;
        }
        let compared = self.compare(one, other);
        let rule = fits(kind, compared.names, compared.birth)?;
        let forbidden = rule.rank() > 1 && !compared.against.is_empty();
        (!forbidden).then(|| self.edge(rule, one, other))
    }

    /// The conflicts among records that any chain of links connects, but for those that ranks 0 and 1 have overruled, and
    /// the pairs that shall stay apart. `decided` are the people as decisions know them, `known` as ranks 0 and 1 do.
    pub fn conflicts(
        &mut self,
        edges: &[Edge],
        apart: &Relation,
        decided: &[Vec<usize>],
        known: &[Vec<usize>],
    ) -> Relation {
        let mut chains = DisjointSets::new(self.len());
        let mut links = Relation::new(self.len());
        for edge in edges {
            let (one, other) = edge.ends();
            chains.unite(one, other);
            links.insert(one, other);
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
        let several = |members: &&Vec<usize>| members.len() > 1;
        let decided = decided.iter().filter(several).map(|members| Known {
            members,
            decided: true,
        });
        let known = known.iter().filter(several).map(|members| Known {
            members,
            decided: false,
        });
        let people: Vec<Known<'_>> = decided.chain(known).collect();
        for (one, other) in overruled(&conflicts, &people, &links, apart, self) {
            conflicts.remove(one, other);
        }
        conflicts
    }

    /// What two different records say of each other.
    fn compare(&mut self, one: usize, other: usize) -> Compared {
        let (one, other) = (one.min(other), one.max(other));
        if let Some(Some(compared)) = self.compared[other].get(one) {
            return *compared;
        }
        let names = self.names(one, other);
        let same_source = self.keys[one].source == self.keys[other].source;
        let compared = Compared::of(self.features[one], self.features[other], names, same_source);
        self.counted.records += 1;
        let row = &mut self.compared[other];
        row.resize(other, None);
        row[one] = Some(compared);
        compared
    }

    fn names(&mut self, one: usize, other: usize) -> NamesLikeness {
        let (one, other) = (self.names[one], self.names[other]);
        let (one, other) = (one.min(other), one.max(other));
        let row = &mut self.names_compared[one];
        row.resize(self.distinct_names.len(), None);
        *row[other].get_or_insert_with(|| {
            self.counted.names += 1;
            self.distinct_names[one].compare(self.distinct_names[other])
        })
    }
}

impl Pairs for Group<'_> {
    fn against(&mut self, one: usize, other: usize) -> Fields {
        self.compare(one, other).against
    }

    fn for_it(&mut self, one: usize, other: usize) -> Fields {
        self.compare(one, other).agreed
    }
}
