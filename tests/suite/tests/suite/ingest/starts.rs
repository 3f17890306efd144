//! What keeps a receiver from starting is one sentence that names the variable, and exit code 2.

use super::config;
use crate::case::{Case, Ctx, cases};
use crate::programs;
use crm_receiver::app::{App, Runtime};
use db::DatabaseUrl;
use harness::engine::Engine;
use tokio::process::Command;

pub fn cases() -> Vec<Case> {
    let mut all = cases![free; a_wrong_setting_is_named, an_unreachable_database_is_named];
    all.extend(cases![only Engine::Sqlite; one_file_is_served_once]);
    all
}

async fn a_wrong_setting_is_named(ctx: Ctx) {
    let folder = ctx.database.file().unwrap();
    let folder = folder.parent().unwrap();
    let secret = ("WEBHOOK_SHARED_SECRET", "canary-that-is-long-enough");
    for (variables, named) in [
        (vec![("WEBHOOK_SHARED_SECRET", "canary")], "WEBHOOK_SHARED_SECRET"),
        (
            vec![("WEBHOOK_SHARED_SECRET", "whsec_canary")],
            "WEBHOOK_SHARED_SECRET",
        ),
        (
            vec![secret, ("WEBHOOK_MAX_SKEW_SECONDS", "soon")],
            "WEBHOOK_MAX_SKEW_SECONDS",
        ),
        (vec![secret, ("INGEST_BATCH_ROWS", "0")], "INGEST_BATCH_ROWS"),
        (
            vec![secret, ("INGEST_BATCH_BYTES", "64 MiB")],
            "INGEST_BATCH_BYTES",
        ),
        (vec![secret, ("INGEST_QUEUE", "-1")], "INGEST_QUEUE"),
        (
            vec![secret, ("DATABASE_URL", "postgres://canary")],
            "DATABASE_URL",
        ),
        (vec![secret, ("APP_PORT", "70000")], "APP_PORT"),
        (vec![secret, ("MASTER_KEY", "canary")], "MASTER_KEY"),
        (
            vec![secret, ("DATABASE_URL", "mysql://crm@127.0.0.1:1/crm")],
            "MASTER_KEY",
        ),
        (vec![secret, ("LOG_LEVEL", "warning")], "LOG_LEVEL"),
    ] {
        let ended = Command::from(programs::receiver().command())
            .env_clear()
            .envs(variables.clone())
            .current_dir(folder)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{variables:?}: {said}");
        assert!(said.starts_with(&format!("error: {named}: ")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
}

async fn an_unreachable_database_is_named(_: Ctx) {
    let nowhere = DatabaseUrl::mysql("127.0.0.1", 1, "user", "canary", "crm");
    let error = App::build(config(nowhere), Runtime::system())
        .await
        .err()
        .expect("nothing listens there");
    let said = error.to_string();
    assert!(
        said.starts_with("DATABASE_URL: ") && !said.contains("canary"),
        "{said}"
    );
}

async fn one_file_is_served_once(ctx: Ctx) {
    let first = super::Receiver::start(&ctx).await;
    let second = App::build(config(ctx.url()), Runtime::system()).await;
    let said = second.err().expect("the file is claimed").to_string();
    assert!(said.starts_with("DATABASE_URL: "), "{said}");
    first.stop().await;
    super::Receiver::start(&ctx).await.stop().await;
}
