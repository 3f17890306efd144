//! The booking of a reservation: every field that a client may send, in the form in which it is sent.
//!
//! A PUT is a merge into this document, so it is stored as it is shown: amounts as decimal strings, settled by
//! [`super::rates`]. Shape and length are checked here; the rules across fields follow in `reservation_rules`.

use super::{
    body,
    record_size::json_len,
    reservation_text::{TEXT_LEN_MAX, code, no_card_number, requests},
    stay::{StayType, strict_date},
    transition::Status,
};
use contract::{Currency, GuestId, UnixMillis};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use validator::Validate;

/// The most guests beside the primary one that are named.
pub const ACCOMPANYING_MAX: u64 = 100;
/// The most persons of one age group.
pub const PERSONS_MAX: u32 = 999;
/// The most special requests.
pub const REQUESTS_MAX: u64 = 20;
/// The most rates: one for each night of the longest stay.
const RATES_MAX: u64 = super::stay::NIGHTS_MAX as u64;

/// The names of a booking's fields in the API, as an event's `changed` lists them.
pub const FIELDS: [&str; 34] = [
    "status",
    "confirmation_number",
    "channel_reference",
    "primary_guest_id",
    "booker_guest_id",
    "accompanying_guest_ids",
    "check_in",
    "check_out",
    "stay_type",
    "adults",
    "children",
    "infants",
    "room_type_booked",
    "room_type_charged",
    "room_id",
    "rate_plan",
    "meal_plan",
    "market_segment",
    "source",
    "channel",
    "company",
    "travel_agent",
    "currency",
    "nightly_rates",
    "room_total",
    "extras_total",
    "total",
    "guarantee",
    "deposit",
    "balance",
    "balance_override",
    "cancellation",
    "booked_at",
    "special_requests",
];

/// The fields of a reservation that a client sets. In a stored reservation they are complete, and the amounts are settled (see
/// [`super::rates`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Booking {
    /// Unique in its property; made of the id when the client sends none.
    #[validate(custom(function = code))]
    pub confirmation_number: String,
    /// The booking's number at the channel that it came through.
    #[validate(nested)]
    pub channel_reference: Option<ChannelReference>,
    /// See [`super::transition`].
    pub status: Status,
    /// Who stays, and whose profile the nights and the revenue count for.
    pub primary_guest_id: GuestId,
    /// Who booked; often not the guest.
    pub booker_guest_id: Option<GuestId>,
    /// Who else stays.
    #[serde(default)]
    #[validate(length(max = ACCOMPANYING_MAX))]
    pub accompanying_guest_ids: Vec<GuestId>,
    /// The date of arrival.
    #[serde(deserialize_with = "strict_date")]
    pub check_in: Date,
    /// The booked date of departure; an early departure does not rewrite it.
    #[serde(deserialize_with = "strict_date")]
    pub check_out: Date,
    /// Nights, or a part of one day.
    pub stay_type: StayType,
    /// Persons.
    #[validate(range(max = PERSONS_MAX))]
    pub adults: u32,
    /// Persons.
    #[validate(range(max = PERSONS_MAX))]
    pub children: u32,
    /// Persons.
    #[validate(range(max = PERSONS_MAX))]
    pub infants: u32,
    /// The type of room that was sold.
    #[validate(custom(function = code))]
    pub room_type_booked: Option<String>,
    /// The type of room that is paid for.
    #[validate(custom(function = code))]
    pub room_type_charged: Option<String>,
    /// The room itself; needed from check-in on.
    #[validate(custom(function = code))]
    pub room_id: Option<String>,
    /// What was sold at which terms.
    #[validate(custom(function = code))]
    pub rate_plan: Option<String>,
    /// Which meals are included.
    pub meal_plan: Option<MealPlan>,
    /// The kind of customer that the hotel sold to.
    #[validate(custom(function = code))]
    pub market_segment: Option<String>,
    /// Where the booking came from.
    #[validate(custom(function = code))]
    pub source: Option<String>,
    /// How the booking came in.
    #[validate(custom(function = code))]
    pub channel: Option<String>,
    /// The company, by its code.
    #[validate(custom(function = code))]
    pub company: Option<String>,
    /// The travel agent, by its code.
    #[validate(custom(function = code))]
    pub travel_agent: Option<String>,
    /// Of every amount; fixed after creation.
    pub currency: Currency,
    /// One per night from `check_in`; one for a day use.
    #[validate(length(max = RATES_MAX))]
    pub nightly_rates: Option<Vec<String>>,
    /// Some in a settled booking.
    pub room_total: Option<String>,
    /// What is beside the room; below zero it is a discount.
    pub extras_total: String,
    /// Some in a settled booking.
    pub total: Option<String>,
    /// How the stay is guaranteed, by a code: never a card's number.
    #[validate(custom(function = code), custom(function = no_card_number))]
    pub guarantee: Option<String>,
    /// What was paid in advance.
    pub deposit: Option<String>,
    /// What is still to be paid, the client's own figure; below zero the guest has paid more than is on the bill.
    pub balance: String,
    /// Why the guest may leave with an open balance.
    #[validate(nested)]
    pub balance_override: Option<BalanceOverride>,
    /// There exactly while the status is `cancelled`.
    #[validate(nested)]
    pub cancellation: Option<Cancellation>,
    /// When it was booked.
    pub booked_at: UnixMillis,
    /// Free text; never in an event.
    #[serde(default, deserialize_with = "body::texts")]
    #[validate(length(max = REQUESTS_MAX), custom(function = requests))]
    pub special_requests: Vec<String>,
}

