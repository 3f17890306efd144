//! The table `source_secrets`: what sources sign with, encrypted under the master key, each for its own row.
//!
//! A secret is valid once it is there, and no more at its `until`. While one replaces another both are valid: the overlap.

use super::{
    Store,
    sources::{Source, SourceRows, count_change, is_as_seen, rows},
};
use contract::{SecretId, SourceId, UnixMillis, secret::SECRETS_MAX};
use db::{DbError, Params, Row, Tx, params, read_id};
use kit::{
    audit::{self, AuditEntry},
    secrets::{Place, SealedColumn, sealed_row},
};
use std::sync::Arc;

/// The column of the ciphertexts.
pub const SEALED_SECRETS: SealedColumn = SealedColumn {
    table: "source_secrets",
    column: "sealed",
    owner: Some("source_id"),
};

const SELECT: &str =
    "SELECT id, source_id, n, sealed, valid_since, valid_until, last_used_at FROM source_secrets";

/// A secret as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSecret {
    /// Names it among all.
    pub id: SecretId,
    /// Whose it is.
    pub source: SourceId,
    /// Its number among those of its source, from 1; 0 for one that is to be made.
    pub n: u64,
    /// Encrypted for its row.
    pub sealed: Vec<u8>,
    /// From when on it is valid.
    pub since: UnixMillis,
    /// When it is valid no more; none: it has no end.
    pub until: Option<UnixMillis>,
    /// When it last signed what was taken in, to some seconds.
    pub last_used_at: Option<UnixMillis>,
}

/// What became of a secret that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It is there, under this number.
    Done(u64),
    /// The source is no more as it was seen.
    Overtaken,
    /// Another secret has the same key.
    NotUnique,
    /// [`SECRETS_MAX`] are valid already.
    TooMany,
}

/// What became of a secret that was to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has ended now.
    Done,
    /// It had, or there is none of that number.
    NoSecret,
    /// The source is no more as it was seen.
    Overtaken,
}

/// Whether any of these secrets has a certain key.
pub type HasKey = Arc<dyn Fn(&SourceRows) -> bool + Send + Sync>;

impl SourceSecret {
    /// What the secret of this id is bound to: its row, as one of its source.
    pub fn row(source: &SourceId, id: &SecretId) -> String {
        sealed_row(Some(source.as_str()), id.as_str())
    }

