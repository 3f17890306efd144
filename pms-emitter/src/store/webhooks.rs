//! Endpoints that people make, change and end; the environment's is read by the same functions.
//!
//! Each change counts the endpoint's version up, guarded by the version that it was decided on. Making one holds the feed: so
//! it begins at an exact place, and the number of those of a property is exact however many are made at once.

use super::{
    Store,
    clock_skew::{SKEW_MAX, millis},
    endpoint_health::{self, NOT_FAILING},
    endpoint_secrets::{self, NewSecret},
    fan_out::FEED,
    shared_breaker,
};
use crate::domain::endpoint::EndpointSettings;
use contract::{Scope, UnixMillis, id::EndpointId};
use db::{DbError, Params, Row, Tx, params, read_id};
use kit::audit::{self, AuditEntry};
use kit::secrets::{Place, SealedColumn};
use std::{borrow::Cow, collections::BTreeMap};

/// Endpoints of a property at most. One for all properties counts as one of a property of its own.
pub const ENDPOINTS_OF_PROPERTY_MAX: usize = 100;
/// Endpoints of one emitter at most: the fan-out looks at each of them.
pub const ENDPOINTS_MAX: usize = 1_000;

/// The column of the encrypted headers.
pub const SEALED_HEADERS: SealedColumn = SealedColumn {
    table: "endpoint_headers",
    column: "sealed",
    owner: None,
};

const MINUTE_MILLIS: i64 = 60 * 1_000;
/// Places that are looked at to find that of an instant: more than the logarithm of all that can be.
const PROBES_MAX: usize = 64;

pub(super) const SELECT: &str = "SELECT p.id, p.url, p.settings, p.paused, p.disabled_reason, p.version, p.created_by, p.created_at, \
     p.updated_at, p.last_success_at, p.last_error_at, h.names AS header_names \
     FROM endpoints p LEFT JOIN endpoint_headers h ON h.id = p.id";

/// An endpoint as it was chosen, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// What was chosen; none: the environment's.
    pub settings: Option<EndpointSettings>,
    /// Where its deliveries go.
    pub url: Option<String>,
    /// Whether a person has paused it.
    pub is_paused: bool,
    /// Why we stopped it.
    pub disabled_reason: Option<String>,
    /// The names of the headers that it gets beside ours.
    pub header_names: Vec<String>,
    /// Counts its changes.
    pub version: u64,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was changed last.
    pub updated_at: UnixMillis,
    /// When an attempt last ended.
    pub last_triggered_at: Option<UnixMillis>,
}

/// Where an endpoint begins in the feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the next event that is committed.
    #[default]
    Now,
    /// With the first event of all.
    Beginning,
    /// With the first one that was committed at this instant or later.
    At(UnixMillis),
}

/// Headers as they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedHeaders {
    /// Their names.
    pub names: Vec<String>,
    /// Names and values, encrypted for the endpoint.
    pub sealed: Vec<u8>,
}

/// What is done about the headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderChange {
    /// They stay.
    Keep,
    /// These, in place of all that were.
    Replace(Option<SealedHeaders>),
}

/// An endpoint that is to be made.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    /// Its id.
    pub id: EndpointId,
    /// What was chosen.
    pub settings: EndpointSettings,
    /// Where it begins.
    pub start: Start,
    /// Its headers, if it has any.
    pub headers: Option<SealedHeaders>,
    /// What it signs with.
    pub secret: NewSecret,
    /// Who makes it.
    pub created_by: String,
    /// When.
    pub at: UnixMillis,
    /// What the audit log says.
    pub entry: AuditEntry,
}

impl NewEndpoint {
    /// The endpoint as it is once it is made.
    pub fn as_made(&self) -> Endpoint {
        Endpoint {
            id: self.id.clone(),
            url: Some(self.settings.url.clone()),
            is_paused: !self.settings.active,
            settings: Some(self.settings.clone()),
            disabled_reason: None,
            header_names: self
                .headers
                .as_ref()
                .map_or_else(Vec::new, |headers| headers.names.clone()),
            version: 1,
            created_by: Some(self.created_by.clone()),
            created_at: self.at,
            updated_at: self.at,
            last_triggered_at: None,
        }
    }
}

