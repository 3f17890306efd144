//! The data of a scheme, as `presets.json` writes it. A [`Custom`](super::Custom) becomes one of these.

use super::{
    algorithm::{Algorithm, Encoding},
    key::KeyForm,
    outgoing::Sending,
    template::{Part, Template},
};
use crate::pointer::Pointer;
use serde::{Deserialize, Serialize};

/// Everything that is known of how a sender signs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    /// Where the signature stands, unless a token does.
    #[serde(default)]
    pub signature: Option<SignatureRule>,
    /// Where the sender's own token may stand.
    #[serde(default)]
    pub token: Vec<HeaderPart>,
    /// How the text of a secret becomes a key.
    pub key: KeyForm,
    /// Where the time of the attempt stands, when it is signed.
    #[serde(default)]
    pub timestamp: Option<AttemptTime>,
    #[serde(default)]
    pub id: Option<Place>,
    /// The first that is there counts.
    pub types: Vec<Place>,
    /// Where the body says when it happened.
    #[serde(default)]
    pub occurred_at: Option<Pointer>,
    /// Where the body may name a property. The first that is there counts.
    #[serde(default = "properties")]
    pub properties: Vec<Pointer>,
    /// A body that is answered and not kept.
    #[serde(default)]
    pub challenge: Option<Challenge>,
    pub answer: Answer,
    /// How it is sent; None for what is only received.
    #[serde(default)]
    pub sending: Option<Sending>,
}

/// Where senders name a property when nothing else is known.
pub(super) fn properties() -> Vec<Pointer> {
    ["/property_id", "/data/property_id"]
        .iter()
        .map(|text| text.parse().expect("it is a pointer"))
        .collect()
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureRule {
    pub header: String,
    /// Between several signatures, where there may be several.
    #[serde(default)]
    pub separator: Option<char>,
    /// What a signature begins with, and what it was then computed with.
    pub versions: Vec<Version>,
    pub encoding: Encoding,
    pub signed: Template,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Version {
    pub prefix: String,
    pub algorithm: Algorithm,
}

/// A header, or what follows a prefix in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderPart {
    pub header: String,
    #[serde(default)]
    pub prefix: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttemptTime {
    pub header: String,
    /// Between the parts of the header, one of which begins with the prefix.
    #[serde(default)]
    pub separator: Option<char>,
    #[serde(default)]
    pub prefix: String,
    pub form: TimeForm,
}

/// How a time may be written in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TimeForm {
    /// Ten digits.
    Seconds,
    /// Ten digits, 13 digits of milliseconds, or RFC 3339.
    Any,
}

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a header.
    Header(String),
    /// In the body, at a JSON pointer (RFC 6901).
    Pointer(Pointer),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Challenge {
    /// The value of `/type` that asks for it.
    #[serde(rename = "type")]
    pub event_type: String,
    /// What is sent back, under its own name.
    pub pointer: Pointer,
}

/// The status of the answer to what is new. A repeat is 200, but 204 where this is 204.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum Answer {
    /// 200
    Ok,
    /// 202
    #[default]
    Accepted,
    /// 204, without a body.
    NoContent,
}

impl TryFrom<u16> for Answer {
    type Error = &'static str;
    fn try_from(status: u16) -> Result<Self, &'static str> {
        match status {
            200 => Ok(Self::Ok),
            202 => Ok(Self::Accepted),
            204 => Ok(Self::NoContent),
            _ => Err("it must be 200, 202 or 204"),
        }
    }
}

impl From<Answer> for u16 {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Ok => 200,
            Answer::Accepted => 202,
            Answer::NoContent => 204,
        }
    }
}

impl Definition {
    /// All of it that the reading of headers depends on, as text.
    pub(super) fn reading(&self) -> String {
        let signature = self.signature.as_ref().map(|rule| {
            let signs = (rule.signed.holds(&Part::Id), rule.signed.holds(&Part::Timestamp));
            (&rule.header, rule.separator, &rule.versions, rule.encoding, signs)
        });
        let id = self.id.as_ref().filter(|place| matches!(place, Place::Header(_)));
        let types = self
            .types
            .iter()
            .filter(|place| matches!(place, Place::Header(_)));
        format!(
            "{signature:?} {:?} {:?} {id:?} {:?}",
            self.token,
            self.timestamp,
            types.collect::<Vec<_>>()
        )
    }

    /// Whether the id is a part of the signed text, so that there is no signature without one.
    pub(super) fn signs_id(&self) -> bool {
        self.signature
            .as_ref()
            .is_some_and(|rule| rule.signed.holds(&Part::Id))
    }

    /// The names of all headers that are looked at, in lower case, each once.
    pub(super) fn headers(&self) -> Vec<String> {
        let places = self.id.iter().chain(&self.types);
        let in_headers = places.filter_map(|place| match place {
            Place::Header(name) => Some(name),
            Place::Pointer(_) => None,
        });
        let proof = self.signature.iter().map(|rule| &rule.header);
        let tokens = self.token.iter().map(|part| &part.header);
        let time = self.timestamp.iter().map(|time| &time.header);
        let mut names: Vec<_> = proof
            .chain(tokens)
            .chain(time)
            .chain(in_headers)
            .map(|name| name.to_ascii_lowercase())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
