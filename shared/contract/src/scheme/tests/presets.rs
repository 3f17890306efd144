//! Every preset: published answers, what it signs is taken and what was changed is not, and what is read of foreign bodies.

use super::*;
use serde_json::{Value, json};

const SECRET: &str = "the-secret-of-one-sender";
const SEED: &str = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
/// The public half of the seed (RFC 8032, section 7.1, test 1).
const PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn preset(name: &str) -> Arc<Scheme> {
    Choice::Preset(name.parse().unwrap()).scheme()
}

fn custom(definition: Value) -> Result<Arc<Scheme>, Vec<String>> {
    let custom: Custom = serde_json::from_value(definition).map_err(|error| vec![error.to_string()])?;
    let errors = custom.errors();
    if errors.is_empty() {
        return Ok(Choice::Custom(Box::new(custom)).scheme());
    }
    let words = |error: &crate::FieldError| format!("{} {}", error.pointer, error.code);
    Err(errors.iter().map(words).collect())
}

fn verify(
    scheme: &Arc<Scheme>,
    lines: &[(String, String)],
    body: &[u8],
    keys: &[Key],
) -> Result<Verified, Cause> {
    let lines = lines
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    scheme
        .read(lines)
        .and_then(|headers| headers.within(NOW, 300))
        .and_then(|headers| headers.verify(Bytes::copy_from_slice(body), keys))
        .map_err(|unauthentic| unauthentic.cause)
}

fn body_of(name: &str) -> Value {
    match name {
        "stripe" => json!({"id": "evt_1", "type": "invoice.paid", "created": NOW.0}),
        "slack" => json!({"event_id": "Ev01", "type": "event_callback", "event": {"type": "message"}}),
        "standard-webhooks" => json!({"type": "a.b", "timestamp": NOW.0, "data": {}}),
        "job-status" => json!({"job_id": "j1", "status": "saving", "timestamp": NOW.0}),
        "github" | "shopify" => json!({"id": 7}),
        _ => json!({"event": "a/B c", "timestamp": NOW.0, "data": {}}),
    }
}

