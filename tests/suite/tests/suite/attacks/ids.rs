//! Rows R36 and R37: ids and texts are values, never SQL; what is not equal never collides, and what does not fit is
//! refused before the database is asked.

use super::signed;
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, event, number};
use db::params;
use harness::engine::Engine;
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        r36_sql_in_a_string_is_only_text,
        r36_ids_that_differ_in_anything_are_two,
        r36_a_space_or_an_accent_in_an_id_is_refused,
        r37_an_id_longer_than_its_column_is_refused_and_the_longest_fits,
    ];
    all.extend(cases![only Engine::Mysql; r37_the_server_cuts_nothing_off]);
    all
}

/// What ends a string of SQL, in one way or another.
const INJECTIONS: [&str; 7] = [
    "'; DROP TABLE inbox; --",
    "' OR '1'='1",
    "\\'; DROP TABLE records; #",
    "\"; DELETE FROM profiles; --",
    "%' UNION SELECT body FROM inbox_bodies --",
    "/*!50000 DROP TABLE inbox */",
    "O'Brien\u{0}' --",
];

/// The body of an event about a guest, changed before it is signed.
fn changed(key: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut body: Value =
        serde_json::from_slice(&event(key, "guest.created", &json!({"last_name": "Silva"}))).unwrap();
    change(&mut body);
    body.to_string().into_bytes()
}

