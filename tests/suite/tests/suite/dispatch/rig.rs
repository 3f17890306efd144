//! An emitter, a receiver double, and a look into the tables beside them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use contract::SeededEntropy;
use contract::{Envelope, EventId, SecretList, UnixMillis};
use db::{DatabaseUrl, DbError, Row, Tx, leases, params};
use futures::future::BoxFuture;
use harness::clock::HandClock;
use harness::receiver_double::ReceiverDouble;
use harness::waiting::{until, until_some};
use kit::audit::{self, AuditEntry};
use kit::lifecycle::{Ended, Lifecycle};
use kit::sequencer::{Sequencer, Step};
use pms_emitter::config::{Config, DeliveryConfig, EndpointConfig};
use pms_emitter::dispatch::parts::{LOOK_EVERY, TIMEOUT_SECONDS_MAX};
use pms_emitter::retention::Retention;
use pms_emitter::store::outbox;
use pms_emitter::store::{EndpointStatus, FEED, FanOut, NewEvent, Store, env_endpoint};
use pms_emitter::{App, Runtime};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::case::Ctx;
use crate::metrics::{ANY_PORT, Page};

/// When every case begins.
pub const BEGIN: UnixMillis = UnixMillis(1_763_769_600_000);
/// Longer than any open period of these cases.
pub const PAST_OPEN: Duration = Duration::from_secs(61);
/// The longest that an attempt can have, for cases that hold one at a gate: on the busiest machine it ends when the case lets it, and a
/// wait of the case that hangs ends before it.
pub const HELD_FOR: Duration = Duration::from_secs(TIMEOUT_SECONDS_MAX);
/// What every case signs with: two, as in the middle of a rotation.
pub const SECRETS: &str = "the-new-secret-of-it the-old-secret-of-it";

/// What differs between cases.
pub struct Setup {
    pub schedule: &'static str,
    pub concurrency: usize,
    pub breaker_failures: u32,
    pub breaker_open: Duration,
    pub look_every: Duration,
    /// Of an attempt, in real time.
    pub timeout: Duration,
    pub has_url: bool,
    /// It is stopped before it runs.
    pub is_stopped: bool,
    /// Another way to the double, or another receiver.
    pub url: Option<String>,
    /// Another way to the case's database.
    pub database: Option<DatabaseUrl>,
    /// Where its randomness begins: two that run at once must not make the same tokens.
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            schedule: "0s,10s,20s",
            concurrency: 8,
            breaker_failures: 1_000,
            breaker_open: Duration::from_millis(50),
            look_every: LOOK_EVERY,
            timeout: harness::config::DELIVERY_TIMEOUT,
            has_url: true,
            is_stopped: false,
            url: None,
            database: None,
            seed: BEGIN.0.unsigned_abs(),
        }
    }
}

/// An emitter that runs, and what it talks to.
pub struct Rig {
    pub double: Arc<ReceiverDouble>,
    pub clock: Arc<HandClock>,
    pub store: Store,
    pub lifecycle: Lifecycle,
    pub base: String,
    metrics: Option<SocketAddr>,
    /// None when there is no emitter, only its tables.
    task: Option<JoinHandle<Ended>>,
}

impl Rig {
    /// A double, and an emitter on the case's database that delivers to it.
    pub async fn start(ctx: &Ctx, setup: Setup) -> Self {
        let double = Arc::new(ReceiverDouble::start().await.unwrap());
        Self::start_with(ctx, setup, double, Arc::new(HandClock::at(BEGIN))).await
    }

