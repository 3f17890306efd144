//! The load: clerks who write through the REST API, each write repeated until it has a final answer.
//!
//! A clerk makes a guest, changes it, books for it, changes the booking, and cancels it or has the guest stay, one
//! write after the other. A POST carries an `Idempotency-Key`, a PUT the version that it changes; what was not answered
//! is asked again, at the next emitter. So every write is carried out once, whichever process dies in between, and the
//! clerk knows which version it made.

use super::history::{Endpoint, History};
use super::ledger::ENV;
use super::progress::Progress;
use super::wire_tap::WireTap;
use anyhow::{Context, Result};
use harness::books::{Entity, Kind};
use harness::client::{Answer, Call, Client};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// One attempt: a paused emitter answers nobody.
const ATTEMPT_WITHIN: Duration = Duration::from_millis(1_500);
/// How long a write is repeated: longer than any outage of a run.
const PATIENCE: Duration = Duration::from_secs(90);
/// The pause after a failed attempt; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// Writes that may be ahead of their deliveries: the receivers must be under load when they are killed.
const AHEAD_MAX: u64 = 1_000;
/// What is made beside the environment's endpoint: its path at the tap, what it gets, and in which order.
const WEBHOOKS: [(&str, &str, &[Kind], &str); 2] = [
    ("/all", "*", &[Kind::Guest, Kind::Reservation], IN_ORDER),
    ("/guests", "guest.*", &[Kind::Guest], "none"),
];
/// The order that has one event of an entity sent at a time.
const IN_ORDER: &str = "entity";
/// The waits of their schedule, in seconds: a killed process is back within a few of them.
const WAITS: usize = 50;
/// Deliveries of each endpoint that are sent again at a time.
const SENT_AGAIN: usize = 5;
/// Changes of a booking.
const CHANGES: u64 = 3;
/// One guest in so many sees the business date move on.
const NIGHT_EVERY: u64 = 32;

/// Where the clerks work.
pub struct FrontDesk {
    /// The API of each emitter.
    emitters: Vec<Client>,
    /// Keeps this run's keys and names apart from any other's.
    run: String,
    /// Writes that may still be begun.
    budget: AtomicU64,
    stories: AtomicU64,
    progress: Arc<Progress>,
    tap: Arc<WireTap>,
    history: Mutex<History>,
}

/// A write that never got a final answer: the clerk stops this sequence.
struct Broken;

/// A clerk.
struct Clerk<'d> {
    desk: &'d FrontDesk,
    /// The emitter that is called: another one for each guest, and the next one when it does not answer.
    at: usize,
}

impl FrontDesk {
    /// A desk for `writes` writes.
    pub fn new(
        emitters: Vec<Client>,
        run: String,
        writes: u64,
        progress: Arc<Progress>,
        tap: Arc<WireTap>,
    ) -> Self {
        Self {
            emitters,
            run,
            budget: AtomicU64::new(writes),
            stories: AtomicU64::new(0),
            progress,
            tap,
            history: Mutex::default(),
        }
    }

    /// Works until the budget is spent.
    pub async fn work(&self) {
        while self.budget.load(Ordering::SeqCst) > 0 {
            self.keep_pace().await;
            let story = self.stories.fetch_add(1, Ordering::SeqCst);
            let at = usize::try_from(story).unwrap_or(0);
            // A refusal is in the history; the clerk continues with the next guest.
            let _ = Clerk { desk: self, at }.act_out(story).await;
        }
    }

    /// Notes the environment's endpoint, whose deliveries go to this path of the tap, and makes two more.
    ///
    /// # Errors
    /// When one cannot be made.
    pub async fn subscribe(&self, path: String) -> Result<()> {
        let mut endpoints = vec![Endpoint {
            id: ENV.to_owned(),
            path,
            kinds: vec![Kind::Guest, Kind::Reservation],
            in_order: false,
        }];
        let waits: Vec<u64> = (0..WAITS).map(|nth| u64::from(nth > 0)).collect();
        for (path, events, kinds, ordering) in WEBHOOKS {
            let body = json!({
                "name": path, "url": format!("http://{}{path}", self.tap.address()), "events": [events],
                "retry_schedule": waits, "timeout_seconds": 1, "ordering": ordering,
            });
            let key = format!("{}{}", self.run, path.replace('/', "-"));
            let made = self.emitters[0].post("/webhooks", &body, &key).await?;
            let id = made.body["id"].as_str().context("a webhook that was not made")?;
            endpoints.push(Endpoint {
                id: id.to_owned(),
                path: path.to_owned(),
                kinds: kinds.to_vec(),
                in_order: ordering == IN_ORDER,
            });
        }
        self.note(|history| history.endpoints = endpoints);
        Ok(())
    }