#[test]
fn the_published_signatures_of_github_and_slack_verify_and_are_what_we_sign() {
    let file: Value =
        serde_json::from_str(include_str!("../../../testdata/published-signatures.json")).unwrap();
    for name in ["github", "slack"] {
        let vector = &file[name];
        let (scheme, secret) = (preset(name), vector["secret"].as_str().unwrap());
        let body = vector["body"].as_str().unwrap().as_bytes();
        let at = UnixSeconds(vector["at"].as_i64().unwrap_or(NOW.0));
        let lines: Vec<_> = vector["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_owned()))
            .collect();
        let signed = scheme.sign(
            &[scheme.signing_key(secret).unwrap()],
            &"evt_1".parse().unwrap(),
            at,
            body,
        );
        assert!(
            lines.iter().all(|line| signed.contains(line)),
            "{name}: {signed:?}"
        );
        let keys = [scheme.key(secret).unwrap()];
        let read = lines
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let headers = scheme.read(read).unwrap().within(at, 0).unwrap();
        assert!(
            headers.verify(Bytes::copy_from_slice(body), &keys).is_ok(),
            "{name}"
        );
    }
}

#[test]
fn each_preset_takes_what_it_signs_and_refuses_every_change_of_it() {
    for preset in Preset::all() {
        let (name, scheme) = (preset.name(), Choice::Preset(preset).scheme());
        let body = body_of(name).to_string().into_bytes();
        let keys = [scheme.key(SECRET).unwrap()];
        let signing = [scheme.signing_key(SECRET).unwrap()];
        let lines = scheme.sign(&signing, &"evt_1".parse().unwrap(), NOW, &body);
        assert!(verify(&scheme, &lines, &body, &keys).is_ok(), "{name}");
        let other = [scheme.key("the-secret-of-some-other").unwrap()];
        assert_eq!(
            verify(&scheme, &lines, &body, &other).unwrap_err(),
            Cause::SignatureMismatch,
            "{name}"
        );
        let is_token = scheme.definition.signature.is_none();
        let mut flipped = body.clone();
        flipped[2] ^= 1;
        assert_eq!(
            verify(&scheme, &lines, &flipped, &keys).is_ok(),
            is_token,
            "{name}"
        );
        for (index, (header, value)) in lines.iter().enumerate() {
            let is_unsigned_id =
                scheme.definition.id == Some(Place::Header(header.clone())) && !scheme.definition.signs_id();
            if is_unsigned_id {
                continue;
            }
            for place in 0..value.len() {
                let mut changed = lines.clone();
                let mut bytes = value.clone().into_bytes();
                bytes[place] ^= 1;
                changed[index].1 = String::from_utf8(bytes).unwrap();
                assert!(
                    verify(&scheme, &changed, &body, &keys).is_err(),
                    "{name} {header} at {place}"
                );
            }
            let mut missing = lines.clone();
            missing.remove(index);
            assert!(
                verify(&scheme, &missing, &body, &keys).is_err(),
                "{name} without {header}"
            );
            let mut doubled = lines.clone();
            doubled.push(lines[index].clone());
            let refused = verify(&scheme, &doubled, &body, &keys).unwrap_err();
            assert_eq!(refused, Cause::RepeatedHeader, "{name} twice {header}");
        }
    }
}

#[test]
fn a_time_in_a_signed_header_is_held_against_our_clock() {
    for name in ["standard-webhooks", "stripe", "slack"] {
        let scheme = preset(name);
        let keys = [scheme.key(SECRET).unwrap()];
        let signing = [scheme.signing_key(SECRET).unwrap()];
        for (seconds, inside) in [(-301, false), (-300, true), (300, true), (301, false)] {
            let at = UnixSeconds(NOW.0 + seconds);
            let lines = scheme.sign(&signing, &"evt_1".parse().unwrap(), at, b"{}");
            let verified = verify(&scheme, &lines, b"{}", &keys);
            assert_eq!(verified.is_ok(), inside, "{name} {seconds}");
        }
    }
}

#[test]
fn a_stripe_secret_is_the_whole_text_and_its_time_stands_once() {
    let scheme = preset("stripe");
    let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
    let lines = scheme.sign(
        &[scheme.signing_key(&secret).unwrap()],
        &"evt_1".parse().unwrap(),
        NOW,
        b"{}",
    );
    let tag = HmacOf(secret.as_bytes()).over(format!("{}.{{}}", NOW.0).as_bytes());
    assert_eq!(
        lines,
        [("stripe-signature".to_owned(), format!("t={},v1={tag}", NOW.0))]
    );
    let keys = [scheme.key(&secret).unwrap()];
    let with = |value: String| verify(&scheme, &[("Stripe-Signature".to_owned(), value)], b"{}", &keys);
    assert!(with(format!("t={},v1={},v0=ab,v1={tag}", NOW.0, "0".repeat(64))).is_ok());
    for refused in [
        format!("t={0},t={0},v1={tag}", NOW.0),
        format!("v1={tag}"),
        format!("t=,v1={tag}"),
        format!("t={}000,v1={tag}", NOW.0),
    ] {
        assert_eq!(with(refused).unwrap_err(), Cause::MalformedTimestamp);
    }
}

pub(super) struct HmacOf<'k>(pub(super) &'k [u8]);

impl HmacOf<'_> {
    pub(super) fn over(&self, message: &[u8]) -> String {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.0).unwrap();
        mac.update(message);
        Encoding::Hex.encode(&mac.finalize().into_bytes())
    }
}