    /// An emitter on the case's database, with the double and the clock of another.
    pub async fn start_with(
        ctx: &Ctx,
        setup: Setup,
        double: Arc<ReceiverDouble>,
        clock: Arc<HandClock>,
    ) -> Self {
        let runtime = Runtime {
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(setup.seed)),
        };
        let app = App::build(config(ctx, &setup, &double), runtime).await.unwrap();
        let (store, base) = (app.store().clone(), format!("http://{}/api/v1", app.address()));
        let (lifecycle, metrics) = (Lifecycle::new(), app.metrics_address());
        if setup.is_stopped {
            lifecycle.stop();
        }
        let task = Some(tokio::spawn(app.run_until_stopped(lifecycle.clone())));
        Self {
            double,
            clock,
            store,
            lifecycle,
            base,
            metrics,
            task,
        }
    }

    /// The tables of an emitter that is stopped: its endpoint is subscribed, and nobody works on it. What is emitted is queued.
    pub async fn start_without_dispatcher(ctx: &Ctx) -> Self {
        let (double, clock) = Self::start(ctx, Setup::default()).await.stop().await;
        let store = Store::new(ctx.open().await);
        Self {
            double,
            clock,
            store,
            lifecycle: Lifecycle::new(),
            base: String::new(),
            metrics: None,
            task: None,
        }
    }

    /// Stops it softly, and answers what it talked to.
    pub async fn stop(self) -> (Arc<ReceiverDouble>, Arc<HandClock>) {
        self.lifecycle.stop();
        match self.task {
            Some(task) => assert_eq!(task.await.unwrap(), Ended::Finished),
            None => self.store.db().clone().close().await,
        }
        (self.double, self.clock)
    }

    /// Commits events, each in a transaction of its own; where no emitter runs they are queued too.
    pub async fn emit(&self, events: std::ops::Range<u32>) {
        self.commit(events).await;
        if self.task.is_none() {
            self.fan_out().await;
        }
    }

    /// Commits events, each in a transaction of its own.
    pub async fn commit(&self, events: std::ops::Range<u32>) {
        for number in events {
            let event = event(number, self.now());
            let committed = self.store.db().transaction("emit", move |tx| {
                let event = event.clone();
                Box::pin(async move { append(tx, &event).await })
            });
            committed.await.unwrap();
        }
    }

    /// Queues what waits, as the sequencer of a process does that stops then.
    pub async fn fan_out(&self) {
        let owner = "suite".to_owned();
        let mut sequencer = Sequencer::new(self.store.db(), self.clock.clone(), owner, FanOut::default());
        loop {
            match sequencer.step().await.unwrap() {
                Step::Idle => break,
                Step::Held => panic!("another process gives places"),
                Step::Worked(_) => {}
            }
        }
        let name = format!("sequence:{}", FEED.name);
        let release = self.store.db().transaction("release", move |tx| {
            let name = name.clone();
            Box::pin(async move { leases::end(tx, &name).await })
        });
        release.await.unwrap();
    }

    pub fn now(&self) -> UnixMillis {
        contract::Clock::now(self.clock.as_ref())
    }

    /// Where it shows its metrics.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics.expect("an emitter runs")
    }

    /// What its metrics say now.
    pub async fn metrics(&self) -> Page {
        Page::of(self.metrics_address()).await
    }

    pub async fn status(&self) -> EndpointStatus {
        self.store.endpoint_statuses().await.unwrap().remove(0)
    }

    /// Waits until the endpoint stands as expected, and answers how.
    pub async fn until(&self, what: &str, expected: impl Fn(&EndpointStatus) -> bool) -> EndpointStatus {
        until_some(what, || async { Some(self.status().await).filter(&expected) }).await
    }

    /// Waits until nothing is claimed: no attempt goes on, and none is about to begin.
    pub async fn until_nothing_is_claimed(&self) {
        let sql = "SELECT event_id FROM deliveries WHERE endpoint_id = ? AND status = 'pending' AND owner IS NOT NULL";
        until("nothing is claimed", || async {
            self.rows(sql, env_endpoint().to_string()).await.is_empty()
        })
        .await;
    }

    /// Waits until no request is open and so many are delivered.
    pub async fn until_delivered(&self, deliveries: u64) -> EndpointStatus {
        self.until("delivered", |status| status.delivered >= deliveries)
            .await
    }

    /// Waits until so many attempts at an event's delivery are settled.
    pub async fn until_attempts(&self, number: u32, attempts: i64) {
        until("the attempts are settled", || async {
            self.delivery(number).await.get::<i64>("attempts").unwrap() >= attempts
        })
        .await;
    }

    /// One row of the deliveries, once the event is queued.
    pub async fn delivery(&self, number: u32) -> Row {
        let sql = "SELECT status, attempts, attempts_before, due_at, owner, epoch, last_status, last_error
             FROM deliveries WHERE event_id = ?";
        until_some("the event has a delivery", || async {
            self.rows(sql, event_id(number)).await.into_iter().next()
        })
        .await
    }

    /// The actions that the audit log has for an event, in their order.
    pub async fn audited(&self, number: u32) -> Vec<String> {
        let read = self.store.db().read("audited", move |tx| {
            Box::pin(async move { audit::find_by_event(tx, &event_id(number)).await })
        });
        read.await
            .unwrap()
            .into_iter()
            .map(|entry: AuditEntry| entry.action.into_owned())
            .collect()
    }

    /// The rows of a query with one parameter.
    pub async fn rows(&self, sql: &'static str, parameter: String) -> Vec<Row> {
        let read = self.store.db().read(
            "rows",
            move |tx: &mut Tx| -> BoxFuture<'_, Result<Vec<Row>, DbError>> {
                let parameter = parameter.clone();
                Box::pin(async move { tx.query(sql, params![parameter]).await })
            },
        );
        read.await.unwrap()
    }
}

