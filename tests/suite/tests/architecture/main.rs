//! The invariants of ARCHITECTURE.md that can be read off the source: what must not be found where; and the pages that list
//! tests, held against them.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the source fails where it stands"
)]

mod pages;
mod source;

use std::collections::BTreeSet;
use std::fs;

use chaos::steps;
use source::{root, sources};

/// No line of code with any of the words, except below these folders or files.
fn assert_only_below(allowed: &[&str], words: &[&str]) {
    let elsewhere = sources().into_iter().filter(|source| !source.is_below(allowed));
    let hits: Vec<String> = elsewhere.flat_map(|source| source.lines_with(words)).collect();
    assert!(
        hits.is_empty(),
        "{words:?} found outside of {allowed:?}:\n{}",
        hits.join("\n")
    );
}

/// No line of code with any of the words below these folders.
fn assert_never_below(folders: &[&str], words: &[&str]) {
    let inside = sources().into_iter().filter(|source| source.is_below(folders));
    let hits: Vec<String> = inside.flat_map(|source| source.lines_with(words)).collect();
    assert!(
        hits.is_empty(),
        "{words:?} found below {folders:?}:\n{}",
        hits.join("\n")
    );
}

#[test]
fn sql_stands_in_stores_and_in_kits_own_tables_alone() {
    assert_only_below(
        &[
            "pms-emitter/src/store/",
            "crm-receiver/src/store/",
            "shared/db/src/",
            "shared/kit/src/audit",
            "shared/kit/src/idempotency",
            "shared/kit/src/listing",
            "shared/kit/src/rebuild",
        ],
        &[
            "SELECT ",
            "INSERT INTO",
            "UPDATE ",
            "DELETE FROM",
            "tx.query",
            "tx.execute",
        ],
    );
}

#[test]
fn warp_and_the_http_client_stay_in_their_places() {
    assert_only_below(&["shared/api/src/"], &["warp::"]);
    assert_only_below(&["shared/kit/src/egress"], &["reqwest::"]);
}

#[test]
fn nobody_but_hyper_reads_a_connection() {
    // Looking at bytes before it, or keeping what it left unread, is how a body became a request (R42).
    assert_never_below(
        &["shared/", "pms-emitter/", "crm-receiver/"],
        &["RecvFlags", "MSG_PEEK", ".peek(&mut", "poll_peek", "Rewind"],
    );
    assert_only_below(&["shared/api/src/"], &["hyper::server"]);
}

#[test]
fn rules_and_folds_know_neither_store_nor_http_nor_tokio() {
    assert_never_below(
        &[
            "pms-emitter/src/domain/",
            "crm-receiver/src/event/",
            "crm-receiver/src/profile/",
        ],
        &["crate::store", "crate::http", "api::", "db::", "tokio::"],
    );
}

#[test]
fn the_contract_does_no_io() {
    assert_never_below(
        &["shared/contract/src/"],
        &[
            "std::fs",
            "std::net",
            "std::io",
            "std::process",
            "std::thread",
            "tokio",
            "async fn",
            "println!",
        ],
    );
}

#[test]
fn the_services_do_not_import_each_other() {
    assert_never_below(&["pms-emitter/src/"], &["crm_receiver"]);
    assert_never_below(&["crm-receiver/src/"], &["pms_emitter"]);
    assert_never_below(&["shared/"], &["crm_receiver", "pms_emitter"]);
}

#[test]
fn the_features_of_the_tests_are_turned_on_by_the_suite_and_by_chaos_alone() {
    let lines_naming = |file: &str, words: &[&str]| -> Vec<String> {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter(|line| words.iter().any(|word| line.contains(word)))
            .map(str::to_owned)
            .collect()
    };
    let none: [&str; 0] = [];
    let features = ["failpoints", "planted-bugs", "faults"];
    for part in [".", "shared/contract", "pms-emitter", "crm-receiver"] {
        assert_eq!(
            lines_naming(&format!("{part}/Cargo.toml"), &features),
            none,
            "{part}"
        );
    }
    assert_eq!(
        lines_naming("shared/kit/Cargo.toml", &features),
        ["failpoints = []", "planted-bugs = []"]
    );
    for part in ["demo", "load"] {
        assert_eq!(
            lines_naming(&format!("tests/{part}/Cargo.toml"), &features),
            none,
            "{part}"
        );
    }
    assert_eq!(
        lines_naming("tests/harness/Cargo.toml", &features),
        ["faults = [\"kit/failpoints\", \"kit/planted-bugs\"]"]
    );
    assert_eq!(
        lines_naming("tests/chaos/Cargo.toml", &features),
        [
            "required-features = [\"faults\"]",
            "faults = [\"harness/faults\"]"
        ]
    );
    let manifest = fs::read_to_string(root().join("tests/suite/Cargo.toml")).unwrap();
    let (program, of_cases) = manifest.split_once("[dev-dependencies]").unwrap();
    for part in ["chaos", "harness"] {
        let with_faults = format!("{part} = {{ workspace = true, features = [\"faults\"] }}");
        assert!(of_cases.contains(&with_faults), "{part}");
    }
    assert!(!program.lines().any(|line| line.contains("features")));
    assert_eq!(
        lines_naming(".cargo/config.toml", &["features"]),
        ["chaos = \"run --release --package chaos --features faults\""]
    );
}

#[test]
fn every_failpoint_is_a_step_of_the_chaos_run() {
    for (service, steps) in [
        ("pms-emitter/src/", &steps::EMITTER[..]),
        ("crm-receiver/src/", &steps::RECEIVER[..]),
    ] {
        let inside = sources().into_iter().filter(|source| source.is_below(&[service]));
        let named: BTreeSet<String> = inside
            .flat_map(|source| source.lines_with(&["failpoint::reached(\""]))
            .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
            .collect();
        let listed: BTreeSet<String> = steps.iter().map(|(step, _)| (*step).to_owned()).collect();
        assert_eq!(named, listed, "{service}");
    }
}
