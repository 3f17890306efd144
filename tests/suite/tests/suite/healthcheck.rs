//! `healthcheck` as a container runs it: the program of a service asks the one that serves, and its exit code answers.

use crate::case::{Case, Ctx, cases};
use crate::programs;
use harness::{
    config::{MASTER_KEY, fresh_secret},
    engine::{Engine, TestDatabase},
    fault_proxy::FaultProxy,
    process::Process,
    program::Program,
};
use std::path::Path;
use tokio::process::Command;
use url::Url;

pub fn cases() -> Vec<Case> {
    let mut all = cases![a_service_that_serves_is_distinguished_from_a_dead_one];
    all.extend(cases![only Engine::Mysql; a_service_without_its_database_is_not_ready]);
    all
}

type Variables = Vec<(&'static str, String)>;

/// What a service needs; both understand it.
fn variables(database: impl Into<String>) -> Variables {
    vec![
        ("DATABASE_URL", database.into()),
        ("WEBHOOK_SHARED_SECRET", fresh_secret()),
        ("MASTER_KEY", MASTER_KEY.to_owned()),
        ("LOG_LEVEL", "off".to_owned()),
    ]
}

/// The service, and what was said to it with the port that it took.
async fn served(program: &Program, folder: &Path, mut variables: Variables) -> (Process, Variables) {
    variables.push(("APP_PORT", "0".to_owned()));
    let process = Process::start(program, folder, &variables).await.unwrap();
    variables.pop();
    variables.push(("APP_PORT", process.address().port().to_string()));
    (process, variables)
}

/// The exit code of the question, and what it says.
async fn ask(program: &Program, folder: &Path, variables: &Variables) -> (Option<i32>, String) {
    let ended = Command::from(program.command())
        .arg("healthcheck")
        .env_clear()
        .envs(variables.iter().cloned())
        .current_dir(folder)
        .output()
        .await
        .unwrap();
    assert!(ended.stdout.is_empty(), "{ended:?}");
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

async fn a_service_that_serves_is_distinguished_from_a_dead_one(ctx: Ctx) {
    let other: TestDatabase = ctx.servers.fresh(ctx.engine, "healthcheck_other").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (program, database) in [
        (programs::emitter(), ctx.database.url()),
        (programs::receiver(), other.url()),
    ] {
        let program = &program;
        let (process, variables) = served(program, folder.path(), variables(database)).await;
        let answer = ask(program, folder.path(), &variables).await;
        assert_eq!(answer, (Some(0), String::new()), "{program}");
        process.kill().await.unwrap();
        let (code, said) = ask(program, folder.path(), &variables).await;
        assert_eq!(code, Some(1), "{program}: {said}");
        assert!(said.contains("no answer: connect"), "{said}");
    }
    other.remove().await.unwrap();
}

async fn a_service_without_its_database_is_not_ready(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let (proxy, _) = FaultProxy::before(ctx.database.url()).await.unwrap();
    let mut database = Url::parse(ctx.database.url()).unwrap();
    database.set_ip_host(proxy.address().ip()).unwrap();
    database.set_port(Some(proxy.address().port())).unwrap();
    let program = &programs::receiver();
    let (process, variables) = served(program, folder.path(), variables(database)).await;
    assert_eq!(ask(program, folder.path(), &variables).await.0, Some(0));
    drop(proxy);
    let (code, said) = ask(program, folder.path(), &variables).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not ready, it answers 503"), "{said}");
    process.kill().await.unwrap();
}
