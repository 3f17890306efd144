//! The live stream of events: each change once, in one order for all, and none missed, wherever a client goes on.

use crate::case::{Case, Ctx, cases};
use crate::ingest::{NOW, Receiver, config, event, execute, guest_event};
use crm_receiver::{
    store::Store,
    stream::{CLIENTS_MAX, CLIENTS_OF_ONE_MAX},
};
use db::params;
use futures::future::join_all;
use harness::{
    config::BASE_PATH,
    engine::Engine,
    signer::Delivery,
    waiting::{in_time, until},
};
use kit::sequencer::LEASE_LENGTH;
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        an_event_is_streamed_when_it_is_taken_in_and_when_it_is_decided,
        dead_letters_are_streamed_whatever_made_them,
        a_client_goes_on_behind_any_message_without_a_gap,
        filters_and_scopes_let_through_what_they_name,
        a_stream_ends_with_its_key_and_with_the_service,
        what_cannot_be_streamed_is_refused,
        the_101st_client_is_refused_until_another_has_gone,
    ];
    all.extend(cases![only Engine::Mysql;
        a_stream_goes_on_when_the_process_that_gave_its_places_dies,
    ]);
    all
}

/// ADMIN_API_KEY of these cases.
const ADMIN: &str = "an-admin-key-of-the-streams-that-is-long";
/// From the beginning.
const BEGINNING: Option<&str> = Some("0");

/// A client that reads one stream.
struct Stream {
    response: reqwest::Response,
    unread: String,
    /// The id that the client has.
    id: String,
}

/// One message of a stream.
#[derive(Clone, Debug, PartialEq)]
struct Message {
    id: String,
    event: String,
    data: Value,
}

impl Message {
    fn key(&self) -> &str {
        self.data["idempotency_key"].as_str().unwrap()
    }

    fn status(&self) -> &str {
        self.data["status"].as_str().unwrap()
    }
}

