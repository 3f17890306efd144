//! Senders that sign in other ways: what each preset takes, keeps and answers, and that nothing shows how a source signs.

use super::{asked, source};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, event, execute, guest_event, number};
use contract::scheme::{Choice, Preset};
use db::params;
use harness::config::BASE_PATH;
use harness::signer::{Answer, Delivery};
use serde_json::{Value, json};
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    cases![
        a_signed_body_of_each_preset_is_kept_as_it_came_and_a_changed_one_is_not,
        a_replay_under_another_delivery_id_is_a_duplicate,
        an_event_is_found_with_its_type_time_property_and_delivery_id,
        a_source_of_one_property_gives_it_to_its_events_and_takes_no_other,
        slacks_question_is_answered_once_it_is_signed,
        an_event_that_only_its_own_time_dates_is_taken_for_a_day,
        a_sender_of_its_own_definition_may_bring_guests,
        a_standard_body_of_a_source_that_does_not_fold_is_a_foreign_one,
        a_test_event_is_kept_and_changes_nothing,
        a_definition_is_refused_with_the_place_of_each_error,
        a_scheme_is_changed_only_without_secrets,
        a_public_key_is_the_senders_own,
        r14_r17_headers_of_another_scheme_are_answered_alike_everywhere,
        the_key_of_bodies_stays_when_everything_else_changes,
        r40_a_stale_copy_uses_up_no_rate_and_is_no_sign_of_life,
        pms_signs_as_the_environment_says_whatever_was_set_before,
    ]
}

const SECRET: &str = "the-secret-of-one-foreign-sender";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A source of this scheme, signing with [`SECRET`] and the source's name.
async fn made(receiver: &Receiver, id: &str, settings: Value) {
    let mut body = json!({"id": id, "name": id, "property_ids": "*"});
    body.as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    asked(receiver, "POST", "/sources", Some(body), 201).await;
    let path = format!("/sources/{id}/rotate-secret");
    asked(
        receiver,
        "POST",
        &path,
        Some(json!({"secret": secret_of(id)})),
        201,
    )
    .await;
}

fn secret_of(id: &str) -> String {
    format!("{SECRET}-{id}")
}

/// A delivery of a source, signed as its scheme asks.
fn delivery(receiver: &Receiver, id: &str, scheme: &Choice, body: &str) -> Delivery {
    let scheme = scheme.scheme();
    let signing = [scheme.signing_key(&secret_of(id)).unwrap()];
    let key = "evt_of_the_header".parse().unwrap();
    let lines = scheme.sign(&signing, &key, receiver.seconds(), body.as_bytes());
    let delivery = Delivery::bare("POST", format!("{BASE_PATH}/webhooks/{id}"))
        .with("content-type", "application/json")
        .with_body(body);
    lines
        .into_iter()
        .fold(delivery, |delivery, (name, value)| delivery.with(&name, value))
}

fn preset(name: &str) -> Choice {
    Choice::Preset(name.parse().unwrap())
}

async fn sent_as(receiver: &Receiver, name: &str, body: &str) -> Answer {
    receiver
        .send(&delivery(receiver, name, &preset(name), body))
        .await
}

/// A body of a sender of this preset.
fn body_of(preset: Preset, seconds: i64) -> String {
    match preset {
        Preset::StandardWebhooks => {
            json!({"type": "invoice.paid", "timestamp": seconds, "data": {}})
        }
        Preset::Stripe => json!({"id": "evt_9", "type": "invoice.paid", "created": seconds}),
        Preset::Slack => json!({"event_id": "Ev9", "type": "event_callback", "event": {"type": "message"}}),
        Preset::Github | Preset::Shopify => json!({"id": 12, "deep": {"twice": 1e300}}),
        Preset::Lokroom | Preset::Chatbot => {
            json!({"event": "Door/Opened", "timestamp": seconds, "data": {}})
        }
        Preset::Powalyze => {
            json!({"event": "report.ready", "timestamp": seconds, "organization_id": "o", "data": {}})
        }
        Preset::JobStatus => json!({"job_id": "j", "status": "saving", "timestamp": seconds}),
    }
    .to_string()
}

