//! Another system that publishes its events, one in a request or a hundred: the life of one booking after the other.
//!
//! Each connection has bookings of its own, and the events of one follow each other on it: so the version of each is known, and its
//! arrival elsewhere can be timed.

use super::desk::{Commit, Written};
use super::generator::{Speaker, Speakers};
use anyhow::{Context, Result, ensure};
use harness::client::Client;
use harness::config::BASE_PATH;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Events of one request of a batch.
pub const BATCH_EVENTS: usize = 100;
/// The life of a booking.
const TYPES: [(&str, &str); 4] = [
    ("booking.created", "pending"),
    ("booking.confirmed", "confirmed"),
    ("payment.succeeded", "paid"),
    ("booking.completed", "completed"),
];

/// All connections of the producer.
pub struct Producer {
    /// Keeps the ids of one run apart from those of another.
    run: String,
    /// Events of a request; one is published alone.
    events: usize,
    /// The header line of an API key; empty without one.
    key_line: String,
    written: Mutex<Vec<Written>>,
}

/// One connection.
pub struct Publisher {
    producer: Arc<Producer>,
    booking: String,
    /// Events of the booking that were published.
    step: usize,
    /// What the last request says that will be committed.
    asked: Vec<Commit>,
    request: Vec<u8>,
}

impl Producer {
    /// A producer of so many events a request, whose ids begin with `run`.
    pub fn new(run: String, events: usize) -> Self {
        Self {
            run,
            events,
            key_line: String::new(),
            written: Mutex::new(Vec::new()),
        }
    }

    /// Publishes with an API key that no load uses up.
    ///
    /// # Errors
    /// When the emitter refuses.
    pub async fn make_key(&mut self, emitter: SocketAddr) -> Result<()> {
        let client = Client::new(format!("http://{emitter}{BASE_PATH}"));
        let body = json!({
            "name": "load", "permissions": ["events:write"], "property_ids": "*", "rate_limit": 1_000_000_000,
        });
        let made = client.post("/api-keys", &body, "load").await?;
        ensure!(made.status.is_success(), "{}", made.body);
        let key = made.body["key"].as_str().context("no key was made")?;
        self.key_line = format!("x-api-key: {key}\r\n");
        Ok(())
    }

    /// What was written until now; nothing is answered twice.
    pub fn written(&self) -> Vec<Written> {
        std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Speakers for Arc<Producer> {
    type Speaker = Publisher;

    fn speaker(&self) -> Publisher {
        Publisher {
            producer: Arc::clone(self),
            booking: String::new(),
            step: TYPES.len(),
            asked: Vec::new(),
            request: Vec::new(),
        }
    }
}

impl Publisher {
    /// The next event of a booking, or the first of another one, whose number is `number`.
    fn event(&mut self, number: &str) -> Value {
        if self.step == TYPES.len() {
            self.step = 0;
            self.booking = format!("bkg-{}-{number}", self.producer.run);
        }
        let (event_type, status) = TYPES[self.step];
        self.step += 1;
        let version = u64::try_from(self.step).expect("a booking has few events");
        self.asked.push((self.booking.clone(), version));
        json!({
            "id": format!("evt-{}-{version}", self.booking),
            "type": event_type,
            "entity": {"kind": "booking", "id": self.booking},
            "payload": {
                "id": self.booking, "booking_id": self.booking, "listing_id": "lst_12", "guest_id": "usr_88",
                "status": status, "check_in": "2026-05-01", "check_out": "2026-05-04", "guests": 2, "currency": "EUR",
                "total": "312.00", "amount": "312.00", "method": "card",
            },
        })
    }
}

impl Speaker for Publisher {
    fn request(&mut self, number: u64) -> &[u8] {
        self.asked.clear();
        let (path, body) = if self.producer.events == 1 {
            ("/events", self.event(&number.to_string()).to_string())
        } else {
            let events: Vec<Value> = (0..self.producer.events)
                .map(|nth| self.event(&format!("{number}-{nth}")))
                .collect();
            ("/events/batch", json!({ "events": events }).to_string())
        };
        self.request.clear();
        let head = format!(
            "POST {BASE_PATH}{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{}content-length: \
             {}\r\n\r\n",
            self.producer.key_line,
            body.len()
        );
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body.as_bytes());
        &self.request
    }

    fn hear(&mut self, status: u16, answer: &[u8]) {
        // A batch is answered 202 as soon as one of its events is new.
        let is_whole = self.producer.events == 1 || accepted(answer) == self.producer.events;
        if status != 202 || !is_whole {
            // Another booking: what was refused is counted by its status.
            self.step = TYPES.len();
            return;
        }
        let at = Instant::now();
        let written = self.asked.drain(..).map(|commit| Written { commit, at });
        self.producer
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(written);
    }
}

/// Events of a batch's answer that are new.
fn accepted(answer: &[u8]) -> usize {
    let new = br#""status":202"#;
    answer.windows(new.len()).filter(|part| part == new).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(request: &[u8]) -> Value {
        let text = std::str::from_utf8(request).unwrap();
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    #[test]
    fn a_booking_goes_through_its_life_and_another_begins() {
        let producer = Arc::new(Producer::new("run".to_owned(), 1));
        let mut publisher = producer.speaker();
        for number in 0..5 {
            let event = body(publisher.request(number));
            let booking = if number < 4 { "bkg-run-0" } else { "bkg-run-4" };
            assert_eq!(event["entity"], json!({"kind": "booking", "id": booking}));
            publisher.hear(202, b"HTTP/1.1 202 Accepted\r\n\r\n{}");
        }
        assert_eq!(body(publisher.request(5))["type"], "booking.confirmed");
        publisher.hear(503, b"HTTP/1.1 503 Service Unavailable\r\n\r\n{}");
        assert_eq!(body(publisher.request(6))["entity"]["id"], "bkg-run-6");
        let commits: Vec<Commit> = producer.written().into_iter().map(|one| one.commit).collect();
        let expected = [("0", 1), ("0", 2), ("0", 3), ("0", 4), ("4", 1)];
        assert_eq!(
            commits,
            expected.map(|(booking, version)| (format!("bkg-run-{booking}"), version))
        );
    }

    #[test]
    fn a_batch_counts_when_all_of_it_is_new() {
        let producer = Arc::new(Producer::new("run".to_owned(), BATCH_EVENTS));
        let mut publisher = producer.speaker();
        let events = body(publisher.request(0));
        assert_eq!(events["events"].as_array().unwrap().len(), BATCH_EVENTS);
        publisher.hear(202, br#"{"data":[{"status":202},{"status":422}]}"#);
        assert!(producer.written().is_empty());
        publisher.request(1);
        publisher.hear(202, r#"{"status":202}"#.repeat(BATCH_EVENTS).as_bytes());
        assert_eq!(producer.written().len(), BATCH_EVENTS);
    }
}
