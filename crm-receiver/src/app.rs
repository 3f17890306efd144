//! The composition root: from a [`Config`] to a service that runs until it is stopped.

use crate::backlog::Backlog;
use crate::config::Config;
use crate::event::AuditAction;
use crate::http::{
    Api, HELD_BACK_MAX, JobRoutes, KEY_TERMS, RequeueRoutes, SourceRoutes, latest_due, router,
};
use crate::ingest::{
    self, Batcher, IngestMeters, JobUpdates, Lane, PMS, Sources, counts::Counts, guard::StoreGuard,
    rejections::Rejections,
};
use crate::project::{ProjectionMeters, Projector, Requeuer};
use crate::reconcile::{
    FeedClient, ReconcileError, ReconcileMeters, ReconcileStep, Reconciled, Reconciler, ReconcilerParts,
};
use crate::retention::{self, PurgeMeters, PurgeTally, Purger, Retention};
use crate::store::{
    MIGRATIONS, OPERATOR, PROFILES, REQUEUE_KIND, Requeue, RequeueCreation, SEALED, STREAM_ROWS,
    SourceSettings, Store,
};
use crate::stream::Feed;
use api::{Line, Server, serve};
use contract::{RequeueId, Scope, SourceId, TypedId};
use db::{DatabaseUrl, Db, DbError, DbSettings, MigrateError, migrate};
use futures::future::BoxFuture;
use kit::access::{self, AccessError, ApiKeys, KeyMaker, KeyPrefix, KeyRoutes};
use kit::audit::AuditEntry;
use kit::config::{ConfigError, MasterKeyArgs, MasterKeyError};
use kit::lifecycle::{Ended, Lifecycle, STOP_GRACE};
use kit::listing::cursor_key;
use kit::metrics::{Metrics, page::MetricsPage};
pub use kit::random::Runtime;
use kit::rebuild::Rebuilder;
use kit::secrets::{self, Rewrapped};
use kit::sequencer::Sequencer;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// What the name of every metric begins with.
const METRICS_PREFIX: &str = "crm_receiver";
/// How often the counts of rejects and duplicates are written from memory to the database.
const COUNTS_EVERY: Duration = Duration::from_secs(5);

