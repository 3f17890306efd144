//! What people and systems write into a guest's fields: telephone numbers, text that shows nothing, dates and instants that
//! mean none.

use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, event};
use crate::pms::Pms;
use crate::reservations::{act, booked, guest, request, with};

pub fn cases() -> Vec<Case> {
    cases![
        case01_a_number_is_kept_as_it_is_dialled_from_abroad,
        case02_a_text_in_which_nothing_is_seen_is_empty,
        case02_invisible_characters_go_from_the_edges_of_every_text,
        case02_an_email_has_no_invisible_character,
        case03_a_date_that_systems_write_for_none_is_unknown,
        case04_seconds_are_not_milliseconds_at_the_emitter,
        case04_seconds_are_not_milliseconds_at_the_receiver,
        case05_pasted_numbers_are_read_and_extensions_refused,
    ]
}

/// Characters that show nothing: one of each kind that is met in pasted text.
const INVISIBLE: [char; 18] = [
    '\u{200b}',
    '\u{feff}',
    '\u{2060}',
    '\u{ad}',
    '\u{202e}',
    '\u{200c}',
    '\u{200d}',
    '\u{200e}',
    '\u{61c}',
    '\u{2066}',
    '\u{34f}',
    '\u{115f}',
    '\u{180e}',
    '\u{2800}',
    '\u{3164}',
    '\u{fe0f}',
    '\u{ffa0}',
    '\u{e0041}',
];

/// 2025-11-26T20:00:00Z in seconds.
const SECONDS: i64 = 1_764_187_200;

async fn case01_a_number_is_kept_as_it_is_dialled_from_abroad(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for (text, number) in [
        ("+44 (0)20 7946 0018", "+442079460018"),
        ("+49 (0)30 23125 000", "+493023125000"),
        ("+43 (0)1 51340", "+43151340"),
        ("+31 (0)20 624 1111", "+31206241111"),
        ("+39 06 6982 1234", "+390669821234"),
        ("+39 (0)6 6982 1234", "+390669821234"),
        ("+351 (0)21 123 45 67", "+351211234567"),
    ] {
        let made = pms
            .post("/guests", &json!({"last_name": "T", "phone": text}))
            .await
            .expect(201);
        assert_eq!(
            (&made.body["phone"], &made.body["warnings"]),
            (&json!(number), &json!([]))
        );
    }
    for filter in [
        "%2B44%20(0)20%207946%200018",
        "+442079460018",
        "tel:%2B44-20-7946-0018",
    ] {
        let found = pms.get(&format!("/guests?phone={filter}")).await.expect(200).body;
        assert_eq!(found["data"].as_array().unwrap().len(), 1, "{filter}");
    }
    let impossible = json!({"last_name": "T", "phone": "+999 123 456 789"});
    let made = pms.post("/guests", &impossible).await.expect(201);
    assert_eq!(made.body["phone"], "+999123456789");
    assert_eq!(made.body["warnings"][0]["code"], "impossible_phone_number");
    pms.stop().await;
}

