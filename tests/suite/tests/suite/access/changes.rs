//! Changes of keys: what a caller may change, what counts as a change, and who may have changed meanwhile.

use super::slow_body::SlowBody;

use crate::case::{Case, Ctx, cases};
use crate::pms::Pms;
use serde_json::json;

pub fn cases() -> Vec<Case> {
    cases![a6_anyone_makes_the_first_key_alone,]
}

async fn a6_anyone_makes_the_first_key_alone(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let body = json!({"name": "first", "permissions": ["admin"], "property_ids": "*"});
    let late = SlowBody::begin(pms.address(), ("POST", "/api-keys"), None, &body).await;
    let first = pms.post("/api-keys", &body).await.expect(201);
    assert_eq!(late.finish().await, 401);
    // Not even where the first one was deleted meanwhile.
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM api_keys").await, 1);
    assert_eq!(first.body["created_by"], "anyone (anyone)");
    pms.stop().await;
}
