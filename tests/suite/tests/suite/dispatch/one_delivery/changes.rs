//! What people do to endpoints and deliveries, by the use cases of the API.

use std::collections::BTreeSet;

use contract::{Scope, UnixMillis, id::EndpointId};
use pms_emitter::desk::{Desk, DeskError, ExpectedVersion, RunAsked};
use pms_emitter::domain::delivery_run::RunKind;
use pms_emitter::domain::origin::Origin;
use pms_emitter::domain::refusal::Refusal;
use serde_json::{Map, Value, json};

use super::model::{Model, Sink};
use super::oracle::{ENV, Filter, Start, Wanted};
use super::steps::BEHAVIOURS;

/// Endpoints that there are at a time, and ever.
const ENDPOINTS_MAX: usize = 6;
const ENDPOINTS_EVER_MAX: usize = 14;

const PATTERNS: [&str; 7] = [
    "*",
    "guest.*",
    "reservation.*",
    "guest.created",
    "guest.updated",
    "reservation.created",
    "review.created",
];
pub const PROPERTIES: [&str; 3] = ["MAIN", "LIS01", "OPO02"];

/// What is done to an endpoint.
#[derive(Clone, Debug)]
pub enum Change {
    Make(Wanted, Start, String, bool),
    Order(String, bool),
    Subscribe(String, Wanted),
    Pause(String),
    Resume(String),
    Enable(String),
    Delete(String),
}

pub fn origin() -> Origin {
    Origin {
        request_id: "req_model".parse().unwrap(),
        correlation_id: "req_model".parse().unwrap(),
        traceparent: None,
        actor: "model".to_owned(),
        scope: Scope::All,
    }
}

fn settings(wanted: &Wanted) -> Map<String, Value> {
    let properties = match &wanted.properties {
        None => json!("*"),
        Some(properties) => json!(properties),
    };
    let filter = wanted.filter.map_or(Value::Null, Filter::to_json);
    let settings = json!({"events": wanted.types, "property_ids": properties, "filter": filter});
    settings.as_object().unwrap().clone()
}

fn ordering(is_ordered: bool) -> Map<String, Value> {
    let ordering = if is_ordered { "entity" } else { "none" };
    Map::from_iter([("ordering".to_owned(), ordering.into())])
}

impl Change {
    /// Does it, and answers the id of an endpoint that was made.
    pub async fn carry_out(self, desk: Desk) -> Result<Option<EndpointId>, DeskError> {
        let (origin, any) = (origin(), ExpectedVersion::when(|_| true));
        let id = |id: String| id.parse::<EndpointId>().unwrap();
        match self {
            Self::Make(wanted, start, url, is_ordered) => {
                let mut body = settings(&wanted);
                let start = match start {
                    Start::Now => json!("now"),
                    Start::Beginning => json!("beginning"),
                    Start::At(instant) => json!(UnixMillis(instant)),
                };
                let others = json!({"name": "one", "url": url, "start": start, "retry_schedule": [0, 5, 10]});
                body.extend(others.as_object().unwrap().clone());
                body.extend(ordering(is_ordered));
                let made = desk.make_endpoint(&origin, body).await?;
                return Ok(Some(made.endpoint.id));
            }
            Self::Order(endpoint, is_ordered) => {
                desk.change_endpoint(&origin, &id(endpoint), ordering(is_ordered), &any)
                    .await?;
            }
            Self::Subscribe(endpoint, wanted) => {
                desk.change_endpoint(&origin, &id(endpoint), settings(&wanted), &any)
                    .await?;
            }
            Self::Pause(endpoint) => drop(desk.pause_endpoint(&origin, &id(endpoint), true).await?),
            Self::Resume(endpoint) => drop(desk.pause_endpoint(&origin, &id(endpoint), false).await?),
            Self::Enable(endpoint) => drop(desk.enable_endpoint(&origin, &id(endpoint)).await?),
            Self::Delete(endpoint) => desk.delete_endpoint(&origin, &id(endpoint), &any).await?,
        }
        Ok(None)
    }
}

impl Model {
    fn draw_filter(&mut self) -> Option<Filter> {
        match self.rng.below(6) {
            0 => Some(Filter::AmountAtLeast(50)),
            1 => Some(Filter::Noted(true)),
            2 => Some(Filter::Noted(false)),
            _ => None,
        }
    }

    /// A subscription that gives up no property of the one before it.
    fn draw_wanted(&mut self, before: Option<&Wanted>) -> Wanted {
        let count = 1 + self.rng.below(2);
        let types: BTreeSet<&'static str> = (0..count).map(|_| *self.rng.pick(&PATTERNS)).collect();
        let had = match before.map(|before| &before.properties) {
            Some(None) => None,
            Some(Some(had)) => Some(had.clone()),
            None => Some(BTreeSet::new()),
        };
        let properties = had.filter(|_| !self.rng.chance(40)).map(|mut properties| {
            properties.insert(*self.rng.pick(&PROPERTIES));
            properties
        });
        Wanted {
            types: types.into_iter().collect(),
            properties,
            filter: self.draw_filter(),
        }
    }

