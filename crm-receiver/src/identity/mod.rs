//! Who is the same: which guest records are one person's. Pure functions, without a table, a clock or a request.
//!
//! [`features()`] reads of a record what says who the person is, and under which keys ([`key`]) it is found; [`resolve()`]
//! gives each record of a group its profile, with the rule and the evidence, by [`rules`] over two records, in steps
//! that never guess (`clusters`). What people decided comes first ([`decision`]).

pub mod birth;
mod bits;
pub mod candidates;
mod clusters;
pub mod decision;
mod disjoint_sets;
mod explain;
pub mod features;
mod group;
pub mod key;
pub mod name;
mod overruled;
pub mod resolve;
pub mod rules;
#[cfg(test)]
mod testing;
pub mod weights;

pub use candidates::{Candidate, CandidateKind, candidates};
pub use decision::{Decision, Verdict};
pub use features::{Features, features};
pub use key::{IdentityKey, KeyKind, shared_keys};
pub use resolve::{Resolution, Resolved, resolve};
