//! `/jobs`: what services report of their jobs, and who asked for these.
//!
//! A job belongs to the property that it is registered for, else to the only one of its source; one without a property is seen
//! with a scope of all. Its updates come as webhooks of a source of the scheme `job-status`.

use super::{malformed, sources::covers, typed, webhooks::replayed};
use crate::{
    event::AuditAction,
    job::{JOB_KIND, Registration, Standing},
    store::{Job, JobFilter, JobFound, JobRegistered, JobRow, JobTaken, Source, Store},
};
use api::{
    Caller, Request, Response,
    list::{ListSpec, SortField, parse_parameters},
    reply,
};
use contract::{
    Clock, FieldError, JobId, Problem, ProblemCode, PropertyId, Scope, SourceId,
    scheme::{Choice, Preset},
};
use kit::{
    change::{ChangedBy, read_object},
    database_problem, listing, shape,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use validator::Validate;

const JOBS: ListSpec = ListSpec {
    name: "jobs",
    filters: &["source", "status", "user_id", "property_id"],
    sorts: &[SortField::int("created_at"), SortField::int("updated_at")],
    descending_by_default: true,
    updated_since: true,
};

/// How many times its text's length a job's result takes in memory while it is shown: as text, as a tree, as an answer.
const RESULT_COST: usize = 8;
/// What an update of the history takes at most without its error, in bytes: as a row and as an answer.
const HISTORY_ENTRY_COST: usize = 512;

/// What the routes need.
#[derive(Clone)]
pub struct JobRoutes {
    /// The tables.
    pub store: Store,
    /// The present time.
    pub clock: Arc<dyn Clock>,
    /// What every path begins with.
    pub base_path: Arc<str>,
}

/// The answer to an update that is committed.
#[derive(Serialize)]
pub(super) struct JobReceipt {
    /// `stale`: the job has ended by another update, which stands for ever.
    pub status: &'static str,
    pub job_id: JobId,
    job_status: &'static str,
    pub duplicate: bool,
}

impl JobReceipt {
    /// # Errors
    /// 400 when the job has as many updates as are kept.
    pub fn of(job_id: JobId, update: &Standing, taken: JobTaken) -> Result<Self, Problem> {
        let (standing, duplicate) = match taken {
            JobTaken::Kept(standing) => (standing, false),
            JobTaken::Duplicate(standing) => (standing, true),
            JobTaken::TooMany => return Err(Problem::new(ProblemCode::TooManyUpdates)),
        };
        Ok(Self {
            status: if standing.has_ended_without(update) {
                "stale"
            } else {
                "accepted"
            },
            job_id,
            job_status: standing.status.into_str(),
            duplicate,
        })
    }
}

/// `POST /jobs`: sent again, it is answered with the job as it is by then.
pub async fn register(api: JobRoutes, mut request: Request) -> Result<Response, Problem> {
    let by = ChangedBy::of(&request);
    let body = Value::Object(read_object(&mut request).await?);
    let registration: Registration = shape::fit(&body).map_err(|error| Problem::validation(vec![error]))?;
    registration
        .validate()
        .map_err(|errors| Problem::validation(shape::field_errors(&errors)))?;
    let source = source_of(&api, &by.caller, &registration.source).await?;
    let property = property_of(&registration, &source, &by.caller.scope)?;
    let (source, job) = (&registration.source, &registration.job_id);
    let action = AuditAction::JobRegistered.into_str();
    let entry = by.entry(action, JOB_KIND, job.as_str(), api.clock.now());
    let registered = api.store.register_job(&registration, property, entry).await;
    let registered = registered.map_err(database_problem)?;
    if registered == JobRegistered::Otherwise {
        let detail = "this job of this source is registered already, for something else";
        return Err(Problem::new(ProblemCode::NotUnique).with_detail(detail));
    }
    let location = format!("{}/jobs/{job}?source={source}", api.base_path);
    // As it was written: who registers it sees it.
    match found(&api, job, Some(source), &Scope::All).await? {
        JobFound::One(job) if registered == JobRegistered::Before => {
            Ok(replayed(answered(&request, &job, reply::ok)?))
        }
        JobFound::One(job) => answered(&request, &job, |view| reply::created(&location, view)),
        JobFound::None | JobFound::Several => Err(Problem::new(ProblemCode::Internal)),
    }
}

/// `GET /jobs`
pub async fn list(api: JobRoutes, request: Request) -> Result<Response, Problem> {
    let query = request.list(&JOBS)?;
    let filter = JobFilter {
        source: typed(&query, "source")?,
        status: typed(&query, "status")?,
        user_id: query.filter("user_id").map(str::to_owned),
        property_id: typed(&query, "property_id")?,
        scope: request.caller.scope.clone(),
    };
    let rows = api.store.jobs(&filter, &query).await.map_err(database_problem)?;
    listing::answer(&request.answers, &query, rows, |row| row).await
}

/// `GET /jobs/{job_id}`, with `source` where several have a job of that name.
pub async fn show(api: JobRoutes, request: Request) -> Result<Response, Problem> {
    let job: JobId = request.id("job_id")?;
    let given = parse_parameters(&["source"], request.query())?;
    let source = given
        .first()
        .map(|(name, text)| text.parse::<SourceId>().map_err(|_| malformed(name)));
    let source = source.transpose()?;
    match found(&api, &job, source.as_ref(), &request.caller.scope).await? {
        JobFound::None => Err(Problem::new(ProblemCode::NotFound)),
        JobFound::Several => {
            let detail = "several sources have a job of this name: say which, as ?source=";
            Err(Problem::new(ProblemCode::InvalidQuery).with_detail(detail))
        }
        JobFound::One(job) => answered(&request, &job, reply::ok),
    }
}

async fn found(
    api: &JobRoutes,
    job: &JobId,
    source: Option<&SourceId>,
    scope: &Scope,
) -> Result<JobFound, Problem> {
    api.store.job(job, source, scope).await.map_err(database_problem)
}

/// A job as an answer, for which memory is reserved first.
fn answered(
    request: &Request,
    job: &Job,
    reply: impl FnOnce(&Value) -> Response,
) -> Result<Response, Problem> {
    let place = request.answers.reserve();
    place.grow(cost(job))?;
    Ok(place.with(reply(&view(job)?)))
}

/// What a job takes in memory while it is shown, in bytes at most.
fn cost(job: &Job) -> usize {
    let texts = [&job.result, &job.details].into_iter().flatten().map(Vec::len);
    let errors = job
        .history
        .iter()
        .filter_map(|entry| entry.error.as_ref())
        .map(String::len);
    RESULT_COST * texts.sum::<usize>() + HISTORY_ENTRY_COST * job.history.len() + 2 * errors.sum::<usize>()
}

/// The source that a job is registered for. One that the caller does not see is as good as none.
async fn source_of(api: &JobRoutes, caller: &Caller, id: &SourceId) -> Result<Source, Problem> {
    let found = api.store.source(id).await.map_err(database_problem)?;
    let reports_jobs = |source: &Source| source.settings.scheme == Choice::Preset(Preset::JobStatus);
    found
        .filter(|source| covers(caller, &source.settings) && reports_jobs(source))
        .ok_or_else(|| {
            let message = "it is no source of the scheme job-status that this key sees";
            refused("source", "invalid", message)
        })
}

/// The property of a job: the one that is named, else the only one of its source.
fn property_of(
    registration: &Registration,
    source: &Source,
    scope: &Scope,
) -> Result<Option<PropertyId>, Problem> {
    let of_source = &source.settings.property_ids;
    let only = || of_source.only().and_then(|code| code.parse().ok());
    let property: Option<PropertyId> = registration.property_id.clone().or_else(only);
    match &property {
        Some(id) if !of_source.has(id.as_str()) => {
            let message = "it is none of the properties of this source";
            Err(refused("property_id", "not_of_this_source", message))
        }
        None if !scope.has_optional(None) => {
            let message = "this key sees only jobs of its properties: name one";
            Err(refused("property_id", "required", message))
        }
        _ => Ok(property),
    }
}

fn refused(name: &str, code: &str, message: &str) -> Problem {
    Problem::validation(vec![FieldError::new(format!("/{name}"), code, message)])
}

/// A job with everything: what lists show, then what only one has.
fn view(job: &Job) -> Result<Value, Problem> {
    #[derive(Serialize)]
    struct Shown<'j> {
        #[serde(flatten)]
        row: &'j JobRow,
        images: Option<Value>,
        metadata: Option<Value>,
        data: Value,
        registration: Value,
        history: Value,
    }
    let mut result = job.result().map_err(database_problem)?;
    let mut member = |name: &str| result.as_mut().and_then(|result| result.shift_remove(name));
    let shown = Shown {
        row: &job.row,
        images: member("images"),
        metadata: member("metadata"),
        data: json!(result),
        registration: json!(job.details().map_err(database_problem)?),
        history: json!(job.history),
    };
    Ok(json!(shown))
}
