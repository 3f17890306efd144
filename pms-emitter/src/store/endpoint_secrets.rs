//! The table `endpoint_secrets`: what endpoints are signed with, encrypted under the master key, each for its own row.
//!
//! A secret is valid once it is there, and no more at its `until`. While one replaces another both are valid, and both sign.

use super::{Store, notices, webhooks::Endpoint};
use crate::domain::notice::Notice;
use contract::{EventId, SecretId, UnixMillis, id::EndpointId, secret::SECRETS_MAX};
use db::{DbError, InList, Row, Statement, Tx, params, read_id};
use kit::{
    audit::{self, AuditEntry},
    secrets::{Place, SealedColumn, sealed_row},
};

/// The column of the ciphertexts.
pub const SEALED_SECRETS: SealedColumn = SealedColumn {
    table: "endpoint_secrets",
    column: "sealed",
    owner: Some("endpoint_id"),
};

/// A secret that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSecret {
    /// Names it among all.
    pub id: SecretId,
    /// Encrypted for its row.
    pub sealed: Vec<u8>,
    /// From when on it is valid.
    pub since: UnixMillis,
}

/// A secret as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSecret {
    /// Names it among all.
    pub id: SecretId,
    /// Its number among those of its endpoint, from 1.
    pub n: u64,
    /// Encrypted for its row.
    pub sealed: Vec<u8>,
    /// From when on it is valid.
    pub since: UnixMillis,
    /// When it is valid no more; none: it has no end.
    pub until: Option<UnixMillis>,
}

/// A change of the secrets of an endpoint that was seen at a version.
#[derive(Clone, Debug)]
pub struct SecretChange {
    /// Which endpoint, as it was seen.
    pub seen: Endpoint,
    /// What becomes of its secrets.
    pub what: WhatOfSecrets,
    /// When.
    pub at: UnixMillis,
    /// What the audit log says; the secret's number is added.
    pub entry: AuditEntry,
    /// The event that says that there is another secret.
    pub event: EventId,
}

/// What becomes of the secrets of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhatOfSecrets {
    /// One more, and the others end at this instant, unless they do before.
    Rotated(NewSecret, UnixMillis),
    /// The one of this number ends now.
    Ended(u64),
}

/// What became of the secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretsChanged {
    /// It is so now: the number of the secret that came, or ended.
    Changed(u64),
    /// The endpoint is no more as it was seen.
    Overtaken,
    /// There is none of that number that is valid.
    NoSecret,
    /// It is the only one that is valid: nothing could be signed without it.
    TheLast,
    /// [`SECRETS_MAX`] are valid already.
    TooMany,
}

/// What the secret of this id is bound to: its row, as one of its endpoint.
pub fn secret_row(endpoint: &EndpointId, id: &SecretId) -> String {
    sealed_row(Some(endpoint.as_str()), id.as_str())
}

/// Where a secret is sealed for.
pub fn secret_place(row: &str) -> Place<'_> {
    Place {
        table: SEALED_SECRETS.table,
        column: SEALED_SECRETS.column,
        row,
    }
}

impl EndpointSecret {
    /// Whether it has ended.
    pub fn has_ended(&self, now: UnixMillis) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Store {
    /// The secrets of an endpoint, the newest first, the ended ones too until the next is made.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn endpoint_secrets(&self, endpoint: &EndpointId) -> Result<Vec<EndpointSecret>, DbError> {
        let endpoint = endpoint.clone();
        let read = self.reads.read("endpoint_secrets", move |tx| {
            let endpoint = endpoint.clone();
            Box::pin(async move {
                let answer = tx
                    .run(&[of_endpoints(&InList::of([endpoint.as_str()]))])
                    .await
                    .all()?;
                answer[0].rows.iter().map(read_secret).collect()
            })
        });
        read.await
    }

    /// Changes the secrets of an endpoint that is still as it was seen, and counts its version up.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn change_secrets(&self, change: SecretChange) -> Result<SecretsChanged, DbError> {
        let (id, version) = (change.seen.id.clone(), change.seen.version + 1);
        let changed = self
            .transaction(
                "change_secrets",
                change,
                |tx, change| Box::pin(apply(tx, change)),
                |tx, change| Box::pin(find_applied(tx, change)),
            )
            .await;
        if matches!(changed, Ok(SecretsChanged::Changed(_))) {
            self.versions.note(&id, version);
        }
        changed
    }
}

/// Asks for the secrets of endpoints, the newest of each first.
pub(super) fn of_endpoints(endpoints: &InList) -> Statement {
    let sql = format!(
        "SELECT endpoint_id, id, n, sealed, valid_since, valid_until FROM endpoint_secrets
         WHERE endpoint_id IN {endpoints} ORDER BY endpoint_id, n DESC"
    );
    Statement::query(sql, endpoints.clone().into_params())
}

/// The secrets of an endpoint that has none yet, the newest first.
pub(super) async fn add_all(
    tx: &mut Tx,
    endpoint: &EndpointId,
    secrets: &[NewSecret],
) -> Result<(), DbError> {
    let counted = "UPDATE endpoints SET secrets_made = ? WHERE id = ?";
    tx.execute(counted, params![secrets.len(), endpoint.as_str()])
        .await?;
    for (n, secret) in (1..).zip(secrets.iter().rev()) {
        insert(tx, endpoint, secret, n).await?;
    }
    Ok(())
}

/// Removes the secrets of an endpoint.
pub(super) async fn remove_all(tx: &mut Tx, endpoint: &EndpointId) -> Result<(), DbError> {
    let sql = "DELETE FROM endpoint_secrets WHERE endpoint_id = ?";
    tx.execute(sql, params![endpoint.as_str()]).await.map(drop)
}

