//! The receiver's endpoints, one file for each resource; `routes` is the table of them all.
//!
//! A handler reads its request, asks `ingest` or the store, and shows the answer. Errors become problems in `problem`.

mod completeness;
mod event_stream;
mod events;
mod guest_profiles;
mod health;
mod jobs;
mod problem;
mod rejections;
mod requeues;
mod routes;
mod source_stats;
mod sources;
mod webhooks;

pub use jobs::JobRoutes;
pub use requeues::{RequeueRoutes, latest_due};
pub use routes::{KEY_TERMS, router};
pub use sources::SourceRoutes;
pub use webhooks::HELD_BACK_MAX;

use crate::{
    ingest::{Batcher, IngestMeters, JobUpdates, Sources, counts::Counts, rejections::Rejections},
    store::Store,
    stream::Feed,
};
use api::ListQuery;
use contract::{Clock, Problem, ProblemCode};
use kit::access::{FailedAttempts, Networks};
use std::{str::FromStr, sync::Arc};
use tokio::sync::Semaphore;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    /// The tables.
    pub store: Store,
    /// Commits arrivals.
    pub batcher: Batcher,
    /// Commits updates of jobs.
    pub job_updates: JobUpdates,
    /// Who may send.
    pub sources: Sources,
    /// Proxies that say who a sender is.
    pub trusted_proxies: Arc<Networks>,
    /// Who has failed too often to prove who he is.
    pub failed: Arc<FailedAttempts>,
    /// Counts what was not kept, for the audit log.
    pub counts: Arc<Counts>,
    /// Keeps a sample of what was refused.
    pub rejections: Arc<Rejections>,
    /// Counts answers, for metrics.
    pub meters: IngestMeters,
    /// What clients of the live stream follow.
    pub feed: Feed,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Has a 429 of a webhook be kept, as many at a time as there are permits.
    pub held_back: Arc<Semaphore>,
    /// Lets one large profile be read at a time.
    pub large_profiles: Arc<Semaphore>,
}

/// A filter as the type that it has, if it is given.
fn typed<T: FromStr>(query: &ListQuery, name: &str) -> Result<Option<T>, Problem> {
    query
        .filter(name)
        .map(|text| text.parse().map_err(|_| malformed(name)))
        .transpose()
}

fn malformed(name: &str) -> Problem {
    Problem::new(ProblemCode::InvalidQuery).with_detail(format!("the parameter {name} is malformed"))
}
