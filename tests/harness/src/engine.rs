//! Databases for tests: a fresh one for each case, on either engine.
//!
//! The MySQL half uses the server of `TEST_MYSQL_URL`, or a private one that is started when the first case asks for
//! it. Where there is neither, the half is skipped, loudly; on a CI machine that is an error.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use db::DatabaseUrl;
use futures::future::BoxFuture;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tempfile::TempDir;

use crate::server::{Program, Server, ServerSize};

/// The two engines that every case with a database runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// The embedded one.
    Sqlite,
    /// MySQL or MariaDB.
    Mysql,
}

impl Engine {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Mysql];

    /// `sqlite` or `mysql`, as in the names of the cases.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Mysql => "mysql",
        }
    }
}

/// Where MySQL databases come from.
enum Source {
    /// A server that runs already: its address without a database.
    Given(String),
    Private(Program),
    Nowhere,
}

/// The servers of one run.
pub struct Servers {
    source: Source,
    private: Mutex<Option<Server>>,
    databases: AtomicU32,
}

impl Servers {
    /// Looks for a server for cases; starts none yet.
    pub fn find() -> Self {
        Self::with(ServerSize::CASES)
    }

    /// Looks for a server that takes so much when it is a private one; starts none yet.
    pub fn with(size: ServerSize) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the harness's own configuration")]
        let given = std::env::var("TEST_MYSQL_URL").ok().filter(|url| !url.is_empty());
        let source = match (given, Program::find(size)) {
            (Some(url), _) => Source::Given(url.trim_end_matches('/').to_owned()),
            (None, Some(program)) => Source::Private(program),
            (None, None) => Source::Nowhere,
        };
        Self {
            source,
            private: Mutex::new(None),
            databases: AtomicU32::new(0),
        }
    }

    /// Whether there is a MySQL half.
    pub fn has_mysql(&self) -> bool {
        !matches!(self.source, Source::Nowhere)
    }

    /// Whether what is missing is an error: on CI machines, which say so by `CI=true`.
    pub fn is_on_ci() -> bool {
        #[expect(clippy::disallowed_methods, reason = "the harness's own configuration")]
        let ci = std::env::var("CI");
        ci.is_ok_and(|ci| ci == "true")
    }

    /// A fresh, empty database. `name` says to a person whose it is.
    pub async fn fresh(&self, engine: Engine, name: &str) -> Result<TestDatabase> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        match engine {
            Engine::Sqlite => {
                let folder = tempfile::Builder::new().prefix("guestwire-").tempdir()?;
                let url = format!("sqlite://{}", folder.path().join(format!("{name}.db")).display());
                Ok(TestDatabase {
                    url,
                    place: Place::Folder(folder),
                })
            }
            Engine::Mysql => {
                let database = format!("gw_{}_{number}", std::process::id());
                let (url, admin) = (self.mysql_url(&database)?, self.mysql_url("mysql")?);
                let create = format!(
                    "CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin /* {name} */"
                );
                run(&admin, &create).await?;
                Ok(TestDatabase {
                    url,
                    place: Place::Database {
                        admin,
                        name: database,
                    },
                })
            }
        }
    }

    /// A server that belongs to one case, to be killed and run again. None where only a given server is at hand.
    pub fn own_server(&self) -> Result<Option<Server>> {
        self.own_server_in(&tempfile::env::temp_dir(), &[])
    }

    /// The same with its data below `parent`, and with these variables in its environment.
    pub fn own_server_in(
        &self,
        parent: &Path,
        variables: &[(&'static str, String)],
    ) -> Result<Option<Server>> {
        match &self.source {
            Source::Private(program) => {
                Server::start_in(program, parent, variables.to_vec(), Vec::new()).map(Some)
            }
            Source::Given(_) | Source::Nowhere => Ok(None),
        }
    }

    /// The same with these options on its command line.
    pub fn own_server_with(&self, options: Vec<String>) -> Result<Option<Server>> {
        match &self.source {
            Source::Private(program) => {
                Server::start_in(program, &tempfile::env::temp_dir(), Vec::new(), options).map(Some)
            }
            Source::Given(_) | Source::Nowhere => Ok(None),
        }
    }

    fn mysql_url(&self, database: &str) -> Result<String> {
        match &self.source {
            Source::Given(url) => Ok(format!("{url}/{database}")),
            Source::Nowhere => anyhow::bail!("no mariadbd or mysqld on the PATH"),
            Source::Private(program) => {
                let mut private = self.private.lock().unwrap_or_else(PoisonError::into_inner);
                if private.is_none() {
                    *private = Some(Server::start(program).context("the private server")?);
                }
                let server = private.as_ref().context("it was started above")?;
                Ok(server.url(database))
            }
        }
    }
}

/// A database of one case.
pub struct TestDatabase {
    url: String,
    place: Place,
}

enum Place {
    Folder(TempDir),
    Database { admin: String, name: String },
}

impl TestDatabase {
    /// As `DATABASE_URL` takes it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same, parsed.
    pub fn parsed(&self) -> DatabaseUrl {
        self.url.parse().expect("the harness makes addresses that parse")
    }

    /// The file, on SQLite.
    pub fn file(&self) -> Option<PathBuf> {
        self.parsed().sqlite_path().map(PathBuf::from)
    }

    /// Removes it with all that is in it.
    pub async fn remove(self) -> Result<()> {
        match self.place {
            Place::Folder(folder) => folder.close().map_err(Into::into),
            Place::Database { admin, name } => run(&admin, &format!("DROP DATABASE {name}")).await,
        }
    }
}

fn run<'a>(url: &'a str, sql: &'a str) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        let mut conn = Conn::new(Opts::from_url(url)?).await?;
        conn.query_drop(sql).await?;
        conn.disconnect().await?;
        Ok(())
    })
}
