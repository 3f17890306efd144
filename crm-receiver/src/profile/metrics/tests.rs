use super::*;
use crate::event::permutations::sent;
use crate::profile::{record::Record, view::on_day};
use jiff::civil::date;
use serde_json::{Value, json};

fn record(id: &str, payload: Value) -> Record {
    sent("reservation.updated", id, 1, 1, payload).record
}

/// A checked-out stay of the primary guest from the 1st of May for so many nights.
fn stayed(id: &str, nights: i8, total: &str, room_total: &str) -> Stay {
    let out = date(2026, 5, 1 + nights);
    let payload = json!({"status": "checked_out", "check_in": "2026-05-01", "check_out": out, "currency": "EUR",
        "total": total, "room_total": room_total});
    Stay::of(&record(id, payload), Role::Primary)
}

#[test]
fn a_stay_counts_for_all_who_stay_and_its_money_once() {
    let mut companion = stayed("r1", 3, "300.00", "270.00");
    companion.role = Role::Accompanying;
    let mut booker = companion.clone();
    booker.role = Role::Booker;
    let primary = metrics(&[stayed("r1", 3, "300.00", "270.00")]);
    assert_eq!((primary.stays, primary.room_nights), (1, 3));
    assert_eq!(primary.revenue[0].total, "300.00");
    let companion = metrics(&[companion]);
    assert_eq!(
        (companion.stays, companion.room_nights, companion.revenue.len()),
        (1, 0, 0)
    );
    let booker = metrics(&[booker]);
    assert_eq!((booker.stays, booker.reservations), (0, 1));
}

#[test]
fn adr_is_the_room_total_by_real_nights_rounded_half_even() {
    let sum = metrics(&[
        stayed("r1", 1, "900.00", "100.01"),
        stayed("r2", 1, "900.00", "100.00"),
    ]);
    assert_eq!(
        sum.revenue[0].adr.as_deref(),
        Some("100.00"),
        "100.005 goes to the even cent"
    );
    let sum = metrics(&[
        stayed("r1", 1, "900.00", "100.01"),
        stayed("r2", 1, "900.00", "100.02"),
    ]);
    assert_eq!(
        sum.revenue[0].adr.as_deref(),
        Some("100.02"),
        "100.015 goes to the even cent"
    );
    let day_use = metrics(&[stayed("r1", 0, "50.00", "50.00")]);
    assert_eq!(
        (
            day_use.stays,
            day_use.room_nights,
            day_use.revenue[0].adr.as_deref()
        ),
        (1, 0, None)
    );
}

#[test]
fn nights_count_to_the_real_departure_and_revenue_is_kept() {
    let payload = json!({"status": "checked_out", "check_in": "2026-05-01", "check_out": "2026-05-08",
        "checked_in_on": "2026-05-02", "checked_out_on": "2026-05-04", "currency": "JPY", "total": "9000",
        "room_total": "9001"});
    let sum = metrics(&[Stay::of(&record("r1", payload), Role::Primary)]);
    assert_eq!(sum.room_nights, 3, "the first night was held");
    assert_eq!(
        (sum.revenue[0].total.as_str(), sum.revenue[0].adr.as_deref()),
        ("9000", Some("3000"))
    );
    assert_eq!(sum.last_stay.unwrap().until, date(2026, 5, 4));
}

#[test]
fn nights_count_from_the_booked_arrival_or_an_earlier_real_one_to_the_real_departure() {
    // Booked from and to, arrived and departed, as far as the sender says it.
    for (booked, real, nights) in [
        (
            ["2026-05-01", "2026-05-02"],
            [Some("2026-05-02"), Some("2026-05-02")],
            1,
        ),
        (
            ["2026-05-01", "2026-05-03"],
            [Some("2026-05-02"), Some("2026-05-03")],
            2,
        ),
        (
            ["2026-05-01", "2026-05-03"],
            [Some("2026-05-01"), Some("2026-05-03")],
            2,
        ),
        (
            ["2026-05-02", "2026-05-04"],
            [Some("2026-05-01"), Some("2026-05-04")],
            3,
        ),
        (
            ["2026-05-01", "2026-05-08"],
            [Some("2026-05-03"), Some("2026-05-04")],
            3,
        ),
        (
            ["2026-05-01", "2026-05-03"],
            [Some("2026-05-01"), Some("2026-05-06")],
            5,
        ),
        (
            ["2026-05-01", "2026-05-01"],
            [Some("2026-05-01"), Some("2026-05-01")],
            0,
        ),
        (["2026-05-01", "2026-05-03"], [Some("2026-05-02"), None], 2),
        (["2026-05-01", "2026-05-03"], [None, Some("2026-05-04")], 3),
        (["2026-05-01", "2026-05-03"], [None, None], 2),
        (["2026-05-05", "2026-05-06"], [None, Some("2026-05-04")], 0),
    ] {
        let payload = json!({"status": "checked_out", "check_in": booked[0], "check_out": booked[1],
            "checked_in_on": real[0], "checked_out_on": real[1]});
        let stay = Stay::of(&record("r1", payload), Role::Primary);
        assert_eq!(stay.nights, Some(nights), "{booked:?} {real:?}");
        assert_eq!(metrics(&[stay]).room_nights, u64::from(nights));
    }
}

