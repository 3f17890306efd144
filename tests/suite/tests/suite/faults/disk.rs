//! The disk under SQLite: full, failing to flush, failing to write; and what another program at the same file does.

use std::path::Path;

use contract::SecretList;
use db::params;
use harness::engine::Engine;
use harness::process::Process;
use harness::signer::Delivery;
use harness::waiting::{ten_times, until};
use kit::random::SystemClock;
use serde_json::json;

use super::broken_disks::{FailingDisk, SmallDisk, TAKEN_WITHIN};
use super::processes::{emitter, receiver};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, SECRET, guest_event, number};

pub fn cases() -> Vec<Case> {
    cases![only Engine::Sqlite;
        f14_a_file_system_that_turns_read_only_is_503_until_it_is_not,
        f17_a_full_disk_refuses_and_room_is_noticed,
        f18_a_flush_or_write_that_fails_is_never_acknowledged,
        f18_a_flush_that_fails_once_is_looked_up_and_made_again,
        f19_a_file_held_by_another_program_is_waited_for_and_then_refused,
        f19_what_a_killed_process_left_in_its_log_is_read,
        f19_the_log_is_used_again_after_a_long_reader,
    ]
}

/// Deliveries to a disk that fails.
const REFUSED: usize = 12;
/// The file system that fills up.
const ROOM: &str = "6m";

