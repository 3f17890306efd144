use super::super::reservation_command::fixtures::{
    Amounts, Codes, amounts, booking_of, change, codes, made, merge,
};
use super::*;
use serde_json::json;

/// A booking of three nights with these fields; or the pointers and codes of what is wrong.
fn settled(fields: Value) -> Result<(Option<Vec<String>>, Amounts), Codes> {
    booking_of(fields).map(|booking| (booking.nightly_rates.clone(), amounts(&booking)))
}

#[test]
fn what_is_left_out_is_computed() {
    let (rates, amounts) =
        settled(json!({"nightly_rates": ["100", "110.5", "120.55"], "extras_total": "9.9"})).unwrap();
    assert_eq!(rates.unwrap(), ["100.00", "110.50", "120.55"]);
    let expected = Amounts {
        room_total: 33_105,
        extras_total: 990,
        total: 34_095,
        balance: 0,
    };
    assert_eq!(amounts, expected);
    let (rates, amounts) = settled(json!({"room_total": "300"})).unwrap();
    assert_eq!((rates, amounts.room_total, amounts.total), (None, 30_000, 30_000));
    assert_eq!(settled(json!({})).unwrap().1.total, 0);
}

#[test]
fn what_is_sent_has_to_add_up() {
    let three = json!(["1", "2", "3"]);
    for (fields, pointer, code) in [
        (
            json!({"nightly_rates": three, "room_total": "6.01"}),
            "/room_total",
            "does_not_add_up",
        ),
        (
            json!({"nightly_rates": three, "total": "5"}),
            "/total",
            "does_not_add_up",
        ),
        (
            json!({"room_total": "6", "extras_total": "1", "total": "6"}),
            "/total",
            "does_not_add_up",
        ),
        (
            json!({"nightly_rates": ["1", "2"]}),
            "/nightly_rates",
            "not_one_per_night",
        ),
        (
            json!({"nightly_rates": []}),
            "/nightly_rates",
            "not_one_per_night",
        ),
        (
            json!({"nightly_rates": ["1", "-6.38", "3"]}),
            "/nightly_rates/1",
            "not_an_amount",
        ),
        (
            json!({"nightly_rates": ["1", "1e3", "3"]}),
            "/nightly_rates/1",
            "not_an_amount",
        ),
        (
            json!({"nightly_rates": ["1", "1.001", "3"]}),
            "/nightly_rates/1",
            "too_precise",
        ),
        (
            json!({"nightly_rates": [1, 2, 3]}),
            "/nightly_rates/0",
            "wrong_type",
        ),
        (json!({"room_total": "1".repeat(20)}), "/room_total", "too_large"),
        (json!({"room_total": "-1"}), "/room_total", "not_an_amount"),
        (json!({"deposit": "-1"}), "/deposit", "not_an_amount"),
        (
            json!({"room_total": "6", "extras_total": "-6.01"}),
            "/extras_total",
            "total_below_zero",
        ),
        (
            json!({"room_total": "6", "extras_total": "-7", "total": "-1"}),
            "/extras_total",
            "total_below_zero",
        ),
        (
            json!({"room_total": "6", "extras_total": "-1", "total": "6"}),
            "/total",
            "does_not_add_up",
        ),
        (json!({"deposit": "1.234"}), "/deposit", "too_precise"),
        (
            json!({"currency": "JPY", "room_total": "1.5"}),
            "/room_total",
            "too_precise",
        ),
    ] {
        let found = settled(fields.clone()).unwrap_err();
        assert_eq!(found, [(pointer.to_owned(), code.to_owned())], "{fields}");
    }
}

#[test]
fn case14_a_discount_and_a_credit_lie_below_zero() {
    for (fields, extras, total, balance) in [
        (
            json!({"room_total": "100", "extras_total": "-10.00"}),
            -1_000,
            9_000,
            0,
        ),
        (
            json!({"room_total": "100", "extras_total": "-100"}),
            -10_000,
            0,
            0,
        ),
        (
            json!({"room_total": "100", "balance": "-25.5"}),
            0,
            10_000,
            -2_550,
        ),
        (
            json!({"room_total": "100", "extras_total": "-0.00", "total": "100.000"}),
            0,
            10_000,
            0,
        ),
    ] {
        let amounts = settled(fields.clone()).unwrap().1;
        let found = (amounts.extras_total, amounts.total, amounts.balance);
        assert_eq!(found, (extras, total, balance), "{fields}");
    }
}

#[test]
fn case06_every_amount_takes_zeros_behind_its_decimals() {
    let yen = json!({"currency": "JPY", "nightly_rates": ["100.0", "100.00", "100"], "room_total": "300.000",
        "extras_total": "-50.0", "total": "250.00", "balance": "0.0", "deposit": "10.00"});
    let (rates, amounts) = settled(yen).unwrap();
    assert_eq!(rates.unwrap(), ["100", "100", "100"]);
    assert_eq!((amounts.room_total, amounts.total), (300, 250));
}

#[test]
fn a_sum_too_large_for_an_amount_is_refused() {
    let most = "9".repeat(13);
    let found = settled(json!({"nightly_rates": [most, most, most]})).unwrap_err();
    assert_eq!(found, [("/room_total".to_owned(), "too_large".to_owned())]);
}

#[test]
fn a_day_use_has_exactly_one_rate() {
    let day = |more: Value| {
        let mut fields = json!({"stay_type": "day_use", "check_out": "2016-07-01"});
        fields
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        settled(fields)
    };
    let one = day(json!({"room_total": "50"})).unwrap().0.unwrap();
    assert_eq!(one, ["50.00"]);
    assert_eq!(day(json!({"nightly_rates": ["50"]})).unwrap().1.total, 5_000);
    assert!(day(json!({"nightly_rates": ["50", "50"]})).is_err());
    assert!(day(json!({"nightly_rates": []})).is_err());
}

#[test]
fn a_patch_computes_again_what_follows_from_it() {
    let before = made(json!({"nightly_rates": ["1", "2", "3"], "extras_total": "4"}));
    let after = |patch: Value| {
        let changed = change(&before, patch);
        let amounts = amounts(&changed.state.booking);
        (amounts.room_total, amounts.total)
    };
    assert_eq!(after(json!({"nightly_rates": ["2", "2", "3"]})), (700, 1_100));
    assert_eq!(after(json!({"extras_total": null})), (600, 600));
    assert_eq!(
        after(json!({"nightly_rates": null, "room_total": "5"})),
        (500, 900)
    );
    let longer = json!({"check_out": "2016-07-05", "nightly_rates": ["1", "2", "3", "4"]});
    assert_eq!(after(longer), (1_000, 1_400));
    let stale = merge(
        &before,
        json!({"nightly_rates": ["2", "2", "3"], "room_total": "6"}),
    );
    assert_eq!(
        codes(stale),
        [("/room_total".to_owned(), "does_not_add_up".to_owned())]
    );
    let alone = merge(&before, json!({"check_out": "2016-07-05"}));
    assert_eq!(
        codes(alone),
        [("/nightly_rates".to_owned(), "not_one_per_night".to_owned())]
    );
}
