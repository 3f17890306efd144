//! Answers that several keys share: each is stored once, however many keys name it.
//!
//! A request that changes nothing is answered with the current state, under as many new keys as clients send. So the
//! body of such an answer is stored once, under its digest. The row expires after the last key that names it: each new
//! key raises its expiry, in the key's own transaction and with the row locked, so the purge never removes a row that a
//! key still names.

use super::Answer;
use contract::UnixMillis;
use db::{DbError, Dialect, Statement, Tx, params};
use sha2::{Digest, Sha256};

/// Expiries are rounded up to it, so that keys of one hour do not change the row.
const EXPIRY_STEP_MILLIS: i64 = 3600 * 1000;

/// An answer's body, and the digest by which it is found.
pub(super) struct Shared<'a> {
    pub(super) digest: Vec<u8>,
    entity: Option<&'a (String, String)>,
    body: &'a [u8],
}

impl<'a> Shared<'a> {
    /// The body of an answer; None when it has none.
    pub(super) fn of(answer: &'a Answer) -> Option<Self> {
        let body = answer.body.as_deref()?;
        let mut digest = Sha256::new();
        if let Some((kind, id)) = &answer.entity {
            // Neither has a zero byte in it.
            digest.update([kind.as_bytes(), &[0], id.as_bytes()].concat());
        }
        digest.update([0]);
        digest.update(body);
        Some(Self {
            digest: digest.finalize().to_vec(),
            entity: answer.entity.as_ref(),
            body,
        })
    }

    /// Keeps it for a key that expires at `expires_at`.
    pub(super) fn keep(self, dialect: Dialect, expires_at: UnixMillis) -> Statement {
        let until = UnixMillis((expires_at.0 / EXPIRY_STEP_MILLIS + 1) * EXPIRY_STEP_MILLIS);
        let (kind, id) = self.entity.cloned().unzip();
        let raise = dialect.on_conflict_raise(&["digest"], "expires_at");
        Statement::change(
            format!(
                "INSERT INTO idempotency_answers (digest, entity_kind, entity_id, expires_at, body)
                 VALUES (?, ?, ?, ?, ?){raise}"
            ),
            params![self.digest, kind, id, until, self.body],
        )
    }
}

/// Removes the oldest of those that no key names any more; more than `rows` only where several expire together.
pub(super) async fn purge(tx: &mut Tx, now: UnixMillis, rows: u32) -> Result<u64, DbError> {
    let last = tx
        .query_one(
            "SELECT expires_at FROM idempotency_answers WHERE expires_at <= ? ORDER BY expires_at LIMIT 1 OFFSET ?",
            params![now, rows.saturating_sub(1)],
        )
        .await?;
    let until: UnixMillis = last.map_or(Ok(now), |row| row.get("expires_at"))?;
    tx.execute(
        "DELETE FROM idempotency_answers WHERE expires_at <= ?",
        params![until],
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a16_answers_are_one_when_they_show_the_same_of_the_same_thing() {
        let digest = |kind: &str, id: &str, view: &str| {
            let answer = Answer::ok(1, view).about(kind, id);
            Shared::of(&answer).unwrap().digest
        };
        let one = digest("guest", "gst_1", "x");
        assert_eq!(one, digest("guest", "gst_1", "x"));
        for other in [
            digest("guest", "gst_1", "y"),
            digest("guest", "gst_2", "x"),
            digest("guestg", "st_1", "x"),
            Shared::of(&Answer::ok(1, "x")).unwrap().digest,
        ] {
            assert_ne!(one, other);
        }
        assert!(Shared::of(&Answer::no_content()).is_none());
    }
}