/// What became of an endpoint that was to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointMade {
    /// It is there.
    Made,
    /// There are [`ENDPOINTS_OF_PROPERTY_MAX`] of one of its properties.
    TooManyOfProperty(String),
    /// There are [`ENDPOINTS_MAX`].
    TooMany,
}

/// A change of an endpoint that was seen at a version.
#[derive(Clone, Debug)]
pub struct EndpointChange {
    /// Which one, as it was seen.
    pub seen: Endpoint,
    /// What becomes of it.
    pub what: WhatChanges,
    /// When.
    pub at: UnixMillis,
    /// What the audit log says.
    pub entry: AuditEntry,
}

/// What a person changes of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhatChanges {
    /// Its settings, and maybe its headers.
    Settings(Box<EndpointSettings>, HeaderChange),
    /// Whether it is paused, where the environment decides the rest.
    Paused(bool),
    /// It was stopped by us, and goes on.
    Enabled,
    /// It ends, and what waits for it.
    Deleted,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointChanged {
    /// It is so now.
    Changed,
    /// It is no more as it was seen.
    Overtaken,
    /// There are [`ENDPOINTS_OF_PROPERTY_MAX`] of a property that it did not have.
    TooManyOfProperty(String),
    /// Deliveries wait in the order that was to be changed.
    Waiting,
}

/// The place that the headers of an endpoint are encrypted for.
pub fn headers_place(endpoint: &EndpointId) -> Place<'_> {
    Place {
        table: SEALED_HEADERS.table,
        column: SEALED_HEADERS.column,
        row: endpoint.as_str(),
    }
}

impl Store {
    /// All endpoints that are not deleted, by id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn endpoints(&self) -> Result<Vec<Endpoint>, DbError> {
        let read = self.reads.read("endpoints", |tx| {
            Box::pin(async move {
                let sql = format!("{SELECT} WHERE p.deleted_at IS NULL ORDER BY p.id LIMIT ?");
                let rows = tx.query(&sql, params![ENDPOINTS_MAX + 1]).await?;
                rows.iter().map(read_endpoint).collect()
            })
        });
        read.await
    }

    /// The endpoint of that id, if it is not deleted.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn endpoint(&self, id: &EndpointId) -> Result<Option<Endpoint>, DbError> {
        let id = id.clone();
        let read = self.reads.read("endpoint", move |tx| {
            let id = id.clone();
            Box::pin(async move {
                let sql = format!("{SELECT} WHERE p.id = ? AND p.deleted_at IS NULL");
                let row = tx.query_one(&sql, params![id.as_str()]).await?;
                row.as_ref().map(read_endpoint).transpose()
            })
        });
        read.await
    }

    /// Makes an endpoint.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn make_endpoint(&self, new: NewEndpoint) -> Result<EndpointMade, DbError> {
        self.transaction(
            "make_endpoint",
            new,
            |tx, new| Box::pin(make(tx, new)),
            |tx, new| {
                Box::pin(async move {
                    let sql = "SELECT id FROM endpoints WHERE id = ?";
                    let row = tx.query_one(sql, params![new.id.as_str()]).await?;
                    Ok(row.map(|_| EndpointMade::Made))
                })
            },
        )
        .await
    }

    /// Makes the environment's endpoint one of the others, with what the environment says; false when it is one already.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn adopt_endpoint(
        &self,
        id: EndpointId,
        settings: EndpointSettings,
        secrets: Vec<NewSecret>,
        entry: AuditEntry,
    ) -> Result<bool, DbError> {
        let work = (id, settings, secrets, entry);
        self.transaction(
            "adopt_endpoint",
            work,
            |tx, (id, settings, secrets, entry)| Box::pin(adopt(tx, id, settings, secrets, entry)),
            |_, _| Box::pin(async { Ok(None) }),
        )
        .await
    }

    /// Changes an endpoint that is still as it was seen. From then on no attempt begins by what it was before.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn change_endpoint(&self, change: EndpointChange) -> Result<EndpointChanged, DbError> {
        let (id, version) = (change.seen.id.clone(), change.seen.version + 1);
        let changed = self
            .transaction(
                "change_endpoint",
                change,
                |tx, change| Box::pin(apply(tx, change)),
                |tx, change| Box::pin(find_applied(tx, change)),
            )
            .await;
        if changed == Ok(EndpointChanged::Changed) {
            self.versions.note(&id, version);
        }
        changed
    }
}

