//! R46: filters that match nothing, requested repeatedly during single reads and accepts.

use super::{Attacked, Target, send};
use crate::desk::Desk;
use crate::events::Events;
use crate::generator::{Load, Measured, Pace, Speaker, Speakers};
use crate::lives::BodyStyle;
use crate::options::Options;
use crate::pool::Pool;
use crate::service::Service;
use crate::template::SOURCE;
use crate::watch::cpu_seconds;
use anyhow::{Result, ensure};
use contract::clock::Clock;
use futures::{StreamExt, TryStreamExt, stream};
use harness::books::texts;
use harness::config::BASE_PATH;
use harness::database::{DELIVERIES_PENDING, EVENTS_ACCEPTED};
use kit::random::SystemClock;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// Clients that ask for nothing but the filters.
const CLIENTS: usize = 12;
/// Single reads a second, and as many accepts.
const GOOD_RATE: f64 = 200.0;
/// Connections of each.
const GOOD_CONNECTIONS: usize = 32;
/// Connections that put the rows there.
const FILL_CONNECTIONS: usize = 128;
/// Events that are signed at once for that.
const FILL_EVENTS: u64 = 50_000;
/// Rows of the emitter for each row of the receiver, as one in so many: a write costs more than an accept.
const EMITTER_SHARE: u64 = 10;
/// For each slice of them.
const FILL_WITHIN: Duration = Duration::from_secs(600);
/// How much longer the 99th percentile may be beside the attack: so many times, or so many milliseconds.
const SLOWER_MAX: f64 = 2.0;
const P99_MS: f64 = 10.0;
/// Of a hundred requests, those that must be answered 2xx.
const ANSWERED_MIN: u64 = 99;

/// Of the receiver, all in vain: with an index, without one, and with one that finds much.
const RECEIVER_FILTERS: [&str; 10] = [
    "/events?type=no.such.type",
    "/events?correlation_id=req_none",
    "/events?property_id=NONE1",
    "/events?status=applied&type=no.such.type",
    "/events?property_id=LIS01&correlation_id=req_none",
    "/events?source=pms&type=no.such.type&sort=received_at",
    "/events?status=suppressed",
    "/guest-profiles?property_id=NONE1",
    "/guest-profiles?status=merged&sort=name",
    "/guest-profiles?name=zzzzzz&country=AQ",
];
/// Of the emitter.
const EMITTER_FILTERS: [&str; 10] = [
    "/guests?email=nobody@nowhere.example",
    "/guests?phone=%2B351210000000",
    "/guests?last_name=zzzzzz",
    "/guests?vip_level=9",
    "/guests?blacklisted=true&sort=last_name",
    "/guests?status=erased",
    "/reservations?channel=none",
    "/reservations?status=no_show",
    "/reservations?property_id=LIS01&status=waitlisted&sort=check_in",
    "/reservations?check_in_from=2090-01-01",
];

/// The emitter: single guests are read, guests and reservations are written.
pub async fn on_emitter(emitter: &Service, options: &Options) -> Result<Attacked> {
    let run = SystemClock.now().0;
    let desk = |phase: &str| Desk::new(format!("hostile-{run}-{phase}")).map(Arc::new);
    let filling = desk("fill")?;
    filling.open_hotels(emitter.address()).await?;
    fill(emitter, options.rows() / EMITTER_SHARE, filling).await?;
    // What waits would be worked off beside the figures.
    emitter.drain(DELIVERIES_PENDING).await?;
    let reads = reads(emitter, &[("SELECT id FROM guests LIMIT 1000", "/guests")]).await?;
    let kinds = ["reads", "writes"];
    under_attack(emitter, options, (kinds, &reads), &EMITTER_FILTERS, |phase, _| {
        desk(phase)
    })
    .await
}

/// The receiver: single events and profiles are read, events are accepted.
pub async fn on_receiver(receiver: &Service, options: &Options, secret: &str) -> Result<Attacked> {
    let mut events = Events::new(SOURCE, secret, BodyStyle::Compact)?;
    while events.signed() < options.rows() {
        let pool = events.sign((options.rows() - events.signed()).min(FILL_EVENTS))?;
        fill(receiver, pool.len(), pool).await?;
        receiver.drain(EVENTS_ACCEPTED).await?;
    }
    let records = [
        ("SELECT event_id AS id FROM inbox LIMIT 1000", "/events"),
        ("SELECT id FROM profiles LIMIT 1000", "/guest-profiles"),
    ];
    let reads = reads(receiver, &records).await?;
    let kinds = ["reads", "accepts"];
    under_attack(
        receiver,
        options,
        (kinds, &reads),
        &RECEIVER_FILTERS,
        |_, time| events.sign((GOOD_RATE * time.as_secs_f64()).ceil() as u64),
    )
    .await
}

