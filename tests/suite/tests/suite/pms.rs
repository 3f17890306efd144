//! An emitter on a case's database, driven over real HTTP as a client would, with a clock that moves by hand.

use std::net::SocketAddr;
use std::sync::Arc;

use api::Line;
use contract::UnixMillis;
use db::{DatabaseUrl, Db, params};
use harness::client::Client;
use harness::clock::HandClock;
use harness::config::BASE_PATH;
use http::{HeaderMap, Method};
use kit::config::HttpArgs;
use kit::lifecycle::{Ended, Lifecycle};
use kit::random::SystemEntropy;
use kit::rebuild::{Rebuilder, Step};
use pms_emitter::config::{Config, EndpointConfig};
use pms_emitter::store::{GUEST_NAMES, Store};
use pms_emitter::{App, Runtime};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::case::Ctx;
use crate::metrics::{ANY_PORT, Page};

/// When a case begins: 2026-03-14T09:26:53.589Z.
pub const BEGIN: UnixMillis = UnixMillis(1_773_480_413_589);

/// A running emitter. A case ends it with [`Pms::stop`].
pub struct Pms {
    pub clock: Arc<HandClock>,
    /// Connections of the case's own.
    pub db: Db,
    /// The emitter's own.
    pub store: Store,
    /// Its endpoints.
    pub table: Vec<Line>,
    origin: String,
    client: Client,
    metrics: Option<SocketAddr>,
    lifecycle: Lifecycle,
    task: JoinHandle<Ended>,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Reply {
    /// A header's text; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The rules that a 422 names: pointer and code.
    pub fn errors(&self) -> Vec<(&str, &str)> {
        let errors = self.body["errors"].as_array().map_or(&[][..], Vec::as_slice);
        errors
            .iter()
            .map(|error| {
                (
                    error["pointer"].as_str().unwrap(),
                    error["code"].as_str().unwrap(),
                )
            })
            .collect()
    }

    /// The id of the thing that it shows.
    pub fn id(&self) -> &str {
        self.body["id"].as_str().expect("it shows a thing")
    }

    /// It, if its status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
}

impl Pms {
    /// Starts one on the case's database, at [`BEGIN`].
    pub async fn start(ctx: &Ctx) -> Self {
        Self::start_with(ctx, BEGIN, None).await
    }

    /// Waits until the service's own rebuild of names is at its end, so that it writes nothing beside the case.
    pub async fn rebuilt(&self) {
        let clock = Arc::clone(&self.clock);
        let mut rebuilder = Rebuilder::new(self.db.clone(), clock, "case".to_owned(), GUEST_NAMES);
        while rebuilder.step().await.unwrap() != Step::Finished {
            tokio::task::yield_now().await;
        }
    }

    /// As [`Pms::start`], at any instant.
    pub async fn start_at(ctx: &Ctx, now: UnixMillis) -> Self {
        Self::start_with(ctx, now, None).await
    }

    /// As [`Pms::start_at`], delivering to an endpoint.
    pub async fn start_with(ctx: &Ctx, now: UnixMillis, endpoint: Option<EndpointConfig>) -> Self {
        let config = Config {
            endpoint,
            ..config(ctx.url())
        };
        Self::start_as(ctx, now, config).await
    }

    /// As [`Pms::start`], on another way to the case's database, or another database altogether.
    pub async fn start_through(ctx: &Ctx, database: DatabaseUrl) -> Self {
        Self::start_as(ctx, BEGIN, config(database)).await
    }

    /// As [`Pms::start`], with other limits of its listener.
    pub async fn start_serving(ctx: &Ctx, with: impl FnOnce(HttpArgs) -> HttpArgs) -> Self {
        let usual = config(ctx.url());
        let http = with(usual.http);
        Self::start_as(ctx, BEGIN, Config { http, ..usual }).await
    }

    /// As [`Pms::start`], with other settings.
    pub async fn start_set(ctx: &Ctx, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(ctx.url());
        set(&mut config);
        Self::start_as(ctx, BEGIN, config).await
    }

    async fn start_as(ctx: &Ctx, now: UnixMillis, config: Config) -> Self {
        let clock = Arc::new(HandClock::at(now));
        let runtime = Runtime {
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
        };
        let app = App::build(config, runtime).await.expect("the emitter starts");
        let (store, table) = (app.store().clone(), app.table().to_vec());
        let (origin, metrics) = (format!("http://{}", app.address()), app.metrics_address());
        let client = Client::new(origin.as_str());
        let lifecycle = Lifecycle::new();
        let task = tokio::spawn(app.run_until_stopped(lifecycle.clone()));
        Self {
            clock,
            db: ctx.open().await,
            store,
            table,
            origin,
            client,
            metrics,
            lifecycle,
            task,
        }
    }

    /// What its metrics say now.
    pub async fn metrics(&self) -> Page {
        Page::of(self.metrics.unwrap()).await
    }

    /// Stops it, and makes sure that it ended well.
    pub async fn stop(self) {
        self.lifecycle.stop();
        assert_eq!(self.task.await.unwrap(), Ended::Finished);
        self.db.close().await;
    }

    /// Where it listens, as `host:port`.
    pub fn address(&self) -> &str {
        self.origin.trim_start_matches("http://")
    }

    /// One request to a path under the base path.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Reply {
        let raw = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        self.send_raw(method, &format!("{BASE_PATH}{path}"), headers, raw)
            .await
    }

    /// One request to any path, with any bytes.
    pub async fn send_raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Reply {
        let mut headers = headers.to_vec();
        if !body.is_empty() && headers.iter().all(|(name, _)| *name != "content-type") {
            headers.push(("content-type", "application/json"));
        }
        let url = format!("{}{path}", self.origin);
        let answer = self.client.send(&method, &url, &headers, body.into()).await;
        let (parts, body) = answer.expect("the emitter answers").into_parts();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, &[], Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], None).await
    }

    /// The envelopes of an entity's events, in the order of its versions.
    pub async fn events(&self, entity_id: &str) -> Vec<Value> {
        let id = entity_id.to_owned();
        let rows = self
            .db
            .read("events_of", move |tx| {
                let id = id.clone();
                Box::pin(async move {
                    tx.query(
                        "SELECT b.body FROM events e JOIN event_bodies b ON b.event_id = e.id
                         WHERE e.entity_id = ? ORDER BY e.entity_version",
                        params![id],
                    )
                    .await
                })
            })
            .await
            .unwrap();
        rows.iter()
            .map(|row| serde_json::from_slice(&row.get::<Vec<u8>>("body").unwrap()).unwrap())
            .collect()
    }

    /// The number that a query answers in its column `n`.
    pub async fn count(&self, sql: &'static str) -> i64 {
        let row = self
            .db
            .read("count", move |tx| Box::pin(tx.query_one(sql, params![])))
            .await
            .unwrap();
        row.expect("a count has a row").get("n").unwrap()
    }
}

fn config(database: DatabaseUrl) -> Config {
    let mut config = harness::config::emitter(database, None);
    config.http.metrics_addr = Some(ANY_PORT.parse().unwrap());
    config.document_digest_key = Some("a key of the suite".parse().expect("it is long enough"));
    config
}
