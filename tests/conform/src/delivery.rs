//! The requests of a case, signed as Standard Webhooks 1.0 says: `v1,` and the base64 of an HMAC-SHA256 over
//! `{id}.{timestamp}.{body}`.

use crate::case::{Again, Case, HeaderChange, Part, Signature, Timestamp, Unit};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The shortest key, in bytes, as the specification recommends: a shorter one is a mistake.
const KEY_BYTES_MIN: usize = 16;
/// A key that no receiver has.
const OTHER_KEY: &[u8] = b"a key that the receiver has never seen";
/// How long after the first attempt the second is.
const LATER_SECONDS: i64 = 1;
const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// What both sides sign with.
#[derive(Clone)]
pub struct Key(Vec<u8>);

/// Why a text is no secret. It repeats nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// It is damaged.
    #[error("after whsec_ stands no base64")]
    Damaged,
    /// It is too short, or there is none.
    #[error("it must have {KEY_BYTES_MIN} bytes at least")]
    Short,
    /// There is more than one, or a blank came with it.
    #[error("it is one secret, without blanks")]
    Blank,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its headers, in their order.
    pub headers: Vec<(String, String)>,
    /// What follows them.
    pub body: Vec<u8>,
}

/// What the requests of a run have in common.
#[derive(Clone)]
pub struct Sender {
    /// The receiver's secret.
    pub key: Key,
    /// The body, in which `{{id}}` and `{{timestamp}}` stand for those of the event.
    pub body: String,
    /// How far the receiver lets a time be from its own.
    pub tolerance_seconds: u32,
}

impl Key {
    /// A secret: `whsec_` and base64, or any other text as it is.
    ///
    /// # Errors
    /// When it can be no secret.
    pub fn read(text: &str) -> Result<Self, InvalidKey> {
        if text.contains(|c: char| c.is_whitespace()) {
            return Err(InvalidKey::Blank);
        }
        let bytes = match text.strip_prefix("whsec_") {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| InvalidKey::Damaged)?,
            None => text.as_bytes().to_vec(),
        };
        (bytes.len() >= KEY_BYTES_MIN)
            .then_some(Self(bytes))
            .ok_or(InvalidKey::Short)
    }
}

impl Sender {
    /// The requests of a case, of the event `id`, at a time in milliseconds.
    pub fn deliveries(&self, case: &Case, id: &str, now_millis: i64) -> Vec<Delivery> {
        let first = self.delivery(case, id, now_millis);
        match case.again {
            None => vec![first],
            Some(Again::Same) => vec![first.clone(), first],
            Some(Again::Later) => {
                // The event is the same, so what says when it happened is too.
                let mut later = case.clone();
                later.timestamp.seconds += LATER_SECONDS;
                let second = self.delivery(&later, id, now_millis);
                vec![first, second]
            }
        }
    }

    fn delivery(&self, case: &Case, id: &str, now_millis: i64) -> Delivery {
        let mut body = self.event(id, now_millis);
        if let Some(bytes) = case.body_bytes {
            body.resize(bytes.max(body.len()), b' ');
        }
        let mut timestamp = self.timestamp(case.timestamp, now_millis);
        let (mut id, signed_at) = (id.to_owned(), timestamp.to_string());
        let signatures = case.signatures.iter();
        let mut signatures: Vec<String> = signatures
            .map(|signature| self.signature(*signature, &id, &signed_at, &body))
            .collect();
        match case.flip {
            None => {}
            Some(Part::Body) => flip_digit(&mut body),
            Some(Part::BodyBlank) => body.push(b' '),
            Some(Part::Signature) => {
                if let Some(first) = signatures.first_mut() {
                    *first = flipped(first);
                }
            }
            Some(Part::Id) => id.push('x'),
            Some(Part::Timestamp) => timestamp += 1,
        }
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("user-agent", "conform".to_owned()),
            (ID, id),
            (TIMESTAMP, timestamp.to_string()),
            (SIGNATURE, signatures.join(" ")),
        ];
        let mut headers: Vec<_> = headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        for change in &case.headers {
            change_headers(&mut headers, change);
        }
        Delivery { headers, body }
    }

    fn event(&self, id: &str, now_millis: i64) -> Vec<u8> {
        let at = jiff::Timestamp::from_millisecond(now_millis).unwrap_or_default();
        let body = self.body.replace("{{id}}", id);
        body.replace("{{timestamp}}", &format!("{at:.3}")).into_bytes()
    }

    fn timestamp(&self, timestamp: Timestamp, now_millis: i64) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "some tolerances are some seconds")]
        let tolerances = (timestamp.tolerances * f64::from(self.tolerance_seconds)) as i64;
        let seconds = now_millis / 1_000 + tolerances + timestamp.seconds;
        match timestamp.unit {
            Unit::Seconds => seconds,
            Unit::Milliseconds => seconds * 1_000,
        }
    }

    fn signature(&self, signature: Signature, id: &str, timestamp: &str, body: &[u8]) -> String {
        let by = |key: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            STANDARD.encode(mac.finalize().into_bytes())
        };
        match signature {
            Signature::Good => format!("v1,{}", by(&self.key.0)),
            Signature::OtherKey => format!("v1,{}", by(OTHER_KEY)),
            Signature::UnknownVersion => format!("v99,{}", by(&self.key.0)),
            Signature::Bare => by(&self.key.0),
            Signature::NoBase64 => "v1,this-is*no-base64".to_owned(),
        }
    }
}

