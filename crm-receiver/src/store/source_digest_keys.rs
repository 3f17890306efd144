//! The table `source_digest_keys`: of each source the key for the digests of bodies without an id, encrypted for its row. It
//! never changes and is never removed: a repeat would be new.

use super::Store;
use contract::{Entropy, SourceId, scheme::DigestKey};
use db::{DbError, Params, Row, Tx, params, read_id};
use kit::secrets::{MasterKeys, Place, SealedColumn};
use std::sync::Arc;

/// The column of the ciphertexts.
pub const SEALED_DIGEST_KEYS: SealedColumn = SealedColumn {
    table: "source_digest_keys",
    column: "sealed",
    owner: None,
};

/// A digest key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedDigestKey {
    /// Whose it is.
    pub source: SourceId,
    sealed: Vec<u8>,
}

impl SealedDigestKey {
    /// A new one.
    pub fn random(source: &SourceId, master_keys: &MasterKeys, entropy: &dyn Entropy) -> Self {
        let key = DigestKey::random(entropy);
        Self {
            sealed: master_keys.seal(place(source), key.bytes(), entropy),
            source: source.clone(),
        }
    }

    /// The key, if any of the master keys opens it for its source.
    pub fn open(&self, master_keys: &MasterKeys) -> Option<DigestKey> {
        let bytes = master_keys.open(place(&self.source), &self.sealed).ok()?;
        DigestKey::from_bytes(&bytes)
    }
}

fn place(source: &SourceId) -> Place<'_> {
    let SealedColumn { table, column, .. } = SEALED_DIGEST_KEYS;
    let row = source.as_str();
    Place { table, column, row }
}

impl Store {
    /// Keeps these keys for the sources that have none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn keep_digest_keys(&self, keys: Vec<SealedDigestKey>) -> Result<(), DbError> {
        let keys: Arc<[_]> = keys.into();
        self.db
            .transaction("keep_digest_keys", move |tx| {
                let keys = Arc::clone(&keys);
                Box::pin(async move {
                    for key in keys.iter() {
                        keep(tx, key).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

/// All digest keys.
pub(super) async fn all(tx: &mut Tx) -> Result<Vec<SealedDigestKey>, DbError> {
    let sql = "SELECT id, sealed FROM source_digest_keys WHERE id IN (SELECT id FROM sources WHERE deleted_at IS NULL)";
    let rows = tx.query(sql, Params::new()).await?;
    rows.iter().map(read).collect()
}

/// Keeps a key unless there is one.
pub(super) async fn keep(tx: &mut Tx, key: &SealedDigestKey) -> Result<(), DbError> {
    let skip = tx.dialect().skip_existing("id");
    let sql = format!("INSERT INTO source_digest_keys (id, sealed) VALUES (?, ?){skip}");
    let values = params![key.source.as_str(), key.sealed.clone()];
    tx.execute(&sql, values).await.map(drop)
}

fn read(row: &Row) -> Result<SealedDigestKey, DbError> {
    Ok(SealedDigestKey {
        source: read_id(row, "id")?,
        sealed: row.get("sealed")?,
    })
}
