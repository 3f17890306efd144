//! A front desk that writes as fast as it can: each connection handles one guest after another.
//!
//! A guest is made, gets two reservations, and is changed; each request but the first of a guest needs the id that an
//! answer gave. What was written is kept with the instant of its answer, so that its arrival elsewhere can be timed.

use super::generator::{Speaker, Speakers};
use super::wire;
use anyhow::{Context, Result, ensure};
use harness::bookings::{self, Booking, CSV, End, Hotel};
use harness::client::Client;
use harness::config::BASE_PATH;
use harness::seeded::DEFAULT_SEED;
use harness::{bodies, draft, people};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Different lives.
const LIVES: usize = 64;
/// Stands in for a guest's id, which the service gives.
const GUEST_ID: &str = "gst_gggggggggggggggggggggggggg";
/// Stands in for what a hotel has only once: a guest's number elsewhere, a booking's at its channel.
const UNIQUE: &str = "uuuuuuuu";

/// A commit: the entity's id and its version.
pub type Commit = (String, u64);

/// One write that was answered 2xx.
#[derive(Clone, Debug)]
pub struct Written {
    /// What it committed.
    pub commit: Commit,
    /// When the answer was read.
    pub at: Instant,
}

/// The bodies of one life, in the order of its requests.
struct Life {
    guest: String,
    reservations: [String; 2],
    change: String,
}

/// All connections of the desk.
pub struct Desk {
    lives: Vec<Life>,
    /// Keeps the keys of one run apart from those of another.
    run: String,
    /// The header line of an API key; empty without one.
    key_line: String,
    written: Mutex<Vec<Written>>,
}

/// One connection.
pub struct Clerk {
    desk: Arc<Desk>,
    life: usize,
    step: Step,
    guest: String,
    request: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Guest,
    Reservation(usize),
    Change,
}

impl Desk {
    /// A desk whose idempotency keys begin with `run`.
    ///
    /// # Errors
    /// When the bookings cannot be read.
    pub fn new(run: String) -> Result<Self> {
        let bookings = bookings::read(CSV)?;
        let cast = people::cast(&bookings, DEFAULT_SEED);
        let good = |booking: &Booking| booking.end == End::CheckedOut && booking.persons() > 0;
        let usable: Vec<usize> = (0..bookings.len()).filter(|at| good(&bookings[*at])).collect();
        let step = usable.len() / LIVES;
        ensure!(step > 1, "there are more bookings than lives");
        let life = |at: usize| -> Result<Life> {
            let (one, other) = (&bookings[usable[at]], &bookings[usable[at + 1]]);
            let mut guest = bodies::guest(&cast.people[cast.of_booking[usable[at]]], one.row);
            guest["external_ids"][0]["value"] = UNIQUE.into();
            Ok(Life {
                guest: guest.to_string(),
                reservations: [reservation(one, one.hotel)?, reservation(other, one.hotel)?],
                change: r#"{"vip_level":2,"language":"en-GB"}"#.to_owned(),
            })
        };
        Ok(Self {
            lives: (0..LIVES).map(|n| life(n * step)).collect::<Result<_>>()?,
            run,
            key_line: String::new(),
            written: Mutex::new(Vec::new()),
        })
    }

    /// Makes the hotels, which every request names.
    ///
    /// # Errors
    /// When the emitter refuses.
    pub async fn open_hotels(&self, emitter: SocketAddr) -> Result<()> {
        let client = Client::new(format!("http://{emitter}{BASE_PATH}"));
        for hotel in Hotel::ALL {
            let body = bodies::property(hotel, jiff::civil::date(2013, 1, 1));
            let made = client.post("/properties", &body, hotel.code()).await?;
            ensure!(made.status.is_success(), "{}: {}", hotel.code(), made.body);
        }
        Ok(())
    }

    /// Makes an API key that no load uses up, and writes with it from now on.
    ///
    /// # Errors
    /// When the emitter refuses.
    pub async fn make_key(&mut self, emitter: SocketAddr) -> Result<()> {
        let client = Client::new(format!("http://{emitter}{BASE_PATH}"));
        let body = json!({
            "name": "load", "permissions": ["write"], "property_ids": "*", "rate_limit": 1_000_000_000,
        });
        let made = client.post("/api-keys", &body, "load").await?;
        let key = made.body["key"].as_str().context("no key was made")?;
        self.key_line = format!("x-api-key: {key}\r\n");
        Ok(())
    }

