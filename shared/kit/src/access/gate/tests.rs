use super::*;
use crate::{
    access::key::{KeyMaker, KeyPrefix, KeySettings},
    audit::AuditEntry,
    random::{SystemClock, SystemEntropy},
    tables::MIGRATIONS,
};
use api::RequestContext;
use contract::{Ids, RequestId, UnixMillis};
use db::{DbSettings, Params, migrate};
use futures::{FutureExt, future::join_all};
use http::{HeaderMap, Method};
use tempfile::TempDir;

const BEGIN: UnixMillis = UnixMillis(1_773_480_413_589);

/// A gate on a database of its own, with one key.
struct Guarded {
    keys: ApiKeys,
    db: Db,
    context: RequestContext,
    headers: HeaderMap,
    _folder: TempDir,
}

impl Guarded {
    /// With a key that may ask so often in an hour.
    async fn open(rate_limit: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/keys.db", folder.path().display());
        let entropy = Arc::new(SystemEntropy);
        let db = Db::open(&url.parse().unwrap(), &DbSettings::default(), entropy.clone()).await;
        let db = db.unwrap();
        migrate(&db, &[MIGRATIONS], &SystemClock, "test").await.unwrap();
        let clock = Arc::new(BEGIN);
        let settings = AccessSettings {
            admin_key: None,
            demo: false,
            trusted_proxies: Networks::default(),
            address: "127.0.0.1:4001".parse().unwrap(),
        };
        let keys = ApiKeys::open(&db, clock.clone(), settings).await.unwrap();
        let maker = KeyMaker {
            prefix: KeyPrefix::default(),
            ids: Ids::new(clock.clone(), entropy.clone()),
            entropy,
            clock,
        };
        let mut settings = KeySettings::new("k", Permissions::all(Level::Read), Scope::All);
        settings.rate_limit = rate_limit;
        let (key, text) = maker.make(settings, "test".to_owned());
        let entry = AuditEntry::new("api_key_created", BEGIN);
        keys.store().create(key, entry, false).await.unwrap();
        let id: RequestId = "req_1".parse().unwrap();
        Self {
            keys,
            db,
            context: RequestContext {
                request_id: id.clone(),
                correlation_id: id,
                traceparent: None,
                method: Method::GET,
                path: String::new(),
                remote: Some("192.0.2.1:1".parse().unwrap()),
            },
            headers: HeaderMap::from_iter([(
                http::HeaderName::from_static("x-api-key"),
                text.parse().unwrap(),
            )]),
            _folder: folder,
        }
    }

    fn ask(&self) -> BoxFuture<'_, Admission> {
        self.keys.admit(Visit {
            context: &self.context,
            headers: &self.headers,
            query: "",
            is_for_loopback: true,
            is_cross_origin: false,
        })
    }

    async fn change_table(&self, sql: &'static str) {
        let changed = self.db.transaction("change_table", move |tx| {
            Box::pin(async move { tx.execute(sql, Params::new()).await.map(drop) })
        });
        changed.await.unwrap();
    }

    async fn drawn(&self) -> u64 {
        let sql = "SELECT COALESCE(SUM(drawn), 0) AS drawn FROM api_key_windows";
        let row = self
            .db
            .read("drawn", move |tx| Box::pin(tx.query_one(sql, Params::new())));
        row.await.unwrap().unwrap().get("drawn").unwrap()
    }

    /// Counts an answer to a key.
    fn answer(&self, key: &Arc<Caller>) {
        let took = Duration::from_millis(1);
        self.keys.answered(key, &"GET /new".into(), StatusCode::OK, took);
    }

    /// The endpoints of which usage is written.
    async fn usage(&self) -> Vec<String> {
        let sql = "SELECT endpoint FROM api_key_usage ORDER BY endpoint";
        let read = self
            .db
            .read("usage", move |tx| Box::pin(tx.query(sql, Params::new())));
        let rows = read.await.unwrap();
        rows.iter().map(|row| row.get("endpoint").unwrap()).collect()
    }

    /// Operations that have failed so far.
    fn failed(&self) -> f64 {
        let registry = prometheus::Registry::new();
        self.db.counts().register(&registry);
        let families = registry.gather();
        let errors = families.iter().find(|family| family.name() == "db_errors_total");
        let samples = errors.unwrap().get_metric().iter();
        samples.map(|sample| sample.get_counter().get_value()).sum()
    }
}

