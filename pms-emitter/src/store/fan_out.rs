//! The fan-out: what the sequencer does in one transaction. Events that are committed get their places in the feed, `feed_seq`, and
//! are queued for every endpoint that is subscribed to them.
//!
//! So a write costs the same with one endpoint and with many, and an endpoint begins at an exact place. Places follow the ids, but
//! the versions of one entity are always in their order. An endpoint that was subscribed later, or again, is behind: it is queued
//! batch by batch what has its place already, and then what gets one, with nothing in between and nothing twice.

mod filters;
mod unreadable;

use super::{
    claims::ClaimRequest,
    clock_skew::millis,
    entity_order::{self, ByEndpoint},
    immediate_claims::{FIRST_EPOCH, StepClaims, Uncommitted},
    queued::Queued,
    webhooks::FIRST_WAIT_OF_SERVICE,
};
use crate::domain::ordering::DeliveryOrdering;
use crate::domain::subscription::{EventFacts, Subscription};
use crate::domain::{filter::Filter, notice::WEBHOOK};
use contract::{UnixMillis, id::EndpointId};
use db::{
    DbError, Dialect, InList, Params, Row, Statement, StatementResult, Tx, failpoint, in_lists, params,
    read_id,
};
use filters::{Candidate, Refused, refused};
use futures::future::BoxFuture;
use kit::planted::{Bug, is_planted};
use kit::sequencer::{Given, STEP_ROWS_MAX, Sequence, Sequenced};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use unreadable::Unreadable;

/// The places of events.
pub const FEED: Sequence = Sequence { name: "feed" };

/// Deliveries that one transaction makes of events that get their places, unless a single event makes more.
const STEP_DELIVERIES_MAX: usize = 4_096;
/// Events of one transaction whose bodies are read for filters, with the places held meanwhile.
const STEP_BODIES_MAX: usize = 64;
/// Events that get their places by one statement on MySQL: each of them is looked for among all of them.
const PLACES_AT_ONCE: usize = 64;
/// Events with a place that one transaction looks at for an endpoint that is behind.
const BACKFILL_BATCH: usize = 500;

/// Events without a place, each with the version before it. They are taken in the order of their index, which is that of their ids:
/// asked for that order, a server sorts all that wait, or walks the primary key over all that was ever written.
const WAITING: &str =
    "SELECT e.id, e.type, e.property_id, e.entity_kind, e.entity_id, e.entity_version, e.committed_at,
         earlier.id AS earlier_id, earlier.feed_seq AS earlier_seq
     FROM (SELECT id FROM events WHERE feed_seq IS NULL LIMIT ?) AS waiting JOIN events e ON e.id = waiting.id
     LEFT JOIN events earlier ON earlier.entity_kind = e.entity_kind AND earlier.entity_id = e.entity_id
         AND earlier.entity_version = e.entity_version - 1 AND earlier.property_id = e.property_id";

/// The versions of one entity that have no place, the lowest first. The plus keeps SQLite from the index of all that have none.
const WAITING_OF_ENTITY: &str =
    "SELECT id, type, property_id, entity_kind, entity_id, entity_version, committed_at,
         NULL AS earlier_id, NULL AS earlier_seq
     FROM events WHERE entity_kind = ? AND entity_id = ? AND property_id = ? AND +feed_seq IS NULL
     ORDER BY entity_version LIMIT ?";

/// The fan-out of events, as the sequencer runs it. Clones share what they have queued.
#[derive(Clone, Debug, Default)]
pub struct FanOut {
    /// The wait before the first attempt of endpoints that have the schedule of the service.
    first_wait: Duration,
    queued: Queued,
    claims: Uncommitted,
    unreadable: Unreadable,
}

/// An event on its way to its deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    id: String,
    event_type: String,
    property_id: Option<String>,
    /// A ping has none.
    entity: Option<Entity>,
    /// The endpoint that it is about.
    about: Option<String>,
    version: i64,
    committed_at: UnixMillis,
    /// The version before it, where that waits too.
    earlier: Option<String>,
}

/// Kind, id and property.
type Entity = (String, String, String);

/// An endpoint that is subscribed.
struct Subscriber {
    id: EndpointId,
    first_wait: i64,
    subscription: Subscription,
    filter: Option<Filter>,
    ordering: DeliveryOrdering,
    /// Whatever is due may be sent to it, unless it asked for a pause.
    is_sent_to: bool,
    /// Events after this place are still to be queued for it; none when it is queued what gets a place.
    behind: Option<i64>,
}

impl Sequenced for FanOut {
    fn sequence(&self) -> Sequence {
        FEED
    }

