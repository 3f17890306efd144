//! Accepted events put straight into the inbox, and a projector stepped by hand: what projection does, without ingest.

use contract::SeededEntropy;
use contract::UnixMillis;
use crm_receiver::{
    app::{Runtime, open_store},
    backlog::Backlog,
    project::{ProjectionMeters, Projector, Step},
    store::Store,
};
use db::{Db, Row, params};
use harness::clock::HandClock;
use kit::metrics::Metrics;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

use crate::case::Ctx;

/// When every case begins.
pub const START: UnixMillis = UnixMillis(1_770_000_000_000);

/// Tables without events, and the means to put events in.
pub struct Inbox {
    pub db: Db,
    pub clock: Arc<HandClock>,
    runtime: Runtime,
    ctx: Ctx,
}

/// An event that ingest would have accepted.
#[derive(Clone, Debug)]
pub struct SentEvent {
    pub event_type: &'static str,
    pub id: String,
    pub version: u64,
    /// Milliseconds after the start.
    pub at: i64,
    pub payload: Value,
}

/// An event about a guest or a reservation.
pub fn sent_event(event_type: &'static str, id: &str, version: u64, at: i64, payload: Value) -> SentEvent {
    SentEvent {
        event_type,
        id: id.to_owned(),
        version,
        at,
        payload,
    }
}

/// A guest's state: a name, and what else the case needs.
pub fn guest(id: &str, version: u64, at: i64, last_name: &str) -> SentEvent {
    let email = format!("{}@example.com", last_name.to_lowercase());
    sent_event(
        "guest.updated",
        id,
        version,
        at,
        json!({"last_name": last_name, "email": email}),
    )
}

/// A checked-out stay of three nights for 300 euros.
pub fn stay(id: &str, version: u64, at: i64, primary: &str) -> SentEvent {
    let payload = json!({"status": "checked_out", "check_in": "2026-01-01", "check_out": "2026-01-04",
        "primary_guest_id": primary, "currency": "EUR", "room_total": "270.00", "total": "300.00"});
    sent_event("reservation.checked_out", id, version, at, payload)
}

impl Inbox {
    pub async fn open(ctx: &Ctx) -> Self {
        let clock = Arc::new(HandClock::at(START));
        let runtime = Runtime {
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
        };
        open_store(&ctx.url(), &runtime, false).await.unwrap();
        Self {
            db: ctx.open().await,
            clock,
            runtime,
            ctx: ctx.clone(),
        }
    }

    /// A store of its own connections, as a further replica has.
    pub async fn store(&self) -> Store {
        Store::new(self.ctx.open().await)
    }

    pub async fn projector(&self) -> Projector {
        self.projector_on(self.store().await, Backlog::default())
    }

    /// One that says how far it is behind.
    pub async fn projector_telling(&self, backlog: &Backlog) -> Projector {
        self.projector_on(self.store().await, backlog.clone())
    }

    /// One whose transactions are aborted after so long.
    pub async fn projector_within(&self, deadline: Duration) -> Projector {
        let store = Store::new(self.ctx.open().await.with_deadline(deadline));
        self.projector_on(store, Backlog::default())
    }

    fn projector_on(&self, store: Store, backlog: Backlog) -> Projector {
        let (clock, meters) = (
            self.runtime.clock.clone(),
            ProjectionMeters::new(&Metrics::new("inbox", "0")),
        );
        Projector::new(store, clock, backlog, meters)
    }

    /// Accepts the events in this order, under ids `evt_<n>` counted from `first`.
    pub async fn accept(&self, first: usize, events: &[SentEvent]) {
        for (place, event) in events.iter().enumerate() {
            let id = format!("evt_{:06}", first + place);
            let body =
                json!({"type": event.event_type, "changed": ["x"], "payload": event.payload}).to_string();
            self.accept_body(&id, event, body.into_bytes()).await;
        }
    }

