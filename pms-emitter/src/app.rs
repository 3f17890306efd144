//! The composition root: from a [`Config`] to a service that runs until it is stopped.

use crate::config::Config;
use crate::desk::{Catalogue, Desk, Environment, Vault, Wakeups};
use crate::digest_key;
use crate::dispatch::attempt::AGENT;
use crate::dispatch::{
    AttemptCounters, Breakers, DispatcherParts, Dispatchers, Places, Runner, SettlementCounters, Testing,
    expose_backlog, notice,
};
use crate::domain::guest_document::DigestKey;
use crate::http::{Api, FeedWaiters, KEY_TERMS, TestPlaces, router};
use crate::retention::{self, ByHand, PurgeMeters, PurgeTally, Purger, Retention};
use crate::store::{EnvEndpoint, FanOut, GUEST_NAMES, MIGRATIONS, SEALED, Store, env_endpoint};
use api::{Line, Server, serve};
use contract::UnixMillis;
use db::{Db, DbError, DbSettings, Dialect, MigrateError, migrate};
use futures::future::BoxFuture;
use kit::access::{self, AccessError, ApiKeys, KeyMaker, KeyRoutes};
use kit::config::{ConfigError, MasterKeyError};
use kit::egress::Egress;
use kit::idempotency::Idempotency;
use kit::lifecycle::{Ended, Lifecycle, STOP_GRACE};
use kit::listing::cursor_key;
use kit::metrics::{Metrics, page::MetricsPage};
pub use kit::random::Runtime;
use kit::rebuild::Rebuilder;
use kit::secrets::{self, MasterKeys, Rewrapped};
use kit::sequencer::Sequencer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// What the name of every metric begins with.
const METRICS_PREFIX: &str = "pms_emitter";

