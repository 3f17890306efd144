use super::*;
use crate::event::{Event, permutations::sent};
use crate::profile::consent::ConsentStatus;
use crate::profile::link::{Evidence, Link, LinkRule};
use serde_json::json;

fn owner() -> GuestKey {
    GuestKey {
        source: "pms".parse().unwrap(),
        id: "g".parse().unwrap(),
    }
}

fn derived(guest: Option<&Event>, stays: &[&Event], received: &[&Event]) -> Option<Profile> {
    let records: Vec<Linked<'_>> = guest
        .map(|event| Linked::own(&event.record))
        .into_iter()
        .collect();
    let stays: Vec<(&Record, Role)> = stays.iter().map(|event| (&event.record, Role::Primary)).collect();
    let history = received.iter().map(|event| event.history()).collect();
    derive(&owner(), &records, &stays, &history)
}

#[test]
fn a_reservation_of_an_unknown_guest_makes_a_stub_that_the_record_fills() {
    let stay = sent(
        "reservation.created",
        "r",
        1,
        5,
        json!({"status": "confirmed", "primary_guest_id": "g"}),
    );
    let stub = derived(None, &[&stay], &[&stay]).unwrap();
    assert_eq!((stub.status, stub.display_name), (ProfileStatus::Stub, None));
    let guest = sent(
        "guest.created",
        "g",
        1,
        9,
        json!({"first_name": "Ana", "last_name": "Sousa"}),
    );
    let known = derived(Some(&guest), &[&stay], &[&stay, &guest]).unwrap();
    assert_eq!(known.profile_id, stub.profile_id);
    assert_eq!(known.display_name.as_deref(), Some("Ana Sousa"));
    assert_eq!((known.updated_at.0, known.timeline_count), (9, 2));
    assert_eq!(
        known.timeline[0].event_type.as_str(),
        "guest.created",
        "the newest first"
    );
}

#[test]
fn a_deleted_guest_is_gone_unless_reservations_remain() {
    let gone = sent("guest.deleted", "g", 2, 5, json!({"last_name": "Sousa"}));
    let stay = sent(
        "reservation.updated",
        "r",
        1,
        5,
        json!({"status": "checked_out", "primary_guest_id": "g"}),
    );
    assert_eq!(derived(Some(&gone), &[], &[&gone]), None);
    let kept = derived(Some(&gone), &[&stay], &[]).unwrap();
    assert_eq!(kept.status, ProfileStatus::Deleted);
    assert!(kept.records[0].deleted);
}

#[test]
fn a_merged_record_points_to_where_it_went() {
    let merged = sent(
        "guest.merged",
        "g",
        2,
        5,
        json!({"last_name": "Sousa", "merged_into": "other"}),
    );
    let profile = derived(Some(&merged), &[], &[]).unwrap();
    let target = GuestKey {
        id: "other".parse().unwrap(),
        ..owner()
    };
    assert_eq!(
        (profile.status, profile.merged_into),
        (ProfileStatus::Merged, Some(target.profile_id()))
    );
    let back = sent(
        "guest.unmerged",
        "g",
        3,
        6,
        json!({"last_name": "Sousa", "merged_into": null}),
    );
    assert_eq!(
        derived(Some(&back), &[], &[]).unwrap().status,
        ProfileStatus::Active
    );
}

#[test]
fn consent_is_the_newest_statement_and_of_two_at_once_the_more_restrictive() {
    let received = |version, consents: Value| {
        sent(
            "guest.consent_changed",
            "g",
            version,
            50,
            json!({"last_name": "S", "consent": consents}),
        )
    };
    // As a number an instant is milliseconds of a time that hotels have known.
    const BASE: i64 = 1_763_769_600_000;
    let stated =
        |status: &str, at: i64| json!({"channel": "sms", "status": status, "at": BASE + at, "source": "web"});
    let first = received(1, json!([stated("granted", 10)]));
    let second = received(
        2,
        json!([
            stated("withdrawn", 20),
            stated("granted", 20),
            stated("granted", 15)
        ]),
    );
    let profile = derived(Some(&second), &[], &[&first, &second]).unwrap();
    assert_eq!(profile.consent.len(), 1);
    assert_eq!(profile.consent[0].status, ConsentStatus::Withdrawn);
    let history: Vec<(i64, ConsentStatus)> = profile
        .consent_history
        .iter()
        .map(|consent| (consent.at.0 - BASE, consent.status))
        .collect();
    let (granted, withdrawn) = (ConsentStatus::Granted, ConsentStatus::Withdrawn);
    assert_eq!(
        history,
        [(20, withdrawn), (20, granted), (15, granted), (10, granted)]
    );
}

