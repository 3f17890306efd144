//! `/events`: the feed, page by page or waiting for what comes next, and one event of it.

use super::{Api, caller_places::CallerPlaces};
use crate::store::{FeedQuery, FeedRead, Store};
use api::{AnswerBudget, Request, Response, list::parse_parameters, reply};
use contract::{
    Problem, ProblemCode,
    feed::{FEED_EVENT_BYTES_MAX, FEED_PAGE_EVENTS_MAX, FEED_WAIT_SECONDS_MAX, FeedPage},
};
use http::StatusCode;
use kit::database_problem;
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

/// Callers of one process that wait for events at a time.
pub const WAITERS_MAX: usize = 100;
/// Those of one API key, so that the others have a place.
pub const WAITERS_OF_ONE_MAX: usize = 10;
/// The `Retry-After` when every place is taken.
const RETRY_AFTER_SECONDS: u32 = 10;
/// The pause after a wake-up by an event that the caller does not see.
const REST: Duration = Duration::from_millis(100);
/// How far the nodes of a database may be apart, and how often to look whether ours has come as far.
const NODES_AGREE_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

const AFTER: &str = "after";
const MARK: &str = "mark";
const LIMIT: &str = "limit";
const WAIT: &str = "wait";
const BODIES: &str = "bodies";

/// What waits for the next events. Clones share the places.
#[derive(Clone)]
pub struct FeedWaiters {
    /// The last place that was given. It ends at a stop, and so does every wait.
    given: watch::Receiver<i64>,
    places: CallerPlaces,
}

/// `GET /events`
pub async fn list(api: Api, request: Request) -> Result<Response, Problem> {
    let (mut query, wait) = read(&request)?;
    let mut given = api.feed.given.clone();
    let until = Instant::now() + wait;
    let mut place = None;
    loop {
        // What is given from here on ends the wait below.
        given.borrow_and_update();
        let (page, bytes) = find(&api.desk.store, &query).await?;
        let is_over = wait.is_zero() || Instant::now() >= until || given.has_changed().is_err();
        if !page.data.is_empty() || page.has_more || is_over {
            return answer(&api.desk.store, &request.answers, query.bodies, page, bytes).await;
        }
        // What the caller does not see is not looked at again.
        (query.after, query.mark) = (page.next_after, page.next_mark);
        if place.is_some() {
            sleep(REST).await;
        } else {
            place = Some(api.feed.places.take(&request.caller.id).ok_or_else(crowded)?);
        }
        // It ended, or its sender did: both are seen above.
        let _ = timeout_at(until, given.changed()).await;
    }
}

/// `GET /events/{id}`
pub async fn show(api: Api, request: Request) -> Result<Response, Problem> {
    let found = api
        .desk
        .store
        .feed_event(&request.id("id")?, &request.caller.scope)
        .await;
    let event = found
        .map_err(database_problem)?
        .ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    Ok(reply::ok(&event))
}

fn read(request: &Request) -> Result<(FeedQuery, Duration), Problem> {
    let mut query = FeedQuery {
        after: 0,
        mark: None,
        limit: FEED_PAGE_EVENTS_MAX,
        bodies: true,
        scope: request.caller.scope.clone(),
    };
    let mut wait = Duration::ZERO;
    for (name, value) in parse_parameters(&[AFTER, MARK, LIMIT, WAIT, BODIES], request.query())? {
        let number = |from: u32, to: u32| {
            let number = value.parse().ok().filter(|number| (from..=to).contains(number));
            number.ok_or_else(|| refused(format!("{name} must be {from} to {to}")))
        };
        match name {
            AFTER => {
                let place = value.parse().ok().filter(|place| *place >= 0);
                query.after = place.ok_or_else(|| refused(format!("{name} must be a place of the feed")))?;
            }
            MARK => query.mark = Some(value),
            LIMIT => query.limit = number(1, FEED_PAGE_EVENTS_MAX)?,
            WAIT => wait = Duration::from_secs(number(0, FEED_WAIT_SECONDS_MAX)?.into()),
            _ => {
                let bodies = value.parse();
                query.bodies = bodies.map_err(|_| refused(format!("{name} must be true or false")))?;
            }
        }
    }
    Ok((query, wait))
}

fn refused(detail: String) -> Problem {
    Problem::new(ProblemCode::InvalidQuery).with_detail(detail)
}

fn crowded() -> Problem {
    let detail = format!("{WAITERS_MAX} callers wait for events, or {WAITERS_OF_ONE_MAX} of yours");
    Problem::new(ProblemCode::Overloaded)
        .with_detail(detail)
        .with_retry_after(RETRY_AFTER_SECONDS)
}

/// The next page, and how many bytes its bodies have. A place that is not given yet may be so on another node of the database.
async fn find(store: &Store, query: &FeedQuery) -> Result<(FeedPage, usize), Problem> {
    let until = Instant::now() + NODES_AGREE_WITHIN;
    loop {
        let read = store.feed(query.clone()).await.map_err(database_problem)?;
        match read {
            FeedRead::Page(page, bytes) => return Ok((page, bytes)),
            FeedRead::Ahead if Instant::now() < until => sleep(LOOK_AGAIN).await,
            FeedRead::Ahead | FeedRead::Replaced => {
                let detail = "another event has this place: the database was restored from a backup, so begin again at 0, or at \
                              a place from before that backup";
                return Err(Problem::new(ProblemCode::PositionGone).with_detail(detail));
            }
        }
    }
}

async fn answer(
    store: &Store,
    answers: &AnswerBudget,
    bodies: bool,
    mut page: FeedPage,
    bytes: usize,
) -> Result<Response, Problem> {
    let reservation = answers.reserve();
    // A body is in memory as it is, and once more with its quotes escaped.
    reservation.grow(3 * bytes + FEED_EVENT_BYTES_MAX * (page.data.len() + 1))?;
    if bodies {
        page = store.feed_bodies(page).await.map_err(database_problem)?;
    }
    let text = serde_json::to_vec(&page).expect("a page is plain data with string keys");
    drop(page);
    let response = reply::bytes_of(StatusCode::OK, "application/json", text);
    Ok(reservation.with(response))
}

impl FeedWaiters {
    /// Waiters for what gets a place. They end when the sender does.
    pub fn new(given: watch::Receiver<i64>) -> Self {
        Self {
            given,
            places: CallerPlaces::new(WAITERS_MAX, WAITERS_OF_ONE_MAX),
        }
    }
}
