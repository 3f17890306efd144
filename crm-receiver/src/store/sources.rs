//! The table `sources`: who may send, and how strictly each is read. It is short, so it is read whole.
//!
//! Every change counts `sources_revision` up in its transaction: by it other replicas hear of the change, and changes wait for
//! each other, so that what one of them counts is still so when it commits.

use super::{
    Store,
    source_digest_keys::{self, SealedDigestKey},
    source_secrets::SourceSecret,
};
use contract::{Scope, SourceId, UnixMillis, scheme::Choice};
use db::{Db, DbError, Params, Row, Tx, params};
use ipnet::IpNet;
use kit::access::{NETWORKS_MAX, WindowTable, plain_name};
use kit::audit::{self, AuditEntry};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use strum::{EnumString, IntoStaticStr};
use validator::Validate;

/// Sources of one receiver at most; each is held in memory.
pub const SOURCES_MAX: i64 = 1_000;
/// The window of a source's rate limit.
pub const RATE_WINDOW_SECONDS: u32 = 60;
/// What replicas have drawn of the rates of sources.
pub const SOURCE_WINDOWS: WindowTable = WindowTable {
    name: "source_windows",
    subject: "source_id",
};
/// The row of `sources_revision`.
const REVISION: &str = "sources";
/// How far a sender's clock may be from ours when nothing is said.
const MAX_SKEW_SECONDS: u32 = 300;

const SELECT: &str = "SELECT id, name, scheme, max_skew_seconds, on_invalid, folds, property_ids, allowed_networks, rate_limit, \
                      silent_after_seconds, enabled, created_at, updated_at FROM sources";

/// What becomes of a delivery that is authentic and readable, but whose payload is invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum OnInvalid {
    /// 422 with the reasons; nothing is kept.
    #[default]
    Reject,
    /// 202; it is kept as a dead letter.
    Quarantine,
}

/// What is chosen for a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// For people.
    #[validate(custom(function = "plain_name"))]
    pub name: String,
    /// How it signs.
    #[serde(default)]
    pub scheme: Choice,
    /// How far its clock may be from ours, on both sides.
    #[serde(default = "max_skew_seconds")]
    #[validate(range(min = 1, max = 86_400, message = "it must be 1 to 86400 seconds"))]
    pub max_skew_seconds: u32,
    /// What becomes of its invalid payloads.
    #[serde(default)]
    pub on_invalid: OnInvalid,
    /// Whether its events of guests and reservations become records and profiles; it may bring such events only then.
    #[serde(default)]
    pub folds: bool,
    /// The properties that its events may name.
    pub property_ids: Scope,
    /// How many authentic deliveries of it are taken in [`RATE_WINDOW_SECONDS`]; none: any number.
    #[serde(default)]
    #[validate(range(min = 1, max = 1_000_000_000, message = "it must be 1 to 1000000000, or null"))]
    pub rate_limit: Option<u32>,
    /// Where it may send from; empty: anywhere.
    #[serde(default)]
    #[validate(length(max = NETWORKS_MAX, message = "there are too many networks"))]
    pub allowed_networks: Vec<IpNet>,
    /// Nothing authentic for longer than this makes it silent; none: it never is.
    #[serde(default)]
    #[validate(range(
        min = 60,
        max = 31_536_000,
        message = "it must be 60 to 31536000 seconds, a year, or null"
    ))]
    pub silent_after_seconds: Option<u32>,
    /// A disabled source is as good as unknown.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

fn max_skew_seconds() -> u32 {
    MAX_SKEW_SECONDS
}

fn enabled() -> bool {
    true
}

impl SourceSettings {
    /// The settings of a source of that name that nobody limits further.
    pub fn new(name: impl Into<String>, folds: bool) -> Self {
        Self {
            name: name.into(),
            scheme: Choice::default(),
            max_skew_seconds: max_skew_seconds(),
            on_invalid: OnInvalid::default(),
            folds,
            property_ids: Scope::All,
            rate_limit: None,
            allowed_networks: Vec::new(),
            silent_after_seconds: None,
            enabled: enabled(),
        }
    }
}

/// A source, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name in the path, and half of every idempotency key.
    pub id: SourceId,
    /// What was chosen for it.
    pub settings: SourceSettings,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When its settings last changed.
    pub updated_at: UnixMillis,
}

/// What became of a source that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It is there now.
    Done,
    /// There is, or was, one of that id.
    Taken,
    /// There are [`SOURCES_MAX`] already.
    TooMany,
}

/// What became of a source that was to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is so now.
    Done(Source),
    /// It is no more as it was seen.
    Overtaken,
    /// It has secrets, which would mean other keys under another scheme.
    HasSecrets,
}

#[derive(Clone, Copy)]
enum Outcome {
    Written,
    Overtaken,
    HasSecrets,
}