/// A booking's number at a channel, unique per property and channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct ChannelReference {
    /// The channel's code.
    #[validate(custom(function = code))]
    pub channel: String,
    /// The booking's number there.
    #[validate(custom(function = code))]
    pub number: String,
}

/// How a reservation was called off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// When; the default is now.
    pub at: UnixMillis,
    /// Why, as a code.
    #[validate(custom(function = code))]
    pub reason: String,
    /// Who called it off, as a code; the default is `guest`.
    #[validate(custom(function = code))]
    pub by: String,
    /// What it costs; the default is zero.
    pub fee: String,
}

/// A check-out in spite of an open balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct BalanceOverride {
    /// Why; free text, so it is never in an event.
    #[serde(deserialize_with = "body::required_text")]
    #[validate(length(max = TEXT_LEN_MAX), custom(function = body::filled), custom(function = body::free_text), custom(function = no_card_number))]
    pub reason: String,
}

/// Which meals a rate includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MealPlan {
    /// Room only.
    #[serde(rename = "RO")]
    RoomOnly,
    /// Bed and breakfast.
    #[serde(rename = "BB")]
    BedAndBreakfast,
    /// Half board.
    #[serde(rename = "HB")]
    HalfBoard,
    /// Full board.
    #[serde(rename = "FB")]
    FullBoard,
    /// All inclusive.
    #[serde(rename = "AI")]
    AllInclusive,
}

impl Booking {
    /// How many people stay.
    pub fn persons(&self) -> u32 {
        self.adults + self.children + self.infants
    }

    /// What it takes as JSON beside its status, which moves along in a transition, in bytes.
    pub fn content_len(&self) -> usize {
        json_len(self) - self.status.as_str().len()
    }

    /// Everyone that it names, each with its JSON pointer.
    pub fn guests(&self) -> impl Iterator<Item = (String, &GuestId)> {
        let primary = ("/primary_guest_id".to_owned(), &self.primary_guest_id);
        let booker = self.booker_guest_id.as_ref();
        let accompanying = self.accompanying_guest_ids.iter().enumerate();
        std::iter::once(primary)
            .chain(booker.map(|id| ("/booker_guest_id".to_owned(), id)))
            .chain(accompanying.map(|(place, id)| (format!("/accompanying_guest_ids/{place}"), id)))
    }
}