async fn case02_a_text_in_which_nothing_is_seen_is_empty(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for c in INVISIBLE {
        for text in [c.to_string(), format!(" {c}{c}\u{a0}")] {
            for (body, pointer) in [
                (json!({"last_name": text}), "/last_name"),
                (json!({"name": text}), "/name"),
                (
                    json!({"last_name": "T", "loyalty": [{"programme": "gold", "number": text}]}),
                    "/loyalty/0/number",
                ),
                (json!({"last_name": "T", "preferences": [text]}), "/preferences/0"),
            ] {
                let refused = pms.post("/guests", &body).await.expect(422);
                assert_eq!(refused.errors(), [(pointer, "required")], "{text:?}");
            }
        }
        let text = c.to_string();
        let optional =
            json!({"last_name": "T", "first_name": text, "title": text, "address": {"city": text}});
        let made = pms.post("/guests", &optional).await.expect(201).body;
        assert_eq!(
            (&made["first_name"], &made["title"], &made["address"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
    }
    pms.stop().await;
}

async fn case02_invisible_characters_go_from_the_edges_of_every_text(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for c in INVISIBLE {
        let around = |text: &str| format!("{c}{text}{c}");
        let body = json!({"last_name": around("Silva"), "address": {"city": around("Lisboa"), "country": around("PT")},
            "phone": around("+351211234567"), "notes": around("late"), "preferences": [around("quiet")],
            "external_ids": [{"system": around(&format!("s{}", u32::from(c))), "value": around("A1")}]});
        let made = pms.post("/guests", &body).await.expect(201).body;
        let address = (&made["address"]["city"], &made["address"]["country"]);
        assert_eq!(made["last_name"], "Silva", "{c:?}");
        assert_eq!(address, (&json!("Lisboa"), &json!("PT")));
        assert_eq!(made["phone"], "+351211234567");
        assert_eq!(
            (&made["notes"], &made["preferences"]),
            (&json!("late"), &json!(["quiet"]))
        );
        assert_eq!(made["external_ids"][0]["value"], "A1");
    }
    let kept = json!({"last_name": "نسیم\u{200c}جهان", "first_name": "ක්\u{200d}ෂ", "notes": "👨\u{200d}👩\u{200d}👧 ❤\u{fe0f}"});
    let made = pms.post("/guests", &kept).await.expect(201).body;
    for field in ["last_name", "first_name", "notes"] {
        assert_eq!(made[field], kept[field]);
    }
    let inside = json!({"last_name": "Sch\u{ad}mi\u{202e}dt"});
    assert_eq!(
        pms.post("/guests", &inside).await.expect(201).body["last_name"],
        "Schmidt"
    );
    let key = json!({"last_name": "T", "external_ids": [{"system": "s", "value": "A\u{200b}1"}]});
    let refused = pms.post("/guests", &key).await.expect(422);
    assert_eq!(
        refused.errors(),
        [("/external_ids/0/value", "invisible_character")]
    );
    let stay = with(
        request(&guest(&pms).await),
        json!({"room_id": "\u{feff}101\u{200b}", "special_requests": ["\u{200b}late"]}),
    );
    let made = pms.post("/reservations", &stay).await.expect(201).body;
    assert_eq!(
        (&made["room_id"], &made["special_requests"]),
        (&json!("101"), &json!(["late"]))
    );
    pms.stop().await;
}

async fn case02_an_email_has_no_invisible_character(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for c in INVISIBLE {
        for email in [
            format!("{c}ana@example.com"),
            format!("ana@example.com{c}"),
            format!("a{c}na@example.com"),
            format!("ana@exam{c}ple.com"),
            c.to_string(),
        ] {
            let refused = pms
                .post("/guests", &json!({"last_name": "T", "email": email}))
                .await
                .expect(422);
            assert_eq!(refused.errors(), [("/email", "invisible_character")], "{email:?}");
        }
    }
    pms.stop().await;
}

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

async fn case05_pasted_numbers_are_read_and_extensions_refused(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let with_phone = |phone: &str| json!({"last_name": "T", "phone": phone});
    for (text, number) in [
        ("tel:+1-201-555-0123", "+12015550123"),
        ("tel:201-555-0123;phone-context=+1", "+12015550123"),
        ("＋４４ ２０ ７９４６ ００１８", "+442079460018"),
        ("+٤٤ ٢٠ ٧٩٤٦ ٠٠١٨", "+442079460018"),
        ("+1\u{a0}201\u{2011}555\u{2212}0123", "+12015550123"),
    ] {
        let made = pms.post("/guests", &with_phone(text)).await.expect(201).body;
        assert_eq!(
            (&made["phone"], &made["warnings"]),
            (&json!(number), &json!([])),
            "{text}"
        );
    }
    for text in [
        "+1 555-555-0100 ext. 5",
        "+1 201-555-0123 x5",
        "+1 201-555-0123 #5",
        "tel:+1-201-555-0123;ext=5",
        "+7 495 123-45-67 доб. 12",
        "+49 30 23125000 Durchwahl 12",
    ] {
        let refused = pms.post("/guests", &with_phone(text)).await.expect(422);
        assert_eq!(refused.errors(), [("/phone", "phone_extension")], "{text}");
    }
    for text in ["0211234567", "call me", "+12345", "+1 201 555 0123 or 0124"] {
        let refused = pms.post("/guests", &with_phone(text)).await.expect(422);
        assert_eq!(refused.errors(), [("/phone", "not_a_phone_number")], "{text}");
    }
    pms.stop().await;
}
