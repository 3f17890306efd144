//! Clients that go away at every millisecond of a request, and come back: the write is whole or absent, a retry with the
//! same key hears of success, and every event is delivered once.

use std::net::SocketAddr;
use std::time::Duration;

use contract::UnixMillis;
use futures::{StreamExt, stream};
use harness::database::{Databases, SETTLED_WITHIN};
use harness::signer::Delivery;
use http::Method;
use pms_emitter::config::EndpointConfig;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::case::{Case, Ctx, cases};
use crate::ingest::{self, Receiver, SECRET, guest_event};
use crate::pms::{BEGIN, Pms, Reply};

pub fn cases() -> Vec<Case> {
    cases![f52_three_thousand_clients_that_hang_up_lose_and_double_nothing]
}

/// Guests that are posted, of whom the first are then changed or deleted; and webhooks.
const POSTS: usize = 1_500;
const CHANGES: usize = 600;
const WEBHOOKS: usize = 900;
/// Clients at once.
const AT_ONCE: usize = 48;
/// The longest that a client stays after its request is sent, in milliseconds; the shortest is 1.
const STAYS_MS_MAX: u64 = 30;
/// How often a client that is asked to come back does so.
const TRIES: usize = 50;

/// Sends a request, stays so many milliseconds by its number, and is gone without reading a byte.
async fn hang_up(address: SocketAddr, request: &Delivery, number: usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request.bytes(address)).await.unwrap();
    sleep(Duration::from_millis(1 + number as u64 % STAYS_MS_MAX)).await;
    // One in two is reset, as by a machine that lost power; the other says goodbye.
    if number.is_multiple_of(2) {
        stream.set_zero_linger().unwrap();
    }
}

fn rest(method: &str, path: &str, key: Option<&str>, body: Option<&Value>) -> Delivery {
    let mut headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
    headers.extend(key.map(|key| ("idempotency-key".to_owned(), key.as_bytes().to_vec())));
    Delivery {
        method: method.to_owned(),
        path: format!("/api/v1{path}"),
        headers,
        body: body.map_or_else(Vec::new, |body| body.to_string().into_bytes()),
    }
}

/// Repeats a call while it is answered that the first one still runs.
async fn retried<F: Future<Output = Reply>>(call: impl Fn() -> F) -> Reply {
    for _ in 0..TRIES {
        let reply = call().await;
        let in_flight = reply.status == 409 && reply.body["code"] == "in_flight";
        if !in_flight && reply.status != 503 {
            return reply;
        }
    }
    panic!("still in progress");
}

async fn f52_three_thousand_clients_that_hang_up_lose_and_double_nothing(ctx: Ctx) {
    let crm = ctx.servers.fresh(ctx.engine, "hang_ups").await.unwrap();
    let receiver = Receiver::start_with(ingest::config(crm.parsed())).await;
    receiver.clock.set(UnixMillis(BEGIN.0));
    let endpoint = EndpointConfig {
        url: format!("http://{}/api/v1/webhooks/pms", receiver.address)
            .parse()
            .unwrap(),
        secrets: SECRET.parse().unwrap(),
    };
    let pms = Pms::start_with(&ctx, BEGIN, Some(endpoint)).await;
    let address: SocketAddr = pms.address().parse().unwrap();

    let posts = stream::iter(0..POSTS).map(|number| post(&pms, address, number));
    let guests: Vec<String> = posts.buffered(AT_ONCE).collect().await;
    let changes = stream::iter(0..CHANGES).map(|number| change(&pms, address, number, &guests[number]));
    changes.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    let webhooks = stream::iter(0..WEBHOOKS).map(|number| webhook(&receiver, number));
    webhooks.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;

    let mut databases = Databases::open(ctx.database.url(), crm.url()).await.unwrap();
    databases.settled(SETTLED_WITHIN).await.unwrap();
    let Databases {
        emitter,
        receiver: crm_database,
    } = &mut databases;
    let events = u64::try_from(POSTS + CHANGES).unwrap();
    let distinct = u64::try_from(POSTS).unwrap();
    let log = "SELECT COUNT(*) AS n FROM events";
    assert_eq!(emitter.count(log).await.unwrap(), events);
    let guests = "SELECT COUNT(*) AS n FROM guests";
    assert_eq!(emitter.count(guests).await.unwrap(), distinct);
    // Whole: each guest's version is the number of its events.
    let halves = "SELECT COUNT(*) AS n FROM guests WHERE version <>
         (SELECT COUNT(*) FROM events WHERE events.entity_id = guests.id)";
    assert_eq!(emitter.count(halves).await.unwrap(), 0);
    let delivered = "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'delivered'";
    assert_eq!(emitter.count(delivered).await.unwrap(), events);
    let taken = events + u64::try_from(WEBHOOKS).unwrap();
    let effects = "SELECT COUNT(*) AS n FROM audit_entries WHERE action IN ('applied', 'stale')";
    for sql in ["SELECT COUNT(*) AS n FROM inbox", effects] {
        assert_eq!(crm_database.count(sql).await.unwrap(), taken, "{sql}");
    }
    pms.stop().await;
    receiver.stop().await;
    crm.remove().await.unwrap();
}

/// A guest that is posted twice under one key, the first time by a client that hangs up.
async fn post(pms: &Pms, address: SocketAddr, number: usize) -> String {
    let (key, body) = (
        format!("hang-up-{number}"),
        json!({"last_name": format!("Silva {number}")}),
    );
    hang_up(address, &rest("POST", "/guests", Some(&key), Some(&body)), number).await;
    let headers = [("idempotency-key", key.as_str())];
    let made = retried(|| pms.send(Method::POST, "/guests", &headers, Some(&body))).await;
    made.expect(201).id().to_owned()
}

/// A guest that is changed or deleted twice, the first time by a client that hangs up.
async fn change(pms: &Pms, address: SocketAddr, number: usize, guest: &str) {
    let (path, body) = (format!("/guests/{guest}"), json!({"last_name": "Costa"}));
    let method = [Method::PUT, Method::PATCH, Method::DELETE][number % 3].clone();
    let body = Some(&body).filter(|_| method != Method::DELETE);
    hang_up(address, &rest(method.as_str(), &path, None, body), number).await;
    let again = retried(|| pms.send(method.clone(), &path, &[], body)).await;
    match (&method, again.status) {
        // Absent until now, or gone before.
        (&Method::DELETE, 204 | 404) => {}
        // A merge of what is there already commits nothing.
        (_, 200) => assert_eq!(again.header("etag"), "\"2\""),
        (_, status) => panic!("{method} {path}: {status}"),
    }
}

/// A webhook that is sent twice, the first time by a client that hangs up.
async fn webhook(receiver: &Receiver, number: usize) {
    let key = format!("evt_hang_up_{number}");
    let delivery = receiver.delivery(&key, &guest_event(&key));
    hang_up(receiver.address, &delivery, number).await;
    let again = receiver.send(&delivery).await;
    assert!(matches!(again.status, 200 | 202), "{key}: {}", again.status);
}
