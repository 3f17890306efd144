//! Row A16: what a small request writes is bounded by the record that it is about, and a request that changes nothing
//! writes nothing but its idempotency slot.

use crate::case::{Case, Ctx, cases};
use crate::ingest::number;
use crate::pms::Pms;
use db::params;
use futures::{StreamExt, stream};
use http::Method;
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    cases![
        a16_a_thousand_fresh_keys_on_a_request_that_changes_nothing_leave_one_stored_answer,
        a16_a_change_of_nothing_writes_nothing,
        a16_a_patch_of_one_field_of_the_largest_guest_writes_one_record_and_one_event,
        a16_a_change_of_a_stay_leaves_its_guests_alone,
        a16_a_record_that_would_be_too_large_is_refused_and_an_older_one_may_shrink,
    ]
}

const KEYS: usize = 1_000;
/// Requests at once.
const AT_ONCE: usize = 16;
/// The bound on a record's stored JSON.
const RECORD_BYTES_MAX: i64 = 32 * 1024;

/// Everything that a write may touch: how many rows, and how many bytes in the large ones.
const BOOKS: [&str; 11] = [
    "SELECT COUNT(*) AS n FROM guests",
    "SELECT COALESCE(SUM(version), 0) AS n FROM guests",
    "SELECT COALESCE(SUM(guard), 0) AS n FROM guests",
    "SELECT COALESCE(SUM(updated_at), 0) AS n FROM guests",
    "SELECT COUNT(*) AS n FROM guest_external_ids",
    "SELECT COALESCE(SUM(version), 0) AS n FROM reservations",
    "SELECT COALESCE(SUM(version + guard), 0) AS n FROM properties",
    "SELECT COUNT(*) AS n FROM events",
    "SELECT COALESCE(SUM(LENGTH(body)), 0) AS n FROM event_bodies",
    "SELECT COUNT(*) AS n FROM audit_entries",
    "SELECT COUNT(*) AS n FROM idempotency",
];

async fn books(pms: &Pms) -> Vec<i64> {
    let mut books = Vec::new();
    for sql in BOOKS {
        books.push(number(&pms.db, sql, params![]).await);
    }
    books
}

/// What the books changed by.
async fn added(pms: &Pms, before: &[i64]) -> Vec<i64> {
    let after = books(pms).await;
    after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .collect()
}

/// A character of four bytes.
fn text(characters: usize) -> String {
    "\u{20000}".repeat(characters)
}

/// A guest of almost 32 KiB, all of it ASCII, with as many children as it may have.
fn large_guest() -> Value {
    let external_id =
        |nth| json!({"system": format!("system-{nth}"), "value": format!("{nth:03}{}", "v".repeat(120))});
    let (long, number) = ("x".repeat(64), |nth| format!("{nth:02}{}", "9".repeat(60)));
    let membership = |nth| json!({"programme": long, "number": number(nth), "level": long});
    json!({
        "last_name": "Silva", "title": "Dr", "notes": "n".repeat(4000),
        "external_ids": (0..50).map(external_id).collect::<Vec<_>>(),
        "loyalty": (0..42).map(membership).collect::<Vec<_>>(),
        "preferences": (0..50).map(|nth| format!("{nth:02}{}", "p".repeat(198))).collect::<Vec<_>>(),
    })
}

async fn stay_of(pms: &Pms, guest: &str) -> String {
    let stay = json!({
        "primary_guest_id": guest, "check_in": "2026-04-01", "check_out": "2026-04-03", "room_id": "101",
        "special_requests": (0..10).map(|_| text(500)).collect::<Vec<_>>(),
    });
    let made = pms.post("/reservations", &stay).await.expect(201);
    format!("/reservations/{}", made.id())
}

