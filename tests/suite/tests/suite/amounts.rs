//! Amounts as other systems write them, and those that lie below zero.

use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, event};
use crate::pms::Pms;
use crate::reservations::{guest, request, with};

pub fn cases() -> Vec<Case> {
    cases![
        case06_zeros_behind_the_currencys_decimals_are_taken,
        case14_extras_may_be_a_discount,
        case14_the_receiver_counts_amounts_below_zero,
    ]
}

async fn case06_zeros_behind_the_currencys_decimals_are_taken(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = guest(&pms).await;
    for (currency, sent, shown) in [
        ("JPY", "12000.00", "12000"),
        ("KRW", "12000.0", "12000"),
        ("KWD", "120.5000", "120.500"),
        ("EUR", "120.50000", "120.50"),
    ] {
        let fields = json!({"currency": currency, "nightly_rates": null, "room_total": sent, "extras_total": sent,
            "deposit": sent, "balance": sent});
        let made = pms
            .post("/reservations", &with(request(&guest), fields))
            .await
            .expect(201)
            .body;
        for field in ["room_total", "extras_total", "deposit", "balance"] {
            assert_eq!(made[field], shown, "{currency} {field}");
        }
    }
    for (currency, sent) in [("JPY", "12000.01"), ("KWD", "120.5001"), ("EUR", "120.501")] {
        let fields = json!({"currency": currency, "nightly_rates": null, "room_total": sent});
        let refused = pms
            .post("/reservations", &with(request(&guest), fields))
            .await
            .expect(422);
        assert_eq!(refused.errors(), [("/room_total", "too_precise")], "{currency}");
    }
    pms.stop().await;
}

async fn case14_extras_may_be_a_discount(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = guest(&pms).await;
    let sent = |fields: Value| {
        with(
            with(
                request(&guest),
                json!({"nightly_rates": null, "room_total": "100.00"}),
            ),
            fields,
        )
    };
    let discount = sent(json!({"extras_total": "-10.00", "balance": "-5"}));
    let made = pms.post("/reservations", &discount).await.expect(201).body;
    let found = (&made["extras_total"], &made["total"], &made["balance"]);
    assert_eq!(found, (&json!("-10.00"), &json!("90.00"), &json!("-5.00")));
    let nothing_left = sent(json!({"extras_total": "-100.00"}));
    assert_eq!(
        pms.post("/reservations", &nothing_left).await.expect(201).body["total"],
        "0.00"
    );
    for (fields, error) in [
        (
            json!({"extras_total": "-100.01"}),
            ("/extras_total", "total_below_zero"),
        ),
        (json!({"room_total": "-1"}), ("/room_total", "not_an_amount")),
        (json!({"deposit": "-1"}), ("/deposit", "not_an_amount")),
    ] {
        let refused = pms.post("/reservations", &sent(fields)).await.expect(422);
        assert_eq!(refused.errors(), [error]);
    }
    pms.stop().await;
}

async fn case14_the_receiver_counts_amounts_below_zero(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let stay = |total: &str| {
        json!({"status": "checked_out", "check_in": "2026-01-01", "check_out": "2026-01-02", "primary_guest_id": "g",
            "currency": "EUR", "room_total": "100.00", "extras_total": "-10.00", "total": total})
    };
    for (key, total) in [("evt_1", "90.00"), ("evt_2", "-20.000")] {
        let taken = receiver
            .take(key, &event(key, "reservation.checked_out", &stay(total)))
            .await;
        assert_eq!(taken.status, 202);
    }
    receiver.settle(&ctx).await;
    let list = receiver.get("/guest-profiles").await.json();
    let id = list["data"][0]["profile_id"].as_str().unwrap();
    let profile = receiver.get(&format!("/guest-profiles/{id}")).await.json();
    assert_eq!(profile["metrics"]["revenue"][0]["total"], "70.00", "{profile}");
    receiver.stop().await;
}
