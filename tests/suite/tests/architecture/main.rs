//! The invariants of ARCHITECTURE.md that can be read off the source, and the pages that list tests, held against them.
//!
//! Most are rules about arrows: which crate, and which module, names which. `graph` has the arrows, read from the code as the
//! compiler would (`crates`, `modules`, `resolve`, `walk`); `arrows` and `places` have the rules, each a function that says
//! what breaks it, with file and line. `planted` breaks every rule once in a small workspace of its own.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the source fails where it stands"
)]

mod arrows;
mod crates;
mod graph;
mod modules;
mod pages;
mod places;
mod planted;
mod resolve;
mod resolve_tests;
mod source;
mod test_only;
mod tokens;
mod walk;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use chaos::steps;
use graph::Graph;
use source::{files, root, sources};

/// The workspace as it is.
static GRAPH: LazyLock<Graph> = LazyLock::new(|| Graph::of(files()));

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
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
fn every_path_into_the_workspace_is_understood() {
    assert_none(&GRAPH.unresolved);
}

#[test]
fn every_place_that_a_rule_names_is_there() {
    assert_none(&places::gone(&GRAPH));
}

#[test]
fn the_crates_are_the_layer_diagram() {
    assert_none(&arrows::crates(&GRAPH));
}

#[test]
fn no_modules_of_a_crate_form_a_cycle() {
    assert_none(&arrows::cycles(&GRAPH, arrows::EXCEPTIONS));
}

#[test]
fn the_layers_of_a_service_know_only_what_lies_below() {
    assert_none(&arrows::layers(&GRAPH));
}

#[test]
fn rules_and_folds_are_pure() {
    assert_none(&arrows::purity(&GRAPH));
}

#[test]
fn what_belongs_to_one_place_is_used_there_alone() {
    assert_none(&places::reserved(&GRAPH));
}

#[test]
fn contract_database_and_http_keep_apart() {
    assert_none(&places::never(&GRAPH));
}

#[test]
fn sql_stands_in_stores_and_in_kits_own_tables_alone() {
    assert_none(&places::sql(&GRAPH));
}

#[test]
fn nobody_but_hyper_reads_a_connection() {
    // Looking at bytes before it, or keeping what it left unread, is how a body became a request (R42).
    assert_never_below(
        &["shared/", "pms-emitter/", "crm-receiver/"],
        &["RecvFlags", "MSG_PEEK", ".peek(&mut", "poll_peek", "Rewind"],
    );
}

#[test]
fn the_contract_waits_for_nothing_and_prints_nothing() {
    assert_never_below(&["shared/contract/src/"], &["async fn", "println!"]);
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
    for part in [
        ".",
        "shared/contract",
        "shared/api",
        "pms-emitter",
        "crm-receiver",
    ] {
        assert_eq!(
            lines_naming(&format!("{part}/Cargo.toml"), &features),
            none,
            "{part}"
        );
    }
    assert_eq!(
        lines_naming("shared/kit/Cargo.toml", &features),
        ["failpoints = [\"db/failpoints\"]", "planted-bugs = []"]
    );
    assert_eq!(
        lines_naming("shared/db/Cargo.toml", &features),
        ["failpoints = []"]
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
