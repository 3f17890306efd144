//! A request with holes: everything is written once, and an event costs a copy, a few ids and one HMAC.
//!
//! The holes are where the stand-ins of [`crate::lives`] stood. All have a fixed width, so that the length of a
//! request never changes. Pure: the instant and the secrets are parameters.

use super::lives::{EVENT_ID, GUEST_ID, NOW, REQUEST_ID, RESERVATION_ID};
use anyhow::{Context, Result, ensure};
use contract::{SecretList, UnixMillis, id::IdempotencyKey, signature};

/// The source that events are of unless another is named.
pub const SOURCE: &str = "pms";
/// Where its events go; the bare endpoint has the same path.
pub const PATH: &str = "/api/v1/webhooks/pms";
/// What the paths of all sources begin with.
const PATH_OF_SOURCES: &str = "/api/v1/webhooks/";
/// Crockford's base 32 in lower case, as the emitter's ids have it.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Digits of an id.
const ID_DIGITS: usize = 26;
/// A prefix of three letters and its underscore.
const ID_PREFIX: usize = 4;
/// `v1,` and the base64 of a SHA-256.
const SIGNATURE_LEN: usize = 47;
/// Unix seconds until the year 2286.
const SECONDS_LEN: usize = 10;

/// The ids of one event. An id is the time of the run, so that ids of later runs are greater, and a number.
#[derive(Clone, Copy, Debug)]
pub struct EventIds {
    /// Milliseconds at the run's begin.
    pub run: UnixMillis,
    /// The event's number.
    pub event: u64,
    /// The guest's number.
    pub guest: u64,
    /// The reservation's number; of no meaning in an event about a guest.
    pub reservation: u64,
}

/// What stands in a hole of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    Event,
    Guest,
    Reservation,
    Request,
    Instant,
}

/// One request, to be completed. `head` ends where the body begins.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    head: usize,
    holes: Vec<(usize, Hole)>,
    id_at: usize,
    seconds_at: usize,
    signature_at: usize,
}

impl Template {
    /// The request of [`SOURCE`] that carries `body`.
    ///
    /// # Errors
    /// When a stand-in is missing.
    pub fn new(body: &[u8]) -> Result<Self> {
        Self::of(SOURCE, body)
    }

    /// The same of another source.
    ///
    /// # Errors
    /// As `new`.
    pub fn of(source: &str, body: &[u8]) -> Result<Self> {
        let (seconds, signature) = ("0".repeat(SECONDS_LEN), "0".repeat(SIGNATURE_LEN));
        let headers = [
            (signature::WEBHOOK_ID, EVENT_ID),
            (signature::WEBHOOK_TIMESTAMP, &seconds),
            (signature::WEBHOOK_SIGNATURE, &signature),
        ];
        let text = head(&format!("{PATH_OF_SOURCES}{source}"), body.len(), &headers);
        let place = |name: &str| {
            let at = text.find(&format!("{name}: ")).map(|at| at + name.len() + 2);
            at.context("a header that was just written")
        };
        let (id_at, seconds_at) = (place(headers[0].0)?, place(headers[1].0)?);
        let signature_at = place(headers[2].0)?;
        let mut bytes = text.into_bytes();
        let head = bytes.len();
        bytes.extend_from_slice(body);
        let mut holes = Vec::new();
        for (stand_in, hole) in [
            (EVENT_ID, Hole::Event),
            (GUEST_ID, Hole::Guest),
            (RESERVATION_ID, Hole::Reservation),
            (REQUEST_ID, Hole::Request),
            (&NOW.to_rfc3339(), Hole::Instant),
        ] {
            let found = body
                .windows(stand_in.len())
                .enumerate()
                .filter(|(_, window)| *window == stand_in.as_bytes());
            holes.extend(found.map(|(at, _)| (head + at, hole)));
        }
        for needed in [Hole::Event, Hole::Guest, Hole::Instant] {
            ensure!(
                holes.iter().any(|(_, hole)| *hole == needed),
                "a body without {needed:?}"
            );
        }
        Ok(Self {
            bytes,
            head,
            holes,
            id_at,
            seconds_at,
            signature_at,
        })
    }