/// The status that a delivery gets.
async fn send(process: &Process, key: &str) -> u16 {
    let secrets: SecretList = SECRET.parse().unwrap();
    let now = contract::Clock::now(&SystemClock).seconds();
    let delivery = Delivery::signed("pms", key, &guest_event(key), &secrets, now);
    let answer = delivery.send(process.address()).await.unwrap();
    if answer.status == 503 {
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    answer.status
}

/// Sends until it is taken, as a sender does.
async fn until_taken(process: &Process, key: &str) {
    let taken = until("it is taken", || async { send(process, key).await != 503 });
    ten_times(TAKEN_WITHIN, "the end of the disk's fault is noticed", taken).await;
}

/// The events in the inbox, of a file that is sound.
async fn kept(database: &str) -> i64 {
    let db = super::open(database).await;
    let kept = number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await;
    db.close().await;
    let file = rusqlite::Connection::open(database.trim_start_matches("sqlite://")).unwrap();
    let sound: String = file
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
    kept
}

async fn f17_a_full_disk_refuses_and_room_is_noticed(_: Ctx) {
    let Some(disk) = SmallDisk::mounted(ROOM) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", disk.path().join("crm.db").display());
    let process = receiver(&database, folder.path(), &[]).await;
    let mut confirmed = 0;
    for key in ["evt_1", "evt_2", "evt_3"] {
        assert_eq!(send(&process, key).await, 202);
        confirmed += 1;
    }
    disk.fill();
    // What the log has room for is still taken; then each is refused, and none is confirmed.
    let mut refused = 0;
    for nth in 0.. {
        match send(&process, &format!("evt_full_{nth}")).await {
            202 => confirmed += 1,
            503 => refused += 1,
            status => panic!("{status}"),
        }
        if refused == REFUSED {
            break;
        }
    }
    disk.free_space();
    until_taken(&process, "evt_room").await;
    confirmed += 1;
    process.kill().await.unwrap();
    // One that was refused may be there: nobody was answered that it is not.
    let kept = kept(&database).await;
    assert!(
        (confirmed..=confirmed + 1).contains(&kept),
        "{kept} of {confirmed}"
    );
}

/// Each of these faults of the disk is answered with 503 for as long as it lasts, and everything is taken afterwards.
async fn refused_while(ctx: &Ctx, faults: &[&str]) {
    let Some(disk) = FailingDisk::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let database = ctx.database.url();
    let process = receiver(database, folder.path(), &disk.variables()).await;
    let mut confirmed = 0;
    for fault in faults {
        assert_eq!(send(&process, &format!("evt_before_{fault}")).await, 202);
        disk.begin(fault);
        for nth in 0..REFUSED {
            let status = send(&process, &format!("evt_{fault}_{nth}")).await;
            assert_eq!(status, 503, "{fault}: nothing is on the disk");
        }
        let events = Delivery::bare("GET", "/api/v1/events");
        let looked = events.send(process.address()).await.unwrap();
        assert_eq!(looked.status, 200, "{fault}: who only reads is served");
        disk.end(fault);
        until_taken(&process, &format!("evt_after_{fault}")).await;
        for nth in 0..REFUSED {
            let retried = send(&process, &format!("evt_{fault}_{nth}")).await;
            assert!(matches!(retried, 200 | 202), "{fault}: {retried}");
        }
        confirmed += i64::try_from(REFUSED).unwrap() + 2;
    }
    process.kill().await.unwrap();
    assert_eq!(kept(database).await, confirmed);
}

async fn f14_a_file_system_that_turns_read_only_is_503_until_it_is_not(ctx: Ctx) {
    refused_while(&ctx, &["read-only"]).await;
}

async fn f18_a_flush_or_write_that_fails_is_never_acknowledged(ctx: Ctx) {
    refused_while(&ctx, &["flush", "write"]).await;
}

async fn f18_a_flush_that_fails_once_is_looked_up_and_made_again(ctx: Ctx) {
    let Some(disk) = FailingDisk::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let process = emitter(ctx.database.url(), folder.path(), &disk.variables()).await;
    for (nth, fault) in (1..).zip(["flush-once", "write-once"]) {
        disk.begin(fault);
        let lines = [("content-type", "application/json"), ("idempotency-key", fault)];
        let post = Delivery {
            method: "POST".to_owned(),
            path: "/api/v1/guests".to_owned(),
            headers: lines
                .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                .to_vec(),
            body: json!({"last_name": fault}).to_string().into_bytes(),
        };
        let first = post.send(process.address()).await.unwrap().status;
        assert!(disk.is_met(fault));
        // Of a commit of which nobody knows the emitter finds out by itself.
        assert_eq!(first, 201, "{fault}");
        let retried = post.send(process.address()).await.unwrap();
        assert_eq!(
            (retried.status, retried.header("idempotency-replayed")),
            (201, Some("true"))
        );
        let db = ctx.open().await;
        for sql in [
            "SELECT COUNT(*) AS n FROM guests",
            "SELECT COUNT(*) AS n FROM events",
        ] {
            assert_eq!(number(&db, sql, params![]).await, nth, "{fault}: {sql}");
        }
        db.close().await;
    }
    process.kill().await.unwrap();
}

async fn f19_a_file_held_by_another_program_is_waited_for_and_then_refused(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let file = rusqlite::Connection::open(ctx.database.file().unwrap()).unwrap();
    let (key, body) = ("evt_1", guest_event("evt_1"));
    // For less than the busy time-outs: it only takes a while.
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (taking, looking) = (receiver.take(key, &body), receiver.get("/events"));
    let releasing = async move {
        // A look at the tables goes by way of a reader, whom no writer holds up.
        assert_eq!(looking.await.status, 200);
        file.execute_batch("ROLLBACK").unwrap();
        file
    };
    let (taken, file) = tokio::join!(taking, releasing);
    assert_eq!(taken.status, 202);
    // For longer: it is asked to come back, and then it works.
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = receiver.take("evt_2", &guest_event("evt_2")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    file.execute_batch("ROLLBACK").unwrap();
    until("it is taken", || async {
        receiver.take("evt_2", &guest_event("evt_2")).await.status != 503
    })
    .await;
    receiver.stop().await;
}

async fn f19_what_a_killed_process_left_in_its_log_is_read(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let database = ctx.database.url();
    let beside = |ending: &str| {
        let file = ctx.database.file().unwrap();
        Path::new(&format!("{}{ending}", file.display())).to_owned()
    };
    for (turn, lost_index) in [false, true].into_iter().enumerate() {
        let process = receiver(database, folder.path(), &[]).await;
        for nth in 0..REFUSED {
            assert_eq!(send(&process, &format!("evt_{turn}_{nth}")).await, 202);
        }
        process.kill().await.unwrap();
        assert!(beside("-wal").metadata().unwrap().len() > 0, "it left its log");
        if lost_index {
            // The index of the log is made again from the log itself.
            std::fs::remove_file(beside("-shm")).unwrap();
        }
        let process = receiver(database, folder.path(), &[]).await;
        for nth in 0..REFUSED {
            assert_eq!(send(&process, &format!("evt_{turn}_{nth}")).await, 200);
        }
        process.kill().await.unwrap();
        assert_eq!(kept(database).await, i64::try_from((turn + 1) * REFUSED).unwrap());
    }
}

async fn f19_the_log_is_used_again_after_a_long_reader(ctx: Ctx) {
    /// Bytes of a note, and notes of one round: more than the log is moved into the file at, 64 MiB.
    const NOTE: usize = 1024 * 1024;
    const NOTES: usize = 80;
    /// A log that is moved as it grows, and the note that was one too many.
    const LOG_MAX: u64 = 72 * 1024 * 1024;
    let db = ctx.open().await;
    let make = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)";
    crate::ingest::carry_out(&ctx, make).await;
    let round = async || {
        for _ in 0..NOTES {
            let add = db.transaction("add", |tx| {
                let sql = "INSERT INTO notes (text) VALUES (?)";
                Box::pin(async move { tx.execute(sql, params!["x".repeat(NOTE)]).await })
            });
            add.await.unwrap();
        }
    };
    let file = ctx.database.file().unwrap();
    let log = format!("{}-wal", file.display());
    let len = || Path::new(&log).metadata().map_or(0, |log| log.len());
    round().await;
    assert!(len() < LOG_MAX, "{} bytes, moved as it grows", len());
    // Nothing can be moved beyond what a reader still sees.
    let reader = rusqlite::Connection::open(&file).unwrap();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM notes").unwrap();
    round().await;
    assert!(len() > LOG_MAX, "{} bytes: the reader held nothing", len());
    reader.execute_batch("COMMIT").unwrap();
    round().await;
    assert!(len() < LOG_MAX, "{} bytes after the reader", len());
    db.close().await;
    assert_eq!(len(), 0, "and emptied at the end");
}
