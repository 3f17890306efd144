//! The presets the other way: what is sent of an event to an endpoint that expects one of these schemes.
//!
//! A preset that can be sent has `sending` in `presets.json`: the shape of the body, headers, and what the sender it is named for
//! does about secrets, waits and time-outs. The body is a pure function of the stored event, so every attempt sends the same
//! bytes; only headers differ. What is signed here is what [`Scheme::read`] and the steps behind it accept. docs/schemes.md says
//! what each preset sends.

use super::{
    Choice, Key, Preset, Scheme, SigningKey,
    body_shape::{BodyShape, StoredEvent},
};
use crate::{
    clock::UnixSeconds,
    entropy::Entropy,
    id::IdempotencyKey,
    secret::{Secret, SecretError},
};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The header of the event's id (Standard Webhooks), which every request has.
const WEBHOOK_ID: &str = "webhook-id";

/// Everything that is known of how a preset sends, beyond its signature.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sending {
    /// None: the stored body, unchanged.
    #[serde(default)]
    body: Option<BodyShape>,
    /// Headers beside the signature's own, in lower case.
    #[serde(default)]
    headers: BTreeMap<String, HeaderFact>,
    #[serde(default)]
    user_agent: Option<String>,
    secret: SecretForm,
    /// The waits before each attempt, in seconds.
    #[serde(default)]
    waits: Option<Vec<u32>>,
    #[serde(default)]
    timeout_seconds: Option<u32>,
    #[serde(default)]
    retry_4xx: Option<bool>,
}

/// What a header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum HeaderFact {
    /// The event's type.
    #[serde(rename = "{type}")]
    Type,
    /// The type with slashes for its dots.
    #[serde(rename = "{topic}")]
    Topic,
    /// When the event happened (RFC 3339).
    #[serde(rename = "{time}")]
    Time,
    /// The number of the attempt, from 1.
    #[serde(rename = "{attempt}")]
    Attempt,
}

/// How a new secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SecretForm {
    /// 64 hex digits.
    Hex,
    /// `whsec_` and base64.
    Whsec,
}

/// A preset as a sender uses it.
#[derive(Clone)]
pub struct Outgoing {
    scheme: Arc<Scheme>,
    sending: Sending,
}

/// What differs from attempt to attempt, beside the id.
#[derive(Clone, Copy, Debug)]
pub struct AttemptFacts<'a> {
    /// The event's id; the same at every attempt.
    pub id: &'a IdempotencyKey,
    /// The time of this attempt.
    pub at: UnixSeconds,
    /// The number of this attempt, from 1.
    pub number: u32,
}

/// One attempt, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    /// The bytes that the signature is over.
    pub body: Bytes,
    /// Names in lower case, each once. A user agent is among them only where the preset has one of its own.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for Signed {
    /// Neither the body nor a signature, nor a token.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        write!(out, "Signed({} bytes, {names:?})", self.body.len())
    }
}

/// Why an event cannot be sent. It quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// The stored body is no envelope of ours, or its type could not stand in a header.
    #[error("the stored body is no envelope")]
    NoEnvelope,
    /// Nothing to sign with.
    #[error("there is no secret to sign with")]
    NoSecret,
}

impl Outgoing {
    /// How a preset sends; None for one that is only received.
    pub fn of(preset: Preset) -> Option<Self> {
        let scheme = Choice::Preset(preset).scheme();
        let sending = scheme.definition.sending.clone()?;
        Some(Self { scheme, sending })
    }

    /// All presets that can be sent.
    pub fn presets() -> impl Iterator<Item = Preset> {
        Preset::all().filter(|preset| Self::of(*preset).is_some())
    }

    /// The waits before each attempt, in seconds; None: those that endpoints have by default.
    pub fn waits(&self) -> Option<&[u32]> {
        self.sending.waits.as_deref()
    }

    /// How long an attempt may take; None: the default.
    pub fn timeout_seconds(&self) -> Option<u32> {
        self.sending.timeout_seconds
    }

    /// Whether an answer 4xx is tried again; None: the default, which asks which one it is.
    pub fn retry_4xx(&self) -> Option<bool> {
        self.sending.retry_4xx
    }

    /// The text of a new secret, in the form that the preset's receivers know.
    pub fn new_secret(&self, entropy: &dyn Entropy) -> String {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        match self.sending.secret {
            SecretForm::Hex => HEXLOWER.encode(&bytes),
            SecretForm::Whsec => Secret::encode(&bytes),
        }
    }

    /// The key that a secret's text means. With Standard Webhooks that may be a private key, `whsk_`; where the secret is shown as
    /// a token, it is a word that a header can hold.
    ///
    /// # Errors
    /// What is wrong with it; the text is never quoted.
    pub fn secret(&self, text: &str) -> Result<SigningKey, SecretError> {
        let definition = &self.scheme.definition;
        if definition.signature.is_none() && !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SecretError::NotAToken);
        }
        let key = match self.scheme.choice {
            Choice::Preset(Preset::StandardWebhooks) => self.scheme.signing_key(text)?,
            _ => SigningKey::Shared(self.scheme.key(text)?),
        };
        match key {
            SigningKey::Shared(Key::Public(_)) => Err(SecretError::Asymmetric),
            key => Ok(key),
        }
    }

    /// The request of one attempt at an event whose body is stored as `stored`. `secrets` has the newest first: where the scheme
    /// has room for several signatures all of them sign, else the newest does.
    ///
    /// # Errors
    /// When there is no secret, or the body would have to be read and is no envelope.
    pub fn request(
        &self,
        secrets: &[SigningKey],
        attempt: AttemptFacts<'_>,
        stored: &Bytes,
    ) -> Result<Signed, Unsendable> {
        if secrets.is_empty() {
            return Err(Unsendable::NoSecret);
        }
        let sending = &self.sending;
        let reads_event =
            sending.body.is_some() || sending.headers.values().any(|fact| *fact != HeaderFact::Attempt);
        let event = reads_event.then(|| StoredEvent::read(stored)).transpose();
        let event = event.map_err(|_| Unsendable::NoEnvelope)?;
        let body = match (&sending.body, &event) {
            (Some(shape), Some(event)) => shape.body(event).into(),
            _ => stored.clone(),
        };
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let agent = sending.user_agent.iter();
        headers.extend(agent.map(|agent| ("user-agent".to_owned(), agent.clone())));
        headers.extend(self.scheme.sign(secrets, attempt.id, attempt.at, &body));
        for (name, fact) in &sending.headers {
            let value = fact.value(attempt, event.as_ref());
            let value = value.filter(|value| is_header_value(value));
            headers.push((name.clone(), value.ok_or(Unsendable::NoEnvelope)?));
        }
        // Not signed everywhere, but everywhere there: by it a receiver knows a repeat, and an emitter what was delivered to it.
        if headers.iter().all(|(name, _)| name != WEBHOOK_ID) {
            headers.push((WEBHOOK_ID.to_owned(), attempt.id.as_str().to_owned()));
        }
        Ok(Signed { body, headers })
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Outgoing({:?})", self.scheme.choice)
    }
}

impl HeaderFact {
    /// None where it is a fact of an event that was not read.
    fn value(self, attempt: AttemptFacts<'_>, event: Option<&StoredEvent<'_>>) -> Option<String> {
        Some(match self {
            Self::Type => event?.event_type.to_string(),
            Self::Topic => event?.event_type.replace('.', "/"),
            Self::Time => event?.timestamp.to_rfc3339(),
            Self::Attempt => attempt.number.to_string(),
        })
    }
}

fn is_header_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