async fn apply(tx: &mut Tx, change: &SecretChange) -> Result<SecretsChanged, DbError> {
    let SecretChange {
        seen,
        what,
        at,
        entry,
        ..
    } = change;
    let made = u64::from(matches!(what, WhatOfSecrets::Rotated(..)));
    let sql = "UPDATE endpoints SET version = version + 1, secrets_made = secrets_made + ?, updated_at = ?
               WHERE id = ? AND version = ? AND deleted_at IS NULL";
    let values = params![made, *at, seen.id.as_str(), seen.version];
    if tx.execute(sql, values).await? == 0 {
        tx.abandon();
        return Ok(SecretsChanged::Overtaken);
    }
    let changed = match what {
        WhatOfSecrets::Rotated(secret, others_until) => {
            rotate(tx, &seen.id, secret, *others_until, *at).await?
        }
        WhatOfSecrets::Ended(n) => end(tx, &seen.id, *n, *at).await?,
    };
    let SecretsChanged::Changed(n) = changed else {
        tx.abandon();
        return Ok(changed);
    };
    let entry = AuditEntry {
        changed: vec![format!("secrets/{n}")],
        ..entry.clone()
    };
    audit::append(tx, &[entry]).await?;
    if matches!(what, WhatOfSecrets::Rotated(..)) {
        let ids = std::slice::from_ref(&change.event);
        notices::append(tx, &seen.id, &[Notice::SecretRotated], ids, *at).await?;
    }
    Ok(changed)
}

async fn rotate(
    tx: &mut Tx,
    endpoint: &EndpointId,
    secret: &NewSecret,
    others_until: UnixMillis,
    now: UnixMillis,
) -> Result<SecretsChanged, DbError> {
    let id = endpoint.as_str();
    let sql = "SELECT secrets_made FROM endpoints WHERE id = ?";
    let row = tx.query_one(sql, params![id]).await?;
    let n: u64 = row
        .ok_or_else(|| DbError::unreadable("secrets_made"))?
        .get("secrets_made")?;
    let sql = "DELETE FROM endpoint_secrets WHERE endpoint_id = ? AND valid_until <= ?";
    tx.execute(sql, params![id, now]).await?;
    let sql = "UPDATE endpoint_secrets SET valid_until = ?
               WHERE endpoint_id = ? AND (valid_until IS NULL OR valid_until > ?)";
    tx.execute(sql, params![others_until, id, others_until]).await?;
    if valid(tx, id, now).await?.len() >= SECRETS_MAX {
        return Ok(SecretsChanged::TooMany);
    }
    insert(tx, endpoint, secret, n).await?;
    Ok(SecretsChanged::Changed(n))
}

async fn end(tx: &mut Tx, endpoint: &EndpointId, n: u64, now: UnixMillis) -> Result<SecretsChanged, DbError> {
    let valid = valid(tx, endpoint.as_str(), now).await?;
    if !valid.contains(&n) {
        return Ok(SecretsChanged::NoSecret);
    }
    if valid.len() == 1 {
        return Ok(SecretsChanged::TheLast);
    }
    let sql = "UPDATE endpoint_secrets SET valid_until = ? WHERE endpoint_id = ? AND n = ?";
    tx.execute(sql, params![now, endpoint.as_str(), n]).await?;
    Ok(SecretsChanged::Changed(n))
}

/// The numbers of the secrets that are valid.
async fn valid(tx: &mut Tx, endpoint: &str, now: UnixMillis) -> Result<Vec<u64>, DbError> {
    let sql =
        "SELECT n FROM endpoint_secrets WHERE endpoint_id = ? AND (valid_until IS NULL OR valid_until > ?)";
    let rows = tx.query(sql, params![endpoint, now]).await?;
    rows.iter().map(|row| row.get("n")).collect()
}

/// After an unknown commit: whether the endpoint has the next version, of this request.
async fn find_applied(tx: &mut Tx, change: &SecretChange) -> Result<Option<SecretsChanged>, DbError> {
    let sql = "SELECT secrets_made FROM endpoints WHERE id = ? AND version = ? AND updated_at = ?";
    let values = params![change.seen.id.as_str(), change.seen.version + 1, change.at];
    let row = tx.query_one(sql, values).await?;
    let made: Option<u64> = row.map(|row| row.get("secrets_made")).transpose()?;
    Ok(made.map(|made| match change.what {
        WhatOfSecrets::Rotated(..) => SecretsChanged::Changed(made),
        WhatOfSecrets::Ended(n) => SecretsChanged::Changed(n),
    }))
}

async fn insert(tx: &mut Tx, endpoint: &EndpointId, secret: &NewSecret, n: u64) -> Result<(), DbError> {
    let sql = "INSERT INTO endpoint_secrets (id, endpoint_id, n, sealed, valid_since) VALUES (?, ?, ?, ?, ?)";
    let values = params![
        secret.id.as_str(),
        endpoint.as_str(),
        n,
        secret.sealed.clone(),
        secret.since
    ];
    tx.execute(sql, values).await.map(drop)
}

/// A secret of a row of [`of_endpoint`].
pub(super) fn read_secret(row: &Row) -> Result<EndpointSecret, DbError> {
    Ok(EndpointSecret {
        id: read_id(row, "id")?,
        n: row.get("n")?,
        sealed: row.get("sealed")?,
        since: row.get("valid_since")?,
        until: row.get("valid_until")?,
    })
}