fn with_type(delivery: Delivery) -> Delivery {
    delivery
        .with("x-github-event", "push")
        .with("x-shopify-topic", "orders/create")
}

async fn a_signed_body_of_each_preset_is_kept_as_it_came_and_a_changed_one_is_not(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let db = ctx.open().await;
    for preset in Preset::all() {
        let name = preset.name();
        made(&receiver, name, json!({"scheme": name})).await;
        let body = body_of(preset, receiver.seconds().0);
        let genuine = with_type(delivery(&receiver, name, &Choice::Preset(preset), &body));
        let is_token = matches!(preset, Preset::Chatbot | Preset::JobStatus);
        for (header, value) in genuine.headers.clone() {
            if [
                "content-type",
                "x-github-event",
                "x-github-delivery",
                "x-shopify-topic",
                "x-shopify-webhook-id",
            ]
            .contains(&&*header)
                || is_token && header == "webhook-id"
            {
                continue;
            }
            let flipped = super::libraries::flipped(std::str::from_utf8(&value).unwrap());
            let refused = receiver.send(&genuine.clone().with(&header, flipped)).await;
            assert_eq!(refused.status, 401, "{name} {header}");
        }
        if !is_token {
            let refused = receiver
                .send(&genuine.clone().with_body(format!("{body} ")))
                .await;
            assert_eq!(refused.status, 401, "{name}");
        }
        let taken = receiver.send(&genuine).await;
        let status = u16::from(Choice::Preset(preset).scheme().answer());
        assert_eq!(taken.status, status, "{name}: {}", taken.json());
        let again = receiver.send(&genuine).await;
        assert_eq!(
            (again.status, &again.json()["duplicate"]),
            (200, &json!(true)),
            "{name}"
        );
        if preset == Preset::JobStatus {
            // No event: it is kept with its job.
            asked(&receiver, "GET", "/jobs/j", None, 200).await;
            continue;
        }
        let sql = "SELECT COUNT(*) AS n FROM inbox i JOIN inbox_bodies b ON b.event_id = i.event_id \
                   WHERE i.source_id = ? AND i.status = 'ignored' AND b.body = ?";
        assert_eq!(
            number(&db, sql, params![name, body.into_bytes()]).await,
            1,
            "{name}"
        );
    }
    receiver.stop().await;
}

