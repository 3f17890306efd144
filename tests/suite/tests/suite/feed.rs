//! The feed of the emitter: every event once, in one order, with its exact bytes, for those who may see it.

use crate::access::{ADMIN, guarded, key, with_key};
use crate::case::{Case, Ctx, cases};
use crate::ingest::execute;
use crate::pms::{Pms, Reply};
use bytes::Bytes;
use contract::feed::{FEED_PAGE_BODY_BYTES_MAX, FEED_PAGE_EVENTS_MAX, FeedPage, mark};
use db::{Db, Params, params};
use futures::future::join_all;
use harness::client::Client;
use harness::engine::Engine;
use harness::waiting::{in_time, until};
use http::Method;
use pms_emitter::http::WAITERS_OF_ONE_MAX;
use pms_emitter::store::PLACES_LOOKED_AT_MAX;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        a_page_shows_the_exact_bytes_in_the_order_of_places_and_says_where_the_next_begins,
        a_page_has_an_end_in_events_in_bytes_and_in_places,
        what_a_key_does_not_see_is_passed_over_and_the_place_advances,
        what_is_kept_no_more_is_named_and_skipped,
        a_wait_ends_with_an_event_that_is_seen_and_with_the_service,
        a_reader_that_follows_while_others_write_gets_each_event_once_in_one_order,
        a_place_that_another_event_has_now_is_refused,
        what_cannot_be_asked_for_is_refused_and_the_eleventh_wait_of_a_key_too,
    ];
    all.extend(cases![only Engine::Mysql; a_wait_ends_with_an_event_of_another_replica]);
    all
}

const SAO_BENTO: &str = "LIS01";
const RIBEIRA: &str = "OPO01";

/// A page, read as a consumer does.
pub(crate) fn page(reply: Reply) -> FeedPage {
    serde_json::from_value(reply.expect(200).body).unwrap()
}

async fn read(pms: &Pms, query: &str) -> FeedPage {
    page(pms.get(&format!("/events{query}")).await)
}

/// Makes guests one after the other, and returns their ids.
pub(crate) async fn make_guests(pms: &Pms, number: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..number {
        let body = json!({"first_name": "Zoë \"Z\"", "last_name": format!("Silva {n}")});
        let made = pms.post("/guests", &body).await.expect(201);
        ids.push(made.id().to_owned());
    }
    ids
}

/// Waits until so many places are given.
pub(crate) async fn until_head(pms: &Pms, head: i64) {
    until("the places are given", || async {
        read(pms, "?bodies=false&limit=1").await.head >= head
    })
    .await;
}

/// Puts events with places into the log, the first of them under `first`, of a property each, with bodies of this length.
async fn plant(db: &Db, first: i64, properties: &[&str], bytes: usize) {
    for (place, property) in (first..).zip(properties) {
        let id = format!("evt_planted_{place}");
        let event = "INSERT INTO events (id, feed_seq, type, property_id, committed_at, changed) VALUES (?, ?, 'ping', ?, 0, '')";
        execute(db, event, params![&id, place, *property]).await;
        let body = format!("\"{}\"", "x".repeat(bytes - 2)).into_bytes();
        execute(
            db,
            "INSERT INTO event_bodies (event_id, body) VALUES (?, ?)",
            params![id, body],
        )
        .await;
    }
    set_head(db, first - 1 + i64::try_from(properties.len()).unwrap()).await;
}

async fn set_head(db: &Db, head: i64) {
    let first = "INSERT INTO sequences (name, last_seq) SELECT 'feed', 0 FROM (SELECT 1 AS one) AS once \
                 WHERE NOT EXISTS (SELECT 1 FROM sequences WHERE name = 'feed')";
    execute(db, first, Params::new()).await;
    execute(
        db,
        "UPDATE sequences SET last_seq = ? WHERE name = 'feed'",
        params![head],
    )
    .await;
}

fn places(page: &FeedPage) -> Vec<i64> {
    page.data.iter().map(|event| event.feed_seq).collect()
}