async fn request(
    address: SocketAddr,
    key: Option<&str>,
    query: &str,
    after: Option<&str>,
) -> reqwest::Response {
    // Another case may have been first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut request = reqwest::Client::new().get(format!("http://{address}{BASE_PATH}/events/stream{query}"));
    for (name, value) in [("x-api-key", key), ("last-event-id", after)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    in_time("the head of the answer", request.send()).await.unwrap()
}

impl Stream {
    async fn open_with(address: SocketAddr, key: Option<&str>, query: &str, after: Option<&str>) -> Self {
        let response = request(address, key, query, after).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Self {
            response,
            unread: String::new(),
            id: String::new(),
        };
        // It has a place before the first message.
        while stream.id.is_empty() {
            assert_eq!(stream.block().await.unwrap().data, Value::Null);
        }
        stream
    }

    async fn open(receiver: &Receiver, after: Option<&str>) -> Self {
        Self::open_with(receiver.address, None, "", after).await
    }

    /// The next block of lines; None at the end of the stream.
    async fn block(&mut self) -> Option<Message> {
        while !self.unread.contains("\n\n") {
            let chunk = in_time("a message", self.response.chunk()).await.unwrap()?;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        let (block, rest) = self.unread.split_once("\n\n").unwrap();
        let mut message = Message {
            id: self.id.clone(),
            event: String::new(),
            data: Value::Null,
        };
        for line in block.lines() {
            match line.split_once(": ").unwrap() {
                ("id", id) => message.id = id.to_owned(),
                ("event", event) => message.event = event.to_owned(),
                ("data", data) => message.data = serde_json::from_str(data).unwrap(),
                ("retry", wait) => assert_eq!(wait, "2000"),
                _ => panic!("{line}"),
            }
        }
        self.unread = rest.to_owned();
        self.id.clone_from(&message.id);
        Some(message)
    }

    /// The next message; None at the end of the stream.
    async fn next(&mut self) -> Option<Message> {
        loop {
            let message = self.block().await?;
            if !message.data.is_null() {
                return Some(message);
            }
        }
    }

    async fn take(&mut self, messages: usize) -> Vec<Message> {
        let mut taken = Vec::with_capacity(messages);
        for _ in 0..messages {
            taken.push(self.next().await.expect("the stream goes on"));
        }
        taken
    }
}

/// An envelope of a type that no record is made of, in a property or in none.
fn foreign_event(key: &str, property: Option<&str>) -> Vec<u8> {
    let mut envelope: Value = serde_json::from_slice(&event(key, "spa.booked", &json!({}))).unwrap();
    match property {
        Some(property) => envelope["property_id"] = property.into(),
        None => drop(envelope.as_object_mut().unwrap().remove("property_id")),
    }
    envelope.to_string().into_bytes()
}

async fn guarded(ctx: &Ctx) -> Receiver {
    let mut config = config(ctx.url());
    config.access.admin_api_key = Some(ADMIN.parse().unwrap());
    Receiver::start_with(config).await
}

async fn an_event_is_streamed_when_it_is_taken_in_and_when_it_is_decided(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    receiver.take("evt_0", &guest_event("evt_0")).await;
    let mut stream = Stream::open(&receiver, BEGINNING).await;
    // What was there before the client is a part of what it asked for.
    assert_eq!(stream.take(2).await[1].key(), "evt_0");
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 202);
    let messages = stream.take(2).await;
    let id = receiver.event("evt_1").await["event_id"].clone();
    let shown = json!({
        "event_id": id, "idempotency_key": "evt_1", "source": "pms", "type": "guest.created", "status": "accepted",
        "property_id": "LIS01", "entity": {"kind": "guest", "id": "x_evt_1", "version": 1},
        "occurred_at": "2025-11-21T12:00:00.000Z", "received_at": "2025-11-22T00:00:00.000Z",
        "correlation_id": "req_of_the_change",
    });
    assert_eq!(
        (messages[0].event.as_str(), &messages[0].data),
        ("received", &shown)
    );
    assert_eq!(
        (messages[1].event.as_str(), messages[1].status()),
        ("decided", "applied")
    );
    // A repeat is no event; one that is decided as it is taken in has both messages.
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 200);
    receiver
        .take("evt_2", &foreign_event("evt_2", Some("LIS01")))
        .await;
    let messages = stream.take(2).await;
    let said: Vec<_> = messages
        .iter()
        .map(|message| (message.event.as_str(), message.key(), message.status()))
        .collect();
    assert_eq!(
        said,
        [("received", "evt_2", "ignored"), ("decided", "evt_2", "ignored")]
    );
    receiver.stop().await;
}

/// One of two states under the same version of an entity.
fn conflicting_event(key: &str, entity: &str, name: &str) -> Vec<u8> {
    let mut envelope: Value = serde_json::from_slice(&guest_event(key)).unwrap();
    envelope["entity"]["id"] = entity.into();
    envelope["payload"]["last_name"] = name.into();
    envelope.to_string().into_bytes()
}

