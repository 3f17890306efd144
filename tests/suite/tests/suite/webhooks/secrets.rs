//! The secrets of an endpoint: in the overlap both sign, after it the new one alone.

use std::time::Duration;

use contract::{Clock, secret::SECRETS_MAX};
use http::Method;
use serde_json::{Value, json};

use super::{double, guest, is_signed_with, subscribe};
use crate::case::{Case, Ctx, cases};
use crate::pms::Pms;

const OLD: &str = "the-old-secret-of-these-cases";
const NEW: &str = "the-new-secret-of-these-cases";

pub fn cases() -> Vec<Case> {
    cases![
        f42_in_the_overlap_both_sign_and_after_it_the_new_one_alone,
        a_secret_is_ended_unless_it_is_the_last,
        there_are_four_valid_secrets_at_most,
    ]
}

async fn f42_in_the_overlap_both_sign_and_after_it_the_new_one_alone(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let made = subscribe(&pms, &double, json!({"secret": OLD})).await;
    let path = format!("/webhooks/{}", made.id());
    let signed = async |number: usize| {
        guest(&pms, "Doe").await;
        let received = double.wait_for(number).await.remove(number - 1);
        let at = pms.clock.now().seconds();
        (
            is_signed_with(&received, OLD, at),
            is_signed_with(&received, NEW, at),
        )
    };
    assert_eq!(signed(1).await, (true, false));
    let body = json!({"secret": NEW, "overlap_seconds": 60});
    let rotated = pms
        .post(&format!("{path}/rotate-secret"), &body)
        .await
        .expect(201);
    assert_eq!(
        (&rotated.body["n"], &rotated.body["secret"]),
        (&json!(2), &Value::Null)
    );
    assert_eq!(signed(2).await, (true, true));
    pms.clock.advance(Duration::from_secs(59));
    assert_eq!(signed(3).await, (true, true));
    pms.clock.advance(Duration::from_secs(1));
    assert_eq!(signed(4).await, (false, true));
    pms.stop().await;
}

async fn a_secret_is_ended_unless_it_is_the_last(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let made = subscribe(&pms, &double, json!({"secret": OLD})).await;
    let path = format!("/webhooks/{}", made.id());
    let end = async |n: u32| {
        pms.send(Method::DELETE, &format!("{path}/secrets/{n}"), &[], None)
            .await
    };
    assert_eq!(end(1).await.expect(409).body["code"], "last_secret");
    end(2).await.expect(404);
    let rotated = pms
        .post(&format!("{path}/regenerate-secret"), &json!({}))
        .await
        .expect(201);
    let new = rotated.body["secret"].as_str().unwrap().to_owned();
    assert!(new.starts_with("whsec_"), "{new}");
    end(1).await.expect(204);
    end(1).await.expect(404);
    let listed = pms.get(&format!("{path}/secrets")).await.expect(200);
    let listed = listed.body["data"].as_array().unwrap().clone();
    let ends: Vec<_> = listed
        .iter()
        .map(|one| (&one["n"], one["until"].is_null()))
        .collect();
    assert_eq!(ends, [(&json!(2), true), (&json!(1), false)]);
    guest(&pms, "Doe").await;
    let received = double.wait_for(1).await.remove(0);
    let at = pms.clock.now().seconds();
    assert_eq!(
        (
            is_signed_with(&received, OLD, at),
            is_signed_with(&received, &new, at)
        ),
        (false, true)
    );
    pms.stop().await;
}

async fn there_are_four_valid_secrets_at_most(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let path = format!(
        "/webhooks/{}/rotate-secret",
        subscribe(&pms, &double, json!({})).await.id()
    );
    for _ in 1..SECRETS_MAX {
        pms.post(&path, &json!({})).await.expect(201);
    }
    let refused = pms.post(&path, &json!({})).await.expect(409);
    assert_eq!(refused.body["code"], "too_many_secrets");
    pms.post(&path, &json!({"overlap_seconds": 604_801}))
        .await
        .expect(422);
    // Without an overlap the others end at once, so there is room.
    pms.post(&path, &json!({"overlap_seconds": 0})).await.expect(201);
    pms.stop().await;
}
