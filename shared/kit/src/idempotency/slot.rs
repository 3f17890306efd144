//! The row of a key: written in the transaction of the change, found by a retry, removed when it has expired.

use super::{Answer, Key, shared::Shared};
use api::RequestContext;
use contract::Entropy;
use contract::{Problem, ProblemCode, UnixMillis};
use db::{BatchResult, DbError, Params, Row, Statement, Tx, params};
use http::StatusCode;
use sha2::{Digest, Sha256};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// How long an answer is kept.
const KEPT_MILLIS: i64 = 24 * 3600 * 1000;
/// The longest path that a key can belong to; the table's column is as wide.
const PATH_LEN_MAX: usize = 255;
/// Bytes of a fingerprint's salt.
const SALT_LEN: usize = 16;

/// What a key belongs to, and the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Operation {
    caller: String,
    method: String,
    path: String,
    key: Key,
}

impl Operation {
    pub(super) fn new(caller: &str, context: &RequestContext, key: Key) -> Result<Self, Problem> {
        if context.path.len() > PATH_LEN_MAX {
            return Err(Problem::new(ProblemCode::InvalidRequest).with_detail("the path is too long"));
        }
        let method = context.method.as_str().to_owned();
        Ok(Self {
            caller: caller.to_owned(),
            method,
            path: context.path.clone(),
            key,
        })
    }
}

/// A salt and the SHA-256 of it and the body: without a salt, the digest of personal data could be guessed.
#[derive(Clone, Debug)]
pub(super) struct Fingerprint(Vec<u8>);

impl Fingerprint {
    pub(super) fn new(body: &[u8], entropy: &dyn Entropy) -> Self {
        let mut salt = [0; SALT_LEN];
        entropy.fill(&mut salt);
        Self::salted(&salt, body)
    }

    fn salted(salt: &[u8], body: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(salt).chain_update(body).finalize();
        Self([salt, &digest[..]].concat())
    }

    pub(super) fn matches(&self, body: &[u8]) -> bool {
        let salt = self.0.get(..SALT_LEN).unwrap_or_default();
        Self::salted(salt, body).0 == self.0
    }
}

/// Stores the answer of a piece of work under its key. Clones are one slot, so that a transaction that runs again uses
/// it again.
#[derive(Clone, Debug)]
pub struct Slot(Option<Arc<Pending>>);

#[derive(Debug)]
struct Pending {
    operation: Operation,
    fingerprint: Fingerprint,
    now: UnixMillis,
    stored: AtomicBool,
    taken: AtomicBool,
}

impl Slot {
    pub(super) fn new(operation: Operation, fingerprint: Fingerprint, now: UnixMillis) -> Self {
        let (stored, taken) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Some(Arc::new(Pending {
            operation,
            fingerprint,
            now,
            stored,
            taken,
        })))
    }

    /// The slot of a request without a key: nothing is stored.
    pub fn without_key() -> Self {
        Self(None)
    }

    /// Writes the answer, in the transaction of the change that it describes. Call it first in the transaction: another
    /// replica then waits here, before it has changed anything else.
    ///
    /// # Errors
    /// `Duplicate` when the key is stored: the transaction must end with it. Others as the database's.
    pub async fn store(&self, tx: &mut Tx, answer: &Answer) -> Result<(), DbError> {
        self.run(tx, answer, Vec::new()).await.map(drop)
    }

    /// As [`store`](Self::store), for the answer to a request that changed nothing: all keys with that answer share one copy
    /// of its body.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub async fn share(&self, tx: &mut Tx, answer: &Answer) -> Result<(), DbError> {
        let Some(row) = &self.0 else {
            return Ok(());
        };
        let shared = Shared::of(answer);
        let digest = shared.as_ref().map(|shared| shared.digest.clone());
        let slot = row.statement(answer, None, digest);
        let copy = shared.map(|shared| shared.keep(tx.dialect(), row.expires_at()));
        let ran = row.run(tx, slot, copy.into_iter().collect()).await?;
        ran.all().map(drop)
    }

    /// Whether there is a key under which an answer is kept.
    pub fn is_keyed(&self) -> bool {
        self.0.is_some()
    }

    /// Runs the statements of a change after the one that stores its answer, all of them together; returns their
    /// results without that one's.
    ///
    /// # Errors
    /// As [`store`](Self::store); errors of the statements themselves are in the `BatchResult`.
    pub async fn run(
        &self,
        tx: &mut Tx,
        answer: &Answer,
        statements: Vec<Statement>,
    ) -> Result<BatchResult, DbError> {
        let Some(row) = &self.0 else {
            return Ok(tx.run(&statements).await);
        };
        let slot = row.statement(answer, answer.body.clone(), None);
        row.run(tx, slot, statements).await
    }

    pub(super) fn is_stored(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|row| row.stored.load(Ordering::Acquire))
    }

    pub(super) fn is_taken(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|row| row.taken.load(Ordering::Acquire))
    }
}

