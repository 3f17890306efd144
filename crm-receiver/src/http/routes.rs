//! The table of routes.

use super::{Api, events, guest_profiles, health, webhooks};
use api::{Endpoint, Router, get, post};

/// Everything that the receiver answers. Health is also found without the base path, where orchestrators look for it.
pub fn router(api: &Api, base_path: &str) -> Router {
    let router = Router::new()
        .mount(base_path, api_endpoints(api))
        .mount(base_path, health_endpoints(api));
    if base_path.is_empty() {
        router
    } else {
        router.mount("", health_endpoints(api))
    }
}

fn api_endpoints(api: &Api) -> Vec<Endpoint> {
    vec![
        post("/webhooks/{source}", api, webhooks::receive)
            .with_query()
            .with_slash()
            .with_any_host()
            .with_any_origin(),
        get("/events", api, events::list).with_query(),
        get("/events/{id}", api, events::show),
        get("/guest-profiles", api, guest_profiles::list).with_query(),
        get("/guest-profiles/{id}", api, guest_profiles::show).with_query(),
    ]
}

fn health_endpoints(api: &Api) -> Vec<Endpoint> {
    vec![
        get("/health", api, health::alive).with_query().with_any_host(),
        get("/health/ready", api, health::ready)
            .with_query()
            .with_any_host(),
    ]
}