async fn a_replay_under_another_delivery_id_is_a_duplicate(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    made(&receiver, "github", json!({"scheme": "github"})).await;
    let first = with_type(delivery(&receiver, "github", &preset("github"), "{}"));
    let first = first.with("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    let taken = receiver.send(&first).await;
    assert_eq!(taken.status, 202);
    let event_id = taken.json()["event_id"].as_str().unwrap().to_owned();
    let replayed = receiver.send(&first.with("x-github-delivery", "another")).await;
    assert_eq!(
        (replayed.status, &replayed.json()["event_id"]),
        (200, &json!(event_id))
    );
    let shown = asked(&receiver, "GET", &format!("/events/{event_id}"), None, 200).await;
    assert_eq!(shown["delivery_id"], "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    assert!(shown["idempotency_key"].as_str().unwrap().starts_with("body_"));
    receiver.stop().await;
}

async fn an_event_is_found_with_its_type_time_property_and_delivery_id(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    made(&receiver, "powalyze", json!({"scheme": "powalyze"})).await;
    let body = json!({"event": "Report/Ready", "timestamp": "2025-11-21T23:59:58Z", "organization_id": "LIS01", "data": {}});
    assert_eq!(
        sent_as(&receiver, "powalyze", &body.to_string()).await.status,
        202
    );
    let list = asked(
        &receiver,
        "GET",
        "/events?source=powalyze&property_id=LIS01",
        None,
        200,
    )
    .await;
    let event = &list["data"][0];
    assert_eq!(event["type"], "powalyze.report.ready");
    assert_eq!(event["occurred_at"], "2025-11-21T23:59:58.000Z");
    assert_eq!(
        (&event["status"], &event["entity"]),
        (&json!("ignored"), &Value::Null)
    );
    assert_eq!(event.get("delivery_id"), None);
    receiver.stop().await;
}

async fn a_source_of_one_property_gives_it_to_its_events_and_takes_no_other(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    made(
        &receiver,
        "lokroom",
        json!({"scheme": "lokroom", "property_ids": ["LIS01"]}),
    )
    .await;
    let at = receiver.seconds().0;
    let body = |data: Value| json!({"event": "door.opened", "timestamp": at, "data": data}).to_string();
    assert_eq!(
        sent_as(&receiver, "lokroom", &body(json!({"n": 1}))).await.status,
        202
    );
    let own = body(json!({"property_id": "LIS01"}));
    assert_eq!(sent_as(&receiver, "lokroom", &own).await.status, 202);
    let list = asked(&receiver, "GET", "/events?property_id=LIS01", None, 200).await;
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    made(
        &receiver,
        "powalyze",
        json!({"scheme": "powalyze", "property_ids": ["LIS01"]}),
    )
    .await;
    let of_another = json!({
        "event": "e", "timestamp": at, "organization_id": "org-9", "data": {"property_id": "OPO02"},
    });
    let refused = sent_as(&receiver, "powalyze", &of_another.to_string()).await;
    assert_eq!(refused.json()["errors"][0]["code"], "not_of_this_source");
    let refused = sent_as(&receiver, "lokroom", &body(json!({"property_id": "OPO02"}))).await;
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["code"]),
        (422, &json!("not_of_this_source"))
    );
    receiver.stop().await;
}

async fn r40_a_stale_copy_uses_up_no_rate_and_is_no_sign_of_life(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    made(
        &receiver,
        "lokroom",
        json!({"scheme": "lokroom", "rate_limit": 2}),
    )
    .await;
    let body =
        |at: i64, n: u64| json!({"event": "door.opened", "timestamp": at, "data": {"n": n}}).to_string();
    let now = receiver.seconds().0;
    for _ in 0..5 {
        let stale = body(now - 2 * 86_400, 0);
        assert_eq!(sent_as(&receiver, "lokroom", &stale).await.status, 401);
    }
    let stats = asked(&receiver, "GET", "/sources/lokroom/stats", None, 200).await;
    assert_eq!(stats["last_seen_at"], Value::Null);
    for (n, status) in [(1, 202), (2, 202), (3, 429)] {
        assert_eq!(
            sent_as(&receiver, "lokroom", &body(now, n)).await.status,
            status,
            "{n}"
        );
    }
    receiver.stop().await;
}

async fn pms_signs_as_the_environment_says_whatever_was_set_before(ctx: Ctx) {
    let receiver = Receiver::start_with(super::without_pms(&ctx)).await;
    made(&receiver, "pms", json!({"scheme": "github"})).await;
    receiver.stop().await;
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 202);
    let shown = asked(&receiver, "GET", "/sources/pms", None, 200).await;
    assert_eq!(shown["scheme"], "standard-webhooks");
    receiver.stop().await;
}

async fn slacks_question_is_answered_once_it_is_signed(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    made(&receiver, "slack", json!({"scheme": "slack"})).await;
    let body = r#"{"token":"t","challenge":"3eZbrw1aB10FEMAGAZd4FyFQ","type":"url_verification"}"#;
    let asked_for = delivery(&receiver, "slack", &preset("slack"), body);
    let answer = receiver.send(&asked_for).await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"challenge": "3eZbrw1aB10FEMAGAZd4FyFQ"}))
    );
    let unsigned = asked_for.with("x-slack-signature", format!("v0={}", "0".repeat(64)));
    let refused = receiver.send(&unsigned).await;
    assert_eq!(refused.status, 401);
    assert!(!String::from_utf8(refused.body).unwrap().contains("3eZbrw"));
    let sql = "SELECT COUNT(*) AS n FROM inbox";
    assert_eq!(number(&ctx.open().await, sql, params![]).await, 0);
    receiver.stop().await;
}

