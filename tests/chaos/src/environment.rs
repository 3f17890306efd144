//! The environment of a run: a folder, the databases of both services, and their server, if there is one.

use anyhow::{Context, Result};
use harness::engine::{Engine, Servers, TestDatabase};
use harness::server::Server;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;

/// A server that is killed and run again, always on the same port and data.
pub type SharedServer = Arc<Mutex<Server>>;

/// The environment. On drop the folder and a private server are removed.
pub struct Environment {
    /// The working folder of every process.
    pub folder: TempDir,
    /// The emitter's `DATABASE_URL`.
    pub emitter: String,
    /// The receiver's.
    pub receiver: String,
    /// The server that may be killed: one of its own.
    pub server: Option<SharedServer>,
    /// Databases on a shared server.
    shared: Vec<TestDatabase>,
}

impl Environment {
    /// Fresh databases: files, or on a private server; where only a given server is at hand, on that one, which is
    /// then not killed.
    ///
    /// # Errors
    /// When there is no server, or it does not start.
    pub async fn fresh(engine: Engine, servers: &Servers) -> Result<Self> {
        match engine {
            Engine::Sqlite => Self::files(),
            Engine::Mysql => match servers.own_server()? {
                Some(server) => Self::on(server).await,
                None => Self::shared(servers).await,
            },
        }
    }

    /// Fresh databases that stay up: files, or on the server that a whole test run shares.
    ///
    /// # Errors
    /// As [`fresh`](Self::fresh).
    pub async fn lasting(engine: Engine, servers: &Servers) -> Result<Self> {
        match engine {
            Engine::Sqlite => Self::files(),
            Engine::Mysql => Self::shared(servers).await,
        }
    }

    /// Removes the databases on a shared server.
    ///
    /// # Errors
    /// When a database cannot be dropped.
    pub async fn clear(self) -> Result<()> {
        for database in self.shared {
            database.remove().await?;
        }
        Ok(())
    }

    fn files() -> Result<Self> {
        let folder = folder()?;
        let file = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
        Ok(Self {
            emitter: file("pms.db"),
            receiver: file("crm.db"),
            folder,
            server: None,
            shared: Vec::new(),
        })
    }

    async fn on(server: Server) -> Result<Self> {
        let mut conn = Conn::new(Opts::from_url(&server.url("mysql"))?).await?;
        for name in ["pms", "crm"] {
            let create = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
            conn.query_drop(create).await?;
        }
        conn.disconnect().await?;
        Ok(Self {
            folder: folder()?,
            emitter: server.url("pms"),
            receiver: server.url("crm"),
            server: Some(Arc::new(Mutex::new(server))),
            shared: Vec::new(),
        })
    }

    async fn shared(servers: &Servers) -> Result<Self> {
        let emitter = servers.fresh(Engine::Mysql, "chaos_pms").await?;
        let receiver = servers.fresh(Engine::Mysql, "chaos_crm").await?;
        Ok(Self {
            folder: folder()?,
            emitter: emitter.url().to_owned(),
            receiver: receiver.url().to_owned(),
            server: None,
            shared: vec![emitter, receiver],
        })
    }
}

/// Kills a server and runs it again.
///
/// # Errors
/// When it does not come back.
pub async fn strike(server: &SharedServer) -> Result<()> {
    let server = Arc::clone(server);
    let struck = tokio::task::spawn_blocking(move || {
        let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
        server.kill()?;
        server.run()
    });
    struck.await.context("the strike panicked")?
}

fn folder() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("guestwire-chaos-").tempdir()?)
}
