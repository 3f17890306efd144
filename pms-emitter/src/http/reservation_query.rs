//! The query string of `GET /reservations` as a filter.

use crate::domain::{stay::ComputedStatus, transition::Status};
use crate::store::{ReservationFilter, StatusFilter};
use api::list::{ListQuery, ListSpec, SortField};
use contract::{Problem, ProblemCode, Scope, parse_date};
use jiff::civil::Date;
use std::str::FromStr;

/// `GET /reservations`.
pub const LIST: ListSpec = ListSpec {
    name: "reservations",
    filters: &[
        "status",
        "computed_status",
        "property_id",
        "primary_guest_id",
        "guest_id",
        "confirmation_number",
        "channel",
        "check_in",
        "check_in_from",
        "check_in_to",
        "check_out",
        "check_out_from",
        "check_out_to",
    ],
    sorts: &[
        SortField::int("created_at"),
        SortField::int("updated_at"),
        SortField::text("check_in"),
    ],
    descending_by_default: false,
    updated_since: true,
};

/// What a query narrows the list to.
///
/// # Errors
/// 400 `invalid_query` naming the parameter whose value can be none of its field.
pub fn filter(query: &ListQuery, scope: &Scope) -> Result<ReservationFilter, Problem> {
    let on = |name| read(query, name, parse_date);
    let (check_in, check_out) = (on("check_in")?, on("check_out")?);
    Ok(ReservationFilter {
        status: read(query, "status", status)?,
        computed: read(query, "computed_status", ComputedStatus::known)?,
        property_id: read(query, "property_id", id)?,
        primary_guest_id: read(query, "primary_guest_id", id)?,
        guest_id: read(query, "guest_id", id)?,
        confirmation_number: query.filter("confirmation_number").map(str::to_owned),
        channel: query.filter("channel").map(str::to_owned),
        check_in_from: later(check_in, on("check_in_from")?),
        check_in_to: earlier(check_in, on("check_in_to")?),
        check_out_from: later(check_out, on("check_out_from")?),
        check_out_to: earlier(check_out, on("check_out_to")?),
        scope: scope.clone(),
    })
}

fn read<T>(query: &ListQuery, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let Some(text) = query.filter(name) else {
        return Ok(None);
    };
    let refused = || Problem::new(ProblemCode::InvalidQuery).with_detail(format!("{name} has no such value"));
    parse(text).map(Some).ok_or_else(refused)
}

fn status(name: &str) -> Option<StatusFilter> {
    match name {
        "deleted" => Some(StatusFilter::Deleted),
        _ => Status::known(name).map(StatusFilter::Is),
    }
}

fn id<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// The stricter of two lower bounds.
fn later(one: Option<Date>, other: Option<Date>) -> Option<Date> {
    one.max(other)
}

/// The stricter of two upper bounds.
fn earlier(one: Option<Date>, other: Option<Date>) -> Option<Date> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::list::CursorKey;

    fn asked(query: &str) -> Result<ReservationFilter, Problem> {
        filter(&LIST.parse(query, &CursorKey::default())?, &Scope::All)
    }

    #[test]
    fn filters_are_read_by_their_fields() {
        let found =
            asked("status=deleted&computed_status=due_in&guest_id=gst_1&check_in=2016-07-01").unwrap();
        assert_eq!(found.status, Some(StatusFilter::Deleted));
        assert_eq!(found.computed, Some(ComputedStatus::DueIn));
        assert_eq!(found.check_in_from, found.check_in_to);
        let found = asked("sort=-check_in&check_out_to=2016-07-03&check_out=2016-07-02&limit=1").unwrap();
        assert_eq!(found.check_out_to.unwrap().to_string(), "2016-07-02");
    }

    #[test]
    fn what_can_be_no_value_is_a_400() {
        for query in [
            "status=gone",
            "status=due_in",
            "computed_status=deleted",
            "check_in=2016-7-1",
            "guest_id=a.b",
            "property_id=lis",
            "room_id=1",
            "sort=total",
        ] {
            assert_eq!(
                asked(query).unwrap_err().code,
                ProblemCode::InvalidQuery,
                "{query}"
            );
        }
    }
}
