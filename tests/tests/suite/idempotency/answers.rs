//! One request after another: what is replayed, refused, forgotten.

use std::time::Duration;

use contract::{Problem, ProblemCode};
use kit::db::DbError;
use kit::idempotency::{Answer, Slot};

use super::{BODY, Replica, Seen};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        a_retry_gets_the_first_answer_and_makes_no_second_effect,
        another_body_is_refused_and_the_first_stands,
        a_key_belongs_to_its_caller_method_and_path,
        a_failure_leaves_the_key_free,
        a_change_that_is_rolled_back_takes_its_answer_with_it,
        a_key_expires_after_a_day_and_is_purged,
    ]
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
