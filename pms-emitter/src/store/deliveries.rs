//! Deliveries as people look for them: pages of a list, the newest event first, and one with all its attempts.
//!
//! The table has no index by time, which every delivery would pay for. A page goes back through the feed instead, and finds what was
//! delivered of the next events by their ids; the few that are in a rare status are found by the index of what is due. Either way it
//! looks at a bounded number of rows, and a page that ended there has a place to go on from.

use super::{Store, entity_order, fan_out::FEED, webhooks::place_before};
use crate::domain::{delivery::DeliveryStatus, subscription::TypePattern};
use api::{ListQuery, Position, list::SortKey};
use contract::{
    Scope, UnixMillis,
    id::{EndpointId, IdempotencyKey},
};
use db::{DbError, IN_LIST_MAX, Row, Statement, Tx, in_lists, params, read_id};
use kit::listing::Index;
use std::collections::HashMap;
use std::sync::Arc;

/// Attempts of a delivery that are shown at most, the newest: a schedule has 50, and each retry by hand begins it again.
const ATTEMPTS_SHOWN_MAX: usize = 200;
/// Events whose deliveries one step of a page asks for: the first, and how much more each later one does.
const FIRST_STEP: usize = 16;
const STEP_FACTOR: usize = 4;
/// How far the clocks of replicas may be apart: events are in the order of their places, and their times nearly so.
pub(super) const CLOCKS_APART_MS: i64 = 10 * 60 * 1_000;
/// The id in a position behind which there is no more delivery of that event: none of an endpoint is before it.
const NO_MORE: &str = "-";

const CANDIDATE: &str = "endpoint_id, event_id, status, attempts, last_status";
const OF_EVENT: &str =
    "id, feed_seq, type, property_id, entity_kind, entity_id, entity_version, committed_at FROM events";

/// What a delivery must be to be in a list. Absent: anything.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// To which endpoint.
    pub endpoint: Option<EndpointId>,
    /// How it stands.
    pub status: Option<DeliveryStatus>,
    /// Of which type its event is.
    pub event_type: Option<TypePattern>,
    /// The status of the last answer.
    pub code: Option<u16>,
    /// Its event was committed then or later.
    pub from: Option<UnixMillis>,
    /// Its event was committed before.
    pub to: Option<UnixMillis>,
    /// Whether an attempt at it must have been settled.
    pub attempted: bool,
    /// Who asks: deliveries belong to their endpoint, so all of its properties must be seen.
    pub scope: Scope,
}

/// An event on its way to an endpoint, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The event.
    pub event: DeliveredEvent,
    /// To which endpoint.
    pub endpoint: EndpointId,
    /// How it stands.
    pub status: DeliveryStatus,
    /// Attempts that were settled.
    pub attempts: u64,
    /// The status of the last answer.
    pub last_status: Option<u16>,
    /// What went wrong last, cut and escaped.
    pub last_error: Option<String>,
    /// When the next attempt is due, where there is one; 0: at once; none while it waits for another of its entity.
    pub due_at: Option<UnixMillis>,
    /// When it was delivered, died, or was cancelled.
    pub settled_at: Option<UnixMillis>,
}

/// What of an event is shown with its deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveredEvent {
    /// Its id.
    pub id: IdempotencyKey,
    /// Its place in the feed.
    pub feed_seq: i64,
    /// Its type.
    pub event_type: String,
    /// Its property.
    pub property_id: Option<String>,
    /// The kind, the id and the version of what it is about.
    pub entity: Option<(String, String, Option<i64>)>,
    /// When it was committed.
    pub committed_at: UnixMillis,
}

/// An attempt that was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// From 1, over the delivery's whole life.
    pub number: u64,
    /// When it began.
    pub at: UnixMillis,
    /// How long it took.
    pub duration_ms: u64,
    /// The status, when an answer came.
    pub status: Option<u16>,
    /// Why none came.
    pub error: Option<String>,
    /// The beginning of an answer that is no 2xx, escaped.
    pub answer: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, Default)]
pub struct DeliveryPage {
    /// The newest event first; of one event by endpoint, the last id first.
    pub rows: Vec<DeliveryRow>,
    /// Where the next page begins, if there may be one.
    pub next_page_after: Option<Position>,
}

