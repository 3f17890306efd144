//! `DATABASE_URL` and its companions, as they are written.

use super::{BOTH, EMITTER, Start};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![free;
        case25_a_first_start_makes_the_file_where_the_address_says,
        case26_what_the_address_does_not_know_is_named,
    ]
}

async fn case25_a_first_start_makes_the_file_where_the_address_says(_: Ctx) {
    for (address, file) in [
        ("sqlite://x.db", "x.db"),
        ("sqlite:x.db", "x.db"),
        ("sqlite://./x.db", "x.db"),
        ("sqlite://my%20data/x.db", "my data/x.db"),
        ("sqlite://some/new/folder/x.db", "some/new/folder/x.db"),
    ] {
        for program in BOTH {
            let start = Start::new().with("DATABASE_URL", address);
            // The first start, and the second.
            for _ in 0..2 {
                start.served(program).await.ended().await;
                assert!(start.folder().join(file).is_file(), "{address}");
            }
            let key = start.folder().join(file).with_file_name("document-digest.key");
            assert_eq!(key.is_file(), program == EMITTER, "{address}");
        }
    }
    let start = Start::new();
    let path = start.folder().join("absolute.db");
    let start = start.with("DATABASE_URL", format!("sqlite://{}", path.display()));
    start.served(EMITTER).await.ended().await;
    assert!(path.is_file());
    for address in [
        "sqlite://",
        "sqlite://:memory:",
        "sqlite://data/",
        "sqlite://~/x.db",
        "sqlite://x.db?mode=rwc",
        "file:x.db",
    ] {
        for program in BOTH {
            let start = Start::new().with("DATABASE_URL", address);
            let said = start.refused(program).await;
            assert!(said.starts_with("error: DATABASE_URL: "), "{address}: {said}");
            assert_eq!(start.folder().read_dir().unwrap().count(), 0, "{address}");
        }
    }
}

async fn case26_what_the_address_does_not_know_is_named(_: Ctx) {
    let at = |query: &str| format!("mysql://app:canary@127.0.0.1:1/crm?{query}");
    for (query, named) in [
        ("charset=utf8mb4", "unknown parameter charset"),
        ("ssl_mode=required", "unknown parameter ssl_mode"),
        ("require_ssl=true", "unknown parameter require_ssl"),
        ("ssl-mode=preferred", "ssl-mode: it must be disabled"),
        ("ssl-mode=required&ssl-mode=required", "ssl-mode must stand once"),
        (
            "ssl-mode=verify_ca",
            "ssl-mode=verify_ca needs ssl-ca (DB_SSL_CA)",
        ),
        ("ssl-ca=ca.pem", "ssl-ca (DB_SSL_CA) is given"),
        (
            "ssl-mode=verify_identity&ssl-ca=none.pem",
            "ssl-ca (DB_SSL_CA) none.pem: No such file",
        ),
    ] {
        for program in BOTH {
            let said = Start::new()
                .with("DATABASE_URL", at(query))
                .refused(program)
                .await;
            assert!(said.contains(named), "{query}: {said}");
        }
    }
    for (name, value, named) in [
        ("DB_SSL_MODE", "preferred", "DB_SSL_MODE: "),
        ("DB_SSL_MODE", "verify_ca", "differ"),
        ("DB_SSL_MODE", "yes", "DB_SSL_MODE: "),
        ("DATABASE_URL", "mysql://app:can/ary@db/crm", "DATABASE_URL: "),
    ] {
        let start = Start::new()
            .with("DATABASE_URL", at("ssl-mode=required"))
            .with(name, value);
        let said = start.refused(EMITTER).await;
        assert!(said.contains(named), "{value}: {said}");
    }
}
