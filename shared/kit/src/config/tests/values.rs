//! Values as people, files and templates leave them.

use super::*;

fn database<const N: usize>(lines: [(&str, &str); N]) -> Result<DatabaseUrl, ConfigError> {
    let mut variables = Variables::from(lines);
    variables.set(SECRET.0, SECRET.1.to_owned(), N + 1);
    let parsed = parse_from::<Cli, _, _>(DEFAULTS, &variables, ["service"]);
    match parsed {
        Ok(cli) => cli.database.url(DEFAULTS),
        Err(Stop::Refuse(error)) => Err(error),
        Err(Stop::Show(error)) => panic!("clap's own words: {error}"),
    }
}

#[test]
fn the_parts_of_an_address_make_mysql() {
    let parts = [
        ("DB_HOST", "db"),
        ("DB_USER", "app"),
        ("DB_PASS", " hunter2@:/ "),
        ("DB_NAME", "crm"),
    ];
    let [host, user, pass, name] = parts;
    let url = database(parts).unwrap();
    assert_eq!(url.to_string(), "mysql://app:***@db:3306/crm");
    assert!(!format!("{url:?}").contains("hunter2"));
    let both = database([host, user, pass, name, ("DATABASE_URL", "sqlite://x.db")]);
    assert_eq!(both.unwrap().to_string(), "sqlite://x.db");
    for (refused, named) in [
        (database([host]), "DB_USER"),
        (database([host, user]), "DB_NAME"),
        (database([user]), "DB_HOST"),
        (database([("DB_PORT", "3307")]), "DB_HOST"),
        (database([("DB_SSL_MODE", "required")]), "DB_HOST"),
        (database([host, user, name, ("DB_PASS", "hunter2\n")]), "DB_PASS"),
        (database([host, user, name, ("DB_PASS", "'hunter2'")]), "DB_PASS"),
        (database([host, user, name, ("DB_PORT", "0")]), "DB_PORT"),
        (database([("DB_HOST", "db:3306"), user, name]), "DB_HOST"),
        (
            database([host, user, name, ("DB_SSL_MODE", "preferred")]),
            "DB_SSL_MODE",
        ),
        (
            database([host, user, name, ("DB_SSL_MODE", "verify_ca")]),
            "DB_SSL_MODE, DB_SSL_CA",
        ),
        (
            database([host, user, name, ("DB_SSL_CA", "ca.pem")]),
            "DB_SSL_MODE, DB_SSL_CA",
        ),
    ] {
        let said = refused.unwrap_err().to_string();
        assert!(
            said.starts_with(&format!("{named}: ")) && !said.contains("hunter2"),
            "{said}"
        );
    }
}

#[test]
fn case26_tls_is_asked_for_in_the_address_or_beside_it() {
    let asked = |url: &str| ("DATABASE_URL", url.to_owned());
    for (url, mode, ca) in [
        ("mysql://app@db/crm?ssl-mode=REQUIRED", "", ""),
        ("mysql://app@db/crm", "Required", ""),
        ("mysql://app@db/crm?ssl-mode=verify_ca", "", "ca.pem"),
        ("mysql://app@db/crm?ssl-ca=ca.pem", "VERIFY_IDENTITY", "ca.pem"),
        ("sqlite://x.db", "required", ""),
    ] {
        let (name, url) = asked(url);
        let lines = [(name, url.as_str()), ("DB_SSL_MODE", mode), ("DB_SSL_CA", ca)];
        assert!(database(lines).is_ok(), "{lines:?}");
    }
    for (url, mode, ca) in [
        ("mysql://app@db/crm?ssl-mode=required", "verify_ca", "ca.pem"),
        ("mysql://app@db/crm?ssl-mode=verify_ca&ssl-ca=a", "", "b"),
        ("mysql://app@db/crm?ssl-mode=verify_ca", "", ""),
    ] {
        let (name, url) = asked(url);
        let lines = [(name, url.as_str()), ("DB_SSL_MODE", mode), ("DB_SSL_CA", ca)];
        let said = database(lines).unwrap_err().to_string();
        assert!(said.starts_with("DB_SSL_MODE, DB_SSL_CA: "), "{said}");
    }
}

/// Each setting as files, templates and shells leave it: read as it was meant, or refused by its name.
#[test]
fn a_value_is_read_as_it_was_meant_or_refused_by_name() {
    for (name, value, meant) in [
        ("APP_PORT", " 7001 ", true),
        ("APP_PORT", "7001\r", true),
        ("APP_PORT", "7001\n", true),
        ("APP_PORT", "", true),
        ("APP_PORT", "  ", true),
        ("APP_PORT", "0", true),
        ("APP_PORT", "65536", false),
        ("APP_PORT", "-1", false),
        ("APP_PORT", "70 01", false),
        ("APP_PORT", "7_001", false),
        ("APP_PORT", "\"7001\"", false),
        ("APP_PORT", "'7001'", false),
        ("APP_PORT", "tcp://10.0.0.1:7001", false),
        ("APP_HOST", "[::1]", true),
        ("APP_HOST", "localhost", true),
        ("APP_HOST", "127.0.0.1:7001", false),
        ("APP_HOST", "http://127.0.0.1", false),
        ("APP_HOST", "*", false),
        ("APP_HOST", "0", false),
        ("HTTP_CONNECTIONS", "1e3", false),
        ("HTTP_CONNECTIONS", "1,000", false),
        ("HTTP_BODY_BYTES", "64 mib", true),
        ("HTTP_BODY_BYTES", "64 MB", false),
        ("HTTP_BODY_BYTES", "64M", false),
        ("METRICS_ADDR", "[::1]:9101", true),
        ("METRICS_ADDR", "::1:9101", false),
        ("LOG_LEVEL", "INFO", true),
        ("LOG_LEVEL", "verbose", false),
        ("LOG_FORMAT", "JSON", true),
        ("LOG_FORMAT", "Text ", true),
        ("LOG_FORMAT", "yes", false),
        ("KIT_TEST_SECRET", "0123456789abcdef\r\n", true),
        ("KIT_TEST_SECRET", "'0123456789abcdef'", false),
        ("KIT_TEST_SECRET", " ", false),
        ("DATABASE_URL", " sqlite://x.db\n", true),
        ("DATABASE_URL", "\"sqlite://x.db\"", false),
        ("DATABASE_URL", "sqlite://x.db?mode=rwc", false),
    ] {
        let lines = [(name, value), if name == SECRET.0 { ("X", "") } else { SECRET }];
        let parsed = parse_file(lines);
        if meant {
            assert!(parsed.is_ok(), "{name}={value:?}: {}", refusal(parsed));
        } else {
            let said = refusal(parsed);
            assert!(said.starts_with(&format!("{name}: ")), "{value:?}: {said}");
        }
    }
    assert_eq!(
        parse_file([("APP_HOST", "[::1]"), SECRET])
            .ok()
            .unwrap()
            .http
            .app_host,
        "::1"
    );
    let format = parse_file([("LOG_FORMAT", "JSON"), SECRET])
        .ok()
        .unwrap()
        .log
        .log_format;
    assert_eq!(format, LogFormat::Json);
}
