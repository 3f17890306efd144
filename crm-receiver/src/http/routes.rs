//! The table of routes.

use super::{
    Api, JobRoutes, RequeueRoutes, SourceRoutes, completeness, event_stream, events, guest_profiles, health,
    jobs, rejections, requeues, source_stats, sources, webhooks,
};
use api::{Access, Area, Endpoint, Router, delete, get, post, put};
use contract::{PropertyId, id::PROPERTY_RULE};
use kit::access::{API_KEYS, KeyTerms};

/// What API keys of this service may name: its areas, and properties.
pub const KEY_TERMS: KeyTerms = KeyTerms {
    areas: &[
        EVENTS.as_str(),
        GUEST_PROFILES.as_str(),
        SOURCES.as_str(),
        JOBS.as_str(),
        API_KEYS.as_str(),
    ],
    scope_field: "property_ids",
    is_part: |code| code.parse::<PropertyId>().is_ok(),
    part_rule: PROPERTY_RULE,
};
const EVENTS: Area = Area::new("events");
const GUEST_PROFILES: Area = Area::new("guest-profiles");
const SOURCES: Area = Area::new("sources");
const JOBS: Area = Area::new("jobs");

/// Everything that the receiver answers but the endpoints of API keys, which are kit's. Health is also found without the base path, where orchestrators look for it.
pub fn router(
    api: &Api,
    sources: &SourceRoutes,
    requeues: &RequeueRoutes,
    jobs: &JobRoutes,
    base_path: &str,
) -> Router {
    let router = Router::new()
        .mount(base_path, api_endpoints(api))
        .mount(base_path, source_endpoints(sources))
        .mount(base_path, requeue_endpoints(requeues))
        .mount(base_path, job_endpoints(jobs))
        .mount(base_path, health_endpoints(api));
    if base_path.is_empty() {
        router
    } else {
        router.mount("", health_endpoints(api))
    }
}

fn api_endpoints(api: &Api) -> Vec<Endpoint> {
    vec![
        post("/webhooks/{source}", Access::Public, api, webhooks::receive)
            .with_query()
            .with_slash()
            .with_any_host()
            .with_any_origin(),
        get("/events", EVENTS.read(), api, events::list).with_query(),
        get("/events/stream", EVENTS.read(), api, event_stream::open).with_query(),
        get("/events/{id}", EVENTS.read(), api, events::show),
        get("/rejections", EVENTS.read(), api, rejections::list).with_query(),
        get(
            "/guest-profiles",
            GUEST_PROFILES.read(),
            api,
            guest_profiles::list,
        )
        .with_query(),
        get(
            "/guest-profiles/{id}",
            GUEST_PROFILES.read(),
            api,
            guest_profiles::show,
        )
        .with_query(),
    ]
}

fn source_endpoints(state: &SourceRoutes) -> Vec<Endpoint> {
    vec![
        get("/sources", SOURCES.read(), state, sources::list).with_query(),
        post("/sources", SOURCES.write(), state, sources::create),
        get("/sources/{id}", SOURCES.read(), state, sources::show),
        put("/sources/{id}", SOURCES.write(), state, sources::change),
        delete("/sources/{id}", SOURCES.admin(), state, sources::remove),
        post(
            "/sources/{id}/rotate-secret",
            SOURCES.admin(),
            state,
            sources::rotate_secret,
        ),
        get(
            "/sources/{id}/secrets",
            SOURCES.admin(),
            state,
            sources::list_secrets,
        )
        .with_query(),
        delete(
            "/sources/{id}/secrets/{n}",
            SOURCES.admin(),
            state,
            sources::end_secret,
        ),
        get("/sources/{id}/stats", SOURCES.read(), state, source_stats::stats).with_query(),
        get(
            "/sources/{id}/completeness",
            SOURCES.read(),
            state,
            completeness::show,
        ),
    ]
}

fn requeue_endpoints(state: &RequeueRoutes) -> Vec<Endpoint> {
    vec![
        post(
            "/events/{id}/requeue",
            EVENTS.write(),
            state,
            requeues::requeue_event,
        ),
        get("/requeues", EVENTS.read(), state, requeues::list).with_query(),
        post("/requeues", EVENTS.write(), state, requeues::create),
        get("/requeues/{id}", EVENTS.read(), state, requeues::show),
        delete("/requeues/{id}", EVENTS.admin(), state, requeues::cancel),
    ]
}

fn job_endpoints(state: &JobRoutes) -> Vec<Endpoint> {
    vec![
        get("/jobs", JOBS.read(), state, jobs::list).with_query(),
        post("/jobs", JOBS.write(), state, jobs::register),
        get("/jobs/{job_id}", JOBS.read(), state, jobs::show).with_query(),
    ]
}

fn health_endpoints(api: &Api) -> Vec<Endpoint> {
    vec![
        get("/health", Access::Public, api, health::alive)
            .with_query()
            .with_any_host(),
        get("/health/ready", Access::Public, api, health::ready)
            .with_query()
            .with_any_host(),
    ]
}
