//! `POST /properties/{id}/night-audit`: the property's day ends. It takes no fields and is never refused.

use super::{
    Api,
    write::{once, origin, read_optional_object},
};
use crate::{desk::AnswerToKeep, domain::refusal::Refusal, store::NightAudit};
use api::{Request, Response};
use contract::Problem;
use kit::{
    idempotency::{Answer, Key},
    shape::pointer_to,
};

/// Moves the business date on by one day, and answers what is overdue.
pub async fn run(api: Api, mut request: Request) -> Result<Response, Problem> {
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
    let (desk, origin) = (api.desk.clone(), origin(&request));
    let work = |slot| async move {
        let answer = AnswerToKeep::new(slot, |audit: &NightAudit| {
            Answer::ok(audit.version, audit).in_part(audit.property_id.as_str())
        });
        desk.audit_night(origin, property_id, answer).await
    };
    once(&api, &request.caller, &request.context, key, raw, work).await
}