/// All sources and secrets, as of a revision or later.
#[derive(Clone, Debug, Default)]
pub struct SourceRows {
    /// How often anything of it was changed.
    pub revision: i64,
    /// The sources that are not deleted.
    pub sources: Vec<Source>,
    /// Their secrets that have not been removed.
    pub secrets: Vec<SourceSecret>,
    /// Their digest keys.
    pub digest_keys: Vec<SealedDigestKey>,
}

impl Store {
    /// Makes a source of the environment if it is not there, or was deleted: it is the same sender as before. Its skew is the
    /// configuration's at every start, the rest stays as it is.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn keep_source(
        &self,
        id: &SourceId,
        settings: SourceSettings,
        now: UnixMillis,
    ) -> Result<(), DbError> {
        let source = Source {
            id: id.clone(),
            settings,
            created_at: now,
            updated_at: now,
        };
        self.db
            .transaction("keep_source", move |tx| {
                let source = source.clone();
                Box::pin(async move { keep(tx, &source).await })
            })
            .await
    }

    /// How often sources or secrets were changed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sources_revision(&self) -> Result<i64, DbError> {
        self.db
            .read("sources_revision", |tx| {
                Box::pin(async move { revision(tx).await })
            })
            .await
    }

    /// All sources and secrets.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn source_rows(&self) -> Result<SourceRows, DbError> {
        self.db
            .read("source_rows", |tx| Box::pin(async move { rows(tx).await }))
            .await
    }

    /// All sources that are not deleted.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sources(&self) -> Result<Vec<Source>, DbError> {
        self.reads
            .read("sources", |tx| Box::pin(async move { readable(tx).await }))
            .await
    }

    /// The source of that id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn source(&self, id: &SourceId) -> Result<Option<Source>, DbError> {
        one(&self.reads, id.clone()).await
    }

    /// Makes a source.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn create_source(
        &self,
        source: &Source,
        digest_key: SealedDigestKey,
        entry: AuditEntry,
    ) -> Result<Creation, DbError> {
        let source = source.clone();
        self.db
            .transaction("create_source", move |tx| {
                let (source, key, entry) = (source.clone(), digest_key.clone(), entry.clone());
                Box::pin(async move { create(tx, &source, &key, entry).await })
            })
            .await
    }

    /// Writes other settings for a source that is still as it was seen.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn change_source(
        &self,
        seen: &Source,
        settings: SourceSettings,
        entry: AuditEntry,
    ) -> Result<Change, DbError> {
        let changed = Source {
            settings,
            // Later than what was seen, so that each change is another version.
            updated_at: entry.at.max(UnixMillis(seen.updated_at.0 + 1)),
            ..seen.clone()
        };
        let (written, seen_at) = (changed.clone(), seen.updated_at);
        let is_other_scheme = seen.settings.scheme != changed.settings.scheme;
        let outcome = self
            .db
            .transaction("change_source", move |tx| {
                let mut values = settings_params(&written.settings);
                values.extend(params![written.updated_at, written.id.as_str(), seen_at]);
                let (id, now, entry) = (written.id.clone(), entry.at, entry.clone());
                Box::pin(async move {
                    count_change(tx).await?;
                    if is_other_scheme && has_secrets(tx, &id, now).await? {
                        tx.abandon();
                        return Ok(Outcome::HasSecrets);
                    }
                    if is_other_scheme {
                        // Those that have ended would be read as other keys, or as none.
                        let sql = "DELETE FROM source_secrets WHERE source_id = ?";
                        tx.execute(sql, params![id.as_str()]).await?;
                    }
                    let sql = "UPDATE sources SET name = ?, scheme = ?, max_skew_seconds = ?, on_invalid = ?, folds = ?, \
                               property_ids = ?, allowed_networks = ?, rate_limit = ?, silent_after_seconds = ?, \
                               enabled = ?, updated_at = ? \
                               WHERE id = ? AND updated_at = ? AND deleted_at IS NULL";
                    if tx.execute(sql, values).await? == 0 {
                        tx.abandon();
                        return Ok(Outcome::Overtaken);
                    }
                    audit::append(tx, &[entry]).await?;
                    Ok(Outcome::Written)
                })
            })
            .await?;
        Ok(match outcome {
            Outcome::Written => Change::Done(changed),
            Outcome::Overtaken => Change::Overtaken,
            Outcome::HasSecrets => Change::HasSecrets,
        })
    }

    /// Removes what was drawn of the rates of sources in windows that began before this one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn drop_source_windows(&self, began_before: UnixMillis) -> Result<(), DbError> {
        self.db
            .transaction("drop_source_windows", move |tx| {
                Box::pin(async move {
                    // A thousand sources have a few thousand rows at most.
                    let sql = "DELETE FROM source_windows WHERE began_at < ?";
                    tx.execute(sql, params![began_before]).await.map(drop)
                })
            })
            .await
    }

    /// Ends a source that is still as it was seen, for good, with its secrets; false when it is not.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete_source(&self, seen: &Source, entry: AuditEntry) -> Result<bool, DbError> {
        let (id, seen_at) = (seen.id.clone(), seen.updated_at);
        // Later than what was seen, as with each change: a version that was given out never comes again.
        let at = entry.at.max(UnixMillis(seen_at.0 + 1));
        self.db
            .transaction("delete_source", move |tx| {
                let (id, entry) = (id.clone(), entry.clone());
                Box::pin(async move {
                    count_change(tx).await?;
                    let sql = "UPDATE sources SET enabled = 0, deleted_at = ?, updated_at = ? \
                               WHERE id = ? AND updated_at = ? AND deleted_at IS NULL";
                    let values = params![at, at, id.as_str(), seen_at];
                    if tx.execute(sql, values).await? == 0 {
                        tx.abandon();
                        return Ok(false);
                    }
                    for sql in [
                        "DELETE FROM source_secrets WHERE source_id = ?",
                        "DELETE FROM source_windows WHERE source_id = ?",
                        "DELETE FROM source_counts WHERE source_id = ?",
                    ] {
                        tx.execute(sql, params![id.as_str()]).await?;
                    }
                    audit::append(tx, &[entry]).await?;
                    Ok(true)
                })
            })
            .await
    }
}