async fn a_page_shows_the_exact_bytes_in_the_order_of_places_and_says_where_the_next_begins(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let nothing = read(&pms, "").await;
    assert_eq!((nothing.head, nothing.next_after, nothing.oldest), (0, 0, None));
    assert_eq!((nothing.next_mark, nothing.has_more), (None, false));
    let guests = make_guests(&pms, 5).await;
    until_head(&pms, 5).await;
    let first = read(&pms, "?limit=3").await;
    assert_eq!(places(&first), [1, 2, 3]);
    assert_eq!((first.next_after, first.head, first.oldest), (3, 5, Some(1)));
    assert!(first.has_more);
    let second = read(
        &pms,
        &format!("?limit=3&after=3&mark={}", first.next_mark.clone().unwrap()),
    )
    .await;
    assert_eq!((places(&second), second.has_more), (vec![4, 5], false));
    let last = second.data.last().unwrap();
    assert_eq!(
        second.next_mark.as_deref(),
        Some(mark(5, last.event_id.as_str()).as_str())
    );
    for (event, guest) in first.data.iter().chain(&second.data).zip(&guests) {
        let text = event.body.clone().unwrap().unwrap();
        let sql = "SELECT body FROM event_bodies WHERE event_id = ?";
        let id = event.event_id.to_string();
        let row = pms
            .db
            .read("body", move |tx| Box::pin(tx.query_one(sql, params![id.clone()])))
            .await
            .unwrap();
        assert_eq!(text.as_bytes(), row.unwrap().get::<Vec<u8>>("body").unwrap());
        let envelope: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(envelope["entity"]["id"], **guest);
        assert_eq!(
            (event.event_type.as_str(), event.property_id.as_deref()),
            ("guest.created", Some("MAIN"))
        );
        let alone = pms.get(&format!("/events/{}", event.event_id)).await.expect(200);
        assert_eq!(
            (&alone.body["body"], &alone.body["feed_seq"]),
            (&json!(text), &json!(event.feed_seq))
        );
    }
    let names = pms.get("/events?bodies=false").await.expect(200);
    assert_eq!(names.body["data"].as_array().unwrap().len(), 5);
    assert_eq!(names.body["data"][0].get("body"), None, "{}", names.body);
    pms.get("/events/evt_nobody").await.expect(404);
    pms.stop().await;
}

async fn a_page_has_an_end_in_events_in_bytes_and_in_places(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let most = usize::try_from(FEED_PAGE_EVENTS_MAX).unwrap();
    plant(&pms.db, 1, &vec![SAO_BENTO; most + 1], 10).await;
    let page_of = async |query: String| {
        let path = format!("/events{query}");
        page(with_key(&pms, ADMIN, Method::GET, &path, None).await)
    };
    let full = page_of(String::new()).await;
    assert_eq!(
        (full.data.len(), full.next_after, full.has_more),
        (most, 500, true)
    );

    // Two such bodies fit, a third does not; one that alone is too large comes alone.
    let next = i64::from(FEED_PAGE_EVENTS_MAX) + 2;
    plant(&pms.db, next, &[SAO_BENTO; 3], FEED_PAGE_BODY_BYTES_MAX / 2).await;
    plant(&pms.db, next + 3, &[SAO_BENTO; 2], FEED_PAGE_BODY_BYTES_MAX + 1).await;
    let mut after = next - 1;
    for expected in [
        vec![next, next + 1],
        vec![next + 2],
        vec![next + 3],
        vec![next + 4],
    ] {
        let page = page_of(format!("?after={after}")).await;
        assert_eq!(places(&page), expected);
        after = page.next_after;
    }
    assert_eq!(after, next + 4);
    let names = page_of(format!("?bodies=false&after={}", next - 1)).await;
    assert_eq!(names.data.len(), 5, "without bodies their bytes do not count");

    // A key that sees none of many places gets an empty page that goes on.
    set_head(&pms.db, 2 * PLACES_LOOKED_AT_MAX).await;
    let other = key(&pms, &["read"], json!([RIBEIRA])).await;
    let empty = page(with_key(&pms, &other, Method::GET, "/events?wait=30", None).await);
    assert_eq!((empty.data.len(), empty.next_after), (0, PLACES_LOOKED_AT_MAX));
    assert!(empty.has_more);
    pms.stop().await;
}

async fn what_a_key_does_not_see_is_passed_over_and_the_place_advances(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    plant(
        &pms.db,
        1,
        &[RIBEIRA, SAO_BENTO, SAO_BENTO, RIBEIRA, SAO_BENTO],
        10,
    )
    .await;
    execute(
        &pms.db,
        "INSERT INTO events (id, feed_seq, type, committed_at, changed) VALUES ('evt_ping', 6, 'ping', 0, '')",
        vec![],
    )
    .await;
    set_head(&pms.db, 6).await;
    let other = key(&pms, &["events:read"], json!([RIBEIRA])).await;
    let ask = async |path: &str| with_key(&pms, &other, Method::GET, path, None).await;
    let seen = page(ask("/events").await);
    assert_eq!((places(&seen), seen.next_after, seen.head), (vec![1, 4], 6, 6));
    let rest = page(ask("/events?after=4").await);
    assert_eq!((places(&rest), rest.next_after), (vec![], 6));
    assert_eq!(rest.next_mark, Some(mark(6, "evt_ping")));
    let first = page(ask("/events?limit=1").await);
    assert_eq!((places(&first), first.next_after), (vec![1], 1));
    ask("/events/evt_planted_1").await.expect(200);
    for hidden in ["/events/evt_planted_2", "/events/evt_ping"] {
        ask(hidden).await.expect(404);
    }
    let none = key(&pms, &["guests:admin"], json!("*")).await;
    with_key(&pms, &none, Method::GET, "/events", None)
        .await
        .expect(403);
    pms.stop().await;
}

