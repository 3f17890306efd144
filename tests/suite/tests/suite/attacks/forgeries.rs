//! Rows R1 to R6, R10 and R11: what is not what a key of the source signed is not authentic, however near it comes.

use super::{all_refused_alike, because, genuine, signed};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, guest_event};
use contract::scheme::SIGNATURES_MAX;
use harness::signer::Delivery;

pub fn cases() -> Vec<Case> {
    cases![
        r01_each_of_the_three_headers_must_be_there,
        r02_a_signature_has_one_spelling,
        r03_an_unknown_version_is_no_way_down,
        r04_one_right_signature_is_enough_at_any_place,
        r05_ten_thousand_signatures_are_refused_unread,
        r06_a_header_line_that_stands_twice_is_refused,
        r10_a_dot_moves_nothing_between_id_and_body,
        r11_every_signed_byte_counts,
    ]
}

const SIGNED_HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

fn signature_of(delivery: &Delivery) -> String {
    delivery.header("webhook-signature")
}

fn with_signature(signature: &str) -> Delivery {
    genuine().with("webhook-signature", signature)
}

/// One delivery that is not authentic for each cause that is seen from the delivery alone.
pub(crate) fn one_for_each_cause() -> Vec<(&'static str, Delivery)> {
    let nine = vec![signature_of(&genuine()); SIGNATURES_MAX + 1].join(" ");
    let elsewhere = Delivery {
        path: "/api/v1/webhooks/pmsx".to_owned(),
        ..genuine()
    };
    vec![
        ("missing_header", genuine().without("webhook-id")),
        ("repeated_header", genuine().and("webhook-id", "evt_1")),
        ("malformed_id", genuine().with("webhook-id", "a.b")),
        ("malformed_timestamp", genuine().with("webhook-timestamp", "1e9")),
        ("malformed_signature", with_signature("v1,")),
        ("too_many_signatures", with_signature(&nine)),
        ("signature_mismatch", genuine().with_body("{}")),
        ("unknown_source", elsewhere),
    ]
}

async fn r01_each_of_the_three_headers_must_be_there(ctx: Ctx) {
    let without = SIGNED_HEADERS.map(|name| genuine().without(name));
    all_refused_alike(&ctx, because("missing_header", without)).await;
}

async fn r02_a_signature_has_one_spelling(ctx: Ctx) {
    let whole = signature_of(&genuine());
    let tag = whole.strip_prefix("v1,").unwrap();
    // The last character before the padding holds four bits of the tag, and two that must be zero.
    let last = char::from(tag.as_bytes()[42] + 1);
    let broken = [
        String::new(),
        "v1".to_owned(),
        "v1,".to_owned(),
        tag.to_owned(),
        whole[..whole.len() - 4].to_owned(),
        whole.trim_end_matches('=').to_owned(),
        format!("{whole}="),
        format!("v1,{}{last}=", &tag[..42]),
        format!("v1,{}AAAA", &tag[..40]),
        format!("v1,{}", "A".repeat(24)),
        format!("v1,{}", "A".repeat(88)),
        format!("v1, {tag}"),
        format!("v1,\t{tag}"),
        format!("v1,{}\t{}", &tag[..20], &tag[20..]),
        format!("v1,{} {}", &tag[..20], &tag[20..]),
        format!("v1,,{tag}"),
        format!("\"{whole}\""),
    ];
    let mut forged = because(
        "malformed_signature",
        broken.iter().map(|text| with_signature(text)),
    );
    // One whose tag is written otherwise in the alphabet for URLs.
    let spelled_otherwise = (0..)
        .map(|number| signed(&format!("evt_{number}"), &guest_event("evt_1")))
        .find(|delivery| signature_of(delivery).contains(['+', '/']))
        .unwrap();
    let url_safe = signature_of(&spelled_otherwise)
        .replace('+', "-")
        .replace('/', "_");
    forged.push((
        "malformed_signature",
        spelled_otherwise.with("webhook-signature", url_safe),
    ));
    // Bytes that are no text at all.
    forged.push((
        "malformed_signature",
        genuine().with("webhook-signature", b"v1,\xff\xfe"),
    ));
    all_refused_alike(&ctx, forged).await;
}

async fn r03_an_unknown_version_is_no_way_down(ctx: Ctx) {
    let whole = signature_of(&genuine());
    let tag = whole.strip_prefix("v1,").unwrap();
    let versions = [
        "v2",
        "V1",
        "v1a",
        "v0",
        "v01",
        "v11",
        "hmac-sha256",
        "sha256",
        "none",
        "",
    ];
    let mut forged = because(
        "malformed_signature",
        versions.map(|version| with_signature(&format!("{version},{tag}"))),
    );
    let several = format!("v2,{tag} v1a,{tag} V1,{tag}");
    forged.push(("malformed_signature", with_signature(&several)));
    forged.push(("malformed_signature", with_signature(&whole.replace(',', "="))));
    all_refused_alike(&ctx, forged).await;
}