/// Why the service does not start: a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys of the secrets in the tables cannot be used.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// Anyone could do anything, or the keys cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The database cannot be used.
    #[error("DATABASE_URL: {0}")]
    Database(#[from] DbError),
    /// The tables cannot be migrated.
    #[error("DATABASE_URL: {0}")]
    Migrate(#[from] MigrateError),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    Egress(String),
}

/// A receiver that is bound to its port and whose tables are up to date.
pub struct App {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    store: Store,
    table: Vec<Line>,
    server: Server,
    keys: ApiKeys,
    sources: Sources,
    guard: StoreGuard,
    lanes: Vec<Lane>,
    projector: Projector,
    requeuer: Requeuer,
    purger: (Purger, PurgeMeters),
    /// None without PMS_FEED_URL.
    reconciler: Option<Reconciler>,
    counts: Arc<Counts>,
    rejections: Arc<Rejections>,
    /// None without METRICS_ADDR.
    metrics: Option<MetricsPage>,
    /// Rebuilds the profiles that an older program has derived.
    profiles: Rebuilder,
    /// Gives the batches of the live stream their places.
    sequencer: Sequencer,
    feed: Feed,
}

/// Opens the database and migrates its tables. `exclusive`: claims a SQLite file, as `serve` does.
///
/// # Errors
/// When the database cannot be reached, is claimed by another `serve`, or has a newer schema.
pub async fn open_store(url: &DatabaseUrl, runtime: &Runtime, exclusive: bool) -> Result<Store, StartError> {
    let settings = DbSettings {
        exclusive,
        ..DbSettings::default()
    };
    let db = Db::open(url, &settings, Arc::clone(&runtime.entropy)).await?;
    let owner = runtime.ids().new_id("run");
    migrate(
        &db,
        &[kit::tables::MIGRATIONS, MIGRATIONS],
        runtime.clock.as_ref(),
        &owner,
    )
    .await?;
    Ok(Store::new(db))
}

/// Begins a run that gives all dead letters of now back to the projector, as `POST /requeues` does: a receiver that serves carries it
/// out, within its bounds.
///
/// # Errors
/// When the database fails.
pub async fn requeue_all(store: &Store, runtime: &Runtime) -> Result<(RequeueId, RequeueCreation), DbError> {
    let id = runtime.ids().new_id(RequeueId::PREFIX).parse();
    let id: RequeueId = id.unwrap_or_else(|_| unreachable!("the ids we make are valid ids"));
    let now = runtime.clock.now();
    let (filter, by) = (serde_json::Map::new(), OPERATOR.to_owned());
    let run = Requeue::new(id.clone(), filter, Scope::All, by, now, latest_due(now));
    let entry = AuditEntry {
        actor: Some(OPERATOR.to_owned()),
        entity_kind: Some(REQUEUE_KIND.to_owned()),
        entity_id: Some(id.to_string()),
        ..AuditEntry::new(AuditAction::RequeueStarted.into_str(), now)
    };
    Ok((id, store.create_requeue(&run, entry).await?))
}

/// Deletes what is old enough, or with `dry_run` counts it; None when another purge is going on.
///
/// # Errors
/// When the database fails; what was deleted before stays so.
pub async fn purge(
    store: &Store,
    runtime: &Runtime,
    retention: Retention,
    dry_run: bool,
) -> Result<Option<PurgeTally>, DbError> {
    let (clock, owner) = (Arc::clone(&runtime.clock), runtime.ids().new_id("run"));
    retention::at_once(store.clone(), clock, retention, owner, dry_run)
        .to_the_end()
        .await
}

/// What compares the feed of `pms` with what is here once, and takes in what is missing, while a receiver may serve beside it.
pub struct Reconciliation {
    reconciler: Reconciler,
    store: Store,
    drained: CancellationToken,
    tasks: JoinSet<()>,
}

impl Reconciliation {
    /// Opens the database and what takes events in. `from`: the place behind which all is compared again.
    ///
    /// # Errors
    /// When the database cannot be used, or there is no feed.
    pub fn open(
        config: Config,
        runtime: Runtime,
        from: Option<i64>,
    ) -> BoxFuture<'static, Result<Self, StartError>> {
        Box::pin(async move {
            contract::phone::warm_up();
            let store = open_store(&config.database, &runtime, false).await?;
            let sources = open_sources(&config, &store, &runtime).await?;
            let guard = StoreGuard::new(Arc::clone(&runtime.clock), Arc::clone(&runtime.entropy));
            let metrics = Metrics::new(METRICS_PREFIX, env!("CARGO_PKG_VERSION"));
            let backlog = Backlog::default();
            let (batcher, lanes) = ingest::open(
                &store,
                guard.clone(),
                config.ingest,
                &runtime,
                backlog.clone(),
                IngestMeters::new(&metrics),
            );
            let parts = reconciler_parts(&config, &store, &runtime, batcher, sources, backlog)?;
            let parts = parts.ok_or_else(|| ConfigError::new("PMS_FEED_URL", "it is not set"))?;
            let (drained, mut tasks) = (CancellationToken::new(), JoinSet::new());
            tasks.spawn(guard.keep(store.clone(), drained.clone()));
            for lane in lanes {
                tasks.spawn(lane.run(drained.clone()));
            }
            Ok(Self {
                reconciler: Reconciler::at_once(parts, from),
                store,
                drained,
                tasks,
            })
        })
    }

    /// One step.
    ///
    /// # Errors
    /// As [`ReconcileError`] lists them.
    pub async fn step(&mut self) -> Result<ReconcileStep, ReconcileError> {
        self.reconciler.step().await
    }

    /// Runs to the end of the feed; None when another process reconciles.
    ///
    /// # Errors
    /// As [`ReconcileError`] lists them; what was done before stays done.
    pub async fn to_the_end(&mut self) -> Result<Option<Reconciled>, ReconcileError> {
        self.reconciler.to_the_end().await
    }

    /// The tables.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Finishes what is being committed, gives the lease up, and closes the database.
    pub async fn close(mut self) {
        self.reconciler.close().await;
        self.drained.cancel();
        self.tasks.join_all().await;
        self.store.close().await;
    }
}