/// The good requests alone, and the same beside the filters.
async fn under_attack<S: Speakers>(
    service: &Service,
    options: &Options,
    (kinds, reads): ([&str; 2], &Arc<Pool>),
    filters: &'static [&'static str],
    mut accepts: impl FnMut(&str, Duration) -> Result<S>,
) -> Result<Attacked> {
    let time = options.time() / 2;
    let mut target = Target::watch(service)?;
    let good = target.load(GOOD_CONNECTIONS, Pace::Open(GOOD_RATE), time);
    let attack = target.load(CLIENTS, Pace::Closed, time);
    let mut p99 = Vec::new();
    for phase in ["before", "beside"] {
        let accepting = accepts(phase, time)?;
        let used = cpu_seconds(std::process::id())?;
        let sending = async {
            tokio::try_join!(
                send(good.clone(), Arc::clone(reads)),
                send(good.clone(), accepting)
            )
        };
        let (sent, asked) = if phase == "before" {
            (sending.await?, None)
        } else {
            let asking = send(attack.clone(), Filters(filters));
            let (sent, asked) = tokio::try_join!(sending, asking)?;
            (sent, Some(asked))
        };
        let used = cpu_seconds(std::process::id())? - used;
        for (kind, measured) in kinds.into_iter().zip([&sent.0, &sent.1]) {
            target.note(&format!("{kind} {phase}"), &good, measured, used);
            p99.push(measured.tally.good_percentiles().p99);
            let (sent, answered) = (measured.tally.sent(), measured.tally.good());
            if answered * 100 < sent * ANSWERED_MIN {
                target.fault(format!(
                    "{kind} {phase}: of {sent} requests {answered} were answered 2xx"
                ));
            }
        }
        if let Some(asked) = asked {
            target.note("filters", &attack, &asked, used);
        }
    }
    for (at, kind) in kinds.into_iter().enumerate() {
        let (before, beside) = (p99[at], p99[at + 2]);
        if beside > (SLOWER_MAX * before).max(P99_MS) {
            target.fault(format!(
                "{kind}: p99 {beside:.1} ms beside the filters, {before:.1} ms before"
            ));
        }
    }
    target.end().await
}

/// Sends so many requests as fast as they are answered.
async fn fill<S: Speakers>(service: &Service, requests: u64, speakers: S) -> Result<()> {
    let load = Load {
        target: service.address(),
        requests_max: Some(requests),
        connections: FILL_CONNECTIONS,
        threads: 1,
        pace: Pace::Closed,
        time: FILL_WITHIN,
    };
    let filled: Measured = send(load, speakers).await?;
    ensure!(
        filled.tally.good() * 100 >= requests * ANSWERED_MIN,
        "of {requests} rows {} were taken: {:?}",
        filled.tally.good(),
        filled.tally.statuses()
    );
    Ok(())
}

/// Requests for single records: the ids that each query answers, below its path.
async fn reads(service: &Service, kinds: &[(&'static str, &str)]) -> Result<Arc<Pool>> {
    let requests = stream::iter(kinds).then(|(sql, path)| async move {
        let ids = service.rows(sql).await?.into_iter().map(texts);
        ids.map(|id| id.map(|[id]| get(&format!("{path}/{id}"))))
            .collect::<Result<Vec<_>>>()
    });
    let requests: Vec<Vec<Vec<u8>>> = requests.try_collect().await?;
    Ok(Arc::new(Pool::of_requests(requests.into_iter().flatten())))
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {BASE_PATH}{path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

/// Asks for the filters in turn, each to its end: by `has_more`, with the cursor of the answer.
struct Filters(&'static [&'static str]);

struct Asking {
    filters: &'static [&'static str],
    /// What is asked for now, and where its list goes on.
    asked: &'static str,
    cursor: Option<String>,
    request: Vec<u8>,
}

#[derive(Deserialize)]
struct Page {
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Pagination {
    next_cursor: Option<String>,
}

impl Speakers for Filters {
    type Speaker = Asking;

    fn speaker(&self) -> Asking {
        Asking {
            filters: self.0,
            asked: self.0[0],
            cursor: None,
            request: Vec::new(),
        }
    }
}

impl Speaker for Asking {
    fn request(&mut self, number: u64) -> &[u8] {
        self.request = match self.cursor.take() {
            Some(cursor) => get(&format!("{}&cursor={cursor}", self.asked)),
            None => {
                let nth = usize::try_from(number).expect("fewer requests than addresses");
                self.asked = self.filters[nth % self.filters.len()];
                get(self.asked)
            }
        };
        &self.request
    }

    fn hear(&mut self, status: u16, answer: &[u8]) {
        let body = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let page = body.and_then(|at| serde_json::from_slice::<Page>(&answer[at + 4..]).ok());
        self.cursor = page
            .filter(|_| status == 200)
            .and_then(|page| page.pagination.next_cursor);
    }
}
