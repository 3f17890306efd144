//! A definition of a sender's own, as an operator writes it.

use super::{
    Algorithm, Answer, Encoding, KeyForm, Place,
    definition::{AttemptTime, Definition, SignatureRule, TimeForm, Version},
    template::{Part, Template},
};
use crate::problem::FieldError;
use serde::{Deserialize, Serialize};

/// The longest name of a header, and the longest prefix, in bytes.
const HEADER_LEN_MAX: usize = 64;
const PREFIX_LEN_MAX: usize = 64;
/// Headers that HTTP itself or a proxy decides about: what they hold was not written by the sender alone.
const RESERVED: [&str; 6] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "x-forwarded-for",
];

/// How a sender signs that has no preset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    /// Where the signature stands.
    signature: InHeader,
    /// What stands before it, such as `sha256=`.
    #[serde(default)]
    prefix: String,
    encoding: Encoding,
    algorithm: Algorithm,
    /// What is signed, such as `{timestamp}.{body}`.
    signed: String,
    /// The time of the attempt in a header, or of the event in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Place>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<Place>,
    key: KeyForm,
    #[serde(default)]
    answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InHeader {
    header: String,
}

impl Custom {
    /// Everything that is wrong with it, beyond its shape; empty when nothing is. Only one that passes may be used.
    pub fn errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut refuse = |pointer: &str, code: &str, message: &str| {
            errors.push(FieldError::new(pointer, code, message));
        };
        let places = [
            ("/timestamp/header", &self.timestamp),
            ("/id/header", &self.id),
            ("/type/header", &self.event_type),
        ];
        let in_headers = places.iter().filter_map(|(pointer, place)| match place {
            Some(Place::Header(name)) => Some((*pointer, name)),
            Some(Place::Pointer(_)) | None => None,
        });
        let headers: Vec<_> = [("/signature/header", &self.signature.header)]
            .into_iter()
            .chain(in_headers)
            .collect();
        for (index, (pointer, name)) in headers.iter().enumerate() {
            if !is_header(name) {
                refuse(
                    pointer,
                    "invalid",
                    "it must be a header of the sender's, of 1 to 64 characters",
                );
            } else if headers[..index]
                .iter()
                .any(|(_, other)| other.eq_ignore_ascii_case(name))
            {
                refuse(pointer, "not_unique", "another part stands in this header");
            }
        }
        if self.prefix.len() > PREFIX_LEN_MAX || !self.prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            refuse(
                "/prefix",
                "invalid",
                "it must be at most 64 visible ASCII characters",
            );
        }
        if self.key == KeyForm::Standard {
            refuse("/key", "invalid", "it must be text, base64 or hex");
        }
        match self.signed.parse::<Template>() {
            Err(error) => refuse("/signed", "invalid", &error.to_string()),
            Ok(signed) => {
                self.check_parts(&signed, &mut refuse);
            }
        }
        errors
    }

    /// A part of the template stands in a header; a time in a header that nobody signed says nothing.
    fn check_parts(&self, signed: &Template, refuse: &mut impl FnMut(&str, &str, &str)) {
        let is_in_header = |place: &Option<Place>| matches!(place, Some(Place::Header(_)));
        if signed.holds(&Part::Timestamp) && !is_in_header(&self.timestamp) {
            refuse(
                "/timestamp",
                "required",
                "it is signed, so it must be named with its header",
            );
        }
        if signed.holds(&Part::Id) && !is_in_header(&self.id) {
            refuse(
                "/id",
                "required",
                "it is signed, so it must be named with its header",
            );
        }
        if is_in_header(&self.timestamp) && !signed.holds(&Part::Timestamp) {
            refuse(
                "/timestamp",
                "not_signed",
                "a time in a header says nothing unless it is a part of what is signed",
            );
        }
    }

    pub(super) fn definition(&self) -> Definition {
        let (timestamp, occurred_at) = match &self.timestamp {
            Some(Place::Header(header)) => {
                let time = AttemptTime {
                    header: header.clone(),
                    separator: None,
                    prefix: String::new(),
                    form: TimeForm::Any,
                };
                (Some(time), None)
            }
            Some(Place::Pointer(pointer)) => (None, Some(pointer.clone())),
            None => (None, None),
        };
        Definition {
            signature: Some(SignatureRule {
                header: self.signature.header.clone(),
                separator: None,
                versions: vec![Version {
                    prefix: self.prefix.clone(),
                    algorithm: self.algorithm,
                }],
                encoding: self.encoding,
                // Of one that was not checked: nothing can be signed by it but the body alone.
                signed: self.signed.parse().unwrap_or_else(|_| Template::body()),
            }),
            token: Vec::new(),
            key: self.key,
            timestamp,
            id: self.id.clone(),
            types: self.event_type.iter().cloned().collect(),
            occurred_at,
            properties: super::definition::properties(),
            challenge: None,
            answer: self.answer,
            sending: None,
        }
    }
}

fn is_header(name: &str) -> bool {
    (1..=HEADER_LEN_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        && !RESERVED
            .iter()
            .any(|reserved| name.eq_ignore_ascii_case(reserved))
}
