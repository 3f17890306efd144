//! What the routes that change an operator's settings share: the body as an object, a patch of what is there, and who
//! changes it.

use crate::{audit::AuditEntry, shape::pointer_to};
use api::{
    Caller, Request, RequestContext,
    body::BODY_LEN_MAX,
    json_body::{self, VALUES_MAX},
    media_type::require_json,
};
use contract::{FieldError, Problem, UnixMillis};
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Trees of one body at once: as it came, merged with the settings, and as settings.
const TREES: usize = 3;

/// Reads the JSON object that a request's body is.
///
/// # Errors
/// 415 when it is no JSON, 422 when it is no object, and those of reading a body.
pub fn read_object(request: &mut Request) -> BoxFuture<'_, Result<Map<String, Value>, Problem>> {
    Box::pin(async move {
        require_json(&request.context.method, &request.headers)?;
        let mut raw = request.read_body(BODY_LEN_MAX).await?;
        match json_body::parse(&mut raw, VALUES_MAX, TREES)? {
            Value::Object(object) => Ok(object),
            _ => {
                let error = FieldError::new("", "wrong_type", "the body is not an object");
                Err(Problem::validation(vec![error]))
            }
        }
    })
}

/// An object with a patch merged into it, one level deep (RFC 7396): null takes a member away.
///
/// # Errors
/// 422 for a member that the object does not have, whatever its value: a name of the client's own gets no further.
pub fn merged(
    before: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, Problem> {
    let mut merged = before.clone();
    for (name, value) in patch {
        if !before.contains_key(name) {
            let error = FieldError::new(pointer_to("", name), "unknown_field", "there is no such field");
            return Err(Problem::validation(vec![error]));
        }
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    Ok(merged)
}

/// The names of the members that differ, for the audit log.
pub fn differing(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let differing = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(*value));
    differing.map(|(name, _)| name.clone()).collect()
}

/// Who changes something, and by which request.
pub struct ChangedBy {
    /// Who.
    pub caller: Arc<Caller>,
    context: Arc<RequestContext>,
}

impl ChangedBy {
    /// The caller of a request.
    pub fn of(request: &Request) -> Self {
        Self {
            caller: Arc::clone(&request.caller),
            context: Arc::clone(&request.context),
        }
    }

    /// What the audit log says of the change of one thing, by its kind and id.
    pub fn entry(&self, action: &'static str, kind: &str, id: &str, at: UnixMillis) -> AuditEntry {
        AuditEntry {
            actor: Some(self.caller.actor()),
            entity_kind: Some(kind.to_owned()),
            entity_id: Some(id.to_owned()),
            correlation_id: Some(self.context.correlation_id.to_string()),
            request_id: Some(self.context.request_id.to_string()),
            ..AuditEntry::new(action, at)
        }
    }
}