async fn make(tx: &mut Tx, new: &NewEndpoint) -> Result<EndpointMade, DbError> {
    let last = FEED.hold(tx).await?;
    let others = scopes(tx, None).await?;
    if others.len() >= ENDPOINTS_MAX {
        tx.abandon();
        return Ok(EndpointMade::TooMany);
    }
    if let Some(property) = full(&others, &new.settings.property_ids, None) {
        tx.abandon();
        return Ok(EndpointMade::TooManyOfProperty(property));
    }
    let behind = match new.start {
        Start::Now => None,
        Start::Beginning => Some(0),
        Start::At(instant) => Some(start_before(tx, instant, last).await?),
    };
    let mut values = columns(&new.settings, new.at);
    values.extend(params![
        behind.filter(|place| *place < last),
        &new.created_by,
        new.id.as_str(),
        new.at,
        new.at,
        new.at
    ]);
    tx.execute(
        "INSERT INTO endpoints (url, settings, event_types, property_ids, filter, paused, heartbeat_at, heartbeat_set_at,
             rate_limit, ordering, first_delay_ms, backfill_seq, created_by, id, subscribed, breaker_since, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)",
        values,
    )
    .await?;
    write_headers(tx, &new.id, new.headers.as_ref()).await?;
    endpoint_secrets::add_all(tx, &new.id, std::slice::from_ref(&new.secret)).await?;
    audit::append(tx, std::slice::from_ref(&new.entry)).await?;
    Ok(EndpointMade::Made)
}

async fn adopt(
    tx: &mut Tx,
    id: &EndpointId,
    settings: &EndpointSettings,
    secrets: &[NewSecret],
    entry: &AuditEntry,
) -> Result<bool, DbError> {
    FEED.hold(tx).await?;
    let row = tx
        .query_one("SELECT paused FROM endpoints WHERE id = ?", params![id.as_str()])
        .await?;
    // One that was paused stays so.
    let paused: bool = row.map_or(Ok(false), |row| row.get("paused"))?;
    let settings = EndpointSettings {
        active: !paused,
        ..settings.clone()
    };
    let mut values = columns(&settings, entry.at);
    values.extend(params![entry.at, id.as_str()]);
    let sql = format!(
        "UPDATE endpoints SET {SET_COLUMNS}, subscribed = 1, version = version + 1, updated_at = ? WHERE id = ? AND settings IS NULL"
    );
    if tx.execute(&sql, values).await? == 0 {
        tx.abandon();
        return Ok(false);
    }
    endpoint_secrets::add_all(tx, id, secrets).await?;
    audit::append(tx, std::slice::from_ref(entry)).await?;
    Ok(true)
}

