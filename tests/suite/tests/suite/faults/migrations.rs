//! Services as processes that die in the middle of a migration, again and again, and the start that ends it.

use harness::database::Database;
use harness::engine::Engine;
use serde_json::json;

use super::processes::{try_emitter, try_receiver};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{self, Receiver, guest_event};
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![f9_a_service_killed_in_mid_migration_goes_on_at_its_next_start]
}

/// Where each start dies, counted from where the one before it died: after a statement and before its record, which on
/// MySQL are two commits, and between two statements.
const DEATHS: [&str; 5] = [
    "migrate.defined:2",
    "migrate.between:1",
    "migrate.defined:1",
    "migrate.between:5",
    "migrate.defined:4",
];

/// Every column and index, or on SQLite the definitions as they were written.
async fn schema(engine: Engine, database: &mut Database) -> Vec<Vec<Option<String>>> {
    let sql = match engine {
        Engine::Sqlite => "SELECT name, sql FROM sqlite_master ORDER BY name",
        Engine::Mysql => {
            "SELECT table_name, column_name, column_type, is_nullable FROM information_schema.columns
             WHERE table_schema = DATABASE()
             UNION ALL
             SELECT table_name, column_name, index_name, CONCAT(non_unique, ' ', seq_in_index)
             FROM information_schema.statistics WHERE table_schema = DATABASE()
             ORDER BY 1, 2, 3, 4"
        }
    };
    let mut rows = Vec::new();
    let keep = |row| {
        rows.push(row);
        Ok(())
    };
    database.each(sql, keep).await.unwrap();
    rows
}

/// Starts a service where it dies, as often as there are deaths.
async fn die_on_the_way(url: &str, emitter: bool) {
    let folder = tempfile::tempdir().unwrap();
    for (nth, death) in DEATHS.iter().enumerate() {
        let armed = [("FAILPOINT", (*death).to_owned())];
        let started = if emitter {
            try_emitter(url, folder.path(), &armed).await
        } else {
            try_receiver(url, folder.path(), &armed).await
        };
        assert!(started.is_err(), "{death}: it listens");
        let mut database = Database::open(url).await.unwrap();
        let begun = "SELECT COUNT(*) FROM schema_migrations WHERE applied_at IS NULL";
        assert_eq!(database.count(begun).await.unwrap(), 1, "{nth}: {death}");
        // Its lease would be waited for.
        let over = "UPDATE leases SET lease_until = 0 WHERE name = 'migrate'";
        database.execute(over).await.unwrap();
    }
}

async fn f9_a_service_killed_in_mid_migration_goes_on_at_its_next_start(ctx: Ctx) {
    let fresh = async |name| ctx.servers.fresh(ctx.engine, name).await.unwrap();
    let (crm, whole) = (fresh("crm").await, fresh("crm_whole").await);
    for database in [&crm, &whole] {
        if std::ptr::eq(database, &crm) {
            die_on_the_way(database.url(), false).await;
        }
        let receiver = Receiver::start_with(ingest::config(database.parsed())).await;
        assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 202);
        receiver.stop().await;
    }
    let (pms, uninterrupted) = (ctx.database.url(), fresh("pms_whole").await);
    die_on_the_way(pms, true).await;
    for database in [ctx.url(), uninterrupted.parsed()] {
        let emitter = Pms::start_through(&ctx, database).await;
        emitter
            .post("/guests", &json!({"last_name": "Silva"}))
            .await
            .expect(201);
        emitter.stop().await;
    }
    for (died, whole) in [(crm.url(), whole.url()), (pms, uninterrupted.url())] {
        let (mut died, mut whole) = (
            Database::open(died).await.unwrap(),
            Database::open(whole).await.unwrap(),
        );
        let tables = schema(ctx.engine, &mut whole).await;
        assert!(!tables.is_empty());
        assert_eq!(schema(ctx.engine, &mut died).await, tables);
    }
    for database in [crm, whole, uninterrupted] {
        database.remove().await.unwrap();
    }
}