#[test]
fn what_a_sender_writes_in_another_shape_is_passed_over() {
    let odd = json!({"last_name": 7, "email": ["x"], "consent": {"a": 1}, "documents": "x", "address": [], "loyalty": null,
        "vip_level": {}, "created_at": "yesterday", "date_of_birth": "1990"});
    let guest = sent("guest.updated", "g", 1, 5, odd);
    let odd = json!({"status": 1, "primary_guest_id": "g", "check_in": "x", "total": 5, "currency": "EURO",
        "accompanying_guest_ids": [1, "a b"], "booker_guest_id": "g"});
    let stay = sent("reservation.updated", "r", 1, 5, odd);
    assert_eq!(
        stay.record.guests().into_values().collect::<Vec<_>>(),
        [Role::Primary]
    );
    let profile = derived(Some(&guest), &[&stay], &[&guest, &stay]).unwrap();
    assert_eq!((profile.email, profile.display_name), (None, None));
    assert_eq!(profile.metrics.reservations, 1);
}

#[test]
fn lists_are_bounded_and_everything_is_counted() {
    let stays: Vec<Event> = (0..RESERVATIONS_MAX + 20)
        .map(|number| {
            let day = jiff::civil::date(2020, 1, 1)
                .saturating_add(jiff::Span::new().days(i64::try_from(number).unwrap()));
            let payload = json!({"status": "confirmed", "check_in": day, "primary_guest_id": "g"});
            sent("reservation.updated", &format!("r{number}"), 1, 5, payload)
        })
        .collect();
    let stays: Vec<&Event> = stays.iter().collect();
    let profile = derived(None, &stays, &stays).unwrap();
    assert_eq!(
        (profile.reservations.len(), profile.timeline.len()),
        (RESERVATIONS_MAX, TIMELINE_MAX)
    );
    assert_eq!(profile.metrics.reservations, RESERVATIONS_MAX as u64 + 20);
    assert_eq!(profile.timeline_count, RESERVATIONS_MAX as u64 + 20);
    assert_eq!(
        profile.reservations[0].reservation_id.as_str(),
        "r519",
        "the newest are kept"
    );
}

#[test]
fn a_stored_profile_reads_back() {
    let guest = sent(
        "guest.updated",
        "g",
        1,
        5,
        json!({"last_name": "S", "email": "a@x.example", "address": {"country": "PT"}}),
    );
    let profile = derived(Some(&guest), &[], &[&guest]).unwrap();
    let body = serde_json::to_vec(&profile).unwrap();
    assert_eq!(serde_json::from_slice::<Profile>(&body).unwrap(), profile);
}

#[test]
fn a_person_counts_once_in_a_reservation_in_the_nearest_role() {
    let payload = json!({"status": "checked_out", "primary_guest_id": "a", "booker_guest_id": "g", "check_in": "2026-01-01",
        "check_out": "2026-01-03", "currency": "EUR", "total": "100.00", "room_total": "80.00"});
    let stay = sent("reservation.updated", "r", 1, 5, payload);
    let guest = sent("guest.updated", "g", 1, 5, json!({"last_name": "Silva"}));
    let records = [Linked::own(&guest.record)];
    for named in [[Role::Booker, Role::Primary], [Role::Primary, Role::Booker]] {
        let stays: Vec<(&Record, Role)> = named.iter().map(|role| (&stay.record, *role)).collect();
        let profile = derive(&owner(), &records, &stays, &BTreeSet::new()).unwrap();
        assert_eq!((profile.metrics.reservations, profile.metrics.stays), (1, 1));
        assert_eq!(profile.metrics.room_nights, 2);
        assert_eq!(profile.reservations.len(), 1);
        assert_eq!(profile.reservations[0].role, Role::Primary);
    }
}