impl Pending {
    /// Runs the statement that takes the slot and the others after it; returns their results without that one's.
    async fn run(
        &self,
        tx: &mut Tx,
        slot: Statement,
        mut statements: Vec<Statement>,
    ) -> Result<BatchResult, DbError> {
        // An earlier run of this transaction may have found the key taken by a request that has failed since.
        self.taken.store(false, Ordering::Release);
        statements.insert(0, slot);
        let mut ran = tx.run(&statements).await;
        let taken = |ran: &BatchResult| ran.outcomes.is_empty() && ran.error == Some(DbError::Duplicate);
        if taken(&ran) && self.free_expired(tx).await? {
            ran = tx.run(&statements).await;
        }
        if ran.outcomes.is_empty() {
            let error = ran.error.unwrap_or(DbError::Unavailable);
            if matches!(error, DbError::Duplicate | DbError::LockTimeout) {
                self.taken.store(true, Ordering::Release);
            }
            return Err(error);
        }
        self.stored.store(true, Ordering::Release);
        ran.outcomes.remove(0);
        Ok(ran)
    }

    fn expires_at(&self) -> UnixMillis {
        self.now.plus_millis(KEPT_MILLIS)
    }

    /// The row of the slot: with a body of its own, or with the digest of one that is shared.
    fn statement(&self, answer: &Answer, body: Option<Vec<u8>>, digest: Option<Vec<u8>>) -> Statement {
        let (kind, id) = answer.entity.clone().unzip();
        let mut values = self.key();
        values.extend(params![
            self.fingerprint.0.clone(),
            u32::from(answer.status.as_u16()),
            &answer.location,
            &answer.etag,
            kind,
            id,
            &answer.part,
            body,
            digest,
            self.now,
            self.expires_at()
        ]);
        Statement::change(
            "INSERT INTO idempotency (principal, method, route, idempotency_key, fingerprint, status, location, etag,
                 entity_kind, entity_id, scope_part, body, answer_digest, created_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
    }

    /// Removes an answer that has expired; true if there was one.
    async fn free_expired(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let mut values = self.key();
        values.extend(params![self.now]);
        let removed = tx
            .execute(
                "DELETE FROM idempotency
                 WHERE principal = ? AND method = ? AND route = ? AND idempotency_key = ? AND expires_at <= ?",
                values,
            )
            .await?;
        Ok(removed > 0)
    }

    fn key(&self) -> Params {
        let Operation {
            caller,
            method,
            path,
            key,
        } = &self.operation;
        params![caller, method, path, key.as_str()]
    }
}

/// A row as it was found.
pub(super) struct Stored {
    pub(super) fingerprint: Fingerprint,
    pub(super) answer: Answer,
    expires_at: UnixMillis,
}

impl Stored {
    pub(super) fn is_expired(&self, now: UnixMillis) -> bool {
        self.expires_at <= now
    }

    fn read(row: &Row) -> Result<Self, DbError> {
        let status: Option<u32> = row.get("status")?;
        let status = status.and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
        let no_status = || DbError::Decode {
            column: "status".to_owned(),
            expected: "HTTP status",
        };
        Ok(Self {
            fingerprint: Fingerprint(row.get("fingerprint")?),
            answer: Answer {
                status: status.ok_or_else(no_status)?,
                location: row.get("location")?,
                etag: row.get("etag")?,
                body: row.get("body")?,
                entity: None,
                part: row.get("scope_part")?,
            },
            expires_at: row.get("expires_at")?,
        })
    }
}

pub(super) async fn find(tx: &mut Tx, operation: Operation) -> Result<Option<Stored>, DbError> {
    let Operation {
        caller,
        method,
        path,
        key,
    } = &operation;
    let row = tx
        .query_one(
            "SELECT i.fingerprint, i.status, i.location, i.etag, i.scope_part, COALESCE(i.body, a.body) AS body,
                 i.expires_at
             FROM idempotency i LEFT JOIN idempotency_answers a ON a.digest = i.answer_digest
             WHERE i.principal = ? AND i.method = ? AND i.route = ? AND i.idempotency_key = ?",
            params![caller, method, path, key.as_str()],
        )
        .await?;
    row.as_ref().map(Stored::read).transpose()
}

/// Removes the oldest expired rows; more than `rows` only where several expire in the same millisecond.
pub(super) async fn purge(tx: &mut Tx, now: UnixMillis, rows: u32) -> Result<u64, DbError> {
    let last = tx
        .query_one(
            "SELECT expires_at FROM idempotency WHERE expires_at <= ? ORDER BY expires_at LIMIT 1 OFFSET ?",
            params![now, rows.saturating_sub(1)],
        )
        .await?;
    let until: UnixMillis = last.map_or(Ok(now), |row| row.get("expires_at"))?;
    tx.execute("DELETE FROM idempotency WHERE expires_at <= ?", params![until])
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::SeededEntropy;

    #[test]
    fn a_fingerprint_knows_its_body_and_shows_nothing_of_it() {
        let entropy = SeededEntropy::new(1);
        let (one, two) = (
            Fingerprint::new(b"body", &entropy),
            Fingerprint::new(b"body", &entropy),
        );
        assert_ne!(one.0, two.0, "two rows of one body look different");
        assert!(one.matches(b"body") && two.matches(b"body"));
        assert!(!one.matches(b"bodY") && !one.matches(b""));
        assert!(
            !Fingerprint(Vec::new()).matches(b""),
            "a fingerprint that was wiped matches nothing"
        );
    }
}