    /// What was written until now; nothing is answered twice.
    pub fn written(&self) -> Vec<Written> {
        std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The body of a reservation in a hotel, with a stand-in for its guest.
fn reservation(booking: &Booking, hotel: Hotel) -> Result<String> {
    let drafts = draft::drafts(booking, DEFAULT_SEED);
    let last = drafts.last().context("a booking has at least one draft")?;
    let mut body = bodies::reservation(booking, last, DEFAULT_SEED);
    body.insert("property_id".to_owned(), hotel.code().into());
    body.insert("primary_guest_id".to_owned(), GUEST_ID.into());
    // The service makes one: this one would be given out again and again.
    body.remove("confirmation_number");
    if let Some(reference) = body.get_mut("channel_reference") {
        reference["number"] = UNIQUE.into();
    }
    Ok(serde_json::to_string(&body)?)
}

impl Speakers for Arc<Desk> {
    type Speaker = Clerk;

    fn speaker(&self) -> Clerk {
        Clerk {
            desk: Arc::clone(self),
            life: 0,
            step: Step::Guest,
            guest: String::new(),
            request: Vec::new(),
        }
    }
}

impl Speaker for Clerk {
    fn request(&mut self, number: u64) -> &[u8] {
        if self.step == Step::Guest {
            self.life = usize::try_from(number % LIVES as u64).expect("a remainder");
        }
        let life = &self.desk.lives[self.life];
        let (method, path, body) = match self.step {
            Step::Guest => ("POST", "/guests".to_owned(), life.guest.clone()),
            Step::Reservation(nth) => {
                let body = life.reservations[nth].replace(GUEST_ID, &self.guest);
                ("POST", "/reservations".to_owned(), body)
            }
            Step::Change => ("PATCH", format!("/guests/{}", self.guest), life.change.clone()),
        };
        let unique = format!("{}-{number}", self.desk.run);
        let body = body.replace(UNIQUE, &unique);
        let key = match method {
            "POST" => format!("idempotency-key: {unique}\r\n"),
            _ => String::new(),
        };
        self.request.clear();
        let head = format!(
            "{method} {BASE_PATH}{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{key}{}\
             content-length: {}\r\n\r\n",
            self.desk.key_line,
            body.len()
        );
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body.as_bytes());
        &self.request
    }

    fn hear(&mut self, status: u16, answer: &[u8]) {
        let written = commit(answer).filter(|_| (200..300).contains(&status));
        let Some((id, version)) = written else {
            // Another guest: what was refused is counted by its status.
            self.step = Step::Guest;
            return;
        };
        self.step = match self.step {
            Step::Guest => {
                self.guest.clone_from(&id);
                Step::Reservation(0)
            }
            Step::Reservation(0) => Step::Reservation(1),
            Step::Reservation(_) => Step::Change,
            Step::Change => Step::Guest,
        };
        let written = Written {
            commit: (id, version),
            at: Instant::now(),
        };
        self.desk
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(written);
    }
}

/// What an answer says was committed: the id at the beginning of its body's `id`, the version in its ETag.
fn commit(answer: &[u8]) -> Option<Commit> {
    let version = wire::header(answer, b"etag:")?.trim_matches('"').parse().ok()?;
    let text = std::str::from_utf8(answer).ok()?;
    let (_, body) = text.split_once("\r\n\r\n")?;
    #[derive(serde::Deserialize)]
    struct Named {
        id: String,
    }
    let named: Named = serde_json::from_str(body).ok()?;
    Some((named.id, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &str, id: &str, version: u64) -> Vec<u8> {
        let body = format!(r#"{{"external_ids":[{{"id":"no"}}],"id":"{id}","version":{version}}}"#);
        format!(
            "HTTP/1.1 {status}\r\nETag: \"{version}\"\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn line(request: &[u8]) -> String {
        String::from_utf8_lossy(request)
            .lines()
            .next()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_clerk_lives_through_a_guest_and_begins_another_after_a_refusal() {
        let desk = Arc::new(Desk::new("run".to_owned()).unwrap());
        let mut clerk = desk.speaker();
        let guest = "gst_01m80d6mwge8gs3r6w8tj13hwb";
        assert_eq!(line(clerk.request(0)), "POST /api/v1/guests HTTP/1.1");
        clerk.hear(201, &answer("201 Created", guest, 1));
        for n in 1..=2 {
            let request = String::from_utf8(clerk.request(n).to_vec()).unwrap();
            assert!(request.starts_with("POST /api/v1/reservations "), "{request}");
            assert!(request.contains(&format!("\"primary_guest_id\":\"{guest}\"")));
            assert!(request.contains(&format!("idempotency-key: run-{n}\r\n")));
            clerk.hear(201, &answer("201 Created", "res_1", 1));
        }
        assert_eq!(
            line(clerk.request(3)),
            format!("PATCH /api/v1/guests/{guest} HTTP/1.1")
        );
        clerk.hear(200, &answer("200 OK", guest, 2));
        assert_eq!(line(clerk.request(4)), "POST /api/v1/guests HTTP/1.1");
        clerk.hear(503, &answer("503 Service Unavailable", guest, 1));
        assert_eq!(line(clerk.request(5)), "POST /api/v1/guests HTTP/1.1");
        let commits: Vec<Commit> = desk.written().into_iter().map(|written| written.commit).collect();
        let expected = [(guest, 1), ("res_1", 1), ("res_1", 1), (guest, 2)];
        assert_eq!(commits, expected.map(|(id, version)| (id.to_owned(), version)));
        assert!(desk.written().is_empty());
    }
}
