//! Real bookings of a few weeks, for the cases that load them.

use std::collections::{BTreeMap, HashMap};

use harness::bookings::{self, Booking, CSV};
use harness::expected::Totals;
use harness::ledger;
use harness::loader::Loaded;
use harness::people::{self, Cast};
use harness::plan::{self, HotelPlan};
use harness::seeded::DEFAULT_SEED;
use jiff::civil::{Date, date};

const FIRST_DAY: Date = date(2015, 8, 1);
const LAST_DAY: Date = date(2015, 9, 15);

/// 116 bookings of both hotels that were made, changed, spent or called off within 46 days of the year 2015: some as
/// day use, some with nobody in the room.
pub struct Weeks {
    pub bookings: Vec<Booking>,
    pub cast: Cast,
    pub plans: Vec<HotelPlan>,
}

impl Weeks {
    pub fn of_2015() -> Self {
        let within = |booking: &Booking| booking.booked_on >= FIRST_DAY && booking.ended_on <= LAST_DAY;
        let bookings: Vec<Booking> = bookings::read(CSV).unwrap().into_iter().filter(within).collect();
        let cast = people::cast(&bookings, DEFAULT_SEED);
        let plans = plan::plan(&bookings, &cast, DEFAULT_SEED);
        Self {
            bookings,
            cast,
            plans,
        }
    }

    pub fn expected(&self, loaded: &Loaded) -> HashMap<String, Totals> {
        ledger::expected_by_guest(CSV, &self.bookings, &self.cast, loaded).unwrap()
    }

    /// What the rules refuse of these weeks: seven rows without anybody.
    pub fn refused() -> BTreeMap<String, u64> {
        BTreeMap::from([("validation_failed: /adults no_person".to_owned(), 7)])
    }
}