/// Counts a change, and makes others wait until this one is committed. It is the first thing that a change does.
pub(super) async fn count_change(tx: &mut Tx) -> Result<(), DbError> {
    let sql = "INSERT INTO sources_revision (id, revision) VALUES (?, 1)".to_owned()
        + &tx.dialect().on_conflict_add(&["id"], &["revision"]);
    tx.execute(&sql, params![REVISION]).await.map(drop)
}

/// All sources and secrets. A source whose row cannot be read is left out, so that the others go on.
pub(super) async fn rows(tx: &mut Tx) -> Result<SourceRows, DbError> {
    // Read first: what is committed in between is seen, and looked for once more.
    let revision = revision(tx).await?;
    Ok(SourceRows {
        revision,
        sources: readable(tx).await?,
        secrets: super::source_secrets::all(tx).await?,
        digest_keys: source_digest_keys::all(tx).await?,
    })
}

async fn readable(tx: &mut Tx) -> Result<Vec<Source>, DbError> {
    let sql = format!("{SELECT} WHERE deleted_at IS NULL ORDER BY id LIMIT ?");
    let rows = tx.query(&sql, params![SOURCES_MAX]).await?;
    let read = |row: &Row| {
        let read = read_source(row);
        if let Err(error) = &read {
            tracing::error!(%error, "the row of a source cannot be read: it is as good as unknown");
        }
        read.ok()
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// Whether a source is still as it was at that time.
pub(super) async fn is_as_seen(tx: &mut Tx, id: &SourceId, seen_at: UnixMillis) -> Result<bool, DbError> {
    let sql = "SELECT id FROM sources WHERE id = ? AND updated_at = ? AND deleted_at IS NULL";
    Ok(tx.query_one(sql, params![id.as_str(), seen_at]).await?.is_some())
}

async fn revision(tx: &mut Tx) -> Result<i64, DbError> {
    let sql = "SELECT revision FROM sources_revision WHERE id = ?";
    let row = tx.query_one(sql, params![REVISION]).await?;
    row.map_or(Ok(0), |row| row.get("revision"))
}

async fn one(db: &Db, id: SourceId) -> Result<Option<Source>, DbError> {
    db.read("source", move |tx| {
        let id = id.clone();
        Box::pin(async move {
            let sql = format!("{SELECT} WHERE id = ? AND deleted_at IS NULL");
            let row = tx.query_one(&sql, params![id.as_str()]).await?;
            row.as_ref().map(read_source).transpose()
        })
    })
    .await
}

async fn keep(tx: &mut Tx, source: &Source) -> Result<(), DbError> {
    count_change(tx).await?;
    let skip = tx.dialect().skip_existing("id");
    insert(tx, source, &skip).await?;
    // Each change is later than the one before, and so another version for those who expect one.
    let later = "updated_at = CASE WHEN updated_at >= ? THEN updated_at + 1 ELSE ? END";
    let sql = format!(
        "UPDATE sources SET scheme = ?, max_skew_seconds = ?, folds = 1, property_ids = ?, allowed_networks = '[]', \
               rate_limit = NULL, silent_after_seconds = NULL, {later} \
               WHERE id = ? AND NOT (scheme = ? AND max_skew_seconds = ? AND folds = 1 AND property_ids = ? \
               AND allowed_networks = '[]' AND rate_limit IS NULL AND silent_after_seconds IS NULL)"
    );
    let scheme = scheme_text(&source.settings.scheme);
    let (skew, all) = (source.settings.max_skew_seconds, to_text(&Scope::All));
    let (id, now) = (source.id.as_str(), source.updated_at);
    let values = params![&scheme, skew, &all, now, now, id, &scheme, skew, &all];
    tx.execute(&sql, values).await?;
    let sql = format!(
        "UPDATE sources SET enabled = 1, deleted_at = NULL, {later} WHERE id = ? AND deleted_at IS NOT NULL"
    );
    tx.execute(&sql, params![now, now, id]).await?;
    // A row of the version before has no times.
    let sql = "UPDATE sources SET created_at = ?, updated_at = ? WHERE id = ? AND created_at = 0";
    let values = params![source.created_at, source.created_at, source.id.as_str()];
    tx.execute(sql, values).await.map(drop)
}

async fn create(
    tx: &mut Tx,
    source: &Source,
    digest_key: &SealedDigestKey,
    entry: AuditEntry,
) -> Result<Creation, DbError> {
    count_change(tx).await?;
    let sql = "SELECT id FROM sources WHERE id = ?";
    let taken = tx.query_one(sql, params![source.id.as_str()]).await?.is_some();
    let sql = "SELECT COUNT(*) AS n FROM sources WHERE deleted_at IS NULL";
    let row = tx.query_one(sql, Params::new()).await?;
    let is_full = row.map_or(Ok(0), |row| row.get::<i64>("n"))? >= SOURCES_MAX;
    if taken || is_full {
        tx.abandon();
        return Ok(if taken { Creation::Taken } else { Creation::TooMany });
    }
    insert(tx, source, "").await?;
    source_digest_keys::keep(tx, digest_key).await?;
    audit::append(tx, &[entry]).await?;
    Ok(Creation::Done)
}

async fn has_secrets(tx: &mut Tx, id: &SourceId, now: UnixMillis) -> Result<bool, DbError> {
    let sql = "SELECT id FROM source_secrets WHERE source_id = ? AND (valid_until IS NULL OR valid_until > ?) LIMIT 1";
    Ok(tx.query_one(sql, params![id.as_str(), now]).await?.is_some())
}

async fn insert(tx: &mut Tx, source: &Source, end: &str) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO sources (name, scheme, max_skew_seconds, on_invalid, folds, property_ids, allowed_networks, rate_limit, \
         silent_after_seconds, enabled, id, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?){end}"
    );
    let mut values = settings_params(&source.settings);
    values.extend(params![source.id.as_str(), source.created_at, source.updated_at]);
    tx.execute(&sql, values).await.map(drop)
}