async fn an_event_that_only_its_own_time_dates_is_taken_for_a_day(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    made(
        &receiver,
        "lokroom",
        json!({"scheme": "lokroom", "max_skew_seconds": 60}),
    )
    .await;
    let now = receiver.seconds().0;
    let day = i64::try_from(DAY.as_secs()).unwrap();
    for (at, status) in [
        (now - day, 202),
        (now - day - 1, 401),
        (now + 60, 202),
        (now + 61, 401),
    ] {
        let body = json!({"event": "door.opened", "timestamp": at, "data": {}}).to_string();
        assert_eq!(
            sent_as(&receiver, "lokroom", &body).await.status,
            status,
            "{}",
            at - now
        );
    }
    receiver.stop().await;
}

fn definition() -> Value {
    json!({
        "signature": {"header": "X-Sig"}, "prefix": "v9=", "encoding": "hex", "algorithm": "hmac-sha512",
        "signed": "{timestamp}.{body}", "timestamp": {"header": "X-Time"}, "key": "text", "answer": 204,
    })
}

fn custom(definition: &Value) -> Choice {
    serde_json::from_value(definition.clone()).unwrap()
}

async fn a_sender_of_its_own_definition_may_bring_guests(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    made(
        &receiver,
        "other-pms",
        json!({"scheme": definition(), "folds": true}),
    )
    .await;
    let body = String::from_utf8(guest_event("evt_1")).unwrap();
    let signed = delivery(&receiver, "other-pms", &custom(&definition()), &body);
    for _ in 0..2 {
        let answer = receiver.send(&signed).await;
        assert_eq!((answer.status, answer.body), (204, Vec::new()));
    }
    let list = asked(
        &receiver,
        "GET",
        "/events?source=other-pms&idempotency_key=evt_1",
        None,
        200,
    )
    .await;
    assert_eq!(list["data"][0]["type"], "guest.created");
    assert_ne!(list["data"][0]["status"], "ignored");
    // Where it does not fold, nothing is asked of its bodies.
    made(&receiver, "locks", json!({"scheme": definition()})).await;
    let body = json!({"schema_version": 3, "event": "opened"}).to_string();
    let signed = delivery(&receiver, "locks", &custom(&definition()), &body);
    assert_eq!(receiver.send(&signed).await.status, 204);
    // Only an envelope makes records, so a preset with bodies of its own cannot fold.
    let body = json!({"id": "gh", "name": "gh", "property_ids": "*", "scheme": "github", "folds": true});
    let refused = asked(&receiver, "POST", "/sources", Some(body), 422).await;
    assert_eq!(refused["errors"][0]["pointer"], "/folds");
    receiver.stop().await;
}

async fn a_standard_body_of_a_source_that_does_not_fold_is_a_foreign_one(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    made(&receiver, "billing", json!({})).await;
    let at = receiver.seconds().0;
    let send = async |event_type: &str| {
        let body = json!({"type": event_type, "timestamp": at, "data": {"id": 1}}).to_string();
        receiver
            .send(&delivery(&receiver, "billing", &Choice::default(), &body))
            .await
    };
    assert_eq!(send("invoice.paid").await.status, 202);
    let list = asked(&receiver, "GET", "/events?source=billing", None, 200).await;
    let event = &list["data"][0];
    assert_eq!(event["type"], "standard_webhooks.invoice.paid");
    assert_eq!(event["idempotency_key"], "evt_of_the_header");
    let refused = send("guest.created").await;
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["code"]),
        (422, &json!("source_does_not_fold"))
    );
    receiver.stop().await;
}