async fn what_is_kept_no_more_is_named_and_skipped(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    plant(&pms.db, 1, &[SAO_BENTO; 4], 10).await;
    execute(
        &pms.db,
        "DELETE FROM event_bodies WHERE event_id = 'evt_planted_3'",
        vec![],
    )
    .await;
    execute(
        &pms.db,
        "UPDATE event_bodies SET body = NULL WHERE event_id = 'evt_planted_2'",
        vec![],
    )
    .await;
    let seen = read(&pms, "").await;
    let is_kept: Vec<_> = seen
        .data
        .iter()
        .map(|event| event.body.clone().unwrap().is_some())
        .collect();
    assert_eq!(is_kept, [true, false, false, true]);
    let reply = pms.get("/events/evt_planted_2").await.expect(200);
    assert_eq!(reply.body.get("body"), Some(&Value::Null), "{}", reply.body);
    // The log itself ends too.
    execute(&pms.db, "DELETE FROM events WHERE feed_seq < 4", vec![]).await;
    let seen = read(&pms, &format!("?after=1&mark={}", mark(1, "evt_planted_1"))).await;
    assert_eq!((places(&seen), seen.oldest), (vec![4], Some(4)));
    execute(&pms.db, "DELETE FROM events", vec![]).await;
    let seen = read(&pms, "").await;
    assert_eq!((seen.data.len(), seen.oldest, seen.next_after), (0, None, 4));
    pms.stop().await;
}

async fn a_wait_ends_with_an_event_that_is_seen_and_with_the_service(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let make = async |property: &str| {
        let body = json!({"property_id": property, "first_name": "Ana", "last_name": "Silva"});
        with_key(&pms, ADMIN, Method::POST, "/guests", Some(&body))
            .await
            .expect(201)
    };
    for property in [SAO_BENTO, RIBEIRA] {
        let body = json!({"id": property, "name": property, "timezone": "Europe/Lisbon", "currency": "EUR"});
        with_key(&pms, ADMIN, Method::POST, "/properties", Some(&body))
            .await
            .expect(201);
    }
    let other = key(&pms, &["read"], json!([RIBEIRA])).await;
    let wait = with_key(&pms, &other, Method::GET, "/events?wait=30", None);
    let emit = async {
        // What the key does not see does not end it, nor is it lost by it.
        make(SAO_BENTO).await;
        until("it has its place", || async {
            page(with_key(&pms, ADMIN, Method::GET, "/events", None).await).head == 1
        })
        .await;
        make(RIBEIRA).await;
    };
    let (waited, ()) = in_time("the event", futures::future::join(wait, emit)).await;
    let waited = page(waited);
    assert_eq!(places(&waited), [2], "{waited:?}");
    assert_eq!(waited.data[0].property_id.as_deref(), Some(RIBEIRA));

    let after = format!("http://{}/api/v1/events?after=2&wait=30", pms.address());
    let waits: Vec<_> = (0..WAITERS_OF_ONE_MAX)
        .map(|_| {
            let (client, after) = (Client::new(""), after.clone());
            tokio::spawn(async move {
                let headers = [("x-api-key", ADMIN)];
                loop {
                    let answer = client.send(&Method::GET, &after, &headers, Bytes::new()).await;
                    // The look below may have had its place.
                    if answer.as_ref().is_ok_and(|answer| answer.status() != 503) {
                        return answer;
                    }
                }
            })
        })
        .collect();
    until("all of them wait", || async {
        let more = with_key(&pms, ADMIN, Method::GET, "/events?after=2&wait=1", None).await;
        more.status == 503
    })
    .await;
    pms.stop().await;
    for answer in in_time("the answers", join_all(waits)).await {
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }
}

async fn a_wait_ends_with_an_event_of_another_replica(ctx: Ctx) {
    let (one, other) = (Pms::start(&ctx).await, Pms::start(&ctx).await);
    for emitting in [&one, &other] {
        let head = read(&one, "").await.head;
        let query = format!("?after={head}&wait=30");
        let emit = make_guests(emitting, 1);
        let waits = join_all([read(&one, &query), read(&other, &query)]);
        let (pages, _) = in_time("the event", futures::future::join(waits, emit)).await;
        for page in pages {
            assert_eq!(places(&page), [head + 1]);
        }
    }
    one.stop().await;
    other.stop().await;
}

