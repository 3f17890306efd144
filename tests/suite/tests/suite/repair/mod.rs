//! What an operator sees and repairs at the receiver: who was refused, dead letters given back to the projector. And what is
//! deleted once it is old enough.

mod purges;
mod rejections;
mod requeue_routes;
mod requeue_runs;

use crate::case::Case;
use crate::ingest::Receiver;
use db::{Db, DbError, params};
use harness::signer::Answer;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::Notify;

pub fn cases() -> Vec<Case> {
    let modules = [
        purges::cases(),
        rejections::cases(),
        requeue_routes::cases(),
        requeue_runs::cases(),
    ];
    modules.into_iter().flatten().collect()
}

/// ADMIN_API_KEY of these cases.
const ADMIN: &str = "an-admin-key-of-the-suite-that-is-long";

/// Sends a request of the API, with a key or, from this machine and while there is none, without.
async fn ask(
    receiver: &Receiver,
    key: Option<&str>,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Answer {
    receiver.ask(key, method, path, body.as_ref()).await
}

/// Another replica's requeue of the first event: written, and committed only when it may go on.
async fn requeue_elsewhere(db: &Db, written: &Arc<Notify>, go_on: &Arc<Notify>) -> Result<(), DbError> {
    let (written, go_on) = (Arc::clone(written), Arc::clone(go_on));
    db.transaction("requeue", move |tx| {
        let (written, go_on) = (Arc::clone(&written), Arc::clone(&go_on));
        Box::pin(async move {
            let sql = "UPDATE inbox SET status = 'accepted' WHERE event_id = 'evt_000000'";
            tx.execute(sql, params![]).await?;
            written.notify_one();
            go_on.notified().await;
            Ok(())
        })
    })
    .await
}

/// The answer, which must have this status.
async fn asked(receiver: &Receiver, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
    let answer = ask(receiver, None, method, path, body.clone()).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, status, "{method} {path} {body:?}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}
