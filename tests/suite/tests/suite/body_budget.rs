//! The byte budget of request bodies holds for as long as their bytes and their trees are kept: until the database has
//! answered.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use api::Server;
use api::access::{Admission, Caller, Gate, Level, Permissions, Visit};
use api::body::{BodyLimits, ByteBudget};
use bytes::Bytes;
use contract::{Clock, Ids, Scope, UnixMillis, json::Extent};
use db::migrate;
use futures::future::BoxFuture;
use harness::clock::HandClock;
use harness::config::MASTER_KEY;
use harness::engine::Engine;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use kit::egress::{Egress, EgressSettings};
use kit::idempotency::{IDEMPOTENCY_KEY, Idempotency};
use kit::random::SystemEntropy;
use pms_emitter::desk::{Catalogue, Desk, Vault, Wakeups};
use pms_emitter::http::{Api, router};
use pms_emitter::store::{MIGRATIONS, Store};
use tokio::sync::Notify;

use crate::case::{Case, Ctx, cases};
use crate::pms::BEGIN;

/// All bytes that bodies may take.
const BUDGET: usize = 1 << 20;
const BODY: &[u8] = br#"{"name": "Ana Silva"}"#;
/// As many trees as a write has at once.
const TREES: usize = 4;

pub fn cases() -> Vec<Case> {
    // It holds the one writer of the file.
    cases![only Engine::Sqlite; a_body_counts_until_its_write_is_done]
}

/// Lets anyone do anything.
struct Anyone;

impl Gate for Anyone {
    fn admit<'v>(&'v self, _: Visit<'v>) -> BoxFuture<'v, Admission> {
        let caller = Caller {
            permissions: Permissions::all(Level::Admin),
            level_max: Level::Admin,
            scope: Scope::All,
            ..Caller::unknown()
        };
        Box::pin(async { Admission::of(Arc::new(caller)) })
    }

    fn answered(&self, _: &Arc<Caller>, _: &Arc<str>, _: StatusCode, _: Duration) {}

    fn is_unchanged<'c>(&'c self, _: &'c Caller) -> BoxFuture<'c, Option<bool>> {
        Box::pin(async { Some(true) })
    }
}

/// Signals when it is asked, which a write does once it has read its body, and before it commits.
struct TellingClock(Arc<Notify>);

impl Clock for TellingClock {
    fn now(&self) -> UnixMillis {
        self.0.notify_one();
        BEGIN
    }
}

fn post(key: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri("/guests")
        .header(header::HOST, "pms")
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header(IDEMPOTENCY_KEY, key);
    }
    request.body(Full::from(BODY)).unwrap()
}

async fn a_body_counts_until_its_write_is_done(ctx: Ctx) {
    let db = ctx.open().await;
    let hand = Arc::new(HandClock::at(BEGIN));
    migrate(&db, &[kit::tables::MIGRATIONS, MIGRATIONS], &*hand, "test")
        .await
        .unwrap();
    let store = Store::new(db.clone());
    store.open_default_property(BEGIN).await.unwrap();
    let (deciding, entropy) = (Arc::new(Notify::new()), Arc::new(SystemEntropy));
    let ids = || Ids::new(hand.clone(), entropy.clone());
    let api = Api {
        feed: pms_emitter::http::FeedWaiters::new(tokio::sync::watch::channel(0).1),
        tests: pms_emitter::http::TestPlaces::default(),
        desk: Desk {
            store,
            clock: Arc::new(TellingClock(deciding.clone())),
            ids: ids(),
            vault: Vault {
                master_keys: MASTER_KEY.parse().unwrap(),
                entropy: entropy.clone(),
            },
            digest_key: Arc::new("a key of the suite".parse().unwrap()),
            catalogue: Catalogue::default(),
            egress: Egress::new("suite", EgressSettings::default()).unwrap(),
            send_test: Arc::new(|_| panic!("nobody tests an endpoint here")),
            wakeups: Wakeups::default(),
        },
        idempotency: Arc::new(Idempotency::new(db.clone(), hand.clone(), entropy.clone())),
        base_path: "".into(),
    };
    let budget = ByteBudget::new(BUDGET);
    let limits = BodyLimits {
        budget: budget.clone(),
        ..BodyLimits::default()
    };
    let server = Arc::new(Server::new(router(&api), ids(), limits).with_gate(Arc::new(Anyone)));
    // A body costs its bytes, and the trees that a write makes of it.
    let held = BUDGET - BODY.len() - TREES * Extent::of(BODY).tree_bytes();
    for key in [None, Some("k-1")] {
        let (standing, (open, opened)) = (Arc::new(Notify::new()), mpsc::channel());
        let (writer, reached, opened) = (db.clone(), standing.clone(), Arc::new(Mutex::new(opened)));
        let holding = tokio::spawn(async move {
            let hold = writer.transaction("hold", move |_| {
                reached.notify_one();
                // The writer's own thread stands still.
                opened.lock().unwrap().recv().unwrap();
                Box::pin(async { Ok(()) })
            });
            hold.await
        });
        standing.notified().await;
        let answering = server.clone();
        let client = tokio::spawn(async move { answering.answer(post(key), None).await });
        deciding.notified().await;
        assert_eq!(budget.left(), held, "{key:?}: the write waits");
        if key.is_some() {
            client.abort();
            assert!(client.await.unwrap_err().is_cancelled());
            assert_eq!(budget.left(), held, "its client is gone, its work is not");
            open.send(()).unwrap();
            // It waits for the work that the client left behind.
            let again = server.answer(post(key), None).await;
            assert_eq!(again.headers()["idempotency-replayed"], "true");
        } else {
            open.send(()).unwrap();
            assert_eq!(client.await.unwrap().status(), 201);
        }
        holding.await.unwrap().unwrap();
        assert_eq!(budget.left(), BUDGET, "{key:?}: all is given back");
    }
}
