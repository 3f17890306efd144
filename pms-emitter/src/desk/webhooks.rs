//! Endpoints as a person sees and changes them: the API calls them webhooks. The environment's is seen, paused and enabled;
//! what it is, the environment decides.

use super::{
    Desk, DeskError, ExpectedVersion,
    decide_again::{Decision, decide_again},
};
use crate::domain::{
    audit_action::AuditAction,
    endpoint::EndpointSettings,
    endpoint_headers::{self, EndpointHeaders},
    origin::Origin,
    refusal::Refusal,
};
use crate::store::{
    ENDPOINTS_MAX, ENDPOINTS_OF_PROPERTY_MAX, Endpoint, EndpointChange, EndpointChanged, EndpointMade,
    HeaderChange, NewEndpoint, Start, WhatChanges,
};
use contract::{FieldError, Scope, UnixMillis, id::EndpointId, scheme::Outgoing};
use kit::audit::AuditEntry;
use kit::change::{differing, merged};
use kit::egress::custom_header;
use serde_json::{Map, Value, json};

/// Members of a body that are no settings.
const HEADERS: &str = "headers";
const SECRET: &str = "secret";
const URL: &str = "url";
const START: &str = "start";
const PROPERTY_IDS: &str = "property_ids";

/// An endpoint that was made, with the secret that is shown this once, if it was made here.
#[derive(Debug)]
pub struct MadeEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The secret, unless the client gave it.
    pub secret: Option<String>,
}

