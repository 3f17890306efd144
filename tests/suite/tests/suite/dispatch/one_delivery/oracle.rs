//! Which deliveries there must be, by the rules of docs/endpoints.md, docs/filters.md and docs/deliveries.md alone.
//!
//! It knows no table and no query. It is given what was committed and done, in that order, and how far each endpoint and each run
//! has come in the feed; what must have been queued on the way it decides itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// The environment's endpoint gets everything.
pub const ENV: &str = "env";

/// What an event is about, and which version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    pub kind: &'static str,
    pub id: String,
    pub version: u64,
}

/// An event that was committed.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: String,
    pub event_type: &'static str,
    pub property: Option<&'static str>,
    pub entity: Option<Entity>,
    pub committed_at: i64,
    pub amount: u32,
    pub is_noted: bool,
}

impl Event {
    pub fn payload(&self) -> Map<String, Value> {
        let mut payload = Map::new();
        payload.insert("amount".to_owned(), self.amount.into());
        if self.is_noted {
            payload.insert("note".to_owned(), "late arrival".into());
        }
        payload
    }
}

/// A filter over payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    AmountAtLeast(u32),
    Noted(bool),
}

impl Filter {
    pub fn to_json(self) -> Value {
        match self {
            Self::AmountAtLeast(least) => json!({"path": "/amount", "op": ">=", "value": least}),
            Self::Noted(is_noted) => json!({"path": "/note", "op": "exists", "value": is_noted}),
        }
    }

    fn passes(self, event: &Event) -> bool {
        match self {
            Self::AmountAtLeast(least) => event.amount >= least,
            Self::Noted(is_noted) => event.is_noted == is_noted,
        }
    }
}

/// What an endpoint is subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Types, `reservation.*`, or `*`.
    pub types: Vec<&'static str>,
    /// None: all.
    pub properties: Option<BTreeSet<&'static str>>,
    pub filter: Option<Filter>,
}

impl Wanted {
    fn everything() -> Self {
        Self {
            types: vec!["*"],
            properties: None,
            filter: None,
        }
    }

    fn matches(&self, event: &Event) -> bool {
        let is_of_type = |wanted: &&str| match wanted.strip_suffix('*') {
            Some(kind) => event.event_type.starts_with(kind),
            None => event.event_type == *wanted,
        };
        // What belongs to no property is for those that get all of them.
        let is_of_property = match (&self.properties, event.property) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(property)) => wanted.contains(property),
        };
        self.types.iter().any(is_of_type)
            && is_of_property
            && self.filter.is_none_or(|filter| filter.passes(event))
    }
}

/// What queued an event for an endpoint first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuedBy {
    FanOut,
    Replay,
}

/// A time during which no attempt may begin, in seconds, as the requests have it: from the first, before the other.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    pub from: i64,
    pub until: Option<i64>,
}

/// An endpoint, and what must be queued for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub wanted: Wanted,
    /// Without a URL the environment's is queued nothing.
    pub is_subscribed: bool,
    pub is_paused: bool,
    pub is_deleted: bool,
    pub deliveries: BTreeMap<String, QueuedBy>,
    pub silences: Vec<Silence>,
    /// Where it asks for the order of entities: behind the first place, up to the other.
    pub in_order: Vec<(i64, Option<i64>)>,
    /// What has a place up to here is decided, and what follows is not.
    decided_to: i64,
}

impl Endpoint {
    fn beginning_behind(place: i64, wanted: Wanted) -> Self {
        Self {
            wanted,
            is_subscribed: true,
            is_paused: false,
            is_deleted: false,
            deliveries: BTreeMap::new(),
            silences: Vec::new(),
            in_order: Vec::new(),
            decided_to: place,
        }
    }

    /// It asks for the order of entities from now on, or no more.
    pub fn order(&mut self, is_ordered: bool) {
        match self.in_order.last_mut() {
            Some((_, until @ None)) if !is_ordered => *until = Some(self.decided_to),
            Some((_, None)) => {}
            _ if is_ordered => self.in_order.push((self.decided_to, None)),
            _ => {}
        }
    }

    pub fn is_ordered(&self) -> bool {
        self.in_order.last().is_some_and(|(_, until)| until.is_none())
    }

