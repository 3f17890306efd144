//! A value that is sealed in the tables at the first start. A master key that does not open it is not the one of these tables,
//! and the service does not start.

use super::{MasterKeys, Place};
use contract::Entropy;
use db::{Db, DbError, params};
use std::sync::Arc;

/// What is sealed.
const VALUE: &[u8] = b"guestwire";
/// The id of its row.
const ROW: &str = "check";

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The keys are those of other tables.
    #[error("MASTER_KEY: none of its keys is the one under which the secrets in this database are encrypted")]
    WrongKey,
    /// The database cannot be used.
    #[error("DATABASE_URL or DB_HOST: {0}")]
    Database(#[from] DbError),
}

/// Where the value stands.
pub(super) fn place() -> Place<'static> {
    Place {
        table: "master_key_check",
        column: "sealed",
        row: ROW,
    }
}

/// Whether there is a value yet: then a master key has sealed it, and maybe secrets.
///
/// # Errors
/// Those of the database.
pub async fn is_sealed(db: &Db) -> Result<bool, CheckError> {
    let row = db.read("is_sealed", |tx| {
        Box::pin(async move {
            let select = "SELECT id FROM master_key_check WHERE id = ?";
            tx.query_one(select, params![ROW]).await
        })
    });
    Ok(row.await?.is_some())
}

/// Opens the value, or seals it where there is none yet.
///
/// # Errors
/// `WrongKey` when it does not open; those of the database.
pub async fn check(db: &Db, keys: &MasterKeys, entropy: &dyn Entropy) -> Result<(), CheckError> {
    let sealed: Arc<[u8]> = keys.seal(place(), VALUE, entropy).into();
    let kept: Vec<u8> = db
        .transaction("check_master_key", move |tx| {
            let sealed = Arc::clone(&sealed);
            Box::pin(async move {
                let insert = "INSERT INTO master_key_check (id, sealed) VALUES (?, ?)";
                let insert = insert.to_owned() + &tx.dialect().skip_existing("id");
                tx.execute(&insert, params![ROW, sealed.to_vec()]).await?;
                let select = "SELECT sealed FROM master_key_check WHERE id = ?";
                let row = tx.query_one(select, params![ROW]).await?;
                row.ok_or_else(|| DbError::unreadable("sealed"))?.get("sealed")
            })
        })
        .await?;
    keys.open(place(), &kept)
        .map(drop)
        .map_err(|_| CheckError::WrongKey)
}