/// What a reconciler needs; None where there is no feed.
fn reconciler_parts(
    config: &Config,
    store: &Store,
    runtime: &Runtime,
    batcher: Batcher,
    sources: Sources,
    backlog: Backlog,
) -> Result<Option<ReconcilerParts>, StartError> {
    let Some(feed) = &config.feed else {
        return Ok(None);
    };
    Ok(Some(ReconcilerParts {
        source: PMS.parse().expect("it is a valid id"),
        client: FeedClient::new(feed).map_err(StartError::Egress)?,
        store: store.clone(),
        batcher,
        sources,
        backlog,
        clock: Arc::clone(&runtime.clock),
        ids: runtime.ids(),
        remembered_days: config.retention.idempotency_keys_days,
        meters: None,
    }))
}

/// Who may send: what the environment says of `pms`, and what the tables say of the others.
async fn open_sources(config: &Config, store: &Store, runtime: &Runtime) -> Result<Sources, StartError> {
    let keys = config
        .master_key
        .open(&config.database, &store.db, runtime.entropy.as_ref());
    let keys = keys.await?;
    if config.secrets.is_some() {
        let pms: SourceId = PMS.parse().expect("it is a valid id");
        let settings = SourceSettings {
            max_skew_seconds: config.max_skew_seconds,
            ..SourceSettings::new("PMS", true)
        };
        store.keep_source(&pms, settings, runtime.clock.now()).await?;
    }
    let (clock, entropy) = (Arc::clone(&runtime.clock), Arc::clone(&runtime.entropy));
    Ok(Sources::open(store, keys, config.secrets.clone(), clock, entropy).await?)
}

/// Encrypts every secret again under the first master key.
///
/// # Errors
/// When the tables cannot be opened, or none of the keys is theirs.
pub async fn rewrap(
    args: &MasterKeyArgs,
    url: &DatabaseUrl,
    runtime: &Runtime,
) -> Result<Rewrapped, StartError> {
    let store = open_store(url, runtime, false).await?;
    let keys = args.open(url, &store.db, runtime.entropy.as_ref()).await?;
    let done = secrets::rewrap(&store.db, &keys, &SEALED, runtime.entropy.as_ref()).await;
    store.close().await;
    Ok(done?)
}

