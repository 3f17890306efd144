//! What a person chooses for an endpoint (the API calls it a webhook), and what of it is refused.

use super::refusal::Refusal;
use super::subscription::TypePattern;
use contract::{FieldError, PropertyId, Scope, id::PROPERTY_RULE};
use kit::{access::plain_name, shape};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::time::Duration;
use validator::Validate;

/// Types, or patterns of types, that one endpoint names at most.
const EVENTS_MAX: usize = 20;
/// Waits of a retry schedule at most.
const WAITS_MAX: usize = 50;
/// The longest single wait, in seconds: 7 days.
const WAIT_SECONDS_MAX: u32 = 7 * 24 * 3600;
/// How long one attempt may take when nothing is said.
const TIMEOUT_SECONDS: u32 = 15;
/// The longest that one attempt may be given.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// Attempts at once when nothing is said.
const CONCURRENCY: u32 = 32;

/// What is chosen for an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct EndpointSettings {
    /// For people.
    #[validate(custom(function = "plain_name"))]
    pub name: String,
    /// Where its deliveries go, in its normal form.
    pub url: String,
    /// Which types of events it gets.
    pub events: Vec<TypePattern>,
    /// Of which properties.
    pub property_ids: Scope,
    /// The waits before each attempt in seconds, the first included; none: the service's own.
    #[serde(default)]
    pub retry_schedule: Option<Vec<u32>>,
    /// How many waits of the schedule count; none: all.
    #[serde(default)]
    #[validate(range(min = 1, max = 50, message = "it must be 1 to 50, or null"))]
    pub retry_count: Option<u32>,
    /// Whether an answer of the class 4xx may be tried again. Those that are final stay so.
    #[serde(default = "yes")]
    pub retry_4xx: bool,
    /// How long one attempt may take.
    #[serde(default = "timeout_seconds")]
    #[validate(range(min = 1, max = 30, message = "it must be 1 to 30 seconds"))]
    pub timeout_seconds: u32,
    /// Attempts at once.
    #[serde(default = "max_concurrency")]
    #[validate(range(min = 1, max = 64, message = "it must be 1 to 64"))]
    pub max_concurrency: u32,
    /// Whether deliveries are sent; one that is not active is paused, and its events are queued on.
    #[serde(default = "yes")]
    pub active: bool,
}

fn yes() -> bool {
    true
}

fn timeout_seconds() -> u32 {
    TIMEOUT_SECONDS
}

fn max_concurrency() -> u32 {
    CONCURRENCY
}