    fn is_any_waiting(&self) -> String {
        "(EXISTS (SELECT 1 FROM events WHERE feed_seq IS NULL)
             OR EXISTS (SELECT 1 FROM endpoints WHERE deleted_at IS NULL AND subscribed = 1 AND backfill_seq IS NOT NULL))"
            .to_owned()
    }

    fn questions(&self) -> Vec<Statement> {
        vec![
            Statement::query(
                "SELECT id, first_delay_ms, event_types, property_ids, filter, ordering, backfill_seq,
                     CASE WHEN paused = 0 AND disabled_reason IS NULL AND rate_limit IS NULL AND breaker_state = 'closed'
                         THEN 1 ELSE 0 END AS is_sent_to
                 FROM endpoints WHERE deleted_at IS NULL AND subscribed = 1 ORDER BY id",
                vec![],
            ),
            Statement::query(WAITING, params![STEP_ROWS_MAX]),
        ]
    }

    fn is_nothing(&self, answers: &[StatementResult]) -> bool {
        let is_behind = |row: &Row| matches!(row.get::<Option<i64>>("backfill_seq"), Ok(Some(_)));
        answers[1].rows.is_empty() && !answers[0].rows.iter().any(is_behind)
    }

    fn give_places<'t>(
        &'t self,
        tx: &'t mut Tx,
        last: i64,
        answers: &'t [StatementResult],
    ) -> BoxFuture<'t, Result<Given, DbError>> {
        Box::pin(async move {
            let subscribers: Vec<Subscriber> = self.subscribers(&answers[0]);
            let waiting = read_events(&answers[1])?;
            let mut has_more = waiting.len() == STEP_ROWS_MAX;
            let mut events = in_order(with_earlier_versions(tx, waiting).await?);
            let (live, behind): (Vec<_>, Vec<_>) = subscribers.iter().partition(|one| one.behind.is_none());
            let filters = live.iter().any(|one| one.filter.is_some());
            let rows_max = if filters { STEP_BODIES_MAX } else { STEP_ROWS_MAX };
            let most = (STEP_DELIVERIES_MAX / live.len().max(1)).clamp(1, rows_max);
            has_more |= events.len() > most;
            events.truncate(most);
            let candidates: Vec<_> = events.iter().map(Event::candidate).collect();
            let refused = refused(tx, &live, &candidates).await?;
            let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
            let mut claims = StepClaims::new(self.queued.immediate(), &ids);
            let (mut deliveries, mut ordered) = (Vec::new(), ByEndpoint::new());
            for one in live {
                let gets = |event: &usize| one.gets(&events[*event].candidate(), &refused);
                let matching: Vec<usize> = (0..events.len()).filter(gets).collect();
                if matching.is_empty() {
                    continue;
                }
                let claim = one
                    .is_claimed_at_once()
                    .then(|| claims.take(&one.id, matching.iter().copied()))
                    .flatten();
                let claimed = claim.map_or(0, |(claimed, _)| claimed);
                for (n, event) in matching.iter().enumerate() {
                    let claim = claim.filter(|_| n < claimed).map(|(_, request)| request);
                    deliveries.push(one.delivery(&events[*event], claim));
                }
                if claimed < matching.len() {
                    self.queued.add([one.id.clone()]);
                }
                if one.ordering == DeliveryOrdering::Entity {
                    let ids = matching.iter().map(|event| ids[*event]);
                    ordered.insert(one.id.as_str(), ids.collect());
                }
            }
            if is_planted(Bug::PlaceBeforeQueue) {
                static NEXT: Mutex<Vec<Params>> = Mutex::new(Vec::new());
                deliveries = std::mem::replace(
                    &mut *NEXT.lock().unwrap_or_else(PoisonError::into_inner),
                    deliveries,
                );
            }
            let placing = (places(tx.dialect(), &events, last), events.len());
            let existing = claims.existing(tx.dialect());
            let queued_at = usize::from(existing.is_some());
            let mut queuing: Vec<Statement> = existing.into_iter().collect();
            queuing.extend(queue(tx.dialect(), deliveries));
            // Where endpoints go is read as late as can be: with the places, unless more follows them.
            let is_last = ordered.is_empty() && behind.is_empty();
            let questions = claims.questions();
            let asked_at = queuing.len();
            if is_last {
                queuing.extend(questions.iter().cloned());
            }
            let mut answers = FEED.give(tx, placing, queuing, last).await?;
            if !ordered.is_empty() {
                entity_order::enter(tx, &ordered).await?;
            }
            // The one that is nearest to its end: so each comes there, and waits for no longer one.
            has_more |= behind.len() > 1;
            if let Some(one) = behind.into_iter().max_by_key(|one| one.behind) {
                self.queued.add([one.id.clone()]);
                has_more |= backfill(tx, one).await?;
            }
            if !is_last {
                answers.truncate(asked_at);
                answers.extend(tx.run(&questions).await.all()?);
            }
            let claimed = claims.outcome(answers[..queued_at].first(), &answers[asked_at..])?;
            tx.run(&claimed.give_back).await.all()?;
            self.queued.add(claimed.refused.iter().cloned());
            self.claims.set(claimed);
            failpoint::reached("fanout.inside");
            Ok(Given {
                rows: events.len(),
                has_more,
            })
        })
    }

    fn committed(&self) {
        failpoint::reached("fanout.committed");
        self.claims.committed();
        self.queued.committed();
    }

    fn failed(&self) {
        self.claims.failed();
    }

    fn came_to_nothing(&self) {
        self.claims.rolled_back();
    }
}

