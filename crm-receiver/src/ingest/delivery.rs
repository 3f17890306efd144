//! A delivery from its header lines to an event that may be kept, one type for each step.
//!
//! [`RawDelivery`] has passed the checks of the headers alone, before the body is read; [`VerifiedDelivery`] is signed
//! by a key of its source; [`Arrival`] is parsed and can be kept. So the types enforce the order of the checks.

use super::source::Sender;
use crate::{
    event::{Arrival, Intake, payload},
    store::OnInvalid,
};
use bytes::Bytes;
use contract::{
    Envelope, FieldError, SourceId, UnixMillis,
    signature::{Cause, SignedHeaders, TimelyHeaders, Unauthentic, Verified},
};
use serde_json::Map;
use std::sync::Arc;

/// A delivery whose headers are well-formed, once each, and in time: its body may be read.
#[derive(Debug)]
pub struct RawDelivery {
    sender: Arc<Sender>,
    headers: TimelyHeaders,
    received_at: UnixMillis,
}

/// A body that a key of its source signed.
#[derive(Debug)]
pub struct VerifiedDelivery {
    source: SourceId,
    sender: Arc<Sender>,
    delivery: Verified,
}

/// What the types of events begin with that become records.
const RECORDS: [&str; 2] = ["guest.", "reservation."];

/// Why a delivery is refused, for the counters; the answer to what is not authentic does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The cause's name.
    pub cause: &'static str,
    /// The sender's clock minus ours, when the timestamp could be read.
    pub skew_seconds: Option<i64>,
}

impl RawDelivery {
    /// Checks everything that needs no body: each header once and well-formed, the time, the number of signatures. The time is
    /// held against the widest skew of any source, or the answer would tell which sources there are.
    pub fn read<'a>(
        sender: Arc<Sender>,
        lines: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        now: UnixMillis,
    ) -> Result<Self, Rejection> {
        let headers = SignedHeaders::read(lines)?.within(now.seconds(), sender.widest_skew_seconds)?;
        Ok(Self {
            sender,
            headers,
            received_at: now,
        })
    }

    /// Checks the signatures over the raw body. For an unknown source the same work is done before it is refused.
    pub fn verify(self, body: Bytes) -> Result<VerifiedDelivery, Rejection> {
        let Self {
            sender,
            headers,
            received_at,
        } = self;
        let verified = headers.verify_as_one_of(body, sender.secrets(received_at), &sender.decoys);
        let source = sender.id.clone().map_err(|cause| Rejection {
            cause,
            skew_seconds: None,
        })?;
        let delivery = verified?;
        let skew = delivery.timestamp().0 - received_at.seconds().0;
        if skew.unsigned_abs() > u64::from(sender.max_skew_seconds) {
            return Err(Rejection {
                cause: Cause::Skew.into(),
                skew_seconds: Some(skew),
            });
        }
        sender.note_use(delivery.key(), received_at);
        Ok(VerifiedDelivery {
            source,
            sender,
            delivery,
        })
    }
}

impl From<Unauthentic> for Rejection {
    fn from(unauthentic: Unauthentic) -> Self {
        // The skew is of interest only when it is the cause.
        let skewed = unauthentic.cause == Cause::Skew;
        Self {
            cause: unauthentic.cause.into(),
            skew_seconds: unauthentic.skew_seconds.filter(|_| skewed),
        }
    }
}

impl VerifiedDelivery {
    /// The raw bytes that were signed.
    pub fn body(&self) -> &[u8] {
        self.delivery.body()
    }

    /// Reads the envelope and checks the payload. What cannot be read at all, or is not this source's to bring, is refused
    /// whatever the source's policy.
    ///
    /// # Errors
    /// The rules that are broken, without values.
    pub fn parse(self) -> Result<Arrival, Vec<FieldError>> {
        let mut envelope = Envelope::parse_keeping(&self.delivery, &payload::CHECKED)?;
        let foreign = foreign(&self.sender, &envelope);
        if !foreign.is_empty() {
            return Err(foreign);
        }
        let errors = envelope
            .known_type()
            .map(|known| payload::check(known, &envelope))
            .unwrap_or_default();
        let foldable = envelope
            .known_type()
            .is_some_and(|known| known.entity_kind().is_some());
        let intake = match (errors.is_empty(), self.sender.on_invalid) {
            (false, OnInvalid::Reject) => return Err(errors),
            (false, OnInvalid::Quarantine) => Intake::Quarantine,
            (true, _) if foldable => Intake::Fold,
            (true, _) => Intake::Ignore,
        };
        // Both are in the body too; what waits in a queue stays small.
        envelope.payload = Map::new();
        envelope.changed = Vec::new();
        Ok(Arrival {
            source: self.source,
            key: self.delivery.id().clone(),
            body: self.delivery.body().clone(),
            envelope,
            intake,
            reason: (intake == Intake::Quarantine).then(|| summary(&errors)),
        })
    }
}

/// What of an event its source may not bring: a type that becomes records, a property.
fn foreign(sender: &Sender, envelope: &Envelope) -> Vec<FieldError> {
    let of_records = RECORDS
        .iter()
        .any(|family| envelope.event_type.starts_with(family));
    let folds = (of_records && !sender.folds).then(|| {
        FieldError::new(
            "/type",
            "source_does_not_fold",
            "this source brings no events of guests and reservations",
        )
    });
    let property = envelope.property_id.as_ref();
    let is_own = property.is_none_or(|id| sender.property_ids.has(id.as_str()));
    let property = (!is_own).then(|| {
        FieldError::new(
            "/property_id",
            "not_of_this_source",
            "it is none of the properties of this source",
        )
    });
    folds.into_iter().chain(property).collect()
}

/// The broken rules as one line: pointers and codes, which hold no values.
fn summary(errors: &[FieldError]) -> String {
    let rules: Vec<_> = errors
        .iter()
        .map(|error| format!("{} {}", error.pointer, error.code))
        .collect();
    format!("invalid payload: {}", rules.join(", "))
}

#[cfg(test)]
mod tests;
