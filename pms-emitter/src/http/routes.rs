//! The route table: one line for each endpoint.

use super::{guests, health, night_audit, properties, reservations, webhook_status};
use crate::desk::Desk;
use api::{Endpoint, Router, delete, get, patch, post, put};
use kit::idempotency::Idempotency;
use std::sync::Arc;

/// What every handler is given. Clones share everything.
#[derive(Clone)]
pub struct Api {
    /// Does what the requests ask for.
    pub desk: Desk,
    /// The answers of idempotency keys.
    pub idempotency: Arc<Idempotency>,
    /// What every path begins with, as `Location` headers need it; empty for the root.
    pub base_path: Arc<str>,
}

/// Every endpoint of this service, under its base path; health also without it.
pub fn router(api: &Api) -> Router {
    let router = Router::new()
        .mount(&api.base_path, table(api))
        .mount(&api.base_path, health_table(api));
    if api.base_path.is_empty() {
        return router;
    }
    router.mount("", health_table(api))
}

/// The health checks, for the orchestrator that keeps the process running: they know no base path.
fn health_table(api: &Api) -> Vec<Endpoint> {
    vec![
        get("/health", api, health::alive).with_query().with_any_host(),
        get("/health/ready", api, health::ready)
            .with_query()
            .with_any_host(),
    ]
}

#[rustfmt::skip]
fn table(api: &Api) -> Vec<Endpoint> {
    vec![
        get("/guests", api, guests::list).with_query(),
        post("/guests", api, guests::create),
        get("/guests/{id}", api, guests::show),
        put("/guests/{id}", api, guests::merge),
        patch("/guests/{id}", api, guests::merge),
        delete("/guests/{id}", api, guests::delete),
        get("/properties", api, properties::list).with_query(),
        post("/properties", api, properties::create),
        get("/properties/{id}", api, properties::show),
        put("/properties/{id}", api, properties::merge),
        get("/guests/webhook/status", api, webhook_status::show),
        get("/reservations", api, reservations::list).with_query(),
        post("/reservations", api, reservations::create),
        get("/reservations/{id}", api, reservations::show),
        put("/reservations/{id}", api, reservations::merge),
        patch("/reservations/{id}", api, reservations::merge),
        delete("/reservations/{id}", api, reservations::delete),
        post("/reservations/{id}/{transition}", api, reservations::transition),
        post("/properties/{id}/night-audit", api, night_audit::run),
    ]
}
