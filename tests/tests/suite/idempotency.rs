//! The REST `Idempotency-Key`: one effect, one answer, however often and wherever a request comes.
//!
//! The work is a stand-in for a handler's: it writes one audit row and its answer in one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use contract::{Clock, Problem, ProblemCode, UnixMillis};
use e2e::clock::HandClock;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;
use kit::audit::{self, AuditEntry};
use kit::db::{Db, DbError, migrate, params};
use kit::http::{RequestContext, Response};
use kit::idempotency::{Answer, IDEMPOTENCY_KEY, Idempotency, Key, Slot};
use kit::random::SystemEntropy;
use tokio::sync::Notify;

use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        a_retry_gets_the_first_answer_and_makes_no_second_effect,
        another_body_is_refused_and_the_first_stands,
        a_key_belongs_to_its_caller_method_and_path,
        fifty_at_once_make_one_effect,
        two_replicas_at_once_make_one_effect,
        one_in_flight_is_waited_for_and_then_told_of,
        a_client_that_hangs_up_leaves_nothing_half_known,
        a_failure_leaves_the_key_free,
        a_change_that_is_rolled_back_takes_its_answer_with_it,
        a_key_expires_after_a_day_and_is_purged,
    ]
}

const BODY: &[u8] = br#"{"last_name":"Silva"}"#;
/// Requests of one race.
const RACERS: usize = 50;
/// Races between replicas.
const RACES: usize = 20;

/// One replica.
#[derive(Clone)]
struct Replica {
    db: Db,
    clock: Arc<HandClock>,
    idempotency: Arc<Idempotency>,
    worked: Arc<AtomicU32>,
}

/// A replayed answer is told apart.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    location: String,
    etag: String,
    body: String,
    replayed: bool,
}

impl Replica {
    async fn on(ctx: &Ctx) -> Self {
        let clock = Arc::new(HandClock::at(UnixMillis(1_773_480_413_589)));
        let db = ctx.open().await;
        migrate(&db, &[], &*clock, "test")
            .await
            .expect("kit's tables are made");
        let idempotency = Idempotency::new(db.clone(), clock.clone(), Arc::new(SystemEntropy));
        Self {
            db,
            clock,
            idempotency: Arc::new(idempotency),
            worked: Arc::default(),
        }
    }

    async fn post(&self, key: &str, body: &[u8]) -> Result<Seen, Problem> {
        self.post_as("reception", "/api/v1/guests", key, body).await
    }

    async fn post_as(&self, caller: &str, path: &str, key: &str, body: &[u8]) -> Result<Seen, Problem> {
        self.run(caller, path, key, body, |replica, slot| async move {
            replica.work(slot).await
        })
        .await
    }

    async fn run<W, F>(
        &self,
        caller: &str,
        path: &str,
        key: &str,
        body: &[u8],
        work: W,
    ) -> Result<Seen, Problem>
    where
        W: FnOnce(Self, Slot) -> F,
        F: Future<Output = Result<Answer, Problem>> + Send + 'static,
    {
        let context = context(path);
        let work = |slot| work(self.clone(), slot);
        let response = self
            .idempotency
            .run(caller, &context, Some(named(key)), body, work)
            .await?;
        Ok(seen(response).await)
    }

    /// The change and its answer, in one transaction. Each run would make another guest.
    async fn work(&self, slot: Slot) -> Result<Answer, Problem> {
        let number = self.worked.fetch_add(1, Ordering::SeqCst);
        let id = format!("gst_{number}");
        let view = serde_json::json!({"id": id});
        let answer = Answer::created(format!("/api/v1/guests/{id}"), 1, &view).about("guest", &id);
        let (now, stored) = (self.clock.now(), answer.clone());
        let created = self.db.transaction("create", move |tx| {
            let (slot, stored) = (slot.clone(), stored.clone());
            Box::pin(async move {
                slot.store(tx, &stored).await?;
                audit::append(tx, &[AuditEntry::new("created", now)]).await
            })
        });
        created.await?;
        Ok(answer)
    }

    async fn count(&self, table: &'static str) -> i64 {
        let read = self.db.read("count", move |tx| {
            Box::pin(async move {
                let row = tx
                    .query_one(&format!("SELECT COUNT(*) AS n FROM {table}"), params![])
                    .await?;
                row.expect("a count has a row").get("n")
            })
        });
        read.await.expect("the table is read")
    }

    async fn effects(&self) -> i64 {
        self.count("audit_entries").await
    }
}

fn context(path: &str) -> RequestContext {
    let id: contract::RequestId = "req_1".parse().expect("an id");
    RequestContext {
        request_id: id.clone(),
        correlation_id: id,
        traceparent: None,
        method: Method::POST,
        path: path.to_owned(),
        remote: None,
    }
}