/// How often expired idempotency keys are looked for, and how many are removed at once.
const PURGE_EVERY: Duration = Duration::from_secs(600);
const PURGE_ROWS: u32 = 500;

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
    #[error("DATABASE_URL or DB_HOST: {0}")]
    Database(#[from] DbError),
    /// The tables cannot be migrated.
    #[error("DATABASE_URL or DB_HOST: {0}")]
    Migrate(#[from] MigrateError),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    Egress(String),
}

/// An emitter that is bound to its port and whose tables are up to date.
pub struct App {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    store: Store,
    table: Vec<Line>,
    server: Server,
    keys: ApiKeys,
    idempotency: Arc<Idempotency>,
    dispatchers: Dispatchers,
    runner: Runner,
    /// Queues events for the endpoints. It runs also where there is none: an event has its place in any case.
    sequencer: Sequencer,
    /// None without METRICS_ADDR.
    metrics: Option<MetricsPage>,
    /// Rebuilds the names that an older program has folded.
    guest_names: Rebuilder,
    purger: Purger,
    purge_meters: PurgeMeters,
}

/// Opens the database and migrates its tables. `exclusive`: claims a SQLite file, as `serve` does.
///
/// # Errors
/// When the database cannot be reached, is claimed by another `serve`, or has a newer schema.
pub async fn open_store(config: &Config, runtime: &Runtime, exclusive: bool) -> Result<Store, StartError> {
    let settings = DbSettings {
        exclusive,
        ..DbSettings::default()
    };
    let db = Db::open(&config.database, &settings, Arc::clone(&runtime.entropy)).await?;
    let owner = runtime.ids().new_id("run");
    migrate(
        &db,
        &[kit::tables::MIGRATIONS, MIGRATIONS],
        runtime.clock.as_ref(),
        &owner,
    )
    .await?;
    let store = Store::new(db);
    store.open_default_property(runtime.clock.now()).await?;
    Ok(store)
}

/// Makes dead deliveries due again, batch by batch, and answers how many. What dies again meanwhile stays dead: no
/// run makes a delivery due twice.
///
/// # Errors
/// When the database fails; what was made due before stays so.
pub async fn retry_dead(store: &Store, runtime: &Runtime, since: UnixMillis) -> Result<usize, DbError> {
    let (mut count, begun) = (0, runtime.clock.now());
    loop {
        let retried = store.retry_dead(since..=begun, runtime.clock.now()).await?;
        count += retried.count;
        if !retried.more {
            return Ok(count);
        }
    }
}

/// Keeps what the environment says of its webhook in the tables, where the API changes it from then on; false when that was done
/// before.
///
/// # Errors
/// When there is no URL, or the tables cannot be opened.
pub async fn adopt_env(config: &Config, runtime: &Runtime) -> Result<bool, StartError> {
    let endpoint = config.endpoint.as_ref();
    let endpoint = endpoint.ok_or_else(|| ConfigError::new("CRM_WEBHOOK_URL", "it is not set"))?;
    let settings = config.egress.settings(SocketAddr::from(([0, 0, 0, 0], 0)));
    let egress = Egress::new(AGENT, settings).map_err(|error| StartError::Egress(error.to_string()))?;
    egress.check(endpoint.url.as_str()).await.map_err(|why| {
        let problem = format!(
            "{why}, which the environment's own alone may be without EGRESS_ALLOW and EGRESS_ALLOW_HTTP"
        );
        ConfigError::new("CRM_WEBHOOK_URL", problem)
    })?;
    let store = open_store(config, runtime, false).await?;
    let keys = config
        .master_key
        .open(&config.database, store.db(), runtime.entropy.as_ref());
    let vault = Vault {
        master_keys: keys.await?,
        entropy: Arc::clone(&runtime.entropy),
    };
    let environment = Environment {
        url: endpoint.url.as_str(),
        secrets: endpoint.secrets.as_slice(),
        timeout: config.delivery.timeout,
        concurrency: config.delivery.concurrency,
    };
    let (now, ids) = (runtime.clock.now(), runtime.ids());
    let adopted = environment.adopt(&store, &vault, &ids, now).await;
    store.db().clone().close().await;
    Ok(adopted?)
}

/// Deletes what is old enough, or only counts it; None when another purge is going on.
///
/// # Errors
/// When the database fails; what was deleted before stays so.
pub async fn purge_at_once(
    store: &Store,
    runtime: &Runtime,
    retention: Retention,
    by_hand: ByHand,
) -> Result<Option<PurgeTally>, DbError> {
    let (clock, owner) = (Arc::clone(&runtime.clock), runtime.ids().new_id("run"));
    retention::at_once(store.clone(), clock, retention, owner, by_hand)
        .to_the_end()
        .await
}

/// Encrypts every secret again under the first master key.
///
/// # Errors
/// When the tables cannot be opened, or none of the keys is theirs.
pub async fn rewrap(config: &Config, runtime: &Runtime) -> Result<Rewrapped, StartError> {
    let store = open_store(config, runtime, false).await?;
    let keys = config
        .master_key
        .open(&config.database, store.db(), runtime.entropy.as_ref());
    let done = secrets::rewrap(store.db(), &keys.await?, &SEALED, runtime.entropy.as_ref()).await;
    store.db().clone().close().await;
    Ok(done?)
}

impl App {
    /// Opens the database, migrates its tables, writes the environment's endpoint, and listens.
    ///
    /// # Errors
    /// When any of it fails, as a sentence for the operator.
    pub fn build(config: Config, runtime: Runtime) -> BoxFuture<'static, Result<Self, StartError>> {
        Box::pin(Self::open(config, runtime))
    }

    async fn open(config: Config, runtime: Runtime) -> Result<Self, StartError> {
        contract::phone::warm_up();
        let store = open_store(&config, &runtime, true).await?;
        let settings = EnvEndpoint {
            url: config
                .endpoint
                .as_ref()
                .map(|endpoint| endpoint.url.as_str().to_owned()),
            first_wait: config.delivery.schedule.first_wait(),
        };
        let configured = store.configure_endpoint(env_endpoint(), settings, runtime.clock.now());
        if !configured.await? && config.endpoint.is_some() {
            tracing::warn!("CRM_WEBHOOK_URL is not used: its webhook was adopted, and the API changes it");
        }
        let keys = config
            .master_key
            .open(&config.database, store.db(), runtime.entropy.as_ref());
        let master_keys = keys.await?;
        let (listener, address) = config.http.bind().await?;
        let (db, clock) = (store.db().clone(), Arc::clone(&runtime.clock));
        let idempotency = Arc::new(Idempotency::new(db, clock, Arc::clone(&runtime.entropy)));
        let fan_out = FanOut::new(config.delivery.schedule.first_wait());
        let queued = fan_out.queued();
        let wakeups = Wakeups {
            queued: queued.clone(),
            ..Wakeups::default()
        };
        let (owner, clock) = (runtime.ids().new_id("run"), Arc::clone(&runtime.clock));
        let sequencer = Sequencer::new(store.db(), clock, owner, fan_out)
            .of_only_one(store.db().dialect() == Dialect::Sqlite);
        let mut metrics = Metrics::new(METRICS_PREFIX, env!("CARGO_PKG_VERSION"));
        let egress = Egress::new(AGENT, config.egress.settings(address))
            .map_err(|error| StartError::Egress(error.to_string()))?;
        let parts = dispatcher_parts(&config, egress.clone(), &store, &runtime, &master_keys, &metrics);
        let parts = Arc::new(parts);
        let testing = Testing::new(&parts);
        let (clock, owner) = (Arc::clone(&runtime.clock), runtime.ids().new_id("run"));
        let begun = Arc::clone(&wakeups.runs);
        let runner = Runner::new(store.clone(), clock, owner, queued.clone(), begun);
        let api = Api {
            feed: FeedWaiters::new(sequencer.given()),
            tests: TestPlaces::default(),
            desk: Desk {
                store: store.clone(),
                clock: Arc::clone(&runtime.clock),
                ids: runtime.ids(),
                vault: Vault {
                    master_keys,
                    entropy: Arc::clone(&runtime.entropy),
                },
                egress,
                send_test: Arc::new(move |event| Box::pin(testing.clone().send(event))),
                digest_key: Arc::new(digest_key(&config, &runtime)?),
                catalogue: Catalogue::default(),
                wakeups,
            },
            idempotency: Arc::clone(&idempotency),
            base_path: config.http.app_base_path.as_str().into(),
        };
        let settings = config.access.settings(address);
        let keys = ApiKeys::open(store.db(), Arc::clone(&runtime.clock), settings).await?;
        let key_routes = KeyRoutes {
            keys: keys.clone(),
            maker: key_maker(&config, &runtime),
            terms: KEY_TERMS,
            base_path: Arc::clone(&api.base_path),
        };
        let router = router(&api).mount(&api.base_path, access::routes(&key_routes));
        let table = router.table().collect();
        let server = Server::new(router, runtime.ids(), config.http.body_limits())
            .with_hosts(config.http.hosts(address))
            .with_origins(config.access.cors_allowed_origins.clone())
            .with_cursor_key(cursor_key(store.db(), runtime.entropy.as_ref()).await?)
            .with_gate(Arc::new(keys.clone()));
        server.traffic().register(metrics.registry());
        store.db.counts().register(metrics.registry());
        expose_backlog(&mut metrics, &store, &runtime.clock);
        let dispatchers = Dispatchers::new(parts, queued);
        let purge_meters = PurgeMeters::new(&metrics, Arc::clone(&runtime.clock));
        let (clock, owner) = (Arc::clone(&runtime.clock), runtime.ids().new_id("run"));
        let purger = retention::hourly(store.clone(), clock, config.retention, owner);
        let metrics = MetricsPage::open(&config.http, metrics, runtime.ids()).await?;
        let (db, clock) = (store.db().answering_after_abort(), Arc::clone(&runtime.clock));
        let guest_names = Rebuilder::new(db, clock, runtime.ids().new_id("run"), GUEST_NAMES);
        Ok(Self {
            config,
            listener,
            address,
            store,
            table,
            server,
            keys,
            idempotency,
            dispatchers,
            runner,
            sequencer,
            metrics,
            guest_names,
            purger,
            purge_meters,
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

    /// Serves and delivers until a stop: then accepts no more, finishes what has begun, gives claims back, and
    /// closes the database.
    pub fn run_until_stopped(self, lifecycle: Lifecycle) -> BoxFuture<'static, Ended> {
        Box::pin(self.run(lifecycle))
    }

    async fn run(self, lifecycle: Lifecycle) -> Ended {
        tracing::info!(address = %self.address, "listening");
        let settings = self.config.http.serve_settings();
        lifecycle.spawn(
            "http",
            serve(self.listener, self.server, settings, lifecycle.signal()),
        );
        if let Some(page) = self.metrics {
            lifecycle.spawn("metrics", page.serve(lifecycle.clone()));
        }
        lifecycle.spawn("sequencer", self.sequencer.run(lifecycle.clone()));
        lifecycle.spawn("notices", notice(self.dispatchers.parts(), lifecycle.clone()));
        lifecycle.spawn("dispatchers", self.dispatchers.run(lifecycle.clone()));
        lifecycle.spawn("runs", self.runner.run(lifecycle.clone()));
        lifecycle.spawn("guest names", self.guest_names.run(lifecycle.clone()));
        lifecycle.spawn("api keys", self.keys.clone().run(lifecycle.clone()));
        let purging = purge_keys(self.idempotency, self.keys.clone(), lifecycle.clone());
        lifecycle.spawn("idempotency keys", purging);
        lifecycle.spawn("purge", self.purger.run(self.purge_meters, lifecycle.clone()));
        let ended = lifecycle.run_until_stopped(STOP_GRACE).await;
        // What was answered after the stop is counted too.
        self.keys.write_usage().await;
        self.store.db.close().await;
        ended
    }
}

/// Makes API keys as this service is set to.
pub fn key_maker(config: &Config, runtime: &Runtime) -> KeyMaker {
    KeyMaker {
        prefix: config.access.api_key_prefix.clone(),
        ids: runtime.ids(),
        entropy: Arc::clone(&runtime.entropy),
        clock: Arc::clone(&runtime.clock),
    }
}

fn digest_key(config: &Config, runtime: &Runtime) -> Result<DigestKey, ConfigError> {
    if let Some(key) = &config.document_digest_key {
        return Ok(key.clone());
    }
    digest_key::read_or_make(&config.data_folder, runtime.entropy.as_ref()).map_err(|error| {
        let folder = config.data_folder.display();
        ConfigError::new(
            "DOCUMENT_DIGEST_KEY",
            format!("it is not set, and none can be kept in {folder}: {error}"),
        )
    })
}

/// Deletes idempotency keys that have expired and the old usage of API keys, in small portions.
async fn purge_keys(idempotency: Arc<Idempotency>, keys: ApiKeys, lifecycle: Lifecycle) {
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            () = tokio::time::sleep(PURGE_EVERY) => {}
        }
        loop {
            match idempotency.purge(PURGE_ROWS).await {
                Ok(0) => break,
                Ok(_) if lifecycle.is_stopping() => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = %error, "expired idempotency keys stay for now");
                    break;
                }
            }
        }
        if let Err(error) = keys.purge_usage(&lifecycle).await {
            tracing::warn!(error = %error, "the old usage of API keys stays for now");
        }
    }
}

/// What the dispatchers of all endpoints share.
fn dispatcher_parts(
    config: &Config,
    egress: Egress,
    store: &Store,
    runtime: &Runtime,
    master_keys: &MasterKeys,
    metrics: &Metrics,
) -> DispatcherParts {
    let breakers = Breakers::new(metrics);
    if config.endpoint.is_some() {
        breakers.expose(metrics, &env_endpoint());
    }
    DispatcherParts {
        delivery: config.delivery.clone(),
        store: store.clone(),
        egress,
        env_secrets: config.endpoint.as_ref().map(|endpoint| endpoint.secrets.clone()),
        master_keys: master_keys.clone(),
        ids: runtime.ids(),
        clock: Arc::clone(&runtime.clock),
        entropy: Arc::clone(&runtime.entropy),
        attempts: AttemptCounters::new(metrics),
        settlements: SettlementCounters::new(metrics),
        breakers,
        places: Places::default(),
    }
}
