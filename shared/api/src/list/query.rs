//! The query string of a list, parameter by parameter.

use super::{
    LIMIT_DEFAULT, LIMIT_MAX, ListQuery, ListSpec, Sort,
    cursor::{self, Binding, CursorKey},
};
use contract::{Problem, ProblemCode, UnixMillis};
use percent_encoding::percent_decode_str;

/// The longest value of a filter, in bytes.
const FILTER_LEN_MAX: usize = 512;

#[derive(Default)]
struct Given {
    limit: Option<String>,
    cursor: Option<String>,
    sort: Option<String>,
    updated_since: Option<String>,
    filters: Vec<(&'static str, String)>,
}

pub(super) fn parse(spec: &ListSpec, query: &str, key: &CursorKey) -> Result<ListQuery, Problem> {
    let Given {
        limit,
        cursor,
        sort,
        updated_since,
        mut filters,
    } = read(spec, query)?;
    let limit = limit.map_or(Ok(LIMIT_DEFAULT), |text| parse_limit(&text))?;
    let sort = parse_sort(spec, sort.as_deref())?;
    let updated_since = updated_since.map(|text| parse_instant(&text)).transpose()?;
    // The order in which a client writes its filters is not part of what it asks.
    filters.sort_unstable();
    let binding = Binding::new(spec, sort, &filters, updated_since, key);
    let after = cursor
        .map(|text| cursor::decode(&text, sort, &binding))
        .transpose()?;
    Ok(ListQuery {
        limit,
        sort,
        updated_since,
        after,
        filters,
        binding,
    })
}

/// The parameters of an endpoint that is no list.
pub(super) fn parameters(
    known: &'static [&'static str],
    query: &str,
) -> Result<Vec<(&'static str, String)>, Problem> {
    let spec = ListSpec {
        name: "",
        filters: known,
        sorts: &[],
        descending_by_default: false,
        updated_since: false,
    };
    let given = read(&spec, query)?;
    let listed = [
        ("limit", given.limit),
        ("cursor", given.cursor),
        ("sort", given.sort),
    ];
    match listed.into_iter().find(|(_, value)| value.is_some()) {
        Some((name, _)) => Err(refused(format!("there is no parameter {}", shown(name)))),
        None => Ok(given.filters),
    }
}

fn read(spec: &ListSpec, query: &str) -> Result<Given, Problem> {
    let mut given = Given::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name).ok_or_else(|| refused("a parameter's name is not UTF-8"))?;
        let value = decode(value).ok_or_else(|| refused(format!("{name} is not UTF-8")))?;
        if let Some(filter) = spec.filters.iter().find(|filter| **filter == name) {
            if given.filters.iter().any(|(known, _)| known == filter) {
                return Err(refused(format!("{name} stands more than once")));
            }
            if value.is_empty() || value.len() > FILTER_LEN_MAX {
                return Err(refused(format!("{name} must have 1 to {FILTER_LEN_MAX} bytes")));
            }
            given.filters.push((filter, value));
            continue;
        }
        let place = match name.as_str() {
            "limit" => &mut given.limit,
            "cursor" => &mut given.cursor,
            "sort" => &mut given.sort,
            "updated_since" if spec.updated_since => &mut given.updated_since,
            _ => return Err(refused(format!("there is no parameter {}", shown(&name)))),
        };
        if place.replace(value).is_some() {
            return Err(refused(format!("{name} stands more than once")));
        }
    }
    Ok(given)
}

/// Percent-decoding of `application/x-www-form-urlencoded`, where `+` is a space.
fn decode(text: &str) -> Option<String> {
    Some(
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8()
            .ok()?
            .into_owned(),
    )
}

/// A name as the client wrote it, if it could be one.
fn shown(name: &str) -> String {
    let plain = name.len() <= 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain {
        format!("\"{name}\"")
    } else {
        "of that name".to_owned()
    }
}

fn parse_limit(text: &str) -> Result<u32, Problem> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = if plain { text.parse().ok() } else { None };
    limit
        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
        .ok_or_else(|| refused(format!("limit must be a number from 1 to {LIMIT_MAX}")))
}

fn parse_sort(spec: &ListSpec, text: Option<&str>) -> Result<Sort, Problem> {
    let Some(text) = text else {
        let field = *spec.sorts.first().expect("a list has an order");
        return Ok(Sort {
            field,
            descending: spec.descending_by_default,
        });
    };
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    let field = spec.sorts.iter().find(|field| field.name == name).copied();
    let names = || {
        spec.sorts
            .iter()
            .map(|field| field.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let field = field.ok_or_else(|| {
        refused(format!(
            "sort must be one of {}, or one with - before it",
            names()
        ))
    })?;
    Ok(Sort { field, descending })
}

fn parse_instant(text: &str) -> Result<UnixMillis, Problem> {
    let millis = || text.parse().ok().and_then(UnixMillis::in_range);
    UnixMillis::parse_rfc3339(text)
        .or_else(millis)
        .ok_or_else(|| refused("updated_since must be RFC 3339 or Unix milliseconds"))
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::InvalidQuery).with_detail(detail)
}