    /// Where a secret is sealed for.
    pub fn place(row: &str) -> Place<'_> {
        let SealedColumn { table, column, .. } = SEALED_SECRETS;
        Place { table, column, row }
    }

    /// Whether it has ended.
    pub fn has_ended(&self, now: UnixMillis) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Store {
    /// Makes a secret of a source that is still as it was seen, unless one has its key; the others of its source end at
    /// `others_until`, unless they do before. Those that have ended are removed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add_source_secret(
        &self,
        seen: &Source,
        secret: SourceSecret,
        has_key: HasKey,
        others_until: UnixMillis,
        entry: AuditEntry,
    ) -> Result<Rotation, DbError> {
        let seen_at = seen.updated_at;
        self.db
            .transaction("add_source_secret", move |tx| {
                let (secret, has_key, entry) = (secret.clone(), Arc::clone(&has_key), entry.clone());
                Box::pin(async move {
                    count_change(tx).await?;
                    if !is_as_seen(tx, &secret.source, seen_at).await? {
                        tx.abandon();
                        return Ok(Rotation::Overtaken);
                    }
                    if has_key(&rows(tx).await?) {
                        tx.abandon();
                        return Ok(Rotation::NotUnique);
                    }
                    add(tx, &secret, others_until, entry).await
                })
            })
            .await
    }

    /// The secrets of a source, the newest first, the ended ones too until the next is made.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn source_secrets(&self, source: &SourceId) -> Result<Vec<SourceSecret>, DbError> {
        let source = source.clone();
        self.reads
            .read("source_secrets", move |tx| {
                let source = source.clone();
                Box::pin(async move {
                    let sql = format!("{SELECT} WHERE source_id = ? ORDER BY n DESC");
                    let rows = tx.query(&sql, params![source.as_str()]).await?;
                    rows.iter().map(read_secret).collect()
                })
            })
            .await
    }

    /// Ends a secret now, of a source that is still as it was seen.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_source_secret(&self, seen: &Source, n: u64, entry: AuditEntry) -> Result<End, DbError> {
        let (source, seen_at) = (seen.id.clone(), seen.updated_at);
        self.db
            .transaction("end_source_secret", move |tx| {
                let (source, entry) = (source.clone(), entry.clone());
                Box::pin(async move {
                    count_change(tx).await?;
                    if !is_as_seen(tx, &source, seen_at).await? {
                        tx.abandon();
                        return Ok(End::Overtaken);
                    }
                    let sql = "UPDATE source_secrets SET valid_until = ? WHERE source_id = ? AND n = ? \
                               AND (valid_until IS NULL OR valid_until > ?)";
                    let values = params![entry.at, source.as_str(), n, entry.at];
                    if tx.execute(sql, values).await? == 0 {
                        tx.abandon();
                        return Ok(End::NoSecret);
                    }
                    audit::append(tx, &[entry]).await?;
                    Ok(End::Done)
                })
            })
            .await
    }

    /// Notes when secrets were last used.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note_secrets_used(&self, used: Arc<[(SecretId, UnixMillis)]>) -> Result<(), DbError> {
        self.db
            .transaction("note_secrets_used", move |tx| {
                let used = Arc::clone(&used);
                Box::pin(async move {
                    for (id, at) in used.iter() {
                        let sql = "UPDATE source_secrets SET last_used_at = ? WHERE id = ? \
                                   AND (last_used_at IS NULL OR last_used_at < ?)";
                        tx.execute(sql, params![*at, id.as_str(), *at]).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

/// All secrets.
pub(super) async fn all(tx: &mut Tx) -> Result<Vec<SourceSecret>, DbError> {
    let rows = tx
        .query(&format!("{SELECT} ORDER BY source_id, n DESC"), Params::new())
        .await?;
    rows.iter().map(read_secret).collect()
}

async fn add(
    tx: &mut Tx,
    secret: &SourceSecret,
    others_until: UnixMillis,
    mut entry: AuditEntry,
) -> Result<Rotation, DbError> {
    let (source, now) = (secret.source.as_str(), secret.since);
    let sql = "UPDATE sources SET secrets_made = secrets_made + 1 WHERE id = ?";
    tx.execute(sql, params![source]).await?;
    let sql = "SELECT secrets_made FROM sources WHERE id = ?";
    let row = tx.query_one(sql, params![source]).await?;
    let n: u64 = row
        .ok_or_else(|| DbError::unreadable("secrets_made"))?
        .get("secrets_made")?;
    let sql = "DELETE FROM source_secrets WHERE source_id = ? AND valid_until <= ?";
    tx.execute(sql, params![source, now]).await?;
    let sql = "UPDATE source_secrets SET valid_until = ? WHERE source_id = ? AND (valid_until IS NULL OR valid_until > ?)";
    tx.execute(sql, params![others_until, source, others_until])
        .await?;
    let sql = "SELECT COUNT(*) AS n FROM source_secrets WHERE source_id = ? AND valid_until > ?";
    let row = tx.query_one(sql, params![source, now]).await?;
    if row.map_or(Ok(0), |row| row.get::<u64>("n"))? >= SECRETS_MAX as u64 {
        tx.abandon();
        return Ok(Rotation::TooMany);
    }
    let sql = "INSERT INTO source_secrets (id, source_id, n, sealed, valid_since, valid_until) VALUES (?, ?, ?, ?, ?, NULL)";
    let values = params![secret.id.as_str(), source, n, secret.sealed.clone(), now];
    tx.execute(sql, values).await?;
    entry.changed = vec![format!("secrets/{n}")];
    audit::append(tx, &[entry]).await?;
    Ok(Rotation::Done(n))
}

fn read_secret(row: &Row) -> Result<SourceSecret, DbError> {
    Ok(SourceSecret {
        id: read_id(row, "id")?,
        source: read_id(row, "source_id")?,
        n: row.get("n")?,
        sealed: row.get("sealed")?,
        since: row.get("valid_since")?,
        until: row.get("valid_until")?,
        last_used_at: row.get("last_used_at")?,
    })
}
