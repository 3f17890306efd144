//! `keys create`, `keys list` and `keys deactivate` of the command line: they make the first key of a service too.

use super::{
    key::{KeyMaker, KeySettings, KeyTerms},
    store::{Kept, KeyStore},
};
use crate::{audit::AuditEntry, shape};
use api::access::Permissions;
use clap::Subcommand;
use contract::{KeyId, Scope, UnixMillis};
use db::{Db, DbError};
use futures::future::BoxFuture;
use validator::Validate;

/// Who makes keys here.
const ACTOR: &str = "command line";

/// What is done with keys.
#[derive(Subcommand, Clone, Debug)]
pub enum KeysCommand {
    /// Make a key, and print it: it is shown this once
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
        /// read, write or admin, or one of them in an area, as in events:write; may be repeated
        #[arg(long = "permission", required = true)]
        permissions: Vec<String>,
        /// What it may see; may be repeated; everything when not given
        #[arg(long = "scope")]
        scope: Vec<String>,
        /// When it ends (RFC 3339); never when not given
        #[arg(long, value_parser = instant)]
        expires_at: Option<UnixMillis>,
        /// Requests in an hour
        #[arg(long)]
        rate_limit: Option<u32>,
    },
    /// List the keys, without their texts
    List,
    /// End the use of a key; a running service hears of it within a second
    Deactivate {
        /// Its id
        id: KeyId,
    },
}

/// Why a command is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The settings of a key are refused.
    #[error("{0}")]
    Refused(String),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DbError),
}

fn instant(text: &str) -> Result<UnixMillis, &'static str> {
    UnixMillis::parse_rfc3339(text).ok_or("it must be an RFC 3339 time, such as 2026-03-14T09:26:53Z")
}

/// Carries a command out, and returns what it prints.
///
/// # Errors
/// `Refused` with a sentence; those of the database.
pub fn run<'r>(
    command: KeysCommand,
    db: &'r Db,
    maker: &'r KeyMaker,
    terms: KeyTerms,
) -> BoxFuture<'r, Result<String, KeysError>> {
    Box::pin(async move {
        let store = KeyStore::new(db);
        match command {
            KeysCommand::Create {
                name,
                permissions,
                scope,
                expires_at,
                rate_limit,
            } => {
                let permissions = permissions_of(permissions, terms)?;
                let mut settings = KeySettings::new(name, permissions, scope_of(scope, terms)?);
                settings.expires_at = expires_at;
                settings.rate_limit = rate_limit.unwrap_or(settings.rate_limit);
                create(&store, settings, maker).await
            }
            KeysCommand::List => {
                let (keys, now) = (store.list().await?, maker.clock.now());
                let line = |key: &super::ApiKey| {
                    let state = match &key.settings {
                        settings if !settings.active => "inactive",
                        settings if settings.ends_before(now) => "ended",
                        _ => "active",
                    };
                    let permissions = Vec::from(key.settings.permissions.clone()).join(",");
                    format!(
                        "{} {} {state} {permissions} {}",
                        key.id, key.hint, key.settings.name
                    )
                };
                Ok(keys.iter().map(line).collect::<Vec<_>>().join("\n"))
            }
            KeysCommand::Deactivate { id } => deactivate(&store, &id, maker.clock.now()).await,
        }
    })
}

async fn create(store: &KeyStore, settings: KeySettings, maker: &KeyMaker) -> Result<String, KeysError> {
    settings.validate().map_err(|errors| {
        let broken = shape::field_errors(&errors);
        let sentence = |error: &contract::FieldError| format!("{}: {}", &error.pointer[1..], error.message);
        KeysError::Refused(broken.iter().map(sentence).collect::<Vec<_>>().join("; "))
    })?;
    if settings.ends_before(maker.clock.now()) {
        return Err(KeysError::Refused("--expires-at: it must lie ahead".to_owned()));
    }
    let (key, text) = maker.make(settings, ACTOR.to_owned());
    let entry = entry("api_key_created", &key.id, key.created_at);
    match store.create(key, entry, false).await? {
        Kept::Yes => Ok(text),
        Kept::NotFirst | Kept::TooMany => Err(KeysError::Refused(format!(
            "there are {} keys: delete one",
            super::KEYS_MAX
        ))),
    }
}

async fn deactivate(store: &KeyStore, id: &KeyId, now: UnixMillis) -> Result<String, KeysError> {
    let key = store.show(id).await?;
    let key = key.ok_or_else(|| KeysError::Refused(format!("there is no key {id}")))?;
    let done = format!("{id} is not taken any more");
    if !key.settings.active {
        return Ok(done);
    }
    let mut entry = entry("api_key_changed", id, now);
    entry.changed = vec!["active".to_owned()];
    let settings = KeySettings {
        active: false,
        ..key.settings.clone()
    };
    match store.change(&key, settings, entry).await? {
        Some(_) => Ok(done),
        None => Err(KeysError::Refused(
            "the key has just been changed by another: try again".to_owned(),
        )),
    }
}

fn permissions_of(texts: Vec<String>, terms: KeyTerms) -> Result<Permissions, KeysError> {
    let permissions =
        Permissions::try_from(texts).map_err(|error| KeysError::Refused(format!("--permission: {error}")))?;
    if let Some(area) = terms.unknown_area(&permissions) {
        let areas = terms.areas.join(", ");
        return Err(KeysError::Refused(format!(
            "--permission: there is no area {area:?}, but {areas}"
        )));
    }
    Ok(permissions)
}

fn scope_of(parts: Vec<String>, terms: KeyTerms) -> Result<Scope, KeysError> {
    if parts.is_empty() {
        return Ok(Scope::All);
    }
    let refused = |rule: &str| KeysError::Refused(format!("--scope: {rule}"));
    let scope = Scope::of(parts).map_err(|error| refused(&error.to_string()))?;
    terms.check_scope(&scope).map_err(refused)?;
    Ok(scope)
}

fn entry(action: &'static str, id: &KeyId, at: UnixMillis) -> AuditEntry {
    AuditEntry {
        actor: Some(ACTOR.to_owned()),
        entity_kind: Some("api_key".to_owned()),
        entity_id: Some(id.to_string()),
        ..AuditEntry::new(action, at)
    }
}
