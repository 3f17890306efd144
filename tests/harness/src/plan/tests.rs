//! The plan offers exactly what the file holds, in an order that the state machine's guards accept.

use super::*;
use crate::bookings::{self, CSV};
use crate::people;
use crate::seeded::DEFAULT_SEED;

fn whole() -> (Vec<Booking>, Cast, Vec<HotelPlan>) {
    let bookings = bookings::read(CSV).unwrap();
    let cast = people::cast(&bookings, DEFAULT_SEED);
    let plans = plan(&bookings, &cast, DEFAULT_SEED);
    (bookings, cast, plans)
}

/// Every command with its hotel, its day, its stage and its subject, in the order in which they are carried out.
fn steps(plans: &[HotelPlan]) -> Vec<(Date, Stage, usize, &Command)> {
    let mut steps = Vec::new();
    for plan in plans {
        for (day, offset) in plan.days.iter().zip(0_i64..) {
            let on = plan.first_day.saturating_add(offset.days());
            for (stage, task) in day
                .iter()
                .flat_map(|(stage, tasks)| tasks.iter().map(move |task| (*stage, task)))
            {
                steps.extend(
                    task.commands
                        .iter()
                        .map(|command| (on, stage, task.subject, command)),
                );
            }
        }
    }
    steps
}

#[test]
fn the_counts_are_those_of_the_file() {
    let (_, cast, plans) = whole();
    let count = |what: fn(&Command) -> bool| steps(&plans).iter().filter(|step| what(step.3)).count();
    assert_eq!(count(|command| matches!(command, Command::Create(_))), 5_212);
    assert_eq!(count(|command| matches!(command, Command::Update(_))), 1_438);
    assert_eq!(count(|command| matches!(command, Command::CheckIn(_))), 3_302);
    assert_eq!(count(|command| matches!(command, Command::CheckOut)), 3_302);
    assert_eq!(count(|command| matches!(command, Command::Cancel(_))), 1_812);
    assert_eq!(count(|command| matches!(command, Command::NoShow)), 98);
    assert_eq!(
        count(|command| matches!(command, Command::Guest(_))),
        cast.people.len()
    );
    assert_eq!(calls(&plans), 15_164 + cast.people.len());
}

#[test]
fn every_date_has_its_night_audit() {
    let (_, _, plans) = whole();
    let days: Vec<_> = plans
        .iter()
        .map(|plan| (plan.hotel, plan.first_day.to_string(), plan.night_audits()))
        .collect();
    let expected = [
        (Hotel::Resort, "2013-06-24".to_owned(), 1_539),
        (Hotel::City, "2014-10-17".to_owned(), 1_053),
    ];
    assert_eq!(days, expected);
}

#[test]
fn every_step_is_on_its_day_and_after_what_it_rests_on() {
    let (bookings, cast, plans) = whole();
    let mut known = vec![false; cast.people.len()];
    let mut state = vec!["none"; bookings.len()];
    for (on, stage, subject, command) in steps(&plans) {
        if let Command::Guest(_) = command {
            assert!(stage == Stage::Guests && !known[subject]);
            known[subject] = true;
            continue;
        }
        let booking = &bookings[subject];
        let (from, to, day) = match command {
            Command::Guest(_) => continue,
            Command::Create(_) => ("none", "confirmed", booking.booked_on),
            Command::Update(_) => ("confirmed", "confirmed", on),
            Command::Cancel(_) => ("confirmed", "cancelled", booking.ended_on),
            Command::NoShow => ("confirmed", "no_show", booking.arrival),
            Command::CheckIn(_) => ("confirmed", "checked_in", booking.arrival),
            Command::CheckOut => ("checked_in", "checked_out", booking.ended_on),
        };
        assert_eq!((state[subject], on), (from, day), "row {} {stage:?}", booking.row);
        assert!(known[cast.of_booking[subject]], "row {}", booking.row);
        state[subject] = to;
    }
    let settled = ["cancelled", "no_show", "checked_out"];
    assert!(known.into_iter().all(|known| known) && state.iter().all(|state| settled.contains(state)));
}

#[test]
fn no_two_guests_sleep_in_one_room() {
    let (bookings, _, plans) = whole();
    for plan in &plans {
        let mut taken: HashMap<String, usize> = HashMap::new();
        for (_, _, subject, command) in steps(std::slice::from_ref(plan)) {
            match command {
                Command::CheckIn(room) => {
                    assert!(room.starts_with(bookings[subject].room_assigned), "{room}");
                    assert_eq!(taken.insert(room.clone(), subject), None, "{room}");
                }
                Command::CheckOut => taken.retain(|_, sleeper| *sleeper != subject),
                _ => {}
            }
        }
    }
}

#[test]
fn the_seed_fixes_the_plan() {
    let (bookings, cast, plans) = whole();
    let again = plan(&bookings, &cast, DEFAULT_SEED);
    assert!(
        plans
            .iter()
            .zip(&again)
            .all(|(one, other)| one.days == other.days)
    );
    let other = plan(&bookings, &cast, DEFAULT_SEED + 1);
    assert!(
        plans
            .iter()
            .zip(&other)
            .any(|(one, other)| one.days != other.days)
    );
}
