//! The share of a source in the queue: an equal part of half of it while entries of others are pending, and never so much that
//! others find no place.

use super::other_event;
use crate::case::{Case, Ctx, cases};
use crate::ingest::{NOW, carry_out, number};
use api::RequestContext;
use bytes::Bytes;
use contract::{Entropy, SecretId, SourceId, TypedId, signature};
use crm_receiver::{
    app::{Runtime, open_store},
    backlog::Backlog,
    event::Accepted,
    ingest::{
        self, Batcher, IngestError, IngestLimits, IngestMeters, Lane, Sources,
        delivery::{Parsed, RawDelivery},
        guard::StoreGuard,
    },
    store::{Source, SourceRows, SourceSecret, SourceSettings, Store},
};
use db::params;
use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use harness::{config::INGEST_LIMITS, engine::Engine};
use http::{HeaderMap, Method};
use kit::{audit::AuditEntry, metrics::Metrics, random::SystemEntropy, secrets::MasterKeys};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        a_source_has_an_equal_part_of_half_the_queue_beside_others,
        a_source_alone_leaves_room_for_others,
        the_only_source_has_the_whole_queue,
    ];
    // With one lane, or another would count along.
    all.extend(cases![only Engine::Sqlite; sources_take_turns_in_a_batch]);
    all
}

/// Places in the queue of each lane.
const PLACES: usize = 64;
/// Enough to fill every lane, whichever keys go where.
const MANY: usize = 300;

type Waiting = BoxFuture<'static, Result<Accepted, IngestError>>;

/// A group commit whose lanes do not run yet, and sources that have secrets.
struct Bench {
    batcher: Batcher,
    lanes: Vec<Lane>,
    sources: Sources,
}

/// What became of many that were sent at once.
struct Sent {
    waiting: Vec<Waiting>,
    refused: Vec<IngestError>,
}

/// As many as the receiver has on this engine.
fn lanes(ctx: &Ctx) -> usize {
    match ctx.engine {
        Engine::Sqlite => 1,
        Engine::Mysql => 2,
    }
}

fn secret(source: &str) -> String {
    format!("the-secret-of-the-source-{source}")
}

async fn make(store: &Store, sources: &Sources, id: &str) {
    let id: SourceId = id.parse().unwrap();
    let source = Source {
        settings: SourceSettings::new(id.as_str(), false),
        id: id.clone(),
        created_at: NOW,
        updated_at: NOW,
    };
    let entry = AuditEntry::new("source_created", NOW);
    let digest_key = sources.digest_key(&id);
    store
        .create_source(&source, digest_key, entry.clone())
        .await
        .unwrap();
    let secret_id: SecretId = Runtime::system().ids().new_id(SecretId::PREFIX).parse().unwrap();
    let secret = SourceSecret {
        sealed: sources.seal(&id, &secret_id, &secret(id.as_str())),
        id: secret_id,
        source: id.clone(),
        n: 0,
        since: NOW,
        until: None,
        last_used_at: None,
    };
    let has_key = Arc::new(|_: &SourceRows| false);
    store
        .add_source_secret(&source, secret, has_key, NOW, entry)
        .await
        .unwrap();
    sources.changed().await;
}

impl Bench {
    async fn with(ctx: &Ctx, ids: &[&str]) -> Self {
        Self::with_rows(ctx, ids, INGEST_LIMITS.batch_rows).await
    }

    /// With so many rows in a batch.
    async fn with_rows(ctx: &Ctx, ids: &[&str], batch_rows: usize) -> Self {
        let runtime = Runtime::system();
        let store = open_store(&ctx.url(), &runtime, false).await.unwrap();
        let mut key = [0; 32];
        SystemEntropy.fill(&mut key);
        let keys: MasterKeys = MasterKeys::spell(&key).parse().unwrap();
        let (clock, entropy) = (Arc::new(NOW), Arc::clone(&runtime.entropy));
        let sources = Sources::open(&store, keys, None, clock, entropy).await.unwrap();
        for id in ids {
            make(&store, &sources, id).await;
        }
        let guard = StoreGuard::new(Arc::clone(&runtime.clock), Arc::clone(&runtime.entropy));
        let meters = IngestMeters::new(&Metrics::new("bench", "0"));
        let limits = IngestLimits {
            queue: PLACES * lanes(ctx),
            batch_rows,
            ..INGEST_LIMITS
        };
        let (batcher, lanes) = ingest::open(&store, guard, limits, &runtime, Backlog::default(), meters);

        Self {
            batcher,
            lanes,
            sources,
        }
    }

    /// Sends so many of a source, each under a key of its own, as far as they go without a lane.
    async fn send(&self, source: &str, round: usize) -> Sent {
        let mut sent = Sent {
            waiting: Vec::new(),
            refused: Vec::new(),
        };
        for n in 0..MANY {
            // What a task may do without a pause is bounded, and beyond that everything would seem to wait.
            tokio::task::yield_now().await;
            let mut accepting = self.accept(source, &format!("evt_{round}_{n}"));
            match (&mut accepting).now_or_never() {
                None => sent.waiting.push(accepting),
                Some(outcome) => sent.refused.push(outcome.unwrap_err()),
            }
        }
        sent
    }

    fn check(&self, source: &str) -> Result<(), IngestError> {
        self.batcher.check_share(&self.sources.named(source, || None))
    }