fn named(key: &str) -> Key {
    let mut headers = HeaderMap::new();
    headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(key).expect("a header"));
    Key::from_headers(&headers).expect("a key").expect("it is there")
}

async fn seen(response: Response) -> Seen {
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
            .to_owned()
    };
    let (location, etag, replayed) = (
        header("location"),
        header("etag"),
        header("idempotency-replayed") == "true",
    );
    let status = response.status().as_u16();
    let bytes = response
        .into_body()
        .collect()
        .await
        .expect("a whole body")
        .to_bytes();
    let body = String::from_utf8(bytes.to_vec()).expect("text");
    Seen {
        status,
        location,
        etag,
        body,
        replayed,
    }
}

async fn a_retry_gets_the_first_answer_and_makes_no_second_effect(ctx: Ctx) {
    let replica = Replica::on(&ctx).await;
    let first = replica.post("k-1", BODY).await.unwrap();
    assert_eq!(
        (first.status, first.location.as_str(), first.etag.as_str()),
        (201, "/api/v1/guests/gst_0", "\"1\"")
    );
    assert_eq!(
        (first.body.as_str(), first.replayed),
        (r#"{"id":"gst_0"}"#, false)
    );
    for _ in 0..3 {
        assert_eq!(
            replica.post("k-1", BODY).await.unwrap(),
            Seen {
                replayed: true,
                ..copy(&first)
            }
        );
    }
    assert_eq!(replica.effects().await, 1);
}

fn copy(seen: &Seen) -> Seen {
    let Seen {
        status,
        location,
        etag,
        body,
        replayed,
    } = seen;
    Seen {
        status: *status,
        location: location.clone(),
        etag: etag.clone(),
        body: body.clone(),
        replayed: *replayed,
    }
}

async fn another_body_is_refused_and_the_first_stands(ctx: Ctx) {
    let replica = Replica::on(&ctx).await;
    let first = replica.post("k-1", BODY).await.unwrap();
    let problem = replica
        .post("k-1", br#"{"last_name":"silva"}"#)
        .await
        .unwrap_err();
    assert_eq!(problem.code, ProblemCode::IdempotencyKeyReused);
    assert_eq!(
        replica.post("k-1", BODY).await.unwrap(),
        Seen {
            replayed: true,
            ..first
        }
    );
    assert_eq!(replica.effects().await, 1);
}

async fn a_key_belongs_to_its_caller_method_and_path(ctx: Ctx) {
    let replica = Replica::on(&ctx).await;
    let (guests, reservations) = ("/api/v1/guests", "/api/v1/reservations");
    for (caller, path, key) in [
        ("reception", guests, "k"),
        ("spa", guests, "k"),
        ("reception", reservations, "k"),
        ("reception", guests, "K"),
    ] {
        let seen = replica.post_as(caller, path, key, BODY).await.unwrap();
        assert!(!seen.replayed, "{caller} {path} {key}");
    }
    assert_eq!(replica.effects().await, 4);
}

async fn fifty_at_once_make_one_effect(ctx: Ctx) {
    let replica = Replica::on(&ctx).await;
    let racers: Vec<_> = (0..RACERS)
        .map(|_| {
            let replica = replica.clone();
            tokio::spawn(async move { replica.post("k-1", BODY).await.unwrap() })
        })
        .collect();
    let mut first = 0;
    for racer in racers {
        let seen = racer.await.unwrap();
        assert_eq!((seen.status, seen.body.as_str()), (201, r#"{"id":"gst_0"}"#));
        first += u32::from(!seen.replayed);
    }
    assert_eq!((first, replica.effects().await), (1, 1));
}

async fn two_replicas_at_once_make_one_effect(ctx: Ctx) {
    // Maps of their own: only the table's key is between them.
    let replicas = [Replica::on(&ctx).await, Replica::on(&ctx).await];
    for race in 0..RACES {
        let key = format!("k-{race}");
        let (one, other) = tokio::join!(replicas[0].post(&key, BODY), replicas[1].post(&key, BODY));
        // One may be told to come back; it then gets the other's answer.
        let told = |answer: &Result<_, Problem>| {
            answer
                .as_ref()
                .is_err_and(|problem| problem.code == ProblemCode::InFlight)
        };
        let answers: Vec<_> = [one, other]
            .into_iter()
            .filter(|answer| !told(answer))
            .map(Result::unwrap)
            .collect();
        let again = replicas[0].post(&key, BODY).await.unwrap();
        assert!(
            answers.iter().all(|seen| seen.body == again.body),
            "{answers:?} {again:?}"
        );
        assert_eq!(
            answers.iter().filter(|seen| !seen.replayed).count(),
            1,
            "{answers:?}"
        );
    }
    assert_eq!(replicas[0].effects().await, i64::try_from(RACES).unwrap());
}

/// Work that waits at a barrier before it begins.
#[derive(Clone, Default)]
struct Barrier {
    reached: Arc<Notify>,
    open: Arc<Notify>,
}

fn held(replica: &Replica, barrier: &Barrier) -> tokio::task::JoinHandle<Result<Seen, Problem>> {
    let (replica, barrier) = (replica.clone(), barrier.clone());
    tokio::spawn(async move {
        let work = |replica: Replica, slot| async move {
            barrier.reached.notify_one();
            barrier.open.notified().await;
            replica.work(slot).await
        };
        replica
            .run("reception", "/api/v1/guests", "k-1", BODY, work)
            .await
    })
}

async fn one_in_flight_is_waited_for_and_then_told_of(ctx: Ctx) {
    let (replica, barrier) = (Replica::on(&ctx).await, Barrier::default());
    let first = held(&replica, &barrier);
    barrier.reached.notified().await;
    let begun = tokio::time::Instant::now();
    let problem = replica.post("k-1", BODY).await.unwrap_err();
    assert_eq!(
        (problem.code, problem.retry_after_seconds),
        (ProblemCode::InFlight, Some(1))
    );
    assert!(begun.elapsed() >= Duration::from_secs(2));
    barrier.open.notify_one();
    let (second, first) = tokio::join!(replica.post("k-1", BODY), first);
    assert!(second.unwrap().replayed && !first.unwrap().unwrap().replayed);
    assert_eq!(replica.effects().await, 1);
}

async fn a_client_that_hangs_up_leaves_nothing_half_known(ctx: Ctx) {
    let (replica, barrier) = (Replica::on(&ctx).await, Barrier::default());
    let client = held(&replica, &barrier);
    barrier.reached.notified().await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    barrier.open.notify_one();
    let retry = replica.post("k-1", BODY).await.unwrap();
    assert!(retry.replayed, "the work went on without its client: {retry:?}");
    assert_eq!(replica.effects().await, 1);
}

async fn a_failure_leaves_the_key_free(ctx: Ctx) {
    let replica = Replica::on(&ctx).await;
    let refused = |_, _| async { Err(Problem::new(ProblemCode::InvalidTransition)) };
    for _ in 0..2 {
        let problem = replica
            .run("reception", "/api/v1/guests", "k-1", BODY, refused)
            .await
            .unwrap_err();
        assert_eq!(problem.code, ProblemCode::InvalidTransition);
    }
    // Nothing was stored, so not even the body is bound.
    assert!(!replica.post("k-1", b"{}").await.unwrap().replayed);
}

async fn a_change_that_is_rolled_back_takes_its_answer_with_it(ctx: Ctx) {
    let replica = Replica::on(&ctx).await;
    let fails = |replica: Replica, slot: Slot| async move {
        let run = replica.db.transaction("fails", move |tx| {
            let slot = slot.clone();
            Box::pin(async move {
                slot.store(tx, &Answer::no_content()).await?;
                Err::<(), _>(DbError::Contended)
            })
        });
        run.await?;
        Ok(Answer::no_content())
    };
    let problem = replica
        .run("reception", "/api/v1/guests", "k-1", BODY, fails)
        .await
        .unwrap_err();
    assert_eq!(problem.code, ProblemCode::Unavailable);
    assert_eq!(replica.count("idempotency").await, 0);
    assert_eq!(replica.post("k-1", BODY).await.unwrap().status, 201);
}

async fn a_key_expires_after_a_day_and_is_purged(ctx: Ctx) {
    let replica = Replica::on(&ctx).await;
    replica.post("k-1", BODY).await.unwrap();
    replica.post("k-2", BODY).await.unwrap();
    replica
        .clock
        .advance(Duration::from_secs(24 * 3600) - Duration::from_millis(1));
    assert!(replica.post("k-1", BODY).await.unwrap().replayed);
    assert_eq!(replica.idempotency.purge(10).await.unwrap(), 0);
    replica.clock.advance(Duration::from_millis(1));
    assert!(
        !replica.post("k-1", b"{}").await.unwrap().replayed,
        "it is free again, for any body"
    );
    assert!(replica.post("k-1", b"{}").await.unwrap().replayed);
    assert_eq!(
        (replica.effects().await, replica.count("idempotency").await),
        (3, 2)
    );
    assert_eq!(replica.idempotency.purge(10).await.unwrap(), 1);
    assert_eq!(
        (
            replica.idempotency.purge(10).await.unwrap(),
            replica.count("idempotency").await
        ),
        (0, 1)
    );
}