async fn a16_a_thousand_fresh_keys_on_a_request_that_changes_nothing_leave_one_stored_answer(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    pms.rebuilt().await;
    let guest = pms.post("/guests", &large_guest()).await.expect(201);
    let path = format!("{}/assign-room", stay_of(&pms, guest.id()).await);
    let before = books(&pms).await;
    let room = json!({"room_id": "101"});
    let assign = async |nth: usize| {
        let key = format!("k-{nth}");
        let reply = pms
            .send(Method::POST, &path, &[("idempotency-key", &key)], Some(&room))
            .await;
        assert_eq!(reply.header("etag"), "\"1\"");
        (
            reply.header("idempotency-replayed").to_owned(),
            reply.expect(200).body,
        )
    };
    let first = assign(0).await;
    assert_eq!(first.0, "");
    let rest = stream::iter(1..KEYS).map(&assign).buffer_unordered(AT_ONCE);
    rest.for_each(|answer| {
        assert_eq!(answer, first);
        std::future::ready(())
    })
    .await;
    let mut expected = vec![0; BOOKS.len()];
    expected[BOOKS.len() - 1] = KEYS.try_into().unwrap();
    assert_eq!(added(&pms, &before).await, expected, "slots, and nothing else");
    for (sql, stored) in [
        ("SELECT COUNT(*) AS n FROM idempotency_answers", 1),
        ("SELECT COUNT(body) AS n FROM idempotency", 0),
        (
            "SELECT COUNT(*) AS n FROM idempotency_answers WHERE entity_kind = 'reservation'",
            1,
        ),
    ] {
        assert_eq!(number(&pms.db, sql, params![]).await, stored, "{sql}");
    }
    for nth in [0, KEYS / 2, KEYS - 1] {
        assert_eq!(assign(nth).await, ("true".to_owned(), first.1.clone()));
    }
    pms.stop().await;
}

async fn a16_a_change_of_nothing_writes_nothing(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    pms.rebuilt().await;
    let guest = pms.post("/guests", &large_guest()).await.expect(201);
    let guest = format!("/guests/{}", guest.id());
    let stay = stay_of(&pms, guest.trim_start_matches("/guests/")).await;
    let before = books(&pms).await;
    for path in [&guest, &stay, "/properties/MAIN"] {
        let stands = pms.get(path).await.expect(200);
        // The clock would show in what is written.
        pms.clock.advance(std::time::Duration::from_secs(1));
        let whole = pms.put(path, &stands.body).await.expect(200);
        let nothing = pms.put(path, &json!({})).await.expect(200);
        for reply in [whole, nothing] {
            assert_eq!(reply.header("etag"), stands.header("etag"), "{path}");
            assert_eq!(reply.body["updated_at"], stands.body["updated_at"], "{path}");
        }
    }
    for (method, path, body) in [
        (Method::PATCH, guest.clone(), json!({"title": "Dr"})),
        (
            Method::PATCH,
            guest.clone(),
            json!({"external_ids": large_guest()["external_ids"]}),
        ),
        (
            Method::PATCH,
            stay.clone(),
            json!({"room_id": "101", "status": "confirmed"}),
        ),
        (
            Method::POST,
            format!("{stay}/assign-room"),
            json!({"room_id": "101"}),
        ),
    ] {
        pms.send(method, &path, &[], Some(&body)).await.expect(200);
    }
    assert_eq!(added(&pms, &before).await, vec![0; BOOKS.len()]);
    pms.stop().await;
}

async fn a16_a_patch_of_one_field_of_the_largest_guest_writes_one_record_and_one_event(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    pms.rebuilt().await;
    let made = pms.post("/guests", &large_guest()).await.expect(201);
    let path = format!("/guests/{}", made.id());
    let stored = number(&pms.db, "SELECT LENGTH(body) AS n FROM guests", params![]).await;
    assert!(
        stored > RECORD_BYTES_MAX - 1024 && stored <= RECORD_BYTES_MAX,
        "{stored}"
    );
    for (nth, title) in ["Dra", "Prof", "Dr"].into_iter().enumerate() {
        let before = books(&pms).await;
        pms.clock.advance(std::time::Duration::from_millis(1));
        let patch = json!({"title": title});
        let reply = pms
            .send(Method::PATCH, &path, &[], Some(&patch))
            .await
            .expect(200);
        assert_eq!(reply.header("etag"), format!("\"{}\"", nth + 2));
        let added = added(&pms, &before).await;
        let event_bytes = added[8];
        assert!(event_bytes < RECORD_BYTES_MAX, "{event_bytes}");
        assert_eq!(added, [0, 1, 0, 1, 0, 0, 0, 1, event_bytes, 0, 0]);
        let events = pms.events(made.id()).await;
        assert_eq!(events.last().unwrap()["changed"], json!(["title"]));
    }
    pms.stop().await;
}

