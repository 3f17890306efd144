//! The calls to the PMS, and their order, that repeat the real bookings.
//!
//! Per hotel and business date: the night audit, then guests who call for the first time, new bookings, changes,
//! cancellations and no-shows, check-outs, check-ins, and the check-outs of those who came and left on one day. Every
//! date between the first and the last has its night audit, also when nothing else happens. `loader` carries it out.

use crate::bodies;
use crate::bookings::{Booking, End, Hotel};
use crate::draft::drafts;
use crate::people::Cast;
use crate::rooms::{Room, Rooms};
use crate::seeded::{Purpose, SeededRng};
use jiff::{ToSpan, civil::Date};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// The parts of a business date, in their order. Within a stage only the steps of one booking have an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Guests whom the hotel did not know before.
    Guests,
    /// New bookings.
    Created,
    /// Changes.
    Updated,
    /// Cancellations and no-shows.
    Ended,
    /// Check-outs of those who slept here.
    CheckOuts,
    /// Arrivals.
    CheckIns,
    /// Check-outs of those who came today.
    SameDayCheckOuts,
}

impl Stage {
    /// All stages of a day.
    pub const ALL: [Self; 7] = [
        Self::Guests,
        Self::Created,
        Self::Updated,
        Self::Ended,
        Self::CheckOuts,
        Self::CheckIns,
        Self::SameDayCheckOuts,
    ];
}

/// One call of the API. `booking` and `person` are indices into what the plan was made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `POST /guests`
    Guest(Value),
    /// `POST /reservations`; its guest is filled in.
    Create(Map<String, Value>),
    /// `PUT /reservations/{id}`
    Update(Map<String, Value>),
    /// `POST /reservations/{id}/cancel`
    Cancel(Value),
    /// `POST /reservations/{id}/no-show`
    NoShow,
    /// `POST /reservations/{id}/check-in` into this room
    CheckIn(String),
    /// `POST /reservations/{id}/check-out`
    CheckOut,
}

/// The calls of one booking (or, in [`Stage::Guests`], of one person) within a stage, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The index of the booking, or of the person.
    pub subject: usize,
    /// What is called.
    pub commands: Vec<Command>,
}

/// A business date: its stages with their tasks, each task independent of the others of its stage.
pub type Day = BTreeMap<Stage, Vec<Task>>;

/// One hotel's life: the first day is the business date that its property is made with, each further one is opened by
/// a night audit.
#[derive(Debug)]
pub struct HotelPlan {
    /// Whose.
    pub hotel: Hotel,
    /// The first business date.
    pub first_day: Date,
    /// The days, without a gap.
    pub days: Vec<Day>,
}

impl HotelPlan {
    /// How many night audits it takes to reach the last day.
    pub fn night_audits(&self) -> usize {
        self.days.len() - 1
    }
}

/// How many calls a plan holds, night audits and properties aside.
pub fn calls(plans: &[HotelPlan]) -> usize {
    let tasks = plans
        .iter()
        .flat_map(|plan| &plan.days)
        .flat_map(BTreeMap::values)
        .flatten();
    tasks.map(|task| task.commands.len()).sum()
}

/// The plans of the hotels that `bookings` name; `cast` must be of the same bookings and seed.
pub fn plan(bookings: &[Booking], cast: &Cast, seed: u64) -> Vec<HotelPlan> {
    let hotels = Hotel::ALL.into_iter();
    hotels
        .filter_map(|hotel| of_hotel(hotel, bookings, cast, seed))
        .collect()
}

fn of_hotel(hotel: Hotel, bookings: &[Booking], cast: &Cast, seed: u64) -> Option<HotelPlan> {
    let own = || {
        bookings
            .iter()
            .enumerate()
            .filter(|(_, booking)| booking.hotel == hotel)
    };
    let first_day = own().map(|(_, booking)| booking.booked_on).min()?;
    let last_day = own()
        .map(|(_, booking)| booking.ended_on.max(booking.booked_on))
        .max()?;
    let mut calendar = Calendar::new(first_day, last_day);
    let mut callers: HashMap<usize, usize> = HashMap::new();
    for (index, booking) in own() {
        let caller = callers.entry(cast.of_booking[index]).or_insert(index);
        if (booking.booked_on, booking.row) < (bookings[*caller].booked_on, bookings[*caller].row) {
            *caller = index;
        }
        calendar.add_booking(index, booking, seed);
    }
    for (person, first) in callers {
        let booking = &bookings[first];
        let body = bodies::guest(&cast.people[person], booking.row);
        calendar.add(booking.booked_on, Stage::Guests, person, Command::Guest(body));
    }
    let mut days = calendar.days;
    for stage in days.iter_mut().flat_map(BTreeMap::values_mut) {
        stage.sort_by_key(|task| task.subject);
    }
    give_rooms(&mut days, bookings);
    Some(HotelPlan {
        hotel,
        first_day,
        days,
    })
}