    /// Whether a claim may find anything.
    pub fn is_sent_to(&self) -> bool {
        self.is_subscribed && !self.is_paused && !self.is_deleted
    }
}

/// A run that queues again what matches.
#[derive(Clone, Debug)]
struct Replay {
    endpoint: String,
    /// Committed from the first on, and before the other.
    span: (i64, i64),
    filter: Option<Filter>,
    decided_to: i64,
    /// What gets its place later is none of its business.
    last: i64,
}

/// All that was done, and what must have come of it.
#[derive(Debug)]
pub struct Oracle {
    pub events: BTreeMap<String, Event>,
    pub endpoints: BTreeMap<String, Endpoint>,
    /// In the order of their places, the first of which is 1.
    feed: Vec<String>,
    replays: BTreeMap<String, Replay>,
}

impl Oracle {
    /// Nothing was committed, and the environment's endpoint begins with the first event of all.
    pub fn new() -> Self {
        let env = Endpoint::beginning_behind(0, Wanted::everything());
        Self {
            events: BTreeMap::new(),
            endpoints: BTreeMap::from([(ENV.to_owned(), env)]),
            feed: Vec::new(),
            replays: BTreeMap::new(),
        }
    }

    /// The last place that was given.
    pub fn last(&self) -> i64 {
        i64::try_from(self.feed.len()).unwrap()
    }

    pub fn has_all_placed(&self) -> bool {
        self.feed.len() == self.events.len()
    }

    pub fn committed(&mut self, event: Event) {
        let before = self.events.insert(event.id.clone(), event);
        assert!(before.is_none(), "an id twice");
    }

    /// These got their places: without gaps, each event once, and the versions of an entity in their order.
    pub fn placed(&mut self, placed: Vec<(i64, String)>) {
        for (place, id) in placed {
            assert_eq!(place, self.last() + 1, "{id}: without gaps");
            assert!(!self.feed.contains(&id), "{id} has a second place");
            let event = &self.events[&id];
            if let Some(entity) = event.entity.as_ref().filter(|entity| entity.version > 1) {
                let is_earlier = |other: &&Entity| {
                    (other.kind, &other.id, other.version + 1) == (entity.kind, &entity.id, entity.version)
                };
                let mut earlier = self.feed.iter().filter_map(|id| self.events[id].entity.as_ref());
                assert!(
                    earlier.any(|other| is_earlier(&other)),
                    "{entity:?} is placed before its earlier version"
                );
            }
            self.feed.push(id);
        }
    }

    /// The events with a place in a range: behind the first, up to the other.
    fn between(&self, after: i64, to: i64) -> Vec<&Event> {
        let index = |place: i64| usize::try_from(place.max(0)).unwrap().min(self.feed.len());
        let range = self.feed.get(index(after)..index(to)).unwrap_or_default();
        range.iter().map(|id| &self.events[id]).collect()
    }

    /// Where an endpoint must begin: it gets what has a place behind this one.
    fn start(&self, start: Start) -> i64 {
        match start {
            Start::Now => self.last(),
            Start::Beginning => 0,
            Start::At(instant) => {
                // Clocks differ: what was committed before may have a place behind it.
                let mut times = self.feed.iter().map(|id| self.events[id].committed_at);
                let first = times.position(|at| at >= instant);
                first.map_or_else(|| self.last(), |before| i64::try_from(before).unwrap())
            }
        }
    }

    /// An endpoint was made, and says that it begins behind this place; None: it is queued what gets a place.
    pub fn made(&mut self, id: &str, wanted: Wanted, start: Start, behind: Option<i64>) {
        let begins_behind = behind.unwrap_or_else(|| self.last());
        assert_eq!(begins_behind, self.start(start), "{start:?}");
        let endpoint = Endpoint::beginning_behind(begins_behind, wanted);
        self.endpoints.insert(id.to_owned(), endpoint);
    }

    pub fn endpoint(&mut self, id: &str) -> &mut Endpoint {
        self.endpoints.get_mut(id).unwrap()
    }

