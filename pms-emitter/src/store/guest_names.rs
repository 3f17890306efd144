//! The names by which guests are found and sorted: the folded last name, and the words of all last names.
//!
//! The words are written in the transaction of the record, and only when a name is new. A deleted guest keeps them, as
//! its row keeps its last state: lists find it by its status. What an older program wrote of them is written again, and so is
//! the telephone number that a guest is found by, where today's rules read another in what is stored.

use super::guests::{SELECT, read};
use crate::domain::guest::{Guest, GuestDetails};
use contract::{GuestId, Phone};
use db::params;
use db::{DbError, Dialect, Statement, Tx, Value, placeholders};
use kit::fold::{FOLD_VERSION, fold_for_search, words::kept_words};
use kit::rebuild::Rebuild;
use std::collections::BTreeSet;

/// How much of a folded last name is sorted by, in characters; its column is as wide.
const FOLDED_LEN_MAX: usize = 200;

/// The fields whose words are kept: a list asks for either of them as `last_name`.
const NAMES: [&str; 2] = ["last_name", "second_last_name"];

/// Guests that one transaction folds again. Their bodies are read: it bounds the memory of it.
const REBUILD_BATCH: usize = 50;

/// Folds every guest's names again that another program has folded.
pub const GUEST_NAMES: Rebuild = Rebuild {
    name: "guest_names",
    version: FOLD_VERSION,
    batch: REBUILD_BATCH,
    rebuild_rows: |tx, position, rows| Box::pin(fold_again(tx, position, rows)),
    skip: |tx, position, rows| Box::pin(async move { Ok(next(tx, position, rows).await?.pop()) }),
};

/// The last name as it is sorted.
pub(super) fn folded(details: &GuestDetails) -> String {
    let folded = fold_for_search(&details.last_name);
    folded.chars().take(FOLDED_LEN_MAX).collect()
}

/// The telephone number that a guest is found by. The record shows it as it was stored until its next change.
fn phone(details: &GuestDetails) -> Option<String> {
    let stored = details.phone.as_ref()?.as_str();
    let read = Phone::read(stored);
    Some(read.map_or_else(|_| stored.to_owned(), |reading| reading.phone.as_str().to_owned()))
}

/// Writes the words of a guest who has none yet.
pub(super) fn insert(guest: &Guest) -> Option<Statement> {
    let details = &guest.details;
    let names = [Some(&details.last_name), details.second_last_name.as_ref()];
    let words: BTreeSet<String> = names
        .into_iter()
        .flatten()
        .flat_map(|name| kept_words(name))
        .collect();
    let rows = words
        .into_iter()
        .flat_map(|word| params![word, guest.id.as_str()]);
    Statement::rows("guest_name_words", &["word", "guest_id"], "", rows.collect())
}

/// Replaces the words of a guest, if one of the changed fields is a name.
pub(super) fn replace(guest: &Guest, changed: &[&str]) -> Vec<Statement> {
    if !changed.iter().any(|name| NAMES.contains(name)) {
        return Vec::new();
    }
    std::iter::once(delete(&guest.id)).chain(insert(guest)).collect()
}

fn delete(guest: &GuestId) -> Statement {
    let sql = "DELETE FROM guest_name_words WHERE guest_id = ?";
    Statement::change(sql, params![guest.as_str()])
}

/// Their rows are held before they are read, so that no change falls between what is read and what is written of it.
async fn fold_again(tx: &mut Tx, position: &str, rows: usize) -> Result<Option<String>, DbError> {
    let ids = next(tx, position, rows).await?;
    let Some(last) = ids.last() else {
        return Ok(None);
    };
    // SQLite has one writer, so nobody else can write them meanwhile.
    if tx.dialect() == Dialect::Mysql {
        let hold = |id| Statement::change("UPDATE guests SET guard = guard + 1 WHERE id = ?", params![id]);
        tx.run(&ids.iter().map(hold).collect::<Vec<_>>()).await.all()?;
    }
    let sql = format!("{SELECT} WHERE id IN {}", placeholders(1, ids.len()));
    let rows = tx.query(&sql, ids.iter().map(Value::from).collect()).await?;
    let guests = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let folds = guests.iter().flat_map(|guest| {
        let sql = "UPDATE guests SET last_name_folded = ?, phone = ? WHERE id = ?";
        let details = &guest.details;
        let fold = Statement::change(sql, params![folded(details), phone(details), guest.id.as_str()]);
        [fold, delete(&guest.id)].into_iter().chain(insert(guest))
    });
    tx.run(&folds.collect::<Vec<_>>()).await.all()?;
    Ok(Some(last.clone()))
}

/// The ids of the guests that follow a position, in their order.
async fn next(tx: &mut Tx, position: &str, rows: usize) -> Result<Vec<String>, DbError> {
    let sql = "SELECT id FROM guests WHERE id > ? ORDER BY id LIMIT ?";
    let rows = tx.query(sql, params![position, rows]).await?;
    rows.iter().map(|row| row.get("id")).collect()
}
