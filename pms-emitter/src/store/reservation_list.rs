//! Lists of reservations: a filter, an order, a page.

use super::{Store, listing::Listing, reservations::decode};
use crate::domain::{reservation::Reservation, transition::Status};
use contract::{GuestId, PropertyId, parse_date};
use jiff::civil::Date;
use kit::{
    db::{DbError, Params, Row},
    http::ListQuery,
    params,
};

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
            listing.require(&format!("{date} {BUSINESS_DATE}"), Params::new());
        }
    }
}

impl Store {
    /// One page of reservations, and one row more, each with the business date of its property.
    ///
    /// # Errors
    /// The database's.
    pub async fn reservations(
        &self,
        filter: &ReservationFilter,
        query: &ListQuery,
    ) -> Result<Vec<(Reservation, Date)>, DbError> {
        let column = match query.sort.field.name {
            "check_in" => "check_in",
            "updated_at" => "updated_at",
            _ => "created_at",
        };
        let select = format!("SELECT body, {BUSINESS_DATE} AS business_date FROM reservations");
        let (sql, params) = filter.listing().page(&select, column, query);
        self.queries
            .read("list_reservations", move |tx| {
                let (sql, params) = (sql.clone(), params.clone());
                Box::pin(async move { tx.query(&sql, params).await?.iter().map(listed).collect() })
            })
            .await
    }
}

impl ReservationFilter {
    fn listing(&self) -> Listing {
        let date = |date: Option<Date>| date.map(|date| date.to_string());
        let mut listing = Listing::default();
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
        listing.equal("property_id", self.property_id.as_ref().map(PropertyId::as_str));
        listing.equal(
            "primary_guest_id",
            self.primary_guest_id.as_ref().map(GuestId::as_str),
        );
        if let Some(guest) = &self.guest_id {
            let named = "id IN (SELECT reservation_id FROM reservation_guests WHERE guest_id = ?)";
            listing.require(named, params![guest.as_str()]);
        }
        listing.equal("confirmation_number", self.confirmation_number.as_ref());
        listing.equal("channel", self.channel.as_ref());
        for (condition, bound) in [
            ("check_in >= ?", date(self.check_in_from)),
            ("check_in <= ?", date(self.check_in_to)),
            ("check_out >= ?", date(self.check_out_from)),
            ("check_out <= ?", date(self.check_out_to)),
        ] {
            if let Some(bound) = bound {
                listing.require(condition, params![bound]);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use kit::http::{ListSpec, SortField};

    #[test]
    fn a_computed_status_narrows_to_a_stored_one_and_its_dates() {
        for (name, condition) in [
            ("due_in", "status = ? AND check_in <= (SELECT"),
            ("confirmed", "status = ? AND check_in > (SELECT"),
            ("due_out", "status = ? AND check_out = (SELECT"),
            ("overstay", "status = ? AND check_out < (SELECT"),
            ("checked_in", "status = ? AND check_out > (SELECT"),
            ("no_show", "status = ? ORDER"),
        ] {
            let filter = ReservationFilter {
                computed: ComputedFilter::known(name),
                ..ReservationFilter::default()
            };
            let (sql, _) = filter.listing().page("SELECT", "id", &LIST.parse("").unwrap());
            assert!(sql.contains(condition), "{name}: {sql}");
        }
        assert_eq!(ComputedFilter::known("deleted"), None);
    }

    const LIST: ListSpec = ListSpec {
        name: "reservations",
        filters: &[],
        sorts: &[SortField::int("created_at")],
        descending_by_default: false,
        updated_since: false,
    };
}