async fn dead_letters_are_streamed_whatever_made_them(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let mut stream = Stream::open(&receiver, None).await;
    // Of two states of one version one stands, whichever came first: in one of these orders the first is overruled.
    let mut decided = 0;
    for (entity, names) in [("one", ["Silva", "Costa"]), ("other", ["Costa", "Silva"])] {
        let keys = ["first", "second"].map(|name| format!("{entity}_{name}"));
        receiver
            .take(&keys[0], &conflicting_event(&keys[0], entity, names[0]))
            .await;
        assert_eq!(stream.take(2).await[1].status(), "applied");
        receiver
            .take(&keys[1], &conflicting_event(&keys[1], entity, names[1]))
            .await;
        assert_eq!(stream.take(1).await[0].event, "received");
        decided += 1;
        let mut message = stream.next().await.unwrap();
        if message.status() == "applied" {
            decided += 1;
            message = stream.next().await.unwrap();
            assert_eq!(message.key(), keys[0]);
        } else {
            assert_eq!(message.key(), keys[1]);
        }
        assert_eq!(
            (message.event.as_str(), message.status()),
            ("decided", "dead_letter")
        );
    }
    assert_eq!(decided, 3, "one of them was overruled");
    // One that is given up after its tries. Its next one is due later.
    let db = ctx.open().await;
    let id = receiver.event("one_first").await["event_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let due = NOW.plus_millis(30_000);
    let waits = "UPDATE inbox SET status = 'accepted', attempts = 7, due_at = ? WHERE event_id = ?";
    assert_eq!(execute(&db, waits, params![due, &id]).await, 1);
    let (store, id) = (Store::new(db), id.parse().unwrap());
    assert!(store.make_dead_letter(&id, "on purpose", NOW).await.unwrap());
    let message = stream.next().await.unwrap();
    assert_eq!((message.key(), message.status()), ("one_first", "dead_letter"));
    receiver.stop().await;
}

/// Sends events at the same time, and answers when all are taken.
async fn take_many(receivers: &[&Receiver], name: &str, events: usize) {
    let takes = (0..events).map(|number| {
        let (receiver, key) = (receivers[number % receivers.len()], format!("{name}_{number}"));
        async move { assert_eq!(receiver.take(&key, &guest_event(&key)).await.status, 202) }
    });
    join_all(takes).await;
}

/// Each event was received and then applied, and each is there once.
fn assert_complete(messages: &[Message], events: usize) {
    let of = |event: &str| -> Vec<&str> {
        let of = messages.iter().filter(|message| message.event == event);
        let mut keys: Vec<_> = of.map(Message::key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    };
    assert_eq!((of("received").len(), of("decided").len()), (events, events));
    assert_eq!(messages.len(), 2 * events);
    for (place, message) in messages.iter().enumerate() {
        let before = messages[..place].iter().any(|other| other.key() == message.key());
        assert_eq!(before, message.event == "decided", "{message:?}");
    }
}

const EVENTS: usize = 30;

async fn a_client_goes_on_behind_any_message_without_a_gap(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let mut live = Stream::open(&receiver, None).await;
    let begun_at = live.id.clone();
    take_many(&[&receiver], "evt", EVENTS).await;
    let messages = live.take(2 * EVENTS).await;
    assert_complete(&messages, EVENTS);
    let begins = [begun_at]
        .into_iter()
        .chain(messages.iter().map(|message| message.id.clone()));
    for (known, id) in begins.enumerate().step_by(11) {
        let mut resumed = Stream::open(&receiver, Some(&id)).await;
        assert_eq!(resumed.take(2 * EVENTS - known).await, messages[known..], "{id}");
    }
    // Also after all clients were gone, and one that had everything misses nothing new.
    drop(live);
    take_many(&[&receiver], "new", 1).await;
    let mut resumed = Stream::open(&receiver, messages.last().map(|message| message.id.as_str())).await;
    assert_complete(&resumed.take(2).await, 1);
    receiver.stop().await;
}

async fn filters_and_scopes_let_through_what_they_name(ctx: Ctx) {
    let receiver = guarded(&ctx).await;
    let (lis, opo) = (
        receiver.key(ADMIN, json!(["LIS01"])).await,
        receiver.key(ADMIN, json!(["OPO02"])).await,
    );
    let all = Some(ADMIN);
    let take = async |name: &str| {
        let keys = ["guest", "lis", "opo", "none"].map(|kind| format!("{kind}_{name}"));
        receiver.take(&keys[0], &guest_event(&keys[0])).await;
        let places = [Some("LIS01"), Some("OPO02"), None];
        for (key, property) in keys[1..].iter().zip(places) {
            receiver.take(key, &foreign_event(key, property)).await;
        }
    };
    let streams = [
        (
            all,
            "",
            vec!["guest", "guest", "lis", "lis", "none", "none", "opo", "opo"],
        ),
        (Some(lis.as_str()), "", vec!["guest", "guest", "lis", "lis"]),
        (Some(opo.as_str()), "", vec!["opo", "opo"]),
        (Some(lis.as_str()), "?property_id=OPO02", vec![]),
        (all, "?property_id=OPO02&source=pms", vec!["opo", "opo"]),
        (all, "?source=other", vec![]),
        (all, "?status=applied", vec!["guest"]),
        (all, "?status=accepted&type=guest.created", vec!["guest"]),
        (all, "?type=spa.booked&property_id=LIS01", vec!["lis", "lis"]),
        (all, "?entity_kind=guest", vec!["guest", "guest"]),
        (all, "?entity_id=x_lis_one", vec!["lis", "lis"]),
        (
            all,
            "?correlation_id=req_of_the_change&status=ignored",
            vec!["lis", "lis", "none", "none", "opo", "opo"],
        ),
    ];
    take("one").await;
    for (key, query, kinds) in streams {
        let mut stream = Stream::open_with(receiver.address, key, query, BEGINNING).await;
        let mut keys: Vec<_> = stream
            .take(kinds.len())
            .await
            .iter()
            .map(|message| message.key().to_owned())
            .collect();
        keys.sort_unstable();
        let expected: Vec<_> = kinds.iter().map(|kind| format!("{kind}_one")).collect();
        assert_eq!(keys, expected, "{query}");
    }
    // Nothing stands between: what comes next is what is taken next.
    let mut of_opo = Stream::open_with(receiver.address, Some(&opo), "", None).await;
    take("two").await;
    assert_eq!(of_opo.next().await.unwrap().key(), "opo_two");
    receiver.stop().await;
}

async fn a_stream_ends_with_its_key_and_with_the_service(ctx: Ctx) {
    let receiver = guarded(&ctx).await;
    let key = receiver.key(ADMIN, json!("*")).await;
    let mut of_key = Stream::open_with(receiver.address, Some(&key), "", None).await;
    let mut of_admin = Stream::open_with(receiver.address, Some(ADMIN), "", None).await;
    let keys = receiver.get_with(ADMIN, "/api-keys").await.json();
    let id = keys["data"][0]["id"].as_str().unwrap();
    let deactivate = Delivery::bare("POST", format!("{BASE_PATH}/api-keys/{id}/deactivate"));
    let deactivated = receiver.send(&deactivate.and("x-api-key", ADMIN)).await;
    assert_eq!(deactivated.status, 200, "{}", deactivated.json());
    assert_eq!(of_key.next().await, None);
    let refused = request(receiver.address, Some(&key), "", Some(&of_key.id)).await;
    assert_eq!(refused.status(), 401);
    receiver.take("evt_1", &guest_event("evt_1")).await;
    assert_eq!(of_admin.next().await.unwrap().key(), "evt_1");
    let stopping = tokio::spawn(receiver.stop());
    while of_admin.next().await.is_some() {}
    stopping.await.unwrap();
}

async fn what_cannot_be_streamed_is_refused(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let mut stream = Stream::open(&receiver, None).await;
    take_many(&[&receiver], "evt", 1).await;
    let first = stream.take(2).await.remove(0);
    let codes = async |query: &str, after: Option<&str>| {
        let refused = request(receiver.address, None, query, after).await;
        let status = refused.status().as_u16();
        let problem: Value = serde_json::from_slice(&refused.bytes().await.unwrap()).unwrap();
        (status, problem["code"].as_str().unwrap().to_owned())
    };
    for query in [
        "?limit=1",
        "?status=lost",
        "?since=1",
        "?type=",
        "?source=a&source=b",
    ] {
        assert_eq!(
            codes(query, None).await,
            (400, "invalid_query".to_owned()),
            "{query}"
        );
    }
    for malformed in ["x", "-1", "1.", "01", "9223372036854775808"] {
        let refused = codes("", Some(malformed)).await;
        assert_eq!(refused, (400, "invalid_request".to_owned()), "{malformed}");
    }
    // There never was such a place, or what follows it was purged.
    let gone = (410, "position_gone".to_owned());
    assert_eq!(codes("", Some("999")).await, gone);
    let db = ctx.open().await;
    let purge = "DELETE FROM stream_batches WHERE seq = 1";
    assert_eq!(execute(&db, purge, params![]).await, 1);
    for before in ["0", first.id.as_str()] {
        assert_eq!(codes("", Some(before)).await, gone, "{before}");
    }
    assert_eq!(
        Stream::open(&receiver, Some("1")).await.take(1).await[0].event,
        "decided"
    );
    // A HEAD has no stream, and keeps no place.
    let head = Delivery::bare("HEAD", format!("{BASE_PATH}/events/stream"));
    assert_eq!(receiver.send(&head).await.status, 200);
    until("the one stream that is open is the only client", || async {
        let shown = receiver.metrics().await;
        shown.text.contains("crm_receiver_stream_clients 1\n")
    })
    .await;
    receiver.stop().await;
}

async fn the_101st_client_is_refused_until_another_has_gone(ctx: Ctx) {
    let receiver = guarded(&ctx).await;
    let refusal = async |key: &str| {
        let refused = request(receiver.address, Some(key), "", None).await;
        let again = refused.headers().get("retry-after").cloned();
        (refused.status().as_u16(), again)
    };
    let crowded = (503, Some("10".parse().unwrap()));
    let mut streams = Vec::new();
    for _ in 0..CLIENTS_MAX / CLIENTS_OF_ONE_MAX {
        let key = receiver.key(ADMIN, json!("*")).await;
        for _ in 0..CLIENTS_OF_ONE_MAX {
            streams.push(Stream::open_with(receiver.address, Some(&key), "", None).await);
        }
        assert_eq!(refusal(&key).await, crowded, "a key has its share");
    }
    assert_eq!(refusal(ADMIN).await, crowded);
    let shown = receiver.metrics().await;
    assert!(
        shown.text.contains("crm_receiver_stream_clients 100\n"),
        "{}",
        shown.text
    );
    // All of them get what comes.
    take_many(&[&receiver], "evt", 1).await;
    for stream in &mut streams {
        assert_eq!(stream.take(2).await[1].status(), "applied");
    }
    drop(streams.pop());
    until("a place is free", || async {
        request(receiver.address, Some(ADMIN), "", None).await.status() == 200
    })
    .await;
    receiver.stop().await;
}

async fn a_stream_goes_on_when_the_process_that_gave_its_places_dies(ctx: Ctx) {
    let first = Receiver::start(&ctx).await;
    let mut of_first = Stream::open(&first, None).await;
    take_many(&[&first], "alone", 1).await;
    // It has given a place, so the lease is its own.
    assert_complete(&of_first.take(2).await, 1);
    let second = Receiver::start(&ctx).await;
    let mut of_second = Stream::open(&second, Some("0")).await;
    take_many(&[&first, &second], "both", EVENTS).await;
    let (seen, other) = (
        of_first.take(2 * EVENTS).await,
        of_second.take(2 + 2 * EVENTS).await,
    );
    assert_complete(&seen, EVENTS);
    assert_eq!(seen, other[2..], "one order for all");
    first.abort().await;
    take_many(&[&second], "after", EVENTS).await;
    second.clock.advance(LEASE_LENGTH + Duration::from_secs(1));
    let rest = of_second.take(2 * EVENTS).await;
    assert_complete(&rest, EVENTS);
    let mut resumed = Stream::open(&second, seen.last().map(|message| message.id.as_str())).await;
    assert_eq!(resumed.take(2 * EVENTS).await, rest);
    second.stop().await;
}
