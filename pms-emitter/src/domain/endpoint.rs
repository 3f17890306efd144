//! What a person chooses for an endpoint (the API calls it a webhook), and what of it is refused.

use super::filter::Filter;
use super::ordering::DeliveryOrdering;
use super::payload_shape::PayloadShape;
use super::refusal::Refusal;
use super::subscription::TypePattern;
use contract::scheme::{Outgoing, Preset};
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
/// Attempts at once when nothing is said, and at most.
const CONCURRENCY: u32 = 32;
pub const CONCURRENCY_MAX: u32 = 64;

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
    /// Which payloads it gets; none: all.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// How much of each it is sent.
    #[serde(default)]
    pub payload: PayloadShape,
    /// How its deliveries are signed, and what shape they have.
    #[serde(default)]
    pub scheme: Preset,
    /// The waits before each attempt in seconds, the first included; none: those of the scheme, or of the service.
    #[serde(default)]
    pub retry_schedule: Option<Vec<u32>>,
    /// How many waits of the schedule count; none: all.
    #[serde(default)]
    #[validate(range(min = 1, max = 50, message = "it must be 1 to 50, or null"))]
    pub retry_count: Option<u32>,
    /// Whether an answer of the class 4xx may be tried again. Those that are final stay so.
    pub retry_4xx: bool,
    /// How long one attempt may take.
    #[validate(range(min = 1, max = 30, message = "it must be 1 to 30 seconds"))]
    pub timeout_seconds: u32,
    /// Attempts at once.
    #[serde(default = "max_concurrency")]
    #[validate(range(min = 1, max = 64, message = "it must be 1 to 64"))]
    pub max_concurrency: u32,
    /// How often it gets a ping; none: never.
    #[serde(default)]
    #[validate(range(
        min = 1,
        max = 10_080,
        message = "it must be 1 to 10080 minutes, a week, or null"
    ))]
    pub heartbeat_minutes: Option<u32>,
    /// Attempts in a minute, over all processes; none: any number.
    #[serde(default)]
    #[validate(range(min = 1, max = 60_000, message = "it must be 1 to 60000, or null"))]
    pub rate_limit: Option<u32>,
    /// In which order they are sent.
    #[serde(default)]
    pub ordering: DeliveryOrdering,
    /// Whether deliveries are sent; one that is not active is paused, and its events are queued on.
    #[serde(default = "yes")]
    pub active: bool,
}

fn yes() -> bool {
    true
}

fn max_concurrency() -> u32 {
    CONCURRENCY
}

