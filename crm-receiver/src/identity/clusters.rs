//! Putting records together without a guess: never two that conflict, and never one that fits two that conflict.
//!
//! A step looks at all links of one certainty at once, so its result does not depend on an order of the records. What
//! was put together by surer links counts as one.

use super::{
    bits::{Bits, Relation},
    disjoint_sets::DisjointSets,
};

/// The records of one group, as far as they are put together.
pub(super) struct Clusters {
    groups: DisjointSets,
    count: usize,
}

/// A set of records that are one person's so far.
struct Cluster {
    members: Bits,
    /// The records that conflict with one of them.
    conflicts: Bits,
    /// Whether there are none.
    without_conflict: bool,
    /// The other clusters that a link leads to, by their indices, but for those in conflict with it or with another of
    /// them.
    sure: Vec<usize>,
    /// Whether there are such others: the cluster fits two in conflict.
    undecided: bool,
}

impl Cluster {
    /// Whether it conflicts with any of these records that is not of its own.
    fn conflicts_in(&self, records: &Bits) -> bool {
        !self.without_conflict && self.conflicts.meets_outside(records, &self.members)
    }
}

impl Clusters {
    /// Each record alone.
    pub fn new(count: usize) -> Self {
        Self {
            groups: DisjointSets::new(count),
            count,
        }
    }

    /// Puts together what `links` link, as far as nothing in `conflicts` speaks against it. What fits two in conflict is
    /// linked to neither; `alone`: nor to anything else, where the links are too weak to make one person of several such.
    pub fn step(&mut self, links: &Relation, conflicts: &Relation, alone: bool) {
        let mut clusters = self.clusters(links, conflicts);
        if alone {
            let undecided = clusters.iter_mut().filter(|cluster| cluster.undecided);
            undecided.for_each(|cluster| cluster.sure.clear());
        }
        let mut linked = DisjointSets::new(clusters.len());
        for (at, cluster) in clusters.iter().enumerate() {
            for near in &cluster.sure {
                if clusters[*near].sure.binary_search(&at).is_ok() {
                    linked.unite(at, *near);
                }
            }
        }
        for set in linked.sets() {
            let all = self.members_of(set.iter().map(|at| &clusters[*at]));
            // Two that conflict may be linked through several that fit both sides of none.
            if !set.iter().any(|at| clusters[*at].conflicts_in(&all)) {
                self.groups.unite_all(&all.iter().collect::<Vec<_>>());
            }
        }
    }

    /// The records in sets, each set one person's.
    pub fn sets(&mut self) -> Vec<Vec<usize>> {
        self.groups.sets()
    }

    fn clusters(&mut self, links: &Relation, conflicts: &Relation) -> Vec<Cluster> {
        let sets = self.groups.sets();
        let mut cluster_of = vec![0; self.count];
        for (at, set) in sets.iter().enumerate() {
            set.iter().for_each(|record| cluster_of[*record] = at);
        }
        let mut clusters: Vec<Cluster> = sets.iter().map(|set| self.cluster(set, conflicts)).collect();
        let near: Vec<Vec<usize>> = sets
            .iter()
            .enumerate()
            .map(|(at, set)| near(at, set, &clusters, &cluster_of, links))
            .collect();
        for (at, mut near) in near.into_iter().enumerate() {
            let count = near.len();
            if !near.iter().all(|near| clusters[*near].without_conflict) {
                let all = self.members_of(near.iter().map(|near| &clusters[*near]));
                near.retain(|near| !clusters[*near].conflicts_in(&all));
            }
            clusters[at].undecided = near.len() < count;
            clusters[at].sure = near;
        }
        clusters
    }

    fn cluster(&self, set: &[usize], conflicts: &Relation) -> Cluster {
        let mut cluster = Cluster {
            members: Bits::new(self.count),
            conflicts: Bits::new(self.count),
            without_conflict: true,
            sure: Vec::new(),
            undecided: false,
        };
        for record in set {
            cluster.members.insert(*record);
            cluster.conflicts.insert_all(conflicts.of(*record));
        }
        cluster.without_conflict = cluster.conflicts.is_empty();
        cluster
    }

    fn members_of<'c>(&self, clusters: impl Iterator<Item = &'c Cluster>) -> Bits {
        let mut all = Bits::new(self.count);
        clusters.for_each(|cluster| all.insert_all(&cluster.members));
        all
    }
}

/// The clusters that a cluster is linked to and does not conflict with.
fn near(
    at: usize,
    set: &[usize],
    clusters: &[Cluster],
    cluster_of: &[usize],
    links: &Relation,
) -> Vec<usize> {
    let mut linked = Bits::new(cluster_of.len());
    set.iter().for_each(|record| linked.insert_all(links.of(*record)));
    let mut near: Vec<usize> = linked.iter().map(|record| cluster_of[record]).collect();
    near.sort_unstable();
    near.dedup();
    near.retain(|other| {
        let own = &clusters[at];
        *other != at && (own.without_conflict || !own.conflicts.meets(&clusters[*other].members))
    });
    near
}
