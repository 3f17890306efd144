//! Rows R16 and R17, and those parts of R15 that need no windows: who holds a key, and what those are answered who do not.

use super::{all_refused_alike, genuine};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, SECRET, config, execute, guest_event, number};
use crate::programs;
use contract::UnixSeconds;
use crm_receiver::config::Config;
use db::params;
use harness::signer::Delivery;
use tokio::process::Command;

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        r15_any_secret_of_the_list_may_have_signed,
        r17_an_unknown_source_differs_from_a_wrong_signature_in_nothing,
        r17_a_disabled_source_is_as_good_as_unknown,
    ];
    all.extend(cases![free; r16_a_weak_secret_keeps_both_services_from_starting]);
    all
}

async fn r15_any_secret_of_the_list_may_have_signed(ctx: Ctx) {
    let (old, new) = (SECRET, "the-secret-after-the-rotation");
    let rotating = Config {
        secrets: Some(format!("{new} {old}").parse().unwrap()),
        ..config(ctx.url())
    };
    let receiver = Receiver::start_with(rotating).await;
    let deliver = |key: &str, secret: &str, at: UnixSeconds| {
        Delivery::signed("pms", key, &guest_event(key), &secret.parse().unwrap(), at)
    };
    let at = receiver.seconds();
    for (key, secret, status) in [
        ("evt_1", old, 202),
        ("evt_2", new, 202),
        ("evt_3", "neither-of-the-two-secrets", 401),
    ] {
        assert_eq!(receiver.send(&deliver(key, secret, at)).await.status, status);
    }
    receiver.stop().await;
    let rotated = Receiver::start_with(Config {
        secrets: Some(new.parse().unwrap()),
        ..config(ctx.url())
    })
    .await;
    assert_eq!(rotated.send(&deliver("evt_4", old, at)).await.status, 401);
    assert_eq!(rotated.send(&deliver("evt_4", new, at)).await.status, 202);
    rotated.stop().await;
}

async fn r16_a_weak_secret_keeps_both_services_from_starting(_: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let url = ("CRM_WEBHOOK_URL", "http://127.0.0.1:1/api/v1/webhooks/pms");
    let services = [
        (programs::receiver(), "WEBHOOK_SHARED_SECRET", None),
        (programs::emitter(), "CRM_WEBHOOK_SECRET", Some(url)),
    ];
    for (program, variable, beside) in services {
        // Nothing is no weak secret: the receiver serves its other sources without one.
        let nothing = ["", " "];
        let nothing = nothing.into_iter().filter(|_| beside.is_some());
        for weak in nothing.chain([
            "canary",
            "fifteen-bytes--",
            "whsec_",
            "whsec_canary",
            "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5h",
            "a-secret-that-is-long-enough canary",
        ]) {
            let ended = Command::from(program.command())
                .env_clear()
                .env(variable, weak)
                .envs(beside)
                .current_dir(folder.path())
                .output()
                .await
                .unwrap();
            let said = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(2), "{variable}={weak:?}: {said}");
            assert!(said.starts_with(&format!("error: {variable}: ")), "{said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }
}

/// That the same work is done for both is counted: one HMAC for each key beside `contract::signature`, and as many keys
/// beside `crm-receiver`'s sources. The time of an answer is not measured: on a busy machine it says nothing.
async fn r17_an_unknown_source_differs_from_a_wrong_signature_in_nothing(ctx: Ctx) {
    let elsewhere = |path: &str| Delivery {
        path: path.to_owned(),
        ..genuine()
    };
    let paths = [
        "pmsx",
        "PMS",
        "a.b",
        "p%6ds%20",
        "p%00ms",
        "pms%2F",
        "%E2%80%8Bpms",
        "..",
        &"x".repeat(300),
    ];
    let mut forged: Vec<_> = paths
        .iter()
        .map(|source| ("unknown_source", elsewhere(&format!("/api/v1/webhooks/{source}"))))
        .collect();
    // A prefix of the tag that is right gets nobody further.
    let whole = genuine().header("webhook-signature");
    for right in [1, 20, 39] {
        let near = format!("v1,{}{}=", &whole[3..3 + right], "A".repeat(43 - right));
        forged.push(("signature_mismatch", genuine().with("webhook-signature", near)));
    }
    all_refused_alike(&ctx, forged).await;
}

async fn r17_a_disabled_source_is_as_good_as_unknown(ctx: Ctx) {
    Receiver::start(&ctx).await.stop().await;
    let db = ctx.open().await;
    execute(&db, "UPDATE sources SET enabled = 0 WHERE id = 'pms'", params![]).await;
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 401);
    receiver.stop().await;
    let sql = "SELECT SUM(n) AS n FROM audit_counts WHERE cause = 'unknown_source'";
    assert_eq!(number(&db, sql, params![]).await, 1);
}