/// The id of an event of these cases.
pub fn event_id(number: u32) -> String {
    format!("evt_{number:05}")
}

/// Writes an event as a change does that is committed with it.
pub async fn append(tx: &mut Tx, event: &NewEvent) -> Result<(), DbError> {
    tx.run(&outbox::statements(event)).await.all()?;
    outbox::appended(tx);
    Ok(())
}

/// An event of a guest of its own.
pub fn event(number: u32, now: UnixMillis) -> NewEvent {
    let id: EventId = event_id(number).parse().unwrap();
    let envelope = json!({
        "kind": "guest", "id": format!("gst_{number:05}"), "version": 1,
    });
    let envelope = Envelope {
        test: false,
        event_type: "guest.created".to_owned(),
        idempotency_key: id.clone().into(),
        timestamp: now,
        schema_version: 1,
        property_id: Some("MAIN".parse().unwrap()),
        entity: Some(serde_json::from_value(envelope).unwrap()),
        correlation_id: Some(format!("req_{number:05}")),
        changed: vec!["last_name".to_owned()],
        payload: json!({"last_name": "Ångström"}).as_object().unwrap().clone(),
    };
    let traceparent = (number % 2 == 1).then(|| TRACEPARENT.to_owned());
    NewEvent {
        id,
        envelope,
        committed_at: now,
        traceparent,
    }
}

/// The trace of every event with an odd number.
pub const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn config(ctx: &Ctx, setup: &Setup, double: &ReceiverDouble) -> Config {
    let secrets: SecretList = SECRETS.parse().unwrap();
    let endpoint = EndpointConfig {
        url: setup.url.clone().unwrap_or_else(|| double.url()).parse().unwrap(),
        secrets,
    };
    let database = setup.database.clone().unwrap_or_else(|| ctx.url());
    let mut config = harness::config::emitter(database, setup.has_url.then_some(endpoint));
    config.http.metrics_addr = Some(ANY_PORT.parse().unwrap());
    // Its events are of the clock's own time.
    config.retention = Retention::default();
    config.delivery = DeliveryConfig {
        schedule: setup.schedule.parse().unwrap(),
        concurrency: setup.concurrency,
        breaker_failures: setup.breaker_failures,
        breaker_open: setup.breaker_open,
        look_every: setup.look_every,
        timeout: setup.timeout,
        ..config.delivery
    };
    config
}
