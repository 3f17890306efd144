use super::*;
use crate::TlsMode;

fn server(text: &str) -> Server {
    match text.parse::<DatabaseUrl>().unwrap().0 {
        Target::Mysql(server) => *server,
        Target::Sqlite(_) => panic!("{text}"),
    }
}

fn refusal(text: &str) -> DatabaseUrlError {
    let parsed = text.parse::<DatabaseUrl>();
    parsed.err().unwrap_or_else(|| panic!("accepted: {text}"))
}

#[test]
fn reads_both_engines_and_hides_the_password() {
    let url: DatabaseUrl = "mysql://app:hunter2%40@db.example:3307/crm".parse().unwrap();
    assert_eq!(url.to_string(), "mysql://app:***@db.example:3307/crm");
    assert!(!format!("{url:?}").contains("hunter2") && url.has_password());
    assert_eq!(url.dialect(), Dialect::Mysql);
    let parts = DatabaseUrl::mysql("db.example", 3307, "app", "hunter2@", "crm");
    assert_eq!(parts.to_string(), url.to_string());
    let url: DatabaseUrl = "sqlite://data/crm.db".parse().unwrap();
    assert_eq!(url.sqlite_path(), Some(Path::new("data/crm.db")));
    assert!(
        !"mysql://app@db/crm"
            .parse::<DatabaseUrl>()
            .unwrap()
            .has_password()
    );
}

#[test]
fn case25_a_path_is_read_in_each_of_its_forms() {
    for (text, path, folder) in [
        ("sqlite://x.db", "x.db", "."),
        ("sqlite:x.db", "x.db", "."),
        ("SQLite://x.db", "x.db", "."),
        ("sqlite://./x.db", "./x.db", "."),
        ("sqlite://data/x.db", "data/x.db", "data"),
        ("sqlite://../x.db", "../x.db", ".."),
        ("sqlite:///srv/x.db", "/srv/x.db", "/srv"),
        ("sqlite:/srv/x.db", "/srv/x.db", "/srv"),
        ("sqlite:///x.db", "/x.db", "/"),
        ("sqlite://my%20data/100%25.db", "my data/100%.db", "my data"),
        ("sqlite://my data/x.db", "my data/x.db", "my data"),
        ("sqlite://d%C3%A4ta/x.db", "d\u{e4}ta/x.db", "d\u{e4}ta"),
    ] {
        let url: DatabaseUrl = text.parse().unwrap();
        assert_eq!(url.sqlite_path(), Some(Path::new(path)), "{text}");
        assert_eq!(url.sqlite_folder(), Some(Path::new(folder)), "{text}");
    }
    for (text, why) in [
        ("sqlite://", DatabaseUrlError::NoPath),
        ("sqlite:", DatabaseUrlError::NoPath),
        ("sqlite://data/", DatabaseUrlError::NoPath),
        ("sqlite://.", DatabaseUrlError::NoPath),
        ("sqlite://data/..", DatabaseUrlError::NoPath),
        ("sqlite://data/.", DatabaseUrlError::NoPath),
        ("sqlite://x%00.db", DatabaseUrlError::NoPath),
        ("sqlite://:memory:", DatabaseUrlError::Memory),
        ("sqlite::memory:", DatabaseUrlError::Memory),
        ("sqlite://~/x.db", DatabaseUrlError::Home),
        ("sqlite://file:x.db", DatabaseUrlError::FileUri),
        ("sqlite://100%.db", DatabaseUrlError::Escape),
        ("sqlite://x%ff.db", DatabaseUrlError::Escape),
        ("sqlite://x#1.db", DatabaseUrlError::Escape),
        ("file:x.db", DatabaseUrlError::Scheme),
        ("x.db", DatabaseUrlError::Scheme),
        ("mariadb://app@db/crm", DatabaseUrlError::Scheme),
        ("mysql:app@db/crm", DatabaseUrlError::Scheme),
    ] {
        assert_eq!(refusal(text), why, "{text}");
    }
    assert!(
        refusal("sqlite://x.db?mode=rwc")
            .to_string()
            .contains("parameter mode:")
    );
}

