//! Both services in one process, talking over real sockets, on whatever databases they are given.
//!
//! [`World::start`] returns when both are listening, [`World::settled`] when every event has had its effect, and
//! [`World::stop`] when both have finished what they held and closed their databases. [`World::abandon`] stops them in
//! the middle of their work. A world that is dropped without either says so: what it left behind was never looked at.

mod config;

pub use config::fresh_secret;

use anyhow::{Context, Result, bail, ensure};
use contract::SecretList;
use crm_receiver::app as receiver;
use db::{DatabaseUrl, Db, DbSettings};
use futures::future::BoxFuture;
use kit::lifecycle::{Ended, Lifecycle};
use kit::random::{Runtime, SystemEntropy};
use pms_emitter::app as emitter;
use pms_emitter::config::EndpointConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// What every path begins with.
pub const BASE_PATH: &str = "/api/v1";
/// Two looks at the queues lie so far apart: there is no signal across two databases.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Where a world keeps its tables and listens.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The emitter's database.
    pub emitter_database: DatabaseUrl,
    /// The receiver's database.
    pub receiver_database: DatabaseUrl,
    /// The emitter's port; 0 takes a free one.
    pub emitter_port: u16,
    /// The receiver's port; 0 takes a free one.
    pub receiver_port: u16,
}

/// Both services, running.
pub struct World {
    settings: Settings,
    emitter: Option<Running>,
    receiver: Option<Running>,
    /// The ledger's own connections, which claim nothing.
    books: Books,
}

/// Both databases, opened beside the services.
#[derive(Clone, Debug)]
pub struct Books {
    /// The emitter's.
    pub emitter: Db,
    /// The receiver's.
    pub receiver: Db,
}

struct Running {
    address: SocketAddr,
    lifecycle: Lifecycle,
    task: JoinHandle<Ended>,
}

impl Settings {
    /// Free ports.
    pub fn on(emitter_database: DatabaseUrl, receiver_database: DatabaseUrl) -> Self {
        Self {
            emitter_database,
            receiver_database,
            emitter_port: 0,
            receiver_port: 0,
        }
    }
}

impl World {
    /// Starts the receiver and then the emitter, with a secret made for them.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(settings: Settings) -> BoxFuture<'static, Result<Self>> {
        Self::start_on(settings, Runtime::system)
    }

    /// As [`start`](Self::start), each service on a runtime of its own: with a clock that is moved by hand, say.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start_on(settings: Settings, runtime: impl Fn() -> Runtime) -> BoxFuture<'static, Result<Self>> {
        Box::pin(Self::run(settings, runtime(), runtime()))
    }

    async fn run(settings: Settings, of_receiver: Runtime, of_emitter: Runtime) -> Result<Self> {
        let secrets: SecretList = fresh_secret().parse()?;
        let config = config::receiver(&settings, secrets.clone());
        let app = receiver::App::build(config, of_receiver).await?;
        let receiver = Running::start(app.address(), |lifecycle| app.run_until_stopped(lifecycle));
        let url = format!("http://{}{BASE_PATH}/webhooks/pms", receiver.address).parse()?;
        let config = config::emitter(&settings, EndpointConfig { url, secrets });
        let app = emitter::App::build(config, of_emitter).await?;
        let emitter = Running::start(app.address(), |lifecycle| app.run_until_stopped(lifecycle));
        let books = Books::open(&settings.emitter_database, &settings.receiver_database).await?;
        Ok(Self {
            settings,
            emitter: Some(emitter),
            receiver: Some(receiver),
            books,
        })
    }

    /// The address of the emitter's API.
    pub fn emitter_api(&self) -> String {
        api(self.emitter.as_ref())
    }

    /// The address of the receiver's API.
    pub fn receiver_api(&self) -> String {
        api(self.receiver.as_ref())
    }

    /// Where it keeps its tables.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Both databases, for reading.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// Waits until no delivery and no event is waiting.
    ///
    /// # Errors
    /// When something still waits after `within`.
    pub async fn settled(&self, within: Duration) -> Result<()> {
        self.books.settled(within).await
    }

    /// Stops both, the emitter first, and makes sure that they ended well and left nothing waiting.
    ///
    /// # Errors
    /// When a service had to be aborted, or an event is left in between.
    pub async fn stop(mut self) -> Result<()> {
        self.end_services().await?;
        let (deliveries, events) = self.books.waiting().await?;
        self.books.clone().close().await;
        ensure!(
            (deliveries, events) == (0, 0),
            "left: {deliveries} deliveries and {events} events"
        );
        Ok(())
    }

    /// Stops both, the emitter first, whatever still waits.
    ///
    /// # Errors
    /// When a service had to be aborted.
    pub async fn abandon(mut self) -> Result<()> {
        let ended = self.end_services().await;
        self.books.clone().close().await;
        ended
    }

    fn end_services(&mut self) -> BoxFuture<'static, Result<()>> {
        let services = [self.emitter.take(), self.receiver.take()];
        Box::pin(async move {
            for service in services.into_iter().flatten() {
                service.lifecycle.stop();
                let ended = service.task.await.context("a service panicked")?;
                ensure!(ended == Ended::Finished, "a service ended as {ended:?}");
            }
            Ok(())
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.emitter.is_some() && !std::thread::panicking() {
            tracing::error!("a world was dropped without being stopped");
            debug_assert!(false, "a world was dropped without being stopped");
        }
    }
}

impl Running {
    fn start<F>(address: SocketAddr, run: impl FnOnce(Lifecycle) -> F) -> Self
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        let lifecycle = Lifecycle::new();
        let task = tokio::spawn(run(lifecycle.clone()));
        Self {
            address,
            lifecycle,
            task,
        }
    }
}

impl Books {
    /// Opens both databases without claiming their files.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub async fn open(emitter: &DatabaseUrl, receiver: &DatabaseUrl) -> Result<Self> {
        let settings = DbSettings {
            exclusive: false,
            connections: 2,
            readers: 1,
            ..DbSettings::default()
        };
        Ok(Self {
            emitter: Db::open(emitter, &settings, Arc::new(SystemEntropy)).await?,
            receiver: Db::open(receiver, &settings, Arc::new(SystemEntropy)).await?,
        })
    }

    /// Waits until no delivery and no event is waiting.
    ///
    /// # Errors
    /// When something still waits after `within`.
    pub async fn settled(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let (deliveries, events) = self.waiting().await?;
            if (deliveries, events) == (0, 0) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("still waiting after {within:?}: {deliveries} deliveries and {events} events");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// How many deliveries and how many events wait. The deliveries are counted first: a delivered event is in the
    /// inbox before it stops being a waiting delivery.
    async fn waiting(&self) -> Result<(i64, i64)> {
        let deliveries = count(
            &self.emitter,
            "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'pending'",
        )
        .await?;
        let events = count(
            &self.receiver,
            "SELECT COUNT(*) AS n FROM inbox WHERE status = 'accepted'",
        )
        .await?;
        Ok((deliveries, events))
    }

    /// Closes both.
    pub async fn close(self) {
        self.emitter.close().await;
        self.receiver.close().await;
    }
}

async fn count(db: &Db, sql: &'static str) -> Result<i64> {
    let rows = db
        .read("count", move |tx| {
            Box::pin(async move { tx.query(sql, vec![]).await })
        })
        .await?;
    rows.first().map_or(Ok(0), |row| Ok(row.get("n")?))
}

fn api(service: Option<&Running>) -> String {
    let address = service.expect("a world runs until it is stopped").address;
    format!("http://{address}{BASE_PATH}")
}
