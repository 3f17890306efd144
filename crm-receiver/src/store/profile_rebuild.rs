//! Deriving profiles again that an older program has derived by older rules.
//!
//! It goes through every guest that a record or a reservation names, source by source, and does what projection does
//! for the profiles that a batch touches: their rows are locked first, so that nobody changes their records after they
//! are read.

use super::projection;
use crate::profile::{GuestKey, derive::DERIVE_VERSION};
use db::{DbError, Row, Tx, params, read_id};
use kit::{fold::FOLD_VERSION, rebuild::Rebuild};
use std::collections::BTreeSet;

/// Guests whose profiles one transaction derives again: arrivals wait for it on SQLite.
const REBUILD_BATCH: usize = 32;

/// Makes every profile again, with the words that it is found under. The sum rises with either version.
pub const PROFILES: Rebuild = Rebuild {
    name: "profiles",
    version: FOLD_VERSION + DERIVE_VERSION,
    batch: REBUILD_BATCH,
    rebuild_rows: |tx, position, rows| Box::pin(derive_again(tx, position, rows)),
    skip: |tx, position, rows| Box::pin(async move { Ok(behind(&next(tx, position, rows).await?)) }),
};

async fn derive_again(tx: &mut Tx, position: &str, rows: usize) -> Result<Option<String>, DbError> {
    let guests = next(tx, position, rows).await?;
    projection::derive_again(tx, &guests).await?;
    Ok(behind(&guests))
}

/// A position is a source and a guest, with a space between.
fn behind(guests: &BTreeSet<GuestKey>) -> Option<String> {
    guests.last().map(|last| format!("{} {}", last.source, last.id))
}

/// The guests that follow a position; none when it was the last.
async fn next(tx: &mut Tx, position: &str, rows: usize) -> Result<BTreeSet<GuestKey>, DbError> {
    let (source, guest) = position.split_once(' ').unwrap_or_default();
    let mut source = source.to_owned();
    let mut guests = next_guests(tx, &source, guest, rows).await?;
    // A source may have no guests at all, as where only deleted reservations are left of it.
    while guests.is_empty() {
        let Some(next) = next_source(tx, &source).await? else {
            break;
        };
        guests = next_guests(tx, &next, "", rows).await?;
        source = next;
    }
    Ok(guests)
}

/// The guests of a source that follow one in the order of their ids.
async fn next_guests(
    tx: &mut Tx,
    source: &str,
    after: &str,
    rows: usize,
) -> Result<BTreeSet<GuestKey>, DbError> {
    let mut guests = BTreeSet::new();
    for sql in [
        "SELECT source_id, entity_id AS guest_id FROM records \
         WHERE source_id = ? AND kind = 'guest' AND entity_id > ? ORDER BY entity_id LIMIT ?",
        "SELECT DISTINCT source_id, guest_id FROM record_refs \
         WHERE source_id = ? AND guest_id > ? ORDER BY guest_id LIMIT ?",
    ] {
        for row in tx.query(sql, params![source, after, rows]).await? {
            guests.insert(guest(&row)?);
        }
    }
    Ok(guests.into_iter().take(rows).collect())
}

/// The first source behind this one. A guest that only a reservation names is of the source of that record.
async fn next_source(tx: &mut Tx, source: &str) -> Result<Option<String>, DbError> {
    let sql = "SELECT MIN(source_id) AS source_id FROM records WHERE source_id > ?";
    let row = tx.query_one(sql, params![source]).await?;
    row.map_or(Ok(None), |row| row.get("source_id"))
}

fn guest(row: &Row) -> Result<GuestKey, DbError> {
    Ok(GuestKey {
        source: read_id(row, "source_id")?,
        id: read_id(row, "guest_id")?,
    })
}