/// The days of one hotel while they are being filled.
struct Calendar {
    first_day: Date,
    days: Vec<Day>,
}

impl Calendar {
    fn new(first_day: Date, last_day: Date) -> Self {
        let days = days_between(first_day, last_day) + 1;
        Self {
            first_day,
            days: vec![Day::new(); days],
        }
    }

    fn add(&mut self, on: Date, stage: Stage, subject: usize, command: Command) {
        let tasks = self.days[days_between(self.first_day, on)]
            .entry(stage)
            .or_default();
        match tasks.last_mut() {
            Some(task) if task.subject == subject => task.commands.push(command),
            _ => tasks.push(Task {
                subject,
                commands: vec![command],
            }),
        }
    }

    /// Everything that a booking goes through, in the order of its life.
    fn add_booking(&mut self, index: usize, booking: &Booking, seed: u64) {
        let drafts = drafts(booking, seed);
        let body = bodies::reservation(booking, &drafts[0], seed);
        self.add(booking.booked_on, Stage::Created, index, Command::Create(body));
        let dates = change_dates(booking, drafts.len() - 1, seed);
        for (pair, on) in drafts.windows(2).zip(dates) {
            let body = bodies::change(booking, &pair[0], &pair[1]);
            self.add(on, Stage::Updated, index, Command::Update(body));
        }
        match booking.end {
            End::Cancelled => {
                let body = bodies::cancellation(booking);
                self.add(booking.ended_on, Stage::Ended, index, Command::Cancel(body));
            }
            End::NoShow => self.add(booking.ended_on, Stage::Ended, index, Command::NoShow),
            End::CheckedOut => {
                self.add(
                    booking.arrival,
                    Stage::CheckIns,
                    index,
                    Command::CheckIn(String::new()),
                );
                let same_day = booking.ended_on == booking.arrival;
                let stage = if same_day {
                    Stage::SameDayCheckOuts
                } else {
                    Stage::CheckOuts
                };
                self.add(booking.ended_on, stage, index, Command::CheckOut);
            }
        }
    }
}

/// When the changes happened, in order: days between the booking and its arrival or cancellation.
fn change_dates(booking: &Booking, changes: usize, seed: u64) -> Vec<Date> {
    let last = if booking.end == End::Cancelled {
        booking.ended_on
    } else {
        booking.arrival
    };
    let days = days_between(booking.booked_on, last) + 1;
    let mut rng = SeededRng::new(seed, Purpose::ChangeDates, booking.row);
    let mut offsets: Vec<usize> = (0..changes).map(|_| rng.below(days)).collect();
    offsets.sort_unstable();
    let date = |offset| {
        booking
            .booked_on
            .saturating_add(i64::try_from(offset).unwrap_or(0).days())
    };
    offsets.into_iter().map(date).collect()
}

/// Gives every check-in a free room of the type that the row says was assigned.
fn give_rooms(days: &mut [Day], bookings: &[Booking]) {
    let mut rooms = Rooms::default();
    let mut taken: HashMap<usize, Room> = HashMap::new();
    for task in days.iter_mut().flat_map(BTreeMap::values_mut).flatten() {
        for command in &mut task.commands {
            match command {
                Command::CheckIn(room) => {
                    let given = rooms.take(bookings[task.subject].room_assigned);
                    *room = given.to_string();
                    taken.insert(task.subject, given);
                }
                Command::CheckOut => {
                    taken
                        .remove(&task.subject)
                        .into_iter()
                        .for_each(|room| rooms.give_back(room));
                }
                _ => {}
            }
        }
    }
}

fn days_between(from: Date, to: Date) -> usize {
    usize::try_from((to - from).get_days()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
