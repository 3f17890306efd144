//! Lists, single reads and what takes in and writes: each has connections of its own.

use std::sync::{Arc, Condvar, Mutex};

use db::{Db, DbError, Dialect};
use harness::waiting::in_time;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::case::{Case, Ctx, cases};
use crate::ingest::execute;

pub fn cases() -> Vec<Case> {
    cases![r46_single_reads_and_accepts_never_wait_for_lists]
}

/// More than any engine has connections.
const LISTS: usize = 64;

/// Queries that hold their connections until they are let go.
struct Held {
    begun: Arc<Semaphore>,
    gate: Arc<(Mutex<bool>, Condvar)>,
    let_go: Arc<Semaphore>,
    queries: JoinSet<Result<(), DbError>>,
}

impl Held {
    /// The first of them has its connection when this answers.
    async fn begin(db: &Db) -> Self {
        let held = Self {
            begun: Arc::new(Semaphore::new(0)),
            gate: Arc::default(),
            let_go: Arc::new(Semaphore::new(0)),
            queries: JoinSet::new(),
        };
        let mut queries = JoinSet::new();
        for _ in 0..LISTS {
            let (begun, gate, let_go) = (held.begun.clone(), held.gate.clone(), held.let_go.clone());
            let db = db.clone();
            queries.spawn(async move {
                db.read("held", move |tx| {
                    let (begun, gate, let_go) = (begun.clone(), gate.clone(), let_go.clone());
                    Box::pin(async move {
                        tx.query("SELECT 1 AS one", Vec::new()).await?;
                        begun.add_permits(1);
                        match tx.dialect() {
                            // A reader is a thread of its own, which drives its query to the end.
                            Dialect::Sqlite => {
                                let (open, opened) = &*gate;
                                let waiting = opened.wait_while(open.lock().unwrap(), |open| !*open);
                                drop(waiting.unwrap());
                            }
                            Dialect::Mysql => drop(let_go.acquire().await.unwrap()),
                        }
                        Ok(())
                    })
                })
                .await
            });
        }
        held.begun.acquire().await.unwrap().forget();
        Self { queries, ..held }
    }

    /// How many had a connection while the others waited for one.
    async fn end(mut self) -> usize {
        let at_once = 1 + self.begun.available_permits();
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
        self.let_go.add_permits(LISTS);
        // Those that waited in vain were answered so.
        while self.queries.join_next().await.is_some() {}
        at_once
    }
}

async fn r46_single_reads_and_accepts_never_wait_for_lists(ctx: Ctx) {
    let db = ctx.open().await;
    // A live stream has as large a share as lists.
    let (lists, stream, reads) = (db.for_lists(), db.for_lists(), db.for_reads());
    let held = Held::begin(&lists).await;
    let streams = Held::begin(&stream).await;
    let others = async {
        for db in [&reads, &db] {
            db.read("other", |tx| {
                Box::pin(async move { tx.query("SELECT 1 AS one", Vec::new()).await.map(drop) })
            })
            .await
            .unwrap();
        }
        execute(
            &db,
            "CREATE TABLE written (id BIGINT NOT NULL PRIMARY KEY)",
            Vec::new(),
        )
        .await;
        execute(&db, "INSERT INTO written (id) VALUES (1)", Vec::new()).await;
        // Nor do single reads take what is left.
        let held = Held::begin(&reads).await;
        db.read("third", |tx| {
            Box::pin(async move { tx.query("SELECT id FROM written", Vec::new()).await.map(drop) })
        })
        .await
        .unwrap();
        held.end().await
    };
    // The lists are held until they have come.
    let reads_at_once = in_time("others, whom no list holds up", others).await;
    assert!(reads_at_once < LISTS);
    assert!(held.end().await < LISTS, "lists have a share, not all");
    assert!(streams.end().await < LISTS, "and so has the stream");
    db.close().await;
}
