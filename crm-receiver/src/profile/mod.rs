//! Guest profiles and how they follow from records and events: pure functions, without a table, a clock or a request.
//!
//! [`record`] holds the latest known state of one guest or reservation of one source; [`linkage`] says which records
//! make up which profile; [`derive()`] makes a [`Profile`] of the records linked to a person and of the history
//! received for them, and of nothing else. So replay, late events, erasure and new rules are all handled in one way:
//! derive again. [`survivorship`] says which value is shown, [`metrics`] counts, [`view`] adds what depends on the date
//! that is asked for, which at each property is another ([`property_day`]).

pub mod consent;
pub mod contents;
pub mod derive;
pub mod guest;
pub mod history;
pub mod link;
pub mod linkage;
pub mod metrics;
mod payload;
pub mod property_day;
pub mod record;
pub mod reservation_status;
pub mod stay;
pub mod summary;
pub mod survivorship;
pub mod terms;
pub mod view;

pub use contents::Profile;
pub use derive::derive;
pub use link::{Link, LinkRule};
pub use linkage::Linkage;
pub use record::{GuestKey, Record, RecordKey, RecordKind, Role};
pub use reservation_status::ReservationStatus;
