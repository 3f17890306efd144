//! Taking webhooks in: from header lines and raw bytes to a committed row, or to an answer that says why not.
//!
//! ```text
//! RawDelivery --verify--> Verified --parse, payload--> Arrival --batcher--> Accepted::{New, Duplicate, IdReuse}
//! ```
//! Each step is a type, so that unverified bytes cannot be parsed and nothing unparsed is kept. The unique key of the
//! inbox decides what is new; the cache and the joining in memory only save work.

pub mod accepted;
pub mod batcher;
pub mod counts;
pub mod delivery;
pub mod fingerprint;
pub mod flights;
pub mod guard;
pub mod lane;
pub mod payload;
pub mod seen_cache;
pub mod source;
pub mod underway;

pub use accepted::{Accepted, IngestError};
pub use batcher::{Batcher, Brought, Origins};
pub use delivery::Arrival;
pub use lane::{IngestLimits, Lane, Told, open};
pub use source::{OnInvalid, PMS, Source, Sources};
pub use underway::Underway;