    /// Accepts one event with these very bytes.
    pub async fn accept_body(&self, event_id: &str, event: &SentEvent, body: Vec<u8>) {
        let (event, id, clock) = (event.clone(), event_id.to_owned(), self.clock.clone());
        let now = contract::Clock::now(clock.as_ref());
        self.write(move |run| {
            let kind = event.event_type.split_once('.').unwrap().0;
            let key = format!("key_{id}");
            run.push((
                "INSERT INTO inbox (event_id, source_id, idempotency_key, fingerprint, salt, status, type, schema_version, \
                 property_id, entity_kind, entity_id, entity_version, correlation_id, occurred_at, received_at, attempts, \
                 due_at) VALUES (?, 'pms', ?, ?, ?, 'accepted', ?, 1, 'MAIN', ?, ?, ?, 'req_1', ?, ?, 0, ?)",
                params![&id, key, vec![1_u8; 32], vec![2_u8; 16], event.event_type, kind, &event.id, event.version,
                    START.0 + event.at, now, now],
            ));
            run.push((
                "INSERT INTO inbox_bodies (event_id, body) VALUES (?, ?)",
                params![&id, body.clone()],
            ));
        })
        .await;
    }

    /// Runs statements in one transaction.
    pub async fn write(
        &self,
        statements: impl Fn(&mut Vec<(&'static str, db::Params)>) + Send + Sync + 'static,
    ) {
        let done = self.db.transaction("test_write", move |tx| {
            let mut run = Vec::new();
            statements(&mut run);
            Box::pin(async move {
                for (sql, params) in run {
                    tx.execute(sql, params).await?;
                }
                Ok(())
            })
        });
        done.await.unwrap();
    }

    pub async fn rows(&self, sql: &str) -> Vec<Row> {
        let sql = sql.to_owned();
        let read = self.db.read("test_rows", move |tx| {
            let sql = sql.clone();
            Box::pin(async move { tx.query(&sql, vec![]).await })
        });
        read.await.unwrap()
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.rows(&format!("SELECT COUNT(*) AS n {sql}")).await[0]
            .get("n")
            .unwrap()
    }

    /// The status of an event, and why it failed.
    pub async fn status(&self, event_id: &str) -> (String, Option<String>) {
        let rows = self
            .rows(&format!(
                "SELECT status, last_error FROM inbox WHERE event_id = '{event_id}'"
            ))
            .await;
        (rows[0].get("status").unwrap(), rows[0].get("last_error").unwrap())
    }

    /// The audited actions of an event, in their order.
    pub async fn actions(&self, event_id: &str) -> Vec<String> {
        let sql = format!("SELECT action FROM audit_entries WHERE event_id = '{event_id}' ORDER BY id");
        self.rows(&sql)
            .await
            .iter()
            .map(|row| row.get("action").unwrap())
            .collect()
    }

    /// Every profile that can be seen, as its bytes.
    pub async fn profiles(&self) -> Vec<(String, String)> {
        let rows = self
            .rows("SELECT id, body FROM profiles WHERE status IS NOT NULL ORDER BY id")
            .await;
        rows.iter()
            .map(|row| (row.get("id").unwrap(), row.get("body").unwrap()))
            .collect()
    }

    /// The profile of a guest of `pms`.
    pub async fn profile(&self, guest: &str) -> Option<Value> {
        let key = crm_receiver::profile::GuestKey {
            source: "pms".parse().unwrap(),
            id: guest.parse().unwrap(),
        };
        let stored = self
            .store()
            .await
            .stored_profile(&key.profile_id(), usize::MAX)
            .await;
        let stored = stored.unwrap().flatten()?;
        Some(serde_json::to_value(stored.read().unwrap().0).unwrap())
    }

    /// As if nothing had ever been received.
    pub async fn empty(&self) {
        self.write(|run| {
            for sql in [
                "DELETE FROM inbox",
                "DELETE FROM inbox_bodies",
                "DELETE FROM erasures",
                "DELETE FROM records",
                "DELETE FROM record_refs",
                "DELETE FROM timeline",
                "DELETE FROM profiles",
                "DELETE FROM profile_terms",
                "DELETE FROM profile_properties",
                "DELETE FROM property_days",
                "DELETE FROM audit_entries",
            ] {
                run.push((sql, vec![]));
            }
        })
        .await;
    }
}

/// Steps until nothing is due.
pub async fn settle(projector: &Projector) {
    while projector.step().await.unwrap() != Step::Idle {}
}
