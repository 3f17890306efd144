//! Seals every secret again under the first master key, row by row, while the service runs.
//!
//! A row that is sealed under the first key already is passed over, so a run that was ended is simply begun again. A secret that
//! is changed meanwhile was sealed under the first key, and stays.

use super::{MasterKeys, Place, check};
use contract::Entropy;
use db::{Db, DbError, params};
use std::fmt;

/// Rows of one step.
const STEP_ROWS: u32 = 100;

/// A column of sealed secrets, in a table whose primary key is `id`.
#[derive(Clone, Copy, Debug)]
pub struct SealedColumn {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The column with the id of the thing whose secret it is, to which the secret is bound too.
    pub owner: Option<&'static str>,
}

/// What a secret is bound to of its row: the row's id, and its owner's.
pub fn sealed_row(owner: Option<&str>, id: &str) -> String {
    // No id has a blank in it.
    owner.map_or(id.to_owned(), |owner| format!("{owner} {id}"))
}

/// What became of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Sealed again now.
    pub sealed: u64,
    /// That no key opens: they are left as they are.
    pub unopened: u64,
}

impl fmt::Display for Rewrapped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sealed, unopened } = self;
        write!(
            out,
            "{sealed} secrets encrypted again under the first key of MASTER_KEY, {unopened} not opened"
        )
    }
}

/// Seals the secrets of these columns, and the check value, under the first key.
///
/// # Errors
/// Those of the database; what was sealed before stays so.
pub async fn rewrap(
    db: &Db,
    keys: &MasterKeys,
    columns: &[SealedColumn],
    entropy: &dyn Entropy,
) -> Result<Rewrapped, DbError> {
    let own = check::place();
    let own = SealedColumn {
        table: own.table,
        column: own.column,
        owner: None,
    };
    let mut done = Rewrapped::default();
    for column in columns.iter().chain([&own]) {
        let mut after = String::new();
        while let Some(last) = step(db, keys, *column, &after, entropy, &mut done).await? {
            after = last;
        }
    }
    Ok(done)
}

/// Seals the next rows after an id, and returns the last of them.
async fn step(
    db: &Db,
    keys: &MasterKeys,
    SealedColumn { table, column, owner }: SealedColumn,
    after: &str,
    entropy: &dyn Entropy,
    done: &mut Rewrapped,
) -> Result<Option<String>, DbError> {
    let after = after.to_owned();
    let rows: Vec<(String, String, Vec<u8>)> = db
        .read("sealed_secrets", move |tx| {
            let after = after.clone();
            Box::pin(async move {
                let own = owner.unwrap_or("id");
                let sql = format!(
                    "SELECT id, {own} AS owner, {column} AS sealed FROM {table} WHERE id > ? ORDER BY id LIMIT ?"
                );
                let rows = tx.query(&sql, params![after, STEP_ROWS]).await?;
                rows.iter()
                    .map(|row| Ok((row.get("id")?, row.get("owner")?, row.get("sealed")?)))
                    .collect()
            })
        })
        .await?;
    let last = rows.last().map(|(id, ..)| id.clone());
    for (id, named, sealed) in rows {
        if keys.is_current(&sealed) {
            continue;
        }
        let row = sealed_row(owner.map(|_| named.as_str()), &id);
        let place = Place {
            table,
            column,
            row: &row,
        };
        let Ok(secret) = keys.open(place, &sealed) else {
            done.unopened += 1;
            continue;
        };
        let again = keys.seal(place, &secret, entropy);
        let written = db.transaction("rewrap_secret", move |tx| {
            let (id, sealed, again) = (id.clone(), sealed.clone(), again.clone());
            Box::pin(async move {
                let sql = format!("UPDATE {table} SET {column} = ? WHERE id = ? AND {column} = ?");
                tx.execute(&sql, params![again, id, sealed]).await
            })
        });
        done.sealed += written.await?;
    }
    Ok(last)
}
