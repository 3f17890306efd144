//! One request after another: what is replayed, refused, forgotten.

use std::time::Duration;

use api::Caller;
use contract::{Problem, ProblemCode, Scope};
use db::DbError;
use kit::database_problem;
use kit::idempotency::{Answer, Slot};

use super::{BODY, Replica, Seen, named_caller};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        a_retry_gets_the_first_answer_and_makes_no_second_effect,
        another_body_is_refused_and_the_first_stands,
        a_key_belongs_to_its_caller_method_and_path,
        a9_an_answer_is_replayed_to_a_caller_who_sees_its_part_alone,
        a_failure_leaves_the_key_free,
        a_change_that_is_rolled_back_takes_its_answer_with_it,
        a_key_expires_after_a_day_and_is_purged,
        a16_keys_share_an_answer_until_the_last_of_them_has_expired,
        a16_the_purge_never_takes_an_answer_that_a_new_key_names,
        a16_answers_of_the_version_before_are_still_replayed,
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

async fn a9_an_answer_is_replayed_to_a_caller_who_sees_its_part_alone(ctx: Ctx) {
    let replica = Replica::on(&ctx).await;
    let caller = |scope: Scope| Caller {
        scope,
        ..named_caller("reception")
    };
    let parts = |parts: &[&str]| Scope::of(parts.iter().copied()).unwrap();
    // Work that does not ask for a scope: the key itself holds it back, even then.
    let post = async |key: &str, part: Option<&'static str>, scope: Scope, body: &[u8]| {
        let work = |replica: Replica, slot: Slot| async move {
            let answer = Answer::ok(1, "a view");
            let answer = match part {
                Some(part) => answer.in_part(part),
                None => answer,
            };
            let stored = answer.clone();
            let kept = replica.db.transaction("keep", move |tx| {
                let (slot, stored) = (slot.clone(), stored.clone());
                Box::pin(async move { slot.store(tx, &stored).await })
            });
            kept.await.map_err(database_problem)?;
            Ok(answer)
        };
        replica.run(&caller(scope), "/", key, body, work).await
    };
    let outcome =
        |answer: Result<Seen, Problem>| answer.map(|seen| seen.replayed).map_err(|problem| problem.code);
    for (key, part, seen_with, hidden_from) in [
        (
            "one",
            Some("A"),
            vec![parts(&["A"]), parts(&["A", "B"]), Scope::All],
            vec![parts(&["B"])],
        ),
        ("none", None, vec![Scope::All], vec![parts(&["A"])]),
    ] {
        assert!(!post(key, part, Scope::All, BODY).await.unwrap().replayed);
        for scope in seen_with {
            assert_eq!(outcome(post(key, part, scope, BODY).await), Ok(true), "{key}");
        }
        for scope in hidden_from {
            let answer = post(key, part, scope.clone(), BODY).await;
            assert_eq!(outcome(answer), Err(ProblemCode::NotFound), "{key}");
            let other = post(key, part, scope, b"{}").await;
            assert_eq!(outcome(other), Err(ProblemCode::IdempotencyKeyReused), "{key}");
        }
    }
}

