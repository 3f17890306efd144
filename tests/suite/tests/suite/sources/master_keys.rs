//! The keys under which the secrets of sources are encrypted: where they are from, what a wrong one does, how they are replaced.

use super::{asked, rotated, sent, source};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, config, execute};
use crate::programs;
use crm_receiver::app::{App, Runtime, rewrap};
use crm_receiver::config::Config;
use db::{Params, params};
use harness::config::MASTER_KEY;
use harness::engine::Engine;
use harness::process::Process;
use harness::signer::Delivery;
use harness::waiting::in_time;
use kit::config::MasterKeyArgs;
use serde_json::json;
use std::fs::{self, File};
use tokio::process::Command;

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        r39_no_secret_of_a_source_is_in_a_table_or_a_log,
        a_ciphertext_in_another_row_opens_nothing,
        a_wrong_master_key_keeps_the_receiver_from_starting,
        secrets_are_encrypted_again_while_it_serves_and_open_with_the_new_key_alone,
    ];
    all.extend(cases![only Engine::Sqlite; tables_without_their_key_file_start_nothing_and_get_no_other]);
    all
}

/// The key after [`MASTER_KEY`].
const NEXT_KEY: &str = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
const CANARY: &str = "canary-of-a-senders-own-secret";

/// A receiver with other keys of its tables.
fn with_master_key(ctx: &Ctx, keys: &str) -> Config {
    let master_key = MasterKeyArgs {
        master_key: Some(keys.parse().unwrap()),
    };
    Config {
        master_key,
        ..config(ctx.url())
    }
}

async fn r39_no_secret_of_a_source_is_in_a_table_or_a_log(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let variables = [
        ("DATABASE_URL", ctx.database.url().to_owned()),
        ("APP_PORT", "0".to_owned()),
        ("MASTER_KEY", MASTER_KEY.to_owned()),
        ("LOG_LEVEL", "trace".to_owned()),
    ];
    let out = File::create(&log).unwrap();
    let program = programs::receiver();
    let process = Process::start_logging_to(out.into(), &program, folder.path(), &variables);
    let process = process.await.unwrap();
    let post = async |path: &str, body: serde_json::Value| {
        let request = Delivery::bare("POST", format!("/api/v1{path}"))
            .with("content-type", "application/json")
            .with_body(body.to_string());
        let answer = request.send(process.address()).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.json());
        answer.json()
    };
    post(
        "/sources",
        json!({"id": "spa", "name": "Spa", "property_ids": "*"}),
    )
    .await;
    let path = "/sources/spa/rotate-secret";
    let made = post(path, json!({})).await["secret"].as_str().unwrap().to_owned();
    post(path, json!({"secret": CANARY})).await;
    assert!(process.stop().await.unwrap().success());
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("rotate-secret"), "the log is on");
    for secret in [&made[6..], CANARY] {
        assert!(!said.contains(secret), "a secret is in the log");
        assert_eq!(found(&ctx, secret).await, Vec::<String>::new());
    }
    assert!(!said.contains(MASTER_KEY));
    assert_eq!(
        found(&ctx, "source_secret_rotated").await.len(),
        1,
        "the search finds"
    );
}

/// Where in the database a text stands: files of SQLite, columns of MySQL.
async fn found(ctx: &Ctx, text: &str) -> Vec<String> {
    if ctx.engine == Engine::Sqlite {
        let file = ctx.database.file().unwrap();
        let beside = fs::read_dir(file.parent().unwrap()).unwrap();
        let has = |path: &std::path::PathBuf| {
            let bytes = fs::read(path).unwrap_or_default();
            bytes.windows(text.len()).any(|part| part == text.as_bytes())
        };
        let paths = beside.map(|entry| entry.unwrap().path()).filter(has);
        return paths.map(|path| path.display().to_string()).collect();
    }
    let db = ctx.open().await;
    let columns = db
        .read("columns", |tx| {
            Box::pin(async move {
                let sql = "SELECT table_name AS t, column_name AS c FROM information_schema.columns \
                           WHERE table_schema = DATABASE()";
                let rows = tx.query(sql, Params::new()).await?;
                rows.iter()
                    .map(|row| Ok((row.get::<String>("t")?, row.get::<String>("c")?)))
                    .collect::<Result<Vec<_>, db::DbError>>()
            })
        })
        .await
        .unwrap();
    let mut found = Vec::new();
    for (table, column) in columns {
        let sql = format!(
            "SELECT COUNT(*) AS n FROM `{table}` WHERE LOCATE(CAST(? AS BINARY), CAST(`{column}` AS BINARY)) > 0"
        );
        let text = text.to_owned();
        let rows = db.read("search", move |tx| {
            let (sql, text) = (sql.clone(), text.clone());
            Box::pin(async move { tx.query(&sql, params![text]).await })
        });
        if rows.await.unwrap()[0].get::<i64>("n").unwrap() > 0 {
            found.push(format!("{table}.{column}"));
        }
    }
    found
}