async fn a16_a_change_of_a_stay_leaves_its_guests_alone(ctx: Ctx) {
    const GUESTS: usize = 20;
    let pms = Pms::start(&ctx).await;
    pms.rebuilt().await;
    let mut guests = Vec::new();
    for nth in 0..GUESTS {
        let guest = json!({"last_name": format!("Silva-{nth}")});
        guests.push(pms.post("/guests", &guest).await.expect(201).id().to_owned());
    }
    let stay = json!({
        "primary_guest_id": guests[0], "accompanying_guest_ids": guests[1..], "adults": GUESTS,
        "check_in": "2026-03-14", "check_out": "2026-03-16",
    });
    let made = pms.post("/reservations", &stay).await.expect(201);
    let stay = format!("/reservations/{}", made.id());
    for (method, path, body) in [
        (Method::PATCH, "", json!({"check_out": "2026-03-17"})),
        (
            Method::PATCH,
            "",
            json!({"check_out": "2026-03-16", "children": 1}),
        ),
        (Method::POST, "/assign-room", json!({"room_id": "101"})),
        (Method::POST, "/check-in", json!({})),
        (Method::PATCH, "", json!({"check_out": "2026-03-18"})),
        (Method::POST, "/check-out", json!({})),
    ] {
        let before = books(&pms).await;
        let path = format!("{stay}{path}");
        pms.send(method, &path, &[], Some(&body)).await.expect(200);
        let added = added(&pms, &before).await;
        let (property_guard, event_bytes) = (added[6], added[8]);
        assert!(property_guard <= 1, "{path}: {property_guard}");
        assert_eq!(
            added,
            [0, 0, 0, 0, 0, 1, property_guard, 1, event_bytes, 0, 0],
            "{path} {body}"
        );
    }
    // Who is newly named is asked for, and no other.
    let other = pms
        .post("/guests", &json!({"last_name": "Costa"}))
        .await
        .expect(201);
    let before = books(&pms).await;
    let booker = json!({"booker_guest_id": other.id()});
    pms.send(Method::PATCH, &stay, &[], Some(&booker))
        .await
        .expect(200);
    assert_eq!(added(&pms, &before).await[2], 1);
    pms.stop().await;
}

async fn a16_a_record_that_would_be_too_large_is_refused_and_an_older_one_may_shrink(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    pms.rebuilt().await;
    let guest = pms.post("/guests", &large_guest()).await.expect(201);
    let path = format!("/guests/{}", guest.id());
    let stay = stay_of(&pms, guest.id()).await;
    let long = (0..50)
        .map(|nth| format!("{nth}{}", text(190)))
        .collect::<Vec<_>>();
    let requests = (0..20).map(|_| text(500)).collect::<Vec<_>>();
    let before = books(&pms).await;
    let too_large = json!({"last_name": "Silva", "preferences": long, "notes": text(4000)});
    let stay_too_large = json!({
        "primary_guest_id": guest.id(), "check_in": "2026-04-01", "check_out": "2026-04-02", "special_requests": requests,
    });
    for (method, path, body) in [
        (Method::POST, "/guests", &too_large),
        (Method::PUT, &path, &json!({"preferences": long})),
        (Method::PATCH, &path, &json!({"preferences": long})),
        (Method::POST, "/reservations", &stay_too_large),
        (Method::PUT, &stay, &json!({"special_requests": requests})),
        (Method::PATCH, &stay, &json!({"special_requests": requests})),
    ] {
        let key = [("idempotency-key", "k-1")];
        let refused = pms.send(method.clone(), path, &key, Some(body)).await.expect(422);
        assert_eq!(refused.body["code"], "record_too_large", "{method} {path}");
    }
    assert_eq!(added(&pms, &before).await, vec![0; BOOKS.len()]);
    // As it was stored by a version without the bound.
    let body: Value = pms.get(&path).await.expect(200).body;
    let mut details = body.as_object().unwrap().clone();
    for ours in [
        "id",
        "version",
        "property_id",
        "status",
        "merged_into",
        "email_kind",
        "created_at",
        "updated_at",
        "deleted_at",
    ] {
        details.remove(ours);
    }
    details.insert("preferences".to_owned(), json!(long));
    let stored = Value::Object(details).to_string();
    assert!(stored.len() > RECORD_BYTES_MAX.try_into().unwrap());
    let write = pms.db.transaction("older", move |tx| {
        let stored = stored.clone();
        Box::pin(async move {
            tx.execute("UPDATE guests SET body = ?", params![stored])
                .await
                .map(drop)
        })
    });
    write.await.unwrap();
    for (patch, status) in [
        (json!({"first_name": "Ana"}), 422),
        (json!({"title": null, "vip_level": 9}), 200),
        (json!({"preferences": long[..49], "first_name": "Ana"}), 200),
        (json!({"preferences": long}), 422),
        (json!({"preferences": [], "notes": null}), 200),
        (json!({"notes": text(1000)}), 200),
    ] {
        let reply = pms.send(Method::PATCH, &path, &[], Some(&patch)).await;
        assert_eq!(
            reply.status,
            status,
            "{:.60} {:.200}",
            patch.to_string(),
            reply.body.to_string()
        );
    }
    pms.stop().await;
}