/// In the order of the columns of an INSERT and an UPDATE.
fn settings_params(settings: &SourceSettings) -> Params {
    params![
        &settings.name,
        scheme_text(&settings.scheme),
        settings.max_skew_seconds,
        settings.on_invalid.into_str(),
        settings.folds,
        to_text(&settings.property_ids),
        to_text(&settings.allowed_networks),
        settings.rate_limit,
        settings.silent_after_seconds,
        settings.enabled,
    ]
}

/// A preset's name, or a definition as JSON.
fn scheme_text(scheme: &Choice) -> String {
    match scheme {
        Choice::Preset(preset) => preset.name().to_owned(),
        Choice::Custom(custom) => to_text(custom),
    }
}

fn read_scheme(row: &Row) -> Result<Choice, DbError> {
    let text: String = row.get("scheme")?;
    match text.parse() {
        Ok(preset) => Ok(Choice::Preset(preset)),
        Err(_) => serde_json::from_str(&text).map_err(|_| DbError::unreadable("scheme")),
    }
}

fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("settings are plain data")
}

fn read_source(row: &Row) -> Result<Source, DbError> {
    Ok(Source {
        id: db::read_id(row, "id")?,
        settings: SourceSettings {
            name: row.get("name")?,
            scheme: read_scheme(row)?,
            max_skew_seconds: row.get("max_skew_seconds")?,
            on_invalid: read_word(row, "on_invalid")?,
            folds: row.get("folds")?,
            property_ids: read_json(row, "property_ids")?,
            allowed_networks: read_json(row, "allowed_networks")?,
            rate_limit: row.get("rate_limit")?,
            silent_after_seconds: row.get("silent_after_seconds")?,
            enabled: row.get("enabled")?,
        },
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

fn read_word<T: std::str::FromStr>(row: &Row, column: &str) -> Result<T, DbError> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| DbError::unreadable(column))
}

fn read_json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T, DbError> {
    serde_json::from_str(&row.get::<String>(column)?).map_err(|_| DbError::unreadable(column))
}