    /// An endpoint that people made and did not delete.
    pub fn draw_endpoint(&mut self) -> Option<String> {
        let there: Vec<String> = self.chosen_endpoints();
        (!there.is_empty()).then(|| self.rng.pick(&there).clone())
    }

    fn chosen_endpoints(&self) -> Vec<String> {
        let all = self.oracle.endpoints.iter();
        let there = all.filter(|(id, one)| *id != ENV && !one.is_deleted);
        there.map(|(id, _)| id.clone()).collect()
    }

    fn draw_any_endpoint(&mut self) -> String {
        let env = ENV.to_owned();
        if self.rng.chance(20) {
            return env;
        }
        self.draw_endpoint().unwrap_or(env)
    }

    /// With the sink of an endpoint that is to be made.
    pub async fn draw_making(&mut self) -> Option<(Change, Sink)> {
        if self.chosen_endpoints().len() >= ENDPOINTS_MAX || self.oracle.endpoints.len() >= ENDPOINTS_EVER_MAX
        {
            return None;
        }
        let start = match self.rng.below(4) {
            0 => Start::Beginning,
            1 => {
                let times: Vec<i64> = self
                    .oracle
                    .events
                    .values()
                    .map(|event| event.committed_at)
                    .collect();
                if times.is_empty() {
                    Start::Beginning
                } else {
                    Start::At(*self.rng.pick(&times))
                }
            }
            _ => Start::Now,
        };
        let mut sink = Sink::start().await;
        sink.set(*self.rng.pick(&BEHAVIOURS));
        let wanted = self.draw_wanted(None);
        let is_ordered = self.rng.chance(50);
        Some((Change::Make(wanted, start, sink.double.url(), is_ordered), sink))
    }

    pub fn draw_subscribing(&mut self) -> Option<Change> {
        let id = self.draw_endpoint()?;
        let before = self.oracle.endpoints[&id].wanted.clone();
        let wanted = self.draw_wanted(Some(&before));
        Some(Change::Subscribe(id, wanted))
    }

    pub fn draw_pausing(&mut self) -> Change {
        let id = self.draw_any_endpoint();
        if self.oracle.endpoints[&id].is_paused {
            Change::Resume(id)
        } else {
            Change::Pause(id)
        }
    }

    pub fn draw_enabling(&mut self) -> Change {
        Change::Enable(self.draw_any_endpoint())
    }

    pub fn draw_deleting(&mut self) -> Option<Change> {
        Some(Change::Delete(self.draw_endpoint()?))
    }

    /// Has one replica do it.
    pub async fn change(&mut self, change: Change, sink: Option<Sink>) {
        let which = self.rng.below(self.replicas.len());
        let desk = self.replicas[which].desk.clone();
        let done = change.clone().carry_out(desk).await;
        if let Change::Pause(id) | Change::Delete(id) = &change {
            // What this process has claimed before is sent no more; the others know it when they look next.
            let replica = &self.replicas[which];
            for held in replica.held.iter().filter(|held| held.endpoint == *id) {
                let endpoint = id.parse().unwrap();
                assert!(
                    !replica.store.versions().is_current(&endpoint, held.version),
                    "{change:?} and still sent to"
                );
                self.seen.held_back += 1;
            }
        }
        self.changed(change, done.unwrap(), sink).await;
    }

    /// It was done: from this place on.
    pub async fn changed(&mut self, change: Change, made: Option<EndpointId>, sink: Option<Sink>) {
        self.history.note(format!("{change:?} {made:?}"));
        self.seen.changes += 1;
        match change {
            Change::Make(wanted, start, _, is_ordered) => {
                let id = made.unwrap().to_string();
                let behind = self.tables.behind().await[&id];
                self.oracle.made(&id, wanted, start, behind);
                self.oracle.endpoint(&id).order(is_ordered);
                self.sinks.insert(id, sink.unwrap());
            }
            Change::Order(id, is_ordered) => self.oracle.endpoint(&id).order(is_ordered),
            Change::Subscribe(id, wanted) => self.oracle.endpoint(&id).wanted = wanted,
            Change::Pause(id) => {
                self.oracle.endpoint(&id).is_paused = true;
                self.silence(&id).await;
            }
            Change::Resume(id) => {
                let until = Some(self.second());
                let endpoint = self.oracle.endpoint(&id);
                endpoint.is_paused = false;
                if let Some(silence) = endpoint.silences.last_mut() {
                    silence.until = until;
                }
            }
            Change::Enable(_) => {}
            Change::Delete(id) => {
                self.oracle.endpoint(&id).is_deleted = true;
                self.silence(&id).await;
            }
        }
    }