#[tokio::test]
async fn a_draw_is_kept_when_its_caller_hangs_up() {
    // Two are drawn at once.
    let guarded = Guarded::open(40).await;
    for _ in 0..2 {
        assert!(guarded.ask().await.caller.is_ok());
    }
    assert_eq!(guarded.drawn().await, 2);
    let mut gone = guarded.ask();
    assert!((&mut gone).now_or_never().is_none(), "it draws");
    drop(gone);
    for _ in 0..2 {
        assert!(guarded.ask().await.caller.is_ok());
    }
    assert_eq!(guarded.drawn().await, 4);
}

#[tokio::test]
async fn who_waits_for_a_draw_that_fails_fails_with_it() {
    const CALLERS: usize = 50;
    let guarded = Guarded::open(40).await;
    // The key is known, and has nothing left.
    for _ in 0..2 {
        assert!(guarded.ask().await.caller.is_ok());
    }
    guarded
        .change_table("ALTER TABLE api_key_windows RENAME TO hidden")
        .await;
    let before = guarded.failed();
    let answers = join_all((0..CALLERS).map(|_| guarded.ask())).await;
    assert!(answers.iter().all(|answer| answer.caller.is_err()));
    let failed = guarded.failed() - before;
    assert!((1.0..CALLERS as f64).contains(&failed), "{failed}");
}

#[tokio::test]
async fn a_report_shows_what_is_written_and_what_is_not_and_writes_nothing() {
    let guarded = Guarded::open(40).await;
    let key = guarded.ask().await.caller.unwrap();
    let usage = guarded.keys.usage();
    let requests = async || {
        let report = usage.report(&key.id, 1).await.unwrap();
        serde_json::to_value(report).unwrap()["total_requests"].clone()
    };
    guarded.answer(&key);
    assert_eq!(requests().await, 1);
    assert_eq!(guarded.usage().await, Vec::<String>::new());
    usage.write().await;
    assert_eq!((requests().await, guarded.usage().await.len()), (1.into(), 1));
    guarded.answer(&key);
    assert_eq!(requests().await, 2);
    assert_eq!(usage.report("key_other", 1).await.unwrap().total_requests, 0);
}

#[tokio::test]
async fn what_was_counted_of_a_key_that_is_deleted_meanwhile_is_of_nobody() {
    let guarded = Guarded::open(40).await;
    let key = guarded.ask().await.caller.unwrap();
    guarded.answer(&key);
    guarded.keys.usage().write().await;
    assert_eq!(guarded.usage().await.len(), 1);
    let entry = AuditEntry::new("api_key_deleted", BEGIN);
    let store = guarded.keys.store();
    let seen = store.show(&key.id.parse().unwrap()).await.unwrap().unwrap();
    assert!(store.delete(&seen, entry).await.unwrap());
    assert_eq!((guarded.usage().await.len(), guarded.drawn().await), (0, 0));
    // A replica that has not heard of it yet draws for it, and counts.
    guarded
        .change_table("INSERT INTO api_key_windows (key_id, began_at, drawn) SELECT id, 0, 2 FROM api_keys")
        .await;
    guarded.answer(&key);
    guarded.keys.usage().write().await;
    assert_eq!((guarded.usage().await.len(), guarded.drawn().await), (0, 0));
}

#[tokio::test]
async fn a_service_without_a_purge_deletes_old_usage_and_keeps_the_rest() {
    let guarded = Guarded::open(1).await;
    guarded
        .change_table(
            "INSERT INTO api_key_usage (key_id, day, endpoint, requests, failed, duration) \
             SELECT id, 0, 'GET /old', 1, 0, 1 FROM api_keys UNION ALL \
             SELECT id, 1773446400000, 'GET /new', 1, 0, 1 FROM api_keys",
        )
        .await;
    guarded.keys.purge_usage(&Lifecycle::new()).await.unwrap();
    assert_eq!(guarded.usage().await, ["GET /new"]);
}