    /// Has some deliveries of each endpoint sent again that were delivered, at each of these numbers of writes. What an emitter that
    /// dies leaves undone stays so.
    pub async fn send_again(&self, at: [u64; 2]) {
        for writes in at {
            self.progress.reaches(writes).await;
            let mut endpoints = Vec::new();
            self.note(|history| endpoints.clone_from(&history.endpoints));
            for (endpoint, emitter) in endpoints.iter().zip(self.emitters.iter().cycle()) {
                let list = format!(
                    "/webhooks/{}/deliveries?status=delivered&limit={SENT_AGAIN}",
                    endpoint.id
                );
                let Ok(page) = emitter.get(&list).await else {
                    continue;
                };
                for delivery in page.body["data"].as_array().into_iter().flatten() {
                    let event = delivery["event_id"].as_str().unwrap_or_default();
                    let path = format!("/webhooks/{}/deliveries/{event}/retry", endpoint.id);
                    let key = format!("{}-{writes}-{}-{event}", self.run, endpoint.id);
                    let _ = emitter.post(&path, &json!({}), &key).await;
                }
            }
        }
    }

    /// What the clerks were answered.
    pub fn into_history(self) -> History {
        self.history.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while too many writes are ahead of their deliveries, but no longer than for an answer.
    async fn keep_pace(&self) {
        let catching_up = self
            .tap
            .until_taken(|taken| self.progress.count() <= taken + AHEAD_MAX);
        let _ = timeout(PATIENCE, catching_up).await;
    }

    fn confirm(&self, entity: &Entity, answer: &Answer) {
        let version = answer.body["version"].as_u64().unwrap_or_default();
        self.note(|history| history.confirm(entity, version));
        self.progress.answered();
    }

    fn note(&self, change: impl FnOnce(&mut History)) {
        change(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Clerk<'_> {
    async fn act_out(&mut self, story: u64) -> Result<(), Broken> {
        let run = &self.desk.run;
        let name = json!({"first_name": "Chaos", "last_name": format!("Guest {story}")});
        let guest = self
            .post(Kind::Guest, "/guests", &name, &format!("{run}-{story}-guest"))
            .await?;
        let changes = [
            ("first_name", "Chaotic".to_owned()),
            ("email", format!("guest.{story}@example.com")),
            ("phone", format!("+35191{story:07}")),
        ];
        for (version, (field, value)) in (1..).zip(changes) {
            self.put(&guest, version, (field, value.into())).await?;
        }
        let stays = story % 2 == 1;
        let (from, until) = if stays {
            ("2025-05-01", "2025-05-03")
        } else {
            ("2030-05-01", "2030-05-03")
        };
        let total = format!("{}.50", 100 + story % 100);
        let body =
            json!({"primary_guest_id": guest.id, "check_in": from, "check_out": until, "room_total": total});
        let key = format!("{run}-{story}-booking");
        let booking = self.post(Kind::Reservation, "/reservations", &body, &key).await?;
        for change in 1..=CHANGES {
            self.put(&booking, change, ("adults", json!(1 + change))).await?;
        }
        if !stays {
            let reason = json!({"reason": "guest request"});
            return self.transition(&booking, "cancel", &reason, story).await;
        }
        let room = json!({"room_id": format!("{story}")});
        self.transition(&booking, "check-in", &room, story).await?;
        if story % NIGHT_EVERY == 1 {
            self.end_day(&format!("{run}-{story}-night")).await;
        }
        self.transition(&booking, "check-out", &json!({}), story).await
    }

    /// Makes something; its first version is confirmed.
    async fn post(&mut self, kind: Kind, path: &str, body: &Value, key: &str) -> Result<Entity, Broken> {
        let call = Call {
            method: &Method::POST,
            path,
            body: Some(body),
            key: Some(key),
            expected: None,
        };
        let answer = self.ask(call).await?;
        let id = answer.body["id"].as_str().ok_or(Broken)?.to_owned();
        let entity = Entity { kind, id };
        self.desk.confirm(&entity, &answer);
        Ok(entity)
    }

    async fn transition(
        &mut self,
        booking: &Entity,
        name: &str,
        body: &Value,
        story: u64,
    ) -> Result<(), Broken> {
        let call = Call {
            method: &Method::POST,
            path: &format!("/reservations/{}/{name}", booking.id),
            body: Some(body),
            key: Some(&format!("{}-{story}-{name}", self.desk.run)),
            expected: None,
        };
        let answer = self.ask(call).await?;
        self.desk.confirm(booking, &answer);
        Ok(())
    }

    /// Moves the business date on, so that stays have nights: no event, and so no write of the budget.
    async fn end_day(&mut self, key: &str) {
        let call = Call {
            method: &Method::POST,
            path: "/properties/MAIN/night-audit",
            body: Some(&json!({})),
            key: Some(key),
            expected: None,
        };
        self.insist(call).await;
    }

    /// Changes one field of a version.
    async fn put(&mut self, entity: &Entity, version: u64, field: (&str, Value)) -> Result<(), Broken> {
        let path = format!("/{}s/{}", entity.kind.name(), entity.id);
        let body = json!({field.0: field.1});
        let call = Call {
            method: &Method::PUT,
            path: &path,
            body: Some(&body),
            key: None,
            expected: Some(version),
        };
        let answer = self.ask(call).await?;
        self.desk.confirm(entity, &answer);
        Ok(())
    }

    /// Repeats a call until there is a final answer; one that is no success ends the sequence.
    async fn ask(&mut self, call: Call<'_>) -> Result<Answer, Broken> {
        let taken = self
            .desk
            .budget
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if taken.is_err() {
            return Err(Broken);
        }
        let (answer, repeated) = self.insist(call).await;
        let Some(answer) = answer else {
            self.desk.note(|history| history.unknown += 1);
            self.desk.progress.answered();
            return Err(Broken);
        };
        if answer.status.is_success() {
            self.desk.note(|history| history.repeated += u64::from(repeated));
            return Ok(answer);
        }
        let refusal = answer.refusal().unwrap_or_default();
        self.desk
            .note(|history| *history.refused.entry(refusal).or_default() += 1);
        self.desk.progress.answered();
        Err(Broken)
    }

    /// Repeats a call until there is a final answer, up to a time limit; also returns whether it was repeated.
    async fn insist(&mut self, call: Call<'_>) -> (Option<Answer>, bool) {
        let (deadline, mut pause, mut repeated) = (Instant::now() + PATIENCE, PAUSE_FIRST, false);
        while Instant::now() < deadline {
            self.desk.progress.runs().await;
            if let Some(answer) = self.once(call, repeated).await {
                return (Some(answer), repeated);
            }
            (self.at, repeated) = (self.at + 1, true);
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        (None, repeated)
    }

    /// One attempt; None when there is no final answer. A version that has moved on may have been moved by an attempt
    /// whose answer was lost: then the entity itself says so.
    async fn once(&self, call: Call<'_>, repeated: bool) -> Option<Answer> {
        let emitters = &self.desk.emitters;
        let emitter = &emitters[self.at % emitters.len()];
        let answer = emitter.once(call, ATTEMPT_WITHIN).await.ok()?;
        if answer.is_to_be_repeated() || answer.status.is_server_error() {
            return None;
        }
        if answer.status != StatusCode::PRECONDITION_FAILED || !repeated {
            return Some(answer);
        }
        let look = Call {
            method: &Method::GET,
            body: None,
            expected: None,
            ..call
        };
        let there = emitter.once(look, ATTEMPT_WITHIN).await.ok()?;
        if !there.status.is_success() {
            return None;
        }
        let wanted = call.body.and_then(Value::as_object)?;
        let version = there.body["version"].as_u64();
        let carried_out = version == call.expected.map(|before| before + 1)
            && wanted
                .iter()
                .all(|(field, value)| there.body.get(field) == Some(value));
        Some(if carried_out { there } else { answer })
    }
}
