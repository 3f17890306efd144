use super::*;
use contract::SecretList;
use db::DatabaseUrl;

mod values;

const DEFAULTS: Defaults = Defaults {
    port: "4001",
    database_url: "sqlite://data/pms.db",
};

/// A service with every group.
#[derive(Parser, Debug)]
#[command(name = "service", version)]
struct Cli {
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    log: LogArgs,
    /// A secret
    #[arg(long, env = "KIT_TEST_SECRET", hide_env_values = true, help_heading = SECRETS)]
    kit_test_secret: SecretList,
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(clap::Subcommand, Debug)]
enum Task {
    Serve,
}

const SECRET: (&str, &str) = ("KIT_TEST_SECRET", "0123456789abcdef");

fn parse(arguments: &[&str]) -> Result<Cli, Stop> {
    let all = ["service"].iter().chain(arguments);
    parse_from(DEFAULTS, &Variables::from([SECRET]), all)
}

/// With these lines in `.env`.
fn parse_file<const N: usize>(lines: [(&str, &str); N]) -> Result<Cli, Stop> {
    parse_from(DEFAULTS, &Variables::from(lines), ["service"])
}

fn refusal(parsed: Result<Cli, Stop>) -> String {
    match parsed {
        Err(Stop::Refuse(error)) => error.to_string(),
        Err(Stop::Show(error)) => panic!("clap's own words: {error}"),
        Ok(cli) => panic!("accepted: {cli:?}"),
    }
}

fn refused(arguments: &[&str]) -> String {
    refusal(parse(arguments))
}

