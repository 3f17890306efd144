//! The sender of CONTRIBUTING.md: what stands there is compiled here, and taken in.

use super::Receiver;
use crate::case::{Case, Ctx, cases};
use contract::{
    Clock, EntityKind, EntityRef, Envelope, SecretList, UnixMillis, id::IdempotencyKey, signature::sign,
};
use http::StatusCode;
use serde_json::json;

pub fn cases() -> Vec<Case> {
    cases![the_lines_of_the_guide_are_taken_in]
}

const BEGIN: &str = "// The guide's lines:\n";
const END: &str = "// To here.\n";

async fn send(
    client: &reqwest::Client,
    url: &str,
    envelope: &Envelope,
    secrets: &SecretList,
    clock: &dyn Clock,
) -> anyhow::Result<StatusCode> {
    // The guide's lines:
    let id: IdempotencyKey = "evt_20260314_0001".parse()?;
    let body = envelope.to_bytes();
    let now = clock.now().seconds();
    let signature = sign(secrets.as_slice(), &id, now, &body);
    let request = client
        .post(url) // http://localhost:5001/api/v1/webhooks/pms
        .header("content-type", "application/json")
        .header("webhook-id", id.as_str())
        .header("webhook-timestamp", now.0)
        .header("webhook-signature", signature.as_str());
    let answer = request.body(body).send().await?;
    // 202 or 200: done. 4xx: read the reasons. Anything else: send the same bytes again.
    // To here.
    Ok(answer.status())
}

async fn the_lines_of_the_guide_are_taken_in(ctx: Ctx) {
    let guide = include_str!("../../../../../CONTRIBUTING.md");
    let (shown, compiled) = (
        between(guide, "```rust\n", "```\n"),
        between(include_str!("sender.rs"), BEGIN, END),
    );
    assert_eq!(shown, compiled);

    // Another case may have been first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let receiver = Receiver::start(&ctx).await;
    let envelope = envelope(receiver.clock.now());
    let url = format!("http://{}/api/v1/webhooks/pms", receiver.address);
    let client = reqwest::Client::new();
    for status in [StatusCode::ACCEPTED, StatusCode::OK] {
        let sent = send(
            &client,
            &url,
            &envelope,
            &receiver.secrets,
            receiver.clock.as_ref(),
        )
        .await;
        assert_eq!(sent.unwrap(), status);
    }
    receiver.stop().await;
}

fn envelope(now: UnixMillis) -> Envelope {
    let payload = json!({"last_name": "Silva"});
    Envelope {
        test: false,
        event_type: "guest.created".to_owned(),
        idempotency_key: "evt_20260314_0001".parse().unwrap(),
        timestamp: now,
        schema_version: 1,
        property_id: Some("MAIN".parse().unwrap()),
        entity: Some(EntityRef {
            kind: EntityKind::Guest,
            id: "gst_1".parse().unwrap(),
            version: 1,
        }),
        correlation_id: None,
        changed: Vec::new(),
        payload: payload.as_object().unwrap().clone(),
    }
}

/// The lines between two others, without what they are indented by.
fn between(text: &str, begin: &str, end: &str) -> Vec<String> {
    let (_, rest) = text
        .split_once(&format!("\n{begin}"))
        .or_else(|| text.split_once(&format!("    {begin}")))
        .unwrap();
    let (lines, _) = rest.split_once(end).unwrap();
    let lines = lines.lines().map(|line| line.trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}
