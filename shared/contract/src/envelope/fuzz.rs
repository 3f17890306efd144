//! Any bytes as a body: reading them never panics, and what is taken reads back as the same.
//!
//! Each target is an ordinary test of a bounded number of rounds; CONTRIBUTING.md says how to run one for longer.

use super::tests::{example, verified};
use super::*;
use bolero::{TypeGenerator, check};
use serde_json::json;

/// Rounds of each target within the test command.
const ROUNDS: usize = 2_000;

/// What texts of JSON are made of, the members of an envelope among them.
const TOKENS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "null",
    "true",
    "-",
    "0",
    "1e400",
    "1e-400",
    "9007199254740993",
    "\"\\u0069d\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\u{feff}",
    " ",
    "\n",
    "\"type\":",
    "\"ping\"",
    "\"guest.created\"",
    "\"idempotency_key\":",
    "\"evt_1\"",
    "\"timestamp\":",
    "\"2026-03-14T09:26:53.589Z\"",
    "\"2026-02-30T25:61:61Z\"",
    "\"schema_version\":",
    "1",
    "4294967296",
    "\"property_id\":",
    "\"LIS01\"",
    "\"entity\":",
    "{\"kind\":\"guest\",\"id\":\"gst_1\",\"version\":1}",
    "\"changed\":",
    "\"payload\":",
    "\"correlation_id\":",
    "{}",
];

#[derive(Clone, Debug, TypeGenerator)]
enum Piece {
    Token(u8),
    Raw(Vec<u8>),
}

/// A change of an envelope that is in order: what stands at a place is replaced by a piece.
#[derive(Clone, Debug, TypeGenerator)]
struct Edit {
    place: usize,
    removed: u8,
    piece: Piece,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Token(index) => TOKENS[usize::from(*index) % TOKENS.len()].as_bytes(),
            Self::Raw(bytes) => bytes,
        }
    }
}

/// What is taken can be written and read again, and is the same then.
fn assert_reads_back(body: Vec<u8>) {
    if let Ok(envelope) = Envelope::parse(&verified(body)) {
        let again = Envelope::parse(&verified(envelope.to_bytes()));
        assert_eq!(again.as_ref(), Ok(&envelope));
    }
}

#[test]
fn fuzz_any_bytes_are_an_envelope_or_refused() {
    check!()
        .with_iterations(ROUNDS)
        .with_type::<Vec<Piece>>()
        .for_each(|pieces| {
            assert_reads_back(pieces.iter().flat_map(|piece| piece.bytes().to_vec()).collect());
        });
}

#[test]
fn fuzz_an_envelope_that_was_changed_reads_back_or_is_refused() {
    let genuine = example().to_string().into_bytes();
    check!()
        .with_iterations(ROUNDS)
        .with_type::<Vec<Edit>>()
        .for_each(|edits| {
            let mut body = genuine.clone();
            for edit in edits.iter().take(6) {
                let from = edit.place % (body.len() + 1);
                let to = (from + usize::from(edit.removed % 16)).min(body.len());
                body.splice(from..to, edit.piece.bytes().iter().copied());
            }
            assert_reads_back(body);
        });
}

#[test]
fn fuzz_a_number_of_any_digits_reads_back_or_is_refused() {
    check!()
        .with_iterations(ROUNDS)
        .with_type::<(bool, u64, u64, Option<i16>)>()
        .for_each(|(negative, whole, fraction, exponent)| {
            let sign = if *negative { "-" } else { "" };
            let power = exponent
                .map(|exponent| format!("e{}", exponent % 400))
                .unwrap_or_default();
            let mut body = example();
            body["payload"] = json!({"n": "?"});
            let number = format!("{sign}{}.{fraction}{power}", whole >> (fraction % 64));
            assert_reads_back(body.to_string().replace("\"?\"", &number).into_bytes());
        });
}
