use super::*;
use crate::{
    ingest::source::{PMS, Senders},
    store::{OnInvalid, Source, SourceSettings},
};
use contract::SeededEntropy;
use contract::{SecretList, UnixSeconds, signature};

const NOW: UnixMillis = UnixMillis(1_763_769_600_000);
const SECRET: &str = "a secret of the source";

fn senders(on_invalid: OnInvalid, enabled: bool) -> Senders {
    let source = |id: &str| Source {
        id: id.parse().unwrap(),
        settings: SourceSettings {
            max_skew_seconds: 1800,
            on_invalid,
            enabled,
            ..SourceSettings::new(id, id == PMS)
        },
        created_at: NOW,
        updated_at: NOW,
    };
    let rows = vec![source("loyalty"), source("pms")];
    Senders::of_environment(rows, &secrets(), &SeededEntropy::new(1))
}

fn secrets() -> SecretList {
    let secret = SECRET.replace(' ', "-");
    format!("{secret} {secret}-before").parse().unwrap()
}

struct Sent {
    source: &'static str,
    at: i64,
    body: &'static str,
    senders: Senders,
}

impl Default for Sent {
    fn default() -> Self {
        let body = r#"{"type":"guest.created","idempotency_key":"evt_1","timestamp":1763769600000,"schema_version":1,
            "property_id":"LIS01","entity":{"kind":"guest","id":"gst_1","version":1},"payload":{"last_name":"Silva"}}"#;
        Self {
            source: "pms",
            at: NOW.seconds().0,
            body,
            senders: senders(OnInvalid::Reject, true),
        }
    }
}

impl Sent {
    fn verify(&self) -> Result<VerifiedDelivery, Rejection> {
        let signature = signature::sign(
            secrets().as_slice(),
            &"evt_1".parse().unwrap(),
            UnixSeconds(self.at),
            self.body.as_bytes(),
        );
        let at = self.at.to_string();
        let lines = [
            ("webhook-id", b"evt_1".as_slice()),
            ("webhook-timestamp", at.as_bytes()),
            ("webhook-signature", signature.as_str().as_bytes()),
        ];
        let raw = RawDelivery::read(Arc::clone(self.sender()), || lines, NOW)?;
        raw.verify(Bytes::from_static(self.body.as_bytes()))
    }

    fn sender(&self) -> &Arc<Sender> {
        self.senders.named(self.source, || None)
    }

    fn arrival(&self) -> Result<Arrival, Vec<FieldError>> {
        let verified = self.verify().unwrap();
        let is_envelope = verified.is_envelope();
        verified.parse(is_envelope).map(|parsed| match parsed {
            Parsed::Event(arrival) => *arrival,
            other => panic!("{other:?}"),
        })
    }

    fn intake(&self) -> Result<Intake, Vec<FieldError>> {
        self.arrival().map(|arrival| arrival.intake)
    }
}

#[test]
fn what_one_source_signed_is_not_taken_at_another() {
    let elsewhere = Sent {
        source: "loyalty",
        ..Sent::default()
    };
    assert!(Sent::default().verify().is_ok());
    assert_eq!(elsewhere.verify().unwrap_err().cause, "signature_mismatch");
}

#[test]
fn r17_an_unknown_or_disabled_source_is_refused_after_the_same_work() {
    let unknown = Sent {
        source: "pmsx",
        ..Sent::default()
    };
    let disabled = Sent {
        senders: senders(OnInvalid::Reject, false),
        ..Sent::default()
    };
    let malformed = Sent {
        source: "a.b",
        ..Sent::default()
    };
    for sent in [unknown, disabled, malformed] {
        // One HMAC is computed for each key, or decoy in its place, and the body is the same: so is the work.
        let stand_in = sent.sender();
        assert_eq!(stand_in.keys(NOW).count(), 0);
        assert_eq!(stand_in.refusals().decoys.len(), secrets().as_slice().len());
        assert_eq!(sent.verify().unwrap_err().cause, "unknown_source");
    }
    // Nor is a source that has fewer keys known by it, which here has none.
    let senders = senders(OnInvalid::Reject, true);
    let fewer = senders.named("loyalty", || None);
    assert_eq!(fewer.keys(NOW).count(), 0);
    assert_eq!(fewer.refusals().decoys.len(), secrets().as_slice().len());
}

#[test]
fn only_a_skew_is_reported_with_its_size() {
    let late = Sent {
        at: NOW.seconds().0 - 1801,
        ..Sent::default()
    };
    assert_eq!(
        late.verify().unwrap_err(),
        Rejection {
            cause: "skew",
            skew_seconds: Some(-1801)
        }
    );
    let at_the_limit = Sent {
        at: NOW.seconds().0 - 1800,
        ..Sent::default()
    };
    assert!(at_the_limit.verify().is_ok());
}

#[test]
fn the_payload_is_checked_and_left_in_the_body() {
    let sent = Sent::default();
    let arrival = sent.arrival().unwrap();
    assert_eq!((arrival.intake, arrival.reason), (Intake::Fold, None));
    assert!(arrival.envelope.payload.is_empty());
    assert_eq!(arrival.body, sent.body.as_bytes());
}

#[test]
fn an_invalid_payload_is_refused_or_kept_apart_as_its_source_asks() {
    let body = r#"{"type":"guest.created","idempotency_key":"evt_1","timestamp":1763769600000,"schema_version":1,
        "property_id":"LIS01","entity":{"kind":"guest","id":"gst_1","version":1},"payload":{"id":"gst_canary"}}"#;
    let rejected = Sent {
        body,
        ..Sent::default()
    }
    .intake()
    .unwrap_err();
    assert_eq!(rejected.len(), 2);
    let quarantine = Sent {
        body,
        senders: senders(OnInvalid::Quarantine, true),
        ..Sent::default()
    };
    let arrival = quarantine.arrival().unwrap();
    assert_eq!(arrival.intake, Intake::Quarantine);
    assert_eq!(
        arrival.reason.as_deref(),
        Some("invalid payload: /payload/id differs, /payload/last_name required")
    );
}

#[test]
fn what_is_not_known_is_kept_and_ignored() {
    for body in [
        r#"{"type":"payment.failed","idempotency_key":"evt_1","timestamp":1763769600000,"schema_version":1}"#,
        r#"{"type":"ping","idempotency_key":"evt_1","timestamp":1763769600000,"schema_version":1}"#,
        r#"{"type":"guest.created","idempotency_key":"evt_1","timestamp":1763769600000,"schema_version":2,
            "property_id":"LIS01","entity":{"kind":"guest","id":"gst_1","version":1},"payload":{}}"#,
    ] {
        assert_eq!(
            Sent {
                body,
                ..Sent::default()
            }
            .intake(),
            Ok(Intake::Ignore),
            "{body}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_refused_also_where_invalid_payloads_are_kept() {
    let unreadable = Sent {
        body: "{}",
        senders: senders(OnInvalid::Quarantine, true),
        ..Sent::default()
    };
    assert!(unreadable.intake().is_err());
}
