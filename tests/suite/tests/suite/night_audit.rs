//! `POST /properties/{id}/night-audit`: days pass, one a call, and nothing holds them up.

use http::Method;
use serde_json::json;

use crate::case::{Case, Ctx, cases};
use crate::pms::Pms;
use crate::reservations::{TODAY, booked, guest, request, with};

pub fn cases() -> Vec<Case> {
    cases![
        a_day_passes_and_what_is_overdue_is_listed,
        audits_at_once_move_one_day_each,
        a_retried_audit_moves_one_day,
        what_was_done_yesterday_cannot_be_reverted,
    ]
}

const AUDIT: &str = "/properties/MAIN/night-audit";
/// Audits at once.
const AUDITORS: usize = 8;

async fn a_day_passes_and_what_is_overdue_is_listed(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (due, due_path) = booked(&pms).await;
    let day_use = json!({"check_out": TODAY, "stay_type": "day_use", "nightly_rates": ["50"], "status": "checked_in",
        "room_id": "1"});
    let inside = pms
        .post("/reservations", &with(request(&guest(&pms).await), day_use))
        .await
        .expect(201);
    assert_eq!(inside.body["computed_status"], "due_out");
    let later = json!({"check_in": "2026-03-15"});
    let later = with(
        with(request(&guest(&pms).await), later),
        json!({"nightly_rates": null}),
    );
    pms.post("/reservations", &later).await.expect(201);

    let audit = pms
        .send(Method::POST, AUDIT, &[("x-correlation-id", "night-1")], None)
        .await
        .expect(200);
    assert_eq!(
        (&audit.body["closed_date"], &audit.body["business_date"]),
        (&json!(TODAY), &json!("2026-03-15"))
    );
    let late = |id: &str| json!({"count": 1, "reservation_ids": [id]});
    assert_eq!(
        audit.body["overdue"],
        json!({"due_in": late(due.id()), "due_out": late(inside.id())})
    );
    let property = pms.get("/properties/MAIN").await.expect(200);
    assert_eq!(
        (property.header("etag"), &property.body["business_date"]),
        ("\"2\"", &json!("2026-03-15"))
    );
    assert_eq!(pms.get(&due_path).await.body["computed_status"], "due_in");
    let seen = pms.get(&format!("/reservations/{}", inside.id())).await;
    assert_eq!(seen.body["computed_status"], "overstay");
    let entries =
        "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'night_audit' AND property_id = 'MAIN'
        AND correlation_id = 'night-1'";
    assert_eq!(pms.count(entries).await, 1);
    assert_eq!(
        pms.count("SELECT COUNT(*) AS n FROM events WHERE entity_kind = 'property'")
            .await,
        0
    );

    pms.post("/properties/NONE/night-audit", &json!({}))
        .await
        .expect(404);
    pms.post(AUDIT, &json!({"business_date": "2030-01-01"}))
        .await
        .expect(422);
    pms.stop().await;
}

async fn audits_at_once_move_one_day_each(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let body = json!({});
    let audits = (0..AUDITORS).map(|_| pms.post(AUDIT, &body));
    let mut days: Vec<String> = futures::future::join_all(audits)
        .await
        .into_iter()
        .map(|audit| audit.expect(200).body["closed_date"].as_str().unwrap().to_owned())
        .collect();
    days.sort();
    let expected: Vec<String> = (14..14 + AUDITORS).map(|day| format!("2026-03-{day}")).collect();
    assert_eq!(days, expected);
    assert_eq!(
        pms.count("SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'night_audit'")
            .await,
        8
    );
    pms.stop().await;
}

async fn a_retried_audit_moves_one_day(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let key = [("idempotency-key", "night-of-the-14th")];
    for replayed in ["", "true"] {
        let audit = pms.send(Method::POST, AUDIT, &key, None).await.expect(200);
        assert_eq!(
            (&audit.body["business_date"], audit.header("idempotency-replayed")),
            (&json!("2026-03-15"), replayed)
        );
    }
    assert_eq!(
        pms.get("/properties/MAIN").await.body["business_date"],
        "2026-03-15"
    );
    pms.stop().await;
}

async fn what_was_done_yesterday_cannot_be_reverted(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (_, path) = booked(&pms).await;
    pms.post(&format!("{path}/check-in"), &json!({"room_id": "1"}))
        .await
        .expect(200);
    pms.post(AUDIT, &json!({})).await.expect(200);
    let refused = pms
        .post(&format!("{path}/revert-check-in"), &json!({}))
        .await
        .expect(409);
    assert_eq!(refused.body["guard"], "business_date_moved");
    let left = pms
        .post(&format!("{path}/check-out"), &json!({}))
        .await
        .expect(200);
    assert_eq!(
        (&left.body["checked_in_on"], &left.body["checked_out_on"]),
        (&json!(TODAY), &json!("2026-03-15"))
    );
    let (_, path) = booked(&pms).await;
    for _ in 0..2 {
        pms.post(AUDIT, &json!({})).await.expect(200);
    }
    pms.post(&format!("{path}/no-show"), &json!({})).await.expect(200);
    let refused = pms
        .post(&format!("{path}/reinstate"), &json!({}))
        .await
        .expect(409);
    assert_eq!(refused.body["guard"], "check_out_passed");
    pms.stop().await;
}
