//! What a key does not see is not there: on every line that names a thing, and in lists.

use super::{guarded, key, with_key};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, guest_event};
use crate::pms::Pms;
use api::{Access, Line};
use harness::config::BASE_PATH;
use harness::waiting::{until, until_some};
use http::Method;
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    cases![
        a1_a_key_of_another_property_finds_nothing_on_any_line_of_the_emitter,
        a2_lists_of_the_emitter_leave_out_what_a_key_does_not_see,
        a2_a_cursor_tells_nothing_and_is_good_for_every_replica,
        a3_nothing_is_made_in_another_property,
        a9_a_stored_answer_is_shown_within_the_present_scope_alone,
        a1_a_key_sees_events_and_profiles_of_its_properties_alone,
        a1_a_key_of_another_property_finds_nothing_on_any_line_of_the_receiver,
        a2_lists_of_the_receiver_show_nothing_of_another_property,
    ]
}

const SAO_BENTO: &str = "LIS01";
const RIBEIRA: &str = "OPO01";

/// A hotel with a guest and a reservation.
struct Hotel {
    property: &'static str,
    guest: String,
    reservation: String,
}

impl Hotel {
    async fn open(pms: &Pms, property: &'static str, admin: &str) -> Self {
        let send = async |path: &str, body: Value| {
            with_key(pms, admin, Method::POST, path, Some(&body))
                .await
                .expect(201)
        };
        let body = json!({"id": property, "name": property, "timezone": "Europe/Lisbon", "currency": "EUR"});
        send("/properties", body).await;
        let body = json!({"property_id": property, "first_name": "Ana", "last_name": "Silva"});
        let guest = send("/guests", body).await.id().to_owned();
        let body = json!({
            "property_id": property, "primary_guest_id": guest, "check_in": "2026-04-01", "check_out": "2026-04-03",
            "adults": 1, "nightly_rates": ["100", "110"],
        });
        let reservation = send("/reservations", body).await.id().to_owned();
        Self {
            property,
            guest,
            reservation,
        }
    }
}

async fn a1_a_key_of_another_property_finds_nothing_on_any_line_of_the_emitter(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let hotel = Hotel::open(&pms, SAO_BENTO, super::ADMIN).await;
    Hotel::open(&pms, RIBEIRA, super::ADMIN).await;
    let (own, other) = (
        key(&pms, &["admin"], json!([SAO_BENTO])).await,
        key(&pms, &["admin"], json!([RIBEIRA])).await,
    );
    let key_id = make_one(&pms).await;
    let event = first_event(&pms, SAO_BENTO).await;
    let webhook = json!({
        "name": "CRM", "url": "http://127.0.0.1:9/hook", "events": ["*"], "start": "beginning", "active": false,
    });
    let made = with_key(&pms, &own, Method::POST, "/webhooks", Some(&webhook)).await;
    let webhook = made.expect(201).id().to_owned();
    let queued = format!("/webhooks/{webhook}/deliveries/{event}");
    until("its event is queued", || async {
        with_key(&pms, &own, Method::GET, &queued, None).await.status == 200
    })
    .await;
    let (replay, span) = (
        format!("/webhooks/{webhook}/replay"),
        json!({"from": "2001-01-01T00:00:00Z"}),
    );
    let begun = with_key(&pms, &own, Method::POST, &replay, Some(&span)).await;
    let run = begun.expect(202).id().to_owned();
    let lines: Vec<_> = pms
        .table
        .iter()
        .filter(|line| line.pattern.contains("{id}"))
        .cloned()
        .collect();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        assert_ne!(line.access, Access::Public, "{line:?}");
        let area = line
            .pattern
            .strip_prefix(BASE_PATH)
            .unwrap()
            .split('/')
            .nth(1)
            .unwrap();
        let id = match area {
            "events" => &event,
            "guests" => &hotel.guest,
            "reservations" => &hotel.reservation,
            "properties" => hotel.property,
            "api-keys" => &key_id,
            "webhooks" => &webhook,
            "runs" => &run,
            other => panic!("an area without a thing of its own: {other}"),
        };
        let path = line
            .pattern
            .replace("{id}", id)
            .replace("{event_id}", &event)
            .replace("{n}", "1")
            .replace("{transition}", "confirm");
        let path = path.strip_prefix(BASE_PATH).unwrap();
        let body = (line.method != Method::GET).then(|| json!({}));
        let answer = with_key(&pms, &other, line.method.clone(), path, body.as_ref()).await;
        assert_eq!(answer.status, 404, "{line:?} {}", answer.body);
        // The same is there for who sees the property, whatever it says of an empty body.
        if area != "api-keys" && line.method != Method::DELETE {
            let answer = with_key(&pms, &own, line.method.clone(), path, body.as_ref()).await;
            let is_there = answer.status != 404 && (line.method != Method::GET || answer.status == 200);
            assert!(is_there, "{line:?} {} {}", answer.status, answer.body);
        }
    }
    with_key(&pms, &own, Method::GET, "/guests/webhook/status", None)
        .await
        .expect(404);
    // Nothing was changed.
    let guest = with_key(&pms, &own, Method::GET, &format!("/guests/{}", hotel.guest), None).await;
    assert_eq!(guest.body["version"], 1);
    pms.stop().await;
}

