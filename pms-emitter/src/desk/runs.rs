//! Runs that a person begins and ends: what is dead is delivered after all, or what was delivered is delivered once more.

use super::{Desk, DeskError, webhooks};
use crate::domain::{
    audit_action::AuditAction, delivery_run::RunKind, filter::Filter, origin::Origin, refusal::Refusal,
};
use crate::store::{DeliveryRun, RUNNING_MAX, RUNNING_OF_ENDPOINT_MAX, RunCount, RunCreation};
use contract::{
    FieldError, Scope, UnixMillis,
    id::{EndpointId, RunId},
};
use kit::audit::AuditEntry;
use kit::shape;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// What a run to recover is asked for.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RecoverBody {
    since: UnixMillis,
    #[serde(default)]
    until: Option<UnixMillis>,
    #[serde(default)]
    dry_run: bool,
}

/// What a run to replay is asked for.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    from: UnixMillis,
    #[serde(default)]
    to: Option<UnixMillis>,
    #[serde(default)]
    filter: Option<Value>,
    #[serde(default)]
    dry_run: bool,
}

/// What either is asked for.
struct Asked {
    /// Where it begins and ends.
    span: (UnixMillis, UnixMillis),
    filter: Option<Filter>,
    dry_run: bool,
}

/// What became of a run that was asked for.
#[derive(Debug)]
pub enum RunAsked {
    /// It is begun.
    Begun(Box<DeliveryRun>),
    /// It is what one would find.
    Counted(RunCount),
}

impl Desk {
    /// Begins a run over the deliveries of an endpoint, or counts what one would find.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `TooManyRuns`; those of the database.
    pub async fn begin_run(
        &self,
        origin: &Origin,
        endpoint: &EndpointId,
        kind: RunKind,
        body: Map<String, Value>,
    ) -> Result<RunAsked, DeskError> {
        // One that was deleted is sent nothing again.
        self.endpoint(&origin.scope, endpoint).await?;
        let now = self.clock.now();
        let Asked {
            span,
            filter,
            dry_run,
        } = read(kind, body, now)?;
        let id: RunId = self.new_id();
        let run = DeliveryRun::new(
            id,
            endpoint.clone(),
            kind,
            span,
            filter,
            origin.actor.clone(),
            now,
        );
        if dry_run {
            return Ok(RunAsked::Counted(self.store.count_for_run(&run).await?));
        }
        let entry = entry(origin, AuditAction::RunStarted, &run, now);
        let detail = match self.store.create_run(&run, entry).await? {
            RunCreation::Begun => {
                self.wakeups.runs.notify_one();
                return Ok(RunAsked::Begun(Box::new(run)));
            }
            RunCreation::TooMany => format!("{RUNNING_MAX} runs"),
            RunCreation::TooManyOfEndpoint => format!("{RUNNING_OF_ENDPOINT_MAX} runs of this webhook"),
        };
        Err(Refusal::TooManyRuns(format!("{detail} are not at their end: wait for one, or end one")).into())
    }

    /// A run.
    ///
    /// # Errors
    /// `NotFound`, also for one of an endpoint that is beyond the scope; those of the database.
    pub async fn run(&self, scope: &Scope, id: &RunId) -> Result<DeliveryRun, DeskError> {
        let found = self.store.run(id).await?.ok_or(Refusal::NotFound)?;
        self.check_sees(scope, &found.endpoint).await?;
        Ok(found)
    }

    /// The runs of the endpoints that a scope sees.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn runs(&self, scope: &Scope) -> Result<Vec<DeliveryRun>, DeskError> {
        let mut seen = HashMap::new();
        let mut runs = self.store.runs().await?;
        if *scope != Scope::All {
            for run in &runs {
                if !seen.contains_key(&run.endpoint) {
                    let of_endpoint = self.store.scope_of_endpoint(&run.endpoint).await?;
                    let is_seen = of_endpoint.is_some_and(|of_endpoint| scope.covers(&of_endpoint));
                    seen.insert(run.endpoint.clone(), is_seen);
                }
            }
            runs.retain(|run| seen.get(&run.endpoint) == Some(&true));
        }
        Ok(runs)
    }

    /// Ends a run before its end. One that has ended stays as it ended.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn end_run(&self, origin: &Origin, id: &RunId) -> Result<(), DeskError> {
        let run = self.run(&origin.scope, id).await?;
        let entry = entry(origin, AuditAction::RunCancelled, &run, self.clock.now());
        self.store.cancel_run(id, entry).await?;
        Ok(())
    }
}

/// What a body asks for.
fn read(kind: RunKind, body: Map<String, Value>, now: UnixMillis) -> Result<Asked, Refusal> {
    let misshapen = |error: FieldError| Refusal::Invalid(vec![error]);
    let body = Value::Object(body);
    let (begins_at, ends_at, filter, dry_run, end) = match kind {
        RunKind::Recover => {
            let body: RecoverBody = shape::fit(&body).map_err(misshapen)?;
            (body.since, body.until, None, body.dry_run, "/until")
        }
        RunKind::Replay => {
            let body: ReplayBody = shape::fit(&body).map_err(misshapen)?;
            (body.from, body.to, body.filter, body.dry_run, "/to")
        }
    };
    let filter = filter.filter(|json| !json.is_null());
    let filter = filter.map(|json| {
        Filter::parse(&json).map_err(|mut errors| {
            for error in &mut errors {
                error.pointer.insert_str(0, "/filter");
            }
            Refusal::Invalid(errors)
        })
    });
    // What was committed at this very instant is before the end too.
    let ends_at = ends_at.unwrap_or_else(|| now.plus_millis(1));
    if ends_at < begins_at {
        return Err(Refusal::field(
            end,
            "before_beginning",
            "it is before the beginning",
        ));
    }
    Ok(Asked {
        span: (begins_at, ends_at),
        filter: filter.transpose()?,
        dry_run,
    })
}

/// What the audit log says of a run.
fn entry(origin: &Origin, action: AuditAction, run: &DeliveryRun, at: UnixMillis) -> AuditEntry {
    AuditEntry {
        entity_kind: Some("run".to_owned()),
        entity_id: Some(run.id.to_string()),
        outcome: Some(run.kind.as_str().into()),
        ..webhooks::entry(origin, action, &run.endpoint, at)
    }
}
