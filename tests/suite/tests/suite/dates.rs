//! Dates and instants that mean none, or something else than they say.

use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, event};
use crate::pms::Pms;
use crate::reservations::{act, booked, guest, request, with};

pub fn cases() -> Vec<Case> {
    cases![
        case03_a_date_that_systems_write_for_none_is_unknown,
        case04_seconds_are_not_milliseconds_at_the_emitter,
        case04_seconds_are_not_milliseconds_at_the_receiver,
    ]
}

/// 2025-11-26T20:00:00Z in seconds.
const SECONDS: i64 = 1_764_187_200;

async fn case03_a_date_that_systems_write_for_none_is_unknown(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let born = |day: &str| json!({"last_name": "T", "date_of_birth": day});
    for day in [
        "0000-00-00",
        "0001-01-01T00:00:00",
        "0001-01-01",
        "1111-11-11",
        "1601-01-01",
        "1753-01-01",
        "1858-11-17",
        "1899-12-30",
        "1899-12-31",
        "1900-01-01",
        "1904-01-01",
        "1970-01-01",
        "2079-06-06",
        "2999-12-31",
        "9999-12-31",
    ] {
        let made = pms.post("/guests", &born(day)).await.expect(201).body;
        assert_eq!(made["date_of_birth"], Value::Null, "{day}");
        let warning = &made["warnings"][0];
        assert_eq!(
            (&warning["pointer"], &warning["code"]),
            (&json!("/date_of_birth"), &json!("placeholder"))
        );
    }
    for (day, code) in [
        ("1899-12-29", "too_early"),
        ("0987-06-05", "too_early"),
        ("2030-05-05", "in_future"),
        ("9998-12-31", "in_future"),
        ("1990-02-30", "not_a_date"),
    ] {
        let refused = pms.post("/guests", &born(day)).await.expect(422);
        assert_eq!(refused.errors(), [("/date_of_birth", code)], "{day}");
    }
    for (day, kept) in [
        ("0001-01-01", Value::Null),
        ("1900-01-01", Value::Null),
        ("9999-12-31", json!("9999-12-31")),
        ("2031-05-05", json!("2031-05-05")),
    ] {
        let body =
            json!({"last_name": "T", "documents": [{"type": "passport", "number": "A1", "expires_on": day}]});
        let made = pms.post("/guests", &body).await.expect(201).body;
        assert_eq!(made["documents"][0]["expires_on"], kept, "{day}");
        let warned = made["warnings"].as_array().unwrap().len();
        assert_eq!(warned, usize::from(kept.is_null()), "{day}");
    }
    pms.stop().await;
}

async fn case04_seconds_are_not_milliseconds_at_the_emitter(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = guest(&pms).await;
    for number in [0, SECONDS, 946_684_799_999, SECONDS * 1_000_000] {
        let consent =
            json!({"last_name": "T", "consent": [{"channel": "sms", "status": "granted", "at": number}]});
        let refused = pms.post("/guests", &consent).await.expect(422);
        assert_eq!(
            refused.errors(),
            [("/consent/0/at", "not_milliseconds")],
            "{number}"
        );
        let refused = pms
            .post(
                "/reservations",
                &with(request(&guest), json!({"booked_at": number})),
            )
            .await
            .expect(422);
        assert_eq!(refused.errors(), [("/booked_at", "not_milliseconds")], "{number}");
        let (_, path) = booked(&pms).await;
        let refused = act(&pms, &path, "cancel", json!({"reason": "ill", "at": number}))
            .await
            .expect(422);
        assert_eq!(refused.errors(), [("/at", "not_milliseconds")], "{number}");
    }
    let taken = with(request(&guest), json!({"booked_at": SECONDS * 1_000}));
    let made = pms.post("/reservations", &taken).await.expect(201).body;
    assert_eq!(made["booked_at"], "2025-11-26T20:00:00.000Z");
    pms.stop().await;
}

async fn case04_seconds_are_not_milliseconds_at_the_receiver(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let envelope = |key: &str, number: i64| {
        let text = String::from_utf8(event(key, "ping", &json!({}))).unwrap();
        text.replace("\"2025-11-21T12:00:00.000Z\"", &number.to_string())
            .into_bytes()
    };
    let stay = json!({"status": "cancelled", "check_in": "2026-01-01", "check_out": "2026-01-02", "primary_guest_id": "g"});
    let guest = json!({"last_name": "T"});
    let consent = json!([{"channel": "sms", "status": "granted", "at": SECONDS}]);
    for (key, body, pointer) in [
        ("evt_1", envelope("evt_1", SECONDS), "/timestamp"),
        (
            "evt_2",
            event(
                "evt_2",
                "guest.created",
                &with(guest.clone(), json!({"consent": consent})),
            ),
            "/payload/consent/0/at",
        ),
        (
            "evt_3",
            event(
                "evt_3",
                "guest.created",
                &with(guest, json!({"created_at": SECONDS})),
            ),
            "/payload/created_at",
        ),
        (
            "evt_4",
            event(
                "evt_4",
                "reservation.updated",
                &with(stay.clone(), json!({"booked_at": SECONDS})),
            ),
            "/payload/booked_at",
        ),
        (
            "evt_5",
            event(
                "evt_5",
                "reservation.updated",
                &with(stay, json!({"cancellation": {"at": SECONDS}})),
            ),
            "/payload/cancellation/at",
        ),
    ] {
        let refused = receiver.take(key, &body).await;
        assert_eq!(refused.status, 422, "{pointer}");
        let error = &refused.json()["errors"][0];
        let found = (&error["pointer"], &error["code"]);
        assert_eq!(found, (&json!(pointer), &json!("not_milliseconds")));
    }
    let taken = receiver.take("evt_6", &envelope("evt_6", SECONDS * 1_000)).await;
    assert_eq!(taken.status, 202);
    receiver.stop().await;
}