async fn a_test_event_is_kept_and_changes_nothing(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let mut envelope: Value = serde_json::from_slice(&guest_event("evt_1")).unwrap();
    envelope["test"] = json!(true);
    let answer = receiver.take("evt_1", envelope.to_string().as_bytes()).await;
    assert_eq!(answer.status, 202);
    let list = asked(&receiver, "GET", "/events?idempotency_key=evt_1", None, 200).await;
    assert_eq!(
        (&list["data"][0]["status"], &list["data"][0]["type"]),
        (&json!("ignored"), &json!("guest.created"))
    );
    envelope["test"] = json!("yes");
    let refused = receiver
        .take("evt_2", envelope.to_string().replace("evt_1", "evt_2").as_bytes())
        .await;
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["pointer"]),
        (422, &json!("/test"))
    );
    receiver.stop().await;
}

async fn a_definition_is_refused_with_the_place_of_each_error(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    source(&receiver, "spa").await;
    for (member, value, pointer) in [
        ("signed", json!("{timestamp}."), "/scheme/signed"),
        ("signed", json!("{body}"), "/scheme/timestamp"),
        ("algorithm", json!("md5"), "/scheme/algorithm"),
        ("answer", json!(201), "/scheme/answer"),
        ("signature", json!({"header": "Host"}), "/scheme/signature/header"),
        ("id", json!({"pointer": "id"}), "/scheme/id"),
        ("more", json!(1), "/scheme/more"),
    ] {
        let mut definition = definition();
        definition[member] = value.clone();
        let change = json!({"scheme": definition});
        let refused = asked(&receiver, "PUT", "/sources/spa", Some(change), 422).await;
        let found = refused["errors"][0]["pointer"].as_str().unwrap();
        assert!(found.starts_with(pointer), "{member} {value}: {found}");
    }
    for unknown in [json!("git"), json!(7), json!([])] {
        let change = json!({"scheme": unknown});
        let refused = asked(&receiver, "PUT", "/sources/spa", Some(change), 422).await;
        assert_eq!(refused["errors"][0]["pointer"], "/scheme");
    }
    let changed = asked(
        &receiver,
        "PUT",
        "/sources/spa",
        Some(json!({"scheme": definition()})),
        200,
    )
    .await;
    assert_eq!(changed["scheme"], definition());
    receiver.stop().await;
}

async fn a_scheme_is_changed_only_without_secrets(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    made(&receiver, "stripe", json!({"scheme": "stripe"})).await;
    let change = json!({"scheme": "github"});
    let refused = asked(&receiver, "PUT", "/sources/stripe", Some(change.clone()), 422).await;
    assert_eq!(
        (&refused["errors"][0]["pointer"], &refused["errors"][0]["code"]),
        (&json!("/scheme"), &json!("has_secrets"))
    );
    asked(&receiver, "DELETE", "/sources/stripe/secrets/1", None, 204).await;
    asked(&receiver, "PUT", "/sources/stripe", Some(change), 200).await;
    receiver.stop().await;
}