async fn apply(tx: &mut Tx, change: &EndpointChange) -> Result<EndpointChanged, DbError> {
    let EndpointChange {
        seen,
        what,
        at,
        entry,
    } = change;
    let (set, mut values): (Cow<'_, str>, Params) = match what {
        WhatChanges::Settings(settings, _) => (
            format!("{SET_COLUMNS}, paused_until = 0").into(),
            columns(settings, *at),
        ),
        WhatChanges::Paused(paused) => ("paused = ?".into(), params![*paused]),
        WhatChanges::Enabled => (
            format!("disabled_reason = NULL, paused_until = 0, {NOT_FAILING}").into(),
            Params::new(),
        ),
        WhatChanges::Deleted => (
            "subscribed = 0, backfill_seq = NULL, cancelling = 1, deleted_at = ?".into(),
            params![*at],
        ),
    };
    if matches!(what, WhatChanges::Settings(..) | WhatChanges::Deleted) {
        // Nothing is queued by what it was before once this is committed.
        FEED.hold(tx).await?;
    }
    if let WhatChanges::Settings(settings, _) = what {
        let before = seen.settings.as_ref().map(|before| &before.property_ids);
        let others = scopes(tx, Some(&seen.id)).await?;
        if let Some(property) = full(&others, &settings.property_ids, before) {
            tx.abandon();
            return Ok(EndpointChanged::TooManyOfProperty(property));
        }
    }
    let sql = format!(
        "UPDATE endpoints SET {set}, version = version + 1, updated_at = ? WHERE id = ? AND version = ? AND deleted_at IS NULL"
    );
    values.extend(params![*at, seen.id.as_str(), seen.version]);
    if tx.execute(&sql, values).await? == 0 {
        tx.abandon();
        return Ok(EndpointChanged::Overtaken);
    }
    if let WhatChanges::Settings(settings, _) = what
        && seen.settings.as_ref().map(|before| before.ordering) != Some(settings.ordering)
        && is_any_pending(tx, &seen.id).await?
    {
        tx.abandon();
        return Ok(EndpointChanged::Waiting);
    }
    if let WhatChanges::Settings(settings, _) = what
        && seen.url.as_ref() != Some(&settings.url)
    {
        shared_breaker::close_for_new_address(tx, seen.id.as_str(), *at).await?;
        endpoint_health::forget_for_new_address(tx, seen.id.as_str()).await?;
    }
    match what {
        WhatChanges::Settings(_, HeaderChange::Replace(headers)) => {
            write_headers(tx, &seen.id, headers.as_ref()).await?;
        }
        WhatChanges::Deleted => {
            write_headers(tx, &seen.id, None).await?;
            endpoint_secrets::remove_all(tx, &seen.id).await?;
        }
        WhatChanges::Settings(..) | WhatChanges::Paused(_) | WhatChanges::Enabled => {}
    }
    audit::append(tx, std::slice::from_ref(entry)).await?;
    Ok(EndpointChanged::Changed)
}

/// Whether anything waits for an endpoint. Its row is locked by now: what becomes pending after this does so by the new order.
async fn is_any_pending(tx: &mut Tx, id: &EndpointId) -> Result<bool, DbError> {
    let sql = "SELECT event_id FROM deliveries WHERE endpoint_id = ? AND status = 'pending' LIMIT 1";
    Ok(tx.query_one(sql, params![id.as_str()]).await?.is_some())
}

/// After an unknown commit: whether the endpoint has the next version, of this request.
async fn find_applied(tx: &mut Tx, change: &EndpointChange) -> Result<Option<EndpointChanged>, DbError> {
    let sql = "SELECT id FROM endpoints WHERE id = ? AND version = ? AND updated_at = ?";
    let values = params![change.seen.id.as_str(), change.seen.version + 1, change.at];
    let row = tx.query_one(sql, values).await?;
    Ok(row.map(|_| EndpointChanged::Changed))
}

/// The scopes of the endpoints that people made, but for one of them.
async fn scopes(tx: &mut Tx, but_for: Option<&EndpointId>) -> Result<Vec<Scope>, DbError> {
    let sql = "SELECT id, property_ids FROM endpoints WHERE deleted_at IS NULL AND settings IS NOT NULL";
    let rows = tx.query(sql, Vec::new()).await?;
    let mut scopes = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: String = row.get("id")?;
        if but_for.is_none_or(|one| one.as_str() != id) {
            let text: String = row.get("property_ids")?;
            scopes.push(Scope::read_names(&text).map_err(|_| DbError::unreadable("property_ids"))?);
        }
    }
    Ok(scopes)
}

/// A property of a scope that has as many endpoints as it may, but for those that it had before.
fn full(others: &[Scope], scope: &Scope, before: Option<&Scope>) -> Option<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for name in others.iter().flat_map(Scope::names) {
        *counts.entry(name).or_default() += 1;
    }
    let had: Vec<&str> = before.into_iter().flat_map(Scope::names).collect();
    let mut names = scope.names();
    let full = names.find(|name| {
        !had.contains(name)
            && counts
                .get(name)
                .is_some_and(|count| *count >= ENDPOINTS_OF_PROPERTY_MAX)
    });
    full.map(ToOwned::to_owned)
}