#[test]
fn a_profile_of_several_records_says_why_each_is_there() {
    let own = sent(
        "guest.updated",
        "g",
        2,
        5,
        json!({"last_name": "Silva", "merged_into": "h"}),
    );
    let other = sent("guest.updated", "h", 1, 7, json!({"last_name": "Silva"}));
    let by_source = Link {
        rule: LinkRule::MergedAtSource,
        evidence: Some(Evidence {
            with: owner(),
            decision: None,
            conflicts: BTreeSet::new(),
        }),
    };
    let linked = Linked {
        record: &other.record,
        link: by_source.clone(),
    };
    let records = [Linked::own(&own.record), linked];
    let profile = derive(&owner(), &records, &[], &BTreeSet::new()).unwrap();
    let links: Vec<&Link> = profile.records.iter().map(|record| &record.link).collect();
    assert_eq!(links, [&Link::OWN, &by_source]);
    assert_eq!(
        (profile.status, profile.merged_into.as_ref()),
        (ProfileStatus::Active, None),
        "the other is here"
    );
    let gone = sent(
        "guest.updated",
        "g",
        3,
        9,
        json!({"last_name": "Silva", "merged_into": "elsewhere"}),
    );
    let with_another = [Linked::own(&gone.record), records[1].clone()];
    let in_use = derive(&owner(), &with_another, &[], &BTreeSet::new()).unwrap();
    assert_eq!(in_use.merged_into, None, "a record is in use");
    let stored = serde_json::to_value(&profile).unwrap();
    assert_eq!(stored["records"][0]["rule"], "own_record");
    assert_eq!(stored["records"][0].get("evidence"), None);
    let evidence = json!({"with": {"source": "pms", "guest_id": "g"}});
    assert_eq!(
        (&stored["records"][1]["rule"], &stored["records"][1]["evidence"]),
        (&json!("merged_at_source"), &evidence)
    );
    assert_eq!(serde_json::from_value::<Profile>(stored).unwrap(), profile);
}

#[test]
fn a_profile_is_merged_only_where_every_record_went_to_another_one() {
    let guest = |id: &str, event: &str, into: Option<&str>| {
        sent(
            event,
            id,
            2,
            5,
            json!({"last_name": "Silva", "merged_into": into}),
        )
    };
    let profile = |events: &[Event]| {
        let records: Vec<Linked<'_>> = events.iter().map(|event| Linked::own(&event.record)).collect();
        let profile = derive(&owner(), &records, &[], &BTreeSet::new()).unwrap();
        (profile.status, profile.merged_into)
    };
    let (updated, deleted) = ("guest.updated", "guest.deleted");
    let here = (ProfileStatus::Active, None);
    let into_each_other = [guest("g", updated, Some("h")), guest("h", updated, Some("g"))];
    assert_eq!(profile(&into_each_other), here);
    let into_itself = [guest("g", updated, Some("g"))];
    assert_eq!(profile(&into_itself), here);
    let into_a_deleted_one = [guest("g", updated, Some("h")), guest("h", deleted, None)];
    assert_eq!(profile(&into_a_deleted_one), here);
    let target = GuestKey {
        id: "other".parse().unwrap(),
        ..owner()
    };
    let elsewhere = (ProfileStatus::Merged, Some(target.profile_id()));
    let through_another = [guest("g", updated, Some("h")), guest("h", updated, Some("other"))];
    assert_eq!(profile(&through_another), elsewhere);
    let through_a_deleted_one = [guest("g", updated, Some("h")), guest("h", deleted, Some("other"))];
    assert_eq!(profile(&through_a_deleted_one), elsewhere);
}