impl App {
    /// Opens the database, migrates its tables, and listens.
    ///
    /// # Errors
    /// When any of it fails, as a sentence for the operator.
    pub fn build(config: Config, runtime: Runtime) -> BoxFuture<'static, Result<Self, StartError>> {
        Box::pin(Self::open(config, runtime))
    }

    async fn open(config: Config, runtime: Runtime) -> Result<Self, StartError> {
        contract::phone::warm_up();
        let store = open_store(&config.database, &runtime, true).await?;
        let sources = open_sources(&config, &store, &runtime).await?;
        let (listener, address) = config.http.bind().await?;
        let guard = StoreGuard::new(Arc::clone(&runtime.clock), Arc::clone(&runtime.entropy));
        let metrics = Metrics::new(METRICS_PREFIX, env!("CARGO_PKG_VERSION"));
        let (backlog, meters) = (Backlog::default(), IngestMeters::new(&metrics));
        let (batcher, lanes) = ingest::open(
            &store,
            guard.clone(),
            config.ingest,
            &runtime,
            backlog.clone(),
            meters.clone(),
        );
        batcher.expose(&metrics);
        guard.expose(&metrics);
        sources.expose(&metrics);
        backlog.expose(&metrics, &runtime.clock);
        let projected = ProjectionMeters::new(&metrics);
        let clock = || Arc::clone(&runtime.clock);
        let projector = Projector::new(store.clone(), clock(), backlog.clone(), projected);
        let (begun, owner) = (Arc::new(Notify::new()), runtime.ids().new_id("run"));
        let requeuer = Requeuer::new(store.clone(), clock(), backlog.clone(), owner, Arc::clone(&begun));
        let owner = runtime.ids().new_id("run");
        let purger = retention::hourly(store.clone(), backlog.clone(), clock(), config.retention, owner);
        let purger = (purger, PurgeMeters::new(&metrics, clock()));
        let shown = ReconcileMeters::new(&metrics, clock());
        let parts = reconciler_parts(
            &config,
            &store,
            &runtime,
            batcher.clone(),
            sources.clone(),
            backlog.clone(),
        )?;
        let reconciler = parts.map(|parts| {
            Reconciler::periodic(ReconcilerParts {
                meters: Some(shown),
                ..parts
            })
        });
        let counts = Arc::new(Counts::by_minute());
        let rejections = Arc::new(Rejections::new(runtime.ids()));
        let feed = Feed::new(store.clone(), backlog, &metrics);
        let job_updates = JobUpdates::new(store.clone(), guard.clone());
        let api = Api {
            job_updates,
            store: store.clone(),
            batcher,
            sources: sources.clone(),
            trusted_proxies: Arc::new(config.access.trusted_proxies.clone()),
            failed: Arc::default(),
            counts: Arc::clone(&counts),
            rejections: Arc::clone(&rejections),
            meters,
            feed: feed.clone(),
            clock: Arc::clone(&runtime.clock),
            held_back: Arc::new(Semaphore::new(HELD_BACK_MAX)),
            large_profiles: Arc::new(Semaphore::new(1)),
        };
        let settings = config.access.settings(address);
        let keys = ApiKeys::open(&store.db, Arc::clone(&runtime.clock), settings).await?;
        let key_routes = KeyRoutes {
            keys: keys.clone(),
            maker: key_maker(config.access.api_key_prefix.clone(), &runtime),
            terms: KEY_TERMS,
            base_path: config.http.app_base_path.as_str().into(),
        };
        let source_routes = SourceRoutes {
            store: store.clone(),
            sources: sources.clone(),
            clock: Arc::clone(&runtime.clock),
            ids: runtime.ids(),
            entropy: Arc::clone(&runtime.entropy),
            base_path: config.http.app_base_path.as_str().into(),
            has_feed: config.feed.is_some(),
        };
        let base_path = &config.http.app_base_path;
        let requeue_routes = RequeueRoutes {
            store: store.clone(),
            clock: clock(),
            ids: runtime.ids(),
            begun,
            base_path: base_path.as_str().into(),
        };
        let job_routes = JobRoutes {
            store: store.clone(),
            clock: clock(),
            base_path: base_path.as_str().into(),
        };
        let router = router(&api, &source_routes, &requeue_routes, &job_routes, base_path)
            .mount(base_path, access::routes(&key_routes));
        let table = router.table().collect();
        let server = Server::new(router, runtime.ids(), config.http.body_limits())
            .with_hosts(config.http.hosts(address))
            .with_origins(config.access.cors_allowed_origins.clone())
            .with_cursor_key(cursor_key(&store.db, runtime.entropy.as_ref()).await?)
            .with_gate(Arc::new(keys.clone()));
        server.traffic().register(metrics.registry());
        store.db.counts().register(metrics.registry());
        let metrics = MetricsPage::open(&config.http, metrics, runtime.ids()).await?;
        let (db, clock) = (store.db.answering_after_abort(), Arc::clone(&runtime.clock));
        let profiles = Rebuilder::new(db, Arc::clone(&clock), runtime.ids().new_id("run"), PROFILES);
        let sequencer = Sequencer::new(&store.db, clock, runtime.ids().new_id("run"), STREAM_ROWS)
            .of_only_one(store.has_one_writer());
        Ok(Self {
            config,
            listener,
            address,
            store,
            table,
            server,
            keys,
            sources,
            guard,
            lanes,
            projector,
            requeuer,
            purger,
            reconciler,
            counts,
            rejections,
            metrics,
            profiles,
            sequencer,
            feed,
        })
    }

    /// Where it listens; the real port when it was asked for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it shows its metrics, if it does.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(MetricsPage::address)
    }

    /// Its endpoints, with what each asks of its caller.
    pub fn table(&self) -> &[Line] {
        &self.table
    }

    /// The tables, as this service sees them.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Serves until a stop: then accepts no more, answers each request that is being handled after its commit, and closes
    /// the database.
    pub fn run_until_stopped(self, lifecycle: Lifecycle) -> BoxFuture<'static, Ended> {
        Box::pin(self.run(lifecycle))
    }

    async fn run(self, lifecycle: Lifecycle) -> Ended {
        tracing::info!(address = %self.address, "listening");
        // Lanes outlive the last connection: the arrivals from it still have to be committed.
        let drained = CancellationToken::new();
        let settings = self.config.http.serve_settings();
        let serving = serve(self.listener, self.server, settings, lifecycle.signal());
        let no_more = drained.clone().drop_guard();
        lifecycle.spawn("http", async move {
            serving.await;
            drop(no_more);
        });
        if let Some(page) = self.metrics {
            lifecycle.spawn("metrics", page.serve(lifecycle.clone()));
        }
        let keeping = self.guard.keep(self.store.clone(), drained.clone());
        lifecycle.spawn("store guard", keeping);
        for lane in self.lanes {
            lifecycle.spawn("ingest lane", lane.run(drained.clone()));
        }
        lifecycle.spawn("projector", self.projector.run(drained.clone()));
        lifecycle.spawn("requeuer", self.requeuer.run(lifecycle.clone()));
        let (purger, meters) = self.purger;
        lifecycle.spawn("purger", purger.run(meters, lifecycle.clone()));
        if let Some(reconciler) = self.reconciler {
            lifecycle.spawn("reconciler", reconciler.run(lifecycle.clone()));
        }
        lifecycle.spawn("profiles", self.profiles.run(lifecycle.clone()));
        let feeding = self.feed.run(self.sequencer.given(), lifecycle.clone());
        lifecycle.spawn("stream", feeding);
        lifecycle.spawn("sequencer", self.sequencer.run(lifecycle.clone()));
        lifecycle.spawn("sources", self.sources.clone().run(lifecycle.clone()));
        lifecycle.spawn("source watch", self.sources.clone().watch(lifecycle.clone()));
        lifecycle.spawn("api keys", self.keys.clone().run(lifecycle.clone()));
        let rejections = self.rejections.keep(self.store.clone(), drained.clone());
        lifecycle.spawn("rejections", rejections);
        lifecycle.spawn("counts", keep_counts(self.store.clone(), self.counts, drained));
        let ended = lifecycle.run_until_stopped(STOP_GRACE).await;
        // What was answered after the stop is counted too.
        self.keys.write_usage().await;
        self.sources.write_rest().await;
        self.store.close().await;
        ended
    }
}

/// Makes API keys as this service is set to.
pub fn key_maker(prefix: KeyPrefix, runtime: &Runtime) -> KeyMaker {
    KeyMaker {
        prefix,
        ids: runtime.ids(),
        entropy: Arc::clone(&runtime.entropy),
        clock: Arc::clone(&runtime.clock),
    }
}

/// Adds what was counted in memory to the audit's counts, every few seconds and at the end.
async fn keep_counts(store: Store, counts: Arc<Counts>, drained: CancellationToken) {
    loop {
        let last = timeout(COUNTS_EVERY, drained.cancelled()).await.is_ok();
        let taken: Arc<[_]> = counts.take().into();
        if !taken.is_empty() && store.add_counts(Arc::clone(&taken)).await.is_err() {
            // The outage itself is logged where requests fail.
            counts.give_back(taken.to_vec());
        }
        if last {
            return;
        }
    }
}