    fn accept(&self, source: &str, key: &str) -> Waiting {
        let body = other_event(key);
        let secrets: contract::SecretList = secret(source).parse().unwrap();
        let signed = signature::sign(secrets.as_slice(), &key.parse().unwrap(), NOW.seconds(), &body);
        let at = NOW.seconds().0.to_string();
        let lines = [
            ("webhook-id", key.as_bytes()),
            ("webhook-timestamp", at.as_bytes()),
            ("webhook-signature", signed.as_str().as_bytes()),
        ];
        let sender = self.sources.named(source, || None);
        let raw = RawDelivery::read(Arc::clone(&sender), || lines, NOW).unwrap();
        let Ok(Parsed::Event(arrival)) = raw.verify(Bytes::from(body)).unwrap().parse(true) else {
            panic!("it is an event");
        };
        let batcher = self.batcher.clone();
        async move {
            let ids = Runtime::system().ids();
            let context = RequestContext::new(&Method::POST, "/webhooks/x", &HeaderMap::new(), None, &ids);
            batcher.accept(arrival, &sender, &context, None).await
        }
        .boxed()
    }

    /// Commits what waits; all of it must be new.
    async fn commit(&mut self, waiting: Vec<Waiting>) -> CancellationToken {
        let drained = CancellationToken::new();
        for lane in self.lanes.drain(..) {
            tokio::spawn(lane.run(drained.clone()));
        }
        for outcome in join_all(waiting).await {
            assert!(matches!(outcome, Ok(Accepted::New(_))), "{outcome:?}");
        }
        drained
    }
}

fn all_are(refused: &[IngestError], error: IngestError) -> bool {
    refused.iter().all(|refused| *refused == error)
}

async fn a_source_has_an_equal_part_of_half_the_queue_beside_others(ctx: Ctx) {
    let mut bench = Bench::with(&ctx, &["bar", "gym", "spa"]).await;
    let lanes = lanes(&ctx);
    // One of the gym in each lane, or more.
    let mut gym = Vec::new();
    for n in 0..2 * lanes {
        gym.push(bench.accept("gym", &format!("evt_{n}")));
        assert!(gym.last_mut().unwrap().now_or_never().is_none());
    }
    let spa = bench.send("spa", 0).await;
    assert_eq!(spa.waiting.len(), lanes * PLACES / 2 / 2);
    assert!(all_are(&spa.refused, IngestError::OverShare));
    // It is refused before it is parsed, and the others are not.
    assert_eq!(bench.check("spa"), Err(IngestError::OverShare));
    assert_eq!(bench.check("gym"), Ok(()));
    // The others still find places, up to their own part.
    let more = bench.send("gym", 1).await;
    assert_eq!(gym.len() + more.waiting.len(), lanes * PLACES / 2 / 2);
    assert!(all_are(&more.refused, IngestError::OverShare));
    // A third one finds the other half free, and has a third part.
    let bar = bench.send("bar", 2).await;
    assert_eq!(bar.waiting.len(), lanes * (PLACES / 2 / 3));
    assert!(all_are(&bar.refused, IngestError::OverShare));
    let waiting = [gym, spa.waiting, more.waiting, bar.waiting];
    let drained = bench.commit(waiting.into_iter().flatten().collect()).await;
    // What is committed has left the queue.
    let again = bench.accept("spa", "evt_again").await;
    assert!(matches!(again, Ok(Accepted::New(_))), "{again:?}");
    drained.cancel();
}

async fn a_source_alone_leaves_room_for_others(ctx: Ctx) {
    let mut bench = Bench::with(&ctx, &["gym", "spa"]).await;
    let lanes = lanes(&ctx);
    let spa = bench.send("spa", 0).await;
    assert_eq!(spa.waiting.len(), lanes * (PLACES - PLACES / 8));
    assert!(all_are(&spa.refused, IngestError::OverShare));
    let gym = bench.send("gym", 0).await;
    assert_eq!(gym.waiting.len(), lanes * PLACES / 8);
    assert!(
        all_are(&gym.refused, IngestError::Overloaded),
        "then the queue is full"
    );
    bench
        .commit([spa.waiting, gym.waiting].into_iter().flatten().collect())
        .await
        .cancel();
}

async fn the_only_source_has_the_whole_queue(ctx: Ctx) {
    let mut bench = Bench::with(&ctx, &["spa"]).await;
    let spa = bench.send("spa", 0).await;
    assert_eq!(spa.waiting.len(), lanes(&ctx) * PLACES);
    assert_eq!(
        bench.check("spa"),
        Ok(()),
        "the queue is full, and no share used up"
    );
    assert!(all_are(&spa.refused, IngestError::Overloaded));
    bench.commit(spa.waiting).await.cancel();
}

async fn sources_take_turns_in_a_batch(ctx: Ctx) {
    const ROWS: usize = 4;
    let mut bench = Bench::with_rows(&ctx, &["gym", "spa"], ROWS).await;
    // Notes how many were committed before each one of the gym.
    carry_out(&ctx, "CREATE TABLE earlier (n BIGINT NOT NULL)").await;
    let note = "INSERT INTO earlier SELECT COUNT(*) FROM inbox WHERE source_id = 'spa'";
    let trigger =
        format!("CREATE TRIGGER note BEFORE INSERT ON inbox WHEN NEW.source_id = 'gym' BEGIN {note}; END");
    carry_out(&ctx, &trigger).await;
    let spa = bench.send("spa", 0).await;
    let gym = bench.send("gym", 0).await;
    assert_eq!((spa.waiting.len(), gym.waiting.len()), (56, 8));
    let all = [spa.waiting, gym.waiting].into_iter().flatten().collect();
    bench.commit(all).await.cancel();
    let db = ctx.open().await;
    let (both, before) = (
        "SELECT COUNT(*) AS n FROM earlier",
        "SELECT MAX(n) AS n FROM earlier",
    );
    assert_eq!(number(&db, both, params![]).await, 8);
    let before = number(&db, before, params![]).await;
    assert!(before <= 8, "{before} went first");
}
