//! The table `api_keys`. A list of keys is short, so it is read whole.

use super::key::{ApiKey, KeyDigest, KeySettings};
use crate::audit::{self, AuditEntry};
use contract::{KeyId, UnixMillis};
use db::{Db, DbError, Params, Row, Tx, params, read_id};
use serde::{Serialize, de::DeserializeOwned};

/// Keys that are not deleted, at most.
pub const KEYS_MAX: i64 = 1_000;

const SELECT: &str = "SELECT id, digest, hint, name, permissions, scope, allowed_networks, expires_at, active, rate_limit, \
                      rate_window, created_by, created_at, updated_at, last_used_at, usage_count FROM api_keys";

/// Finds a key if there ever was one.
const ANY: &str = "SELECT id FROM api_keys LIMIT 1";
/// The row that is locked while a key is made.
const CREATING: &str = "api-keys";

/// Reads and writes keys.
#[derive(Clone, Debug)]
pub(super) struct KeyStore {
    db: Db,
    reads: Db,
    /// For keys that this process does not know, and for those that it does: who tries many has only the former wait.
    finds: Db,
    finds_again: Db,
}

/// What became of a key that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is kept.
    Yes,
    /// There are [`KEYS_MAX`] already.
    TooMany,
    /// It was to be the first, and is not.
    NotFirst,
}

impl KeyStore {
    pub(super) fn new(db: &Db) -> Self {
        Self {
            db: db.clone(),
            reads: db.for_reads(),
            finds: db.for_reads(),
            finds_again: db.for_reads(),
        }
    }

    /// Keeps a new key. One of a caller without a key `is_first`: it is kept only if there never was one.
    pub(super) async fn create(
        &self,
        key: ApiKey,
        entry: AuditEntry,
        is_first: bool,
    ) -> Result<Kept, DbError> {
        self.db
            .transaction("create_api_key", move |tx| {
                let (key, entry) = (key.clone(), entry.clone());
                Box::pin(async move { create(tx, &key, &entry, is_first).await })
            })
            .await
    }

    /// The key with this digest, valid or not, which this process does not know.
    pub(super) async fn find(&self, digest: KeyDigest) -> Result<Option<ApiKey>, DbError> {
        find(&self.finds, digest).await
    }

    /// The key with this digest, which this process knows.
    pub(super) async fn find_again(&self, digest: KeyDigest) -> Result<Option<ApiKey>, DbError> {
        find(&self.finds_again, digest).await
    }

    /// The key with this id.
    pub(super) async fn show(&self, id: &KeyId) -> Result<Option<ApiKey>, DbError> {
        let sql = format!("{SELECT} WHERE id = ? AND deleted_at IS NULL");
        one(&self.reads, "api_key", sql, params![id.as_str()]).await
    }

    /// Every key, the newest first.
    pub(super) async fn list(&self) -> Result<Vec<ApiKey>, DbError> {
        self.reads
            .read("api_keys", |tx| {
                Box::pin(async move {
                    let sql = format!("{SELECT} WHERE deleted_at IS NULL ORDER BY created_at DESC, id DESC");
                    tx.query(&sql, Params::new())
                        .await?
                        .iter()
                        .map(read_key)
                        .collect()
                })
            })
            .await
    }

    /// Writes other settings for a key that is still as it was seen, and returns it; None when it is not.
    pub(super) async fn change(
        &self,
        seen: &ApiKey,
        settings: KeySettings,
        entry: AuditEntry,
    ) -> Result<Option<ApiKey>, DbError> {
        let changed = ApiKey {
            settings,
            // Later than what was seen, so that each change is another version.
            updated_at: entry.at.max(UnixMillis(seen.updated_at.0 + 1)),
            ..seen.clone()
        };
        let (written, seen_at) = (changed.clone(), seen.updated_at);
        let sql = "UPDATE api_keys SET name = ?, permissions = ?, scope = ?, allowed_networks = ?, expires_at = ?, active = ?, \
                   rate_limit = ?, rate_window = ?, updated_at = ? WHERE id = ? AND updated_at = ? AND deleted_at IS NULL";
        let is_written = self
            .db
            .transaction("change_api_key", move |tx| {
                let mut values = settings_params(&written.settings);
                values.extend(params![written.updated_at, written.id.as_str(), seen_at]);
                let entry = entry.clone();
                Box::pin(async move {
                    let is_written = tx.execute(sql, values).await? == 1;
                    if is_written {
                        audit::append(tx, &[entry]).await?;
                    }
                    Ok(is_written)
                })
            })
            .await?;
        Ok(is_written.then_some(changed))
    }

