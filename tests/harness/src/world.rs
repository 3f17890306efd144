//! Both services in one process, talking over real sockets, on whatever databases they are given.
//!
//! [`World::start`] returns when both are listening, [`World::settled`] when every event has had its effect, and
//! [`World::stop`] when both have finished what they held and closed their databases. [`World::abandon`] stops them in
//! the middle of their work. A world that is dropped without either says so: what it left behind was never looked at.

use crate::config::{self, BASE_PATH, fresh_secret};
use crate::database::Databases;
use anyhow::{Context, Result, ensure};
use contract::SecretList;
use crm_receiver::app as receiver;
use futures::future::BoxFuture;
use kit::lifecycle::{Ended, Lifecycle};
use kit::random::Runtime;
use pms_emitter::app as emitter;
use pms_emitter::config::EndpointConfig;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Where a world keeps its tables and listens.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The emitter's database, as `DATABASE_URL` takes it.
    pub emitter_database: String,
    /// The receiver's database.
    pub receiver_database: String,
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
}

struct Running {
    address: SocketAddr,
    lifecycle: Lifecycle,
    task: JoinHandle<Ended>,
}

impl Settings {
    /// Free ports.
    pub fn on(emitter_database: impl Into<String>, receiver_database: impl Into<String>) -> Self {
        Self {
            emitter_database: emitter_database.into(),
            receiver_database: receiver_database.into(),
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
        let mut config = config::receiver(settings.receiver_database.parse()?, secrets.clone());
        config.http.app_port = settings.receiver_port;
        let app = receiver::App::build(config, of_receiver).await?;
        let receiver = Running::start(app.address(), |lifecycle| app.run_until_stopped(lifecycle));
        let url = format!("http://{}{BASE_PATH}/webhooks/pms", receiver.address).parse()?;
        let endpoint = EndpointConfig { url, secrets };
        let mut config = config::emitter(settings.emitter_database.parse()?, Some(endpoint));
        config.http.app_port = settings.emitter_port;
        let app = emitter::App::build(config, of_emitter).await?;
        let emitter = Running::start(app.address(), |lifecycle| app.run_until_stopped(lifecycle));
        Ok(Self {
            settings,
            emitter: Some(emitter),
            receiver: Some(receiver),
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

    /// Opens both databases beside the services, without claiming their files.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub async fn databases(&self) -> Result<Databases> {
        let settings = &self.settings;
        Databases::open(&settings.emitter_database, &settings.receiver_database).await
    }

    /// Waits until no delivery and no event is waiting.
    ///
    /// # Errors
    /// When something still waits after `within`.
    pub async fn settled(&self, within: Duration) -> Result<()> {
        self.databases().await?.settled(within).await
    }

    /// Stops both, the emitter first, and makes sure that they ended well and left nothing waiting.
    ///
    /// # Errors
    /// When a service had to be aborted, or an event is left in between.
    pub async fn stop(mut self) -> Result<()> {
        self.end_services().await?;
        let waiting = self.databases().await?.waiting().await?;
        ensure!(waiting.is_nothing(), "left: {waiting:?}");
        Ok(())
    }

    /// Stops both, the emitter first, whatever still waits.
    ///
    /// # Errors
    /// When a service had to be aborted.
    pub async fn abandon(mut self) -> Result<()> {
        self.end_services().await
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

fn api(service: Option<&Running>) -> String {
    let address = service.expect("a world runs until it is stopped").address;
    format!("http://{address}{BASE_PATH}")
}