#[test]
fn v1a_is_checked_with_the_public_key_beside_secrets() {
    let scheme = Scheme::standard();
    let private = scheme.signing_key(SEED).unwrap();
    let shared = scheme.signing_key(SECRET).unwrap();
    let keys = [scheme.key(SECRET).unwrap(), scheme.key(PUBLIC).unwrap()];
    let both = scheme.sign(&[shared, private], &"evt_1".parse().unwrap(), NOW, BODY);
    let signatures: Vec<_> = both[2].1.split(' ').map(str::to_owned).collect();
    let [v1, v1a] = &signatures[..] else {
        panic!("{signatures:?}")
    };
    assert!(v1.starts_with("v1,") && v1a.starts_with("v1a,"));
    let check = |signature: &str, body: &[u8], keys: &[Key]| {
        let lines = [
            both[0].clone(),
            both[1].clone(),
            (both[2].0.clone(), signature.to_owned()),
        ];
        verify(&scheme, &lines, body, keys).map(|verified| verified.key())
    };
    assert_eq!(check(v1a, BODY, &keys), Ok(1));
    assert_eq!(check(v1, BODY, &keys), Ok(0));
    assert_eq!(check(v1a, b"{}", &keys), Err(Cause::SignatureMismatch));
    assert_eq!(check(v1a, BODY, &keys[..1]), Err(Cause::SignatureMismatch));
    // The bytes of one kind under the name of the other are none.
    assert_eq!(
        check(&v1.replace("v1,", "v1a,"), BODY, &keys),
        Err(Cause::MalformedSignature)
    );
    let three = [v1a.as_str(); 3].join(" ");
    assert_eq!(check(&three, BODY, &keys), Err(Cause::TooManySignatures));
}

#[test]
fn a_public_key_that_is_no_point_or_for_which_anybody_can_sign_is_refused() {
    let scheme = Scheme::standard();
    let written = |bytes: &[u8]| format!("whpk_{}", STANDARD.encode(bytes));
    let low_order = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];
    for hex in low_order {
        let bytes = Encoding::Hex.decode(hex.as_bytes()).unwrap();
        assert!(scheme.key(&written(&bytes)).is_err(), "{hex}");
    }
    // No point of the curve has one of these as its coordinate.
    let mut two = [0; 32];
    two[0] = 2;
    for no_point in [two, [2; 32], [7; 32], [8; 32]] {
        assert!(scheme.key(&written(&no_point)).is_err(), "{no_point:?}");
    }
    assert!(scheme.key(&written(&[9; 31])).is_err());
    assert!(scheme.key(&written(&[9; 32])).is_ok());
    // A private key where a public one belongs is not a plain secret either.
    assert!(scheme.key(SEED).is_err());
}

/// `X-Sig: v9=<hex>` over `{timestamp}.{body}`, with changes of the definition.
fn definition(changes: &Value) -> Value {
    let mut definition = json!({
        "signature": {"header": "X-Sig"}, "prefix": "v9=", "encoding": "hex", "algorithm": "hmac-sha256",
        "signed": "{timestamp}.{body}", "timestamp": {"header": "X-Time"}, "id": {"pointer": "/n"},
        "type": {"pointer": "/kind"}, "key": "text", "answer": 204,
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            definition.as_object_mut().unwrap().remove(name);
        } else {
            definition[name] = value.clone();
        }
    }
    definition
}

