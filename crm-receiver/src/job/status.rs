//! How far a job is, as its sender names it.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantNames};

/// The status of a job, in the order of its stages.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum JobStatus {
    /// It waits; also a job that is registered, and of which nothing has come.
    #[default]
    Pending,
    /// It begins.
    Initializing,
    /// It is at work.
    Generating,
    /// It keeps its result.
    Saving,
    /// It has ended, with a result.
    Completed,
    /// It has ended, with an error.
    Failed,
}

impl JobStatus {
    /// Whether nothing comes after it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// How much of it is done, in per cent, where the sender says nothing else; None of one that has failed.
    pub const fn progress(self) -> Option<u8> {
        match self {
            Self::Pending => Some(0),
            Self::Initializing => Some(10),
            Self::Generating => Some(50),
            Self::Saving => Some(90),
            Self::Completed => Some(100),
            Self::Failed => None,
        }
    }
}
