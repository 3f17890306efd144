//! Row A15: what is logged where more than this machine can ask.

use std::fs::File;
use std::net::SocketAddr;

use harness::config::{BASE_PATH, fresh_secret};
use harness::process::Process;
use harness::program::Program;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::browsers::send;
use crate::case::{Case, Ctx, cases};
use crate::programs;

pub fn cases() -> Vec<Case> {
    cases![a15_listening_beyond_this_machine_is_said_at_each_start]
}

/// The file of a service's log.
const LOG: &str = "log";

/// A service as a process, and what it logs.
struct Started {
    process: Process,
    folder: TempDir,
}

impl Started {
    async fn of(program: &Program, database: &str, variables: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut all = vec![
            ("DATABASE_URL", database.to_owned()),
            ("APP_PORT", "0".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
            ("WEBHOOK_SHARED_SECRET", fresh_secret()),
            ("DOCUMENT_DIGEST_KEY", fresh_secret()),
        ];
        all.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let log = File::create(folder.path().join(LOG)).unwrap();
        let process = Process::start_logging_to(log.into(), program, folder.path(), &all).await;
        Self {
            process: process.unwrap(),
            folder,
        }
    }

    /// Stops it, and answers its warnings.
    async fn warnings(self) -> Vec<Value> {
        self.process.stop().await.unwrap();
        let log = std::fs::read_to_string(self.folder.path().join(LOG)).unwrap();
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["level"] == "WARN").collect()
    }
}

async fn a15_listening_beyond_this_machine_is_said_at_each_start(ctx: Ctx) {
    let other = ctx.servers.fresh(ctx.engine, "exposed").await.unwrap();
    for (program, database, exposed) in [
        (programs::emitter(), ctx.database.url(), "changed and deleted"),
        (programs::receiver(), other.url(), "profiles"),
    ] {
        for (variables, warned) in [
            (&[("APP_HOST", "0.0.0.0")][..], true),
            (&[("APP_HOST", "0.0.0.0")], true),
            (&[("APP_HOST", "0.0.0.0"), ("ALLOWED_HOSTS", "pms.example")], true),
            (&[("APP_HOST", "127.0.0.1")], false),
            (
                &[("APP_HOST", "localhost"), ("ALLOWED_HOSTS", "pms.example")],
                false,
            ),
        ] {
            let started = Started::of(&program, database, variables).await;
            let address = SocketAddr::from(([127, 0, 0, 1], started.process.address().port()));
            let path = format!("{BASE_PATH}/health");
            assert_eq!(send(address, ("GET", &path), "x", &[], None).await.status, 200);
            let said = started.warnings().await;
            let exposing = said
                .iter()
                .filter(|line| line.to_string().contains("beyond this machine"));
            let exposing: Vec<_> = exposing.collect();
            assert_eq!(
                exposing.len(),
                usize::from(warned),
                "{program} {variables:?}: {said:?}"
            );
            assert!(
                exposing.iter().all(|line| line.to_string().contains(exposed)),
                "{said:?}"
            );
        }
        for list in ["*", "pms.example:443", "https://pms.example", " ,"] {
            let refused = Command::from(program.command())
                .env_clear()
                .envs([
                    ("DATABASE_URL", database),
                    ("APP_PORT", "0"),
                    ("ALLOWED_HOSTS", list),
                ])
                .output();
            let refused = refused.await.unwrap();
            let said = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(2), "{list}: {said}");
            assert!(said.starts_with("error: ALLOWED_HOSTS: "), "{said}");
        }
    }
    other.remove().await.unwrap();
}
