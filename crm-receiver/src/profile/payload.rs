//! Reading a payload that any sender may have written: what is absent, blank or of another shape is simply not there.
//!
//! Ingest has checked what cannot be done without; everything else is optional, and a profile must never fail on it.

use contract::{Currency, Money, UnixMillis, date::parse_date, text};
use jiff::civil::Date;
use serde_json::{Map, Value};

/// A payload, or an object inside one.
#[derive(Clone, Copy)]
pub struct Payload<'p>(pub &'p Map<String, Value>);

impl<'p> Payload<'p> {
    /// A text in which something is seen, without white space and invisible characters at its edges.
    pub fn text(self, name: &str) -> Option<&'p str> {
        let text = text::trim(self.0.get(name)?.as_str()?);
        (!text.is_empty()).then_some(text)
    }

    /// The same, owned.
    pub fn owned(self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// A calendar date, `YYYY-MM-DD`.
    pub fn date(self, name: &str) -> Option<Date> {
        self.text(name).and_then(parse_date)
    }

    /// An instant: RFC 3339 or integer Unix milliseconds, from 2000 on.
    pub fn instant(self, name: &str) -> Option<UnixMillis> {
        match self.0.get(name)? {
            Value::String(text) => UnixMillis::parse_rfc3339(text),
            number => number.as_i64().and_then(UnixMillis::from_number),
        }
    }

    /// Whether a flag is set; an absent one is not.
    pub fn flag(self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// An amount, a decimal string, in `currency`; a refund lies below zero.
    pub fn money(self, name: &str, currency: Currency) -> Option<Money> {
        Money::parse_signed(self.text(name)?, currency).ok()
    }

    /// The objects of a list; other items are passed over.
    pub fn objects(self, name: &str) -> impl Iterator<Item = Payload<'p>> {
        self.list(name)
            .iter()
            .filter_map(|item| item.as_object().map(Payload))
    }

    /// A list's items.
    pub fn list(self, name: &str) -> &'p [Value] {
        self.0
            .get(name)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// An object inside, if at least one of its members says something.
    pub fn object(self, name: &str) -> Option<Payload<'p>> {
        let object = self.0.get(name)?.as_object()?;
        let says = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text::trim(text).is_empty(),
            _ => true,
        };
        object.values().any(says).then_some(Payload(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_its_shape_is_not_there() {
        let object = serde_json::json!({"blank": " \u{feff} ", "number": 7, "day": "2026-02-30", "at": 1_764_187_200_000_i64,
            "seconds": 1_764_187_200, "long": "2026-01-01T00:00", "list": [1, {"a": "b"}],
            "address": {"city": "\u{200b}", "country": null}, "total": "1.005", "refund": "-1.50"});
        let payload = Payload(object.as_object().unwrap());
        assert_eq!(payload.text("blank"), None);
        assert_eq!(payload.text("number"), None);
        assert_eq!(payload.date("day"), None);
        assert_eq!(payload.date("long"), None);
        assert_eq!(payload.instant("at"), Some(UnixMillis(1_764_187_200_000)));
        assert_eq!(payload.instant("seconds"), None);
        let refund = payload.money("refund", "EUR".parse().unwrap()).unwrap();
        assert_eq!(refund.minor, -150);
        assert_eq!(payload.objects("list").count(), 1);
        assert!(payload.object("address").is_none());
        assert_eq!(payload.money("total", "EUR".parse().unwrap()), None);
    }
}