#[test]
fn a_definition_signs_and_verifies_with_each_algorithm_encoding_and_form_of_key() {
    let encoded = [
        ("text", SECRET.to_owned()),
        ("base64", STANDARD.encode([3; 20])),
        ("hex", "ab".repeat(20)),
    ];
    for algorithm in ["hmac-sha1", "hmac-sha256", "hmac-sha512"] {
        for encoding in ["hex", "base64"] {
            for (form, secret) in &encoded {
                let changes = json!({"algorithm": algorithm, "encoding": encoding, "key": form});
                let scheme = custom(definition(&changes)).unwrap();
                let keys = [scheme.key(secret).unwrap()];
                let signing = [scheme.signing_key(secret).unwrap()];
                let lines = scheme.sign(&signing, &"evt_1".parse().unwrap(), NOW, b"{}");
                assert!(verify(&scheme, &lines, b"{}", &keys).is_ok(), "{changes}");
                assert!(verify(&scheme, &lines, b"[]", &keys).is_err(), "{changes}");
            }
        }
    }
    let scheme = custom(definition(&json!({"algorithm": "ed25519", "key": "hex"}))).unwrap();
    let signing = [scheme.signing_key(SEED).unwrap()];
    let lines = scheme.sign(&signing, &"evt_1".parse().unwrap(), NOW, b"{}");
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let keys = [scheme.key(public).unwrap()];
    assert!(verify(&scheme, &lines, b"{}", &keys).is_ok());
    assert!(verify(&scheme, &lines, b"[]", &keys).is_err());
    assert_eq!(scheme.make_secret(&[1; 32]), None);
}

#[test]
fn a_definition_that_would_be_guessed_at_is_refused() {
    let refused: &[(Value, &str)] = &[
        (json!({"signed": "{timestamp}."}), "/signed invalid"),
        (json!({"signed": "{timestamp}.{body}.{body}"}), "/signed invalid"),
        (json!({"signed": "{timestamp}.{host}.{body}"}), "/signed invalid"),
        (json!({"signed": "{timestamp}.{body"}), "/signed invalid"),
        (json!({"timestamp": null}), "/timestamp required"),
        (json!({"timestamp": {"pointer": "/at"}}), "/timestamp required"),
        (json!({"signed": "{id}.{timestamp}.{body}"}), "/id required"),
        (json!({"signed": "{body}"}), "/timestamp not_signed"),
        (
            json!({"signed": "{id}{timestamp}{body}", "id": {"header": "X-Id"}}),
            "/signed invalid",
        ),
        (
            json!({"signed": "{timestamp}x{id}.{body}", "id": {"header": "X-Id"}}),
            "/signed invalid",
        ),
        (json!({"type": {"header": "x-sig"}}), "/type/header not_unique"),
        (
            json!({"signature": {"header": "Content-Length"}}),
            "/signature/header invalid",
        ),
        (
            json!({"signature": {"header": "X Sig"}}),
            "/signature/header invalid",
        ),
        (json!({"prefix": "a b"}), "/prefix invalid"),
        (json!({"key": "standard"}), "/key invalid"),
    ];
    for (changes, expected) in refused {
        assert_eq!(custom(definition(changes)).unwrap_err(), [*expected], "{changes}");
    }
    let misshapen = [
        json!({"algorithm": "md5"}),
        json!({"encoding": "base32"}),
        json!({"answer": 201}),
        json!({"id": {"pointer": "n"}}),
        json!({"id": {"pointer": "/~2"}}),
        json!({"id": {"cookie": "n"}}),
        json!({"signature": {"header": "X-Sig", "part": "v1"}}),
        json!({"more": 1}),
    ];
    for changes in misshapen {
        assert!(custom(definition(&changes)).is_err(), "{changes}");
    }
}

fn foreign(scheme: &Arc<Scheme>, body: &str, more: &[(&str, &str)]) -> Result<Foreign, Vec<String>> {
    let signing = [scheme.signing_key(SECRET).unwrap()];
    let mut lines = scheme.sign(&signing, &"evt_1".parse().unwrap(), NOW, body.as_bytes());
    for (name, value) in more {
        lines.retain(|(other, _)| other != name);
        lines.push(((*name).to_owned(), (*value).to_owned()));
    }
    let verified = verify(scheme, &lines, body.as_bytes(), &[scheme.key(SECRET).unwrap()]).unwrap();
    let digests = DigestKey::from_bytes(&[5; 32]).unwrap();
    let words = |error: &crate::FieldError| format!("{} {}", error.pointer, error.code);
    verified
        .foreign(&digests)
        .map_err(|errors| errors.iter().map(words).collect())
}

