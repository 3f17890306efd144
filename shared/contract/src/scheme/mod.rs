//! How senders prove that a delivery is theirs, as data: where signature, time, id and type stand, what is signed and how.
//!
//! ```text
//! Choice (a preset's name, or a definition) -> Scheme
//! Scheme::read(header lines) -> SignedHeaders::within(now) -> TimelyHeaders::verify(body, keys) -> Verified
//! Scheme::sign(key, id, time, body) -> header lines
//! Outgoing::request(keys, attempt, stored body) -> Signed (what is sent of an event of ours)
//! ```
//! The presets are `presets.json`; a definition of a sender's own is [`Custom`]. Each step from header lines to [`Verified`]
//! is a type, so that unverified bytes cannot be parsed and the order of the checks cannot be changed by a caller. Whatever
//! fails is an [`Unauthentic`]; its cause is for counters, never for the answer.

mod algorithm;
mod body_shape;
mod choice;
mod custom;
mod decoys;
mod definition;
mod find;
mod foreign;
mod header;
mod key;
mod outgoing;
mod sign;
mod template;
mod unauthentic;
mod verify;

pub use algorithm::{Algorithm, Encoding};
pub use choice::{Choice, Preset};
pub use custom::Custom;
pub use decoys::Decoys;
pub use definition::{Answer, Place};
pub use foreign::{DigestKey, Foreign, ForeignEvent};
pub use header::{SIGNATURES_MAX, SignedHeaders, TimelyHeaders};
pub use key::{Key, KeyForm};
pub use outgoing::{AttemptFacts, Outgoing, Signed, Unsendable};
pub use sign::SigningKey;
pub use unauthentic::{Cause, Unauthentic};
pub use verify::Verified;

use definition::Definition;
use std::sync::Arc;

/// A scheme that headers can be read by.
#[derive(Debug)]
pub struct Scheme {
    choice: Choice,
    definition: Definition,
    /// The headers that are looked at, in lower case, each once.
    headers: Vec<String>,
}

impl Scheme {
    fn new(choice: Choice, definition: Definition) -> Arc<Self> {
        let headers = definition.headers();
        Arc::new(Self {
            choice,
            definition,
            headers,
        })
    }

    /// Standard Webhooks 1.0.
    pub fn standard() -> Arc<Self> {
        Choice::default().scheme()
    }

    /// What was chosen to get it.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// The headers that a signature or a token may stand in, in lower case.
    pub fn proof_headers(&self) -> impl Iterator<Item = String> {
        let signature = self.definition.signature.iter().map(|rule| &rule.header);
        let tokens = self.definition.token.iter().map(|part| &part.header);
        signature.chain(tokens).map(|name| name.to_ascii_lowercase())
    }

    /// Whether it reads headers as another does: the same are taken, and the same refused.
    pub fn reads_like(&self, other: &Self) -> bool {
        self.definition.reading() == other.definition.reading()
    }

    /// The status of the answer to what is new.
    pub fn answer(&self) -> Answer {
        self.definition.answer
    }

    /// Whether a body may be our envelope, which is what records are made of.
    pub fn takes_envelopes(&self) -> bool {
        matches!(
            self.choice,
            Choice::Preset(Preset::StandardWebhooks) | Choice::Custom(_)
        )
    }

    /// Whether nothing but the event's own time limits for how long a copy of it is taken.
    pub fn is_limited_by_event_time(&self) -> bool {
        let definition = &self.definition;
        definition.signature.is_some() && definition.timestamp.is_none() && definition.occurred_at.is_some()
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