impl Desk {
    /// The endpoints that a caller with this scope sees.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn endpoints(&self, scope: &Scope) -> Result<Vec<Endpoint>, DeskError> {
        let mut endpoints = self.store.endpoints().await?;
        endpoints.retain(|endpoint| scope.covers(scope_of(endpoint)));
        Ok(endpoints)
    }

    /// An endpoint.
    ///
    /// # Errors
    /// `NotFound`, also for one that gets events of properties beyond the scope; those of the database.
    pub async fn endpoint(&self, scope: &Scope, id: &EndpointId) -> Result<Endpoint, DeskError> {
        let found = self.store.endpoint(id).await?;
        let seen = found.filter(|endpoint| scope.covers(scope_of(endpoint)));
        Ok(seen.ok_or(Refusal::NotFound)?)
    }

    /// Makes an endpoint. Without `property_ids` it gets what its maker sees.
    ///
    /// # Errors
    /// What the rules refuse; those of the database.
    pub async fn make_endpoint(
        &self,
        origin: &Origin,
        mut body: Map<String, Value>,
    ) -> Result<MadeEndpoint, DeskError> {
        let headers = read_headers(&body.remove(HEADERS).unwrap_or_default())?;
        let secret = body.remove(SECRET);
        let start = read_start(body.remove(START))?;
        body.entry(PROPERTY_IDS).or_insert_with(|| json!(origin.scope));
        let target = self.target(body.get(URL)).await;
        let settings = EndpointSettings::read(body, |_| target.clone())?;
        check_reach(origin, &settings)?;
        self.check_types(&settings, None).await?;
        let scheme = settings.outgoing();
        let given = read_secret(secret, &scheme)?;
        let (id, now): (EndpointId, _) = (self.new_id(), self.clock.now());
        let text = given.clone().unwrap_or_else(|| self.vault.make_secret(&scheme));
        let new = NewEndpoint {
            settings,
            start,
            headers: self.vault.seal_headers(&id, &headers),
            secret: self.vault.seal_secret(&id, self.new_id(), &text, now),
            created_by: origin.actor.clone(),
            at: now,
            entry: entry(origin, AuditAction::EndpointCreated, &id, now),
            id: id.clone(),
        };
        // Not read again: were that to fail, nobody would ever see the secret.
        let endpoint = new.as_made();
        match self.store.make_endpoint(new).await? {
            EndpointMade::Made => Ok(MadeEndpoint {
                endpoint,
                secret: given.is_none().then_some(text),
            }),
            EndpointMade::TooManyOfProperty(property) => Err(too_many_of(&property)),
            EndpointMade::TooMany => {
                Err(Refusal::TooManyEndpoints(format!("there are {ENDPOINTS_MAX} webhooks")).into())
            }
        }
    }

    /// Merges a patch into an endpoint's settings (RFC 7396, one level deep); headers are replaced as a whole.
    ///
    /// # Errors
    /// What the rules refuse; `UnexpectedVersion`; `Overtaken`; those of the database.
    pub async fn change_endpoint(
        &self,
        origin: &Origin,
        id: &EndpointId,
        mut patch: Map<String, Value>,
        expected: &ExpectedVersion,
    ) -> Result<Endpoint, DeskError> {
        let headers = patch.remove(HEADERS);
        let headers = headers.as_ref().map(read_headers).transpose()?;
        decide_again(|| async {
            let before = self.endpoint(&origin.scope, id).await?;
            let settings_before = chosen(&before)?;
            expected.check(before.version)?;
            let view = settings_before.to_object();
            let patched = merged(&view, &patch).map_err(|problem| Refusal::Invalid(problem.errors))?;
            // An address that is not changed was checked, and is checked again whenever it is dialled.
            let target = match patch.get(URL) {
                Some(url) => self.target(Some(url)).await,
                None => Ok(settings_before.url.clone()),
            };
            let settings = EndpointSettings::read(patched, |_| target.clone())?;
            check_reach(origin, &settings)?;
            self.check_types(&settings, Some(settings_before)).await?;
            if !settings.property_ids.covers(&settings_before.property_ids) {
                let message = "what it got of the others would be shown to keys that do not see them: make another webhook";
                return Err(Refusal::field("/property_ids", "narrowed", message).into());
            }
            if settings.scheme != settings_before.scheme {
                let message = "its secrets would mean other keys: make another webhook";
                return Err(Refusal::field("/scheme", "immutable", message).into());
            }
            let mut changed = differing(&view, &settings.to_object());
            let what = match &headers {
                Some(headers) => {
                    changed.push(HEADERS.to_owned());
                    HeaderChange::Replace(self.vault.seal_headers(id, headers))
                }
                None => HeaderChange::Keep,
            };
            if changed.is_empty() {
                return Ok(Decision::Stands(before));
            }
            let what = WhatChanges::Settings(Box::new(settings), what);
            self.write(origin, before, what, AuditAction::EndpointChanged, changed)
                .await
        })
        .await
    }

    /// Pauses an endpoint, or lets it go on. Its events are queued all the while.
    ///
    /// # Errors
    /// `NotFound`, `Overtaken`; those of the database.
    pub async fn pause_endpoint(
        &self,
        origin: &Origin,
        id: &EndpointId,
        paused: bool,
    ) -> Result<Endpoint, DeskError> {
        decide_again(|| async {
            let before = self.endpoint(&origin.scope, id).await?;
            if before.is_paused == paused {
                return Ok(Decision::Stands(before));
            }
            let what = match &before.settings {
                Some(settings) => {
                    let settings = EndpointSettings {
                        active: !paused,
                        ..settings.clone()
                    };
                    WhatChanges::Settings(Box::new(settings), HeaderChange::Keep)
                }
                None => WhatChanges::Paused(paused),
            };
            let action = if paused {
                AuditAction::EndpointPaused
            } else {
                AuditAction::EndpointResumed
            };
            self.write(origin, before, what, action, Vec::new()).await
        })
        .await
    }

    /// Lets an endpoint go on that we stopped, or that asked for a pause.
    ///
    /// # Errors
    /// `NotFound`, `Overtaken`; those of the database.
    pub async fn enable_endpoint(&self, origin: &Origin, id: &EndpointId) -> Result<Endpoint, DeskError> {
        decide_again(|| async {
            let before = self.endpoint(&origin.scope, id).await?;
            self.write(
                origin,
                before,
                WhatChanges::Enabled,
                AuditAction::EndpointEnabled,
                Vec::new(),
            )
            .await
        })
        .await
    }

    /// Ends an endpoint; what waits for it is cancelled.
    ///
    /// # Errors
    /// `ManagedByEnvironment`, `NotFound`, `UnexpectedVersion`, `Overtaken`; those of the database.
    pub async fn delete_endpoint(
        &self,
        origin: &Origin,
        id: &EndpointId,
        expected: &ExpectedVersion,
    ) -> Result<(), DeskError> {
        decide_again(|| async {
            let seen = self.endpoint(&origin.scope, id).await?;
            chosen(&seen)?;
            expected.check(seen.version)?;
            let now = self.clock.now();
            let change = EndpointChange {
                entry: entry(origin, AuditAction::EndpointDeleted, id, now),
                seen,
                what: WhatChanges::Deleted,
                at: now,
            };
            Ok(match self.store.change_endpoint(change).await? {
                EndpointChanged::Changed => Decision::Stands(()),
                EndpointChanged::Overtaken
                | EndpointChanged::TooManyOfProperty(_)
                | EndpointChanged::Waiting => Decision::Overtaken,
            })
        })
        .await
    }

    /// The normal form of an address, or why nothing is sent there.
    async fn target(&self, url: Option<&Value>) -> Result<String, FieldError> {
        let text = url.and_then(Value::as_str).unwrap_or_default();
        let target = self.egress.check(text).await;
        target
            .map(|target| target.as_str().to_owned())
            .map_err(|why| FieldError::new("/url", why.code(), why.to_string()))
    }

    async fn write(
        &self,
        origin: &Origin,
        seen: Endpoint,
        what: WhatChanges,
        action: AuditAction,
        changed: Vec<String>,
    ) -> Result<Decision<Endpoint>, DeskError> {
        let (id, now) = (seen.id.clone(), self.clock.now());
        let change = EndpointChange {
            entry: AuditEntry {
                changed,
                ..entry(origin, action, &id, now)
            },
            seen,
            what,
            at: now,
        };
        match self.store.change_endpoint(change).await? {
            EndpointChanged::Changed => Ok(Decision::Stands(self.endpoint(&origin.scope, &id).await?)),
            EndpointChanged::Overtaken => Ok(Decision::Overtaken),
            EndpointChanged::TooManyOfProperty(property) => Err(too_many_of(&property)),
            EndpointChanged::Waiting => Err(Refusal::DeliveriesWaiting.into()),
        }
    }
}