fn event(scheme: &Arc<Scheme>, body: &str, more: &[(&str, &str)]) -> ForeignEvent {
    match foreign(scheme, body, more) {
        Ok(Foreign::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_foreign_body_gives_its_type_id_time_and_property() {
    let seconds = NOW.0;
    let github = preset("github");
    let pushed = event(&github, r#"{"ref":"main"}"#, &[("x-github-event", "push")]);
    assert_eq!(
        (pushed.event_type.as_str(), pushed.occurred_at),
        ("github.push", None)
    );
    let shopify = event(&preset("shopify"), "{}", &[("x-shopify-topic", "orders/create")]);
    assert_eq!(shopify.event_type, "shopify.orders.create");
    let stripe = event(
        &preset("stripe"),
        &json!({"id": "evt_9", "type": "invoice.paid", "created": seconds}).to_string(),
        &[],
    );
    assert_eq!(
        (stripe.key.as_str(), stripe.event_type.as_str()),
        ("evt_9", "stripe.invoice.paid")
    );
    assert_eq!(stripe.occurred_at.unwrap().0, seconds * 1000);
    let slack = event(
        &preset("slack"),
        r#"{"event_id":"Ev7","type":"event_callback","event":{"type":"app_mention"}}"#,
        &[],
    );
    assert_eq!(
        (slack.key.as_str(), slack.event_type.as_str()),
        ("Ev7", "slack.app_mention")
    );
    let powalyze = event(
        &preset("powalyze"),
        r#"{"event":"Report Ready","timestamp":"2026-03-14T09:26:53Z","organization_id":"LIS01","data":{}}"#,
        &[],
    );
    assert_eq!(powalyze.event_type, "powalyze.report_ready");
    assert_eq!(powalyze.property.unwrap().as_str(), "LIS01");
    let long = event(
        &preset("chatbot"),
        &json!({"event": "x".repeat(100)}).to_string(),
        &[("webhook-id", "m1")],
    );
    assert_eq!((long.event_type.len(), long.key.as_str()), (64, "m1"));
}

#[test]
fn the_key_of_a_body_without_an_id_is_its_digest_and_no_header_changes_it() {
    let github = preset("github");
    let with = |body: &str, id: &str| {
        let more = [("x-github-event", "push"), ("x-github-delivery", id)];
        event(&github, body, &more).key
    };
    assert_eq!(with("{}", "a"), with("{}", "b"));
    assert_ne!(with("{}", "a"), with("{ }", "a"));
    assert!(with("{}", "a").as_str().starts_with("body_"));
    // An id that is none of ours is digested, apart from bodies.
    let scheme = custom(definition(&json!({}))).unwrap();
    let odd = event(&scheme, r#"{"n":"a.b/c","kind":"k"}"#, &[]).key;
    assert!(odd.as_str().starts_with("id_"));
    // A token vouches for the header, whatever stands in it.
    let chatbot = preset("chatbot");
    let of = |id: &str| event(&chatbot, r#"{"event":"e"}"#, &[("webhook-id", id)]).key;
    assert_eq!(of("conv_42").as_str(), "conv_42");
    assert!(of("conv:42").as_str().starts_with("id_"));
    assert_ne!(of("conv:42"), of("conv:43"));
    assert_eq!(event(&scheme, r#"{"n":12,"kind":"k"}"#, &[]).key.as_str(), "12");
}

#[test]
fn what_a_body_lacks_or_names_twice_is_named() {
    let stripe = preset("stripe");
    assert_eq!(
        foreign(&stripe, "{}", &[]).unwrap_err(),
        ["/type required", "/id required"]
    );
    assert_eq!(foreign(&stripe, "{", &[]).unwrap_err(), [" invalid_json"]);
    let twice = r#"{"id":"a","id":"b","type":"t"}"#;
    assert_eq!(foreign(&stripe, twice, &[]).unwrap_err(), [" invalid_json"]);
    let lokroom = preset("lokroom");
    let late = foreign(&lokroom, r#"{"event":"e","timestamp":"yesterday"}"#, &[]);
    assert_eq!(late.unwrap_err(), ["/timestamp required"]);
    // Members that nobody asked for may be anything.
    let odd = r#"{"event":"e","timestamp":1763769600,"data":{"a":1,"a":2,"n":1e400,"big":123456789012345678901234567890}}"#;
    assert!(foreign(&lokroom, odd, &[]).is_ok());
}

#[test]
fn slacks_question_is_answered_with_its_own_text() {
    let slack = preset("slack");
    let asked = foreign(
        &slack,
        r#"{"type":"url_verification","challenge":"3eZb","token":"t"}"#,
        &[],
    );
    assert_eq!(
        asked,
        Ok(Foreign::Challenge("challenge".to_owned(), "3eZb".to_owned()))
    );
    let long = json!({"type": "url_verification", "challenge": "x".repeat(1025)}).to_string();
    assert_eq!(foreign(&slack, &long, &[]).unwrap_err(), ["/challenge required"]);
}

#[test]
fn a_token_stands_in_one_of_its_headers() {
    let scheme = preset("chatbot");
    let keys = [scheme.key(SECRET).unwrap()];
    let check = |lines: &[(&str, &str)]| {
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        verify(&scheme, &lines, b"{}", &keys).map(|_| ())
    };
    let bearer = format!("Bearer {SECRET}");
    assert_eq!(check(&[("X-API-Key", SECRET)]), Ok(()));
    assert_eq!(check(&[("Authorization", &bearer)]), Ok(()));
    assert_eq!(
        check(&[("X-API-Key", SECRET), ("Authorization", &bearer)]),
        Err(Cause::RepeatedHeader)
    );
    assert_eq!(check(&[("Authorization", SECRET)]), Err(Cause::MissingHeader));
    assert_eq!(
        check(&[("X-API-Key", &SECRET[1..])]),
        Err(Cause::SignatureMismatch)
    );
    assert_eq!(check(&[]), Err(Cause::MissingHeader));
}

/// A refusal costs the same, whichever algorithm the source uses, and whether there is one.
#[test]
fn r17_a_refusal_costs_the_most_keys_of_each_algorithm() {
    let (standard, sha1) = (
        Scheme::standard(),
        custom(definition(&json!({"algorithm": "hmac-sha1"}))).unwrap(),
    );
    let keys = |scheme: &Arc<Scheme>, names: &[&str]| -> Vec<Key> {
        names
            .iter()
            .map(|name| scheme.key(&format!("the-secret-of-the-{name}")).unwrap())
            .collect()
    };
    let three = keys(&standard, &["a", "b", "c"]);
    let two = keys(&sha1, &["d", "e"]);
    let decoys = Decoys::for_senders([(&*standard, &three), (&*sha1, &two)], &SeededEntropy::new(1));
    for (scheme, own) in [
        (&standard, &three[..]),
        (&standard, &three[..1]),
        (&sha1, &two[..]),
        (&sha1, &[]),
        (&preset("chatbot"), &keys(&preset("chatbot"), &["f"])),
    ] {
        let signing = [scheme.signing_key(SECRET).unwrap()];
        let lines = scheme.sign(&signing, &"evt_1".parse().unwrap(), NOW, b"{}");
        let lines = lines
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let headers = scheme.read(lines).unwrap().within(NOW, 300).unwrap();
        let before = TAGS_COMPUTED.get();
        let refused = headers.verify_as_one_of(Bytes::from_static(b"{}"), own, &decoys);
        assert!(refused.is_err());
        assert_eq!(TAGS_COMPUTED.get() - before, 5, "{:?}", scheme.choice());
    }
}