async fn a_failure_leaves_the_key_free(ctx: Ctx) {
    let replica = Replica::on(&ctx).await;
    let refused = |_, _| async { Err(Problem::new(ProblemCode::InvalidTransition)) };
    for _ in 0..2 {
        let problem = replica
            .run(&named_caller("reception"), "/api/v1/guests", "k-1", BODY, refused)
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
        run.await.map_err(database_problem)?;
        Ok(Answer::no_content())
    };
    let problem = replica
        .run(&named_caller("reception"), "/api/v1/guests", "k-1", BODY, fails)
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

/// The answer of `view`, to a request that changed nothing.
async fn unchanged(replica: &Replica, key: &str, view: &'static str) -> Seen {
    let work = |replica: Replica, slot: Slot| async move {
        let answer = Answer::ok(1, view).about("guest", "gst_1");
        let stored = answer.clone();
        let kept = replica.db.transaction("share", move |tx| {
            let (slot, stored) = (slot.clone(), stored.clone());
            Box::pin(async move { slot.share(tx, &stored).await })
        });
        kept.await.map_err(database_problem)?;
        Ok(answer)
    };
    let seen = replica
        .run(&named_caller("reception"), "/api/v1/guests", key, BODY, work)
        .await;
    seen.unwrap()
}

async fn a16_keys_share_an_answer_until_the_last_of_them_has_expired(ctx: Ctx) {
    const HOUR: Duration = Duration::from_secs(3600);
    let replica = Replica::on(&ctx).await;
    for nth in 0..3 {
        assert!(!unchanged(&replica, &format!("k-{nth}"), "one").await.replayed);
    }
    unchanged(&replica, "other", "two").await;
    assert_eq!(replica.count("idempotency_answers").await, 2);
    replica.clock.advance(23 * HOUR);
    // One more, when the others have an hour left: it keeps the answer for its own day.
    unchanged(&replica, "late", "one").await;
    replica.clock.advance(HOUR);
    while replica.idempotency.purge(2).await.unwrap() > 0 {}
    let rows = [
        replica.count("idempotency").await,
        replica.count("idempotency_answers").await,
    ];
    assert_eq!(rows[0], 1, "the late key alone");
    assert!(rows[1] <= 2, "{rows:?}");
    let late = unchanged(&replica, "late", "one").await;
    assert_eq!((late.replayed, late.body.as_str()), (true, "\"one\""));
    replica.clock.advance(HOUR);
    while replica.idempotency.purge(2).await.unwrap() > 0 {}
    assert_eq!(
        replica.count("idempotency_answers").await,
        1,
        "of `two` none is left"
    );
    assert!(unchanged(&replica, "late", "one").await.replayed);
    replica.clock.advance(24 * HOUR);
    while replica.idempotency.purge(2).await.unwrap() > 0 {}
    let rows = [
        replica.count("idempotency").await,
        replica.count("idempotency_answers").await,
    ];
    assert_eq!(rows, [0, 0]);
}

async fn a16_the_purge_never_takes_an_answer_that_a_new_key_names(ctx: Ctx) {
    const ROUNDS: usize = 40;
    let replicas = [Replica::on(&ctx).await, Replica::on(&ctx).await];
    for round in 0..ROUNDS {
        // The answer of the round before has just expired.
        for replica in &replicas {
            replica.clock.advance(Duration::from_secs(26 * 3600));
        }
        let keys = [format!("{round}-a"), format!("{round}-b")];
        let purge = async { while replicas[1].idempotency.purge(1).await.unwrap() > 0 {} };
        tokio::join!(
            unchanged(&replicas[0], &keys[0], "one"),
            purge,
            unchanged(&replicas[1], &keys[1], "one"),
        );
        for key in &keys {
            let seen = unchanged(&replicas[0], key, "one").await;
            assert_eq!((seen.replayed, seen.body.as_str()), (true, "\"one\""), "{key}");
        }
    }
}

async fn a16_answers_of_the_version_before_are_still_replayed(ctx: Ctx) {
    let replica = Replica::on(&ctx).await;
    let first = replica.post("k-1", BODY).await.unwrap();
    // The schema as it was: kit's second migration undone, and its eighth.
    for sql in [
        "DROP TABLE idempotency_answers",
        "ALTER TABLE idempotency DROP COLUMN answer_digest",
        "ALTER TABLE idempotency DROP COLUMN scope_part",
        "DELETE FROM schema_migrations WHERE scope = 'kit' AND number IN (2, 8)",
    ] {
        let undo = replica.db.transaction("undo", move |tx| {
            Box::pin(async move { tx.execute(sql, db::params![]).await.map(drop) })
        });
        undo.await.unwrap();
    }
    let after = Replica::on(&ctx).await;
    let again = after.post("k-1", BODY).await.unwrap();
    assert_eq!(
        (again.replayed, &again.body, &again.etag),
        (true, &first.body, &first.etag)
    );
    assert!(!unchanged(&after, "k-2", "one").await.replayed);
    assert!(unchanged(&after, "k-2", "one").await.replayed);
}
