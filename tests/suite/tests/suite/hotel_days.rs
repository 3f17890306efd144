//! A hotel's own days, from the front desk to the profile: which nights count, and what day it is there.

use std::sync::Arc;
use std::time::Duration;

use contract::UnixMillis;
use harness::client::Client;
use harness::clock::HandClock;
use harness::database::SETTLED_WITHIN;
use harness::engine::TestDatabase;
use harness::world::{Settings, World};
use kit::random::{Runtime, SystemEntropy};
use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::inbox::{Inbox, sent_event, settle};
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![
        case12_nights_count_from_the_booked_arrival_to_the_real_departure,
        case13_today_is_each_propertys_own,
        case13_every_event_of_a_reservation_says_its_propertys_day,
        case13_the_newest_business_date_stands_in_any_order_of_arrival,
    ]
}

/// Half past one in the afternoon of the 14th in UTC: the 15th in Auckland, and the 14th in Honolulu.
const NOON: &str = "2026-03-14T13:30:00Z";

/// Both services on one clock.
struct Hotel {
    world: World,
    clock: Arc<HandClock>,
    emitter: Client,
    receiver: Client,
    other: TestDatabase,
}

impl Hotel {
    async fn start(ctx: &Ctx) -> Self {
        let other = ctx.servers.fresh(ctx.engine, "days_receiver").await.unwrap();
        let clock = Arc::new(HandClock::at(UnixMillis::parse_rfc3339(NOON).unwrap()));
        let runtime = || Runtime {
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
        };
        let settings = Settings::on(ctx.database.url(), other.url());
        let world = World::start_on(settings, runtime).await.unwrap();
        Self {
            emitter: Client::new(world.emitter_api()),
            receiver: Client::new(world.receiver_api()),
            clock,
            world,
            other,
        }
    }

    /// Posts, under a key of its own, what has to succeed.
    async fn post(&self, path: &str, body: &Value) -> Value {
        let key = format!("at-{}", contract::Clock::now(self.clock.as_ref()).0);
        self.clock.advance(Duration::from_millis(1));
        let answer = self.emitter.post(path, body, &key).await.unwrap();
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
        answer.body
    }

    async fn property(&self, id: &str, zone: &str) {
        let body = json!({"id": id, "name": id, "timezone": zone, "currency": "EUR"});
        self.post("/properties", &body).await;
    }

