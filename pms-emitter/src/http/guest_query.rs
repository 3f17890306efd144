//! The query string of `GET /guests` as a filter.

use crate::{
    domain::{email::Email, guest::GuestStatus},
    store::GuestFilter,
};
use api::{ListQuery, ListSpec, SortField};
use contract::{Phone, Problem, ProblemCode, Scope};
use kit::fold::words::typed_words;
use std::str::FromStr;

/// `GET /guests`. `external_id` is `system:value`; `last_name` is the beginnings of words, in any order.
pub const LIST: ListSpec = ListSpec {
    name: "guests",
    filters: &[
        "status",
        "property_id",
        "email",
        "phone",
        "last_name",
        "external_id",
        "vip_level",
        "blacklisted",
    ],
    sorts: &[
        SortField::int("created_at"),
        SortField::int("updated_at"),
        SortField::text("last_name"),
    ],
    descending_by_default: false,
    updated_since: true,
};

/// What a query narrows the list to: each filter is read as the field that it is compared with.
///
/// # Errors
/// 400 when a value can be none of its field.
pub fn filter(query: &ListQuery, scope: &Scope) -> Result<GuestFilter, Problem> {
    Ok(GuestFilter {
        status: read(query, "status", GuestStatus::parse)?,
        property_id: read(query, "property_id", |text| text.parse().ok())?,
        email: read(query, "email", |text| {
            Email::parse(text).map(|email| email.as_str().to_lowercase())
        })?,
        phone: read(query, "phone", phone)?,
        last_name: read(query, "last_name", |text| {
            Some(typed_words(text)).filter(|words| !words.is_empty())
        })?
        .unwrap_or_default(),
        external_id: read(query, "external_id", external_id)?,
        vip_level: read(query, "vip_level", |text| u8::from_str(text).ok())?,
        blacklisted: read(query, "blacklisted", |text| bool::from_str(text).ok())?,
        scope: scope.clone(),
    })
}

/// A `+` that a client did not encode arrives as a space.
fn phone(text: &str) -> Option<String> {
    let number = match text.strip_prefix(' ') {
        Some(digits) => Phone::read(&format!("+{digits}")),
        None => Phone::read(text),
    };
    number.ok().map(|reading| reading.phone.as_str().to_owned())
}

/// Keys with a space at an edge do not exist, and binary collations would find others under them.
fn external_id(text: &str) -> Option<(String, String)> {
    let (system, value) = text.split_once(':')?;
    let is_key = |part: &str| !part.is_empty() && part.trim() == part;
    (is_key(system) && is_key(value)).then(|| (system.to_owned(), value.to_owned()))
}

fn read<T>(query: &ListQuery, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let Some(text) = query.filter(name) else {
        return Ok(None);
    };
    let refused =
        || Problem::new(ProblemCode::InvalidQuery).with_detail(format!("{name} is not of its field's form"));
    parse(text).map(Some).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::list::CursorKey;

    fn filter_of(query: &str) -> Result<GuestFilter, Problem> {
        filter(&LIST.parse(query, &CursorKey::default()).unwrap(), &Scope::All)
    }

    #[test]
    fn filters_are_read_as_their_fields() {
        let filter = filter_of(
            "status=deleted&email=Ana@EXAMPLE.com&phone=+351211234567&last_name=S%C3%ADl&external_id=old:A:1&vip_level=3",
        )
        .unwrap();
        assert_eq!(filter.status, Some(GuestStatus::Deleted));
        assert_eq!(filter.email.as_deref(), Some("ana@example.com"));
        assert_eq!(filter.phone.as_deref(), Some("+351211234567"));
        assert_eq!(filter.last_name, [["sil"]]);
        assert_eq!(filter.external_id, Some(("old".to_owned(), "A:1".to_owned())));
        assert_eq!((filter.vip_level, filter.blacklisted), (Some(3), None));
    }

    #[test]
    fn a_value_that_no_field_can_have_is_400() {
        for query in [
            "status=gone",
            "property_id=MAIN%20",
            "email=ana",
            "phone=12",
            "last_name=%20",
            "external_id=A1",
            "external_id=old:A1%20",
            "vip_level=high",
            "blacklisted=1",
        ] {
            assert_eq!(
                filter_of(query).unwrap_err().code,
                ProblemCode::InvalidQuery,
                "{query}"
            );
        }
    }
}