/// What a page is looked for by.
struct Search {
    filter: DeliveryFilter,
    /// Only what is behind it: a place, and an endpoint's id.
    after: Option<(i64, String)>,
    limit: usize,
    rows_max: usize,
}

/// A delivery that was looked at, by its key.
struct Candidate {
    event_id: String,
    endpoint: EndpointId,
    status: String,
    attempts: u64,
    last_status: Option<u16>,
}

/// A delivery that fits, and its event.
type Fitting = (DeliveredEvent, EndpointId);

impl Store {
    /// A page of deliveries.
    ///
    /// # Errors
    /// Those of the database; `Unavailable` when too many lists are being read.
    pub async fn deliveries(
        &self,
        filter: DeliveryFilter,
        query: &ListQuery,
    ) -> Result<DeliveryPage, DbError> {
        let after = query.after.as_ref().map(|after| match after.key {
            SortKey::Int(place) => (place, after.id.clone()),
            SortKey::Text(_) => (0, after.id.clone()),
        });
        let search = Arc::new(Search {
            filter,
            after,
            limit: usize::try_from(query.limit).unwrap_or(usize::MAX),
            rows_max: self.lists.rows_looked_at_max(),
        });
        self.lists
            .read("deliveries", move |tx| {
                let search = Arc::clone(&search);
                Box::pin(async move { search.page(tx).await })
            })
            .await
    }

    /// The first of the deliveries that an attempt was made at, the newest event first, each with how long its last attempt took.
    ///
    /// # Errors
    /// Those of the database; `Unavailable` when too many lists are being read.
    pub async fn attempted_deliveries(
        &self,
        endpoint: Option<EndpointId>,
        scope: Scope,
        count: usize,
    ) -> Result<Vec<(DeliveryRow, Option<u64>)>, DbError> {
        let filter = DeliveryFilter {
            endpoint,
            attempted: true,
            scope,
            ..DeliveryFilter::default()
        };
        let search = Arc::new(Search {
            filter,
            after: None,
            limit: count,
            rows_max: self.lists.rows_looked_at_max(),
        });
        self.lists
            .read("attempted_deliveries", move |tx| {
                let search = Arc::clone(&search);
                Box::pin(async move {
                    let rows = search.page(tx).await?.rows;
                    with_durations(tx, rows).await
                })
            })
            .await
    }

    /// One delivery, with its attempts in their order, the newest 200 at most.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delivery(
        &self,
        endpoint: &EndpointId,
        event: &IdempotencyKey,
    ) -> Result<Option<(DeliveryRow, Vec<DeliveryAttempt>)>, DbError> {
        let (endpoint, event) = (endpoint.clone(), event.clone());
        self.reads
            .read("delivery", move |tx| {
                let (endpoint, event) = (endpoint.clone(), event.clone());
                Box::pin(async move {
                    let sql = format!("SELECT {OF_EVENT} WHERE id = ?");
                    let Some(row) = tx.query_one(&sql, params![event.as_str()]).await? else {
                        return Ok(None);
                    };
                    let rows = with_deliveries(tx, vec![(read_event(&row)?, endpoint.clone())]).await?;
                    let Some(delivery) = rows.into_iter().next() else {
                        return Ok(None);
                    };
                    let attempts = attempts(tx, &endpoint, &event).await?;
                    Ok(Some((delivery, attempts)))
                })
            })
            .await
    }

    /// Which properties an endpoint gets events of, also one that was deleted: its deliveries stay.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn scope_of_endpoint(&self, id: &EndpointId) -> Result<Option<Scope>, DbError> {
        let id = id.clone();
        self.reads
            .read("scope_of_endpoint", move |tx| {
                let id = id.clone();
                Box::pin(async move {
                    let sql = "SELECT property_ids FROM endpoints WHERE id = ?";
                    let row = tx.query_one(sql, params![id.as_str()]).await?;
                    row.as_ref().map(read_scope).transpose()
                })
            })
            .await
    }
}

impl Search {
    async fn page(&self, tx: &mut Tx) -> Result<DeliveryPage, DbError> {
        let head = FEED.last_place(tx).await?;
        let before = |instant: Option<UnixMillis>, apart| instant.map(|instant| instant.plus_millis(apart));
        let low = match before(self.filter.from, -CLOCKS_APART_MS) {
            Some(instant) => place_before(tx, instant, head).await?,
            None => 0,
        };
        let high = match before(self.filter.to, CLOCKS_APART_MS) {
            Some(instant) => place_before(tx, instant, head).await?,
            None => head,
        };
        if let Some(few) = self.few(tx).await? {
            return self.of_few(tx, few).await;
        }
        self.walk(tx, low, high).await
    }

