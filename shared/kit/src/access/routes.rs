//! `/api-keys`: list and make, show, change, deactivate and delete one, and what it was used for.
//!
//! A caller sees, makes and changes only keys that may do, see and ask for no more than its own, no longer and from nowhere else.

use super::{
    ANYONE, ApiKeys, ENVIRONMENT,
    key::{ApiKey, KeyMaker, KeySettings, KeyTerms},
    store::Kept,
    usage::DAYS_KEPT,
};
use crate::{
    change::{ChangedBy, differing, merged, read_object},
    database_problem, shape,
};
use api::{
    Access, Area, Caller, Endpoint, ListSpec, Preconditions, Request, Response, SortField,
    access::key_required,
    delete, etag, get,
    list::{PAGE, PAGE_SIZE, parse_parameters, short_list},
    patch, post, reply,
};
use contract::{FieldError, KeyId, Problem, ProblemCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use validator::Validate;

/// What keys are called in the audit log.
const API_KEY: &str = "api_key";
/// The area of keys in permissions.
pub const API_KEYS: Area = Area::new("api-keys");
/// How often a change is decided on fresh settings, when others change the same key.
const DECISIONS_MAX: usize = 5;
/// The name of a key's scope among its settings.
const SCOPE: &str = "scope";
const NO_SUCH_FIELD: &str = "there is no such field";
/// Days of a usage report when none are asked for.
const PERIOD_DAYS_DEFAULT: u32 = 30;

const LIST: ListSpec = ListSpec {
    name: "api-keys",
    filters: &[PAGE, PAGE_SIZE],
    sorts: &[SortField::int("created_at")],
    descending_by_default: true,
    updated_since: false,
};

/// What the routes need.
#[derive(Clone)]
pub struct KeyRoutes {
    /// The keys.
    pub keys: ApiKeys,
    /// Makes keys.
    pub maker: KeyMaker,
    /// What keys of this service may name.
    pub terms: KeyTerms,
    /// What every path begins with.
    pub base_path: Arc<str>,
}

/// The lines of the route table.
pub fn routes(state: &KeyRoutes) -> Vec<Endpoint> {
    vec![
        get("/api-keys/self", Access::AnyKey, state, show_self),
        get("/api-keys", API_KEYS.admin(), state, list).with_query(),
        post("/api-keys", API_KEYS.admin(), state, create),
        get("/api-keys/{id}", API_KEYS.admin(), state, show),
        patch("/api-keys/{id}", API_KEYS.admin(), state, change),
        delete("/api-keys/{id}", API_KEYS.admin(), state, remove),
        post("/api-keys/{id}/deactivate", API_KEYS.admin(), state, deactivate),
        get("/api-keys/{id}/usage", API_KEYS.admin(), state, usage).with_query(),
    ]
}

async fn show_self(state: KeyRoutes, request: Request) -> Result<Response, Problem> {
    let caller = &request.caller;
    let mut view = json!({"id": &*caller.id, "name": caller.name, "permissions": caller.permissions});
    view[state.terms.scope_field] = json!(caller.scope);
    view["level_max"] = caller.level_max.as_str().into();
    Ok(reply::ok(&view))
}

async fn list(state: KeyRoutes, request: Request) -> Result<Response, Problem> {
    let query = request.list(&LIST)?;
    let reach = state.reach(&request.caller).await?;
    let mut keys = state.keys.store().list().await.map_err(database_problem)?;
    keys.retain(|key| reach.covers(&key.settings));
    let position = |key: &ApiKey| (key.created_at.0, key.id.to_string());
    short_list(&query, keys, position, |key| state.view(key))
}

async fn create(state: KeyRoutes, mut request: Request) -> Result<Response, Problem> {
    let body = read_object(&mut request).await?;
    let settings = state.settings(body)?;
    state.check_scope(&settings)?;
    if !state.reach(&request.caller).await?.covers(&settings) {
        return Err(beyond_the_caller());
    }
    let now = state.maker.clock.now();
    if settings.ends_before(now) {
        return Err(in_the_past());
    }
    let (key, text) = state.maker.make(settings, request.caller.actor());
    let entry = ChangedBy::of(&request).entry("api_key_created", API_KEY, key.id.as_str(), now);
    let is_first = &*request.caller.id == ANYONE;
    let kept = state.keys.store().create(key.clone(), entry, is_first).await;
    match kept.map_err(database_problem)? {
        Kept::Yes => {}
        Kept::NotFirst => return Err(key_required()),
        Kept::TooMany => {
            let detail = format!("there are {} keys: delete one", super::KEYS_MAX);
            return Err(Problem::new(ProblemCode::TooManyKeys).with_detail(detail));
        }
    }
    state.keys.changed(&key);
    let mut view = state.view(&key);
    view.insert("key".to_owned(), text.into());
    let location = format!("{}/api-keys/{}", state.base_path, key.id);
    Ok(with_version(reply::created(&location, &view), &key))
}

async fn show(state: KeyRoutes, request: Request) -> Result<Response, Problem> {
    let key = state.find(&request.caller, &request.id("id")?).await?;
    Ok(state.shown(&key))
}

async fn change(state: KeyRoutes, mut request: Request) -> Result<Response, Problem> {
    let (by, id) = (ChangedBy::of(&request), request.id("id")?);
    let expected = Preconditions::from_headers(&request.headers)?;
    let patch = read_object(&mut request).await?;
    state.merge(&by, &id, &patch, &expected).await
}

async fn deactivate(state: KeyRoutes, request: Request) -> Result<Response, Problem> {
    let patch = Map::from_iter([("active".to_owned(), false.into())]);
    let expected = Preconditions::from_headers(&request.headers)?;
    state
        .merge(&ChangedBy::of(&request), &request.id("id")?, &patch, &expected)
        .await
}

async fn remove(state: KeyRoutes, request: Request) -> Result<Response, Problem> {
    let (by, id) = (ChangedBy::of(&request), request.id("id")?);
    let expected = Preconditions::from_headers(&request.headers)?;
    for _ in 0..DECISIONS_MAX {
        let key = state.find(&request.caller, &id).await?;
        expected.check(version(&key))?;
        let now = state.maker.clock.now();
        let entry = by.entry("api_key_deleted", API_KEY, key.id.as_str(), now);
        let deleted = state.keys.store().delete(&key, entry).await;
        state.keys.changed(&key);
        if deleted.map_err(database_problem)? {
            return Ok(reply::no_content());
        }
    }
    Err(overtaken())
}

async fn usage(state: KeyRoutes, request: Request) -> Result<Response, Problem> {
    let given = parse_parameters(&["period_days"], request.query())?;
    let days = match given.first() {
        None => PERIOD_DAYS_DEFAULT,
        Some((_, text)) => text
            .parse()
            .ok()
            .filter(|days| (1..=DAYS_KEPT).contains(days))
            .ok_or_else(|| {
                Problem::new(ProblemCode::InvalidQuery)
                    .with_detail(format!("period_days must be 1 to {DAYS_KEPT}"))
            })?,
    };
    let key = state.find(&request.caller, &request.id("id")?).await?;
    let report = state.keys.usage().report(key.id.as_str(), days).await;
    Ok(reply::ok(&report.map_err(database_problem)?))
}

impl KeyRoutes {
    /// What the caller reaches, as the tables say now: its key may have ended or changed since the request was admitted,
    /// while its body came.
    async fn reach(&self, caller: &Caller) -> Result<Reach, Problem> {
        let store = self.keys.store();
        match &*caller.id {
            ENVIRONMENT => Ok(Reach(None)),
            ANYONE if store.was_ever_one().await.map_err(database_problem)? => Err(key_required()),
            ANYONE => Ok(Reach(None)),
            id => {
                let own = match id.parse() {
                    Ok(id) => store.show(&id).await.map_err(database_problem)?,
                    Err(_) => None,
                };
                let now = self.maker.clock.now();
                let own = own.map(|key| key.settings);
                own.filter(|own| own.active && !own.ends_before(now))
                    .map(|own| Reach(Some(own)))
                    .ok_or_else(key_required)
            }
        }
    }

    /// The key of the request's path, if the caller reaches it.
    async fn find(&self, caller: &Caller, id: &KeyId) -> Result<ApiKey, Problem> {
        self.find_within(&self.reach(caller).await?, id).await
    }

    async fn find_within(&self, reach: &Reach, id: &KeyId) -> Result<ApiKey, Problem> {
        let found = self.keys.store().show(id).await.map_err(database_problem)?;
        found
            .filter(|key| reach.covers(&key.settings))
            .ok_or_else(|| Problem::new(ProblemCode::NotFound))
    }

    /// Merges a patch (RFC 7396) into a key's settings.
    async fn merge(
        &self,
        by: &ChangedBy,
        id: &KeyId,
        patch: &Map<String, Value>,
        expected: &Preconditions,
    ) -> Result<Response, Problem> {
        for _ in 0..DECISIONS_MAX {
            let reach = self.reach(&by.caller).await?;
            let key = self.find_within(&reach, id).await?;
            expected.check(version(&key))?;
            let before = self.settings_view(&key.settings);
            let settings = self.settings(merged(&before, patch)?)?;
            // What an older program took may stay as it is, so that such a key can still be ended.
            if settings.scope != key.settings.scope {
                self.check_scope(&settings)?;
            }
            if !reach.covers(&settings) {
                return Err(beyond_the_caller());
            }
            let now = self.maker.clock.now();
            if settings.expires_at != key.settings.expires_at && settings.ends_before(now) {
                return Err(in_the_past());
            }
            let mut entry = by.entry("api_key_changed", API_KEY, key.id.as_str(), now);
            entry.changed = differing(&before, &self.settings_view(&settings));
            if entry.changed.is_empty() {
                return Ok(self.shown(&key));
            }
            let changed = self.keys.store().change(&key, settings, entry).await;
            self.keys.changed(&key);
            if let Some(changed) = changed.map_err(database_problem)? {
                return Ok(self.shown(&changed));
            }
        }
        Err(overtaken())
    }

    /// Settings as a body names them.
    fn settings(&self, mut body: Map<String, Value>) -> Result<KeySettings, Problem> {
        let pointer = self.scope_pointer();
        let scope = body.remove(self.terms.scope_field);
        if body.contains_key(SCOPE) {
            return Err(refused(format!("/{SCOPE}"), "unknown_field", NO_SUCH_FIELD));
        }
        let scope = scope.ok_or_else(|| refused(pointer.clone(), "required", "it is required"))?;
        if let Err(error) = serde_json::from_value::<contract::Scope>(scope.clone()) {
            return Err(refused(pointer, "invalid", &error.to_string()));
        }
        body.insert(SCOPE.to_owned(), scope);
        let settings: KeySettings =
            shape::fit(&Value::Object(body)).map_err(|error| Problem::validation(vec![error]))?;
        settings
            .validate()
            .map_err(|errors| Problem::validation(shape::field_errors(&errors)))?;
        if self.terms.unknown_area(&settings.permissions).is_some() {
            let areas = self.terms.areas.join(", ");
            let message = format!("the areas are {areas}");
            return Err(refused("/permissions".to_owned(), "unknown_area", &message));
        }
        Ok(settings)
    }

    fn check_scope(&self, settings: &KeySettings) -> Result<(), Problem> {
        let checked = self.terms.check_scope(&settings.scope);
        checked.map_err(|rule| refused(self.scope_pointer(), "invalid", rule))
    }

    fn scope_pointer(&self) -> String {
        format!("/{}", self.terms.scope_field)
    }

    /// Settings as a body names them.
    fn settings_view(&self, settings: &KeySettings) -> Map<String, Value> {
        let Ok(Value::Object(view)) = serde_json::to_value(settings) else {
            unreachable!("settings are an object");
        };
        let name = |name: String| {
            if name == SCOPE {
                self.terms.scope_field.to_owned()
            } else {
                name
            }
        };
        view.into_iter()
            .map(|(field, value)| (name(field), value))
            .collect()
    }

    /// An answer that shows a key, with its version.
    fn shown(&self, key: &ApiKey) -> Response {
        with_version(reply::ok(&self.view(key)), key)
    }

    /// A key without its text, which nobody sees again.
    fn view(&self, key: &ApiKey) -> Map<String, Value> {
        let mut view = Map::new();
        view.insert("id".to_owned(), json!(key.id));
        view.insert("hint".to_owned(), json!(key.hint));
        view.extend(self.settings_view(&key.settings));
        view.insert("created_by".to_owned(), json!(key.created_by));
        view.insert("created_at".to_owned(), json!(key.created_at));
        view.insert("updated_at".to_owned(), json!(key.updated_at));
        view.insert("last_used_at".to_owned(), json!(key.last_used_at));
        view.insert("usage_count".to_owned(), json!(key.usage_count));
        view
    }
}

/// What a caller reaches: all that its own key covers; none for one without a key in the tables, who reaches everything.
struct Reach(Option<KeySettings>);

impl Reach {
    fn covers(&self, settings: &KeySettings) -> bool {
        self.0.as_ref().is_none_or(|own| own.cover(settings))
    }
}

fn refused(pointer: String, code: &str, message: &str) -> Problem {
    Problem::validation(vec![FieldError::new(pointer, code, message.to_owned())])
}

/// Which state of its settings a key has: each change is later than the one before.
fn version(key: &ApiKey) -> u64 {
    u64::try_from(key.updated_at.0).unwrap_or_default()
}

/// What a key was used for is shown with it, and is no part of its version.
fn with_version(response: Response, key: &ApiKey) -> Response {
    etag::with_etag_beside(response, version(key), Some(&key.usage_count.to_string()))
}

/// The caller may try again.
fn overtaken() -> Problem {
    Problem::new(ProblemCode::Unavailable).with_detail("others keep changing the same key")
}

fn in_the_past() -> Problem {
    refused("/expires_at".to_owned(), "in_the_past", "it must lie ahead")
}

fn beyond_the_caller() -> Problem {
    let detail = "a key may do, see and ask for no more than the key that makes or changes it, no longer and from nowhere \
                  else";
    Problem::new(ProblemCode::Forbidden).with_detail(detail)
}