/// The place before the first event that was committed at an instant or later. Places follow the times of commits, but for the
/// clocks of replicas, so it is found by halving.
pub(super) async fn place_before(tx: &mut Tx, instant: UnixMillis, last: i64) -> Result<i64, DbError> {
    let (mut low, mut high) = (0, last);
    for _ in 0..PROBES_MAX {
        if low >= high {
            break;
        }
        let middle = low + (high - low) / 2;
        let sql = "SELECT feed_seq, committed_at FROM events WHERE feed_seq > ? AND feed_seq <= ? ORDER BY feed_seq LIMIT 1";
        match tx.query_one(sql, params![middle, high]).await? {
            Some(row) if row.get::<UnixMillis>("committed_at")? < instant => low = row.get("feed_seq")?,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// The place before the very first event that was committed at an instant or later. Clocks of replicas differ, so what is found by
/// halving may lie behind it, by as much as they do.
async fn start_before(tx: &mut Tx, instant: UnixMillis, last: i64) -> Result<i64, DbError> {
    let until = place_before(tx, instant, last).await?;
    let from = place_before(tx, instant.plus_millis(-millis(SKEW_MAX)), until).await?;
    let sql = "SELECT feed_seq FROM events WHERE feed_seq > ? AND feed_seq <= ? AND committed_at >= ? ORDER BY feed_seq LIMIT 1";
    let row = tx.query_one(sql, params![from, until, instant]).await?;
    row.map_or(Ok(until), |row| Ok(row.get::<i64>("feed_seq")? - 1))
}

async fn write_headers(tx: &mut Tx, id: &EndpointId, headers: Option<&SealedHeaders>) -> Result<(), DbError> {
    tx.execute("DELETE FROM endpoint_headers WHERE id = ?", params![id.as_str()])
        .await?;
    if let Some(headers) = headers {
        let sql = "INSERT INTO endpoint_headers (id, names, sealed) VALUES (?, ?, ?)";
        tx.execute(
            sql,
            params![id.as_str(), headers.names.join(","), headers.sealed.clone()],
        )
        .await?;
    }
    Ok(())
}

/// Sets what [`columns`] has.
const SET_COLUMNS: &str =
    "url = ?, settings = ?, event_types = ?, property_ids = ?, filter = ?, paused = ?, heartbeat_at = ?,
     heartbeat_set_at = ?, rate_limit = ?, ordering = ?, first_delay_ms = ?";

/// What `first_delay_ms` has where an endpoint has the schedule of the service.
pub(super) const FIRST_WAIT_OF_SERVICE: i64 = -1;

/// In the order of the columns of an INSERT and an UPDATE.
fn columns(settings: &EndpointSettings, at: UnixMillis) -> Params {
    let names = settings.events.iter().map(ToString::to_string);
    params![
        &settings.url,
        serde_json::Value::Object(settings.to_object()).to_string(),
        names.collect::<Vec<_>>().join(","),
        settings.property_ids.names().collect::<Vec<_>>().join(","),
        settings
            .filter
            .as_ref()
            .map(|filter| filter.to_json().to_string()),
        !settings.active,
        settings
            .heartbeat_minutes
            .map(|minutes| at.plus_millis(i64::from(minutes) * MINUTE_MILLIS)),
        at,
        settings.rate_limit,
        settings.ordering.as_str(),
        settings.first_wait().map_or(FIRST_WAIT_OF_SERVICE, millis),
    ]
}

/// An endpoint of a row of [`SELECT`].
pub(super) fn read_endpoint(row: &Row) -> Result<Endpoint, DbError> {
    let settings: Option<String> = row.get("settings")?;
    let names: Option<String> = row.get("header_names")?;
    let ended: [Option<UnixMillis>; 2] = [row.get("last_success_at")?, row.get("last_error_at")?];
    Ok(Endpoint {
        id: read_id(row, "id")?,
        settings: settings.as_deref().map(read_settings).transpose()?,
        url: row.get("url")?,
        is_paused: row.get("paused")?,
        disabled_reason: row.get("disabled_reason")?,
        header_names: names.map_or_else(Vec::new, |names| {
            names.split(',').map(ToOwned::to_owned).collect()
        }),
        version: row.get("version")?,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        last_triggered_at: ended.into_iter().flatten().max(),
    })
}

/// Settings as they are kept.
pub(super) fn read_settings(text: &str) -> Result<EndpointSettings, DbError> {
    serde_json::from_str(text).map_err(|_| DbError::unreadable("settings"))
}
