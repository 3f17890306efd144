//! What can be said of `docker/` without a container engine: that the composition, its example of an environment, the
//! Dockerfile and the services' own `--help` agree, and that the scripts do what they say.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read a file fails where it stands"
)]

use harness::program::{EMITTER, Program, RECEIVER};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the composition must be given and not have a default for.
const SECRETS: [&str; 9] = [
    "CRM_ADMIN_API_KEY",
    "CRM_DB_PASSWORD",
    "CRM_WEBHOOK_SECRET",
    "DOCUMENT_DIGEST_KEY",
    "MASTER_KEY",
    "MYSQL_ROOT_PASSWORD",
    "PMS_ADMIN_API_KEY",
    "PMS_DB_PASSWORD",
    "PMS_MASTER_KEY",
];
/// What the image or the composition decides: where a service listens, and how it finds its database.
const DECIDED: [&str; 5] = ["APP_BASE_PATH", "APP_HOST", "APP_PORT", "DATABASE_URL", "DB_PORT"];
/// What the composition sets from another variable, and so takes no variable of that name.
const DERIVED: [&str; 6] = [
    "ADMIN_API_KEY",
    "DB_HOST",
    "DB_NAME",
    "DB_PASS",
    "DB_USER",
    "WEBHOOK_SHARED_SECRET",
];
/// The services, each with the name by which the suite's programs are it.
const SERVICES: [(&str, &str); 2] = [("crm-receiver", RECEIVER), ("pms-emitter", EMITTER)];

type Names = BTreeSet<String>;

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap().to_owned()
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn compose() -> Value {
    serde_saphyr::from_str(&text("docker/compose.yaml")).unwrap()
}

fn names(list: &[&str]) -> Names {
    list.iter().map(|&name| name.to_owned()).collect()
}

/// Each variable of the composition, with what stands behind its name: `:?...`, `:-...`. `$$` is none.
fn asked_for() -> BTreeMap<String, Names> {
    let text = text("docker/compose.yaml").replace("$$", "");
    let mut found: BTreeMap<String, Names> = BTreeMap::new();
    for part in text.split("${").skip(1) {
        let inside = part.split('}').next().unwrap();
        let end = inside.find(':').unwrap_or(inside.len());
        let (name, rest) = inside.split_at(end);
        found.entry(name.to_owned()).or_default().insert(rest.to_owned());
    }
    assert!(!found.is_empty());
    found
}

/// Each variable of the example, commented out or not, with its value.
fn explained() -> BTreeMap<String, String> {
    let text = text("docker/.env.example");
    let lines = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='));
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    lines
        .filter(|(name, _)| is_name(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The variables of a program's help: `[env: NAME=]`.
fn understood(program: &'static str) -> Names {
    let help = Program::new(env!("CARGO_BIN_EXE_programs"), program)
        .command()
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let variables = help.split("[env: ").skip(1);
    let names: Names = variables
        .map(|part| part.split(['=', ']']).next().unwrap().to_owned())
        .collect();
    assert!(names.contains("APP_HOST"), "{help}");
    names
}

#[test]
fn the_example_explains_every_variable_and_no_other() {
    let asked: Names = asked_for().into_keys().collect();
    let explained: Names = explained().into_keys().collect();
    let mut known: Names = SERVICES
        .iter()
        .flat_map(|(_, program)| understood(program))
        .collect();
    known.extend(asked);
    assert_eq!(explained, known);
}

#[test]
fn the_example_holds_no_secret_and_the_composition_no_default_of_one() {
    let (explained, asked) = (explained(), asked_for());
    for secret in SECRETS {
        assert_eq!(explained[secret], "", "{secret}");
        assert!(
            asked[secret]
                .iter()
                .all(|rest| rest.starts_with(":?set it in docker/.env")),
            "{secret}: {:?}",
            asked[secret]
        );
    }
    for name in DERIVED {
        assert_eq!(explained[name], "", "{name}");
    }
    let required: Names = asked
        .into_iter()
        .filter(|(_, rests)| rests.iter().any(|rest| !rest.starts_with(":-")))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(required, names(&SECRETS));
}

#[test]
fn a_service_is_given_every_variable_that_it_understands_and_no_other() {
    let compose = compose();
    for (service, program) in SERVICES {
        let given = compose["services"][service]["environment"].as_object().unwrap();
        let mut given: Names = given.keys().cloned().collect();
        given.extend(names(&DECIDED));
        assert_eq!(given, understood(program), "{service}");
    }
}

/// What the composition hands on for each service is empty until somebody fills it in.
#[test]
fn a_service_starts_with_the_variables_that_nobody_filled_in() {
    let compose = compose();
    for (service, program) in SERVICES {
        let given = compose["services"][service]["environment"].as_object().unwrap();
        let unset = given
            .iter()
            .filter(|(_, value)| value.as_str().unwrap().ends_with(":-}"));
        let unset: Vec<_> = unset.map(|(name, _)| (name, "")).collect();
        assert!(unset.iter().any(|(name, _)| *name == "DEMO_MODE"), "{unset:?}");
        let read = Program::new(env!("CARGO_BIN_EXE_programs"), program)
            .command()
            .arg("healthcheck")
            .env_clear()
            .envs(unset)
            .envs([("APP_PORT", "1"), ("WEBHOOK_SHARED_SECRET", "0123456789abcdef")])
            .output()
            .unwrap();
        // A value that is refused would end it with 2; nobody answers on that port.
        assert_eq!(read.status.code(), Some(1), "{service}: {read:?}");
    }
}

/// A key that may do everything opens one service alone.
#[test]
fn each_service_has_an_admin_key_of_its_own() {
    let compose = compose();
    for (service, variable) in [
        ("crm-receiver", "CRM_ADMIN_API_KEY"),
        ("pms-emitter", "PMS_ADMIN_API_KEY"),
    ] {
        let given = compose["services"][service]["environment"]["ADMIN_API_KEY"]
            .as_str()
            .unwrap();
        assert!(
            given.starts_with(&format!("${{{variable}:?")),
            "{service}: {given}"
        );
    }
}

#[test]
fn every_container_is_confined() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    assert_eq!(services.len(), 3);
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"][0], "ALL", "{name}");
        assert_eq!(service["security_opt"][0], "no-new-privileges:true", "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        for bound in ["mem_limit", "stop_grace_period", "healthcheck", "logging"] {
            assert!(!service[bound].is_null(), "{name}: {bound}");
        }
        // What is published is published on this machine alone.
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().contains(":-127.0.0.1:"), "{name}: {port}");
        }
    }
    assert_eq!(compose["networks"]["database"]["internal"], true);
    assert_eq!(services["mysql"]["networks"].as_array().unwrap().len(), 1);
    assert!(services["mysql"]["ports"].is_null() && services["mysql"]["user"] == "mysql");
    for (service, _) in SERVICES {
        let waits_for = &services[service]["depends_on"]["mysql"]["condition"];
        assert_eq!(waits_for, "service_healthy", "{service}");
    }
}

