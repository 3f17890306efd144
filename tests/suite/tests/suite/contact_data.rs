//! What people and systems write into a guest's fields: telephone numbers, and text that shows nothing.

use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::pms::Pms;
use crate::reservations::{guest, request, with};

pub fn cases() -> Vec<Case> {
    cases![
        case01_a_number_is_kept_as_it_is_dialled_from_abroad,
        case02_a_text_in_which_nothing_is_seen_is_empty,
        case02_invisible_characters_go_from_the_edges_of_every_text,
        case02_an_email_has_no_invisible_character,
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
