//! Who may call, over real HTTP: every line of both route tables with every kind of key, and what keys see and make.

mod changes;
mod keys;
mod limits;
mod lines;
mod pages;
mod scopes;
mod slow_body;

use crate::case::Case;
use crate::pms::{Pms, Reply};
use http::Method;
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    let modules = [
        lines::cases(),
        scopes::cases(),
        keys::cases(),
        changes::cases(),
        limits::cases(),
        pages::cases(),
    ];
    modules.into_iter().flatten().collect()
}

/// ADMIN_API_KEY of these cases.
pub(crate) const ADMIN: &str = "an-admin-key-of-the-suite-that-is-long";

/// Sends a request with a key.
pub(crate) async fn with_key(
    pms: &Pms,
    key: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Reply {
    pms.send(method, path, &[("x-api-key", key)], body).await
}

/// Makes a key with the admin key, and returns its answer.
async fn make(pms: &Pms, body: Value) -> Reply {
    with_key(pms, ADMIN, Method::POST, "/api-keys", Some(&body)).await
}

/// The text of a new key with these permissions and this scope.
pub(crate) async fn key(pms: &Pms, permissions: &[&str], scope: Value) -> String {
    let body =
        json!({"name": "a key", "permissions": permissions, "property_ids": scope, "rate_limit": 1_000_000});
    let made = make(pms, body).await.expect(201);
    made.body["key"].as_str().unwrap().to_owned()
}

/// An emitter with an admin key.
pub(crate) async fn guarded(ctx: &crate::case::Ctx) -> Pms {
    Pms::start_set(ctx, |config| {
        config.access.admin_api_key = Some(ADMIN.parse().unwrap());
    })
    .await
}