impl FanOut {
    /// Of a service whose schedule begins with this wait.
    pub fn new(first_wait: Duration) -> Self {
        Self {
            first_wait,
            ..Self::default()
        }
    }

    /// What names the endpoints that something was queued for.
    pub fn queued(&self) -> Queued {
        self.queued.clone()
    }

    /// The endpoints whose rows can be read: they go on without the others. Until one of those can be, nothing is queued for it.
    fn subscribers(&self, answer: &StatementResult) -> Vec<Subscriber> {
        let (mut subscribers, mut unreadable) = (Vec::new(), BTreeMap::new());
        for row in &answer.rows {
            match read_subscriber(row, self.first_wait) {
                Ok(one) => subscribers.push(one),
                Err(error) => {
                    unreadable.insert(row.get("id").unwrap_or_default(), error);
                }
            }
        }
        self.unreadable.log(&unreadable);
        subscribers
    }
}

/// The events in the order of their ids. Of an entity an earlier version of which is not among them, since its id is too high, they
/// are all that wait instead: as many as there is room for, the lowest first. (Ids begin with the time, and clocks of replicas differ.)
async fn with_earlier_versions(tx: &mut Tx, mut waiting: Vec<Event>) -> Result<Vec<Event>, DbError> {
    waiting.sort_by(|one, other| one.id.cmp(&other.id));
    let there: HashSet<&str> = waiting.iter().map(|event| event.id.as_str()).collect();
    let misses_one = |event: &&Event| {
        let earlier = event.earlier.as_deref();
        earlier.is_some_and(|id| !there.contains(id))
    };
    let incomplete = waiting.iter().filter(misses_one);
    let entities: BTreeSet<Entity> = incomplete.filter_map(|event| event.entity.clone()).collect();
    if entities.is_empty() {
        return Ok(waiting);
    }
    let (others, mut events): (Vec<Event>, Vec<Event>) = waiting.into_iter().partition(|event| {
        let entity = event.entity.as_ref();
        entity.is_some_and(|entity| entities.contains(entity))
    });
    let wanted = STEP_ROWS_MAX.saturating_sub(events.len()).max(others.len());
    let mut found: Vec<Event> = Vec::new();
    for (kind, id, property) in &entities {
        if found.len() >= wanted {
            // The others come with a later step.
            break;
        }
        let of_entity = tx
            .query(
                WAITING_OF_ENTITY,
                params![kind, id, property, wanted - found.len()],
            )
            .await?;
        for row in &of_entity {
            found.push(read_event(row)?);
        }
    }
    events.extend(found);
    events.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(events)
}

/// Events in the order of their ids, but the versions of each entity in their own order, on the places that they have together.
fn in_order(events: Vec<Event>) -> Vec<Event> {
    let mut of_entities: HashMap<&Entity, Vec<usize>> = HashMap::new();
    for (place, event) in events.iter().enumerate() {
        if let Some(entity) = &event.entity {
            of_entities.entry(entity).or_default().push(place);
        }
    }
    let mut places: Vec<usize> = (0..events.len()).collect();
    for theirs in of_entities.into_values() {
        let mut by_version = theirs.clone();
        by_version.sort_by_key(|event| events[*event].version);
        for (event, place) in by_version.into_iter().zip(theirs) {
            places[event] = place;
        }
    }
    let mut placed: Vec<(usize, Event)> = places.into_iter().zip(events).collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, event)| event).collect()
}

