//! The REST `Idempotency-Key`: one effect, one answer, however often and wherever a request comes.
//!
//! The work is a stand-in for a handler's: it writes one audit row and its answer in one transaction.

mod answers;
mod races;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use api::{Caller, RequestContext, Response};
use contract::{Clock, Problem, Scope, UnixMillis};
use db::{Db, migrate, params};
use harness::clock::HandClock;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;
use kit::audit::{self, AuditEntry};
use kit::database_problem;
use kit::idempotency::{Answer, IDEMPOTENCY_KEY, Idempotency, Key, Slot};
use kit::random::SystemEntropy;

use crate::case::{Case, Ctx};

pub fn cases() -> Vec<Case> {
    [answers::cases(), races::cases()].into_iter().flatten().collect()
}

const BODY: &[u8] = br#"{"last_name":"Silva"}"#;

/// One replica.
#[derive(Clone)]
struct Replica {
    db: Db,
    clock: Arc<HandClock>,
    idempotency: Arc<Idempotency>,
    worked: Arc<AtomicU32>,
}

/// A replayed answer is recognised.
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
        migrate(&db, &[kit::tables::MIGRATIONS], &*clock, "test")
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
        self.run(
            &named_caller(caller),
            path,
            key,
            body,
            |replica, slot| async move { replica.work(slot).await },
        )
        .await
    }

    async fn run<W, F>(
        &self,
        caller: &Caller,
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
        created.await.map_err(database_problem)?;
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

/// A caller who sees everything.
fn named_caller(id: &str) -> Caller {
    Caller {
        id: id.into(),
        scope: Scope::All,
        ..Caller::unknown()
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
