//! What is sent of an event under each preset: its receiver takes it, the body is the same at every attempt, and what the
//! senders that the presets are named for send.

use super::*;
use crate::{clock::UnixMillis, envelope::Envelope, secret::SecretError};
use serde_json::{Value, json};

const NEW: &str = "the-newest-secret-of-an-endpoint";
const OLD: &str = "the-secret-that-it-replaced";
const HAPPENED: &str = "2025-11-21T23:59:59.250Z";

/// As the emitter stores it, with a payload whose bytes a second writer would change.
fn stored() -> Bytes {
    Bytes::from_static(
        br#"{"type":"booking.created","idempotency_key":"evt_1","timestamp":"2025-11-21T23:59:59.250Z","schema_version":1,"property_id":"LIS01","entity":{"kind":"booking","id":"bkg_1","version":1},"correlation_id":null,"changed":[],"payload":{"id":"bkg_1","total":1.50,"name":"S\u00e1"}}"#,
    )
}

fn test_event() -> Bytes {
    let text = std::str::from_utf8(&stored()).unwrap().to_owned();
    format!("{},\"test\":true}}", &text[..text.len() - 1]).into()
}

fn outgoing(name: &str) -> Outgoing {
    Outgoing::of(name.parse().unwrap()).unwrap()
}

fn attempt(id: &IdempotencyKey, number: u32) -> AttemptFacts<'_> {
    let at = UnixSeconds(NOW.0 + i64::from(number));
    AttemptFacts { id, at, number }
}

fn send(name: &str, secrets: &[&str], number: u32, stored: &Bytes) -> Signed {
    let outgoing = outgoing(name);
    let secrets: Vec<_> = secrets
        .iter()
        .map(|text| outgoing.secret(text).unwrap())
        .collect();
    let id = "evt_1".parse().unwrap();
    outgoing.request(&secrets, attempt(&id, number), stored).unwrap()
}

fn header<'s>(signed: &'s Signed, name: &str) -> Option<&'s str> {
    let found = signed.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

fn received(name: &str, signed: &Signed, secret: &str) -> Result<Verified, Cause> {
    let scheme = Choice::Preset(name.parse().unwrap()).scheme();
    let lines = signed
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    scheme
        .read(lines)
        .and_then(|headers| headers.within(NOW, 300))
        .and_then(|headers| headers.verify(signed.body.clone(), &[scheme.key(secret).unwrap()]))
        .map_err(|unauthentic| unauthentic.cause)
}

fn body(name: &str) -> Value {
    serde_json::from_slice(&send(name, &[NEW], 1, &stored()).body).unwrap()
}

#[test]
fn what_is_sent_under_each_preset_is_taken_by_its_receiver() {
    let names: Vec<_> = Outgoing::presets().map(Preset::name).collect();
    assert_eq!(
        names,
        [
            "standard-webhooks",
            "github",
            "stripe",
            "shopify",
            "slack",
            "lokroom",
            "powalyze",
            "chatbot",
        ]
    );
    let digests = DigestKey::random(&SeededEntropy::new(1));
    for name in names {
        let signed = send(name, &[NEW], 1, &stored());
        assert_eq!(
            received(name, &signed, OLD).unwrap_err(),
            Cause::SignatureMismatch,
            "{name}"
        );
        let verified = received(name, &signed, NEW).unwrap();
        if name == "standard-webhooks" {
            assert_eq!(
                Envelope::parse(&verified).unwrap().idempotency_key.as_str(),
                "evt_1"
            );
            continue;
        }
        let Foreign::Event(event) = verified.foreign(&digests).unwrap() else {
            panic!("{name}");
        };
        let family = name.replace('-', "_");
        assert_eq!(event.event_type, format!("{family}.booking.created"), "{name}");
        let happened = UnixMillis::parse_rfc3339(HAPPENED).unwrap();
        let expected = match name {
            "stripe" | "slack" => Some(happened.seconds().0 * 1000),
            "github" | "shopify" => None,
            _ => Some(happened.0),
        };
        assert_eq!(event.occurred_at.map(|at| at.0), expected, "{name}");
        if ["stripe", "slack", "chatbot"].contains(&name) {
            assert_eq!(event.key.as_str(), "evt_1", "{name}");
        }
    }
    let digest = |name| match received(name, &send(name, &[NEW], 1, &stored()), NEW)
        .unwrap()
        .foreign(&digests)
    {
        Ok(Foreign::Event(event)) => event.property,
        other => panic!("{other:?}"),
    };
    assert_eq!(digest("powalyze").unwrap().as_str(), "LIS01");
}