/// What gives the events their places, but none that has one. On MySQL some of them share a statement, each of which costs more there
/// than its row. The server is to look for them by their ids: by the index of all that have no place it would wait for what others
/// are writing.
fn places(dialect: Dialect, events: &[Event], last: i64) -> Vec<Statement> {
    let placed: Vec<(i64, &Event)> = (last + 1..).zip(events).collect();
    let at_once = match dialect {
        Dialect::Sqlite => 1,
        Dialect::Mysql => PLACES_AT_ONCE,
    };
    let place = |some: &[(i64, &Event)]| {
        if let [(seq, event)] = some {
            let sql = "UPDATE events SET feed_seq = ? WHERE id = ? AND feed_seq IS NULL";
            return Statement::change(sql, params![*seq, &event.id]);
        }
        let list = InList::of(some.iter().map(|(_, event)| event.id.as_str()));
        let cases = " WHEN ? THEN ?".repeat(some.len());
        let sql = format!(
            "UPDATE events FORCE INDEX (PRIMARY) SET feed_seq = CASE id{cases} END WHERE id IN {list} AND feed_seq IS NULL"
        );
        let values = some.iter().flat_map(|(seq, event)| params![&event.id, *seq]);
        Statement::change(sql, list.after(values.collect()))
    };
    placed.chunks(at_once).map(place).collect()
}

/// What makes deliveries, but for those that are there: a program of before this one made them with the event.
fn queue(dialect: Dialect, deliveries: impl IntoIterator<Item = Params>) -> Option<Statement> {
    let columns = [
        "endpoint_id",
        "event_id",
        "due_at",
        "due_set_at",
        "owner",
        "lease_until",
        "epoch",
    ];
    let rows = deliveries.into_iter().flatten().collect();
    Statement::rows("deliveries", &columns, &dialect.skip_existing("event_id"), rows)
}

impl Subscriber {
    /// Whether an event is for it: by its type and property, and by what filters have refused.
    fn gets(&self, event: &Candidate<'_>, refused: &Refused) -> bool {
        let is_refused = || {
            let refused = refused.get(self.id.as_str());
            refused.is_some_and(|refused| refused.contains(event.id))
        };
        self.subscription.matches(self.id.as_str(), event.facts) && !is_refused()
    }

    /// Whether an event may be claimed as it is queued. In an order, what waits is not due yet.
    fn is_claimed_at_once(&self) -> bool {
        self.is_sent_to && self.first_wait == 0 && self.ordering != DeliveryOrdering::Entity
    }

    /// The row of an event for it. A first attempt that is not delayed is due at 0: at once, whatever the clock says by then.
    fn delivery(&self, event: &Event, claim: Option<&ClaimRequest>) -> Params {
        let (due_at, set_at) = match self.first_wait {
            0 => (0, 0),
            wait => (event.committed_at.plus_millis(wait).0, event.committed_at.0),
        };
        let mut row = params![self.id.as_str(), &event.id, due_at, set_at];
        row.extend(match claim {
            Some(claim) => params![
                &claim.token,
                claim.now.plus_millis(millis(claim.lease)),
                FIRST_EPOCH
            ],
            None => params![None::<&str>, 0, 0],
        });
        row
    }
}

impl Event {
    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            id: &self.id,
            facts: EventFacts {
                event_type: &self.event_type,
                about: self.about.as_deref(),
                property_id: self.property_id.as_deref(),
            },
        }
    }
}

/// Queues the next events for an endpoint that is behind, at once, for they have waited; whether there may be more. No place is
/// given meanwhile, so behind the last one there is nothing: what comes then is queued as it gets its place.
async fn backfill(tx: &mut Tx, endpoint: &Subscriber) -> Result<bool, DbError> {
    let sql = "SELECT id, feed_seq, type, property_id, entity_kind, entity_id FROM events
         WHERE feed_seq > ? ORDER BY feed_seq LIMIT ?";
    let rows = tx.query(sql, params![endpoint.behind, BACKFILL_BATCH]).await?;
    let events = rows.iter().map(read_placed);
    let events: Vec<Event> = events.collect::<Result<_, _>>()?;
    let candidates: Vec<Candidate<'_>> = events.iter().map(Event::candidate).collect();
    let refused = refused(tx, &[endpoint], &candidates).await?;
    let matching = candidates.iter().filter(|event| endpoint.gets(event, &refused));
    let ids = with_body(tx, matching.map(|event| event.id)).await?;
    let deliveries: Vec<Params> = ids
        .iter()
        .map(|id| params![endpoint.id.as_str(), *id, 0, 0, None::<&str>, 0, 0])
        .collect();
    let has_more = rows.len() == BACKFILL_BATCH;
    let last: Option<i64> = rows.last().map(|row| row.get("feed_seq")).transpose()?;
    // Deliveries before their endpoint, as a settlement locks them.
    let mut statements: Vec<_> = queue(tx.dialect(), deliveries).into_iter().collect();
    statements.push(Statement::change(
        "UPDATE endpoints SET backfill_seq = ? WHERE id = ?",
        params![last.filter(|_| has_more), endpoint.id.as_str()],
    ));
    tx.run(&statements).await.all()?;
    if endpoint.ordering == DeliveryOrdering::Entity {
        entity_order::enter(tx, &ByEndpoint::from([(endpoint.id.as_str(), ids)])).await?;
    }
    Ok(has_more)
}

