use super::*;
use crate::db::DatabaseUrl;
use contract::SecretList;

const DEFAULTS: Defaults = Defaults {
    port: "4001",
    database_url: "sqlite://data/pms.db",
};

/// Variables of their own, so that what this machine's environment holds changes nothing.
#[derive(Parser, Debug)]
#[command(name = "service", version)]
struct Cli {
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    log: LogArgs,
    #[arg(long, env = "KIT_TEST_SECRET", hide_env_values = true)]
    secret: SecretList,
}

fn parse(arguments: &[&str]) -> Result<Cli, Stop> {
    let fixed = ["service", "--secret", "0123456789abcdef"];
    parse_from(DEFAULTS, fixed.iter().chain(arguments))
}

fn refused(arguments: &[&str]) -> String {
    match parse(arguments) {
        Err(Stop::Refuse(error)) => error.to_string(),
        Err(Stop::Show(error)) => panic!("clap's own words: {error}"),
        Ok(_) => panic!("accepted: {arguments:?}"),
    }
}

fn database(arguments: &[&str]) -> Result<DatabaseUrl, ConfigError> {
    parse(arguments).ok().unwrap().database.url(DEFAULTS)
}

#[test]
fn every_default_is_what_the_documents_say() {
    let cli = parse(&[]).ok().unwrap();
    assert_eq!(
        (cli.http.app_host.as_str(), cli.http.app_port),
        ("127.0.0.1", 4001)
    );
    assert_eq!(cli.http.app_base_path, "/api/v1");
    assert_eq!(cli.http.serve_settings().connections_max, 10_000);
    assert_eq!(cli.http.body_limits().budget.left(), 64 << 20);
    assert_eq!(
        cli.database.url(DEFAULTS).unwrap().to_string(),
        "sqlite://data/pms.db"
    );
    assert_eq!(
        (cli.log.log_level.as_str(), cli.log.log_format),
        ("info", LogFormat::Text)
    );
}

#[test]
fn help_shows_the_defaults_and_the_variables() {
    let Err(Stop::Show(help)) = parse(&["--help"]) else {
        panic!("help is shown")
    };
    let help = help.to_string();
    for text in [
        "APP_PORT",
        "[default: 4001]",
        "[default: sqlite://data/pms.db]",
        "HTTP_BODY_BYTES",
        "[default: 64MiB]",
    ] {
        assert!(help.contains(text), "{text} in\n{help}");
    }
}

#[test]
fn a_wrong_value_is_one_sentence_that_names_the_variable() {
    assert_eq!(
        refused(&["--app-port", "99999"]),
        "APP_PORT: \"99999\" is refused: 99999 is not in 0..=65535"
    );
    for (arguments, variable) in [
        (["--http-body-bytes", "64 MB"], "HTTP_BODY_BYTES"),
        (["--http-connections", "0"], "HTTP_CONNECTIONS"),
        (["--app-base-path", "api"], "APP_BASE_PATH"),
        (["--log-format", "xml"], "LOG_FORMAT"),
        (["--log-level", "kit=loud"], "LOG_LEVEL"),
    ] {
        let sentence = refused(&arguments);
        assert!(
            sentence.starts_with(&format!("{variable}: \"{}\" is refused", arguments[1])),
            "{sentence}"
        );
        assert_eq!(sentence.lines().count(), 1);
    }
}

#[test]
fn a_secret_is_named_and_never_quoted() {
    let sentence = match parse_from::<Cli, _, _>(DEFAULTS, ["service", "--secret", "hunter2"]) {
        Err(Stop::Refuse(error)) => error.to_string(),
        _ => panic!("a short secret is refused"),
    };
    assert_eq!(
        sentence,
        "KIT_TEST_SECRET: the value is refused: a plain secret must have 16 to 256 bytes"
    );
    let sentence = refused(&["--database-url", "postgres://app:hunter2@db/crm"]);
    assert!(
        sentence.starts_with("DATABASE_URL: the value is refused"),
        "{sentence}"
    );
    assert!(!sentence.contains("hunter2"));
    let missing = parse_from::<Cli, _, _>(DEFAULTS, ["service"]);
    let Err(Stop::Refuse(error)) = missing else {
        panic!("the secret is required")
    };
    assert_eq!(error.to_string(), "KIT_TEST_SECRET: it is required and not set");
}

#[test]
fn the_parts_of_an_address_make_mysql() {
    let parts = [
        "--db-host",
        "db",
        "--db-user",
        "app",
        "--db-pass",
        "hunter2@:/",
        "--db-name",
        "crm",
    ];
    assert_eq!(
        database(&parts).unwrap().to_string(),
        "mysql://app:***@db:3306/crm"
    );
    let both = [&parts[..], &["--database-url", "sqlite://x.db"]].concat();
    assert_eq!(database(&both).unwrap().to_string(), "sqlite://x.db");
    for (given, named) in [
        (&parts[..2], "DB_USER"),
        (&parts[..4], "DB_NAME"),
        (&parts[2..4], "DB_HOST"),
    ] {
        assert!(
            database(given).unwrap_err().to_string().starts_with(named),
            "{given:?}"
        );
    }
    assert!(!format!("{:?}", parse(&parts).ok().unwrap()).contains("hunter2"));
}

#[test]
fn the_base_path_loses_its_last_slash() {
    for (given, meant) in [("/", ""), ("/api/", "/api"), ("/a/b", "/a/b")] {
        assert_eq!(
            parse(&["--app-base-path", given])
                .ok()
                .unwrap()
                .http
                .app_base_path,
            meant
        );
    }
    for bad in ["/a//b", "//", "/a b", "/{x}", "/%20"] {
        let accepted = parse(&["--app-base-path", bad]).is_ok();
        assert_eq!(accepted, bad == "//", "{bad}");
    }
}
