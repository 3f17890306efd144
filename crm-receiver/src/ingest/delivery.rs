//! A delivery from its header lines to an event that may be kept, one type for each step.
//!
//! [`RawDelivery`] has passed the checks of the headers alone, before the body is read; [`VerifiedDelivery`] is signed
//! by a key of its source; [`Arrival`] is parsed and can be kept. So the types enforce the order of the checks. What was read from
//! the feed of a source has no headers to check.

use super::source::Sender;
use crate::{
    event::{Arrival, FOREIGN_SCHEMA_VERSION, Intake, payload},
    store::{BODY_LEN_MAX, OnInvalid},
};
use bytes::Bytes;
use contract::{
    Envelope, FieldError, PropertyId, SourceId, UnixMillis,
    feed::FetchedBody,
    id::IdempotencyKey,
    scheme::{Answer, Cause, Choice, Foreign, ForeignEvent, Preset, TimelyHeaders, Unauthentic, Verified},
};
use serde_json::Map;
use std::sync::Arc;

/// A delivery whose headers are well-formed, once each, and in time: its body may be read.
#[derive(Debug)]
pub struct RawDelivery {
    sender: Arc<Sender>,
    headers: TimelyHeaders,
    /// Why its own source refuses the headers, though those of another would take them.
    refused: Option<Rejection>,
    received_at: UnixMillis,
}

/// A body that a key of its source signed.
#[derive(Debug)]
pub struct VerifiedDelivery {
    pub(super) source: SourceId,
    pub(super) sender: Arc<Sender>,
    pub(super) delivery: Verified,
    pub(super) received_at: UnixMillis,
}

/// What an authentic body is.
#[derive(Debug)]
pub enum Parsed {
    /// An event to keep.
    Event(Box<Arrival>),
    /// A question whether we are there: the name and the text of the answer. Nothing is kept.
    Challenge(String, String),
}

/// What the types of events begin with that become records.
const RECORDS: [&str; 2] = ["guest.", "reservation."];
/// How old an event may be whose own time is the only one that is signed, in seconds: senders repeat what failed for hours.
const EVENT_AGE_MAX_SECONDS: u32 = 24 * 3600;

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
    /// held against the widest skew of any source, and headers that its own source refuses may be those of another: the answer
    /// would say otherwise which sources there are.
    ///
    /// # Errors
    /// When no source would take such headers.
    pub fn read<'a, L: IntoIterator<Item = (&'a str, &'a [u8])>>(
        sender: Arc<Sender>,
        lines: impl Fn() -> L,
        now: UnixMillis,
    ) -> Result<Self, Rejection> {
        let (at, widest) = (now.seconds(), sender.refusals().widest_skew_seconds);
        let own = sender.scheme.read(lines());
        let (headers, refused) = match own.and_then(|headers| headers.within(at, widest)) {
            Ok(headers) => (headers, None),
            Err(why) => {
                let others = sender.refusals().read(lines, at).ok_or(why)?;
                (others, Some(why.into()))
            }
        };
        Ok(Self {
            sender,
            headers,
            refused,
            received_at: now,
        })
    }

    /// Checks the signatures over the raw body. For an unknown source, and for headers of another scheme, the same work is done
    /// before they are refused.
    ///
    /// # Errors
    /// When no key of its source made any of the signatures.
    pub fn verify(self, body: Bytes) -> Result<VerifiedDelivery, Rejection> {
        let Self {
            sender,
            headers,
            refused,
            received_at,
        } = self;
        let own = sender.keys(received_at).filter(|_| refused.is_none());
        let verified = headers.verify_as_one_of(body, own, &sender.refusals().decoys);
        let source = sender.id.clone().map_err(|cause| Rejection {
            cause,
            skew_seconds: None,
        })?;
        let delivery = match refused {
            Some(refused) => return Err(refused),
            None => verified?,
        };
        let now = received_at.seconds().0;
        if let Some(at) = delivery.timestamp() {
            within(at.0 - now, sender.max_skew_seconds, sender.max_skew_seconds)?;
        } else if let Some(at) = delivery.limiting_event_time() {
            within(at.0 - now, EVENT_AGE_MAX_SECONDS, sender.max_skew_seconds)?;
        }
        sender.note_use(delivery.key(), received_at);
        Ok(VerifiedDelivery {
            source,
            sender,
            delivery,
            received_at,
        })
    }
}

