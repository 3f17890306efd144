//! Any bytes in the three headers: reading them never panics, and only what a key signed is taken.
//!
//! Each target is an ordinary test of a bounded number of rounds; CONTRIBUTING.md says how to run one for longer.

use super::{Choice, Custom, DigestKey, Preset, SIGNATURES_MAX, Scheme, Verified};
use crate::{
    clock::UnixSeconds,
    secret::Secret,
    signature::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign},
};
use bolero::{TypeGenerator, check};
use serde_json::{Value, json};

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
    let timely = Scheme::standard().read(lines).ok()?.within(NOW, 300).ok()?;
    timely.verify(BODY.into(), &[key().into()]).ok()
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
                assert_eq!(verified.id().unwrap().as_str(), "evt_1");
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
            if let Ok(headers) = Scheme::standard().read(lines) {
                let _ = headers.clone().within(UnixSeconds(i64::MAX), u32::MAX);
                let _ = headers.within(UnixSeconds(0), 0);
            }
        });
}

/// A definition with values that an operator might write, and some that nobody would.
#[derive(Clone, Debug, TypeGenerator)]
struct Draft {
    parts: Vec<Part>,
    prefix: u8,
    encoding: u8,
    algorithm: u8,
    key: u8,
    timestamp: Option<bool>,
    id: Option<bool>,
    event_type: Option<bool>,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Part {
    Id,
    Timestamp,
    Body,
    Dot,
    Raw(u8),
}

impl Draft {
    fn json(&self) -> Value {
        let part = |part: &Part| match part {
            Part::Id => "{id}".to_owned(),
            Part::Timestamp => "{timestamp}".to_owned(),
            Part::Body => "{body}".to_owned(),
            Part::Dot => ".".to_owned(),
            Part::Raw(byte) => char::from(*byte).to_string(),
        };
        let others = || {
            self.parts
                .iter()
                .filter(|part| !matches!(part, Part::Body))
                .take(8)
        };
        let signed: String = others().chain([&Part::Body]).map(part).collect();
        let holds = |wanted: fn(&Part) -> bool| others().any(wanted).then_some(true);
        let timestamp = holds(|part| matches!(part, Part::Timestamp)).or(self.timestamp);
        let id = holds(|part| matches!(part, Part::Id)).or(self.id);
        let pick = |names: &[&str], number: u8| names[usize::from(number) % names.len()].to_owned();
        let place = |header: bool, name: &str| match header {
            true => json!({"header": format!("X-{name}")}),
            false => json!({"pointer": format!("/{name}")}),
        };
        let mut draft = json!({
            "signature": {"header": "X-Sig"},
            "prefix": pick(&["", "v1=", "sha256=", " "], self.prefix),
            "encoding": pick(&["hex", "base64"], self.encoding),
            "algorithm": pick(&["hmac-sha1", "hmac-sha256", "hmac-sha512", "ed25519"], self.algorithm),
            "key": pick(&["text", "base64", "hex"], self.key),
            "signed": signed,
        });
        for (name, given) in [("timestamp", timestamp), ("id", id), ("type", self.event_type)] {
            if let Some(header) = given {
                draft[name] = place(header, name);
            }
        }
        draft
    }
}

const SEED: &str = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// Whatever definition passes its checks: what it signs is taken, and with any change of the lines it is taken only when the
/// body, and whatever of id and time is signed, are still those that were signed.
#[test]
fn fuzz_definitions_that_pass_take_only_what_was_signed() {
    check!()
        .with_iterations(ROUNDS)
        .with_type::<(Draft, Vec<Edit>)>()
        .for_each(|(draft, edits)| {
            let custom: Custom = serde_json::from_value(draft.json()).unwrap();
            if !custom.errors().is_empty() {
                return;
            }
            let is_public = draft.algorithm % 4 == 3;
            let text = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
            let text = match draft.key % 3 {
                2 => "6162636465666768696a6b6c6d6e6f70",
                _ => text,
            };
            let scheme = Choice::Custom(Box::new(custom)).scheme();
            let (key, signing) = if is_public {
                (scheme.key(PUBLIC).unwrap(), scheme.signing_key(SEED).unwrap())
            } else {
                (scheme.key(text).unwrap(), scheme.signing_key(text).unwrap())
            };
            let lines = scheme.sign(&[signing], &"evt_1".parse().unwrap(), NOW, BODY);
            let take = |lines: &[(String, Vec<u8>)]| {
                let lines = lines.iter().map(|(name, value)| (name.as_str(), &value[..]));
                let timely = scheme.read(lines).ok()?.within(NOW, 300).ok()?;
                timely.verify(BODY.into(), [&key]).ok()
            };
            let mut lines: Vec<_> = lines
                .into_iter()
                .map(|(name, value)| (name, value.into_bytes()))
                .collect();
            let genuine = take(&lines).expect("what it signs is taken");
            for edit in edits.iter().take(4) {
                let place = usize::from(edit.header) % lines.len();
                let value = &mut lines[place].1;
                *value = edited(std::mem::take(value), *edit);
            }
            if let Some(taken) = take(&lines) {
                assert_eq!(taken.id(), genuine.id());
                assert_eq!(taken.timestamp(), genuine.timestamp());
            }
        });
}

#[test]
fn fuzz_any_body_is_read_or_refused_under_every_preset() {
    check!()
        .with_iterations(ROUNDS)
        .with_type::<(u8, Vec<u8>)>()
        .for_each(|(preset, body)| {
            let presets: Vec<_> = Preset::all().collect();
            let scheme = Choice::Preset(presets[usize::from(*preset) % presets.len()]).scheme();
            let secret = "a-secret-for-this-test";
            let signing = [scheme.signing_key(secret).unwrap()];
            let lines = scheme.sign(&signing, &"evt_1".parse().unwrap(), NOW, body);
            let lines = lines
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes()));
            let timely = scheme.read(lines).unwrap().within(NOW, 300).unwrap();
            let keys = [scheme.key(secret).unwrap()];
            let verified = timely.verify(body.clone().into(), &keys).unwrap();
            let _ = verified.foreign(&DigestKey::from_bytes(&[1; 32]).unwrap());
        });
}
