//! The attacks that must fail: each case is named by its row of `docs/security.md`, and does over a raw socket what no
//! client would.
//!
//! What is not authentic gets one and the same answer, whatever failed, and leaves nothing but a count: see
//! [`all_refused_alike`].

mod answers;
mod browsers;
mod clocks;
mod content;
mod egress;
mod files;
mod floods;
pub(crate) mod forgeries;
mod framing;
mod ids;
mod json;
mod keys;
mod limits;
mod memory;
mod replays;
mod secrecy;
mod settings;
mod writes;

use crate::case::{Case, Ctx};
use crate::ingest::{NOW, Receiver, SECRET, guest_event, number};
use db::params;
use harness::signer::{Answer, Delivery};
use serde_json::Value;

pub fn cases() -> Vec<Case> {
    let modules = [
        answers::cases(),
        browsers::cases(),
        clocks::cases(),
        content::cases(),
        egress::cases(),
        files::cases(),
        floods::cases(),
        forgeries::cases(),
        framing::cases(),
        ids::cases(),
        json::cases(),
        keys::cases(),
        limits::cases(),
        memory::cases(),
        replays::cases(),
        secrecy::cases(),
        settings::cases(),
        writes::cases(),
    ];
    modules.into_iter().flatten().collect()
}

/// A delivery to `pms` as it should be, at the instant at which the clocks begin.
fn signed(id: &str, body: &[u8]) -> Delivery {
    Delivery::signed("pms", id, body, &SECRET.parse().unwrap(), NOW.seconds())
}

/// The creation of a guest, signed as it should be.
fn genuine() -> Delivery {
    signed("evt_1", &guest_event("evt_1"))
}

/// What every refusal has in common: all of it but the path and the request's id.
fn shape(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut body = answer.json();
    for own in ["instance", "request_id"] {
        body[own] = Value::Null;
    }
    let names = answer.headers.iter().map(|(name, _)| name.clone());
    (answer.status, body, names.collect())
}

/// Sends deliveries that are not authentic, each with the cause under which it is counted: the answer is the same for
/// all, and nothing else is kept of any.
async fn all_refused_alike(ctx: &Ctx, forged: Vec<(&'static str, Delivery)>) {
    let receiver = Receiver::start(ctx).await;
    let tampered = genuine().with_body("{}");
    let reference = shape(&receiver.send(&tampered).await);
    assert_eq!(
        (reference.0, &reference.1["code"]),
        (401, &Value::from("unauthorized"))
    );
    for (cause, forged) in &forged {
        let answer = receiver.send(forged).await;
        assert_eq!(
            shape(&answer),
            reference,
            "{cause}: {} {:?}",
            forged.path,
            forged.headers
        );
    }
    receiver.stop().await;
    let db = ctx.open().await;
    for table in [
        "SELECT COUNT(*) AS n FROM inbox",
        "SELECT COUNT(*) AS n FROM audit_entries",
    ] {
        assert_eq!(number(&db, table, params![]).await, 0);
    }
    let mut causes: Vec<_> = forged.iter().map(|(cause, _)| *cause).collect();
    causes.push("signature_mismatch");
    causes.sort_unstable();
    for of_one in causes.chunk_by(|one, other| one == other) {
        let sql = "SELECT COALESCE(SUM(n), 0) AS n FROM audit_counts WHERE kind = 'rejected' AND cause = ?";
        let counted = number(&db, sql, params![of_one[0]]).await;
        assert_eq!(counted, i64::try_from(of_one.len()).unwrap(), "{}", of_one[0]);
    }
}

/// The same cause for each of them.
fn because(cause: &'static str, forged: impl IntoIterator<Item = Delivery>) -> Vec<(&'static str, Delivery)> {
    forged.into_iter().map(|forged| (cause, forged)).collect()
}
