//! A case: what is sent, and which answers are right. The cases stand in `cases/standard-webhooks.json`.

use serde::Deserialize;
use std::{collections::BTreeSet, fmt};

/// The cases that come with the program.
pub const STANDARD_WEBHOOKS: &str = include_str!("../cases/standard-webhooks.json");
/// Cases of one file, at most.
pub const CASES_MAX: usize = 1_000;
/// The largest body that a case may ask for.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What it holds the receiver to, in words.
    pub rule: String,
    /// The time that is sent and signed.
    #[serde(default)]
    pub timestamp: Timestamp,
    /// The signatures, in their order.
    #[serde(default = "one_good")]
    pub signatures: Vec<Signature>,
    /// What is changed after signing.
    pub flip: Option<Part>,
    /// What is changed of the headers after that.
    #[serde(default)]
    pub headers: Vec<HeaderChange>,
    /// The length to which the body is filled up, with blanks behind it.
    pub body_bytes: Option<usize>,
    /// A second request.
    pub again: Option<Again>,
    /// The answers that are right, to each request.
    pub expect: Vec<Expected>,
}

/// A time, counted from now.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timestamp {
    /// In tolerances of the receiver.
    pub tolerances: f64,
    /// Further seconds.
    pub seconds: i64,
    /// In what it is written.
    pub unit: Unit,
}

/// In what a time is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// As the specification says.
    #[default]
    Seconds,
    /// A mistake that is often made.
    Milliseconds,
}

/// A signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// As it should be.
    Good,
    /// Under a key that the receiver does not have.
    OtherKey,
    /// As it should be, under the name of a version that does not exist.
    UnknownVersion,
    /// Without the name of a version.
    Bare,
    /// Something that is no base64.
    NoBase64,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A digit of the body.
    Body,
    /// A blank is added behind the body.
    BodyBlank,
    /// A character of the first signature.
    Signature,
    /// A character is added to the id.
    Id,
    /// A second is added to the time.
    Timestamp,
}

/// A change of the headers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderChange {
    /// A header is left out.
    Remove(String),
    /// A header has another value.
    Replace(String, String),
    /// A header stands once more, with this value.
    Add(String, String),
}

/// A second request of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Again {
    /// The same bytes.
    Same,
    /// Of the same event, with the time and the signature of a second attempt.
    Later,
}

/// An answer that is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Expected {
    /// Any status of a class: 2 for 2xx.
    Class(u16),
    /// This status.
    Status(u16),
    /// The connection was closed without an answer.
    Closed,
}

/// What is wrong with a file of cases.
#[derive(Debug, thiserror::Error)]
#[error("the cases: {0}")]
pub struct InvalidCases(String);

/// Reads a file of cases.
///
/// # Errors
/// What is wrong with it, in words.
pub fn read(text: &str) -> Result<Vec<Case>, InvalidCases> {
    let cases: Vec<Case> = serde_json::from_str(text).map_err(|error| InvalidCases(error.to_string()))?;
    if !(1..=CASES_MAX).contains(&cases.len()) {
        return Err(InvalidCases(format!("there must be 1 to {CASES_MAX}")));
    }
    let mut names = BTreeSet::new();
    for case in &cases {
        let wrong = |what: &str| Err(InvalidCases(format!("{}: {what}", case.name)));
        if !names.insert(&case.name) {
            return wrong("the name stands twice");
        }
        if case.expect.is_empty() {
            return wrong("no answer would be right");
        }
        if case.body_bytes.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
            return wrong("the body is too large");
        }
    }
    Ok(cases)
}

fn one_good() -> Vec<Signature> {
    vec![Signature::Good]
}

impl TryFrom<String> for Expected {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let class = text.strip_suffix("xx").and_then(|class| class.parse().ok());
        match (class, text.parse(), text.as_str()) {
            (Some(class @ 1..=5), _, _) => Ok(Self::Class(class)),
            (_, Ok(status @ 100..=599), _) => Ok(Self::Status(status)),
            (_, _, "closed") => Ok(Self::Closed),
            _ => Err(format!(
                "{text} is no class of statuses, no status, and not \"closed\""
            )),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => write!(out, "{class}xx"),
            Self::Status(status) => write!(out, "{status}"),
            Self::Closed => out.write_str("closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_are_of_every_kind() {
        let cases = read(STANDARD_WEBHOOKS).unwrap();
        for kind in [
            "valid",
            "skewed",
            "flipped",
            "rotated",
            "repeated",
            "oversized",
            "malformed",
        ] {
            assert!(cases.iter().any(|case| case.name.starts_with(kind)), "{kind}");
        }
        let is_good = |case: &&Case| case.expect == [Expected::Class(2)];
        assert!(cases.iter().filter(is_good).count() > 8);
        assert!(cases.first().is_some_and(|case| case.name == "valid"));
    }

    #[test]
    fn what_no_case_can_be_is_refused() {
        let case = |members: &str| format!(r#"[{{"name": "a", "rule": "b", "expect": ["2xx"]{members}}}]"#);
        assert_eq!(read(&case("")).unwrap().len(), 1);
        for (text, why) in [
            ("[]".to_owned(), "1 to 1000"),
            ("{}".to_owned(), "invalid type"),
            (case(r#", "flop": "id""#), "unknown field"),
            (case(r#", "flip": "all""#), "unknown variant"),
            (case(r#", "body_bytes": 67108865"#), "too large"),
            (case("").replace("2xx", "6xx"), "6xx is no class"),
            (case("").replace("2xx", "99"), "99 is no class"),
            (case("").replace(r#"["2xx"]"#, "[]"), "no answer"),
            (
                format!(
                    "{},{}",
                    case("").trim_end_matches(']'),
                    case("").trim_start_matches('[')
                ),
                "twice",
            ),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