    /// All that are in a rare status, if they are few.
    async fn few(&self, tx: &mut Tx) -> Result<Option<Vec<Candidate>>, DbError> {
        let Some(status) = self
            .filter
            .status
            .filter(|status| *status != DeliveryStatus::Delivered)
        else {
            return Ok(None);
        };
        let index = Index::Named("deliveries_due").hint(tx.dialect());
        let (sql, mut values) = if let Some(endpoint) = &self.filter.endpoint {
            let sql = format!(
                "SELECT {CANDIDATE} FROM deliveries{index} WHERE endpoint_id = ? AND status = ? LIMIT ?"
            );
            (sql, params![endpoint.as_str()])
        } else {
            let endpoints = "SELECT id FROM endpoints LIMIT ?";
            if tx.query(endpoints, params![self.rows_max + 1]).await?.len() > self.rows_max {
                return Ok(None);
            }
            let join = tx.dialect().join_in_order();
            let sql = format!(
                "SELECT {CANDIDATE} FROM endpoints {join} deliveries{index}
                     ON endpoint_id = endpoints.id AND status = ? LIMIT ?"
            );
            (sql, params![])
        };
        values.extend(params![status.as_str(), self.rows_max + 1]);
        let rows = tx.query(&sql, values).await?;
        if rows.len() > self.rows_max {
            return Ok(None);
        }
        rows.iter()
            .map(read_candidate)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    async fn of_few(&self, tx: &mut Tx, few: Vec<Candidate>) -> Result<DeliveryPage, DbError> {
        let lists = in_lists(few.iter().map(|one| &one.event_id));
        let questions: Vec<_> = lists
            .into_iter()
            .map(|list| {
                let sql = format!("SELECT {OF_EVENT} WHERE id IN {list}");
                Statement::query(sql, list.into_params())
            })
            .collect();
        let answers = tx.run(&questions).await.all()?;
        let mut events = HashMap::new();
        for row in answers.iter().flat_map(|answer| &answer.rows) {
            let is_placed = row.get::<Option<i64>>("feed_seq")?.is_some();
            let event = if is_placed { Some(read_event(row)?) } else { None };
            if let Some(event) = event.filter(|event| self.fits_event(event)) {
                events.insert(event.id.as_str().to_owned(), event);
            }
        }
        let mut found = self.fitting(tx, &few, &events, &mut HashMap::new()).await?;
        sort(&mut found);
        self.answer(tx, found, None).await
    }

    /// Goes back through the feed from a place, down to another, until the page is full or enough was looked at.
    async fn walk(&self, tx: &mut Tx, low: i64, high: i64) -> Result<DeliveryPage, DbError> {
        let begin = |(place, endpoint): &(i64, String)| (place - i64::from(endpoint == NO_MORE)).min(high);
        let mut at = self.after.as_ref().map_or(high, begin);
        let (mut left, mut step) = (self.rows_max, FIRST_STEP);
        let (mut found, mut scopes) = (Vec::new(), HashMap::new());
        while at > low && found.len() <= self.limit {
            if left == 0 {
                let next = Position::int(at + 1, NO_MORE);
                return self.answer(tx, found, Some(next)).await;
            }
            let sql = format!(
                "SELECT {OF_EVENT} WHERE feed_seq > ? AND feed_seq <= ? ORDER BY feed_seq DESC LIMIT ?"
            );
            let wanted = step.min(left).min(IN_LIST_MAX);
            let rows = tx.query(&sql, params![low, at, wanted]).await?;
            let events = rows.iter().map(read_event).collect::<Result<Vec<_>, _>>()?;
            let Some(last) = events.last().map(|event| event.feed_seq) else {
                break;
            };
            let fitting: HashMap<_, _> = events
                .iter()
                .filter(|event| self.fits_event(event))
                .map(|event| (event.id.as_str().to_owned(), event.clone()))
                .collect();
            let candidates = self.candidates(tx, &fitting, left).await?;
            // A page looks at one event in any case, or it would never go on.
            if candidates.len() > left && events.len() > 1 {
                step = (events.len() / STEP_FACTOR).max(1);
                if left < self.rows_max && step == 1 {
                    left = 0;
                }
                continue;
            }
            let mut of_step = self.fitting(tx, &candidates, &fitting, &mut scopes).await?;
            sort(&mut of_step);
            found.extend(of_step);
            left = left.saturating_sub(events.len().max(candidates.len()));
            step = step.saturating_mul(STEP_FACTOR);
            at = last - 1;
        }
        self.answer(tx, found, None).await
    }

    /// What was queued of these events, one more than `most`.
    async fn candidates(
        &self,
        tx: &mut Tx,
        events: &HashMap<String, DeliveredEvent>,
        most: usize,
    ) -> Result<Vec<Candidate>, DbError> {
        let Some(list) = in_lists(events.keys()).pop() else {
            return Ok(Vec::new());
        };
        let (sql, mut values) = if let Some(endpoint) = &self.filter.endpoint {
            let sql = format!(
                "SELECT {CANDIDATE} FROM deliveries WHERE endpoint_id = ? AND event_id IN {list} LIMIT ?"
            );
            (sql, list.after(params![endpoint.as_str()]))
        } else {
            let index = Index::Named("deliveries_event").hint(tx.dialect());
            let sql = format!("SELECT {CANDIDATE} FROM deliveries{index} WHERE event_id IN {list} LIMIT ?");
            (sql, list.into_params())
        };
        values.push((most + 1).into());
        let rows = tx.query(&sql, values).await?;
        rows.iter().map(read_candidate).collect()
    }

    /// Those that fit, in no order. `scopes` is what is known of endpoints.
    async fn fitting(
        &self,
        tx: &mut Tx,
        candidates: &[Candidate],
        events: &HashMap<String, DeliveredEvent>,
        scopes: &mut HashMap<EndpointId, bool>,
    ) -> Result<Vec<Fitting>, DbError> {
        let filter = &self.filter;
        let mut found = Vec::new();
        for one in candidates {
            let Some(event) = events.get(&one.event_id) else {
                continue;
            };
            let is_behind = self.after.as_ref().is_none_or(|(place, endpoint)| {
                (event.feed_seq, one.endpoint.as_str()) < (*place, endpoint.as_str())
            });
            let fits = is_behind
                && filter.status.is_none_or(|status| status.as_str() == one.status)
                && (!filter.attempted || one.attempts > 0)
                && filter.code.is_none_or(|code| one.last_status == Some(code));
            if fits {
                found.push((event.clone(), one.endpoint.clone()));
            }
        }
        if filter.scope != Scope::All {
            let unknown = found.iter().map(|(_, endpoint)| endpoint);
            let mut unknown: Vec<_> = unknown
                .filter(|one| !scopes.contains_key(*one))
                .cloned()
                .collect();
            unknown.sort();
            unknown.dedup();
            for list in in_lists(unknown.iter().map(EndpointId::as_str)) {
                let sql = format!("SELECT id, property_ids FROM endpoints WHERE id IN {list}");
                for row in &tx.query(&sql, list.into_params()).await? {
                    scopes.insert(read_id(row, "id")?, filter.scope.covers(&read_scope(row)?));
                }
            }
            found.retain(|(_, endpoint)| scopes.get(endpoint) == Some(&true));
        }
        Ok(found)
    }

    fn fits_event(&self, event: &DeliveredEvent) -> bool {
        let filter = &self.filter;
        filter
            .event_type
            .as_ref()
            .is_none_or(|pattern| pattern.matches(&event.event_type))
            && filter.from.is_none_or(|from| event.committed_at >= from)
            && filter.to.is_none_or(|to| event.committed_at < to)
    }

    /// The page of what was found, or its beginning. `further`: where the next one begins, when enough was looked at.
    async fn answer(
        &self,
        tx: &mut Tx,
        mut found: Vec<Fitting>,
        further: Option<Position>,
    ) -> Result<DeliveryPage, DbError> {
        let has_more = found.len() > self.limit;
        found.truncate(self.limit);
        let last = found.last().filter(|_| has_more);
        let last = last.map(|(event, endpoint)| Position::int(event.feed_seq, endpoint.to_string()));
        Ok(DeliveryPage {
            rows: with_deliveries(tx, found).await?,
            next_page_after: last.or(further),
        })
    }
}

/// The newest first.
fn sort(found: &mut [Fitting]) {
    found.sort_by(|(one, one_to), (other, other_to)| (other.feed_seq, other_to).cmp(&(one.feed_seq, one_to)));
}

/// The deliveries of these events to these endpoints.
async fn with_deliveries(tx: &mut Tx, found: Vec<Fitting>) -> Result<Vec<DeliveryRow>, DbError> {
    let sql = "SELECT status, attempts, last_status, last_error, due_at, settled_at FROM deliveries
         WHERE endpoint_id = ? AND event_id = ?";
    let questions: Vec<_> = found
        .iter()
        .map(|(event, endpoint)| Statement::query(sql, params![endpoint.as_str(), event.id.as_str()]))
        .collect();
    let answers = tx.run(&questions).await.all()?;
    let mut rows = Vec::with_capacity(found.len());
    for ((event, endpoint), answer) in found.into_iter().zip(&answers) {
        let Some(row) = answer.row() else { continue };
        rows.push(DeliveryRow {
            event,
            endpoint,
            status: read_id(row, "status")?,
            attempts: row.get("attempts")?,
            last_status: row.get("last_status")?,
            last_error: row.get("last_error")?,
            due_at: Some(row.get("due_at")?).filter(|at| *at != UnixMillis(entity_order::NEVER)),
            settled_at: row.get("settled_at")?,
        });
    }
    Ok(rows)
}

async fn with_durations(
    tx: &mut Tx,
    rows: Vec<DeliveryRow>,
) -> Result<Vec<(DeliveryRow, Option<u64>)>, DbError> {
    let sql = "SELECT duration_ms FROM delivery_attempts WHERE endpoint_id = ? AND event_id = ?
         ORDER BY number DESC LIMIT 1";
    let key = |row: &DeliveryRow| params![row.endpoint.as_str(), row.event.id.as_str()];
    let questions: Vec<_> = rows.iter().map(|row| Statement::query(sql, key(row))).collect();
    let answers = tx.run(&questions).await.all()?;
    let durations = answers
        .iter()
        .map(|answer| answer.row().map(|row| row.get("duration_ms")).transpose());
    rows.into_iter()
        .zip(durations)
        .map(|(row, duration)| Ok((row, duration?)))
        .collect()
}

async fn attempts(
    tx: &mut Tx,
    endpoint: &EndpointId,
    event: &IdempotencyKey,
) -> Result<Vec<DeliveryAttempt>, DbError> {
    let sql = "SELECT number, at, duration_ms, status, error, answer FROM delivery_attempts
         WHERE endpoint_id = ? AND event_id = ? ORDER BY number DESC LIMIT ?";
    let values = params![endpoint.as_str(), event.as_str(), ATTEMPTS_SHOWN_MAX];
    let rows = tx.query(sql, values).await?;
    let attempts = rows.iter().rev().map(|row| {
        Ok(DeliveryAttempt {
            number: row.get("number")?,
            at: row.get("at")?,
            duration_ms: row.get("duration_ms")?,
            status: row.get("status")?,
            error: row.get("error")?,
            answer: row.get("answer")?,
        })
    });
    attempts.collect()
}

fn read_candidate(row: &Row) -> Result<Candidate, DbError> {
    Ok(Candidate {
        event_id: row.get("event_id")?,
        endpoint: read_id(row, "endpoint_id")?,
        status: row.get("status")?,
        attempts: row.get("attempts")?,
        last_status: row.get("last_status")?,
    })
}

/// Of a row of an event that has its place, as each has whose deliveries are made.
fn read_event(row: &Row) -> Result<DeliveredEvent, DbError> {
    let kind: Option<String> = row.get("entity_kind")?;
    let id: Option<String> = row.get("entity_id")?;
    let version = row.get("entity_version")?;
    Ok(DeliveredEvent {
        id: read_id(row, "id")?,
        feed_seq: row.get::<Option<i64>>("feed_seq")?.unwrap_or_default(),
        event_type: row.get("type")?,
        property_id: row.get("property_id")?,
        entity: kind.zip(id).map(|(kind, id)| (kind, id, version)),
        committed_at: row.get("committed_at")?,
    })
}

fn read_scope(row: &Row) -> Result<Scope, DbError> {
    Scope::read_names(&row.get::<String>("property_ids")?).map_err(|_| DbError::unreadable("property_ids"))
}