async fn a_ciphertext_in_another_row_opens_nothing(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let mut secrets = Vec::new();
    for id in ["spa", "shop"] {
        source(&receiver, id).await;
        secrets.push(rotated(&receiver, id, json!({})).await);
    }
    receiver.stop().await;
    let db = ctx.open().await;
    // The secret of the spa, which its holder knows, in the place of the shop's.
    let sealed = db.read("sealed", |tx| {
        Box::pin(async {
            let sql = "SELECT sealed FROM source_secrets WHERE source_id = 'spa'";
            tx.query(sql, Params::new()).await
        })
    });
    let sealed: Vec<u8> = sealed.await.unwrap()[0].get("sealed").unwrap();
    let moved = "UPDATE source_secrets SET sealed = ? WHERE source_id = 'shop'";
    assert_eq!(execute(&db, moved, params![sealed]).await, 1);
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(sent(&receiver, "spa", "evt_1", &secrets[0]).await, 202);
    for secret in &secrets {
        assert_eq!(sent(&receiver, "shop", "evt_1", secret).await, 401);
    }
    receiver.stop().await;
    // The whole row of the spa, given to the shop.
    let given = "UPDATE source_secrets SET source_id = 'shop', n = 99 WHERE source_id = 'spa'";
    assert_eq!(execute(&db, given, params![]).await, 1);
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(sent(&receiver, "shop", "evt_3", &secrets[0]).await, 401);
    receiver.stop().await;
    let back = "UPDATE source_secrets SET source_id = 'spa', n = 1 WHERE n = 99";
    assert_eq!(execute(&db, back, params![]).await, 1);
    let renamed = "UPDATE source_secrets SET id = 'sec_x' WHERE source_id = 'spa'";
    assert_eq!(execute(&db, renamed, params![]).await, 1);
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(
        sent(&receiver, "spa", "evt_2", &secrets[0]).await,
        401,
        "nor under another id"
    );
    receiver.stop().await;
}

async fn a_wrong_master_key_keeps_the_receiver_from_starting(ctx: Ctx) {
    Receiver::start(&ctx).await.stop().await;
    let other = App::build(with_master_key(&ctx, NEXT_KEY), Runtime::system()).await;
    let said = other.err().expect("it is not theirs").to_string();
    assert!(said.starts_with("MASTER_KEY: "), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let ended = Command::from(programs::receiver().command())
        .env_clear()
        .envs([("DATABASE_URL", ctx.database.url()), ("MASTER_KEY", NEXT_KEY)])
        .current_dir(folder.path())
        .output();
    let ended = in_time("a receiver that does not start", ended).await.unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with("error: MASTER_KEY: ") && !said.contains(NEXT_KEY),
        "{said}"
    );
}

/// As when a dump is restored without the file that belongs to it.
async fn tables_without_their_key_file_start_nothing_and_get_no_other(ctx: Ctx) {
    let of_file = || Config {
        master_key: MasterKeyArgs::default(),
        ..config(ctx.url())
    };
    let receiver = Receiver::start_with(of_file()).await;
    source(&receiver, "spa").await;
    let secret = rotated(&receiver, "spa", json!({})).await;
    receiver.stop().await;
    let folder = ctx.database.file().unwrap().parent().unwrap().to_owned();
    let (file, aside) = (folder.join("master.key"), folder.join("aside"));
    fs::rename(&file, &aside).unwrap();
    for _ in 0..2 {
        let ended = Command::from(programs::receiver().command())
            .env_clear()
            .envs([("DATABASE_URL", ctx.database.url()), ("APP_PORT", "0")])
            .current_dir(&folder)
            .output();
        let ended = in_time("a receiver that does not start", ended).await.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        let last = said.lines().last().unwrap();
        assert!(
            last.starts_with("error: MASTER_KEY: ") && last.contains("master.key"),
            "{said}"
        );
        assert!(!file.exists(), "no other key stands in its place");
    }
    fs::rename(&aside, &file).unwrap();
    let receiver = Receiver::start_with(of_file()).await;
    assert_eq!(sent(&receiver, "spa", "evt_1", &secret).await, 202);
    receiver.stop().await;
}

async fn secrets_are_encrypted_again_while_it_serves_and_open_with_the_new_key_alone(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    source(&receiver, "spa").await;
    let before = rotated(&receiver, "spa", json!({})).await;
    receiver.stop().await;
    let both = format!("{NEXT_KEY} {MASTER_KEY}");
    let receiver = Receiver::start_with(with_master_key(&ctx, &both)).await;
    let after = rotated(&receiver, "spa", json!({})).await;
    let args = MasterKeyArgs {
        master_key: Some(both.parse().unwrap()),
    };
    let done = rewrap(&args, &ctx.url(), &Runtime::system()).await.unwrap();
    // The first secret, the digest keys of two sources and the check value; the second secret is under the new key already.
    assert_eq!((done.sealed, done.unopened), (4, 0));
    let again = rewrap(&args, &ctx.url(), &Runtime::system()).await.unwrap();
    assert_eq!((again.sealed, again.unopened), (0, 0));
    assert_eq!(sent(&receiver, "spa", "evt_1", &before).await, 202);
    receiver.stop().await;
    let receiver = Receiver::start_with(with_master_key(&ctx, NEXT_KEY)).await;
    for (key, secret) in [("evt_2", &before), ("evt_3", &after)] {
        assert_eq!(sent(&receiver, "spa", key, secret).await, 202);
    }
    asked(&receiver, "GET", "/sources/spa/secrets", None, 200).await;
    receiver.stop().await;
    let old = App::build(config(ctx.url()), Runtime::system()).await;
    assert!(
        old.err()
            .expect("it is replaced")
            .to_string()
            .starts_with("MASTER_KEY: ")
    );
}
