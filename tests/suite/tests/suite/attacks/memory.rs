//! Row R43: what a body becomes is counted before it is built, and has room or is refused.
//!
//! Nothing here measures memory: the budget is asked. `cargo load -- --hostile bodies` measures the process.

use super::signed;
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, config, event, guest_event, number};
use crate::pms::Pms;
use api::json_body::VALUES_MAX;
use crm_receiver::config::Config;
use db::params;
use futures::future::join_all;
use http::Method;
use kit::config::{ByteSize, HttpArgs};
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    cases![
        r43_sixty_bodies_of_tiny_values_are_refused_by_every_write_of_the_emitter,
        r43_sixty_bodies_of_tiny_values_are_refused_by_the_receiver_once_they_are_authentic,
        r43_a_tree_without_room_is_503_and_the_largest_event_is_taken,
    ]
}

/// Requests at once.
const AT_ONCE: usize = 60;
/// The largest body.
const BODY_LEN: usize = 256 * 1024;

/// As many tiny values as fit into a body of `len` bytes: an object and its member, again and again.
fn tiny_values(len: usize) -> Vec<u8> {
    let one = r#",{"":0}"#;
    let (begin, end) = (r#"{"x":[{"":0}"#, "]}");
    let more = (len - begin.len() - end.len()) / one.len();
    format!("{begin}{}{end}", one.repeat(more)).into_bytes()
}

fn code(body: &Value) -> &str {
    body["code"].as_str().unwrap_or_default()
}

async fn r43_sixty_bodies_of_tiny_values_are_refused_by_every_write_of_the_emitter(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = pms
        .post("/guests", &json!({"last_name": "Silva"}))
        .await
        .expect(201);
    let guest_path = format!("/api/v1/guests/{}", guest.id());
    let stay = json!({"primary_guest_id": guest.id(), "check_in": "2026-04-01", "check_out": "2026-04-02"});
    let stay = pms.post("/reservations", &stay).await.expect(201);
    let stay_path = format!("/api/v1/reservations/{}", stay.id());
    let writes = [
        (Method::POST, "/api/v1/guests".to_owned()),
        (Method::PUT, guest_path.clone()),
        (Method::PATCH, guest_path),
        (Method::POST, "/api/v1/events".to_owned()),
        (Method::POST, "/api/v1/event-types".to_owned()),
        (Method::POST, "/api/v1/properties".to_owned()),
        (Method::PUT, "/api/v1/properties/MAIN".to_owned()),
        (Method::POST, "/api/v1/properties/MAIN/night-audit".to_owned()),
        (Method::POST, "/api/v1/reservations".to_owned()),
        (Method::PUT, stay_path.clone()),
        (Method::PATCH, stay_path.clone()),
        (Method::POST, format!("{stay_path}/cancel")),
        (Method::POST, format!("{stay_path}/assign-room")),
    ];
    let body = tiny_values(BODY_LEN);
    for (method, path) in &writes {
        for headers in [&[][..], &[("idempotency-key", "k-1")]] {
            let many = (0..AT_ONCE).map(|_| pms.send_raw(method.clone(), path, headers, body.clone()));
            for answer in join_all(many).await {
                assert_eq!(
                    (answer.status, code(&answer.body)),
                    (422, "too_many_values"),
                    "{method} {path} {headers:?}"
                );
            }
        }
    }
    // Exactly the bound is read, and refused for what it is.
    let most = json!({"preferences": vec!["x"; VALUES_MAX - 1]});
    let answer = pms.post("/guests", &most).await;
    assert_eq!(code(&answer.body), "validation_failed", "{}", answer.body);
    let over = json!({"preferences": vec!["x"; VALUES_MAX]});
    assert_eq!(code(&pms.post("/guests", &over).await.body), "too_many_values");
    // The key was never taken.
    let free = [("idempotency-key", "k-1")];
    let guest = json!({"last_name": "Costa"});
    pms.send(Method::POST, "/guests", &free, Some(&guest))
        .await
        .expect(201);
    pms.stop().await;
}

async fn r43_sixty_bodies_of_tiny_values_are_refused_by_the_receiver_once_they_are_authentic(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let body = tiny_values(BODY_LEN);
    let forged = signed("evt_1", b"{}").with_body(body.clone());
    for answer in join_all((0..AT_ONCE).map(|_| receiver.send(&forged))).await {
        assert_eq!(answer.status, 401);
    }
    let payload: Value = serde_json::from_slice(&tiny_values(BODY_LEN - 1_000)).unwrap();
    let envelope = event("evt_1", "guest.created", &payload);
    for authentic in [body, envelope] {
        for one_key in [true, false] {
            let key = |nth: usize| {
                if one_key {
                    "evt_1".to_owned()
                } else {
                    format!("evt_{nth}")
                }
            };
            let many = (0..AT_ONCE).map(|nth| signed(&key(nth), &authentic));
            let many: Vec<_> = many.collect();
            for answer in join_all(many.iter().map(|one| receiver.send(one))).await {
                assert_eq!((answer.status, code(&answer.json())), (422, "too_many_values"));
            }
        }
    }
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 202);
    receiver.stop().await;
    let db = ctx.open().await;
    assert_eq!(number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await, 1);
}

async fn r43_a_tree_without_room_is_503_and_the_largest_event_is_taken(ctx: Ctx) {
    /// Room for bodies and for trees of what hotels send, and for no tree of this one.
    const LITTLE: usize = 2 << 20;
    let many: Vec<Value> = vec![json!({"": 0}); VALUES_MAX / 2 - 100];
    let payload = json!({"last_name": "Silva", "more": many});
    let largest = event("evt_1", "guest.created", &payload);
    let usual = config(ctx.url());
    let http = HttpArgs {
        http_body_bytes: ByteSize(LITTLE),
        ..usual.http.clone()
    };
    let receiver = Receiver::start_with(Config { http, ..usual }).await;
    for _ in 0..3 {
        let answer = receiver.take("evt_1", &largest).await;
        assert_eq!((answer.status, code(&answer.json())), (503, "overloaded"));
        assert!(answer.headers.iter().any(|(name, _)| name == "retry-after"));
        assert_eq!(
            receiver.take("evt_0", &guest_event("evt_0")).await.status / 100,
            2
        );
    }
    receiver.stop().await;
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(receiver.take("evt_1", &largest).await.status, 202);
    receiver.settle(&ctx).await;
    assert_eq!(receiver.event("evt_1").await["status"], "applied");
    receiver.stop().await;
}
