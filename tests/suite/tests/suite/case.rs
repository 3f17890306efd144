//! A case, what it gets, and how it is run: on a runtime of its own, with a deadline, on a fresh database.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use db::{DatabaseUrl, Db, DbSettings};
use futures::FutureExt;
use futures::future::BoxFuture;
use harness::engine::{Engine, Servers, TestDatabase};
use kit::random::SystemEntropy;
use libtest_mimic::{Failed, Trial};

/// A case that has not ended by then hangs.
const CASE_WITHIN: Duration = Duration::from_secs(120);
/// What a case left running.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);
/// Threads of a case's runtime: two, so that what may run in parallel does.
const THREADS: usize = 2;

/// One test of the suite.
pub struct Case {
    /// `module::function`.
    name: String,
    run: Box<dyn Fn(Ctx) -> BoxFuture<'static, ()> + Send + Sync>,
    on: On,
    /// What it needs is not there.
    ignored: bool,
}

/// Which engines a case runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Once per engine.
    Both,
    /// On one alone, because it is about that one.
    Only(Engine),
    /// Once, under a name without an engine: it is about neither.
    Neither,
}

/// What a case gets: a fresh, empty database.
#[derive(Clone)]
pub struct Ctx {
    pub engine: Engine,
    pub database: Arc<TestDatabase>,
    pub servers: Arc<Servers>,
}

impl Ctx {
    /// The address of the database.
    pub fn url(&self) -> DatabaseUrl {
        self.database.parsed()
    }

    /// Opens the database with the usual settings. It may be opened several times.
    pub async fn open(&self) -> Db {
        self.open_with(DbSettings {
            exclusive: false,
            ..DbSettings::default()
        })
        .await
    }

    /// Opens the database with these settings.
    pub async fn open_with(&self, settings: DbSettings) -> Db {
        Db::open(&self.url(), &settings, Arc::new(SystemEntropy))
            .await
            .expect("the fresh database opens")
    }
}

impl Case {
    /// A case under its full name.
    pub fn new<F>(
        module: &str,
        function: &str,
        on: On,
        run: impl Fn(Ctx) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // `suite::db::transactions` is `db::transactions` here.
        let module = module.split_once("::").map_or(module, |(_, module)| module);
        Self {
            name: format!("{module}::{function}"),
            run: Box::new(move |ctx| run(ctx).boxed()),
            on,
            ignored: false,
        }
    }

    /// The same case, shown as ignored unless what it needs is there.
    #[must_use]
    pub fn ignored_unless(self, is_there: bool) -> Self {
        Self {
            ignored: !is_there,
            ..self
        }
    }

    /// The case once per engine that it is for and that is at hand.
    pub fn trials(self, engines: &[Engine], servers: &Arc<Servers>) -> Vec<Trial> {
        let case = Arc::new(self);
        let trial = |engine: Engine, name: String| {
            let (case, servers) = (case.clone(), servers.clone());
            let ignored = case.ignored;
            Trial::test(name, move || case.run_on(engine, &servers)).with_ignored_flag(ignored)
        };
        if case.on == On::Neither {
            return vec![trial(Engine::Sqlite, case.name.clone())];
        }
        let wanted = |engine: &&Engine| case.on == On::Both || case.on == On::Only(**engine);
        let named = |engine: &Engine| trial(*engine, format!("{}::{}", engine.name(), case.name));
        engines.iter().filter(wanted).map(named).collect()
    }

    fn run_on(&self, engine: Engine, servers: &Arc<Servers>) -> Result<(), Failed> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()?;
        let outcome = runtime.block_on(async {
            let name = self.name.replace("::", "_");
            let database = Arc::new(servers.fresh(engine, &name).await?);
            let ctx = Ctx {
                engine,
                database: database.clone(),
                servers: servers.clone(),
            };
            let case = AssertUnwindSafe((self.run)(ctx)).catch_unwind();
            let outcome = match tokio::time::timeout(CASE_WITHIN, case).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(panic)) => Err(Failed::from(message(panic.as_ref()))),
                Err(_) => Err(Failed::from(format!("still running after {CASE_WITHIN:?}"))),
            };
            if let Some(database) = Arc::into_inner(database)
                && let Err(error) = database.remove().await
            {
                eprintln!("{name}: the database was not removed: {error:#}");
            }
            outcome
        });
        runtime.shutdown_timeout(SHUTDOWN_WITHIN);
        outcome
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("the case panicked")
        .to_owned()
}

/// Cases on both engines: `cases![commits, rolls_back]`. With `only Engine::Mysql;` before them, on that one; with
/// `free;`, once.
macro_rules! cases {
    (free; $($function:ident),* $(,)?) => {
        vec![$($crate::case::Case::new(
            module_path!(), stringify!($function), $crate::case::On::Neither, $function,
        )),*]
    };
    (only $engine:expr; $($function:ident),* $(,)?) => {
        vec![$($crate::case::Case::new(
            module_path!(), stringify!($function), $crate::case::On::Only($engine), $function,
        )),*]
    };
    ($($function:ident),* $(,)?) => {
        vec![$($crate::case::Case::new(
            module_path!(), stringify!($function), $crate::case::On::Both, $function,
        )),*]
    };
}
pub(crate) use cases;
