//! Conflicts that a decision or a source has overruled, so that they speak against nobody else.
//!
//! Records that ranks 0 and 1 have put together are one person's, whatever conflicts among them: two birth dates, of
//! which one is wrong, or Bill and William. Another record with one of these dates or names agrees with that person,
//! though it conflicts with the other. And where somebody decided that Bill is William, two more records, one of each
//! name, do not conflict either: that is what was decided. For a card that two people use nobody decided anything: of
//! two more records, one of each name, both stay alone.

use super::bits::{Bits, Relation};
use crate::profile::link::Conflict;
use std::collections::BTreeSet;

/// A person as ranks 0 and 1 know them.
pub(super) struct Known<'s> {
    /// The records, by their indices.
    pub members: &'s [usize],
    /// Whether decisions alone put them together.
    pub decided: bool,
}

/// What is compared for that: which fields of two records conflict, and which agree.
pub(super) trait Pairs {
    /// The fields in conflict.
    fn against(&mut self, one: usize, other: usize) -> BTreeSet<Conflict>;
    /// The fields that both records have and that agree.
    fn for_it(&mut self, one: usize, other: usize) -> BTreeSet<Conflict>;
}

/// Takes the overruled conflicts out of a relation, but for the pairs that shall stay apart. `links` says which records
/// a rule links with which.
pub(super) fn take_out(
    conflicts: &mut Relation,
    known: &Known<'_>,
    links: &Relation,
    apart: &Relation,
    pairs: &mut impl Pairs,
) {
    let mut opposed = conflicts.none();
    let mut near = conflicts.none();
    for member in known.members {
        opposed.insert_all(conflicts.of(*member));
        near.insert_all(links.of(*member));
    }
    if !known.members.iter().any(|member| opposed.contains(*member)) {
        return;
    }
    for member in known.members {
        opposed.remove(*member);
        near.remove(*member);
    }
    for other in opposed.iter() {
        let fields = agreed(other, known.members, pairs);
        for member in known.members {
            let against = conflicts.contains(other, *member) && !apart.contains(other, *member);
            if against && pairs.against(other, *member).is_subset(&fields) {
                conflicts.remove(other, *member);
            }
        }
    }
    if known.decided {
        take_out_decided(conflicts, &near, known.members, apart, pairs);
    }
}

/// Takes out what a decision overruled among the other records that a rule links with the person.
fn take_out_decided(
    conflicts: &mut Relation,
    near: &Bits,
    members: &[usize],
    apart: &Relation,
    pairs: &mut impl Pairs,
) {
    let near: Vec<(usize, BTreeSet<Conflict>)> = near
        .iter()
        .map(|record| (record, agreed(record, members, pairs)))
        .collect();
    for (at, (one, fields)) in near.iter().enumerate() {
        for (other, other_fields) in &near[at + 1..] {
            let against = conflicts.contains(*one, *other) && !apart.contains(*one, *other);
            let of_the_person = |field| fields.contains(field) && other_fields.contains(field);
            if against && pairs.against(*one, *other).iter().all(of_the_person) {
                conflicts.remove(*one, *other);
            }
        }
    }
}

/// The fields in which a record agrees with one of the person's.
fn agreed(record: usize, members: &[usize], pairs: &mut impl Pairs) -> BTreeSet<Conflict> {
    members
        .iter()
        .flat_map(|member| pairs.for_it(record, *member))
        .collect()
}
