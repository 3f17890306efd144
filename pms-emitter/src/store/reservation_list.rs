//! Lists of reservations: a filter, an order, a page.

use super::{Store, reservations::decode};
use crate::domain::{reservation::Reservation, transition::Status};
use api::ListQuery;
use contract::{GuestId, PropertyId, parse_date};
use db::{DbError, Params, Row, params};
use jiff::civil::Date;
use kit::listing::{Index, Link, Listing, Order, Reading, Rows, Table};

/// The table as it is listed.
const RESERVATIONS: Table = Table {
    name: "reservations",
    id: "id",
    orders: &[
        Order {
            field: "created_at",
            column: "created_at",
            index: "reservations_created",
        },
        Order {
            field: "updated_at",
            column: "updated_at",
            index: "reservations_updated",
        },
        Order {
            field: "check_in",
            column: "check_in",
            index: "reservations_check_in",
        },
    ],
};

const GUESTS: Link = Link {
    table: "reservation_guests",
    id: "reservation_id",
    by_value: Index::Primary,
    by_row: Index::Named("reservation_guests_reservation"),
};

/// What a list shows of each.
const SELECT: &str = "SELECT id, body, (SELECT p.business_date FROM properties p WHERE p.id = property_id) \
                      AS business_date FROM reservations";

/// The business date of a reservation's property.
const BUSINESS_DATE: &str = "(SELECT p.business_date FROM properties p WHERE p.id = property_id)";

/// Which reservations are asked for. What is none is no condition; deleted ones are shown only when asked for.
#[derive(Clone, Debug, Default)]
pub struct ReservationFilter {
    /// In this status, or deleted.
    pub status: Option<StatusFilter>,
    /// Whose status looks like this on the business date of the property.
    pub computed: Option<ComputedFilter>,
    /// Of this property.
    pub property_id: Option<PropertyId>,
    /// Of this guest, as the primary one.
    pub primary_guest_id: Option<GuestId>,
    /// Of this guest, in whatever role.
    pub guest_id: Option<GuestId>,
    /// With this number.
    pub confirmation_number: Option<String>,
    /// That came in this way.
    pub channel: Option<String>,
    /// Arriving from this date on.
    pub check_in_from: Option<Date>,
    /// Arriving up to this date.
    pub check_in_to: Option<Date>,
    /// Leaving from this date on.
    pub check_out_from: Option<Date>,
    /// Leaving up to this date.
    pub check_out_to: Option<Date>,
}

/// A status to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// A status of a reservation that is not deleted.
    Is(Status),
    /// Deleted, in whatever status.
    Deleted,
}

/// A computed status to look for; [`crate::domain::stay::computed_status`] in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComputedFilter {
    /// Confirmed, and due by now.
    DueIn,
    /// In house, leaving today.
    DueOut,
    /// In house beyond the booked departure.
    Overstay,
    /// A stored status to which none of these applies.
    Plain(Status),
}

impl ComputedFilter {
    /// The filter of that name.
    pub fn known(name: &str) -> Option<Self> {
        match name {
            "due_in" => Some(Self::DueIn),
            "due_out" => Some(Self::DueOut),
            "overstay" => Some(Self::Overstay),
            _ => Status::known(name).map(Self::Plain),
        }
    }

    fn narrow(self, listing: &mut Listing) {
        let (status, date) = match self {
            Self::DueIn => (Status::Confirmed, Some("check_in <=")),
            Self::Plain(Status::Confirmed) => (Status::Confirmed, Some("check_in >")),
            Self::DueOut => (Status::CheckedIn, Some("check_out =")),
            Self::Overstay => (Status::CheckedIn, Some("check_out <")),
            Self::Plain(Status::CheckedIn) => (Status::CheckedIn, Some("check_out >")),
            Self::Plain(other) => (other, None),
        };
        listing.equal("status", Some(status.as_str()));
        if let Some(date) = date {
            listing.require(format!("{date} {BUSINESS_DATE}"), Params::new());
        }
    }
}

impl Store {
    /// The reservations of one page, each with the business date of its property.
    ///
    /// # Errors
    /// The database's.
    pub async fn reservations(
        &self,
        filter: &ReservationFilter,
        query: &ListQuery,
    ) -> Result<Rows<(Reservation, Date)>, DbError> {
        let reading = Reading {
            name: "list_reservations",
            select: SELECT,
            read: listed,
        };
        self.lists.find(filter.listing(query), query, reading).await
    }
}

impl ReservationFilter {
    fn listing(&self, query: &ListQuery) -> Listing {
        let mut listing = Listing::of(&RESERVATIONS);
        let deleted = self.status == Some(StatusFilter::Deleted);
        let condition = if deleted {
            "deleted_at IS NOT NULL"
        } else {
            "deleted_at IS NULL"
        };
        listing.require(condition, Params::new());
        if let Some(StatusFilter::Is(status)) = self.status {
            listing.equal("status", Some(status.as_str()));
        }
        if let Some(computed) = self.computed {
            computed.narrow(&mut listing);
        }
        let confirmation = "reservations_confirmation";
        listing.equal_by(
            confirmation,
            "confirmation_number",
            self.confirmation_number.as_ref(),
        );
        let guest = self.primary_guest_id.as_ref().map(GuestId::as_str);
        listing.equal_by("reservations_primary_guest", "primary_guest_id", guest);
        if let Some(guest) = &self.guest_id {
            listing.linked(GUESTS, "guest_id = ?", params![guest.as_str()]);
        }
        let property = self.property_id.as_ref().map(PropertyId::as_str);
        listing.equal_by("reservations_due", "property_id", property);
        listing.equal("channel", self.channel.as_ref());
        let from = |date: Option<Date>| date.map(|date| date.to_string());
        // Behind the last of all dates there is none, and no bound is needed.
        let to = |date: Option<Date>| from(date.and_then(|date| date.tomorrow().ok()));
        listing.between(
            Some("reservations_check_in"),
            "check_in",
            from(self.check_in_from),
            to(self.check_in_to),
        );
        listing.between(
            None,
            "check_out",
            from(self.check_out_from),
            to(self.check_out_to),
        );
        let none = None::<i64>;
        listing.between(
            Some("reservations_updated"),
            "updated_at",
            query.updated_since,
            none,
        );
        listing
    }
}

fn listed(row: &Row) -> Result<(Reservation, Date), DbError> {
    let business_date: String = row.get("business_date")?;
    let business_date = parse_date(&business_date).ok_or_else(|| DbError::Decode {
        column: "business_date".to_owned(),
        expected: "date",
    })?;
    Ok((decode(row)?, business_date))
}
