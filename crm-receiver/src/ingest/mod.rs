//! Accepting webhooks: from header lines and raw bytes to a committed row, or to an answer that says why not.
//!
//! ```text
//! RawDelivery --verify--> VerifiedDelivery --parse, payload--> Arrival --batcher--> Accepted::{New, Duplicate, IdReuse}
//! ```
//! Each step is a type, so that unverified bytes cannot be parsed and nothing unparsed is kept. The unique key of the
//! inbox decides what is new; the cache of seen keys and `singleflight` only save work.

pub mod batcher;
pub mod counts;
pub mod delivery;
mod error;
mod fair_queue;
pub mod guard;
mod job_updates;
pub mod lane;
mod meters;
mod queue_share;
mod refusals;
pub mod rejections;
pub mod seen_cache;
pub mod singleflight;
pub mod source;
mod source_usage;

pub use batcher::Batcher;
pub use error::IngestError;
pub use job_updates::JobUpdates;
pub use lane::{IngestLimits, Lane, open};
pub use meters::{FAILED_TOO_OFTEN, IngestMeters, OVER_RATE, OVER_SHARE};
pub use source::{PMS, Sender, Senders, Sources};