/// Makes the last digit another one, so that what was JSON still is; of a body without digits, adds a blank.
fn flip_digit(body: &mut Vec<u8>) {
    match body.iter_mut().rev().find(|byte| byte.is_ascii_digit()) {
        Some(digit) => *digit ^= 1,
        None => body.push(b' '),
    }
}

/// The signature with another first character behind its version.
fn flipped(signature: &str) -> String {
    let (version, code) = signature.split_once(',').unwrap_or(("", signature));
    let other = if code.starts_with('A') { 'B' } else { 'A' };
    let rest: String = code.chars().skip(1).collect();
    format!("{version},{other}{rest}")
}

fn change_headers(headers: &mut Vec<(String, String)>, change: &HeaderChange) {
    match change {
        HeaderChange::Remove(name) => headers.retain(|(known, _)| known != name),
        HeaderChange::Replace(name, value) => {
            let of_name = headers.iter_mut().filter(|(known, _)| known == name);
            of_name.for_each(|(_, known)| known.clone_from(value));
        }
        HeaderChange::Add(name, value) => headers.push((name.clone(), value.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{STANDARD_WEBHOOKS, read};

    const NOW: i64 = 1_763_769_600_123;

    fn sender() -> Sender {
        Sender {
            key: Key::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(),
            body: r#"{"at":"{{timestamp}}","id":"{{id}}","n":7}"#.to_owned(),
            tolerance_seconds: 300,
        }
    }

    fn of(name: &str) -> Vec<Delivery> {
        let cases = read(STANDARD_WEBHOOKS).unwrap();
        let case = cases.iter().find(|case| case.name == name).unwrap();
        sender().deliveries(case, "msg_1", NOW)
    }

    fn header<'d>(delivery: &'d Delivery, name: &str) -> &'d str {
        &delivery
            .headers
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
    }

    /// The example that the specification's libraries test with.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let signed = sender().signature(
            Signature::Good,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn the_body_is_the_events_and_a_second_attempt_changes_its_time_alone() {
        let deliveries = of("repeated-later");
        let body = r#"{"at":"2025-11-22T00:00:00.123Z","id":"msg_1","n":7}"#;
        for delivery in &deliveries {
            assert_eq!(delivery.body, body.as_bytes());
            assert_eq!(header(delivery, ID), "msg_1");
        }
        assert_eq!(header(&deliveries[0], TIMESTAMP), "1763769600");
        assert_eq!(header(&deliveries[1], TIMESTAMP), "1763769601");
        assert_ne!(
            header(&deliveries[0], SIGNATURE),
            header(&deliveries[1], SIGNATURE)
        );
    }

    #[test]
    fn each_change_is_made_after_signing() {
        let good = of("valid").remove(0);
        let differs = |name: &str, in_header: Option<&str>| {
            let other = of(name).remove(0);
            assert_eq!(other.body != good.body, in_header.is_none(), "{name}");
            for known in [ID, TIMESTAMP, SIGNATURE] {
                let same = header(&other, known) == header(&good, known);
                assert_eq!(same, in_header != Some(known), "{name} {known}");
            }
        };
        differs("flipped-body", None);
        differs("flipped-body-blank", None);
        differs("flipped-id", Some(ID));
        differs("flipped-timestamp", Some(TIMESTAMP));
        differs("flipped-signature", Some(SIGNATURE));
        assert!(of("flipped-body")[0].body.ends_with(br#""n":6}"#));
        assert_eq!(header(&of("skewed-behind")[0], TIMESTAMP), "1763769240");
        assert_eq!(
            header(&of("malformed-timestamp-millis")[0], TIMESTAMP),
            "1763769600000"
        );
        assert_eq!(of("oversized")[0].body.len(), 1 << 20);
        assert_eq!(
            of("repeated-id")[0]
                .headers
                .iter()
                .filter(|(name, _)| name == ID)
                .count(),
            2
        );
        assert!(of("no-id")[0].headers.iter().all(|(name, _)| name != ID));
    }

    #[test]
    fn a_secret_is_base64_after_its_prefix_or_text() {
        assert!(Key::read("sixteen-bytes-ok").is_ok());
        for (bad, why) in [
            ("", InvalidKey::Short),
            ("short", InvalidKey::Short),
            ("whsec_AAAA", InvalidKey::Short),
            ("whsec_***", InvalidKey::Damaged),
            ("one-secret-of-16 and-another-one", InvalidKey::Blank),
        ] {
            assert_eq!(Key::read(bad).err(), Some(why), "{bad}");
        }
    }
}