async fn a_reader_that_follows_while_others_write_gets_each_event_once_in_one_order(ctx: Ctx) {
    const WRITERS: usize = 4;
    const OF_EACH: usize = 20;
    const READERS: usize = 3;
    let all = i64::try_from(WRITERS * OF_EACH).unwrap();
    let one = Pms::start(&ctx).await;
    let other = match ctx.engine {
        Engine::Sqlite => None,
        Engine::Mysql => Some(Pms::start(&ctx).await),
    };
    let replicas = [&one, other.as_ref().unwrap_or(&one)];
    let writing = join_all((0..WRITERS).map(|writer| make_guests(replicas[writer % 2], OF_EACH)));
    // Each asks one replica and the other, without a pause: for pages that are sometimes full and sometimes not, some after a wait.
    let read_all = async |reader: usize| {
        let (mut events, mut after, mut mark) = (Vec::new(), 0, None);
        for turn in reader.. {
            let known = mark
                .map(|mark: String| format!("&mark={mark}"))
                .unwrap_or_default();
            let (limit, wait) = (1 + turn % 7, if reader == 0 { 30 } else { 0 });
            let query = format!("?after={after}{known}&limit={limit}&wait={wait}&bodies=false");
            let page = read(replicas[turn % 2], &query).await;
            (after, mark) = (page.next_after, page.next_mark);
            events.extend(page.data);
            if after >= all {
                break;
            }
        }
        events
    };
    let reading = join_all((0..READERS).map(read_all));
    let (guests, read) = in_time("all of them", futures::future::join(writing, reading)).await;
    for events in read {
        let places: Vec<i64> = events.iter().map(|event| event.feed_seq).collect();
        assert_eq!(places, (1..=all).collect::<Vec<_>>());
        let ids: BTreeSet<_> = events.iter().map(|event| &event.event_id).collect();
        assert_eq!((ids.len(), guests.concat().len()), (places.len(), places.len()));
    }
    one.stop().await;
    if let Some(other) = other {
        other.stop().await;
    }
}

async fn a_place_that_another_event_has_now_is_refused(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    make_guests(&pms, 3).await;
    until_head(&pms, 3).await;
    let known = read(&pms, "").await.next_mark.unwrap();
    let query = format!("?after=3&mark={known}");
    assert_eq!(read(&pms, &query).await.next_after, 3);
    // A backup of before the third is restored.
    for sql in [
        "DELETE FROM events WHERE feed_seq = 3",
        "UPDATE sequences SET last_seq = 2 WHERE name = 'feed'",
    ] {
        execute(&pms.db, sql, vec![]).await;
    }
    let refused = pms.get(&format!("/events{query}")).await.expect(410);
    assert_eq!(refused.body["code"], "position_gone");
    // Without the mark there is nothing to compare: the head says it.
    let ahead = read(&pms, "?after=3").await;
    assert_eq!((ahead.next_after, ahead.head, ahead.has_more), (3, 2, false));
    // It has gone on from there.
    make_guests(&pms, 2).await;
    until_head(&pms, 4).await;
    pms.get(&format!("/events{query}")).await.expect(410);
    let before = read(&pms, "?after=0&limit=2").await;
    let query = format!("?after=2&mark={}", before.next_mark.unwrap());
    assert_eq!(places(&read(&pms, &query).await), [3, 4]);
    pms.stop().await;
}

async fn what_cannot_be_asked_for_is_refused_and_the_eleventh_wait_of_a_key_too(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for query in [
        "?after=-1",
        "?after=x",
        "?limit=0",
        "?limit=501",
        "?wait=31",
        "?wait=-1",
        "?bodies=1",
        "?after=1&after=2",
        "?since=1",
        "?cursor=1",
    ] {
        let refused = pms.get(&format!("/events{query}")).await;
        assert_eq!(refused.status, 400, "{query}: {}", refused.body);
        assert_eq!(refused.body["code"], "invalid_query", "{query}");
    }
    let mut waits: Vec<_> = (0..=WAITERS_OF_ONE_MAX)
        .map(|_| Box::pin(pms.get("/events?wait=30")))
        .collect();
    let refused;
    (refused, _, waits) = in_time("a refusal", futures::future::select_all(waits)).await;
    let refused = refused.expect(503);
    assert_eq!(
        (refused.body["code"].as_str(), refused.header("retry-after")),
        (Some("overloaded"), "10")
    );
    // The others wait for an event.
    let waits = join_all(waits);
    let (waited, _) = in_time("the event", futures::future::join(waits, make_guests(&pms, 1))).await;
    for reply in waited {
        assert_eq!(places(&page(reply)), [1]);
    }
    // Every place is free again.
    let again = join_all((0..WAITERS_OF_ONE_MAX).map(|_| pms.get("/events?after=1&wait=1"))).await;
    assert!(again.iter().all(|reply| reply.status == 200));
    pms.stop().await;
}
