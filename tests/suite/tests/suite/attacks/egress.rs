//! Rows E: what somebody tries who can choose where deliveries go. Most of them are tested beside the client of HTTP
//! (`shared/kit/src/egress/`), where names and addresses are scripted.

use crate::case::{Case, Ctx, cases};
use crate::programs;
use harness::client::Client;
use harness::config::{BASE_PATH, MASTER_KEY, fresh_secret};
use harness::process::Process;
use harness::receiver_double::ReceiverDouble;
use serde_json::json;

pub fn cases() -> Vec<Case> {
    cases![e7_a_proxy_of_the_environment_is_not_asked]
}

async fn e7_a_proxy_of_the_environment_is_not_asked(ctx: Ctx) {
    let (receiver, proxy) = (
        ReceiverDouble::start().await.unwrap(),
        ReceiverDouble::start().await.unwrap(),
    );
    let folder = tempfile::tempdir().unwrap();
    let mut variables = vec![
        ("DATABASE_URL", ctx.database.url().to_owned()),
        ("CRM_WEBHOOK_URL", receiver.url()),
        ("CRM_WEBHOOK_SECRET", fresh_secret()),
        ("MASTER_KEY", MASTER_KEY.to_owned()),
        ("APP_PORT", "0".to_owned()),
        ("LOG_LEVEL", "off".to_owned()),
    ];
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        variables.push((name, proxy.url()));
    }
    let emitter = Process::start(&programs::emitter(), folder.path(), &variables)
        .await
        .unwrap();
    let client = Client::new(format!("http://{}{BASE_PATH}", emitter.address()));
    let guest = json!({"last_name": "Silva"});
    client.post("/guests", &guest, "e7").await.unwrap();
    receiver.wait_for(1).await;
    assert!(proxy.received().is_empty());
    emitter.kill().await.unwrap();
}
