//! A server whose operator has set limits and modes that ours has not: a service works within them, or names what it needs.

use crate::case::{Case, Ctx, cases};
use crate::faults::{admin, own_server};
use crate::settings::{BOTH, Start};
use db::params;
use db::{Db, DbSettings, Statement};
use futures::future::join_all;
use harness::client::Client;
use harness::engine::Engine;
use harness::server::Server;
use harness::waiting::until;
use harness::world::{Settings, World};
use kit::random::SystemEntropy;
use serde_json::json;
use std::ops::Range;
use std::sync::Arc;

pub fn cases() -> Vec<Case> {
    cases![only Engine::Mysql;
        case26_both_services_work_within_a_servers_modes_and_limits,
        case26_fewer_connections_are_enough,
        case26_what_a_server_must_not_be_is_named,
    ]
}

/// As `mysql/init.sql` makes the services' accounts: without a right to change the server, or to pass its limits over.
const ACCOUNTS: [&str; 4] = [
    "CREATE DATABASE pms CHARACTER SET latin1",
    "CREATE DATABASE crm CHARACTER SET latin1",
    "CREATE USER app@'%'",
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON *.* TO app@'%'",
];

fn url(server: &Server, name: &str) -> String {
    format!("mysql://app@127.0.0.1:{}/{name}", server.port())
}

async fn world(server: &Server) -> World {
    World::start(Settings::on(url(server, "pms"), url(server, "crm")))
        .await
        .unwrap()
}

/// Asks the emitter until it has delivered everything: the server may have no connection left for a look at its tables.
async fn until_delivered(pms: &Client) {
    until("everything is delivered", || async {
        let status = pms.get("/guests/webhook/status").await.unwrap();
        status.body["pending"] == 0
    })
    .await;
}