impl EndpointSettings {
    /// Settings as a body names them. `target` answers the normal form of an address, or why nothing is sent there.
    ///
    /// # Errors
    /// `Invalid`, with what breaks a rule.
    pub fn read(
        body: Map<String, Value>,
        target: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, Refusal> {
        Refusal::unless_empty(misshapen(&body))?;
        let mut settings: Self =
            shape::fit(&Value::Object(body)).map_err(|error| Refusal::Invalid(vec![error]))?;
        let mut broken = settings
            .validate()
            .map_or_else(|errors| shape::field_errors(&errors), |()| Vec::new());
        broken.extend(settings.breaks());
        match target(&settings.url) {
            Ok(url) => settings.url = url,
            Err(why) => broken.push(FieldError::new("/url", "invalid", why)),
        }
        Refusal::unless_empty(broken)?;
        let mut seen = HashSet::new();
        settings.events.retain(|pattern| seen.insert(pattern.clone()));
        Ok(settings)
    }

    /// The settings as an object.
    pub fn to_object(&self) -> Map<String, Value> {
        super::event::object_of(self)
    }

    /// The waits before each attempt, if it has its own.
    pub fn waits(&self) -> Option<Vec<Duration>> {
        let waits = self.retry_schedule.as_ref()?;
        Some(
            waits
                .iter()
                .map(|wait| Duration::from_secs(u64::from(*wait)))
                .collect(),
        )
    }

    fn breaks(&self) -> Vec<FieldError> {
        let mut broken = Vec::new();
        let mut breaks = |pointer: &str, code: &str, message: String| {
            broken.push(FieldError::new(pointer, code, message));
        };
        if !(1..=EVENTS_MAX).contains(&self.events.len()) {
            breaks(
                "/events",
                "length",
                format!("it must have 1 to {EVENTS_MAX} types"),
            );
        }
        if let Some(waits) = &self.retry_schedule {
            if !(1..=WAITS_MAX).contains(&waits.len()) {
                breaks(
                    "/retry_schedule",
                    "length",
                    format!("it must have 1 to {WAITS_MAX} waits"),
                );
            }
            if waits.iter().any(|wait| *wait > WAIT_SECONDS_MAX) {
                breaks(
                    "/retry_schedule",
                    "range",
                    "no wait may be over 7 days".to_owned(),
                );
            }
        }
        broken
    }
}

/// Fields whose own messages say more than their shape.
fn misshapen(body: &Map<String, Value>) -> Vec<FieldError> {
    let mut broken = Vec::new();
    if let Some(scope) = body.get("property_ids") {
        match serde_json::from_value::<Scope>(scope.clone()) {
            Err(error) => broken.push(FieldError::new("/property_ids", "invalid", error.to_string())),
            Ok(Scope::Parts(codes)) if codes.iter().any(|code| code.parse::<PropertyId>().is_err()) => {
                broken.push(FieldError::new("/property_ids", "invalid", PROPERTY_RULE));
            }
            Ok(_) => {}
        }
    }
    for (index, event) in body
        .get("events")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        if let Some(text) = event.as_str()
            && let Err(why) = text.parse::<TypePattern>()
        {
            broken.push(FieldError::new(
                format!("/events/{index}"),
                "invalid",
                why.to_string(),
            ));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<EndpointSettings, Vec<(String, String)>> {
        let Value::Object(body) = body else {
            panic!("an object")
        };
        let target = |url: &str| match url.strip_prefix("https://") {
            Some(_) => Ok(url.to_lowercase()),
            None => Err("it is no address".to_owned()),
        };
        EndpointSettings::read(body, target).map_err(|refusal| match refusal {
            Refusal::Invalid(errors) => errors
                .into_iter()
                .map(|error| (error.pointer, error.code))
                .collect(),
            other => panic!("{other:?}"),
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut body = json!({
            "name": "CRM", "url": "https://crm.example/hook", "events": ["*"], "property_ids": "*",
        });
        body[name] = value;
        body
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let settings = read(with(
            "events",
            json!(["reservation.*", "guest.created", "reservation.*"]),
        ))
        .unwrap();
        assert_eq!(settings.events.len(), 2, "each once");
        assert_eq!(
            (
                settings.timeout_seconds,
                settings.max_concurrency,
                settings.retry_4xx,
                settings.active
            ),
            (15, 32, true, true)
        );
        assert_eq!(settings.waits(), None);
        let settings = read(with("url", json!("https://CRM.example/hook"))).unwrap();
        assert_eq!(settings.url, "https://crm.example/hook", "in its normal form");
        assert_eq!(read(Value::Object(settings.to_object())).unwrap(), settings);
    }

    #[test]
    fn what_breaks_a_rule_is_named_by_its_place() {
        for (name, value, pointer) in [
            ("name", json!(""), "/name"),
            ("url", json!("ftp://crm.example"), "/url"),
            ("url", json!(null), "/url"),
            ("events", json!([]), "/events"),
            ("events", json!(["reservation"; 21].map(|_| "a.b")), "/events"),
            ("events", json!(["reservation*"]), "/events/0"),
            ("events", json!(["*", "a,b"]), "/events/1"),
            ("events", json!("*"), "/events"),
            ("property_ids", json!([]), "/property_ids"),
            ("property_ids", json!(["a b"]), "/property_ids"),
            ("retry_schedule", json!([]), "/retry_schedule"),
            ("retry_schedule", json!([0, 604_801]), "/retry_schedule"),
            ("retry_schedule", json!([-1]), "/retry_schedule/0"),
            ("retry_count", json!(0), "/retry_count"),
            ("timeout_seconds", json!(31), "/timeout_seconds"),
            ("max_concurrency", json!(0), "/max_concurrency"),
            ("active", json!("yes"), "/active"),
            ("secrets", json!("x"), "/secrets"),
        ] {
            let broken = read(with(name, value.clone())).unwrap_err();
            let pointers: Vec<_> = broken.iter().map(|(pointer, _)| pointer.as_str()).collect();
            assert!(pointers.contains(&pointer), "{name} {value}: {pointers:?}");
        }
    }
}