async fn a_public_key_is_the_senders_own(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    source(&receiver, "spa").await;
    let scheme = Choice::default().scheme();
    let signing = [scheme
        .signing_key("whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
        .unwrap()];
    for no_key in [
        // No point of the curve, and one of order 1.
        "whpk_AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "whpk_AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ] {
        let body = json!({"secret": no_key});
        let refused = asked(&receiver, "POST", "/sources/spa/rotate-secret", Some(body), 422).await;
        assert_eq!(refused["errors"][0]["pointer"], "/secret");
    }
    let public = json!({"secret": "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="});
    asked(&receiver, "POST", "/sources/spa/rotate-secret", Some(public), 201).await;
    let body = event("evt_1", "spa.booked", &json!({}));
    let key = "evt_1".parse().unwrap();
    let lines = scheme.sign(&signing, &key, receiver.seconds(), &body);
    let delivery = Delivery::bare("POST", format!("{BASE_PATH}/webhooks/spa"))
        .with("content-type", "application/json")
        .with_body(body);
    let signed = lines
        .into_iter()
        .fold(delivery, |delivery, (name, value)| delivery.with(&name, value));
    assert_eq!(receiver.send(&signed).await.status, 202);
    let changed = signed
        .clone()
        .with_body(event("evt_1", "spa.booked", &json!({"n": 1})));
    assert_eq!(receiver.send(&changed).await.status, 401);
    // Nobody but the sender makes such keys.
    let only_public = json!({"scheme": {
        "signature": {"header": "X-Sig"}, "encoding": "hex", "algorithm": "ed25519", "signed": "{body}", "key": "hex",
    }});
    let body = json!({"id": "cam", "name": "cam", "property_ids": "*", "scheme": only_public["scheme"]});
    asked(&receiver, "POST", "/sources", Some(body), 201).await;
    let refused = asked(
        &receiver,
        "POST",
        "/sources/cam/rotate-secret",
        Some(json!({})),
        422,
    )
    .await;
    assert_eq!(refused["errors"][0]["pointer"], "/secret");
    receiver.stop().await;
}

/// What is answered depends on the headers alone, whichever source the path names: also whether a body is read, which a body
/// over the limit shows, whose length is not declared.
async fn r14_r17_headers_of_another_scheme_are_answered_alike_everywhere(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for name in ["github", "stripe", "chatbot"] {
        made(&receiver, name, json!({"scheme": name})).await;
    }
    for signed_as in ["github", "stripe", "chatbot", "slack", "standard-webhooks"] {
        let of_nobody = delivery(&receiver, "nobody", &preset(signed_as), "{}").without("webhook-id");
        let of_nobody = match signed_as {
            "standard-webhooks" => of_nobody.with("webhook-id", "evt_1"),
            _ => of_nobody,
        };
        let mut answers = Vec::new();
        for path in ["github", "stripe", "chatbot", "pms", "nobody"] {
            let mut to = of_nobody.clone();
            to.path = format!("{BASE_PATH}/webhooks/{path}");
            let small = receiver.send(&to).await;
            let mut chunked = to.clone().with("transfer-encoding", "chunked");
            let large = "x".repeat(300 * 1024);
            chunked.body = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()).into_bytes();
            let large = receiver.send(&chunked).await;
            answers.push((small.status, small.json()["code"].clone(), large.status));
        }
        let is_in_use = signed_as != "slack";
        let expected = (401, json!("unauthorized"), if is_in_use { 413 } else { 401 });
        assert_eq!(answers, vec![expected; 5], "{signed_as}");
    }
    receiver.stop().await;
}

async fn the_key_of_bodies_stays_when_everything_else_changes(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    made(&receiver, "github", json!({"scheme": "github"})).await;
    let first = with_type(delivery(&receiver, "github", &preset("github"), "{}"));
    assert_eq!(receiver.send(&first).await.status, 202);
    let db = ctx.open().await;
    let sql = "SELECT COUNT(*) AS n FROM source_digest_keys WHERE id = 'github'";
    assert_eq!(number(&db, sql, params![]).await, 1);
    let rotated = json!({"secret": "another-secret-of-the-sender", "overlap_seconds": 0});
    asked(
        &receiver,
        "POST",
        "/sources/github/rotate-secret",
        Some(rotated),
        201,
    )
    .await;
    asked(
        &receiver,
        "PUT",
        "/sources/github",
        Some(json!({"name": "Other"})),
        200,
    )
    .await;
    receiver.stop().await;
    let receiver = Receiver::start(&ctx).await;
    let scheme = preset("github").scheme();
    let signing = [scheme.signing_key("another-secret-of-the-sender").unwrap()];
    let key = "other".parse().unwrap();
    let lines = scheme.sign(&signing, &key, receiver.seconds(), b"{}");
    let again = lines
        .into_iter()
        .fold(first, |delivery, (name, value)| delivery.with(&name, value));
    let answer = receiver.send(&again).await;
    assert_eq!((answer.status, &answer.json()["duplicate"]), (200, &json!(true)));
    // Of a source of the version before it is made at the start.
    execute(
        &db,
        "DELETE FROM source_digest_keys WHERE id = 'github'",
        params![],
    )
    .await;
    receiver.stop().await;
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(number(&db, sql, params![]).await, 1);
    receiver.stop().await;
}
