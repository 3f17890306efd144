//! What people decided: that records are one person's, or that they are not.

use crate::profile::GuestKey;
use contract::UnixMillis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use strum::{EnumString, IntoStaticStr};

/// What was decided.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Verdict {
    /// One person.
    Same,
    /// Two people: no rule links them.
    Different,
}

/// A decision between two sets of records, mostly two whole profiles as they were: it holds for each record of the one
/// with each of the other. Of two decisions about the same pair the later one stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its id; of two decisions at one instant the greater id counts as the later.
    pub id: String,
    /// When it was made.
    pub at: UnixMillis,
    /// What was decided.
    pub verdict: Verdict,
    /// One side.
    pub left: BTreeSet<GuestKey>,
    /// The other side.
    pub right: BTreeSet<GuestKey>,
}

impl Decision {
    /// Every record that it names.
    pub fn records(&self) -> impl Iterator<Item = &GuestKey> {
        self.left.iter().chain(&self.right)
    }

    /// Whether it is about this pair, whichever is on which side.
    pub fn is_about(&self, one: &GuestKey, other: &GuestKey) -> bool {
        let sides = |left, right| self.left.contains(left) && self.right.contains(right);
        one != other && (sides(one, other) || sides(other, one))
    }
}
