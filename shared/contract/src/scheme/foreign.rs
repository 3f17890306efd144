//! What is read of a body that is not our envelope: its type, id, time and property. The rest is kept as it came.

use super::{
    Place, Scheme, Verified,
    find::{Scalar, find},
};
use crate::{
    clock::{UnixMillis, UnixSeconds},
    entropy::Entropy,
    event_type::EVENT_TYPE_LEN_MAX,
    id::{IdempotencyKey, PropertyId},
    pointer::Pointer,
    problem::FieldError,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// The longest text that is sent back to who asks for it, in bytes.
const CHALLENGE_LEN_MAX: usize = 1024;
/// What the idempotency key begins with of a body that names none, and of a sender's id that is none of ours.
const OF_BODY: &str = "body";
const OF_ID: &str = "id";
/// The type of an event whose sender names none.
const UNNAMED: &str = "event";

/// The key of one source for the digests of bodies that have no id. It never changes, or a repeat would be new.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestKey([u8; 32]);

/// What an authentic foreign body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// An event to keep.
    Event(ForeignEvent),
    /// A question whether we are there: the name and the text that are sent back.
    Challenge(String, String),
}

/// What a foreign event's row says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignEvent {
    /// The idempotency key: the sender's signed id, or a digest.
    pub key: IdempotencyKey,
    /// Begins with the scheme's name.
    pub event_type: String,
    /// When it happened, if the body says so.
    pub occurred_at: Option<UnixMillis>,
    /// The property that the body names, if it is one.
    pub property: Option<PropertyId>,
}

impl DigestKey {
    /// A new one.
    pub fn random(entropy: &dyn Entropy) -> Self {
        let mut key = [0; 32];
        entropy.fill(&mut key);
        Self(key)
    }

    /// One that was kept.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes, to be kept where nobody reads them.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The idempotency key of a body without an id.
    pub fn of_body(&self, body: &[u8]) -> IdempotencyKey {
        self.digest(OF_BODY, body)
    }

    fn digest(&self, of: &str, bytes: &[u8]) -> IdempotencyKey {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for piece in [of.as_bytes(), b"\0", bytes] {
            mac.update(piece);
        }
        let digest = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        let key = format!("{of}_{digest}").parse();
        key.expect("the alphabet is that of ids")
    }

    /// A sender's id as an idempotency key: itself, where it could be one.
    fn of_id(&self, id: &str) -> IdempotencyKey {
        id.parse().unwrap_or_else(|_| self.digest(OF_ID, id.as_bytes()))
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("DigestKey(..)")
    }
}

/// The pointers of a scheme, each with its place in what is found.
struct Wanted<'s> {
    pointers: Vec<&'s Pointer>,
}

impl<'s> Wanted<'s> {
    fn add(&mut self, pointer: &'s Pointer) -> usize {
        self.pointers.push(pointer);
        self.pointers.len() - 1
    }
}

impl Verified {
    /// Whether the body has a member that only our envelopes have.
    pub fn is_like_envelope(&self) -> bool {
        let only_ours = ["/schema_version", "/idempotency_key"];
        let pointers = only_ours.map(|text| text.parse().expect("it is a pointer"));
        let found = find(self.body(), &pointers.each_ref());
        found.is_ok_and(|found| found.iter().any(Option::is_some))
    }

    /// The event's own time, where that alone limits for how long a copy of it is taken. None as well where it cannot be read,
    /// which [`foreign`](Self::foreign) refuses.
    pub fn limiting_event_time(&self) -> Option<UnixSeconds> {
        let limits = self.scheme.is_limited_by_event_time();
        let pointer = self.scheme.definition.occurred_at.as_ref().filter(|_| limits)?;
        let found = find(self.body(), &[pointer]).ok()?;
        found.first()?.as_ref().and_then(instant).map(UnixMillis::seconds)
    }

    /// Reads a body that is not our envelope.
    ///
    /// # Errors
    /// What cannot be read, without values.
    pub fn foreign(&self, digests: &DigestKey) -> Result<Foreign, Vec<FieldError>> {
        self.scheme.foreign(self, digests)
    }
}

