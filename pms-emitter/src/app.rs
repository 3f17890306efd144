//! The composition root: from a [`Config`] to a service that runs until it is stopped.

use crate::config::Config;
use crate::http::{Api, router};
use crate::store::{ENV_ENDPOINT, EndpointSettings, MIGRATIONS, Store};
use contract::{Clock, UnixMillis};
use kit::config::ConfigError;
use kit::db::{Db, DbError, DbSettings, MigrateError, migrate};
use kit::http::{Server, serve};
use kit::lifecycle::{Ended, Lifecycle, STOP_GRACE};
use kit::random::{Entropy, Ids, SystemClock, SystemEntropy};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What a service takes from outside beside its configuration: tests bring their own.
#[derive(Clone)]
pub struct Runtime {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// Why the service does not start: a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database cannot be used.
    #[error("DATABASE_URL: {0}")]
    Database(#[from] DbError),
    /// The tables cannot be brought up to date.
    #[error("DATABASE_URL: {0}")]
    Migrate(#[from] MigrateError),
}

/// An emitter that is bound to its port and whose tables are up to date.
pub struct App {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    store: Store,
    server: Server,
}

impl Runtime {
    /// The system's clock and randomness.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// Ids from this clock and this randomness.
    pub fn ids(&self) -> Ids {
        Ids::new(Arc::clone(&self.clock), Arc::clone(&self.entropy))
    }
}

/// Opens the database and brings its tables up to date. `exclusive`: claims a SQLite file, as `serve` does.
///
/// # Errors
/// When the database cannot be reached, is claimed by another `serve`, or has a newer schema.
pub async fn open_store(config: &Config, runtime: &Runtime, exclusive: bool) -> Result<Store, StartError> {
    let settings = DbSettings {
        exclusive,
        ..DbSettings::default()
    };
    let db = Db::open(&config.database, &settings).await?;
    let owner = runtime.ids().new_id("run");
    migrate(&db, &[MIGRATIONS], runtime.clock.as_ref(), &owner).await?;
    let store = Store::new(db);
    store.open_default_property(runtime.clock.now()).await?;
    Ok(store)
}

/// Makes dead deliveries due again, batch by batch, and answers how many.
///
/// # Errors
/// When the database fails; what was made due before stays so.
pub async fn retry_dead(store: &Store, runtime: &Runtime, since: UnixMillis) -> Result<usize, DbError> {
    let mut count = 0;
    loop {
        let revived = store.revive_dead(since, runtime.clock.now()).await?;
        count += revived.count;
        if !revived.more {
            return Ok(count);
        }
    }
}

impl App {
    /// Opens the database, brings its tables up to date, writes the environment's endpoint, and listens.
    ///
    /// # Errors
    /// When any of it fails, as a sentence for the operator.
    pub async fn build(config: Config, runtime: Runtime) -> Result<Self, StartError> {
        let store = open_store(&config, &runtime, true).await?;
        let settings = EndpointSettings {
            url: config.endpoint.as_ref().map(|endpoint| endpoint.url.clone()),
            retry_schedule: None,
            first_wait: config.delivery.schedule.first_wait(),
        };
        store
            .configure_endpoint(ENV_ENDPOINT, settings, runtime.clock.now())
            .await?;
        let listener = config.http.bind().await?;
        let address = listener
            .local_addr()
            .map_err(|error| ConfigError::new("APP_PORT", error.to_string()))?;
        let api = Api {
            store: store.clone(),
            clock: Arc::clone(&runtime.clock),
            ids: runtime.ids(),
            base_path: config.http.app_base_path.as_str().into(),
        };
        let server = Server::new(router(&api), runtime.ids(), config.http.body_limits());
        Ok(Self {
            config,
            listener,
            address,
            store,
            server,
        })
    }

    /// Where it listens; the real port when it was asked for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The tables, as this service sees them.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Serves and delivers until a stop: then accepts no more, finishes what is in flight, gives claims back, and
    /// closes the database.
    pub async fn run_until_stopped(self, lifecycle: Lifecycle) -> Ended {
        tracing::info!(address = %self.address, "listening");
        let settings = self.config.http.serve_settings();
        lifecycle.spawn(
            "http",
            serve(self.listener, self.server, settings, lifecycle.clone()),
        );
        let ended = lifecycle.run_until_stopped(STOP_GRACE).await;
        self.store.db.close().await;
        ended
    }
}