async fn r04_one_right_signature_is_enough_at_any_place(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let wrong = format!("v1,{}=", "A".repeat(43));
    for place in 0..SIGNATURES_MAX {
        let key = format!("evt_{place}");
        let delivery = signed(&key, &guest_event(&key));
        let mut signatures = vec![wrong.clone(); SIGNATURES_MAX - 1];
        signatures.insert(place, signature_of(&delivery));
        let several = delivery.with("webhook-signature", signatures.join(" "));
        assert_eq!(receiver.send(&several).await.status, 202, "{place}");
    }
    let delivery = signed("evt_8", &guest_event("evt_8"));
    let beside_unknown = format!("v1a,abc v9 {}", signature_of(&delivery));
    let several = delivery.with("webhook-signature", beside_unknown);
    assert_eq!(receiver.send(&several).await.status, 202);
    receiver.stop().await;
}

/// That one HMAC is computed for each key, whatever came, is counted beside `contract::signature`.
async fn r05_ten_thousand_signatures_are_refused_unread(ctx: Ctx) {
    let whole = signature_of(&genuine());
    let nine = with_signature(&[whole.as_str(); SIGNATURES_MAX + 1].join(" "));
    let spaced = with_signature(&format!("{whole}{},", " ".repeat(SIGNATURES_MAX)));
    // As many as fit into a head, each as short as can be.
    let short = with_signature(&"a ".repeat(3_500));
    let forged = because("too_many_signatures", [nine.clone(), spaced, short]);
    all_refused_alike(&ctx, forged).await;
    let receiver = Receiver::start(&ctx).await;
    let ten_thousand = with_signature(&vec![whole.as_str(); 10_000].join(" "));
    for (many, status) in [(ten_thousand, 431), (nine, 401)] {
        // The body never comes: it is not waited for.
        let answer = many.send_head(receiver.address, 1_000).await.unwrap();
        assert_eq!(answer.status, status);
    }
    receiver.stop().await;
}

async fn r06_a_header_line_that_stands_twice_is_refused(ctx: Ctx) {
    let mut forged = Vec::new();
    for name in SIGNED_HEADERS {
        let value = genuine().header(name);
        for second in [value.as_str(), "", "another"] {
            forged.push(("repeated_header", genuine().and(name, second)));
            // The other one first, and spelled otherwise.
            let mut before = genuine().without(name).and(&name.to_uppercase(), second);
            before.headers.push((name.to_owned(), value.clone().into_bytes()));
            forged.push(("repeated_header", before));
        }
    }
    // What a proxy makes of two lines is no single value either.
    for (name, cause) in [
        ("webhook-id", "malformed_id"),
        ("webhook-timestamp", "malformed_timestamp"),
    ] {
        let value = genuine().header(name);
        forged.push((cause, genuine().with(name, format!("{value}, {value}"))));
    }
    all_refused_alike(&ctx, forged).await;
}

async fn r10_a_dot_moves_nothing_between_id_and_body(ctx: Ctx) {
    let at = genuine().header("webhook-timestamp");
    // What is signed here is `evt_1.{at}.{at}.x`, and so it is for the id `evt_1.{at}` and the body `x`.
    let shifted = signed("evt_1", format!("{at}.x").as_bytes())
        .with("webhook-id", format!("evt_1.{at}"))
        .with_body("x");
    let mut forged = because("malformed_id", [shifted]);
    for id in [
        "a.b",
        "",
        "evt 1",
        "evt_1\u{e9}",
        "evt/1",
        "evt_1\t",
        &"x".repeat(65),
    ] {
        let id = genuine().with("webhook-id", format!("{id}."));
        forged.push(("malformed_id", id));
    }
    all_refused_alike(&ctx, forged).await;
}

async fn r11_every_signed_byte_counts(ctx: Ctx) {
    let text = String::from_utf8(genuine().body).unwrap();
    let rewritten: serde_json::Value = serde_json::from_str(&text).unwrap();
    let pretty = serde_json::to_string_pretty(&rewritten).unwrap();
    let at = genuine().header("webhook-timestamp").parse::<i64>().unwrap();
    let tampered = [
        genuine().with_body(text.replace("Silva", "Silvb")),
        genuine().with_body(text.replace(':', ": ")),
        genuine().with_body(pretty),
        genuine().with_body(format!("\u{feff}{text}")),
        genuine().with_body(format!("{text}\n")),
        genuine().with_body(format!("{text}\0")),
        genuine().with_body(&text[..text.len() - 1]),
        genuine().with_body(""),
        // The signature of one id or instant does not serve for another.
        genuine().with("webhook-id", "evt_2"),
        genuine().with("webhook-id", "EVT_1"),
        genuine().with("webhook-timestamp", (at + 1).to_string()),
    ];
    all_refused_alike(&ctx, because("signature_mismatch", tampered)).await;
}
