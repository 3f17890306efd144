//! The REST `Idempotency-Key`: a retry gets the answer of the first attempt, and no second effect.
//!
//! [`Idempotency::run`] goes around a handler's work. The work's store method calls [`Slot::store`] in its own
//! transaction, so the answer is committed with the change that it describes, or neither is. Requests with the same key
//! in this process wait for each other (singleflight); across replicas the table's primary key decides, and the loser
//! looks up the winner's answer. A key belongs to a caller, a method and a path, and is kept for 24 hours.
//!
//! A caller's scope may have been narrowed since an answer was stored. So each stored answer says which part it shows, and who
//! does not see that part now is answered by the work, which refuses what is out of scope as for anyone else.

mod answer;
mod key;
mod pending_keys;
mod shared;
mod slot;

pub use answer::Answer;
pub use key::{IDEMPOTENCY_KEY, Key};
pub use slot::Slot;

use crate::database_problem;
use api::{Caller, RequestContext, Response};
use contract::{Clock, Entropy, Problem, ProblemCode, Scope};
use db::{Db, DbError};
use futures::future::BoxFuture;
use http::HeaderValue;
use pending_keys::{Acquire, KeyGuard, PendingKeys};
use slot::{Fingerprint, Operation, Stored};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

/// How long a request waits for another request with the same key.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(2);
/// The `Retry-After` after that.
const RETRY_AFTER_SECONDS: u32 = 1;
/// Says that an answer is that of an earlier attempt.
pub const REPLAYED: &str = "idempotency-replayed";

/// The idempotency keys and their answers, for all handlers of one service.
pub struct Idempotency {
    db: Db,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pending_keys: PendingKeys,
}

impl Idempotency {
    /// Keeps its answers in the table `idempotency` of kit's migrations.
    pub fn new(db: Db, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            db,
            clock,
            entropy,
            pending_keys: PendingKeys::default(),
        }
    }

    /// Does `work` once for a caller's key, and answers a retry with what the first attempt answered.
    ///
    /// The caller's id has at most 64 ASCII characters. `work` must pass its [`Slot`] to the transaction that makes the
    /// change, and refuse what is not in the caller's scope. With a key it runs in a task of its own, which a client's
    /// disconnect does not cancel. Only answers that were stored are replayed: after a failure the key is free again.
    ///
    /// # Errors
    /// 422 when the key came with another body, 409 when it is still in flight after 2 s, and those of `work`.
    pub async fn run<W, F, E>(
        &self,
        caller: &Caller,
        context: &RequestContext,
        key: Option<Key>,
        body: &[u8],
        work: W,
    ) -> Result<Response, Problem>
    where
        W: FnOnce(Slot) -> F,
        F: Future<Output = Result<Answer, E>> + Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        let Some(key) = key else {
            return work(Slot::without_key())
                .await
                .map(Answer::into_response)
                .map_err(Into::into);
        };
        let operation = Operation::new(&caller.id, context, key)?;
        let guard = self.acquire(&operation).await?;
        // Looked up before the work: work that was done already would be refused, and that refusal is not the answer to
        // a retry.
        let stored = self.look_up(&operation).await.map_err(database_problem)?;
        if let Some(stored) = stored
            && let Some(answer) = replay(stored, body, &caller.scope)?
        {
            return Ok(answer);
        }
        let fingerprint = Fingerprint::new(body, &*self.entropy);
        let slot = Slot::new(operation.clone(), fingerprint, self.clock.now());
        let working = work(slot.clone());
        let done = tokio::spawn(with_guard(guard, working).in_current_span()).await;
        match done {
            Ok(Ok(answer)) => {
                debug_assert!(slot.is_stored(), "the work did not store its answer");
                Ok(answer.into_response())
            }
            Ok(Err(error)) => {
                let found = self.look_up(&operation).await;
                after_failure(found, &slot, error, body, &caller.scope)
            }
            // As if it had run here: the server answers it, and logs it once.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// Removes up to about `rows` keys that have expired, and as many answers that none names any more. Zero means that there
    /// are none left.
    ///
    /// # Errors
    /// Those of the database.
    pub fn purge<'p>(&'p self, rows: u32) -> BoxFuture<'p, Result<u64, DbError>> {
        Box::pin(async move {
            let now = self.clock.now();
            self.db
                .transaction("purge_idempotency", move |tx| {
                    Box::pin(async move {
                        let keys = slot::purge(tx, now, rows).await?;
                        Ok(keys + shared::purge(tx, now, rows).await?)
                    })
                })
                .await
        })
    }

    /// Acquires the key in this process, after waiting for another request with the same key.
    async fn acquire(&self, operation: &Operation) -> Result<KeyGuard, Problem> {
        let deadline = Instant::now() + IN_FLIGHT_WAIT;
        loop {
            match self.pending_keys.enter(operation) {
                Acquire::Acquired(guard) => return Ok(guard),
                Acquire::HeldByAnother(left) => timeout_at(deadline, left.cancelled())
                    .await
                    .map_err(|_| still_in_flight())?,
            }
        }
    }

    /// What is stored under a key and has not expired.
    async fn look_up(&self, operation: &Operation) -> Result<Option<Stored>, DbError> {
        let operation = operation.clone();
        let found = self
            .db
            .read("find_idempotent_answer", move |tx| {
                Box::pin(slot::find(tx, operation.clone()))
            })
            .await?;
        Ok(found.filter(|stored| !stored.is_expired(self.clock.now())))
    }
}

