//! Conflicts that a decision or a source has overruled, so that they speak against nobody else.
//!
//! Records that ranks 0 and 1 have put together are one person's, whatever conflicts among them: two birth dates, of
//! which one is wrong, or Bill and William. Another record with one of these dates or names agrees with that person,
//! though it conflicts with the other. And where somebody decided that Bill is William, two more records, one of each
//! name, do not conflict either: that is what was decided. For a card that two people use nobody decided anything: of
//! two more records, one of each name, both stay alone.

use super::{
    bits::{Bits, Relation},
    rules::Fields,
};
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
    fn against(&mut self, one: usize, other: usize) -> Fields;
    /// The fields that both records have and that agree.
    fn for_it(&mut self, one: usize, other: usize) -> Fields;
}

/// The pairs whose conflict is overruled by these people. All are read from the relation as it was before any was taken
/// out, so the order in which the people are looked at decides nothing. `links` says which records a rule links with which;
/// a pair of `apart` shall stay apart and is never among them.
pub(super) fn overruled(
    conflicts: &Relation,
    known: &[Known<'_>],
    links: &Relation,
    apart: &Relation,
    pairs: &mut impl Pairs,
) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for known in known {
        let mut opposed = conflicts.none();
        let mut near = conflicts.none();
        for member in known.members {
            opposed.insert_all(conflicts.of(*member));
            near.insert_all(links.of(*member));
        }
        if !known.members.iter().any(|member| opposed.contains(*member)) {
            continue;
        }
        for member in known.members {
            opposed.remove(*member);
            near.remove(*member);
        }
        for other in opposed.iter() {
            let vouching = vouching(other, known.members, conflicts, pairs);
            let against = known
                .members
                .iter()
                .filter(|member| conflicts.contains(other, **member) && !apart.contains(other, **member));
            for member in against {
                let fields = pairs.against(other, *member);
                if vouching.iter().any(|agreed| fields.is_subset(*agreed)) {
                    found.push((other, *member));
                }
            }
        }
        if known.decided {
            found.extend(decided(conflicts, &near, known.members, apart, pairs));
        }
    }
    found
}

/// The pairs whose conflict a decision overruled among the other records that a rule links with the person.
fn decided(
    conflicts: &Relation,
    near: &Bits,
    members: &[usize],
    apart: &Relation,
    pairs: &mut impl Pairs,
) -> Vec<(usize, usize)> {
    let near: Vec<(usize, Vec<Fields>)> = near
        .iter()
        .map(|record| (record, vouching(record, members, conflicts, pairs)))
        .filter(|(_, vouching)| !vouching.is_empty())
        .collect();
    let mut found = Vec::new();
    for (at, (one, of_one)) in near.iter().enumerate() {
        for (other, of_other) in &near[at + 1..] {
            if !conflicts.contains(*one, *other) || apart.contains(*one, *other) {
                continue;
            }
            let fields = pairs.against(*one, *other);
            let agrees = |vouching: &[Fields]| vouching.iter().any(|agreed| fields.is_subset(*agreed));
            if agrees(of_one) && agrees(of_other) {
                found.push((*one, *other));
            }
        }
    }
    found
}

/// The fields in which a record agrees with each of the person's records that it is in no conflict with. One of these
/// must agree in every field in question: the name of one and the date of another make no person.
fn vouching(record: usize, members: &[usize], conflicts: &Relation, pairs: &mut impl Pairs) -> Vec<Fields> {
    let with = members
        .iter()
        .filter(|member| !conflicts.contains(record, **member));
    let agreed: BTreeSet<Fields> = with.map(|member| pairs.for_it(record, *member)).collect();
    agreed.into_iter().filter(|fields| !fields.is_empty()).collect()
}
