//! Taking webhooks in: from header lines and raw bytes to a committed row, or to an answer that says why not.
//!
//! ```text
//! RawDelivery --verify--> Verified --parse, payload--> Arrival --batcher--> Accepted::{New, Duplicate, IdReuse}
//! ```
//! Each step is a type, so that unverified bytes cannot be parsed and nothing unparsed is kept. The unique key of the
//! inbox decides what is new; the cache and the joining in memory only save work.

pub mod batcher;
pub mod counts;
pub mod delivery;
mod error;
pub mod flights;
pub mod guard;
pub mod lane;
mod meters;
pub mod seen_cache;
pub mod source;

pub use batcher::{Batcher, Brought, Origins};
pub use error::IngestError;
pub use lane::{CommitListeners, IngestLimits, Lane, open};
pub use meters::IngestMeters;
pub use source::{PMS, Sources};
