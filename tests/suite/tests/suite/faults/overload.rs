//! More requests at once than a receiver can take, and a signal in the middle of them, against real processes.
//!
//! What an overload costs, in memory and in what is taken in, is measured by `cargo load -- --overload 2`.

use std::net::SocketAddr;
use std::time::Duration;

use contract::SecretList;
use db::params;
use futures::future::join_all;
use futures::{StreamExt, stream};
use harness::process::Process;
use harness::signer::Delivery;
use harness::waiting::{in_time, ten_times, until, until_some};
use kit::random::SystemClock;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::processes::receiver;
use super::write_lock::WriteLock;
use crate::case::{Case, Ctx, cases};
use crate::ingest::{SECRET, guest_event, number};

pub fn cases() -> Vec<Case> {
    cases![
        f8_a_signal_in_mid_load_finishes_what_is_in_progress,
        f8_a_kill_in_mid_shutdown_loses_nothing_that_was_confirmed,
        f34_twenty_times_the_load_is_shed_while_the_rest_waits_and_then_forgotten,
    ]
}

/// Requests that are sent before the signal.
const IN_FLIGHT: usize = 1_000;
/// How many of them at least wait for their batch by then; those of the batches that are held up come on top.
const WAITING_LEAST: usize = 400;
/// What the queue of the overloaded receiver takes, and how many times as many come.
const QUEUE: usize = 64;
const TIMES: usize = 20;
/// The rule: from the end of the overload until nobody is turned away.
const RECOVERS_WITHIN: Duration = Duration::from_secs(5);
/// Retries at once.
const AT_ONCE: usize = 64;

fn deliveries(count: usize) -> Vec<Delivery> {
    let secrets: SecretList = SECRET.parse().unwrap();
    let now = contract::Clock::now(&SystemClock).seconds();
    let sign = |number| {
        let key = format!("evt_{number}");
        Delivery::signed("pms", &key, &guest_event(&key), &secrets, now)
    };
    (0..count).map(sign).collect()
}

/// A request whose answer is still to come.
async fn ask(address: SocketAddr, delivery: &Delivery) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&delivery.bytes(address)).await.unwrap();
    stream
}

/// The status of the answer; none when the connection ends without one.
async fn status(stream: TcpStream) -> Option<u16> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.ok()?;
    line.split(' ').nth(1)?.parse().ok()
}

/// Asks everything at once, and answers when the server has come round since.
async fn ask_all(address: SocketAddr, deliveries: &[Delivery]) -> Vec<TcpStream> {
    let asked = join_all(deliveries.iter().map(|delivery| ask(address, delivery))).await;
    // It accepts in the order of arrival, so anyone who came before these is in its hands.
    for _ in 0..3 {
        assert_eq!(get("/health").send(address).await.unwrap().status, 200);
    }
    asked
}

async fn signal(process: &Process, name: &str) {
    let id = process.id().expect("it runs").to_string();
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &id])
        .status();
    assert!(sent.await.unwrap().success());
}

/// An address that nobody listens on.
async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn get(path: &str) -> Delivery {
    Delivery::bare("GET", path)
}

/// Until enough of what was sent waits for its batch.
async fn until_waiting(metrics: SocketAddr) {
    until("what was sent is read", || async move {
        let page = get("/metrics").send(metrics).await.unwrap();
        let page = String::from_utf8(page.body).unwrap();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix("crm_receiver_ingest_queue_entries "));
        let waiting: usize = line.expect("the queue's gauge").parse().unwrap();
        waiting >= WAITING_LEAST
    })
    .await;
}

async fn until_nobody_is_let_in(address: SocketAddr) {
    until("its port is closed", || async move {
        TcpStream::connect(address).await.is_err()
    })
    .await;
}

async fn kept(ctx: &Ctx) -> i64 {
    let db = ctx.open().await;
    let kept = number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await;
    db.close().await;
    kept
}

