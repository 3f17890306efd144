//! Which update of a job stands.

use super::JobStatus;
use contract::{UnixMillis, id::IdempotencyKey};
use serde::Serialize;
use std::cmp::Reverse;
use strum::IntoStaticStr;

/// An update, as far as it matters whether it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The status that it brings the job to.
    pub status: JobStatus,
    /// When that was, by its sender.
    pub at: UnixMillis,
    /// Of its body; no two updates of a job have the same.
    pub digest: IdempotencyKey,
}

/// What an update is to its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Outcome {
    /// The job is as it says.
    Stands,
    /// It is intermediate, and of a time before what stands.
    Superseded,
    /// Another terminal one stands, and this is terminal too, or of a later time.
    Stale,
}

impl Standing {
    /// Whether this one stands in place of the other. A terminal one does before any intermediate one; the earlier one of two
    /// that are terminal, since a job ends once; the later one of two that are intermediate. What is of the same time is
    /// ordered by stage and digest, so that nothing depends on which came first.
    fn outranks(&self, other: &Self) -> bool {
        let (one, another) = (self.status.is_terminal(), other.status.is_terminal());
        if one && another {
            (self.at, &self.digest) < (other.at, &other.digest)
        } else {
            self.intermediate_rank() > other.intermediate_rank()
        }
    }

    /// Any terminal one has a higher rank than every intermediate one.
    fn intermediate_rank(&self) -> (bool, UnixMillis, JobStatus, Reverse<&IdempotencyKey>) {
        let terminal = self.status.is_terminal();
        (terminal, self.at, self.status, Reverse(&self.digest))
    }

    /// What this update is to a job in which `standing` stands.
    pub fn outcome(&self, standing: &Self) -> Outcome {
        if self == standing {
            return Outcome::Stands;
        }
        let is_late = self.status.is_terminal() || self.at > standing.at;
        if standing.status.is_terminal() && is_late {
            Outcome::Stale
        } else {
            Outcome::Superseded
        }
    }

    /// Whether a job in which this stands has ended by another update than that one.
    pub fn has_ended_without(&self, update: &Self) -> bool {
        self.status.is_terminal() && self != update
    }
}

/// Which stands of what stood and one more. Whatever comes in whatever order and however often, the same one stands in the end.
pub fn fold(stood: Option<Standing>, update: Standing) -> Standing {
    match stood {
        Some(stood) if !update.outranks(&stood) => stood,
        _ => update,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn update(status: JobStatus, at: i64, digest: &str) -> Standing {
        Standing {
            status,
            at: UnixMillis(at),
            digest: digest.parse().unwrap(),
        }
    }

    fn stands(updates: &[Standing]) -> Standing {
        let folded = updates
            .iter()
            .cloned()
            .fold(None, |stood, update| Some(fold(stood, update)));
        folded.unwrap()
    }

    /// Of few times and digests, so that many are equal in one or the other.
    fn updates() -> impl Strategy<Value = Vec<Standing>> {
        let status = prop::sample::select(vec![
            JobStatus::Pending,
            JobStatus::Initializing,
            JobStatus::Generating,
            JobStatus::Saving,
            JobStatus::Completed,
            JobStatus::Failed,
        ]);
        let one = (status, 0..5_i64, 0..9_u8);
        let one = one.prop_map(|(status, at, digest)| update(status, at, &format!("body_{digest}")));
        // A digest is that of a body: two updates with the same one are the same.
        prop::collection::vec(one, 1..12).prop_map(|mut all| {
            all.sort_by(|one, other| one.digest.cmp(&other.digest));
            all.dedup_by(|one, other| one.digest == other.digest);
            all
        })
    }

    /// Updates, and the same in another order with some of them repeated.
    fn shuffled() -> impl Strategy<Value = (Vec<Standing>, Vec<Standing>)> {
        updates().prop_flat_map(|all| {
            let again = prop::sample::subsequence(all.clone(), 0..=all.len());
            let shuffled = again.prop_flat_map({
                let all = all.clone();
                move |again| Just([all.clone(), again].concat()).prop_shuffle()
            });
            (Just(all), shuffled)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn updates_in_any_order_and_number_end_in_the_same_job_and_history((all, shuffled) in shuffled()) {
            let standing = stands(&all);
            prop_assert_eq!(&stands(&shuffled), &standing);
            prop_assert_eq!(all.iter().filter(|one| one.outcome(&standing) == Outcome::Stands).count(), 1);
            let ends = all.iter().filter(|one| one.status.is_terminal());
            let earliest = ends.min_by_key(|one| (one.at, &one.digest));
            if let Some(earliest) = earliest {
                prop_assert_eq!(earliest, &standing, "the earliest terminal one stands");
            }
        }

        #[test]
        fn what_has_once_lost_stands_never_again((all, shuffled) in shuffled()) {
            let standing = stands(&all);
            let mut stood = None;
            for update in shuffled {
                let before = stood.clone();
                stood = Some(fold(stood, update));
                if before.is_some() && before != stood {
                    prop_assert_ne!(before.as_ref(), Some(&standing));
                }
            }
        }
    }

    #[test]
    fn each_update_of_a_job_has_its_outcome() {
        use JobStatus::{Completed, Failed, Generating, Saving};
        let completed = update(Completed, 10, "c");
        for (other, outcome) in [
            (completed.clone(), Outcome::Stands),
            (update(Generating, 9, "g"), Outcome::Superseded),
            (update(Generating, 10, "g"), Outcome::Superseded),
            (update(Saving, 11, "s"), Outcome::Stale),
            (update(Failed, 11, "f"), Outcome::Stale),
        ] {
            assert_eq!(other.outcome(&completed), outcome, "{other:?}");
            assert_eq!(stands(&[other.clone(), completed.clone()]), completed);
        }
        let earlier = update(Failed, 9, "f");
        assert_eq!(stands(&[completed.clone(), earlier.clone()]), earlier);
        assert_eq!(completed.outcome(&earlier), Outcome::Stale);
        let (saving, late) = (update(Saving, 3, "s"), update(Generating, 2, "g"));
        assert_eq!(stands(&[saving.clone(), late.clone()]), saving);
        assert_eq!(late.outcome(&saving), Outcome::Superseded);
        assert!(completed.has_ended_without(&late) && !saving.has_ended_without(&late));
    }
}