/// Whether a time lies so few seconds behind or before ours.
fn within(skew: i64, behind: u32, ahead: u32) -> Result<(), Rejection> {
    if (-i64::from(behind)..=i64::from(ahead)).contains(&skew) {
        return Ok(());
    }
    Err(Rejection {
        cause: Cause::Skew.into(),
        skew_seconds: Some(skew),
    })
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

    /// Whether the body is to be our envelope: that of a source that folds, and of another sender of Standard Webhooks one that
    /// has what only envelopes have. A foreign body is not built as a tree.
    pub fn is_envelope(&self) -> bool {
        let scheme = self.delivery.scheme();
        scheme.takes_envelopes()
            && (self.sender.folds || self.is_standard() && self.delivery.is_like_envelope())
    }

    fn is_standard(&self) -> bool {
        *self.delivery.scheme().choice() == Choice::Preset(Preset::StandardWebhooks)
    }

    /// The status that its source asks for where it is new.
    pub fn answer(&self) -> Answer {
        self.delivery.scheme().answer()
    }

    /// Reads the body, as an envelope or as a foreign one. What cannot be read at all, or is not this source's to bring, is refused whatever the source's policy.
    ///
    /// # Errors
    /// The rules that are broken, without values.
    pub fn parse(self, is_envelope: bool) -> Result<Parsed, Vec<FieldError>> {
        let arrival = if is_envelope {
            self.envelope()?
        } else {
            match self.delivery.foreign(&self.sender.digests)? {
                Foreign::Challenge(name, text) => return Ok(Parsed::Challenge(name, text)),
                Foreign::Event(event) => self.foreign(event)?,
            }
        };
        Ok(Parsed::Event(Box::new(arrival)))
    }

    fn envelope(self) -> Result<Arrival, Vec<FieldError>> {
        let envelope = Envelope::parse_keeping(&self.delivery, &payload::CHECKED)?;
        let body = self.delivery.body().clone();
        Ok(Arrival {
            delivery_id: self.delivery.delivery_id().map(str::to_owned),
            ..arrival(&self.sender, self.source, envelope, body)?
        })
    }

    /// An event of a sender that does not know us: kept as it came, under what its row can say of it.
    fn foreign(self, event: ForeignEvent) -> Result<Arrival, Vec<FieldError>> {
        // Types are prefixed, so these would not become records; their sender means that they do.
        let (_, name) = event.event_type.split_once('.').unwrap_or_default();
        if self.is_standard() && RECORDS.iter().any(|family| name.starts_with(family)) {
            return Err(vec![does_not_fold()]);
        }
        let property = event.property.or_else(|| self.sender.only_property.clone());
        if property
            .as_ref()
            .is_some_and(|id| !self.sender.property_ids.has(id.as_str()))
        {
            let message = "it is none of the properties of this source";
            return Err(vec![FieldError::new(
                "/property_id",
                "not_of_this_source",
                message,
            )]);
        }
        Ok(Arrival {
            source: self.source,
            key: event.key.clone(),
            delivery_id: self.delivery.delivery_id().map(str::to_owned),
            body: self.delivery.body().clone(),
            envelope: row_of(
                event.key,
                event.event_type,
                event.occurred_at.unwrap_or(self.received_at),
                property,
            ),
            intake: Intake::Ignore,
            reason: None,
        })
    }
}

/// What its source's feed has of an event that was not delivered: kept as the delivery would have been.
///
/// # Errors
/// The rules that are broken, without values.
pub fn read_fetched(
    source: SourceId,
    sender: &Sender,
    fetched: &FetchedBody,
) -> Result<Box<Arrival>, Vec<FieldError>> {
    let body = fetched.body().clone();
    if body.len() > BODY_LEN_MAX {
        let message = "the body is larger than a delivery may be";
        return Err(vec![FieldError::new("", "too_long", message)]);
    }
    let envelope = Envelope::parse_fetched(fetched, &payload::CHECKED)?;
    arrival(sender, source, envelope, body).map(Box::new)
}

/// An event in an envelope of its source.
fn arrival(
    sender: &Sender,
    source: SourceId,
    mut envelope: Envelope,
    body: Bytes,
) -> Result<Arrival, Vec<FieldError>> {
    let foreign = foreign_to(sender, &envelope);
    if !foreign.is_empty() {
        return Err(foreign);
    }
    let known = envelope.known_type().filter(|_| !envelope.test);
    let errors = known
        .map(|known| payload::check(known, &envelope))
        .unwrap_or_default();
    let foldable = known.is_some_and(|known| known.entity_kind().is_some());
    let intake = match (errors.is_empty(), sender.on_invalid) {
        (false, OnInvalid::Reject) => return Err(errors),
        (false, OnInvalid::Quarantine) => Intake::Quarantine,
        (true, _) if foldable => Intake::Fold,
        (true, _) => Intake::Ignore,
    };
    // Both are in the body too; what waits in a queue stays small.
    envelope.payload = Map::new();
    envelope.changed = Vec::new();
    Ok(Arrival {
        source,
        key: envelope.idempotency_key.clone(),
        delivery_id: None,
        body,
        envelope,
        intake,
        reason: (intake == Intake::Quarantine).then(|| summary(&errors)),
    })
}

/// What stands in the row of an event that has no envelope.
fn row_of(
    key: IdempotencyKey,
    event_type: String,
    at: UnixMillis,
    property_id: Option<PropertyId>,
) -> Envelope {
    Envelope {
        event_type,
        idempotency_key: key,
        timestamp: at,
        schema_version: FOREIGN_SCHEMA_VERSION,
        property_id,
        entity: None,
        correlation_id: None,
        changed: Vec::new(),
        payload: Map::new(),
        test: false,
    }
}

fn does_not_fold() -> FieldError {
    let message = "this source brings no events of guests and reservations";
    FieldError::new("/type", "source_does_not_fold", message)
}

/// What of an event its source may not bring: a type that becomes records, a property.
fn foreign_to(sender: &Sender, envelope: &Envelope) -> Vec<FieldError> {
    let of_records = RECORDS
        .iter()
        .any(|family| envelope.event_type.starts_with(family));
    let folds = (of_records && !sender.folds).then(does_not_fold);
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
