//! The database port: what it promises about transactions, on each engine.

mod audit;
mod batches;
mod callers;
mod door;
mod faults;
mod groups;
mod idle;
mod leases;
mod locks;
mod migrations;
mod rebuilds;
mod sequences;
mod transactions;
mod values;

use db::{Db, DbError, Tx, params};
use futures::future::BoxFuture;

use crate::case::Case;

pub fn cases() -> Vec<Case> {
    let modules = [
        transactions::cases(),
        callers::cases(),
        locks::cases(),
        groups::cases(),
        idle::cases(),
        values::cases(),
        migrations::cases(),
        leases::cases(),
        rebuilds::cases(),
        sequences::cases(),
        audit::cases(),
        batches::cases(),
        faults::cases(),
    ];
    modules.into_iter().flatten().collect()
}

/// Makes the one table of these cases: notes with an id and a text.
async fn make_notes(db: &Db) {
    let run = db.transaction("make_notes", |tx| {
        let sql = "CREATE TABLE notes (id VARCHAR(64) NOT NULL PRIMARY KEY, text VARCHAR(64) NOT NULL)";
        Box::pin(async move { tx.execute(sql, vec![]).await.map(drop) })
    });
    run.await.expect("the table is made");
}

fn add<'t>(tx: &'t mut Tx, id: &'t str) -> BoxFuture<'t, Result<(), DbError>> {
    Box::pin(async move {
        tx.execute("INSERT INTO notes (id, text) VALUES (?, ?)", params![id, "new"])
            .await
            .map(drop)
    })
}

async fn add_note(db: &Db, id: &'static str) -> Result<(), DbError> {
    db.transaction("add_note", move |tx| add(tx, id)).await
}

/// The ids of all notes, in order.
async fn notes(db: &Db) -> Vec<String> {
    let read = db.read("notes", |tx| {
        Box::pin(async move {
            let rows = tx.query("SELECT id FROM notes ORDER BY id", vec![]).await?;
            rows.iter().map(|row| row.get("id")).collect()
        })
    });
    read.await.expect("the notes are read")
}
