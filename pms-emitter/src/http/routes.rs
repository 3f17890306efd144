//! The route table: one line for each endpoint.

use super::{
    FeedWaiters, TestPlaces, deliveries, event_types, feed, guests, health, night_audit, properties,
    publications, reservations, runs, webhook_stats, webhook_status, webhooks,
};
use crate::desk::Desk;
use api::{Access, Area, Endpoint, Router, delete, get, patch, post, put};
use contract::{PropertyId, id::PROPERTY_RULE};
use kit::access::{API_KEYS, KeyTerms};
use kit::idempotency::Idempotency;
use std::sync::Arc;

/// What API keys of this service may name: its areas, and properties.
pub const KEY_TERMS: KeyTerms = KeyTerms {
    areas: &[
        EVENT_TYPES.as_str(),
        EVENTS.as_str(),
        GUESTS.as_str(),
        PROPERTIES.as_str(),
        RESERVATIONS.as_str(),
        WEBHOOKS.as_str(),
        API_KEYS.as_str(),
    ],
    scope_field: "property_ids",
    is_part: |code| code.parse::<PropertyId>().is_ok(),
    part_rule: PROPERTY_RULE,
};
const EVENT_TYPES: Area = Area::new("event-types");
const EVENTS: Area = Area::new("events");
const GUESTS: Area = Area::new("guests");
const PROPERTIES: Area = Area::new("properties");
const RESERVATIONS: Area = Area::new("reservations");
pub(super) const WEBHOOKS: Area = Area::new("webhooks");

/// What every handler is given. Clones share everything.
#[derive(Clone)]
pub struct Api {
    /// Does what the requests ask for.
    pub desk: Desk,
    /// The answers of idempotency keys.
    pub idempotency: Arc<Idempotency>,
    /// Who waits for the next events.
    pub feed: FeedWaiters,
    /// Which tests of webhooks go on.
    pub tests: TestPlaces,
    /// What every path begins with, as `Location` headers need it; empty for the root.
    pub base_path: Arc<str>,
}

/// Every endpoint of this service but those of API keys, which are kit's, under its base path; health also without it.
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
        get("/health", Access::Public, api, health::alive)
            .with_query()
            .with_any_host(),
        get("/health/ready", Access::Public, api, health::ready)
            .with_query()
            .with_any_host(),
    ]
}

#[rustfmt::skip]
fn table(api: &Api) -> Vec<Endpoint> {
    vec![
        get("/deliveries", WEBHOOKS.read(), api, deliveries::list).with_query(),
        get("/events", EVENTS.read(), api, feed::list).with_query(),
        get("/events/{id}", EVENTS.read(), api, feed::show),
        get("/event-types", EVENT_TYPES.read(), api, event_types::list).with_query(),
        post("/event-types", EVENT_TYPES.write(), api, event_types::create),
        get("/event-types/{type}", EVENT_TYPES.read(), api, event_types::show),
        put("/event-types/{type}", EVENT_TYPES.write(), api, event_types::merge),
        delete("/event-types/{type}", EVENT_TYPES.admin(), api, event_types::delete),
        post("/events", EVENTS.write(), api, publications::publish),
        post("/events/batch", EVENTS.write(), api, publications::publish_all),
        get("/guests", GUESTS.read(), api, guests::list).with_query(),
        post("/guests", GUESTS.write(), api, guests::create),
        get("/guests/{id}", GUESTS.read(), api, guests::show),
        put("/guests/{id}", GUESTS.write(), api, guests::merge),
        patch("/guests/{id}", GUESTS.write(), api, guests::merge),
        delete("/guests/{id}", GUESTS.admin(), api, guests::delete),
        get("/properties", PROPERTIES.read(), api, properties::list).with_query(),
        post("/properties", PROPERTIES.write(), api, properties::create),
        get("/properties/{id}", PROPERTIES.read(), api, properties::show),
        put("/properties/{id}", PROPERTIES.write(), api, properties::merge),
        get("/guests/webhook/status", WEBHOOKS.read(), api, webhook_status::show),
        get("/reservations", RESERVATIONS.read(), api, reservations::list).with_query(),
        post("/reservations", RESERVATIONS.write(), api, reservations::create),
        get("/reservations/{id}", RESERVATIONS.read(), api, reservations::show),
        put("/reservations/{id}", RESERVATIONS.write(), api, reservations::merge),
        patch("/reservations/{id}", RESERVATIONS.write(), api, reservations::merge),
        delete("/reservations/{id}", RESERVATIONS.admin(), api, reservations::delete),
        post("/reservations/{id}/{transition}", RESERVATIONS.write(), api, reservations::transition),
        get("/runs", WEBHOOKS.read(), api, runs::list).with_query(),
        get("/runs/{id}", WEBHOOKS.read(), api, runs::show),
        delete("/runs/{id}", WEBHOOKS.admin(), api, runs::end),
        get("/stats", WEBHOOKS.read(), api, webhook_stats::of_all).with_query(),
        get("/webhooks", WEBHOOKS.read(), api, webhooks::list).with_query(),
        post("/webhooks", WEBHOOKS.admin(), api, webhooks::create),
        get("/webhooks/{id}", WEBHOOKS.read(), api, webhooks::show),
        put("/webhooks/{id}", WEBHOOKS.admin(), api, webhooks::change),
        delete("/webhooks/{id}", WEBHOOKS.admin(), api, webhooks::remove),
        get("/webhooks/{id}/deliveries", WEBHOOKS.read(), api, deliveries::list_of_webhook).with_query(),
        get("/webhooks/{id}/deliveries/{event_id}", WEBHOOKS.read(), api, deliveries::show),
        post("/webhooks/{id}/deliveries/{event_id}/retry", WEBHOOKS.write(), api, deliveries::retry),
        post("/webhooks/{id}/recover", WEBHOOKS.write(), api, runs::recover),
        post("/webhooks/{id}/replay", WEBHOOKS.write(), api, runs::replay),
        get("/webhooks/{id}/stats", WEBHOOKS.read(), api, webhook_stats::of_webhook).with_query(),
        get("/webhooks/{id}/status", WEBHOOKS.read(), api, webhook_status::show_one),
        post("/webhooks/{id}/pause", WEBHOOKS.write(), api, webhooks::pause),
        post("/webhooks/{id}/resume", WEBHOOKS.write(), api, webhooks::resume),
        post("/webhooks/{id}/enable", WEBHOOKS.write(), api, webhooks::enable),
        post("/webhooks/{id}/test", WEBHOOKS.write(), api, webhooks::test),
        post("/webhooks/{id}/rotate-secret", WEBHOOKS.admin(), api, webhooks::rotate_secret),
        post("/webhooks/{id}/regenerate-secret", WEBHOOKS.admin(), api, webhooks::rotate_secret),
        get("/webhooks/{id}/secrets", WEBHOOKS.read(), api, webhooks::list_secrets).with_query(),
        delete("/webhooks/{id}/secrets/{n}", WEBHOOKS.admin(), api, webhooks::end_secret),
        post("/properties/{id}/night-audit", PROPERTIES.write(), api, night_audit::run),
    ]
}
