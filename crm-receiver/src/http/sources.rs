//! `/sources`: who may send, and the secrets that senders sign with.
//!
//! A caller sees and makes only sources whose properties its own key sees. Where the environment gives the secrets of `pms`, it
//! alone decides what `pms` is. A change holds here at once, and on every other replica within two seconds.

use crate::{
    ingest::{Sources, rejections::UNKNOWN},
    store::{Change, Creation, End, Rotation, SOURCES_MAX, Source, SourceSecret, SourceSettings, Store},
};
use api::{
    Caller, ListSpec, Preconditions, Request, Response, SortField, etag,
    list::{PAGE, PAGE_SIZE, short_list},
    reply,
};
use contract::{
    Clock, Entropy, FieldError, Ids, Problem, ProblemCode, PropertyId, Scope, SecretId, SourceId, TypedId,
    UnixMillis,
    id::PROPERTY_RULE,
    scheme::{Custom, Preset, Scheme},
    secret::SECRETS_MAX,
};
use kit::{
    audit::AuditEntry,
    change::{ChangedBy, differing, merged, read_object},
    database_problem, shape,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use validator::Validate;

/// How often a change is decided on fresh settings, when others change the same source.
const DECISIONS_MAX: usize = 5;
/// How long the secrets before a new one stay valid when nothing is said, and at most, in seconds.
const OVERLAP_DEFAULT: u32 = 24 * 3600;
const OVERLAP_MAX: u32 = 7 * 24 * 3600;
/// An old secret is safe to retire when a newer one is in use, and the old one was not used for so long.
const UNUSED_MILLIS: i64 = 3600 * 1000;
/// The name of the id in a body.
const ID: &str = "id";

const LIST: ListSpec = ListSpec {
    name: "sources",
    filters: &[PAGE, PAGE_SIZE],
    sorts: &[SortField::int("created_at")],
    descending_by_default: false,
    updated_since: false,
};
const SECRETS: ListSpec = ListSpec {
    name: "source-secrets",
    filters: &[PAGE, PAGE_SIZE],
    sorts: &[SortField::int("n")],
    descending_by_default: true,
    updated_since: false,
};

/// What the routes need.
#[derive(Clone)]
pub struct SourceRoutes {
    /// The tables.
    pub store: Store,
    /// Who may send.
    pub sources: Sources,
    /// The present time.
    pub clock: Arc<dyn Clock>,
    /// Makes the ids of secrets.
    pub ids: Ids,
    /// Makes secrets.
    pub entropy: Arc<dyn Entropy>,
    /// What every path begins with.
    pub base_path: Arc<str>,
    /// Whether this process compares the feed of `pms` with what is here.
    pub has_feed: bool,
}

/// What a rotation asks for.
#[derive(Deserialize, Serialize, Validate)]
#[serde(deny_unknown_fields)]
struct RotationBody {
    /// The sender's own; one is made when it is absent.
    #[serde(default)]
    secret: Option<String>,
    #[serde(default = "overlap_default")]
    #[validate(range(max = "OVERLAP_MAX", message = "it must be 0 to 604800 seconds, 7 days"))]
    overlap_seconds: u32,
}

fn overlap_default() -> u32 {
    OVERLAP_DEFAULT
}

/// `GET /sources`
pub async fn list(api: SourceRoutes, request: Request) -> Result<Response, Problem> {
    let query = request.list(&LIST)?;
    let mut sources = api.store.sources().await.map_err(database_problem)?;
    sources.retain(|source| covers(&request.caller, &source.settings));
    let position = |source: &Source| (source.created_at.0, source.id.to_string());
    short_list(&query, sources, position, view)
}

/// `POST /sources`
pub async fn create(api: SourceRoutes, mut request: Request) -> Result<Response, Problem> {
    let mut body = read_object(&mut request).await?;
    let id = body
        .remove(ID)
        .ok_or_else(|| field(ID, "required", "it is required"))?;
    let id: SourceId = serde_json::from_value(id)
        .map_err(|_| field(ID, "invalid", "it must be 1 to 64 letters, digits, - and _"))?;
    if id.as_str() == UNKNOWN {
        return Err(field(
            ID,
            "reserved",
            "lists of what was refused name no source by it",
        ));
    }
    let settings = settings(body)?;
    if !covers(&request.caller, &settings) {
        return Err(beyond_the_caller());
    }
    decided_here(&api, &id)?;
    let now = api.clock.now();
    let source = Source {
        id,
        settings,
        created_at: now,
        updated_at: now,
    };
    let entry = entry(&ChangedBy::of(&request), "source_created", &source.id, now);
    let digest_key = api.sources.digest_key(&source.id);
    let made = api.store.create_source(&source, digest_key, entry).await;
    match made.map_err(database_problem)? {
        Creation::Done => {}
        Creation::Taken => {
            let detail = "a source has, or had, this id";
            return Err(Problem::new(ProblemCode::NotUnique).with_detail(detail));
        }
        Creation::TooMany => {
            let detail = format!("there are {SOURCES_MAX} sources");
            return Err(Problem::new(ProblemCode::TooManySources).with_detail(detail));
        }
    }
    api.sources.changed().await;
    let location = format!("{}/sources/{}", api.base_path, source.id);
    let made = reply::created(&location, &view(&source));
    Ok(etag::with_etag(made, version(&source)))
}

/// `GET /sources/{id}`
pub async fn show(api: SourceRoutes, request: Request) -> Result<Response, Problem> {
    let source = find(&api, &request.caller, &request.id("id")?).await?;
    Ok(shown(&source))
}

/// `PUT /sources/{id}`: what the body names is merged into the settings (RFC 7396).
pub async fn change(api: SourceRoutes, mut request: Request) -> Result<Response, Problem> {
    let (by, id) = (ChangedBy::of(&request), request.id("id")?);
    let expected = Preconditions::from_headers(&request.headers)?;
    let mut patch = read_object(&mut request).await?;
    if patch.remove(ID).is_some_and(|named| named != json!(id)) {
        return Err(field(ID, "immutable", "a source keeps its id"));
    }
    for _ in 0..DECISIONS_MAX {
        let source = find(&api, &by.caller, &id).await?;
        decided_here(&api, &id)?;
        expected.check(version(&source))?;
        let before = settings_view(&source.settings);
        let settings = settings(merged(&before, &patch)?)?;
        if !covers(&by.caller, &settings) {
            return Err(beyond_the_caller());
        }
        let mut entry = entry(&by, "source_changed", &id, api.clock.now());
        entry.changed = differing(&before, &settings_view(&settings));
        if entry.changed.is_empty() {
            return Ok(shown(&source));
        }
        let changed = api.store.change_source(&source, settings, entry).await;
        match changed.map_err(database_problem)? {
            Change::Done(changed) => {
                api.sources.changed().await;
                return Ok(shown(&changed));
            }
            Change::HasSecrets => {
                let message = "its secrets would mean other keys: end them first";
                return Err(field(SCHEME, "has_secrets", message));
            }
            Change::Overtaken => {}
        }
    }
    Err(overtaken())
}

/// The caller may try again.
fn overtaken() -> Problem {
    Problem::new(ProblemCode::Unavailable).with_detail("others keep changing the same source")
}

/// `DELETE /sources/{id}`
pub async fn remove(api: SourceRoutes, request: Request) -> Result<Response, Problem> {
    let source = find(&api, &request.caller, &request.id("id")?).await?;
    decided_here(&api, &source.id)?;
    Preconditions::from_headers(&request.headers)?.check(version(&source))?;
    let entry = entry(
        &ChangedBy::of(&request),
        "source_deleted",
        &source.id,
        api.clock.now(),
    );
    let deleted = api.store.delete_source(&source, entry).await;
    if !deleted.map_err(database_problem)? {
        return Err(overtaken());
    }
    api.sources.changed().await;
    Ok(reply::no_content())
}

/// `POST /sources/{id}/rotate-secret`
pub async fn rotate_secret(api: SourceRoutes, mut request: Request) -> Result<Response, Problem> {
    let (by, id) = (ChangedBy::of(&request), request.id("id")?);
    let source = find(&api, &by.caller, &id).await?;
    let body = Value::Object(read_object(&mut request).await?);
    let body: RotationBody = shape::fit(&body).map_err(|error| Problem::validation(vec![error]))?;
    body.validate()
        .map_err(|errors| Problem::validation(shape::field_errors(&errors)))?;
    decided_here(&api, &source.id)?;
    let scheme = source.settings.scheme.scheme();
    let text = match body.secret.clone() {
        Some(own) => own,
        None => made_secret(&api, &scheme)?,
    };
    let key = scheme
        .key(&text)
        .map_err(|error| field("secret", "invalid", &error.to_string()))?;
    let now = api.clock.now();
    let secret_id = secret_id(&api);
    let secret = SourceSecret {
        sealed: api.sources.seal(&source.id, &secret_id, &text),
        id: secret_id,
        source: source.id.clone(),
        n: 0,
        since: now,
        until: None,
        last_used_at: None,
    };
    let others_until = UnixMillis(now.0 + i64::from(body.overlap_seconds) * 1_000);
    let entry = entry(&by, "source_secret_rotated", &source.id, now);
    let has_key = api.sources.has_key(key);
    let rotated = api
        .store
        .add_source_secret(&source, secret, has_key, others_until, entry);
    let n = match rotated.await.map_err(database_problem)? {
        Rotation::Done(n) => n,
        Rotation::Overtaken => return Err(overtaken()),
        Rotation::NotUnique => {
            return Err(field("secret", "not_unique", "a source signs with it already"));
        }
        Rotation::TooMany => {
            let detail =
                format!("{SECRETS_MAX} secrets of this source are valid: end one, or wait for an end");
            return Err(Problem::new(ProblemCode::TooManySecrets).with_detail(detail));
        }
    };
    api.sources.changed().await;
    let location = format!("{}/sources/{}/secrets", api.base_path, source.id);
    let mut view = json!({"n": n, "since": now, "until": null, "others_until": others_until});
    if body.secret.is_none() {
        view["secret"] = text.into();
    }
    Ok(reply::created(&location, &view))
}

/// `GET /sources/{id}/secrets`
pub async fn list_secrets(api: SourceRoutes, request: Request) -> Result<Response, Problem> {
    let query = request.list(&SECRETS)?;
    let source = find(&api, &request.caller, &request.id("id")?).await?;
    let secrets = api.sources.secrets_of(&source.id).await;
    let secrets = secrets.map_err(database_problem)?;
    let now = api.clock.now();
    let views: Vec<SecretView> = secrets
        .iter()
        .map(|secret| SecretView::of(secret, &secrets, now))
        .collect();
    let position = |view: &SecretView| (i64::try_from(view.n).unwrap_or(i64::MAX), view.n.to_string());
    short_list(&query, views, position, |view| json!(view))
}

/// `DELETE /sources/{id}/secrets/{n}`
pub async fn end_secret(api: SourceRoutes, request: Request) -> Result<Response, Problem> {
    let source = find(&api, &request.caller, &request.id("id")?).await?;
    let n: u64 = request.id("n")?;
    decided_here(&api, &source.id)?;
    let mut entry = entry(
        &ChangedBy::of(&request),
        "source_secret_ended",
        &source.id,
        api.clock.now(),
    );
    entry.changed = vec![format!("secrets/{n}")];
    let ended = api.store.end_source_secret(&source, n, entry).await;
    match ended.map_err(database_problem)? {
        End::Done => {}
        End::NoSecret => return Err(not_found()),
        End::Overtaken => return Err(overtaken()),
    }
    api.sources.changed().await;
    Ok(reply::no_content())
}

/// A secret as it is shown: all of it but the secret.
#[derive(Serialize)]
struct SecretView {
    n: u64,
    since: UnixMillis,
    until: Option<UnixMillis>,
    last_used_at: Option<UnixMillis>,
    safe_to_retire: bool,
}

impl SecretView {
    fn of(secret: &SourceSecret, all: &[SourceSecret], now: UnixMillis) -> Self {
        let is_unused = secret
            .last_used_at
            .is_none_or(|used| used.0 <= now.0 - UNUSED_MILLIS);
        let is_newer_in_use = all
            .iter()
            .any(|other| other.n > secret.n && !other.has_ended(now) && other.last_used_at.is_some());
        Self {
            n: secret.n,
            since: secret.since,
            until: secret.until,
            last_used_at: secret.last_used_at,
            safe_to_retire: secret.has_ended(now) || is_newer_in_use && is_unused,
        }
    }
}

/// The source of that id, if the caller may see it.
pub(super) async fn find(api: &SourceRoutes, caller: &Caller, id: &SourceId) -> Result<Source, Problem> {
    let found = api.store.source(id).await.map_err(database_problem)?;
    found
        .filter(|source| covers(caller, &source.settings))
        .ok_or_else(not_found)
}

/// # Errors
/// 409 where the environment decides about this source.
fn decided_here(api: &SourceRoutes, id: &SourceId) -> Result<(), Problem> {
    if api.sources.is_of_environment(id) {
        let detail = "WEBHOOK_SHARED_SECRET is set: it decides about this source";
        return Err(Problem::new(ProblemCode::ManagedByEnvironment).with_detail(detail));
    }
    Ok(())
}

/// Settings as a body names them.
fn settings(body: Map<String, Value>) -> Result<SourceSettings, Problem> {
    let scope = body.get(PROPERTY_IDS).cloned();
    match scope.map(serde_json::from_value::<Scope>) {
        Some(Err(error)) => return Err(field(PROPERTY_IDS, "invalid", &error.to_string())),
        Some(Ok(Scope::Parts(codes))) if codes.iter().any(|code| code.parse::<PropertyId>().is_err()) => {
            return Err(field(PROPERTY_IDS, "invalid", PROPERTY_RULE));
        }
        Some(Ok(_)) | None => {}
    }
    if let Some(scheme) = body.get(SCHEME) {
        check_scheme(scheme).map_err(Problem::validation)?;
    }
    let settings: SourceSettings =
        shape::fit(&Value::Object(body)).map_err(|error| Problem::validation(vec![error]))?;
    settings
        .validate()
        .map_err(|errors| Problem::validation(shape::field_errors(&errors)))?;
    if settings.folds && !settings.scheme.scheme().takes_envelopes() {
        let message =
            "only standard-webhooks and a definition of its own bring envelopes, which records are made of";
        return Err(field("folds", "invalid", message));
    }
    Ok(settings)
}

/// What is wrong with a scheme, each error with its place in the settings.
fn check_scheme(scheme: &Value) -> Result<(), Vec<FieldError>> {
    let at = |error: FieldError| FieldError {
        pointer: format!("/{SCHEME}{}", error.pointer),
        ..error
    };
    match scheme {
        Value::Null => Ok(()),
        Value::String(name) if name.parse::<Preset>().is_ok() => Ok(()),
        Value::Object(_) => {
            let custom: Custom = shape::fit(scheme).map_err(|error| vec![at(error)])?;
            let errors: Vec<_> = custom.errors().into_iter().map(at).collect();
            if errors.is_empty() { Ok(()) } else { Err(errors) }
        }
        _ => {
            let names: Vec<_> = Preset::all().map(Preset::name).collect();
            let message = format!("it must be one of {}, or a definition", names.join(", "));
            Err(vec![at(FieldError::new("", "invalid", message))])
        }
    }
}

/// The name of a source's scope among its settings, and of its scheme.
const PROPERTY_IDS: &str = "property_ids";
const SCHEME: &str = "scheme";

fn settings_view(settings: &SourceSettings) -> Map<String, Value> {
    let Ok(Value::Object(view)) = serde_json::to_value(settings) else {
        unreachable!("settings are an object");
    };
    view
}

/// Which state of its settings a source has: each change is later than the one before.
fn version(source: &Source) -> u64 {
    u64::try_from(source.updated_at.0).unwrap_or_default()
}

fn shown(source: &Source) -> Response {
    etag::with_etag(reply::ok(&view(source)), version(source))
}

fn view(source: &Source) -> Value {
    let mut view = Map::new();
    view.insert(ID.to_owned(), json!(source.id));
    view.extend(settings_view(&source.settings));
    view.insert("created_at".to_owned(), json!(source.created_at));
    view.insert("updated_at".to_owned(), json!(source.updated_at));
    view.into()
}

/// Whether a caller may see what a source with these settings brings.
pub(super) fn covers(caller: &Caller, settings: &SourceSettings) -> bool {
    caller.scope.covers(&settings.property_ids)
}

fn made_secret(api: &SourceRoutes, scheme: &Scheme) -> Result<String, Problem> {
    let mut key = [0; 32];
    api.entropy.fill(&mut key);
    let made = scheme.make_secret(&key);
    made.ok_or_else(|| {
        field(
            "secret",
            "required",
            "the sender makes its keys: give its public one",
        )
    })
}

fn secret_id(api: &SourceRoutes) -> SecretId {
    let id = api.ids.new_id(SecretId::PREFIX).parse();
    id.unwrap_or_else(|_| unreachable!("the ids we make are valid ids"))
}

fn field(name: &str, code: &str, message: &str) -> Problem {
    Problem::validation(vec![FieldError::new(format!("/{name}"), code, message)])
}

fn not_found() -> Problem {
    Problem::new(ProblemCode::NotFound)
}

fn beyond_the_caller() -> Problem {
    let detail = "a source may bring no more properties than the key sees that makes or changes it";
    Problem::new(ProblemCode::Forbidden).with_detail(detail)
}

/// What the audit log says of the change of a source.
fn entry(by: &ChangedBy, action: &'static str, source: &SourceId, at: UnixMillis) -> AuditEntry {
    AuditEntry {
        source: Some(source.to_string()),
        ..by.entry(action, "source", source.as_str(), at)
    }
}
