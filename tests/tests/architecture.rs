//! The invariants of ARCHITECTURE.md that can be read off the source: what must not be found where.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the source fails where it stands"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use e2e::chaos::steps;

/// The longest file, in lines; 300 is the aim.
const FILE_LINES_MAX: usize = 400;

struct Source {
    /// From the workspace's root, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    fn is_below(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// Lines of code with their numbers: comments and documentation may name what the code must not.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let hits = self
            .code()
            .filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        hits.map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim()))
            .collect()
    }
}

/// Every Rust file of the four crates that make the product.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the workspace");
    let mut found = Vec::new();
    for part in [
        "shared/contract/src",
        "shared/kit/src",
        "pms-emitter/src",
        "crm-receiver/src",
    ] {
        collect(root, &root.join(part), &mut found);
    }
    assert!(
        found.len() > 50,
        "only {} files found: does this test look in the right place?",
        found.len()
    );
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/");
            found.push(Source {
                path: name,
                text: fs::read_to_string(&path).unwrap(),
            });
        }
    }
}

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
            "shared/kit/src/db/",
            "shared/kit/src/audit",
            "shared/kit/src/idempotency",
            "shared/kit/src/leases",
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
    assert_only_below(&["shared/kit/src/http/"], &["warp::"]);
    assert_only_below(&["shared/kit/src/egress"], &["reqwest::"]);
}

#[test]
fn rules_and_folds_know_neither_store_nor_http_nor_tokio() {
    assert_never_below(
        &[
            "pms-emitter/src/domain/",
            "crm-receiver/src/profile/",
            "crm-receiver/src/project/fold",
        ],
        &["crate::store", "crate::http", "kit::http", "kit::db", "tokio::"],
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
fn the_features_of_the_tests_are_nobodys_default() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for part in [
        ".",
        "shared/contract",
        "shared/kit",
        "pms-emitter",
        "crm-receiver",
    ] {
        let manifest = fs::read_to_string(root.join(part).join("Cargo.toml")).unwrap();
        for feature in ["failpoints", "planted-bugs"] {
            let declared = format!("{feature} = []");
            let named = manifest.lines().filter(|line| line.contains(feature));
            let wrong: Vec<&str> = named
                .filter(|line| part != "shared/kit" || *line != declared)
                .collect();
            assert!(wrong.is_empty(), "{part}/Cargo.toml: {wrong:?}");
        }
    }
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

#[test]
fn every_case_of_a_fault_stands_under_its_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut suite = Vec::new();
    collect(root, &root.join("tests/suite"), &mut suite);
    let cases: BTreeSet<(String, String)> = suite
        .iter()
        .flat_map(|source| {
            source
                .text
                .lines()
                .filter_map(|line| line.strip_prefix("async fn f"))
        })
        .filter(|name| name.starts_with(|first: char| first.is_ascii_digit()))
        .filter_map(|name| Some(format!("f{}", name.split_once('(')?.0)))
        .flat_map(|case| rows_of(&case).map(|row| (row, case.clone())).collect::<Vec<_>>())
        .collect();
    let page = fs::read_to_string(root.join("../docs/faults.md")).unwrap();
    let named: BTreeSet<(String, String)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| F")?.split_once(" |"))
        .flat_map(|(row, rest)| rest.split('`').map(move |word| (row.to_owned(), word)))
        .filter_map(|(row, word)| Some((row, word.rsplit_once("::")?.1.to_owned())))
        .collect();
    let different: Vec<_> = cases.symmetric_difference(&named).collect();
    assert!(
        different.is_empty(),
        "docs/faults.md and the suite differ: {different:#?}"
    );
}

/// The rows that a case's name begins with: 1 and 3 for `f1_f3_a_name`.
fn rows_of(case: &str) -> impl Iterator<Item = String> {
    let parts = case.split('_').map_while(|part| part.strip_prefix('f'));
    parts
        .take_while(|row| !row.is_empty() && row.bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
}

#[test]
fn files_stay_short_enough_to_be_read() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.text.lines().count() > FILE_LINES_MAX)
        .map(|source| format!("{}: {} lines", source.path, source.text.lines().count()))
        .collect();
    assert!(
        long.is_empty(),
        "over {FILE_LINES_MAX} lines:\n{}",
        long.join("\n")
    );
}

/// The rows of docs/security.md, each with the tests that it names in its last column.
fn attack_rows() -> Vec<(String, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| R"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let (row, tests) = (cells[0].trim(), cells[cells.len() - 1]);
        let named = tests.split('`').skip(1).step_by(2);
        (row.to_owned(), named.map(str::to_owned).collect())
    })
    .collect()
}

#[test]
fn every_attack_that_is_listed_has_its_test_and_every_test_its_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut cases = Vec::new();
    collect(root, &root.join("tests/tests/suite/attacks"), &mut cases);
    let sources = sources();
    let rows = attack_rows();
    assert!(rows.len() > 30, "only {} rows found", rows.len());
    let mut named = Vec::new();
    for (row, tests) in &rows {
        assert!(!tests.is_empty(), "{row} names no test");
        for test in tests {
            let name = test.rsplit([':', ' ']).next().unwrap();
            assert!(
                name.starts_with('r') && name.contains(&format!("{:0>2}", &row[1..])),
                "{row}: {test}"
            );
            let declared = format!("fn {name}(");
            let found = match test.strip_prefix("attacks::") {
                Some(case) => {
                    let file = format!("attacks/{}.rs", case.split("::").next().unwrap());
                    // It is declared, and registered.
                    cases.iter().any(|source| {
                        source.path.ends_with(&file)
                            && source.text.contains(&declared)
                            && source.text.matches(name).count() > 1
                    })
                }
                None => sources.iter().any(|source| source.text.contains(&declared)),
            };
            assert!(found, "{row}: there is no {test}");
            named.push(name.to_owned());
        }
    }
    for source in &cases {
        let functions = source
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("async fn r"));
        for function in
            functions.filter(|function| function.starts_with(|first: char| first.is_ascii_digit()))
        {
            let name = format!("r{}", function.split('(').next().unwrap());
            assert!(named.contains(&name), "{}: {name} stands in no row", source.path);
        }
    }
}
