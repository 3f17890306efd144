//! `POST /properties/{id}/night-audit`: the property's day ends. It takes no fields and is never refused.

use super::{
    Api, ApiError,
    write::{CALLER, read_optional_object},
};
use crate::{
    domain::refusal::Refusal,
    store::{NightAudit, NightAuditRequest},
};
use api::{Request, Response};
use kit::{
    idempotency::{Answer, Key},
    shape::pointer_to,
};
use std::sync::Arc;

/// Moves the business date on by one day, and answers what is overdue.
pub async fn run(api: Api, mut request: Request) -> Result<Response, ApiError> {
    let property_id = request.id("id")?;
    let key = Key::of(&request)?;
    let (raw, body) = read_optional_object(&mut request).await?;
    if let Some(name) = body.keys().next() {
        return Err(Refusal::field(
            pointer_to("", name),
            "unknown_field",
            "a night audit takes no fields",
        )
        .into());
    }
    let context = Arc::clone(&request.context);
    let (worker, now, held) = (api.clone(), api.clock.now(), Arc::clone(&raw));
    let (request_id, correlation_id) = (context.request_id.to_string(), context.correlation_id.to_string());
    let work = |slot| async move {
        let _held = held;
        let asked = NightAuditRequest {
            property_id,
            now,
            request_id,
            correlation_id,
            slot,
            answer: answer_of,
        };
        let audited = worker.store.night_audit(asked).await?;
        let (_, answer) = audited.ok_or(Refusal::NotFound)?;
        Ok::<_, ApiError>(answer)
    };
    Ok(api.idempotency.run(CALLER, &context, key, &raw, work).await?)
}

fn answer_of(audit: &NightAudit) -> Answer {
    Answer::ok(audit.version, audit)
}