#[test]
fn every_attempt_sends_the_same_body_and_says_its_number_in_headers_alone() {
    for preset in Outgoing::presets() {
        let name = preset.name();
        let (first, third) = (
            send(name, &[NEW], 1, &stored()),
            send(name, &[OLD], 3, &Bytes::copy_from_slice(&stored())),
        );
        assert_eq!(first.body, third.body, "{name}");
        assert!(received(name, &third, OLD).is_ok(), "{name}");
        let mut names: Vec<_> = first.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert!(
            names.iter().all(|name| *name == name.to_ascii_lowercase()),
            "{names:?}"
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), first.headers.len(), "{name}");
        assert_eq!(header(&first, "content-type"), Some("application/json"));
        assert_eq!(header(&first, "webhook-id"), Some("evt_1"), "{name}");
    }
    let third = send("lokroom", &[NEW], 3, &stored());
    assert_eq!(header(&third, "x-lok-attempt"), Some("3"));
    let third = send("standard-webhooks", &[NEW], 3, &stored());
    assert_eq!(header(&third, "webhook-attempt"), Some("3"));
    assert_eq!(
        header(&third, "webhook-timestamp"),
        Some((NOW.0 + 3).to_string().as_str())
    );
}

#[test]
fn a_body_has_the_members_of_its_sender_and_the_payload_as_it_is_stored() {
    let payload = r#"{"id":"bkg_1","total":1.50,"name":"S\u00e1"}"#;
    for (name, expected) in [
        (
            "lokroom",
            format!(r#"{{"event":"booking.created","timestamp":"{HAPPENED}","data":{payload}}}"#),
        ),
        (
            "powalyze",
            format!(
                r#"{{"event":"booking.created","timestamp":"{HAPPENED}","organization_id":"LIS01","data":{payload}}}"#
            ),
        ),
        (
            "chatbot",
            format!(r#"{{"event":"booking.created","timestamp":"{HAPPENED}","data":{payload}}}"#),
        ),
        (
            "stripe",
            format!(
                r#"{{"id":"evt_1","object":"event","type":"booking.created","created":1763769599,"data":{{"object":{payload}}}}}"#
            ),
        ),
        (
            "slack",
            format!(
                r#"{{"type":"event_callback","event_id":"evt_1","event_time":1763769599,"event":{{"type":"booking.created","payload":{payload}}}}}"#
            ),
        ),
    ] {
        let signed = send(name, &[NEW], 1, &stored());
        assert_eq!(std::str::from_utf8(&signed.body).unwrap(), expected, "{name}");
    }
    for name in ["standard-webhooks", "github", "shopify"] {
        assert_eq!(send(name, &[NEW], 1, &stored()).body, stored(), "{name}");
    }
}

#[test]
fn a_test_event_says_so_in_every_shape() {
    for preset in Outgoing::presets() {
        let signed = send(preset.name(), &[NEW], 1, &test_event());
        let body: Value = serde_json::from_slice(&signed.body).unwrap();
        assert_eq!(body["test"], true, "{}", preset.name());
        assert!(received(preset.name(), &signed, NEW).is_ok());
    }
    assert_eq!(body("lokroom").get("test"), None);
}

#[test]
fn the_standard_scheme_sends_the_published_vector_and_what_the_emitter_signs() {
    let file: Value =
        serde_json::from_str(include_str!("../../../testdata/standard-webhooks-vectors.json")).unwrap();
    let vector = &file["vectors"][0];
    let text = |name: &str| vector[name].as_str().unwrap();
    let standard = outgoing("standard-webhooks");
    let (id, body) = (
        text(WEBHOOK_ID).parse().unwrap(),
        Bytes::from(text("body").to_owned()),
    );
    let attempt = AttemptFacts {
        id: &id,
        at: UnixSeconds(text(WEBHOOK_TIMESTAMP).parse().unwrap()),
        number: 1,
    };
    let secret = standard.secret(text("secret")).unwrap();
    let signed = standard.request(&[secret], attempt, &body).unwrap();
    for name in [WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE] {
        assert_eq!(header(&signed, name), Some(text(name)));
    }
    // A list of secrets, as the environment gives it.
    let list: crate::SecretList = format!("{NEW} {OLD}").parse().unwrap();
    let keys: Vec<SigningKey> = list.as_slice().iter().cloned().map(Into::into).collect();
    let signed = standard.request(&keys, attempt, &body).unwrap();
    let expected = sign(list.as_slice(), &id, attempt.at, &body);
    assert_eq!(header(&signed, WEBHOOK_SIGNATURE), Some(expected.as_str()));
}

#[test]
fn lokroom_sends_what_its_guide_says() {
    let secret = "ab".repeat(32);
    let signed = send("lokroom", &[&secret], 2, &stored());
    let tag = presets::HmacOf(secret.as_bytes()).over(&signed.body);
    let expected = [
        ("content-type", "application/json"),
        ("user-agent", "Lokroom-Webhooks/1.0"),
        ("x-lok-signature", &tag),
        ("x-lok-attempt", "2"),
        ("x-lok-event", "booking.created"),
        ("x-lok-timestamp", HAPPENED),
        ("webhook-id", "evt_1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(signed.headers, expected);
    let lokroom = outgoing("lokroom");
    assert_eq!(lokroom.waits(), Some(&[0, 60, 300][..]));
    assert_eq!((lokroom.timeout_seconds(), lokroom.retry_4xx()), (Some(10), None));
}

#[test]
fn powalyze_and_chatbot_send_what_their_guides_say() {
    let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
    let signed = send("powalyze", &[&secret], 1, &stored());
    // The whole text is the key.
    let tag = presets::HmacOf(secret.as_bytes()).over(&signed.body);
    let expected = format!("sha256={tag}");
    assert_eq!(header(&signed, "x-powalyze-signature"), Some(expected.as_str()));
    let powalyze = outgoing("powalyze");
    assert_eq!(powalyze.waits(), Some(&[1, 2, 4][..]));
    assert_eq!(
        (powalyze.timeout_seconds(), powalyze.retry_4xx()),
        (Some(10), Some(false))
    );

    let signed = send("chatbot", &[NEW, OLD], 1, &stored());
    assert_eq!(header(&signed, "x-api-key"), Some(NEW));
    assert_eq!(header(&signed, "webhook-id"), Some("evt_1"));
    assert_eq!(outgoing("chatbot").waits(), Some(&[0, 1, 2][..]));
    assert_eq!(outgoing("standard-webhooks").waits(), None);
}

#[test]
fn github_and_shopify_name_the_event_in_headers() {
    let github = send("github", &[NEW], 1, &stored());
    assert_eq!(header(&github, "x-github-event"), Some("booking.created"));
    assert_eq!(header(&github, "x-github-delivery"), Some("evt_1"));
    let shopify = send("shopify", &[NEW], 1, &stored());
    assert_eq!(header(&shopify, "x-shopify-topic"), Some("booking/created"));
    assert_eq!(header(&shopify, "x-shopify-webhook-id"), Some("evt_1"));
}

#[test]
fn f42_in_a_rotation_both_sign_where_there_is_room_and_else_the_newest() {
    for preset in Outgoing::presets() {
        let name = preset.name();
        let signed = send(name, &[NEW, OLD], 1, &stored());
        assert!(received(name, &signed, NEW).is_ok(), "{name}");
        let both = ["standard-webhooks", "stripe"].contains(&name);
        assert_eq!(received(name, &signed, OLD).is_ok(), both, "{name}");
    }
}

#[test]
fn a_new_secret_has_the_form_that_receivers_know_and_is_one() {
    let entropy = SeededEntropy::new(3);
    for preset in Outgoing::presets() {
        let (name, outgoing) = (preset.name(), outgoing(preset.name()));
        let secret = outgoing.new_secret(&entropy);
        assert_ne!(secret, outgoing.new_secret(&entropy));
        if ["standard-webhooks", "stripe", "powalyze"].contains(&name) {
            assert!(secret.starts_with("whsec_") && secret.len() == 50, "{name}");
        } else {
            assert!(
                Encoding::Hex.decode(secret.as_bytes()).unwrap().len() == 32,
                "{name}"
            );
        }
        let signed = send(name, &[&secret], 1, &stored());
        assert!(received(name, &signed, &secret).is_ok(), "{name}");
    }
}

#[test]
fn what_cannot_sign_is_no_secret() {
    let public = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let private = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    let standard = outgoing("standard-webhooks");
    assert_eq!(standard.secret(public).unwrap_err(), SecretError::Asymmetric);
    assert!(standard.secret("short").is_err());
    // One of Ed25519 signs where its version exists, and is plain text elsewhere.
    let signed = send("standard-webhooks", &[private, NEW], 1, &stored());
    assert!(received("standard-webhooks", &signed, public).is_ok());
    assert!(received("standard-webhooks", &signed, NEW).is_ok());
    let signed = send("github", &[private], 1, &stored());
    assert!(received("github", &signed, private).is_ok());
    // A token is shown in a header.
    let chatbot = outgoing("chatbot");
    for text in ["a token with blanks in it", "a-token-with-an-\u{e9}-in-it"] {
        assert_eq!(chatbot.secret(text).unwrap_err(), SecretError::NotAToken);
    }
}

#[test]
fn what_cannot_be_sent_is_refused() {
    assert!(Outgoing::of(Preset::JobStatus).is_none());
    let id: IdempotencyKey = "evt_1".parse().unwrap();
    for preset in Outgoing::presets() {
        let outgoing = outgoing(preset.name());
        let refused = outgoing.request(&[], attempt(&id, 1), &stored()).unwrap_err();
        assert_eq!(refused, Unsendable::NoSecret);
    }
    let lokroom = outgoing("lokroom");
    let secrets = [lokroom.secret(NEW).unwrap()];
    let odd =
        json!({"type": "a\nx-injected: 1", "idempotency_key": "evt_1", "timestamp": HAPPENED, "payload": {}});
    for stored in ["", "7", "{}", &odd.to_string()] {
        let stored = Bytes::copy_from_slice(stored.as_bytes());
        let refused = lokroom.request(&secrets, attempt(&id, 1), &stored).unwrap_err();
        assert_eq!(refused, Unsendable::NoEnvelope, "{stored:?}");
    }
    let standard = outgoing("standard-webhooks");
    let secrets = [standard.secret(NEW).unwrap()];
    assert!(
        standard
            .request(&secrets, attempt(&id, 1), &Bytes::from_static(b"7"))
            .is_ok()
    );
}

#[test]
fn r39_nothing_secret_is_shown() {
    let signed = send("chatbot", &[NEW], 1, &stored());
    assert!(!format!("{signed:?} {:?}", outgoing("chatbot")).contains(NEW));
}