/// Nobody subscribes to what they may not see.
fn check_reach(origin: &Origin, settings: &EndpointSettings) -> Result<(), Refusal> {
    if origin.scope.covers(&settings.property_ids) {
        return Ok(());
    }
    let message = "a webhook gets events of properties that its maker's key sees, and no others";
    Err(Refusal::field("/property_ids", "beyond_scope", message))
}

/// Headers that a client adds, each one that may be.
fn read_headers(value: &Value) -> Result<EndpointHeaders, Refusal> {
    endpoint_headers::read(value, |name, value| {
        let header = custom_header(name, value);
        header.map(drop).map_err(|why| (why.code(), why.to_string()))
    })
}

/// What an endpoint gets events of.
fn scope_of(endpoint: &Endpoint) -> &Scope {
    endpoint
        .settings
        .as_ref()
        .map_or(&Scope::All, |settings| &settings.property_ids)
}

/// What a person chose for it.
///
/// # Errors
/// `ManagedByEnvironment` for the one of which nobody did.
pub(super) fn chosen(endpoint: &Endpoint) -> Result<&EndpointSettings, Refusal> {
    endpoint.settings.as_ref().ok_or(Refusal::ManagedByEnvironment)
}

/// What the audit log says of a change of an endpoint.
pub(super) fn entry(origin: &Origin, action: AuditAction, id: &EndpointId, at: UnixMillis) -> AuditEntry {
    AuditEntry {
        actor: Some(origin.actor.clone()),
        source: Some(id.to_string()),
        entity_kind: Some("webhook".to_owned()),
        entity_id: Some(id.to_string()),
        correlation_id: Some(origin.correlation_id.to_string()),
        request_id: Some(origin.request_id.to_string()),
        ..AuditEntry::new(action, at)
    }
}

fn too_many_of(property: &str) -> DeskError {
    let detail = format!("there are {ENDPOINTS_OF_PROPERTY_MAX} webhooks for {property}");
    Refusal::TooManyEndpoints(detail).into()
}

/// A secret that a client gives.
pub(super) fn read_secret(value: Option<Value>, scheme: &Outgoing) -> Result<Option<String>, Refusal> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(Refusal::field("/secret", "wrong_type", "it must be a text")),
    };
    match scheme.secret(&text) {
        Ok(_) => Ok(Some(text)),
        Err(why) => Err(Refusal::field("/secret", "invalid", &why.to_string())),
    }
}

fn read_start(value: Option<Value>) -> Result<Start, Refusal> {
    let text = match value {
        None | Some(Value::Null) => return Ok(Start::Now),
        Some(Value::String(text)) => text,
        Some(_) => String::new(),
    };
    match text.as_str() {
        "now" => Ok(Start::Now),
        "beginning" => Ok(Start::Beginning),
        instant => UnixMillis::parse_rfc3339(instant).map(Start::At).ok_or_else(|| {
            let message = "it must be now, beginning, or an RFC 3339 time, such as 2026-03-14T09:26:53Z";
            Refusal::field("/start", "invalid", message)
        }),
    }
}