    /// Ends a key for good that is still as it was seen; false when it is not.
    pub(super) async fn delete(&self, seen: &ApiKey, entry: AuditEntry) -> Result<bool, DbError> {
        let (id, seen_at) = (seen.id.to_string(), seen.updated_at);
        self.db
            .transaction("delete_api_key", move |tx| {
                let (id, entry) = (id.clone(), entry.clone());
                Box::pin(async move {
                    let sql = "UPDATE api_keys SET active = 0, deleted_at = ? \
                               WHERE id = ? AND updated_at = ? AND deleted_at IS NULL";
                    if tx.execute(sql, params![entry.at, &id, seen_at]).await? == 0 {
                        return Ok(false);
                    }
                    for table in ["api_key_windows", "api_key_usage"] {
                        let sql = format!("DELETE FROM {table} WHERE key_id = ?");
                        tx.execute(&sql, params![&id]).await?;
                    }
                    audit::append(tx, &[entry]).await?;
                    Ok(true)
                })
            })
            .await
    }

    /// Whether there was ever a key.
    pub(super) async fn was_ever_one(&self) -> Result<bool, DbError> {
        self.is_any(ANY, Params::new()).await
    }

    /// Whether there is a key that can be used now.
    pub(super) async fn is_one_usable(&self, now: UnixMillis) -> Result<bool, DbError> {
        let sql = "SELECT id FROM api_keys WHERE active = 1 AND deleted_at IS NULL \
                   AND (expires_at IS NULL OR expires_at > ?) LIMIT 1";
        self.is_any(sql, params![now]).await
    }

    async fn is_any(&self, sql: &'static str, params: Params) -> Result<bool, DbError> {
        self.reads
            .read("any_api_key", move |tx| {
                let params = params.clone();
                Box::pin(async move { Ok(tx.query_one(sql, params).await?.is_some()) })
            })
            .await
    }
}

async fn find(db: &Db, digest: KeyDigest) -> Result<Option<ApiKey>, DbError> {
    let sql = format!("{SELECT} WHERE digest = ? AND deleted_at IS NULL");
    one(db, "api_key_by_digest", sql, params![digest]).await
}

async fn one(db: &Db, name: &'static str, sql: String, params: Params) -> Result<Option<ApiKey>, DbError> {
    db.read(name, move |tx| {
        let (sql, params) = (sql.clone(), params.clone());
        Box::pin(async move {
            let row = tx.query_one(&sql, params).await?;
            row.as_ref().map(read_key).transpose()
        })
    })
    .await
}

async fn create(tx: &mut Tx, key: &ApiKey, entry: &AuditEntry, is_first: bool) -> Result<Kept, DbError> {
    // One after the other: what is counted below stands until the commit. The row is no lease, only what they all lock.
    let skip = tx.dialect().skip_existing("name");
    let lock = format!("INSERT INTO leases (name, epoch, fences) VALUES (?, 0, 0){skip}");
    tx.execute(&lock, params![CREATING]).await?;
    let lock = "UPDATE leases SET fences = fences + 1 WHERE name = ?";
    tx.execute(lock, params![CREATING]).await?;
    if is_first && tx.query_one(ANY, Params::new()).await?.is_some() {
        return Ok(Kept::NotFirst);
    }
    let count = "SELECT COUNT(*) AS n FROM api_keys WHERE deleted_at IS NULL";
    let row = tx.query_one(count, Params::new()).await?;
    if row.map_or(Ok(0), |row| row.get::<i64>("n"))? >= KEYS_MAX {
        return Ok(Kept::TooMany);
    }
    let mut values = settings_params(&key.settings);
    values.extend(params![
        key.id.as_str(),
        key.digest,
        &key.hint,
        &key.created_by,
        key.created_at,
        key.updated_at
    ]);
    tx.execute(
        "INSERT INTO api_keys (name, permissions, scope, allowed_networks, expires_at, active, rate_limit, rate_window, id, \
         digest, hint, created_by, created_at, updated_at, usage_count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        values,
    )
    .await?;
    audit::append(tx, std::slice::from_ref(entry)).await?;
    Ok(Kept::Yes)
}

/// In the order of the columns of an INSERT and an UPDATE.
fn settings_params(settings: &KeySettings) -> Params {
    params![
        &settings.name,
        to_text(&settings.permissions),
        to_text(&settings.scope),
        to_text(&settings.allowed_networks),
        settings.expires_at,
        settings.active,
        settings.rate_limit,
        settings.rate_window,
    ]
}

fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("settings are plain data")
}

fn read_key(row: &Row) -> Result<ApiKey, DbError> {
    let digest: Vec<u8> = row.get("digest")?;
    Ok(ApiKey {
        id: read_id(row, "id")?,
        hint: row.get("hint")?,
        settings: KeySettings {
            name: row.get("name")?,
            permissions: read_json(row, "permissions")?,
            scope: read_json(row, "scope")?,
            expires_at: row.get("expires_at")?,
            active: row.get("active")?,
            rate_limit: row.get("rate_limit")?,
            rate_window: row.get("rate_window")?,
            allowed_networks: read_json(row, "allowed_networks")?,
        },
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        last_used_at: row.get("last_used_at")?,
        usage_count: row.get("usage_count")?,
        digest: digest.try_into().map_err(|_| DbError::unreadable("digest"))?,
    })
}

fn read_json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T, DbError> {
    serde_json::from_str(&row.get::<String>(column)?).map_err(|_| DbError::unreadable(column))
}
