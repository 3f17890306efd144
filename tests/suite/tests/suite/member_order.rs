//! The members of answers, events and problems stand in the order in which the documentation lists them.

use std::net::SocketAddr;
use std::sync::Arc;

use db::params;
use harness::signer::{Answer, Delivery};
use http::Method;
use serde_json::Value;

use crate::case::{Case, Ctx, cases};
use crate::ingest::Receiver;
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![case21_members_stand_in_their_documented_order]
}

/// The places of these members in an object's text, which must all be there.
fn assert_ordered(text: &str, members: &[&str]) {
    let place = |name: &&str| {
        text.find(&format!("\"{name}\":"))
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let places: Vec<usize> = members.iter().map(place).collect();
    assert!(places.is_sorted(), "{members:?} in {text}");
    assert_eq!(places[0], 1, "{} stands first in {text}", members[0]);
}

const GUEST: [&str; 13] = [
    "id",
    "version",
    "property_id",
    "created_at",
    "updated_at",
    "external_ids",
    "first_name",
    "last_name",
    "phone",
    "documents",
    "blacklisted",
    "email_kind",
    "status",
];
const RESERVATION: [&str; 12] = [
    "id",
    "version",
    "property_id",
    "confirmation_number",
    "status",
    "primary_guest_id",
    "check_in",
    "check_out",
    "adults",
    "room_total",
    "nights",
    "booked_on",
];
const PROFILE: [&str; 8] = [
    "profile_id",
    "status",
    "display_name",
    "first_name",
    "address",
    "blacklisted",
    "updated_at",
    "metrics",
];
const EVENT: [&str; 8] = [
    "event_id",
    "idempotency_key",
    "source",
    "type",
    "status",
    "entity",
    "received_at",
    "correlation_id",
];
const PROBLEM: [&str; 6] = ["type", "title", "status", "instance", "code", "request_id"];

/// The text of an answer of either service to a GET.
async fn text(address: SocketAddr, path: &str) -> String {
    String::from_utf8(get(address, path).await.body).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    let request = Delivery::bare("GET", format!("/api/v1{path}"));
    request.send(address).await.unwrap()
}

/// The first item of a list's text.
fn first(list: &str) -> &str {
    list.strip_prefix("{\"data\":[")
        .unwrap_or_else(|| panic!("{list}"))
}

async fn case21_members_stand_in_their_documented_order(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    // Sent in the reverse of it.
    let guest = r#"{"phone":"+351912000111","address":{"country":"PT","postal_code":"1","city":"Lisboa","line1":"x"},
        "last_name":"Silva","first_name":"Ana","external_ids":[{"value":"1","system":"a"}]}"#;
    let made = pms
        .send_raw(Method::POST, "/api/v1/guests", &[], guest.into())
        .await
        .expect(201);
    let stay = format!(
        r#"{{"check_out":"2026-03-22","check_in":"2026-03-20","primary_guest_id":"{}"}}"#,
        made.id()
    );
    let stay = pms
        .send_raw(Method::POST, "/api/v1/reservations", &[], stay.into())
        .await
        .expect(201);
    let address: SocketAddr = pms.address().parse().unwrap();
    let shown = text(address, &format!("/guests/{}", made.id())).await;
    assert_ordered(&shown, &GUEST);
    assert!(
        shown.contains(r#""address":{"line1":"x","line2":null,"city":"Lisboa""#),
        "{shown}"
    );
    assert!(
        shown.contains(r#""external_ids":[{"system":"a","value":"1"}]"#),
        "{shown}"
    );
    assert_ordered(first(&text(address, "/guests").await), &GUEST);
    let path = format!("/reservations/{}", stay.id());
    assert_ordered(&text(address, &path).await, &RESERVATION);
    assert_ordered(first(&text(address, "/reservations").await), &RESERVATION);
    let property = [
        "id",
        "version",
        "name",
        "timezone",
        "currency",
        "business_date",
        "created_at",
    ];
    assert_ordered(&text(address, "/properties/MAIN").await, &property);
    assert_ordered(&text(address, "/nowhere").await, &PROBLEM);
    let sent = raw_events(&pms).await;
    assert_ordered(
        payload(&sent[0]),
        &["id", "version", "property_id", "last_name", "address", "status"],
    );
    assert_ordered(
        payload(&sent[1]),
        &[
            "id",
            "version",
            "confirmation_number",
            "status",
            "check_in",
            "total",
        ],
    );
    pms.stop().await;

    let other = ctx.servers.fresh(ctx.engine, "order").await.unwrap();
    let theirs = Ctx {
        database: Arc::new(other),
        ..ctx.clone()
    };
    let receiver = Receiver::start(&theirs).await;
    for event in &sent {
        let key = serde_json::from_str::<Value>(event).unwrap()["idempotency_key"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(receiver.take(&key, event.as_bytes()).await.status, 202);
    }
    receiver.settle(&theirs).await;
    let profiles = text(receiver.address, "/guest-profiles").await;
    assert_ordered(first(&profiles), &PROFILE);
    let id = serde_json::from_str::<Value>(&profiles).unwrap()["data"][0]["profile_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let profile = text(receiver.address, &format!("/guest-profiles/{id}")).await;
    assert_ordered(&profile, &PROFILE);
    assert!(
        profile.contains(r#""address":{"line1":"x","line2":null,"city":"Lisboa""#),
        "{profile}"
    );
    assert!(
        profile.contains(r#""external_ids":[{"system":"a","value":"1"}]"#),
        "{profile}"
    );
    assert_ordered(first(&text(receiver.address, "/events").await), &EVENT);
    assert_ordered(&text(receiver.address, "/nowhere").await, &PROBLEM);
    receiver.stop().await;
    Arc::into_inner(theirs.database).unwrap().remove().await.unwrap();
}

fn payload(event: &str) -> &str {
    event.split_once("\"payload\":").unwrap().1
}

/// The bodies of all events in the order of their making, byte by byte.
async fn raw_events(pms: &Pms) -> Vec<String> {
    let sql = "SELECT b.body FROM events e JOIN event_bodies b ON b.event_id = e.id ORDER BY e.entity_kind, e.committed_at";
    let rows = pms
        .db
        .read("bodies", move |tx| Box::pin(tx.query(sql, params![])))
        .await
        .unwrap();
    rows.iter()
        .map(|row| String::from_utf8(row.get("body").unwrap()).unwrap())
        .collect()
}