async fn f8_a_signal_in_mid_load_finishes_what_is_in_progress(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let metrics = free_address().await;
    let page = [("METRICS_ADDR", metrics.to_string())];
    let mut process = receiver(ctx.database.url(), folder.path(), &page).await;
    let (address, deliveries) = (process.address(), deliveries(IN_FLIGHT));
    let lock = WriteLock::on_inbox(&ctx).await;
    let asked = ask_all(address, &deliveries).await;
    until_waiting(metrics).await;
    signal(&process, "TERM").await;
    until_nobody_is_let_in(address).await;
    lock.end().await;
    let answers = join_all(asked.into_iter().map(status)).await;
    // A request that was not read yet is let go without an answer; one that was read is finished.
    let (taken, let_go): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| *answer == Some(202));
    assert!(let_go.iter().all(Option::is_none), "{let_go:?}");
    assert!(
        taken.len() >= WAITING_LEAST,
        "{} of {IN_FLIGHT} were finished",
        taken.len()
    );
    let ended = in_time("it ends by itself", process.ended()).await;
    assert_eq!(ended.unwrap().code(), Some(0), "it ended in its grace");
    let kept = kept(&ctx).await;
    assert_eq!(
        kept,
        i64::try_from(taken.len()).unwrap(),
        "what is kept was confirmed"
    );
}

async fn f8_a_kill_in_mid_shutdown_loses_nothing_that_was_confirmed(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let process = receiver(ctx.database.url(), folder.path(), &[]).await;
    let (address, deliveries) = (process.address(), deliveries(IN_FLIGHT));
    let asked = ask_all(address, &deliveries).await;
    signal(&process, "TERM").await;
    until_nobody_is_let_in(address).await;
    process.kill().await.unwrap();
    let answers = join_all(asked.into_iter().map(status)).await;
    let confirmed = answers.iter().filter(|answer| **answer == Some(202)).count();
    assert!(kept(&ctx).await >= i64::try_from(confirmed).unwrap());
    // What was not confirmed is sent again, and what was as well.
    let process = receiver(ctx.database.url(), folder.path(), &[]).await;
    let retries = stream::iter(0..IN_FLIGHT).map(|number| deliveries[number].send(process.address()));
    let again: Vec<_> = retries.buffered(AT_ONCE).collect().await;
    let statuses = again.into_iter().map(|answer| answer.unwrap().status);
    for (first, second) in answers.iter().zip(statuses) {
        let expected: &[u16] = if *first == Some(202) { &[200] } else { &[200, 202] };
        assert!(expected.contains(&second), "{first:?}, then {second}");
    }
    assert_eq!(kept(&ctx).await, i64::try_from(IN_FLIGHT).unwrap());
    process.kill().await.unwrap();
}

/// Sends it again as long as it is turned away.
async fn until_taken(address: SocketAddr, delivery: &Delivery) -> u16 {
    until_some("it is taken", || async {
        let status = delivery.send(address).await.unwrap().status;
        (status != 503).then_some(status)
    })
    .await
}

async fn f34_twenty_times_the_load_is_shed_while_the_rest_waits_and_then_forgotten(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let process = receiver(
        ctx.database.url(),
        folder.path(),
        &[("INGEST_QUEUE", QUEUE.to_string())],
    )
    .await;
    let (address, deliveries) = (process.address(), deliveries(TIMES * QUEUE));
    let lock = WriteLock::on_inbox(&ctx).await;
    let asked = ask_all(address, &deliveries).await;
    let mut answers: stream::FuturesUnordered<_> = asked.into_iter().map(status).collect();
    // Those for whom there is no room hear so while the others wait for the lock; a batch may be on its way beside the queue.
    let shed_least = (TIMES - 6) * QUEUE;
    for nth in 0..shed_least {
        let answer = in_time("those without room are shed", answers.next()).await;
        assert_eq!(answer, Some(Some(503)), "{nth}");
    }
    lock.end().await;
    let rest: Vec<_> = answers.collect().await;
    assert!(
        rest.iter().all(|answer| matches!(answer, Some(202 | 503))),
        "{rest:?}"
    );
    // Good again is when as many as fit are taken at once, with nobody turned away.
    let good_again = until("nobody is turned away", || async {
        let sent = deliveries
            .iter()
            .take(QUEUE / 2)
            .map(|delivery| delivery.send(address));
        let answers = join_all(sent).await;
        answers
            .iter()
            .all(|answer| answer.as_ref().unwrap().status != 503)
    });
    ten_times(RECOVERS_WITHIN, "it recovers", good_again).await;
    let retries = stream::iter(0..deliveries.len()).map(|number| until_taken(address, &deliveries[number]));
    let statuses: Vec<u16> = retries.buffer_unordered(QUEUE / 2).collect().await;
    assert!(statuses.iter().all(|status| matches!(status, 200 | 202)));
    assert_eq!(kept(&ctx).await, i64::try_from(deliveries.len()).unwrap());
    process.kill().await.unwrap();
}
