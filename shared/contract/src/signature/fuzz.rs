//! Any bytes in the three headers: reading them never panics, and only what a key signed is taken.
//!
//! Each target is an ordinary test of a bounded number of rounds; CONTRIBUTING.md says how to run one for longer.

use super::{
    SIGNATURES_MAX, SignedHeaders, Verified, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign,
};
use crate::{clock::UnixSeconds, secret::Secret};
use bolero::{TypeGenerator, check};

/// Rounds of each target within the test command.
const ROUNDS: usize = 4_000;
const NOW: UnixSeconds = UnixSeconds(1_763_769_600);
const BODY: &[u8] = br#"{"type":"ping"}"#;

/// A part of a header's value.
#[derive(Clone, Debug, TypeGenerator)]
enum Piece {
    Version,
    Tag,
    OtherTag,
    Space,
    Padding,
    Comma,
    Raw(Vec<u8>),
}

/// A change of the genuine value of one of the three headers.
#[derive(Clone, Copy, Debug, TypeGenerator)]
struct Edit {
    header: u8,
    place: usize,
    byte: u8,
    kind: EditKind,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum EditKind {
    Replace,
    Insert,
    Remove,
    Double,
    CutHere,
}

fn key() -> Secret {
    "an-active-secret-of-ours".parse().unwrap()
}

fn genuine() -> String {
    let signed = sign(&[key()], &"evt_1".parse().unwrap(), NOW, BODY);
    signed.as_str().to_owned()
}

fn verify(id: &[u8], timestamp: &[u8], signature: &[u8]) -> Option<Verified> {
    let lines = [
        (WEBHOOK_ID, id),
        (WEBHOOK_TIMESTAMP, timestamp),
        (WEBHOOK_SIGNATURE, signature),
    ];
    let timely = SignedHeaders::read(lines).ok()?.within(NOW, 300).ok()?;
    timely.verify(BODY.into(), &[key()]).ok()
}

/// Of what is taken, one part is the genuine signature, and there are not too many.
fn assert_signed(signature: &[u8]) {
    let genuine = genuine();
    let parts: Vec<_> = signature.split(|byte| *byte == b' ').collect();
    assert!(parts.len() <= SIGNATURES_MAX);
    assert!(parts.contains(&genuine.as_bytes()));
}

fn edited(mut value: Vec<u8>, edit: Edit) -> Vec<u8> {
    let place = edit.place % (value.len() + 1);
    match edit.kind {
        EditKind::Insert => value.insert(place, edit.byte),
        EditKind::CutHere => value.truncate(place),
        EditKind::Double => value.extend_from_within(place..),
        EditKind::Replace | EditKind::Remove if place == value.len() => {}
        EditKind::Replace => value[place] = edit.byte,
        EditKind::Remove => {
            value.remove(place);
        }
    }
    value
}

#[test]
fn fuzz_a_signature_of_any_pieces_is_taken_only_when_one_is_genuine() {
    let tag = genuine().strip_prefix("v1,").unwrap().to_owned();
    check!()
        .with_iterations(ROUNDS)
        .with_type::<Vec<Piece>>()
        .for_each(|pieces| {
            let value: Vec<u8> = pieces
                .iter()
                .flat_map(|piece| match piece {
                    Piece::Version => b"v1,".to_vec(),
                    Piece::Tag => tag.clone().into_bytes(),
                    Piece::OtherTag => b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_vec(),
                    Piece::Space => b" ".to_vec(),
                    Piece::Padding => b"=".to_vec(),
                    Piece::Comma => b",".to_vec(),
                    Piece::Raw(bytes) => bytes.clone(),
                })
                .collect();
            if verify(b"evt_1", b"1763769600", &value).is_some() {
                assert_signed(&value);
            }
        });
}

#[test]
fn fuzz_genuine_headers_that_were_changed_are_taken_only_for_what_was_signed() {
    check!()
        .with_iterations(ROUNDS)
        .with_type::<Vec<Edit>>()
        .for_each(|edits| {
            let mut values = [b"evt_1".to_vec(), b"1763769600".to_vec(), genuine().into_bytes()];
            for edit in edits.iter().take(8) {
                let value = &mut values[usize::from(edit.header) % 3];
                *value = edited(std::mem::take(value), *edit);
            }
            let [id, timestamp, signature] = values;
            if let Some(verified) = verify(&id, &timestamp, &signature) {
                assert_eq!((&id[..], &timestamp[..]), (&b"evt_1"[..], &b"1763769600"[..]));
                assert_eq!(verified.id().as_str(), "evt_1");
                assert_signed(&signature);
            }
        });
}

#[test]
fn fuzz_any_header_lines_are_read_or_refused() {
    check!()
        .with_iterations(ROUNDS)
        .with_type::<Vec<(u8, Vec<u8>)>>()
        .for_each(|lines| {
            let names = ["Webhook-ID", WEBHOOK_TIMESTAMP, "WEBHOOK-SIGNATURE", "host"];
            let lines = lines
                .iter()
                .map(|(name, value)| (names[usize::from(name % 4)], &value[..]));
            if let Ok(headers) = SignedHeaders::read(lines) {
                let _ = headers.clone().within(UnixSeconds(i64::MAX), u32::MAX);
                let _ = headers.within(UnixSeconds(0), 0);
            }
        });
}