/// The work may have failed because another replica did it: then the stored answer that was `found` is returned, and the error is
/// neither logged nor made a problem.
fn after_failure<E: Into<Problem>>(
    found: Result<Option<Stored>, DbError>,
    slot: &Slot,
    error: E,
    body: &[u8],
    scope: &Scope,
) -> Result<Response, Problem> {
    // The work's error may be about a state that another replica created for this very request.
    let Some(stored) = found.map_err(database_problem)? else {
        return Err(if slot.is_taken() {
            // No answer is visible: another replica is writing it.
            still_in_flight()
        } else {
            error.into()
        });
    };
    match replay(stored, body, scope)? {
        Some(answer) => Ok(answer),
        None if slot.is_taken() => Err(Problem::new(ProblemCode::NotFound)),
        None => Err(error.into()),
    }
}

/// The guard is dropped when the work has ended, even when the client has gone before.
async fn with_guard<F: Future>(guard: KeyGuard, work: F) -> F::Output {
    let output = work.await;
    drop(guard);
    output
}

/// The stored answer, unless it shows what is not in the scope.
fn replay(stored: Stored, body: &[u8], scope: &Scope) -> Result<Option<Response>, Problem> {
    if !stored.fingerprint.matches(body) {
        return Err(Problem::new(ProblemCode::IdempotencyKeyReused));
    }
    if !scope.has_optional(stored.answer.part.as_deref()) {
        return Ok(None);
    }
    let mut response = stored.answer.into_response();
    response
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(Some(response))
}

fn still_in_flight() -> Problem {
    Problem::new(ProblemCode::InFlight).with_retry_after(RETRY_AFTER_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemClock;
    use contract::SeededEntropy;
    use db::{DbSettings, migrate};
    use http::{HeaderMap, Method};

    /// An error that must not become an answer.
    struct Unseen;

    impl From<Unseen> for Problem {
        fn from(_: Unseen) -> Self {
            panic!("it was converted, and so logged")
        }
    }

    #[tokio::test]
    async fn an_error_that_another_replicas_answer_covers_is_never_made_a_problem() {
        let folder = std::env::temp_dir().join(format!("kit-idempotency-{}", std::process::id()));
        let url = format!("sqlite://{}/race.db", folder.display()).parse().unwrap();
        let db = Db::open(
            &url,
            &DbSettings::default(),
            Arc::new(crate::random::SystemEntropy),
        )
        .await
        .unwrap();
        migrate(&db, &[crate::tables::MIGRATIONS], &SystemClock, "test")
            .await
            .unwrap();
        let idempotency =
            Idempotency::new(db.clone(), Arc::new(SystemClock), Arc::new(SeededEntropy::new(1)));
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static("k-1"));
        let id: contract::RequestId = "req_1".parse().unwrap();
        let context = RequestContext {
            request_id: id.clone(),
            correlation_id: id,
            traceparent: None,
            method: Method::POST,
            path: "/guests".to_owned(),
            remote: None,
        };
        let overtaken = |slot: Slot| {
            let db = db.clone();
            async move {
                let stored = db.transaction("other_replica", move |tx| {
                    let slot = slot.clone();
                    Box::pin(async move { slot.store(tx, &Answer::no_content()).await })
                });
                stored.await.unwrap();
                Err(Unseen)
            }
        };
        let key = Key::from_headers(&headers).unwrap();
        let caller = Caller {
            scope: Scope::All,
            ..Caller::unknown()
        };
        let answer = idempotency.run(&caller, &context, key, b"{}", overtaken).await;
        assert_eq!(answer.unwrap().headers()[REPLAYED], "true");
        db.close().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