    /// A new guest of a property, by the name.
    async fn guest(&self, property: &str, name: &str) -> String {
        let made = self
            .post("/guests", &json!({"property_id": property, "last_name": name}))
            .await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Books a room at 80.00 a night, and answers the reservation's path.
    async fn book(&self, property: &str, guest: &str, from: &str, until: &str) -> String {
        let mut body =
            json!({"property_id": property, "primary_guest_id": guest, "check_in": from, "check_out": until});
        let nights = (date(until) - date(from)).get_days().max(1);
        body["nightly_rates"] = vec!["80.00"; usize::try_from(nights).unwrap()].into();
        if from == until {
            body["stay_type"] = "day_use".into();
        }
        let made = self.post("/reservations", &body).await;
        format!("/reservations/{}", made["id"].as_str().unwrap())
    }

    async fn night_audit(&self, property: &str) {
        self.post(&format!("/properties/{property}/night-audit"), &json!({}))
            .await;
    }

    /// The metrics of a guest by the name, as the receiver shows them on a day, or today.
    async fn metrics(&self, name: &str, as_of: Option<&str>) -> Value {
        self.world.settled(SETTLED_WITHIN).await.unwrap();
        let list = self
            .receiver
            .get(&format!("/guest-profiles?name={name}"))
            .await
            .unwrap();
        let id = list.body["data"][0]["profile_id"].as_str().unwrap().to_owned();
        let query = as_of.map_or_else(String::new, |day| format!("?as_of={day}"));
        let profile = self
            .receiver
            .get(&format!("/guest-profiles/{id}{query}"))
            .await
            .unwrap();
        assert_eq!(profile.status, 200);
        profile.body["metrics"].clone()
    }

    async fn stop(self) {
        self.world.stop().await.unwrap();
        self.other.remove().await.unwrap();
    }
}

fn date(text: &str) -> jiff::civil::Date {
    text.parse().unwrap()
}

async fn case12_nights_count_from_the_booked_arrival_to_the_real_departure(ctx: Ctx) {
    let hotel = Hotel::start(&ctx).await;
    // Booked from and until; the business dates of the real arrival and departure, in days after the first; nights, ADR.
    let table: [(&str, &str, &str, u32, u32, u64, Value); 7] = [
        ("ONE", "2026-03-14", "2026-03-15", 1, 1, 1, json!("80.00")),
        ("TWO", "2026-03-14", "2026-03-16", 1, 2, 2, json!("80.00")),
        ("PLAIN", "2026-03-14", "2026-03-16", 0, 2, 2, json!("80.00")),
        ("EARLY", "2026-03-14", "2026-03-18", 0, 2, 2, json!("160.00")),
        ("OVER", "2026-03-14", "2026-03-15", 0, 3, 3, json!("26.67")),
        ("LATEOVER", "2026-03-14", "2026-03-15", 1, 2, 2, json!("40.00")),
        ("DAYUSE", "2026-03-14", "2026-03-14", 0, 0, 0, json!(null)),
    ];
    for (id, from, until, arrived, left, nights, adr) in table {
        hotel.property(id, "UTC").await;
        let guest = hotel.guest(id, id).await;
        let path = hotel.book(id, &guest, from, until).await;
        for day in 0..=left {
            if day == arrived {
                hotel
                    .post(&format!("{path}/check-in"), &json!({"room_id": "1"}))
                    .await;
            }
            if day < left {
                hotel.night_audit(id).await;
            }
        }
        hotel.post(&format!("{path}/check-out"), &json!({})).await;
        // Taken back and done again: nothing counts twice.
        hotel.post(&format!("{path}/revert-check-out"), &json!({})).await;
        let staying = hotel.metrics(id, Some("2026-03-14")).await;
        assert_eq!(
            (&staying["stays"], &staying["room_nights"]),
            (&json!(0), &json!(0)),
            "{id}"
        );
        hotel
            .post(&format!("{path}/check-out"), &json!({"balance": "0"}))
            .await;
        let metrics = hotel.metrics(id, Some("2026-03-14")).await;
        assert_eq!(
            (&metrics["stays"], &metrics["room_nights"]),
            (&json!(1), &json!(nights)),
            "{id}"
        );
        assert_eq!(metrics["revenue"][0]["adr"], adr, "{id}");
    }
    hotel.stop().await;
}

async fn case13_today_is_each_propertys_own(ctx: Ctx) {
    let hotel = Hotel::start(&ctx).await;
    for (id, zone, today, tomorrow) in [
        ("AKL", "Pacific/Auckland", "2026-03-15", "2026-03-16"),
        ("HNL", "Pacific/Honolulu", "2026-03-14", "2026-03-15"),
        ("LON", "Europe/London", "2026-03-14", "2026-03-15"),
    ] {
        hotel.property(id, zone).await;
        let guest = hotel.guest(id, id).await;
        let path = hotel.book(id, &guest, today, tomorrow).await;
        let expected = hotel.metrics(id, None).await;
        assert_eq!(expected["as_of"], today, "{id}");
        assert_eq!(expected["in_house"], false, "{id}");
        assert_eq!(expected["next_stay"]["from"], today, "{id}");
        hotel
            .post(&format!("{path}/check-in"), &json!({"room_id": "1"}))
            .await;
        let here = hotel.metrics(id, None).await;
        assert_eq!(
            (&here["in_house"], &here["next_stay"]),
            (&json!(true), &json!(null)),
            "{id}"
        );
        // The night audit has run, before midnight: another guest's booking says so.
        hotel.night_audit(id).await;
        let other = hotel.guest(id, "Other").await;
        hotel.book(id, &other, tomorrow, "2026-04-01").await;
        assert_eq!(hotel.metrics(id, None).await["as_of"], tomorrow, "{id}");
        hotel.post(&format!("{path}/check-out"), &json!({})).await;
        let gone = hotel.metrics(id, None).await;
        assert_eq!(
            (&gone["in_house"], &gone["room_nights"]),
            (&json!(false), &json!(1)),
            "{id}"
        );
        assert_eq!(
            hotel.metrics(id, Some(today)).await["in_house"],
            true,
            "{id}: on the day before"
        );
    }
    // Nobody books for days: the date in the zone counts.
    hotel.clock.advance(Duration::from_secs(5 * 24 * 3600));
    assert_eq!(hotel.metrics("AKL", None).await["as_of"], "2026-03-20");
    hotel.stop().await;
}

async fn case13_every_event_of_a_reservation_says_its_propertys_day(ctx: Ctx) {
    let pms = Pms::start_at(&ctx, UnixMillis::parse_rfc3339(NOON).unwrap()).await;
    let property = json!({"id": "AKL", "name": "A", "timezone": "Pacific/Auckland", "currency": "NZD"});
    pms.post("/properties", &property).await.expect(201);
    let guest = json!({"property_id": "AKL", "last_name": "Silva"});
    let guest = pms.post("/guests", &guest).await.expect(201);
    let request = json!({"property_id": "AKL", "primary_guest_id": guest.id(), "check_in": "2026-03-15",
        "check_out": "2026-03-17", "status": "optional"});
    let made = pms.post("/reservations", &request).await.expect(201);
    assert!(
        made.body.get("business_date").is_none(),
        "the API shows it with the property"
    );
    let path = format!("/reservations/{}", made.id());
    let mut days = vec!["2026-03-15"];
    for (name, body) in [
        ("confirm", json!({})),
        ("cancel", json!({"reason": "weather"})),
        ("reinstate", json!({})),
        ("assign-room", json!({"room_id": "1"})),
        ("check-in", json!({})),
        ("revert-check-in", json!({})),
        ("check-in", json!({})),
    ] {
        pms.post(&format!("{path}/{name}"), &body).await.expect(200);
        days.push("2026-03-15");
    }
    pms.post("/properties/AKL/night-audit", &json!({}))
        .await
        .expect(200);
    for name in ["check-out", "revert-check-out", "check-out"] {
        pms.post(&format!("{path}/{name}"), &json!({})).await.expect(200);
        days.push("2026-03-16");
    }
    let no_show = pms.post("/reservations", &request).await.expect(201);
    pms.put(&format!("/reservations/{}", no_show.id()), &json!({"adults": 3}))
        .await
        .expect(200);
    pms.delete(&format!("/reservations/{}", no_show.id()))
        .await
        .expect(204);
    let said = |events: Vec<Value>| {
        let days = events.into_iter().map(|event| {
            assert_eq!(
                event["payload"]["timezone"], "Pacific/Auckland",
                "{}",
                event["type"]
            );
            event["payload"]["business_date"].as_str().unwrap().to_owned()
        });
        days.collect::<Vec<_>>()
    };
    assert_eq!(said(pms.events(made.id()).await), days);
    assert_eq!(said(pms.events(no_show.id()).await), ["2026-03-16"; 3]);
    pms.stop().await;
}

async fn case13_the_newest_business_date_stands_in_any_order_of_arrival(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let event = |version: u64, day: &str, zone: &str| {
        let payload = json!({"status": "confirmed", "check_in": "2026-03-14", "check_out": "2026-03-15",
            "primary_guest_id": "g", "business_date": day, "timezone": zone});
        sent_event("reservation.updated", "r", version, 0, payload)
    };
    let mut events = [
        event(1, "2026-03-14", "UTC"),
        event(2, "2026-03-16", "Pacific/Auckland"),
        event(3, "2026-03-15", "UTC"),
    ];
    for round in 0..3 {
        inbox.empty().await;
        events.rotate_left(1);
        // A projector that remembers nothing for each event: the guarded write decides.
        for (nth, event) in events.iter().enumerate() {
            inbox.accept(nth, std::slice::from_ref(event)).await;
            settle(&inbox.projector().await).await;
        }
        let rows = inbox
            .rows("SELECT source_id, property_id, business_date, timezone FROM property_days")
            .await;
        let texts = |column: &str| {
            rows.iter()
                .map(|row| row.get::<String>(column).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts("business_date"), ["2026-03-16"], "{round}");
        assert_eq!(
            (texts("source_id"), texts("property_id")),
            (vec!["pms".to_owned()], vec!["MAIN".to_owned()])
        );
        assert_eq!(texts("timezone"), ["Pacific/Auckland"]);
    }
}