/// Those of the events whose bodies are still kept, in their order: others cannot be sent. Locked, so that none is purged before the
/// commit: a purge that comes later finds the deliveries.
async fn with_body<'e>(tx: &mut Tx, events: impl Iterator<Item = &'e str>) -> Result<Vec<&'e str>, DbError> {
    let events: Vec<&str> = events.collect();
    let lock = tx.dialect().in_share_mode();
    let questions: Vec<Statement> = in_lists(events.iter().copied())
        .into_iter()
        .map(|list| {
            let sql = format!("SELECT event_id FROM event_bodies WHERE event_id IN {list}{lock}");
            Statement::query(sql, list.into_params())
        })
        .collect();
    let answers = tx.run(&questions).await.all()?;
    let mut kept = HashSet::new();
    for row in answers.iter().flat_map(|answer| &answer.rows) {
        kept.insert(row.get::<String>("event_id")?);
    }
    Ok(events.into_iter().filter(|event| kept.contains(*event)).collect())
}

fn read_subscriber(row: &Row, of_service: Duration) -> Result<Subscriber, DbError> {
    let (types, properties): (String, String) = (row.get("event_types")?, row.get("property_ids")?);
    let filter: Option<String> = row.get("filter")?;
    let filter = filter.map(|text| serde_json::from_str(&text)).transpose();
    Ok(Subscriber {
        filter: filter.map_err(|_| DbError::unreadable("filter"))?,
        id: read_id(row, "id")?,
        first_wait: match row.get("first_delay_ms")? {
            FIRST_WAIT_OF_SERVICE => millis(of_service),
            wait => wait,
        },
        ordering: read_id(row, "ordering")?,
        is_sent_to: row.get("is_sent_to")?,
        subscription: Subscription::read(&types, &properties)
            .map_err(|_| DbError::unreadable("property_ids"))?,
        behind: row.get("backfill_seq")?,
    })
}

fn read_events(answer: &StatementResult) -> Result<Vec<Event>, DbError> {
    answer.rows.iter().map(read_event).collect()
}

fn read_event(row: &Row) -> Result<Event, DbError> {
    Ok(Event {
        version: row.get::<Option<i64>>("entity_version")?.unwrap_or(0),
        committed_at: row.get("committed_at")?,
        earlier: match row.get::<Option<i64>>("earlier_seq")? {
            Some(_) => None,
            None => row.get("earlier_id")?,
        },
        ..read_placed(row)?
    })
}

/// One that has its place: its version and its time say nothing more.
fn read_placed(row: &Row) -> Result<Event, DbError> {
    let kind: Option<String> = row.get("entity_kind")?;
    let (id, property_id): (Option<String>, Option<String>) =
        (row.get("entity_id")?, row.get("property_id")?);
    let about = id.clone().filter(|_| kind.as_deref() == Some(WEBHOOK));
    let entity = match (kind, id, &property_id) {
        (Some(kind), Some(id), Some(property)) => Some((kind, id, property.clone())),
        _ => None,
    };
    Ok(Event {
        id: row.get("id")?,
        event_type: row.get("type")?,
        property_id,
        entity,
        about,
        version: 0,
        committed_at: UnixMillis(0),
        earlier: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, entity: Option<&str>, version: i64) -> Event {
        Event {
            id: id.to_owned(),
            event_type: "guest.updated".to_owned(),
            property_id: None,
            entity: entity.map(|id| ("guest".to_owned(), id.to_owned(), "MAIN".to_owned())),
            version,
            committed_at: UnixMillis(0),
            about: None,
            earlier: None,
        }
    }

    #[test]
    fn versions_share_the_places_of_their_entity_and_nobody_elses() {
        let events = vec![
            event("1", Some("a"), 3),
            event("2", Some("b"), 1),
            event("3", None, 0),
            event("4", Some("a"), 1),
            event("5", Some("b"), 2),
            event("6", Some("a"), 2),
        ];
        let ids: Vec<String> = in_order(events).into_iter().map(|event| event.id).collect();
        assert_eq!(ids, ["4", "2", "3", "6", "5", "1"]);
    }
}