    /// Bytes of a request.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a request has at least its head.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of a body.
    pub fn body_len(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Appends the request of one event that was committed and signed at `now`.
    ///
    /// # Errors
    /// When the secrets are so many that the signature does not fit its place.
    pub fn write(
        &self,
        into: &mut Vec<u8>,
        ids: EventIds,
        now: UnixMillis,
        secrets: &SecretList,
    ) -> Result<()> {
        let start = into.len();
        into.extend_from_slice(&self.bytes);
        let request = &mut into[start..];
        let instant = now.to_rfc3339();
        for (at, hole) in &self.holes {
            let place = &mut request[*at..];
            match hole {
                Hole::Event | Hole::Request => write_id(place, ids.run, ids.event),
                Hole::Guest => write_id(place, ids.run, ids.guest),
                Hole::Reservation => write_id(place, ids.run, ids.reservation),
                Hole::Instant => place[..instant.len()].copy_from_slice(instant.as_bytes()),
            }
        }
        write_id(&mut request[self.id_at..], ids.run, ids.event);
        let id = std::str::from_utf8(&request[self.id_at..self.id_at + EVENT_ID.len()])?;
        let id: IdempotencyKey = id.parse()?;
        let seconds = now.seconds();
        let signed = signature::sign(secrets.as_slice(), &id, seconds, &request[self.head..]);
        let (digits, signed) = (seconds.0.to_string(), signed.as_str().as_bytes());
        for (at, width, text) in [
            (self.seconds_at, SECONDS_LEN, digits.as_bytes()),
            (self.signature_at, SIGNATURE_LEN, signed),
        ] {
            let place = request.get_mut(at..at + width).filter(|_| text.len() == width);
            place
                .context("one secret, and a present time")?
                .copy_from_slice(text);
        }
        Ok(())
    }
}

/// The head of a POST of JSON: its lines up to the body of so many bytes.
pub fn head(path: &str, body_len: usize, headers: &[(&str, &str)]) -> String {
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {body_len}\r\n"
    );
    for (name, value) in headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head
}

/// The digits of an id, behind the prefix that stands there: 10 of the run's time, 16 of the number.
fn write_id(place: &mut [u8], run: UnixMillis, number: u64) {
    let value = u128::from(run.0.unsigned_abs()) << 80 | u128::from(number);
    for (digit, byte) in place[ID_PREFIX..ID_PREFIX + ID_DIGITS]
        .iter_mut()
        .rev()
        .enumerate()
    {
        *byte = DIGITS[(value >> (digit * 5)) as usize & 31];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lives::{BodyStyle, lives};
    use bytes::Bytes;
    use contract::{
        Envelope,
        scheme::{Key, Scheme},
    };

    const RUN: UnixMillis = UnixMillis(1_795_000_000_123);

    fn request(template: &Template, event: u64) -> String {
        let secrets: SecretList = "sixteen-bytes-is".parse().unwrap();
        let mut bytes = Vec::new();
        let ids = EventIds {
            run: RUN,
            event,
            guest: 7,
            reservation: 8,
        };
        template.write(&mut bytes, ids, RUN, &secrets).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn verified(request: &str) -> Envelope {
        let secrets: SecretList = "sixteen-bytes-is".parse().unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let lines: Vec<(&str, &[u8])> = head
            .lines()
            .skip(1)
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name, value.as_bytes()))
            .collect();
        let declared = lines
            .iter()
            .find(|(name, _)| *name == "content-length")
            .unwrap()
            .1;
        assert_eq!(declared, body.len().to_string().as_bytes());
        let headers = Scheme::standard()
            .read(lines)
            .unwrap()
            .within(RUN.seconds(), 1)
            .unwrap();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let keys: Vec<_> = secrets.as_slice().iter().cloned().map(Key::Shared).collect();
        Envelope::parse(&headers.verify(body, &keys).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_verifies_and_is_the_event_that_was_asked_for() {
        for style in [BodyStyle::Compact, BodyStyle::Full] {
            for life in lives(style).unwrap() {
                for body in life.guest.iter().chain(&life.reservation) {
                    let template = Template::new(body).unwrap();
                    let (one, other) = (request(&template, 1), request(&template, 2));
                    assert_eq!((one.len(), other.len()), (template.len(), template.len()));
                    assert!(!one.contains("eeeee") && !one.contains("ggggg") && !one.contains("rrrrr"));
                    let (one, other) = (verified(&one), verified(&other));
                    assert_eq!(one.timestamp, RUN);
                    assert_ne!(one.idempotency_key, other.idempotency_key);
                    assert_eq!(one.entity, other.entity);
                    let entity = one.entity.unwrap();
                    if style == BodyStyle::Full {
                        assert_eq!(one.payload["id"], entity.id.as_str());
                        assert_eq!(one.payload["version"], entity.version);
                    }
                }
            }
        }
    }

    #[test]
    fn a_changed_byte_no_longer_verifies() {
        let body = &lives(BodyStyle::Compact).unwrap()[0].guest[0];
        let good = request(&Template::new(body).unwrap(), 1);
        let bad = good.replace("\"version\":1", "\"version\":2");
        assert_ne!(good, bad);
        assert!(std::panic::catch_unwind(|| verified(&bad)).is_err());
    }

    #[test]
    fn a_body_without_its_stand_ins_is_refused() {
        assert!(Template::new(b"{}").is_err());
    }
}