/// The id of an event of a property, once it has its place in the feed.
async fn first_event(pms: &Pms, property: &str) -> String {
    until_some("its place", || async {
        let feed = with_key(pms, super::ADMIN, Method::GET, "/events", None)
            .await
            .expect(200);
        let events = feed.body["data"].as_array().unwrap();
        let event = events.iter().find(|event| event["property_id"] == property)?;
        event["event_id"].as_str().map(str::to_owned)
    })
    .await
}

/// The id of a key that sees everything.
async fn make_one(pms: &Pms) -> String {
    let made = super::make(
        pms,
        json!({"name": "all", "permissions": ["read"], "property_ids": "*"}),
    )
    .await;
    made.expect(201).id().to_owned()
}

async fn a2_lists_of_the_emitter_leave_out_what_a_key_does_not_see(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    Hotel::open(&pms, SAO_BENTO, super::ADMIN).await;
    let hotel = Hotel::open(&pms, RIBEIRA, super::ADMIN).await;
    let other = key(&pms, &["read"], json!([RIBEIRA])).await;
    for (list, id) in [
        ("/guests", hotel.guest.as_str()),
        ("/reservations", &hotel.reservation),
        ("/properties", hotel.property),
    ] {
        let seen = with_key(&pms, &other, Method::GET, list, None).await.expect(200);
        let ids: Vec<_> = seen.body["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, [id], "{list}");
    }
    for list in ["/guests", "/reservations"] {
        let path = format!("{list}?property_id={SAO_BENTO}");
        let seen = with_key(&pms, &other, Method::GET, &path, None).await.expect(200);
        assert_eq!(seen.body["data"], json!([]), "{list}");
    }
    pms.stop().await;
}

async fn a2_a_cursor_tells_nothing_and_is_good_for_every_replica(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for name in ["Ana", "Rui"] {
        pms.post("/guests", &json!({"first_name": name, "last_name": "Silva"}))
            .await
            .expect(201);
    }
    let first = pms.get("/guests?limit=1&sort=last_name").await.expect(200).body;
    let cursor = first["pagination"]["next_cursor"].as_str().unwrap().to_owned();
    let bytes = data_encoding::BASE64URL_NOPAD.decode(cursor.as_bytes()).unwrap();
    for shown in ["silva", "gst_"] {
        assert!(
            !bytes.windows(shown.len()).any(|part| part == shown.as_bytes()),
            "{cursor}"
        );
    }
    pms.stop().await;
    // Another process on the same tables has the same key.
    let other = Pms::start(&ctx).await;
    let path = format!("/guests?limit=1&sort=last_name&cursor={cursor}");
    let second = other.get(&path).await.expect(200).body;
    assert_ne!(second["data"][0]["id"], first["data"][0]["id"]);
    other.stop().await;
}

async fn a3_nothing_is_made_in_another_property(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let hotel = Hotel::open(&pms, SAO_BENTO, super::ADMIN).await;
    let own = Hotel::open(&pms, RIBEIRA, super::ADMIN).await;
    let other = key(&pms, &["admin"], json!([RIBEIRA])).await;
    let guest = json!({"property_id": SAO_BENTO, "first_name": "Rui", "last_name": "Costa"});
    let refused = with_key(&pms, &other, Method::POST, "/guests", Some(&guest)).await;
    let mut unknown = guest.clone();
    unknown["property_id"] = json!("NONE1");
    let unheard = with_key(&pms, &other, Method::POST, "/guests", Some(&unknown)).await;
    assert_eq!(
        (refused.status, refused.errors()),
        (unheard.status, unheard.errors()),
        "a property out of scope is as one that is not there"
    );
    let property = json!({"id": "FAO01", "name": "Faro", "timezone": "Europe/Lisbon", "currency": "EUR"});
    with_key(&pms, &other, Method::POST, "/properties", Some(&property))
        .await
        .expect(404);
    // A guest of another property is no guest for a reservation, and a body moves nothing between properties.
    let booking = json!({"primary_guest_id": hotel.guest});
    let path = format!("/reservations/{}", own.reservation);
    let answer = with_key(&pms, &other, Method::PUT, &path, Some(&booking)).await;
    assert_eq!(answer.status, 422, "{}", answer.body);
    let moving = json!({"property_id": SAO_BENTO});
    let path = format!("/guests/{}", own.guest);
    let answer = with_key(&pms, &other, Method::PUT, &path, Some(&moving)).await;
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM guests").await, 2);
    pms.stop().await;
}

async fn a9_a_stored_answer_is_shown_within_the_present_scope_alone(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let hotel = Hotel::open(&pms, SAO_BENTO, super::ADMIN).await;
    Hotel::open(&pms, RIBEIRA, super::ADMIN).await;
    let body = json!({"name": "desk", "permissions": ["write"], "property_ids": [SAO_BENTO, "LIS02"]});
    let desk = super::make(&pms, body).await.expect(201);
    let text = desk.body["key"].as_str().unwrap();
    let path = format!("/api-keys/{}", desk.id());
    let change = async |patch: Value| {
        let changed = with_key(&pms, super::ADMIN, Method::PATCH, &path, Some(&patch)).await;
        changed.expect(200);
    };
    let of = |id: &str| {
        json!({
            "property_id": SAO_BENTO, "primary_guest_id": id, "check_in": "2026-04-01", "check_out": "2026-04-03",
            "adults": 1, "nightly_rates": ["100", "110"],
        })
    };
    let reservation = format!("/reservations/{}", hotel.reservation);
    // Every POST of the table but those of keys: to which body, and what it answers once the property is out of scope.
    let requests = [
        (
            "/guests".to_owned(),
            json!({"property_id": SAO_BENTO, "last_name": "Costa"}),
            422,
        ),
        ("/reservations".to_owned(), of(&hotel.guest), 422),
        (
            format!("{reservation}/assign-room"),
            json!({"room_id": "101"}),
            404,
        ),
        // Now it changes nothing: such answers are stored in another way.
        (
            format!("{reservation}/assign-room"),
            json!({"room_id": "101"}),
            404,
        ),
        (format!("/properties/{SAO_BENTO}/night-audit"), json!({}), 404),
        (
            "/properties".to_owned(),
            json!({"id": "LIS02", "name": "Two", "timezone": "Europe/Lisbon", "currency": "EUR"}),
            404,
        ),
    ];
    let post = async |(path, body, _): &(String, Value, u16), key: &str| {
        let headers = [("x-api-key", text), ("idempotency-key", key)];
        pms.send(Method::POST, path, &headers, Some(body)).await
    };
    let keys: Vec<String> = (0..requests.len()).map(|nth| format!("k-{nth}")).collect();
    let mut first = Vec::new();
    for (request, key) in requests.iter().zip(&keys) {
        let answer = post(request, key).await;
        assert!([200, 201].contains(&answer.status), "{request:?} {}", answer.body);
        first.push(answer);
    }
    let replays_the_first = async || {
        for ((request, key), first) in requests.iter().zip(&keys).zip(&first) {
            let again = post(request, key).await;
            assert_eq!(
                (again.status, &again.body),
                (first.status, &first.body),
                "{request:?}"
            );
            assert_eq!(again.header("idempotency-replayed"), "true", "{request:?}");
        }
    };
    replays_the_first().await;
    change(json!({"property_ids": [RIBEIRA]})).await;
    for (request, key) in requests.iter().zip(&keys) {
        let (answer, fresh) = (
            post(request, key).await,
            post(request, &format!("{key}-new")).await,
        );
        assert_eq!(answer.status, request.2, "{request:?} {}", answer.body);
        assert_eq!(
            (fresh.status, &fresh.body["code"]),
            (answer.status, &answer.body["code"]),
            "{request:?}"
        );
        assert_eq!(fresh.body["errors"], answer.body["errors"], "{request:?}");
        assert!(answer.header("idempotency-replayed").is_empty(), "{request:?}");
    }
    change(json!({"property_ids": [SAO_BENTO, "LIS02", RIBEIRA]})).await;
    replays_the_first().await;
    change(json!({"permissions": ["read"]})).await;
    for (request, key) in requests.iter().zip(&keys) {
        let answer = post(request, key).await.expect(403);
        assert_eq!(answer.body["code"], "forbidden", "{request:?}");
    }
    pms.stop().await;
}

async fn a1_a_key_sees_events_and_profiles_of_its_properties_alone(ctx: Ctx) {
    let mut config = crate::ingest::config(ctx.url());
    config.access.admin_api_key = Some(super::ADMIN.parse().unwrap());
    let receiver = Receiver::start_with(config).await;
    receiver.take("evt_1", &guest_event("evt_1")).await;
    receiver.settle(&ctx).await;
    let (all, own, other) = (
        receiver.key(super::ADMIN, json!("*")).await,
        receiver.key(super::ADMIN, json!([SAO_BENTO])).await,
        receiver.key(super::ADMIN, json!([RIBEIRA])).await,
    );
    for (list, id) in [("/events", "event_id"), ("/guest-profiles", "profile_id")] {
        let seen = receiver.get_with(&all, list).await.json();
        let one = format!("{list}/{}", seen["data"][0][id].as_str().unwrap());
        assert_eq!(
            receiver.get_with(&own, list).await.json()["data"],
            seen["data"],
            "{list}"
        );
        assert_eq!(receiver.get_with(&own, &one).await.status, 200, "{one}");
        assert_eq!(
            receiver.get_with(&other, list).await.json()["data"],
            json!([]),
            "{list}"
        );
        assert_eq!(receiver.get_with(&other, &one).await.status, 404, "{one}");
    }
    receiver.stop().await;
}

async fn a1_a_key_of_another_property_finds_nothing_on_any_line_of_the_receiver(ctx: Ctx) {
    let mut config = crate::ingest::config(ctx.url());
    config.access.admin_api_key = Some(super::ADMIN.parse().unwrap());
    let receiver = Receiver::start_with(config).await;
    let send = async |key: &str, method: &Method, path: &str, body: Option<Value>| {
        receiver
            .ask(Some(key), method.as_str(), path, body.as_ref())
            .await
    };
    let make = async |path: &str, body: Value| {
        let answer = send(super::ADMIN, &Method::POST, path, Some(body)).await;
        assert!([201, 202].contains(&answer.status), "{path} {}", answer.json());
        answer.json()
    };
    receiver.take("evt_1", &guest_event("evt_1")).await;
    receiver.settle(&ctx).await;
    let source = json!({"id": "spa", "name": "Spa", "property_ids": [SAO_BENTO]});
    make("/sources", source).await;
    make("/sources/spa/rotate-secret", json!({})).await;
    let images =
        json!({"id": "images", "name": "Images", "scheme": "job-status", "property_ids": [SAO_BENTO]});
    make("/sources", images).await;
    make("/jobs", json!({"source": "images", "job_id": "job_1"})).await;
    let admin =
        |name: &str, scope: Value| json!({"name": name, "permissions": ["admin"], "property_ids": scope});
    let all = make("/api-keys", admin("all", json!("*"))).await;
    let own = make("/api-keys", admin("own", json!([SAO_BENTO]))).await;
    let other = make("/api-keys", admin("other", json!([RIBEIRA]))).await;
    let (own, other) = (own["key"].as_str().unwrap(), other["key"].as_str().unwrap());
    let filter = Some(json!({"filter": {"property_id": SAO_BENTO}}));
    let run = send(own, &Method::POST, "/requeues", filter).await.json();
    let first = async |list: &str, id: &str| {
        let seen = receiver.get_with(own, list).await.json();
        seen["data"][0][id].as_str().unwrap().to_owned()
    };
    let event = first("/events", "event_id").await;
    let profile = first("/guest-profiles", "profile_id").await;
    let named = |line: &&Line| line.pattern.contains('{') && line.access != Access::Public;
    let lines: Vec<_> = receiver.table.iter().filter(named).cloned().collect();
    assert!(lines.len() > 15, "{lines:?}");
    for line in lines {
        let path = line.pattern.strip_prefix(BASE_PATH).unwrap();
        let area = path.split('/').nth(1).unwrap();
        let id = match area {
            "events" => event.as_str(),
            "guest-profiles" => &profile,
            "sources" => "spa",
            "requeues" => run["id"].as_str().unwrap(),
            "jobs" => "job_1",
            "api-keys" => all["id"].as_str().unwrap(),
            other => panic!("an area without a thing of its own: {other}"),
        };
        let path = path
            .replace("{id}", id)
            .replace("{job_id}", id)
            .replace("{n}", "1");
        let body = (line.method != Method::GET).then(|| json!({}));
        let answer = send(other, &line.method, &path, body.clone()).await;
        assert_eq!(answer.status, 404, "{line:?} {}", answer.json());
        if area != "api-keys" && line.method != Method::DELETE {
            let answer = send(own, &line.method, &path, body).await;
            let is_there = answer.status != 404 && (line.method != Method::GET || answer.status == 200);
            assert!(is_there, "{line:?} {}", answer.status);
        }
    }
    // Nothing was changed.
    let shown = send(super::ADMIN, &Method::GET, "/sources/spa/secrets", None)
        .await
        .json();
    assert_eq!(
        shown["data"].as_array().unwrap().len(),
        2,
        "the owner's rotation alone: {shown}"
    );
    assert!(shown["data"][1]["until"].is_string());
    receiver.stop().await;
}

async fn a2_lists_of_the_receiver_show_nothing_of_another_property(ctx: Ctx) {
    let mut config = crate::ingest::config(ctx.url());
    config.access.admin_api_key = Some(super::ADMIN.parse().unwrap());
    let receiver = Receiver::start_with(config).await;
    receiver.take("evt_1", &guest_event("evt_1")).await;
    receiver.take("evt_2", b"not signed for this").await;
    receiver.settle(&ctx).await;
    let other = receiver.key(super::ADMIN, json!([RIBEIRA])).await;
    let lists: Vec<_> = receiver
        .table
        .iter()
        .filter(|line| {
            line.method == Method::GET && !line.pattern.contains('{') && line.access != Access::Public
        })
        .map(|line| line.pattern.strip_prefix(BASE_PATH).unwrap().to_owned())
        .filter(|path| !["/events/stream", "/api-keys", "/api-keys/self"].contains(&path.as_str()))
        .collect();
    assert!(lists.len() >= 4, "{lists:?}");
    for list in lists {
        let shown = receiver.get_with(super::ADMIN, &format!("{list}?limit=1")).await;
        assert_eq!(shown.status, 200, "{list}");
        for query in ["", "?limit=200"] {
            let seen = receiver.get_with(&other, &format!("{list}{query}")).await;
            // A key that reads may not see API keys or sources at all.
            assert!([200, 403].contains(&seen.status), "{list} {}", seen.status);
            if seen.status == 200 {
                assert_eq!(seen.json()["data"], json!([]), "{list}{query}");
            }
        }
        let forged = receiver
            .get_with(&other, &format!("{list}?cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))
            .await;
        assert!([400, 403].contains(&forged.status), "{list} {}", forged.status);
    }
    for query in [
        format!("/events?property_id={SAO_BENTO}"),
        "/events?idempotency_key=evt_1".to_owned(),
        "/events?entity_id=x_evt_1".to_owned(),
        "/events?source=pms".to_owned(),
    ] {
        let seen = receiver.get_with(&other, &query).await;
        assert_eq!((seen.status, &seen.json()["data"]), (200, &json!([])), "{query}");
    }
    receiver.stop().await;
}
