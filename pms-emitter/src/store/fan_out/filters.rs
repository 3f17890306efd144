//! What filters over payloads let pass. Bodies are read for endpoints with a filter alone, a few at a time.

use super::Subscriber;
use crate::domain::subscription::EventFacts;
use contract::json;
use db::{DbError, InList, Tx};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// Bodies that are read at once: each has 256 KiB at most.
const BODIES_AT_ONCE: usize = 16;

/// What the fan-out knows of an event without its body.
pub(super) struct Candidate<'e> {
    pub(super) id: &'e str,
    pub(super) facts: EventFacts<'e>,
}

/// The events, by their ids, that an endpoint's filter refuses. One whose body is erased, or cannot be read, passes no filter.
pub(super) type Refused = HashMap<String, HashSet<String>>;

/// What the filters of these endpoints refuse of what they would get otherwise, by the endpoints' ids.
pub(super) async fn refused(
    tx: &mut Tx,
    subscribers: &[&Subscriber],
    events: &[Candidate<'_>],
) -> Result<Refused, DbError> {
    let filtered: Vec<_> = subscribers.iter().filter(|one| one.filter.is_some()).collect();
    let mut refused = Refused::new();
    if filtered.is_empty() {
        return Ok(refused);
    }
    let wanted: Vec<&Candidate<'_>> = events
        .iter()
        // What is said of endpoints is no payload of a hotel.
        .filter(|event| event.facts.about.is_none())
        .filter(|event| {
            filtered
                .iter()
                .any(|one| one.subscription.matches(one.id.as_str(), event.facts))
        })
        .collect();
    for some in wanted.chunks(BODIES_AT_ONCE) {
        let payloads = payloads(tx, some).await?;
        for one in &filtered {
            let passes = |event: &&&Candidate<'_>| {
                let payload = payloads.get(event.id);
                let filter = one.filter.as_ref();
                payload.is_some_and(|payload| filter.is_none_or(|filter| filter.matches(payload)))
            };
            let not_passing = some.iter().filter(|event| !passes(event));
            let ids = not_passing.map(|event| event.id.to_owned());
            refused.entry(one.id.to_string()).or_default().extend(ids);
        }
    }
    Ok(refused)
}

async fn payloads(tx: &mut Tx, events: &[&Candidate<'_>]) -> Result<HashMap<String, Value>, DbError> {
    let list = InList::of(events.iter().map(|event| event.id));
    let sql = format!("SELECT event_id, body FROM event_bodies WHERE event_id IN {list}");
    let rows = tx.query(&sql, list.after(Vec::new())).await?;
    let mut payloads = HashMap::new();
    for row in &rows {
        let body: Option<Vec<u8>> = row.get("body")?;
        let envelope = body.and_then(|body| json::parse(&body).ok());
        if let Some(Value::Object(mut envelope)) = envelope
            && let Some(payload) = envelope.remove("payload")
        {
            payloads.insert(row.get("event_id")?, payload);
        }
    }
    Ok(payloads)
}