impl EndpointSettings {
    /// Settings of an endpoint that gets everything of a scope, and the rest by default.
    pub fn of_everything(name: &str, url: &str, property_ids: Scope, scheme: Preset) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            events: vec![TypePattern::All],
            property_ids,
            filter: None,
            payload: PayloadShape::default(),
            scheme,
            retry_schedule: None,
            retry_count: None,
            retry_4xx: true,
            timeout_seconds: TIMEOUT_SECONDS,
            max_concurrency: CONCURRENCY,
            heartbeat_minutes: None,
            rate_limit: None,
            ordering: DeliveryOrdering::default(),
            active: true,
        }
    }

    /// Settings as a body names them. `target` answers the normal form of an address, or why nothing is sent there.
    ///
    /// # Errors
    /// `Invalid`, with what breaks a rule.
    pub fn read(
        mut body: Map<String, Value>,
        target: impl Fn(&str) -> Result<String, FieldError>,
    ) -> Result<Self, Refusal> {
        let broken = misshapen(&body);
        Refusal::unless_empty(broken)?;
        for (name, default) in defaults(scheme_of(&body)) {
            body.entry(name).or_insert(default);
        }
        let mut settings: Self =
            shape::fit(&Value::Object(body)).map_err(|error| Refusal::Invalid(vec![error]))?;
        let mut broken = settings
            .validate()
            .map_or_else(|errors| shape::field_errors(&errors), |()| Vec::new());
        broken.extend(settings.breaks());
        match target(&settings.url) {
            Ok(url) => settings.url = url,
            Err(why) => broken.push(why),
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

    /// How its deliveries are made.
    pub fn outgoing(&self) -> Outgoing {
        Outgoing::of(self.scheme).expect("only a scheme that can be sent is taken")
    }

    /// The wait before the first attempt, if it or its scheme has its own.
    pub fn first_wait(&self) -> Option<Duration> {
        self.waits().and_then(|waits| waits.first().copied())
    }

    /// The waits before each attempt, if it or its scheme has its own.
    pub fn waits(&self) -> Option<Vec<Duration>> {
        let outgoing = self.outgoing();
        let waits = self.retry_schedule.as_deref().or(outgoing.waits())?;
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

/// The scheme that a body names.
fn scheme_of(body: &Map<String, Value>) -> Preset {
    let name = body.get("scheme").and_then(Value::as_str);
    name.and_then(|name| name.parse().ok()).unwrap_or_default()
}

/// What a scheme says where nobody else does.
fn defaults(scheme: Preset) -> [(&'static str, Value); 2] {
    let outgoing = Outgoing::of(scheme);
    let timeout = outgoing.as_ref().and_then(Outgoing::timeout_seconds);
    let retries = outgoing.as_ref().and_then(Outgoing::retry_4xx);
    [
        ("timeout_seconds", timeout.unwrap_or(TIMEOUT_SECONDS).into()),
        ("retry_4xx", retries.unwrap_or(true).into()),
    ]
}

/// Fields whose own messages say more than their shape.
fn misshapen(body: &Map<String, Value>) -> Vec<FieldError> {
    let mut broken = Vec::new();
    let below = |name: &str, errors: Vec<FieldError>| {
        let at = |error: FieldError| FieldError {
            pointer: format!("/{name}{}", error.pointer),
            ..error
        };
        errors.into_iter().map(at).collect::<Vec<_>>()
    };
    if let Some(filter) = body.get("filter").filter(|filter| !filter.is_null()) {
        broken.extend(
            Filter::parse(filter)
                .err()
                .map(|errors| below("filter", errors))
                .unwrap_or_default(),
        );
    }
    if let Some(payload) = body.get("payload") {
        broken.extend(
            PayloadShape::parse(payload)
                .err()
                .map(|errors| below("payload", errors))
                .unwrap_or_default(),
        );
    }
    if let Some(scheme) = body.get("scheme") {
        let preset = scheme.as_str().and_then(|name| name.parse().ok());
        if preset.is_none_or(|preset| Outgoing::of(preset).is_none()) {
            let names: Vec<_> = Outgoing::presets().map(Preset::name).collect();
            let message = format!("it must be one of {}", names.join(", "));
            broken.push(FieldError::new("/scheme", "unknown_value", message));
        }
    }
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
            None => Err(FieldError::new("/url", "invalid", "it is no address")),
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
        let powalyze = read(with("scheme", json!("powalyze"))).unwrap();
        assert_eq!((powalyze.timeout_seconds, powalyze.retry_4xx), (10, false));
        assert_eq!(
            powalyze.waits(),
            Some([1, 2, 4].map(Duration::from_secs).to_vec())
        );
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
            (
                "filter",
                json!({"path": "/total", "op": "~", "value": 1}),
                "/filter/op",
            ),
            ("payload", json!("half"), "/payload"),
            ("payload", json!(["total"]), "/payload/0"),
            ("scheme", json!("job-status"), "/scheme"),
            ("scheme", json!("none"), "/scheme"),
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
            ("rate_limit", json!(0), "/rate_limit"),
            ("rate_limit", json!(60_001), "/rate_limit"),
            ("ordering", json!("property"), "/ordering"),
            ("active", json!("yes"), "/active"),
            ("secrets", json!("x"), "/secrets"),
        ] {
            let broken = read(with(name, value.clone())).unwrap_err();
            let pointers: Vec<_> = broken.iter().map(|(pointer, _)| pointer.as_str()).collect();
            assert!(pointers.contains(&pointer), "{name} {value}: {pointers:?}");
        }
    }
}