#[test]
fn revenue_is_kept_apart_by_currency() {
    let mut yen = stayed("r2", 2, "0", "0");
    yen.currency = Some("JPY".parse().unwrap());
    yen.total = Some("5000".to_owned());
    let sum = metrics(&[stayed("r1", 1, "10.00", "10.00"), yen]);
    let totals: Vec<_> = sum
        .revenue
        .iter()
        .map(|part| (part.currency.code(), part.total.as_str()))
        .collect();
    assert_eq!(totals, [("EUR", "10.00"), ("JPY", "5000")]);
}

#[test]
fn the_cancellation_rate_is_over_known_outcomes() {
    let with = |id: &str, status: &str| {
        let payload = json!({"status": status, "check_in": "2026-05-01", "check_out": "2026-05-02", "booked_on": "2026-04-21"});
        Stay::of(&record(id, payload), Role::Primary)
    };
    let all = [
        with("a", "cancelled"),
        with("b", "no_show"),
        with("c", "checked_out"),
        with("d", "confirmed"),
        with("e", "checked_in"),
    ];
    let sum = metrics(&all);
    assert_eq!(sum.cancellation_rate, Some(0.3333));
    assert_eq!((sum.cancellations, sum.no_shows, sum.stays), (1, 1, 1));
    assert_eq!(sum.average_lead_time_days, Some(10.0));
    assert_eq!(metrics(&all[3..]).cancellation_rate, None);
}

#[test]
fn preferences_are_by_nights_then_by_the_most_recent() {
    let with = |id: &str, nights: i8, room: &str, channel: &str| {
        let mut stay = stayed(id, nights, "1.00", "1.00");
        stay.room_type = Some(room.to_owned());
        stay.channel = Some(channel.to_owned());
        stay
    };
    let mut later = with("c", 3, "SUITE", "direct");
    later.check_in = Some(date(2026, 6, 1));
    later.check_out = Some(date(2026, 6, 4));
    let sum = metrics(&[
        with("a", 1, "TWIN", "ota"),
        with("b", 2, "TWIN", "ota"),
        later.clone(),
    ]);
    assert_eq!(
        sum.preferred_room_type.as_deref(),
        Some("SUITE"),
        "three nights each: the later one"
    );
    assert_eq!(sum.direct_share, Some(0.3333));
    assert!(sum.repeat_guest);
    let sum = metrics(&[with("a", 4, "TWIN", "Direct"), later]);
    assert_eq!(sum.preferred_room_type.as_deref(), Some("TWIN"));
    assert_eq!(sum.direct_share, Some(1.0));
}

#[test]
fn a_day_shows_who_is_in_house_and_what_comes_next() {
    let with = |id: &str, status: &str, from: &str, until: &str| {
        let payload = json!({"status": status, "check_in": from, "check_out": until});
        Stay::of(&record(id, payload), Role::Primary)
    };
    let all = [
        with("past", "checked_out", "2026-05-01", "2026-05-03"),
        with("here", "checked_in", "2026-05-10", "2026-05-12"),
        with("soon", "confirmed", "2026-06-01", "2026-06-02"),
        with("later", "confirmed", "2026-07-01", "2026-07-02"),
        with("never", "cancelled", "2026-05-20", "2026-05-21"),
    ];
    for (day, in_house, next) in [
        (date(2026, 4, 30), false, Some("past")),
        (date(2026, 5, 2), true, Some("here")),
        (date(2026, 5, 3), false, Some("here")),
        (date(2026, 5, 11), true, Some("soon")),
        (date(2026, 5, 13), true, Some("soon")),
        (date(2026, 6, 1), true, Some("soon")),
        (date(2026, 6, 2), true, Some("later")),
        (date(2026, 8, 1), true, None),
    ] {
        let seen = on_day(&all, day);
        let next_id = seen.next_stay.map(|stay| stay.reservation_id.to_string());
        assert_eq!((seen.in_house, next_id.as_deref()), (in_house, next), "{day}");
    }
}
