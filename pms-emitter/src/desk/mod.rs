//! What a front desk does: make, change and delete a guest; book a reservation and change it with every command; make and
//! change a property, and close its day; and what an integrator does: subscribe an endpoint, change and end it, and have events delivered again; register types of
//! events, and publish events of other systems.
//!
//! Each is one function of the store, the domain and the clock. It reads the present state, lets `domain` decide what becomes
//! of it, and writes that with its event by one method of `store`. It knows no request and chooses no answer: what a request says
//! comes in as plain values, the caller passes the function that makes the answer to keep, and what was done goes out as
//! that answer or as a state. So an endpoint, a page of a console and a test call the same function.

mod adoption;
mod answer;
mod catalogue;
mod decide_again;
mod deliveries;
mod error;
mod event_types;
mod expected_version;
mod guests;
mod night_audit;
mod properties;
mod publications;
mod reservations;
mod runs;
mod vault;
mod webhook_secrets;
mod webhook_tests;
mod webhooks;

pub use adoption::Environment;
pub use answer::AnswerToKeep;
pub use catalogue::Catalogue;
pub use decide_again::DECISIONS_MAX;
pub use deliveries::Wakeups;
pub use error::DeskError;
pub use expected_version::ExpectedVersion;
pub use guests::GuestWithWarnings;
pub use publications::Receipt;
pub use reservations::DatedReservation;
pub use runs::RunAsked;
pub use vault::Vault;
pub use webhook_secrets::RotatedSecret;
pub use webhook_tests::SendTest;
pub use webhooks::MadeEndpoint;

use crate::domain::{
    change::Change,
    event::{EventPayload, envelope},
    guest_document::DigestKey,
    origin::Origin,
};
use crate::store::{NewEvent, Store};
use contract::Ids;
use contract::{Clock, EventId, TypedId, UnixMillis};
use kit::egress::Egress;
use std::sync::Arc;

/// What a front desk works with. Clones share everything.
#[derive(Clone)]
pub struct Desk {
    /// Everything that is kept.
    pub store: Store,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Ids,
    /// Makes and encrypts the secrets of endpoints.
    pub vault: Vault,
    /// The key of the digests of guests' documents.
    pub digest_key: Arc<DigestKey>,
    /// Says where deliveries may go.
    pub egress: Egress,
    /// Sends tests of endpoints.
    pub send_test: SendTest,
    /// What publishing an event asks again and again.
    pub catalogue: Catalogue,
    /// Wakes those that work on what was made due.
    pub wakeups: Wakeups,
}

impl Desk {
    /// A new id of its type.
    fn new_id<T: TypedId>(&self) -> T {
        let id = self.ids.new_id(T::PREFIX).parse();
        id.unwrap_or_else(|_| unreachable!("the ids we make are valid ids"))
    }

    /// The event of a change that is committed at `now`.
    fn new_event<T: EventPayload>(&self, origin: &Origin, change: &Change<T>, now: UnixMillis) -> NewEvent {
        let id: EventId = self.new_id();
        NewEvent {
            envelope: envelope(&id, change, now, Some(origin.correlation_id.to_string())),
            id,
            committed_at: now,
            traceparent: origin.traceparent.clone(),
        }
    }
}