/// Guests with whatever SQL could stumble over, and what their profiles are called in the end.
async fn guests_arrive(world: &World, family: &str, count: usize) {
    let names: Vec<String> = (0..count)
        .map(|nth| format!("O'{family}\u{eb} \\\"{nth}\\\" \\ || \u{1f511} --{nth}"))
        .collect();
    let (pms, crm) = (
        Client::new(world.emitter_api()),
        Client::new(world.receiver_api()),
    );
    let created = names.iter().enumerate().map(|(nth, name)| {
        let guest = json!({"last_name": name, "notes": "x".repeat(2_000)});
        let pms = &pms;
        async move {
            pms.post("/guests", &guest, &format!("{family}-{nth}"))
                .await
                .unwrap()
        }
    });
    for answer in join_all(created).await {
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    until_delivered(&pms).await;
    until("every guest has a profile", || async {
        let answer = crm.get("/guest-profiles?limit=200").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let profiles = answer.body["data"].as_array().unwrap();
        names.iter().all(|name| {
            profiles
                .iter()
                .any(|profile| profile["display_name"] == name.as_str())
        })
    })
    .await;
}

async fn case26_both_services_work_within_a_servers_modes_and_limits(ctx: Ctx) {
    let Some(server) = own_server(&ctx, &ACCOUNTS).await else {
        return;
    };
    admin(
        &server,
        &[
            "SET GLOBAL sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,IGNORE_SPACE,ONLY_FULL_GROUP_BY'",
            "SET GLOBAL autocommit = 0",
            "SET GLOBAL completion_type = 'RELEASE'",
            "SET GLOBAL sql_safe_updates = 1",
            "SET GLOBAL sql_select_limit = 1",
            "SET GLOBAL sql_auto_is_null = 1",
            "SET GLOBAL sql_big_selects = 0",
            "SET GLOBAL max_join_size = 1",
            "SET GLOBAL unique_checks = 0",
            "SET GLOBAL init_connect = 'SET NAMES latin1'",
            "SET GLOBAL wait_timeout = 1",
            "SET GLOBAL net_write_timeout = 1",
            "SET GLOBAL innodb_lock_wait_timeout = 1000",
            "SET GLOBAL time_zone = '-11:00'",
            "SET GLOBAL max_allowed_packet = 1048576",
            "SET GLOBAL max_prepared_stmt_count = 3",
            "SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
        ],
    )
    .await;
    let world = world(&server).await;
    guests_arrive(&world, "Zo", 40).await;
    world.stop().await.unwrap();
    // A batch, and rows, that are longer together than the server's packets, and alone are not.
    let db = Db::open(
        &url(&server, "pms").parse().unwrap(),
        &DbSettings::default(),
        Arc::new(SystemEntropy),
    )
    .await
    .unwrap();
    let bytes = db.transaction("long", |tx| {
        Box::pin(async move {
            tx.execute(
                "CREATE TABLE long_texts (id BIGINT NOT NULL PRIMARY KEY, text MEDIUMBLOB NOT NULL)",
                vec![],
            )
            .await?;
            let texts = |ids: Range<i64>| {
                ids.flat_map(|id| params![id, vec![b'q'; 250_000]])
                    .collect::<Vec<_>>()
            };
            let columns = ["id", "text"];
            let insert = Statement::rows("long_texts", &columns, "", texts(0..8));
            tx.run(&insert.into_iter().collect::<Vec<_>>()).await.all()?;
            tx.insert("long_texts", &columns, "", texts(8..24)).await?;
            let sum = "SELECT SUM(LENGTH(text)) AS n FROM long_texts";
            let rows = tx.query(sum, vec![]).await?;
            rows[0].get::<i64>("n")
        })
    });
    assert_eq!(bytes.await.unwrap(), 24 * 250_000);
    db.close().await;
}

/// 32 for each service are more than the server gives to all.
async fn case26_fewer_connections_are_enough(ctx: Ctx) {
    let Some(server) = own_server(&ctx, &ACCOUNTS).await else {
        return;
    };
    admin(&server, &["SET GLOBAL max_connections = 14"]).await;
    let world = world(&server).await;
    guests_arrive(&world, "Zo", 100).await;
    world.stop().await.unwrap();
    admin(
        &server,
        &[
            "SET GLOBAL max_connections = 100",
            "ALTER USER app@'%' WITH MAX_USER_CONNECTIONS 10",
        ],
    )
    .await;
    let world = self::world(&server).await;
    guests_arrive(&world, "No", 50).await;
    world.stop().await.unwrap();
}

async fn case26_what_a_server_must_not_be_is_named(ctx: Ctx) {
    let Some(server) = own_server(&ctx, &ACCOUNTS).await else {
        return;
    };
    for (statement, back, named) in [
        (
            "SET GLOBAL max_allowed_packet = 65536",
            "SET GLOBAL max_allowed_packet = 16777216",
            "max_allowed_packet of the server is 65536: it must be at least 1048576",
        ),
        (
            "SET GLOBAL read_only = 1",
            "SET GLOBAL read_only = 0",
            "read-only",
        ),
        (
            "REVOKE CREATE ON *.* FROM app@'%'",
            "GRANT CREATE ON *.* TO app@'%'",
            "CREATE command denied",
        ),
        (
            "ALTER USER app@'%' ACCOUNT LOCK",
            "ALTER USER app@'%' ACCOUNT UNLOCK",
            "is locked",
        ),
        (
            "ALTER USER app@'%' IDENTIFIED BY 'other'",
            "ALTER USER app@'%' IDENTIFIED BY ''",
            "denies access",
        ),
    ] {
        admin(&server, &[statement]).await;
        for (program, name) in BOTH.into_iter().zip(["pms", "crm"]) {
            let address = format!("mysql://app@127.0.0.1:{}/{name}", server.port());
            let said = Start::new().with("DATABASE_URL", address).refused(program).await;
            assert!(said.contains(named), "{statement}: {said}");
        }
        admin(&server, &[back]).await;
    }
    let nowhere = format!("mysql://app@127.0.0.1:{}/none", server.port());
    let said = Start::new().with("DATABASE_URL", nowhere).refused(BOTH[0]).await;
    assert!(said.contains("no database of that name"), "{said}");
}
