//! Taking webhooks in, over real sockets: each answer of the contract, whatever is done to the sender, to the way to
//! the database, and to the receiver itself.

mod answers;
mod batches;
mod events;
mod metrics;
mod outages;
mod sender;
mod starts;

pub(crate) use batches::carry_out;
pub(crate) use outages::{proxied, proxy_before};

use crate::{
    case::{Case, Ctx},
    metrics::{ANY_PORT, Page},
};
use api::Line;
use contract::{SecretList, UnixMillis, UnixSeconds};
use crm_receiver::{
    app::{App, Runtime},
    config::Config,
    ingest::IngestLimits,
};
use db::{DatabaseUrl, Db, Params};
use harness::{
    client::Client,
    clock::HandClock,
    config::{BASE_PATH, INGEST_LIMITS},
    database::{Database, EVENTS_ACCEPTED, SETTLED_WITHIN},
    signer::{Answer, Delivery},
};
use http::Method;
use kit::{
    lifecycle::{Ended, Lifecycle},
    random::SystemEntropy,
};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc};
use tokio::task::JoinHandle;

pub fn cases() -> Vec<Case> {
    let modules = [
        answers::cases(),
        batches::cases(),
        events::cases(),
        metrics::cases(),
        outages::cases(),
        sender::cases(),
        starts::cases(),
    ];
    modules.into_iter().flatten().collect()
}

/// Where the hand-moved clocks begin.
pub(crate) const NOW: UnixMillis = UnixMillis(1_763_769_600_000);
/// The secret of the source `pms`.
pub(crate) const SECRET: &str = "the-secret-of-these-tests";

/// A receiver that serves, with a clock that moves by hand.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    metrics: Option<SocketAddr>,
    /// Its endpoints.
    pub(crate) table: Vec<Line>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) secrets: SecretList,
    lifecycle: Lifecycle,
    task: JoinHandle<Ended>,
}

pub(crate) fn config(database: DatabaseUrl) -> Config {
    let mut config = harness::config::receiver(database, SECRET.parse().unwrap());
    config.http.metrics_addr = Some(ANY_PORT.parse().unwrap());
    config
}

impl Receiver {
    pub(crate) async fn start(ctx: &Ctx) -> Self {
        Self::start_with(config(ctx.url())).await
    }

    /// Without the cache: every answer is the database's.
    pub(crate) async fn start_uncached(ctx: &Ctx) -> Self {
        let ingest = IngestLimits {
            seen_entries: 0,
            ..INGEST_LIMITS
        };
        Self::start_with(Config {
            ingest,
            ..config(ctx.url())
        })
        .await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let clock = Arc::new(HandClock::at(NOW));
        let secrets = config.secrets.clone();
        let secrets = secrets.unwrap_or_else(|| SECRET.parse().unwrap());
        let runtime = Runtime {
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
        };
        let app = App::build(config, runtime).await.unwrap();
        let table = app.table().to_vec();
        let (address, metrics, lifecycle) = (app.address(), app.metrics_address(), Lifecycle::new());
        let task = tokio::spawn(app.run_until_stopped(lifecycle.clone()));
        Self {
            address,
            metrics,
            table,
            clock,
            secrets,
            lifecycle,
            task,
        }
    }

    /// Stops it; it must have finished everything.
    pub(crate) async fn stop(self) {
        self.lifecycle.stop();
        assert_eq!(self.task.await.unwrap(), Ended::Finished);
    }

    /// Ends it as it stands: it gives nothing back that it holds.
    pub(crate) async fn abort(self) {
        self.lifecycle.abort();
        assert_eq!(self.task.await.unwrap(), Ended::Aborted);
    }

    /// A delivery to `pms` as it should be.
    pub(crate) fn delivery(&self, id: &str, body: &[u8]) -> Delivery {
        Delivery::signed("pms", id, body, &self.secrets, self.seconds())
    }

    pub(crate) async fn send(&self, delivery: &Delivery) -> Answer {
        delivery.send(self.address).await.unwrap()
    }