#[test]
fn case26_an_address_asks_for_tls_and_nothing_unknown() {
    let of = |text: &str| {
        let Tls { mode, ca } = server(text).tls;
        (mode, ca.map(|ca| ca.display().to_string()))
    };
    assert_eq!(of("mysql://app@db/crm"), (None, None));
    assert_eq!(of("mysql://app@db/crm?"), (None, None));
    assert_eq!(
        of("mysql://app@db/crm?ssl-mode=REQUIRED"),
        (Some(TlsMode::Required), None)
    );
    assert_eq!(
        of("mysql://app@db/crm?ssl-ca=%2Fetc%2Fmy%20c++.pem&ssl-mode=Verify_Identity"),
        (Some(TlsMode::VerifyIdentity), Some("/etc/my c++.pem".to_owned()))
    );
    assert_eq!(
        refusal("mysql://app@db/crm?ssl-mode=preferred"),
        DatabaseUrlError::Mode(InvalidTlsMode)
    );
    assert_eq!(
        refusal("mysql://app@db/crm?ssl-mode="),
        DatabaseUrlError::Unclear("ssl-mode")
    );
    assert_eq!(
        refusal("mysql://app@db/crm?ssl-ca=a&ssl-ca=b"),
        DatabaseUrlError::Unclear("ssl-ca")
    );
    for name in [
        "charset",
        "ssl_mode",
        "sslMode",
        "SSL-MODE",
        "require_ssl",
        "pool_max",
        "max_allowed_packet",
    ] {
        let said = refusal(&format!("mysql://app@db/crm?{name}=utf8mb4")).to_string();
        assert!(said.contains(&format!("unknown parameter {name}:")), "{said}");
        assert!(!said.contains("utf8mb4"), "{said}");
    }
}

#[test]
fn case26_every_part_is_decoded_as_it_was_meant() {
    let opts = server("MySQL://a%40p:p%3A%2F%3F%23%40%25%20%C3%BC@[::1]:3307/c%20rm").opts;
    assert_eq!((opts.user(), opts.pass()), (Some("a@p"), Some("p:/?#@% \u{fc}")));
    assert_eq!(
        (opts.ip_or_hostname(), opts.tcp_port(), opts.db_name()),
        ("[::1]", 3307, Some("c rm"))
    );
    let opts = server("mysql://app:p@ss:50%@db/crm").opts;
    assert_eq!((opts.pass(), opts.tcp_port()), (Some("p@ss:50%"), 3306));
    for text in [
        "mysql://app:hunter2@host:port/name",
        "mysql://app:hun/ter2@host/name",
        "mysql://app:hun?ter2@host/name",
        "mysql://app:hun#ter2@host/name",
        "mysql://app:hun ter2@host/name",
        "mysql://app:hun\tter2@host/name",
        "mysql://app:hunter2%ff@host/name",
        "mysql://app:hunter2@host:0/name",
        "mysql://app:hunter2@host/name/other",
        "mysql://app:hunter2@host/name#hunter2",
        "mysql://app:hunter2@/name",
        "mysql:///name",
    ] {
        let said = refusal(text);
        assert_eq!(said, DatabaseUrlError::Mysql, "{text}");
        assert!(!said.to_string().contains("hun"), "{said}");
    }
    for text in [
        "mysql://app@host:3306",
        "mysql://app@host:3306/",
        "mysql://app@host?ssl-mode=required",
    ] {
        assert_eq!(refusal(text), DatabaseUrlError::NoName, "{text}");
    }
    assert_eq!(refusal("postgres://x/y"), DatabaseUrlError::Scheme);
    // What may be a piece of a password is not repeated.
    let said = refusal("mysql://app:12/name?hunter2@host/x=1").to_string();
    assert!(!said.contains("hunter2"), "{said}");
}
