//! A property: the hotel that guests and reservations belong to, with its own clock, currency and business date.
//!
//! Properties make no events. The business date is set once, when the property is made, and moved only by the night
//! audit, one day a call.

use super::{body, change::changed_fields, refusal::Refusal};
use contract::{Currency, PropertyId, UnixMillis, parse_date};
use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use validator::Validate;

/// The property of a request that names none; a new database has it.
pub const DEFAULT_PROPERTY: &str = "MAIN";

/// The longest name, in characters.
pub const NAME_LEN_MAX: u64 = 200;

/// Fields of the answer that a client may send back and that change nothing.
const READ_ONLY: &[&str] = &["version", "created_at", "updated_at"];

/// A property as it is stored and answered. `version` counts its changes from 1, night audits included.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its code.
    pub id: PropertyId,
    /// From 1.
    pub version: u64,
    /// What people call it.
    pub name: String,
    /// The zone of its dates, always one with an IANA name.
    pub timezone: TimeZone,
    /// The currency of reservations that name none.
    pub currency: Currency,
    /// The hotel's day.
    pub business_date: Date,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was last changed.
    pub updated_at: UnixMillis,
}

#[derive(Deserialize, Serialize, Validate)]
#[serde(deny_unknown_fields)]
struct Input {
    #[serde(default)]
    #[validate(required)]
    id: Option<String>,
    #[serde(default, deserialize_with = "body::text")]
    #[validate(required, length(max = NAME_LEN_MAX), custom(function = body::one_line))]
    name: Option<String>,
    #[serde(default)]
    #[validate(required)]
    timezone: Option<String>,
    #[serde(default)]
    #[validate(required)]
    currency: Option<String>,
    #[serde(default)]
    business_date: Option<String>,
}

impl Property {
    /// A new property from a request body: `id`, `name`, `timezone`, `currency`, and `business_date` (default: today
    /// in its zone).
    pub fn create(mut request: Map<String, Value>, now: UnixMillis) -> Result<Self, Refusal> {
        body::drop_read_only(&mut request, READ_ONLY);
        let (property, _) = Self::read(request, now)?;
        Ok(property)
    }

    /// This property after a merge patch (RFC 7396); None when it changes nothing. `id` and `business_date` may be
    /// sent as they are, and are refused otherwise.
    pub fn merge(&self, mut patch: Map<String, Value>, now: UnixMillis) -> Result<Option<Self>, Refusal> {
        body::drop_read_only(&mut patch, READ_ONLY);
        let mut merged = self.to_json();
        body::merge_patch(&mut merged, Value::Object(patch));
        let Value::Object(mut merged) = merged else {
            return Err(Refusal::field("", "wrong_type", "the body is not an object"));
        };
        body::drop_read_only(&mut merged, READ_ONLY);
        let (sent, business_date) = Self::read(merged, now)?;
        if sent.id != self.id {
            return Err(Refusal::field("/id", "immutable", "cannot be changed"));
        }
        if business_date != Some(self.business_date) {
            let message = "is moved by the night audit alone";
            return Err(Refusal::field("/business_date", "immutable", message));
        }
        let merged = Self {
            name: sent.name,
            timezone: sent.timezone,
            currency: sent.currency,
            ..self.clone()
        };
        Ok((merged != *self).then(|| Self {
            version: self.version + 1,
            updated_at: now,
            ..merged
        }))
    }

    /// A new property from a body that passes every rule, and the business date that the body sends.
    fn read(request: Map<String, Value>, now: UnixMillis) -> Result<(Self, Option<Date>), Refusal> {
        let input: Input = body::read(&Value::Object(request)).map_err(Refusal::Invalid)?;
        let mut errors = Vec::new();
        let mut refuse = |pointer: &str, code: &str, message: &str| {
            errors.push(contract::FieldError::new(pointer, code, message));
        };
        let id = input.id.and_then(|id| id.parse::<PropertyId>().ok());
        if id.is_none() {
            refuse("/id", "invalid", "is not 2 to 16 capital letters and digits");
        }
        let zone = input.timezone.and_then(|name| timezone(&name));
        if zone.is_none() {
            refuse("/timezone", "unknown_value", "is not an IANA time zone");
        }
        let currency = input.currency.and_then(|code| code.parse::<Currency>().ok());
        if currency.is_none() {
            refuse("/currency", "unknown_value", "is not an ISO 4217 currency");
        }
        let business_date = input.business_date.map(|text| parse_date(&text));
        if business_date == Some(None) {
            refuse("/business_date", "not_a_date", "is not a date (YYYY-MM-DD)");
        }
        match (id, zone, currency) {
            (Some(id), Some(timezone), Some(currency)) if errors.is_empty() => {
                let business_date = business_date.flatten();
                let property = Self {
                    id,
                    version: 1,
                    name: input.name.unwrap_or_default(),
                    business_date: business_date.unwrap_or_else(|| now.date_in(&timezone)),
                    timezone,
                    currency,
                    created_at: now,
                    updated_at: now,
                };
                Ok((property, business_date))
            }
            _ => Err(Refusal::Invalid(errors)),
        }
    }

    /// The names of the fields in which another state of it differs; `business_date`, which only the night audit moves, is
    /// left out.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        changed_fields!(self, other, [name, timezone, currency])
    }

    /// The calendar date at the property at an instant; the business date may lag behind it.
    pub fn today(&self, now: UnixMillis) -> Date {
        now.date_in(&self.timezone)
    }

    /// The zone's IANA name.
    pub fn timezone_name(&self) -> &str {
        self.timezone
            .iana_name()
            .expect("a property's zone was looked up by its IANA name")
    }

    /// The property as the API shows it.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "version": self.version,
            "name": self.name,
            "timezone": self.timezone_name(),
            "currency": self.currency,
            "business_date": self.business_date.to_string(),
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

/// The zone of an IANA name.
pub fn timezone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name)
        .ok()
        .filter(|zone| !zone.is_unknown() && zone.iana_name().is_some())
}

#[cfg(test)]
mod tests;