#[test]
fn the_dockerfile_has_the_workspaces_rust_and_no_user_of_all_rights() {
    let (dockerfile, manifest) = (text("docker/Dockerfile"), text("Cargo.toml"));
    let rust = dockerfile
        .lines()
        .find_map(|line| line.strip_prefix("ARG RUST="))
        .unwrap();
    assert!(manifest.contains(&format!("rust-version = \"{rust}\"")), "{rust}");
    assert!(manifest.contains("[profile.container]"));
    let user = dockerfile.lines().find(|line| line.starts_with("USER ")).unwrap();
    assert!(user.starts_with("USER 1"), "{user}");
    for (service, _) in SERVICES {
        let asks = format!("CMD [\"{service}\", \"healthcheck\"]");
        assert!(dockerfile.contains(&asks), "{asks}");
    }
}

#[test]
fn the_skeleton_is_the_workspace_without_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("sh")
        .arg(root().join("docker/skeleton.sh"))
        .args([root().as_path(), folder.path()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let targets = |workspace: &Path| {
        let listed = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--offline",
                "--locked",
                "--no-deps",
                "--format-version",
                "1",
            ])
            .arg("--manifest-path")
            .arg(workspace.join("Cargo.toml"))
            .output()
            .unwrap();
        assert!(listed.status.success(), "{listed:?}");
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let packages = listed["packages"].as_array().unwrap().iter();
        packages
            .flat_map(|package| package["targets"].as_array().unwrap())
            .map(|target| format!("{} {}", target["kind"], target["name"]))
            .collect::<Names>()
    };
    assert_eq!(targets(folder.path()), targets(&root()));
    let code = fs::read_to_string(folder.path().join("shared/kit/src/lib.rs")).unwrap();
    assert_eq!(code, "");
}

/// Runs passwords.sh with a `mysql` that only prints what it reads.
fn passwords(pms: Option<&str>, crm: Option<&str>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mysql = folder.path().join("mysql");
    fs::write(&mysql, "#!/bin/sh\nexec cat\n").unwrap();
    fs::set_permissions(&mysql, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let given = [("PMS_DB_PASSWORD", pms), ("CRM_DB_PASSWORD", crm)];
    Command::new("bash")
        .arg(root().join("docker/mysql/passwords.sh"))
        .env_clear()
        .envs([("PATH", path.as_str()), ("MYSQL_ROOT_PASSWORD", "root")])
        .envs(given.into_iter().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .unwrap()
}

#[test]
fn the_accounts_of_init_sql_get_their_passwords_whatever_they_hold() {
    let ended = passwords(Some(r"it's a \ and a \' &$`"), Some("0123456789abcdef"));
    assert!(ended.status.success(), "{ended:?}");
    let sql = String::from_utf8(ended.stdout).unwrap();
    assert!(
        sql.contains(r"ALTER USER 'pms'@'%' IDENTIFIED BY 'it''s a \\ and a \\'' &$`' ACCOUNT UNLOCK;"),
        "{sql}"
    );
    let init = text("docker/mysql/init.sql");
    let accounts = init.split("CREATE USER IF NOT EXISTS ").skip(1);
    for account in accounts.map(|rest| rest.split(' ').next().unwrap()) {
        assert!(sql.contains(&format!("ALTER USER {account} ")), "{account}");
    }
}

#[test]
fn a_password_that_is_missing_or_short_unlocks_nothing() {
    let good = Some("0123456789abcdef");
    for (pms, crm, named) in [
        (None, good, "PMS_DB_PASSWORD"),
        (Some(""), good, "PMS_DB_PASSWORD"),
        (good, Some("0123456789abcde"), "CRM_DB_PASSWORD"),
    ] {
        let ended = passwords(pms, crm);
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(
            ended.stdout.is_empty() && said.starts_with(&format!("error: {named} ")),
            "{said}"
        );
        assert!(!said.contains("0123"), "{said}");
    }
}