    /// A person wants the order of entities at an endpoint, or no more: which is refused while anything waits for it.
    pub async fn change_order(&mut self) {
        let Some(id) = self.draw_endpoint() else { return };
        let is_ordered = !self.oracle.endpoints[&id].is_ordered();
        let waiting = self.tables.waiting(&id).await;
        let change = Change::Order(id, is_ordered);
        let desk = self.replicas[self.rng.below(self.replicas.len())].desk.clone();
        match change.clone().carry_out(desk).await {
            Ok(made) => {
                assert_eq!(waiting, 0, "{change:?}");
                self.seen.orders_changed += 1;
                self.changed(change, made, None).await;
            }
            Err(DeskError::Refused(Refusal::DeliveriesWaiting)) => assert!(waiting > 0, "{change:?}"),
            other => panic!("{other:?}"),
        }
    }

    /// A person has a delivery sent again.
    pub async fn retry_one(&mut self) {
        let mut keys: Vec<_> = self.oracle.deliveries().into_iter().collect();
        if self.rng.chance(60) {
            // Those that are at their end, and have to wait for another of their entity.
            keys = self.tables.settled().await;
            let released = self.tables.released().await;
            let entity = |event: &str| {
                let entity = self.oracle.events[event].entity.as_ref();
                entity.map(|entity| (entity.kind, &entity.id))
            };
            keys.retain(|(id, event)| {
                let mut released = released.iter().filter(|(of, other)| of == id && other != event);
                self.oracle.endpoints[id].is_ordered()
                    && entity(event).is_some()
                    && released.any(|(_, other)| entity(other) == entity(event))
            });
        }
        if keys.is_empty() {
            return;
        }
        let (endpoint, event) = self.rng.pick(&keys).clone();
        let which = self.rng.below(self.replicas.len());
        let id: EndpointId = endpoint.parse().unwrap();
        let desk = self.replicas[which].desk.clone();
        let retried = desk.retry_delivery(&origin(), &id, &event.parse().unwrap()).await;
        self.history
            .note(format!("retry {endpoint} {event}: {}", retried.is_ok()));
        if self.oracle.endpoints[&endpoint].is_deleted {
            assert!(
                matches!(retried, Err(DeskError::Refused(Refusal::WebhookDeleted))),
                "{retried:?}"
            );
        } else {
            retried.unwrap();
        }
        self.one_at_a_time().await;
    }

    /// A person begins a run.
    pub async fn begin_run(&mut self) {
        let id = self.draw_any_endpoint();
        let times: Vec<i64> = self
            .oracle
            .events
            .values()
            .map(|event| event.committed_at)
            .collect();
        let since = times
            .get(self.rng.below(times.len()))
            .copied()
            .unwrap_or(self.now().0)
            .min(self.now().0);
        let desk = self.replicas[self.rng.below(super::model::REPLICAS)].desk.clone();
        let endpoint: EndpointId = id.parse().unwrap();
        let (kind, filter, body, end) = if self.rng.chance(30) {
            (
                RunKind::Recover,
                None,
                json!({"since": UnixMillis(since)}),
                self.now().0 + 1,
            )
        } else {
            let filter = self.draw_filter();
            let mut body = json!({"from": UnixMillis(since)});
            let mut end = self.now().0 + 1;
            if self.rng.chance(50) {
                end = since + 1 + i64::try_from(self.rng.below(120_000)).unwrap();
                body["to"] = json!(UnixMillis(end));
            }
            if let Some(filter) = filter {
                body["filter"] = filter.to_json();
            }
            (RunKind::Replay, filter, body, end)
        };
        let asked = desk
            .begin_run(&origin(), &endpoint, kind, body.as_object().unwrap().clone())
            .await;
        let run = match asked {
            Ok(RunAsked::Begun(run)) => run.id.to_string(),
            Err(DeskError::Refused(Refusal::TooManyRuns(_))) => return,
            other => panic!("{other:?}"),
        };
        self.history
            .note(format!("{kind:?} {id} since {since} to {end}, {filter:?}: {run}"));
        self.seen.runs += 1;
        if kind == RunKind::Replay {
            self.oracle.replay_began(&run, &id, (since, end), filter);
        }
    }

    /// The environment's endpoint loses its URL, or gets it back, as at a start.
    pub async fn configure_env(&mut self, has_url: bool) {
        let env = pms_emitter::store::EnvEndpoint {
            url: has_url.then(|| self.sinks[ENV].double.url()),
            first_wait: std::time::Duration::ZERO,
        };
        let which = self.rng.below(self.replicas.len());
        self.kill(which);
        let store = &self.replicas[which].store;
        let id = pms_emitter::store::env_endpoint();
        assert!(store.configure_endpoint(id, env, self.now()).await.unwrap());
        self.history.note(format!("env has a URL: {has_url}"));
        self.oracle.endpoint(ENV).is_subscribed = has_url;
    }

    /// All endpoints have a URL, are neither paused nor disabled, and go on.
    pub async fn let_all_go_on(&mut self) {
        self.configure_env(true).await;
        let ids: Vec<String> = self
            .oracle
            .endpoints
            .iter()
            .filter(|(_, one)| !one.is_deleted)
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            if self.oracle.endpoints[&id].is_paused {
                self.change(Change::Resume(id.clone()), None).await;
            }
            self.change(Change::Enable(id), None).await;
        }
    }
}
