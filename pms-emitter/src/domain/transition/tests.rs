use super::*;

/// The state machine of the domain, written down a second time: `from -> to`, with the event of each.
const PERMITTED: [(Status, Status, &str); 16] = [
    (Status::Inquiry, Status::Optional, "reservation.updated"),
    (Status::Inquiry, Status::Confirmed, "reservation.confirmed"),
    (Status::Inquiry, Status::Waitlisted, "reservation.updated"),
    (Status::Inquiry, Status::Cancelled, "reservation.cancelled"),
    (Status::Waitlisted, Status::Confirmed, "reservation.confirmed"),
    (Status::Waitlisted, Status::Cancelled, "reservation.cancelled"),
    (Status::Optional, Status::Confirmed, "reservation.confirmed"),
    (Status::Optional, Status::Cancelled, "reservation.cancelled"),
    (Status::Confirmed, Status::CheckedIn, "reservation.checked_in"),
    (Status::Confirmed, Status::Cancelled, "reservation.cancelled"),
    (Status::Confirmed, Status::NoShow, "reservation.no_show"),
    (Status::CheckedIn, Status::CheckedOut, "reservation.checked_out"),
    (
        Status::CheckedIn,
        Status::Confirmed,
        "reservation.check_in_reverted",
    ),
    (
        Status::CheckedOut,
        Status::CheckedIn,
        "reservation.check_out_reverted",
    ),
    (Status::Cancelled, Status::Confirmed, "reservation.reinstated"),
    (Status::NoShow, Status::Confirmed, "reservation.reinstated"),
];

#[test]
fn all_64_pairs_are_as_the_domain_says() {
    for from in Status::ALL {
        for to in Status::ALL {
            let expected = PERMITTED.iter().find(|row| (row.0, row.1) == (from, to));
            let found = Transition::between(from, to).map(|transition| transition.event().as_str());
            assert_eq!(found, expected.map(|row| row.2), "{from:?} -> {to:?}");
        }
    }
}

#[test]
fn a_row_agrees_with_itself() {
    for transition in Transition::all() {
        for status in Status::ALL {
            let leads_on = Transition::between(status, transition.target()) == Some(transition);
            assert_eq!(
                transition.leaves(status),
                leads_on,
                "{transition:?} from {status:?}"
            );
            let named = Transition::allowed_from(status).contains(&transition.name());
            assert_eq!(transition.leaves(status), named);
        }
    }
}

#[test]
fn a_status_reads_back_from_its_name() {
    for status in Status::ALL {
        assert_eq!(Status::known(status.as_str()), Some(status));
        assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
    }
    assert_eq!(Status::known("Confirmed"), None);
}

#[test]
fn only_five_statuses_may_start_and_three_may_be_deleted() {
    let names = |keep: fn(Status) -> bool| {
        Status::ALL
            .into_iter()
            .filter(|status| keep(*status))
            .map(Status::as_str)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(Status::may_start),
        ["inquiry", "waitlisted", "optional", "confirmed", "checked_in"]
    );
    assert_eq!(names(Status::is_deletable), ["inquiry", "optional", "cancelled"]);
}