    /// The fan-out has come so far with each endpoint: None where it is as far as the feed. What was on the way was queued by what
    /// the endpoint is subscribed to at present.
    pub fn queued(&mut self, behind: &BTreeMap<String, Option<i64>>, last_before: i64) {
        let last = self.last();
        for id in self.endpoints.keys().cloned().collect::<Vec<_>>() {
            let endpoint = &self.endpoints[&id];
            if endpoint.is_deleted {
                continue;
            }
            let from = endpoint.decided_to;
            if !endpoint.is_subscribed {
                assert_eq!(behind[&id], Some(from), "{id} has no URL and is moved on");
                continue;
            }
            let to = behind[&id].unwrap_or(last);
            assert!(
                to >= from && (from < last_before || to == last),
                "{id} goes from {from} to {to} of {last}"
            );
            let wanted = endpoint.wanted.clone();
            let matching = self.between(from, to).into_iter();
            let ids: Vec<String> = matching
                .filter(|event| wanted.matches(event))
                .map(|event| event.id.clone())
                .collect();
            let endpoint = self.endpoint(&id);
            endpoint.decided_to = to;
            for id in ids {
                endpoint.deliveries.entry(id).or_insert(QueuedBy::FanOut);
            }
        }
    }

    pub fn is_behind(&self, id: &str) -> bool {
        let endpoint = &self.endpoints[id];
        endpoint.is_subscribed && !endpoint.is_deleted && endpoint.decided_to < self.last()
    }

    /// A replay of what was committed in a span began.
    pub fn replay_began(&mut self, run: &str, endpoint: &str, span: (i64, i64), filter: Option<Filter>) {
        let replay = Replay {
            endpoint: endpoint.to_owned(),
            span,
            filter,
            decided_to: 0,
            last: self.last(),
        };
        self.replays.insert(run.to_owned(), replay);
    }

    /// A replay has come to this place, or to its end: what is on the way and matches by now is queued, unless it was.
    pub fn replay_went_on(&mut self, run: &str, place: Option<i64>) {
        let Some(replay) = self.replays.get(run).cloned() else {
            return;
        };
        let to = place.unwrap_or(replay.last).min(replay.last);
        let wanted = self.endpoints[&replay.endpoint].wanted.clone();
        let is_wanted = |event: &&Event| {
            (replay.span.0..replay.span.1).contains(&event.committed_at)
                && wanted.matches(event)
                && replay.filter.is_none_or(|filter| filter.passes(event))
        };
        let matching = self.between(replay.decided_to, to).into_iter();
        let ids: Vec<String> = matching.filter(is_wanted).map(|event| event.id.clone()).collect();
        for id in ids {
            let deliveries = &mut self.endpoint(&replay.endpoint).deliveries;
            deliveries.entry(id).or_insert(QueuedBy::Replay);
        }
        match place {
            Some(_) => self.replays.get_mut(run).unwrap().decided_to = to.max(replay.decided_to),
            None => drop(self.replays.remove(run)),
        }
    }

    /// A run was ended before its end.
    pub fn replay_ended(&mut self, run: &str) {
        self.replays.remove(run);
    }

    /// The events of each entity that an endpoint must be sent one after the other, in this order; but for these, which were made
    /// due by hand.
    pub fn in_order(&self, endpoint: &Endpoint, by_hand: impl Fn(&str) -> bool) -> Vec<Vec<&str>> {
        let mut entities = BTreeMap::<_, Vec<&str>>::new();
        for (index, (from, until)) in endpoint.in_order.iter().enumerate() {
            for event in self.between(*from, until.unwrap_or(endpoint.decided_to)) {
                if let Some(entity) = &event.entity
                    && endpoint.deliveries.contains_key(&event.id)
                    && !by_hand(&event.id)
                {
                    let events = entities.entry((index, entity.kind, &entity.id)).or_default();
                    events.push(&event.id);
                }
            }
        }
        entities.into_values().collect()
    }

    /// Every delivery that there must be: endpoint and event.
    pub fn deliveries(&self) -> BTreeSet<(String, String)> {
        let of_one = |(id, endpoint): (&String, &Endpoint)| {
            let events = endpoint.deliveries.keys();
            events
                .map(|event| (id.clone(), event.clone()))
                .collect::<Vec<_>>()
        };
        self.endpoints.iter().flat_map(of_one).collect()
    }
}

/// Where an endpoint is asked to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Now,
    Beginning,
    At(i64),
}
