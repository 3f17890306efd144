//! TLS to a server with a certificate of its own: what each mode encrypts, and what it refuses.

use super::{BOTH, EMITTER, Start};
use crate::case::{Case, Ctx, cases};
use crate::faults::{admin, own_server};
use db::{DatabaseUrl, Db, DbError, DbSettings};
use harness::engine::Engine;
use harness::server::{Server, USER};
use kit::random::SystemEntropy;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

pub fn cases() -> Vec<Case> {
    cases![only Engine::Mysql;
        case26_each_mode_encrypts_and_verifies_what_it_says,
        case26_a_server_without_tls_is_refused_where_tls_is_asked_for,
    ]
}

/// An authority, and a server of it whose certificate is for 127.0.0.1 alone; and another authority.
struct Secured {
    server: Server,
    folder: TempDir,
}

impl Secured {
    /// None where there is only a given server.
    fn start(ctx: &Ctx) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        // The server's own user reads its key.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        let (ours, other) = (authority(), authority());
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &ours).unwrap();
        write("ca.pem", ours.pem());
        write("other.pem", other.pem());
        write("cert.pem", certificate.pem());
        write("key.pem", key.serialize_pem());
        fs::set_permissions(folder.path().join("key.pem"), Permissions::from_mode(0o644)).unwrap();
        let option = |name: &str, file: &str| format!("--{name}={}", folder.path().join(file).display());
        let options = vec![
            option("ssl-ca", "ca.pem"),
            option("ssl-cert", "cert.pem"),
            option("ssl-key", "key.pem"),
        ];
        let server = ctx.servers.own_server_with(options).unwrap();
        let Some(server) = server else {
            eprintln!("skipped: a given server has a certificate of somebody else's");
            return None;
        };
        Some(Self { server, folder })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn address(&self, host: &str, user: &str, mode: &str, ca: &str) -> String {
        let mut address = format!(
            "mysql://{user}@{host}:{}/mysql?ssl-mode={mode}",
            self.server.port()
        );
        if !ca.is_empty() {
            address += &format!("&ssl-ca={}", self.file(ca).display());
        }
        address
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// The cipher of the session; empty in plain text.
async fn cipher(address: &str) -> Result<String, DbError> {
    let url: DatabaseUrl = address.parse().unwrap();
    let db = Db::open(&url, &DbSettings::default(), Arc::new(SystemEntropy)).await?;
    let sql = "SHOW SESSION STATUS LIKE 'Ssl_cipher'";
    let rows = db
        .read("cipher", move |tx| Box::pin(tx.query(sql, vec![])))
        .await
        .unwrap();
    db.close().await;
    Ok(rows[0].get("Value").unwrap())
}

async fn case26_each_mode_encrypts_and_verifies_what_it_says(ctx: Ctx) {
    let Some(secured) = Secured::start(&ctx) else {
        return;
    };
    for (host, mode, ca) in [
        ("127.0.0.1", "required", ""),
        ("localhost", "REQUIRED", ""),
        ("localhost", "required", "other.pem"),
        ("127.0.0.1", "verify_ca", "ca.pem"),
        ("localhost", "VERIFY_CA", "ca.pem"),
        ("127.0.0.1", "verify_identity", "ca.pem"),
    ] {
        let cipher = cipher(&secured.address(host, USER, mode, ca)).await.unwrap();
        assert!(!cipher.is_empty(), "{host} {mode}");
    }
    let plain = cipher(&secured.address("127.0.0.1", USER, "disabled", ""))
        .await
        .unwrap();
    assert_eq!(plain, "");
    for (host, mode, ca, named) in [
        ("127.0.0.1", "verify_ca", "other.pem", "certificate"),
        ("127.0.0.1", "verify_identity", "other.pem", "certificate"),
        (
            "localhost",
            "verify_identity",
            "ca.pem",
            "not valid for name \"localhost\"",
        ),
        ("127.0.0.1", "verify_ca", "key.pem", "ssl-ca (DB_SSL_CA)"),
        ("127.0.0.1", "verify_ca", "none.pem", "No such file"),
    ] {
        let refused = cipher(&secured.address(host, USER, mode, ca)).await.unwrap_err();
        assert!(
            matches!(refused, DbError::Open { .. }),
            "{host} {mode} {ca}: {refused}"
        );
        assert!(
            refused.to_string().contains(named),
            "{host} {mode} {ca}: {refused}"
        );
    }
    services_ask_for_it_in_each_place(&secured).await;
    // An account, and then a server, that takes encrypted sessions alone.
    admin(
        &secured.server,
        &[
            "CREATE USER careful@'%' REQUIRE SSL",
            "GRANT SELECT ON mysql.* TO careful@'%'",
            "SET GLOBAL require_secure_transport = ON",
        ],
    )
    .await;
    for user in ["careful", USER] {
        assert!(
            cipher(&secured.address("127.0.0.1", user, "required", ""))
                .await
                .is_ok()
        );
        let refused = cipher(&secured.address("127.0.0.1", user, "disabled", ""))
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("DB_SSL_MODE"), "{user}: {refused}");
    }
}

/// With the address in one piece and in parts.
async fn services_ask_for_it_in_each_place(secured: &Secured) {
    admin(&secured.server, &["CREATE DATABASE pms", "CREATE DATABASE crm"]).await;
    let ca = secured.file("ca.pem").display().to_string();
    let port = secured.server.port().to_string();
    for (program, name) in BOTH.into_iter().zip(["pms", "crm"]) {
        let address = format!("mysql://{USER}@127.0.0.1:{port}/{name}");
        let whole = format!("{address}?ssl-mode=verify_identity&ssl-ca={ca}");
        Start::new()
            .with("DATABASE_URL", whole)
            .served(program)
            .await
            .ended()
            .await;
        let beside = Start::new()
            .with("DATABASE_URL", &address)
            .with("DB_SSL_MODE", "VERIFY_IDENTITY")
            .with("DB_SSL_CA", &ca);
        beside.served(program).await.ended().await;
        let parts = Start::new()
            .with("DB_HOST", "127.0.0.1")
            .with("DB_PORT", &port)
            .with("DB_USER", USER)
            .with("DB_NAME", name)
            .with("DB_SSL_MODE", "verify_identity")
            .with("DB_SSL_CA", &ca);
        parts.served(program).await.ended().await;
        let said = parts.with("DB_HOST", "localhost").refused(program).await;
        assert!(said.contains("not valid for name"), "{said}");
    }
    let other = secured.file("other.pem").display().to_string();
    let address = secured.address("127.0.0.1", USER, "verify_ca", "");
    let start = Start::new()
        .with("DATABASE_URL", address)
        .with("DB_SSL_CA", other);
    let said = start.refused(EMITTER).await;
    assert!(
        said.contains("certificate") && !said.contains("no server answers"),
        "{said}"
    );
}

async fn case26_a_server_without_tls_is_refused_where_tls_is_asked_for(ctx: Ctx) {
    let Some(server) = own_server(&ctx, &[]).await else {
        return;
    };
    let plain = cipher(&server.url("mysql")).await.unwrap();
    let asked = cipher(&format!("{}?ssl-mode=required", server.url("mysql"))).await;
    assert_eq!(plain, "");
    match asked {
        Err(refused) => assert!(refused.to_string().contains("offers no TLS"), "{refused}"),
        // Newer servers make a certificate of their own.
        Ok(cipher) => assert!(!cipher.is_empty()),
    }
}
