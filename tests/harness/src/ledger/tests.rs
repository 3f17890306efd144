//! Profiles are compared with the sum of their guests.

use super::*;
use serde_json::json;

fn totals(stays: u64) -> Totals {
    Totals {
        stays,
        nights: 2 * stays,
        revenue_minor: 10_050 * i64::try_from(stays).unwrap(),
    }
}

fn profile(guests: &[&str], totals: Totals) -> Claimed {
    let amount = format!("{}.{:02}", totals.revenue_minor / 100, totals.revenue_minor % 100);
    let records: Vec<_> = guests
        .iter()
        .map(|guest| json!({"source": "pms", "guest_id": guest}))
        .collect();
    let body = json!({"records": records, "metrics": {
        "stays": totals.stays, "room_nights": totals.nights,
        "revenue": [{"currency": "EUR", "total": amount}],
    }});
    claimed(&body.to_string()).unwrap()
}

#[test]
fn a_profile_says_the_sum_of_its_guests() {
    let expected = HashMap::from([("a".to_owned(), totals(1)), ("b".to_owned(), totals(2))]);
    let count = |profiles: &[Claimed]| wrong_totals(profiles, &expected);
    assert_eq!(
        count(&[profile(&["a"], totals(1)), profile(&["b"], totals(2))]),
        0
    );
    assert_eq!(count(&[profile(&["a", "b"], totals(3))]), 0);
    assert_eq!(
        count(&[profile(&["a"], totals(1)), profile(&["b"], totals(1))]),
        1
    );
    assert_eq!(count(&[profile(&["a"], totals(1))]), 1, "a guest in no profile");
    let stranger = profile(&["c"], Totals::default());
    assert_eq!(count(&[profile(&["a", "b"], totals(3)), stranger]), 1);
    let twice = [
        profile(&["a"], totals(1)),
        profile(&["b"], totals(2)),
        profile(&["a"], totals(1)),
    ];
    assert_eq!(count(&twice), 1);
}

#[test]
fn money_of_another_currency_is_wrong_and_none_is_none() {
    let metrics = json!({"stays": 0, "room_nights": 0, "revenue": []});
    assert_eq!(claimed_totals(&metrics), Some(Totals::default()));
    let dollars = json!({"stays": 0, "room_nights": 0, "revenue": [{"currency": "USD", "total": "0.00"}]});
    assert_eq!(claimed_totals(&dollars), None);
}

#[test]
fn each_of_the_three_faults_unbalances_the_books() {
    assert!(Ledger::default().is_balanced());
    let lost = Ledger {
        lost: 1,
        ..Ledger::default()
    };
    let doubled = Ledger {
        doubled: 1,
        ..Ledger::default()
    };
    let wrong = Ledger {
        wrong_totals: 1,
        ..Ledger::default()
    };
    assert!([lost, doubled, wrong].iter().all(|ledger| !ledger.is_balanced()));
}