    /// Sends one delivery as it should be.
    pub(crate) async fn take(&self, id: &str, body: &[u8]) -> Answer {
        self.send(&self.delivery(id, body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = Delivery::bare("GET", format!("{BASE_PATH}{path}"));
        self.send(&request).await
    }

    /// A path asked for with an API key.
    pub(crate) async fn get_with(&self, key: &str, path: &str) -> Answer {
        let request = Delivery::bare("GET", format!("{BASE_PATH}{path}")).and("x-api-key", key);
        self.send(&request).await
    }

    /// A request of the API, with a key or, from this machine and while there is none, without.
    pub(crate) async fn ask(
        &self,
        key: Option<&str>,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Delivery::bare(method, format!("{BASE_PATH}{path}"));
        if let Some(key) = key {
            request = request.and("x-api-key", key);
        }
        if let Some(body) = body {
            request = request
                .with("content-type", "application/json")
                .with_body(body.to_string());
        }
        self.send(&request).await
    }

    /// A new key that reads in this scope, made with another.
    pub(crate) async fn key(&self, admin: &str, scope: Value) -> String {
        let body = json!({"name": "reads", "permissions": ["read"], "property_ids": scope});
        let url = format!("http://{}{BASE_PATH}/api-keys", self.address);
        let headers = [("x-api-key", admin), ("content-type", "application/json")];
        let made = Client::new("")
            .send(&Method::POST, &url, &headers, body.to_string().into())
            .await;
        let made: Value = serde_json::from_slice(made.unwrap().body()).unwrap();
        made["key"].as_str().unwrap().to_owned()
    }

    /// Where it shows its metrics.
    pub(crate) fn metrics_address(&self) -> SocketAddr {
        self.metrics.unwrap()
    }

    /// What its metrics say now.
    pub(crate) async fn metrics(&self) -> Page {
        Page::of(self.metrics_address()).await
    }

    /// The one event under a key of the sender.
    pub(crate) async fn event(&self, key: &str) -> Value {
        let list = self.get(&format!("/events?idempotency_key={key}")).await.json();
        assert_eq!(list["data"].as_array().map(Vec::len), Some(1), "{list}");
        let id = list["data"][0]["event_id"].as_str().unwrap();
        self.get(&format!("/events/{id}")).await.json()
    }

    /// Waits until the projector has looked at everything that was accepted.
    pub(crate) async fn settle(&self, ctx: &Ctx) {
        let mut database = Database::open(ctx.database.url()).await.unwrap();
        let left = database.drained(EVENTS_ACCEPTED, SETTLED_WITHIN).await;
        assert_eq!(left.unwrap(), 0, "the projector keeps up");
    }

    pub(crate) fn seconds(&self) -> UnixSeconds {
        use contract::Clock;
        self.clock.now().seconds()
    }
}

/// The event of a guest's creation, under a key.
pub(crate) fn guest_event(key: &str) -> Vec<u8> {
    event(key, "guest.created", &json!({"last_name": "Silva"}))
}

/// An event of an entity of its own, `x_` and the key.
pub(crate) fn event(key: &str, event_type: &str, payload: &Value) -> Vec<u8> {
    let kind = event_type.split('.').next().unwrap();
    let envelope = json!({
        "type": event_type, "idempotency_key": key, "timestamp": "2025-11-21T12:00:00.000Z",
        "schema_version": 1, "property_id": "LIS01", "correlation_id": "req_of_the_change",
        "entity": {"kind": kind, "id": format!("x_{key}"), "version": 1}, "payload": payload,
    });
    envelope.to_string().into_bytes()
}

/// The one number that a query answers under `n`.
pub(crate) async fn number(db: &Db, sql: &'static str, params: Params) -> i64 {
    let rows = db
        .read("number", move |tx| {
            let params = params.clone();
            Box::pin(async move { tx.query(sql, params).await })
        })
        .await
        .unwrap();
    rows[0].get("n").unwrap()
}

/// Carries one statement out.
pub(crate) async fn execute(db: &Db, sql: &'static str, params: Params) -> u64 {
    let run = db.transaction("execute", move |tx| {
        let params = params.clone();
        Box::pin(async move { tx.execute(sql, params).await })
    });
    run.await.unwrap()
}

/// The audit entries of an action.
pub(crate) async fn audited(db: &Db, action: &str) -> i64 {
    let sql = "SELECT COUNT(*) AS n FROM audit_entries WHERE action = ?";
    number(db, sql, db::params![action]).await
}
