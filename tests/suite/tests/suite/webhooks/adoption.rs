//! The environment's webhook becomes one of the others, and its secrets and headers open under another master key.

use std::time::Duration;

use contract::Clock;
use harness::config::MASTER_KEY;
use harness::receiver_double::{Answer, Gate};
use kit::config::MasterKeyArgs;
use pms_emitter::Runtime;
use pms_emitter::app::{adopt_env, rewrap};
use pms_emitter::config::{Config, EndpointConfig};
use serde_json::{Value, json};

use super::{double, guest, is_signed_with, names, subscribe, until_count};
use crate::case::{Case, Ctx, cases};
use crate::pms::{BEGIN, Pms};

const SECRETS: &str = "the-new-secret-of-it the-old-secret-of-it";
/// The key after [`MASTER_KEY`].
const NEXT_KEY: &str = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=";

pub fn cases() -> Vec<Case> {
    cases![
        the_environments_webhook_is_adopted_with_its_queue_and_secrets,
        the_probe_of_an_adopted_one_has_the_time_that_was_chosen_for_it,
        secrets_and_headers_are_encrypted_again_while_it_serves,
    ]
}

async fn the_environments_webhook_is_adopted_with_its_queue_and_secrets(ctx: Ctx) {
    let double = double().await;
    let endpoint = EndpointConfig {
        url: double.url().parse().unwrap(),
        secrets: SECRETS.parse().unwrap(),
    };
    let pms = Pms::start_with(&ctx, BEGIN, Some(endpoint.clone())).await;
    pms.post("/webhooks/env/pause", &json!({})).await.expect(200);
    guest(&pms, "Waits").await;
    pms.stop().await;

    let config = Config {
        endpoint: Some(endpoint.clone()),
        ..harness::config::emitter(ctx.url(), None)
    };
    assert!(adopt_env(&config, &Runtime::system()).await.unwrap());
    assert!(!adopt_env(&config, &Runtime::system()).await.unwrap(), "once");
    let nothing = harness::config::emitter(ctx.url(), None);
    assert!(
        adopt_env(&nothing, &Runtime::system()).await.is_err(),
        "there is no URL"
    );

    // The variables are still set, and count no more.
    let elsewhere = EndpointConfig {
        url: "http://127.0.0.1:9/elsewhere".parse().unwrap(),
        ..endpoint
    };
    let pms = Pms::start_with(&ctx, BEGIN, Some(elsewhere)).await;
    let shown = pms.get("/webhooks/env").await.expect(200).body;
    for (name, value) in [
        ("managed_by", json!("api")),
        ("url", json!(double.url())),
        ("state", json!("paused")),
        ("active", json!(false)),
        ("timeout_seconds", json!(15)),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    assert_eq!(double.received().len(), 0);
    pms.put("/webhooks/env", &json!({"active": true, "name": "CRM"}))
        .await
        .expect(200);
    let received = double.wait_for(1).await.remove(0);
    assert_eq!(names(std::slice::from_ref(&received)), ["Waits"]);
    for secret in SECRETS.split(' ') {
        assert!(is_signed_with(&received, secret, BEGIN.seconds()), "both sign");
    }
    let secrets = pms.get("/webhooks/env/secrets").await.expect(200).body;
    let numbers: Vec<&Value> = secrets["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["n"])
        .collect();
    assert_eq!(numbers, [&json!(2), &json!(1)]);
    pms.delete("/webhooks/env").await.expect(204);
    pms.stop().await;
}

async fn the_probe_of_an_adopted_one_has_the_time_that_was_chosen_for_it(ctx: Ctx) {
    const FAILURES: usize = 5;
    let double = double().await;
    let endpoint = EndpointConfig {
        url: double.url().parse().unwrap(),
        secrets: SECRETS.parse().unwrap(),
    };
    let set = |config: &mut Config| {
        config.endpoint = Some(endpoint.clone());
        config.delivery.breaker_failures = u32::try_from(FAILURES).unwrap();
    };
    Pms::start_set(&ctx, set).await.stop().await;
    let mut config = harness::config::emitter(ctx.url(), None);
    set(&mut config);
    assert!(adopt_env(&config, &Runtime::system()).await.unwrap());
    let pms = Pms::start_set(&ctx, set).await;
    // The variables say 15 seconds.
    let chosen = json!({"timeout_seconds": 30, "retry_schedule": vec![0; 10]});
    pms.put("/webhooks/env", &chosen).await.expect(200);
    let gate = Gate::closed();
    double.then(vec![Answer::status(500); FAILURES]);
    double.otherwise(Answer::status(200).behind(&gate));
    guest(&pms, "Doe").await;
    let opened = "SELECT COUNT(*) AS n FROM endpoints p JOIN deliveries d ON d.endpoint_id = p.id
         WHERE p.breaker_state = 'open' AND d.status = 'pending' AND d.owner IS NULL";
    until_count(&pms, "it is open, and nothing is claimed", opened, 1).await;
    pms.clock.advance(Duration::from_secs(61));
    double.wait_for_held(1).await;
    let claimed_until = pms.clock.now().plus_millis(45_000).0;
    assert_eq!(
        pms.count("SELECT breaker_until AS n FROM endpoints WHERE breaker_state = 'half_open'")
            .await,
        claimed_until
    );
    assert_eq!(
        pms.count("SELECT lease_until AS n FROM deliveries").await,
        claimed_until
    );
    gate.open(1);
    double.wait_for(FAILURES + 1).await;
    pms.stop().await;
}

async fn secrets_and_headers_are_encrypted_again_while_it_serves(ctx: Ctx) {
    let key = |text: &str| MasterKeyArgs {
        master_key: Some(text.parse().unwrap()),
    };
    let both = format!("{NEXT_KEY} {MASTER_KEY}");
    let double = double().await;
    let pms = Pms::start(&ctx).await;
    let made = subscribe(&pms, &double, json!({"headers": {"x-tenant": "lis"}})).await;
    pms.stop().await;
    let pms = Pms::start_set(&ctx, |config| config.master_key = key(&both)).await;
    let config = Config {
        master_key: key(&both),
        ..harness::config::emitter(ctx.url(), None)
    };
    let done = rewrap(&config, &Runtime::system()).await.unwrap();
    // The secret, the headers and the check value.
    assert_eq!((done.sealed, done.unopened), (3, 0));
    guest(&pms, "Doe").await;
    double.wait_for(1).await;
    pms.stop().await;
    let pms = Pms::start_set(&ctx, |config| config.master_key = key(NEXT_KEY)).await;
    guest(&pms, "Roe").await;
    let received = double.wait_for(2).await;
    assert_eq!(received[1].header("x-tenant"), "lis");
    let secret = made.body["secret"].as_str().unwrap();
    assert!(is_signed_with(&received[1], secret, BEGIN.seconds()));
    pms.stop().await;
}