impl Scheme {
    fn foreign(&self, delivery: &Verified, digests: &DigestKey) -> Result<Foreign, Vec<FieldError>> {
        let definition = &self.definition;
        let mut wanted = Wanted { pointers: Vec::new() };
        let types: Vec<_> = definition
            .types
            .iter()
            .filter_map(|place| match place {
                Place::Pointer(pointer) => Some((wanted.add(pointer), pointer)),
                Place::Header(_) => None,
            })
            .collect();
        let id = match &definition.id {
            Some(Place::Pointer(pointer)) => Some((wanted.add(pointer), pointer)),
            Some(Place::Header(_)) | None => None,
        };
        let time = definition.occurred_at.as_ref();
        let time = time.map(|pointer| (wanted.add(pointer), pointer));
        let properties: Vec<_> = definition
            .properties
            .iter()
            .map(|pointer| wanted.add(pointer))
            .collect();
        let challenge = definition.challenge.as_ref();
        let asked = challenge.map(|challenge| (wanted.add(&challenge.pointer), challenge));
        let found = find(delivery.body(), &wanted.pointers).map_err(|_| {
            vec![FieldError::new(
                "",
                "invalid_json",
                "the body is no JSON that can be read",
            )]
        })?;
        let text = |place: usize| match &found[place] {
            Some(Scalar::Text(text)) if !text.is_empty() => Some(text.clone()),
            Some(Scalar::Integer(number)) => Some(number.to_string()),
            _ => None,
        };

        let named = types.iter().find_map(|(place, _)| text(*place));
        if let Some((place, challenge)) = asked
            && named.as_deref() == Some(&challenge.event_type)
        {
            return text(place)
                .filter(|text| text.len() <= CHALLENGE_LEN_MAX)
                .map(|text| Foreign::Challenge(challenge.pointer.last().to_owned(), text))
                .ok_or_else(|| {
                    vec![refused(
                        &challenge.pointer,
                        "required",
                        "it must be a text of at most 1 KiB",
                    )]
                });
        }
        let mut errors = Vec::new();
        let named = named.or_else(|| delivery.named.event_type.clone());
        if let (None, Some((_, pointer))) = (&named, types.first()) {
            errors.push(refused(pointer, "required", "it is required"));
        }
        let key = match id {
            Some((place, pointer)) => {
                let id = text(place).map(|id| digests.of_id(&id));
                if id.is_none() {
                    errors.push(refused(
                        pointer,
                        "required",
                        "it is required: it is the idempotency key",
                    ));
                }
                id
            }
            None => {
                let vouched = || delivery.vouched_id().map(|id| digests.of_id(id));
                let key = delivery.id().cloned().or_else(vouched);
                Some(key.unwrap_or_else(|| digests.of_body(delivery.body())))
            }
        };
        let occurred_at = time.and_then(|(place, _)| instant(found[place].as_ref()?));
        if let (None, Some((_, pointer)), true) = (occurred_at, time, self.is_limited_by_event_time()) {
            errors.push(refused(
                pointer,
                "required",
                "it must be an instant: RFC 3339, or Unix seconds or milliseconds",
            ));
        }
        let property = properties.iter().find_map(|place| text(*place)?.parse().ok());
        match key {
            Some(key) if errors.is_empty() => Ok(Foreign::Event(ForeignEvent {
                key,
                event_type: event_type(&self.choice.family(), named.as_deref().unwrap_or(UNNAMED)),
                occurred_at,
                property,
            })),
            _ => Err(errors),
        }
    }
}

fn refused(pointer: &Pointer, code: &str, message: &str) -> FieldError {
    FieldError::new(pointer.to_string(), code, message)
}

/// An event's type as our tables have them: lower case, with a dot for each slash.
fn event_type(family: &str, name: &str) -> String {
    let plain = name.chars().map(|character| match character {
        '/' => '.',
        '.' | '_' | '0'..='9' | 'a'..='z' => character,
        'A'..='Z' => character.to_ascii_lowercase(),
        _ => '_',
    });
    format!("{family}.")
        .chars()
        .chain(plain)
        .take(EVENT_TYPE_LEN_MAX)
        .collect()
}

/// An instant as senders write it: RFC 3339, or Unix seconds or milliseconds, also as digits in a text.
fn instant(scalar: &Scalar) -> Option<UnixMillis> {
    match scalar {
        Scalar::Integer(number) => UnixMillis::from_foreign_number(i64::try_from(*number).ok()?),
        Scalar::Text(text) => UnixMillis::from_foreign_text(text),
        Scalar::Other => None,
    }
}
