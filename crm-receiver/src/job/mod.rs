//! Jobs of other services, as far as these report them: values and pure functions, without a table, a clock or a request.
//!
//! An [`update`] is one body of a sender of the scheme `job-status`; [`fold`] decides which update of a job stands, in any
//! order in which they come; [`registration`] is what is known of a job before its sender says anything.

pub mod fold;
pub mod registration;
pub mod status;
pub mod update;

pub use fold::{Outcome, Standing};
pub use registration::Registration;
pub use status::JobStatus;
pub use update::JobUpdate;

/// What the audit log calls a job.
pub const JOB_KIND: &str = "job";