async fn r36_sql_in_a_string_is_only_text(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for (place, text) in INJECTIONS.into_iter().enumerate() {
        let key = format!("evt_{place}");
        let body = changed(&key, |body| {
            body["payload"] = json!({"last_name": text, "first_name": text, "email": text, "phone": text,
                "country": text, "language": text, "status": text, "tags": [text], text: text,
                "address": {"street": text}, "consents": {text: text}});
            body["changed"] = json!([text]);
        });
        let taken = receiver.take(&key, &body).await;
        assert_eq!(taken.status, 202, "{text}: {}", taken.json());
    }
    receiver.settle(&ctx).await;
    let profiles = receiver.get("/guest-profiles").await.json();
    let names: Vec<_> = profiles["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["display_name"])
        .collect();
    assert_eq!(names.len(), INJECTIONS.len(), "{names:?}");

    // In the places of ids it is no id, and in a filter it finds nothing.
    for text in INJECTIONS {
        for pointer in [
            "/type",
            "/property_id",
            "/correlation_id",
            "/entity/kind",
            "/entity/id",
        ] {
            let body = changed("evt_x", |body| *body.pointer_mut(pointer).unwrap() = json!(text));
            assert_eq!(
                receiver.take("evt_x", &body).await.status,
                422,
                "{pointer} {text}"
            );
        }
        let text: String = byte_serialize(text.as_bytes()).collect();
        for filter in [
            "idempotency_key",
            "entity_id",
            "type",
            "source",
            "correlation_id",
            "cursor",
            "sort",
            "limit",
        ] {
            let found = receiver.get(&format!("/events?{filter}={text}")).await;
            let nothing = found.status == 400 || found.json()["data"] == json!([]);
            assert!(nothing, "{filter}={text}: {}", found.json());
        }
        assert_eq!(receiver.get(&format!("/events/{text}")).await.status, 404);
        assert_eq!(receiver.get(&format!("/guest-profiles/{text}")).await.status, 404);
    }
    receiver.stop().await;
    let db = ctx.open().await;
    assert_eq!(number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await, 7);
    assert_eq!(
        number(
            &db,
            "SELECT COUNT(*) AS n FROM records WHERE version = 1",
            params![]
        )
        .await,
        7
    );
}

async fn r36_ids_that_differ_in_anything_are_two(ctx: Ctx) {
    // Without the cache: the database alone distinguishes them.
    let receiver = Receiver::start_uncached(&ctx).await;
    let keys = ["evt_a", "evt_A", "EVT_a", "evt-a", "evt_a_", "evt__a"];
    for key in keys {
        let taken = receiver
            .take(key, &event(key, "guest.created", &json!({"last_name": key})))
            .await;
        assert_eq!(taken.status, 202, "{key}");
    }
    receiver.settle(&ctx).await;
    let profiles = receiver.get("/guest-profiles").await.json();
    assert_eq!(profiles["data"].as_array().unwrap().len(), keys.len());
    for key in keys {
        let found = receiver.get(&format!("/events?entity_id=x_{key}")).await.json();
        assert_eq!(found["data"].as_array().unwrap().len(), 1, "{key}");
        assert_eq!(found["data"][0]["idempotency_key"], key);
    }
    receiver.stop().await;
    let db = ctx.open().await;
    assert_eq!(number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await, 6);
    assert_eq!(
        number(&db, "SELECT COUNT(*) AS n FROM records", params![]).await,
        6
    );
}

async fn r36_a_space_or_an_accent_in_an_id_is_refused(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for id in [
        " x_1",
        "x_1 ",
        "x_1\t",
        "x_\u{e9}",
        "x_e\u{301}",
        "x_\u{ff41}",
        "x_1\u{200b}",
        "x.1",
        "x/1",
        "",
    ] {
        for (pointer, named) in [
            ("/entity/id", "/entity"),
            ("/entity/kind", "/entity"),
            ("/property_id", "/property_id"),
            ("/correlation_id", "/correlation_id"),
        ] {
            let body = changed("evt_1", |body| *body.pointer_mut(pointer).unwrap() = json!(id));
            let refused = receiver.take("evt_1", &body).await;
            assert_eq!(refused.status, 422, "{pointer} {id:?}");
            assert_eq!(refused.json()["errors"][0]["pointer"], named, "{pointer} {id:?}");
        }
        let stay = json!({"status": "confirmed", "check_in": "2026-01-01", "check_out": "2026-01-02",
            "primary_guest_id": id});
        let refused = receiver
            .take("evt_1", &event("evt_1", "reservation.created", &stay))
            .await;
        assert_eq!(refused.status, 422, "primary_guest_id {id:?}");
    }
    receiver.stop().await;
    assert_eq!(
        number(&ctx.open().await, "SELECT COUNT(*) AS n FROM inbox", params![]).await,
        0
    );
}

async fn r37_an_id_longer_than_its_column_is_refused_and_the_longest_fits(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let places = [
        ("/type", 64),
        ("/entity/kind", 64),
        ("/entity/id", 64),
        ("/correlation_id", 64),
        ("/property_id", 16),
    ];
    for (pointer, longest) in places {
        let key = format!("evt{}", pointer.replace('/', "_"));
        let of = |length: usize| {
            changed(&key, |body| {
                // Of a type that is not known, any kind may be named.
                body["type"] = json!("k.unheard_of");
                let letter = if pointer == "/property_id" { "P" } else { "k" };
                *body.pointer_mut(pointer).unwrap() = json!(letter.repeat(length));
            })
        };
        let refused = receiver.take(&key, &of(longest + 1)).await;
        assert_eq!(refused.status, 422, "{pointer}");
        assert_eq!(refused.json()["code"], "validation_failed");
        let taken = receiver.take(&key, &of(longest)).await;
        assert_eq!(taken.status, 202, "{pointer}: {}", taken.json());
    }
    let longest = "e".repeat(64);
    assert_eq!(
        receiver
            .take(
                &longest,
                &changed(&longest, |body| body["entity"]["id"] = json!("x_1"))
            )
            .await
            .status,
        202
    );
    let over = signed("evt_1", &changed("evt_1", |_| {})).with("webhook-id", "e".repeat(65));
    assert_eq!(
        receiver.send(&over).await.status,
        401,
        "a malformed header is not authentic"
    );
    receiver.settle(&ctx).await;
    assert_eq!(receiver.event(&longest).await["status"], "applied");
    receiver.stop().await;
    let sql = "SELECT COUNT(*) AS n FROM inbox WHERE LENGTH(type) = 64 OR LENGTH(entity_id) = 64 \
        OR LENGTH(entity_kind) = 64 OR LENGTH(correlation_id) = 64 OR LENGTH(property_id) = 16";
    assert_eq!(number(&ctx.open().await, sql, params![]).await, 5);
}

/// Opening asserts it; here it is seen.
async fn r37_the_server_cuts_nothing_off(ctx: Ctx) {
    Receiver::start(&ctx).await.stop().await;
    let db = ctx.open().await;
    let strict = "SELECT @@SESSION.sql_mode LIKE '%STRICT_TRANS_TABLES%' AS n";
    assert_eq!(number(&db, strict, params![]).await, 1);
    let cut = db
        .transaction("cut", |tx| {
            Box::pin(async move {
                let sql = "INSERT INTO erasures (source_id, entity_id, event_id, erased_at) VALUES ('pms', ?, 'evt_0', 0)";
                tx.execute(sql, params!["x".repeat(65)]).await
            })
        })
        .await;
    assert!(
        cut.is_err(),
        "a value that does not fit is an error, not a shorter value"
    );
}