#[test]
fn every_default_is_what_the_documents_say() {
    let cli = parse(&[]).ok().unwrap();
    assert_eq!(
        (cli.http.app_host.as_str(), cli.http.app_port),
        ("127.0.0.1", 4001)
    );
    assert_eq!(cli.http.app_base_path, "/api/v1");
    assert_eq!(cli.http.metrics_addr, None, "off");
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
        "[env: KIT_TEST_SECRET=] A secret",
        "[env: DB_PASS=]",
    ] {
        assert!(help.contains(text), "{text} in\n{help}");
    }
    for flag in ["--kit-test-secret", "--db-pass"] {
        assert!(!help.contains(flag), "{flag} in\n{help}");
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
        (["--http-body-bytes", "4095KiB"], "HTTP_BODY_BYTES"),
        (["--http-connections", "0"], "HTTP_CONNECTIONS"),
        (["--app-base-path", "api"], "APP_BASE_PATH"),
        (["--metrics-addr", "9101"], "METRICS_ADDR"),
        (["--metrics-addr", ":9101"], "METRICS_ADDR"),
        (["--metrics-addr", "localhost:http"], "METRICS_ADDR"),
        (["--log-format", "xml"], "LOG_FORMAT"),
        (["--log-level", "kit=loud"], "LOG_LEVEL"),
        (["--log-level", "warning"], "LOG_LEVEL"),
        (["--log-level", "info,bogus"], "LOG_LEVEL"),
        (["--log-level", "info,"], "LOG_LEVEL"),
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
fn a_flag_means_the_same_before_and_after_a_subcommand() {
    let flags = ["--app-port", "1", "--db-port", "2", "--log-level", "warn"];
    for arguments in [
        [&["serve"], &flags[..]].concat(),
        [&flags[..], &["serve"]].concat(),
    ] {
        let cli = parse(&arguments).ok().unwrap();
        assert!(matches!(cli.command, Some(Task::Serve)));
        assert_eq!(
            (cli.http.app_port, cli.log.log_level.as_str()),
            (1, "warn"),
            "{arguments:?}"
        );
    }
    assert!(refused(&["serve", "--app-port", "70000"]).starts_with("APP_PORT: "));
    assert_eq!(parse(&["serve"]).ok().unwrap().http.app_port, 4001);
}

#[test]
fn a_secret_is_named_and_never_quoted() {
    let sentence = refusal(parse_file([("KIT_TEST_SECRET", "hunter2")]));
    assert_eq!(
        sentence,
        "KIT_TEST_SECRET: the value is refused: a plain secret must have 16 to 256 bytes"
    );
    let sentence = refused(&["--database-url", "postgres://db/hunter2"]);
    assert!(
        sentence.starts_with("DATABASE_URL: the value is refused"),
        "{sentence}"
    );
    assert!(!sentence.contains("hunter2"));
    assert_eq!(
        refusal(parse_file([])),
        "KIT_TEST_SECRET: it is required and not set"
    );
}

#[test]
fn a18_a_flag_with_a_secret_is_refused_before_it_is_read() {
    for arguments in [
        &["--kit-test-secret", "hunter2-hunter2-hunter2"][..],
        &["--kit-test-secret=hunter2-hunter2-hunter2"],
        &["--kit-test-secret="],
        &["--kit-test-secret"],
        &["serve", "--kit-test-secret", "hunter2"],
        &["--app-port", "1", "--kit-test-secret", "hunter2", "serve"],
        &["--db-pass", "hunter2"],
        &["--db-pass=hunter2"],
        &["--database-url", "mysql://app:hunter2@db/crm"],
        &["--database-url=mysql://app:hunter2@db/crm"],
        &["--database-url=mysql://app:hunter2@db:port/crm"],
        &["--database-url=postgres://app:hunter2@db/crm"],
        &["serve", "--database-url", "MYSQL://app:hunter2@db/crm"],
    ] {
        let sentence = refused(arguments);
        let flag = arguments
            .iter()
            .rfind(|argument| argument.starts_with("--"))
            .unwrap();
        let name = flag[2..]
            .split('=')
            .next()
            .unwrap()
            .to_uppercase()
            .replace('-', "_");
        assert!(sentence.starts_with(&format!("{name}: ")), "{sentence}");
        assert!(
            sentence.contains(&format!("set the variable {name}")),
            "{sentence}"
        );
        assert!(!sentence.contains("hunter"), "{sentence}");
    }
    for url in ["mysql://app@db/crm", "sqlite://x.db"] {
        assert!(parse(&["--database-url", url]).is_ok());
    }
    // What is no flag of ours is clap's to refuse, and not repeated either.
    for argument in ["--password=hunter2", "--webhook-secret=hunter2"] {
        let Err(Stop::Show(error)) = parse(&[argument]) else {
            panic!("{argument}")
        };
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert_eq!(error.exit_code(), EXIT_CONFIG);
    }
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

#[test]
fn a_file_fills_in_what_the_environment_and_the_flags_lack() {
    let file = Variables::from([("APP_PORT", "7001"), SECRET, ("APP_HOST", "10.0.0.1")]);
    let cli: Cli = parse_from(DEFAULTS, &file, ["service", "--app-host", "0.0.0.0"])
        .ok()
        .unwrap();
    assert_eq!((cli.http.app_host.as_str(), cli.http.app_port), ("0.0.0.0", 7001));
    let Err(Stop::Show(help)) = parse_from::<Cli, _, _>(DEFAULTS, &file, ["service", "--help"]) else {
        panic!("help is shown")
    };
    assert!(!help.to_string().contains("0123456789abcdef"));
    let twice = parse_file([("APP_PORT", "7001"), SECRET, ("APP_PORT", "7002")]);
    assert!(refusal(twice).starts_with("APP_PORT: lines 1 and 3 of "));
}

/// The environment of a process can only be set from outside it: [`in_an_environment`] runs as a child of this.
#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "config::tests::in_an_environment", "--ignored"])
        .envs([
            ("APP_PORT", "7002"),
            ("APP_HOST", ""),
            ("DATABASE_URL", ""),
            ("KIT_TEST_SECRET", "fedcba9876543210"),
            ("LOG_LEVEL", " warn\r\n"),
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "needs the environment that an_empty_variable_is_one_that_is_not_set gives it"]
fn in_an_environment() {
    let file = [("APP_PORT", "7001"), ("APP_HOST", "10.0.0.1")].into();
    let cli: Cli = parse_from(DEFAULTS, &file, ["service"]).ok().unwrap();
    assert_eq!(
        (cli.http.app_host.as_str(), cli.http.app_port),
        ("127.0.0.1", 7002)
    );
    assert_eq!(cli.log.log_level, "warn");
    assert_eq!(
        cli.database.url(DEFAULTS).unwrap().to_string(),
        "sqlite://data/pms.db"
    );
}
