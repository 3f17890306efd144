//! Every rule broken once, in a small workspace that breaks none: a rule that finds nothing in the real one could be blind.

use std::collections::BTreeSet;

use super::arrows::{Exception, crates, cycles, layers, purity};
use super::crates::Files;
use super::graph::Graph;
use super::places::{gone, never, reserved, sql};

/// A workspace with every crate, every layer and every other place of the rules, of which each names what it may. A `lib.rs`
/// that is not here declares the modules beside it; a manifest that is not here names what the code does.
const HEALTHY: &[(&str, &str)] = &[
    ("shared/contract/src/clock.rs", "pub trait Clock {}"),
    (
        "shared/db/src/pool.rs",
        "use contract::clock::Clock; pub struct Db; fn open() { rusqlite::open(\"SELECT 1\") }",
    ),
    (
        "shared/api/src/serve.rs",
        "use contract::clock::Clock; pub fn serve() { warp::serve() }",
    ),
    (
        "shared/kit/src/egress.rs",
        "use contract::clock::Clock; use reqwest::Client;",
    ),
    (
        "shared/kit/src/random.rs",
        "pub fn now() { std::time::SystemTime::now() } pub fn fill() { getrandom::fill() }",
    ),
    (
        "shared/kit/src/config.rs",
        "pub fn read() { std::env::var(\"PORT\") }",
    ),
    (
        "shared/kit/src/audit.rs",
        "use db::pool::Db; use api::serve::serve; const SQL: &str = \"SELECT 1\";",
    ),
    ("shared/kit/src/idempotency.rs", ""),
    ("shared/kit/src/listing.rs", ""),
    ("shared/kit/src/purge.rs", ""),
    ("shared/kit/src/rebuild.rs", ""),
    ("shared/kit/src/secrets.rs", ""),
    ("shared/kit/src/sequencer.rs", ""),
    ("shared/kit/src/access.rs", ""),
    (
        "pms-emitter/src/app.rs",
        "use crate::{dispatch, http}; pub fn run() {}",
    ),
    ("pms-emitter/src/config.rs", ""),
    (
        "pms-emitter/src/main.rs",
        "use pms_emitter::app; fn main() { app::run() }",
    ),
    (
        "pms-emitter/src/http.rs",
        "use crate::{desk::book, store::Store}; use api::serve::serve;",
    ),
    (
        "pms-emitter/src/desk.rs",
        "use crate::{domain::Guest, store::Store}; pub fn book() {}",
    ),
    (
        "pms-emitter/src/dispatch.rs",
        "use crate::store::Store; use kit::egress;",
    ),
    ("pms-emitter/src/retention.rs", "use crate::store::Store;"),
    (
        "pms-emitter/src/store/mod.rs",
        "mod guests; use crate::domain::Guest; pub struct Store { db: db::pool::Db }",
    ),
    (
        "pms-emitter/src/store/guests.rs",
        "use super::Store; impl Store { fn all(&self) { tx.query(\"SELECT * FROM guests\") } }",
    ),
    (
        "pms-emitter/src/domain.rs",
        "use contract::clock::Clock; pub struct Guest;",
    ),
    ("crm-receiver/src/app.rs", "use crate::{http, project};"),
    ("crm-receiver/src/config.rs", ""),
    (
        "crm-receiver/src/http.rs",
        "use crate::{ingest, profile::Profile}; use api::serve::serve;",
    ),
    (
        "crm-receiver/src/ingest.rs",
        "use crate::{event::Arrival, store::Store};",
    ),
    ("crm-receiver/src/project.rs", "use crate::{event, store::Store};"),
    ("crm-receiver/src/retention.rs", "use crate::store::Store;"),
    (
        "crm-receiver/src/reconcile.rs",
        "use crate::{ingest, store::Store};",
    ),
    ("crm-receiver/src/stream.rs", "use crate::{event, store::Store};"),
    (
        "crm-receiver/src/store.rs",
        "use crate::{event::Arrival, identity::Features, profile::Profile}; pub struct Store;",
    ),
    (
        "crm-receiver/src/event.rs",
        "use crate::profile::Profile; pub struct Arrival;",
    ),
    (
        "crm-receiver/src/identity.rs",
        "use crate::profile::Profile; pub struct Features;",
    ),
    ("crm-receiver/src/job.rs", "pub struct JobUpdate;"),
    (
        "crm-receiver/src/profile.rs",
        "use contract::clock::Clock; pub struct Profile;",
    ),
    (
        "tests/harness/src/world.rs",
        "use pms_emitter::store::Store; use crm_receiver::app; fn now() { std::time::Instant::now() }",
    ),
    ("tests/load/src/lib.rs", "use harness::world;"),
    ("tests/demo/src/lib.rs", ""),
    ("tests/chaos/src/lib.rs", ""),
    ("tests/conform/src/lib.rs", ""),
    ("tests/suite/src/lib.rs", ""),
];

/// Libraries that the manifests name where the code does.
const LIBRARIES: &[&str] = &[
    "getrandom",
    "http",
    "hyper",
    "mysql_async",
    "reqwest",
    "rusqlite",
    "tokio",
    "uuid",
    "warp",
];

/// The small workspace with these files added or replaced.
fn planted(changes: &[(&str, &str)]) -> Graph {
    graph_of(HEALTHY.iter().chain(changes))
}

/// The small workspace without a file, which nothing in it names.
fn planted_without(path: &str) -> Graph {
    graph_of(HEALTHY.iter().filter(|(other, _)| *other != path))
}

fn graph_of<'a>(files: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Graph {
    let files = files.map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    let graph = Graph::of(&completed(files.collect()));
    assert_eq!(graph.unresolved, [""; 0]);
    graph
}

/// The files with the manifests and the roots of crates that are missing.
fn completed(mut files: Files) -> Files {
    let sources = files.keys().filter_map(|path| path.split_once("/src/"));
    let folders: BTreeSet<String> = sources.map(|(folder, _)| folder.to_owned()).collect();
    let name_of = |folder: &str| folder.rsplit('/').next().unwrap().to_owned();
    let mut names: Vec<String> = folders.iter().map(|folder| name_of(folder)).collect();
    names.extend(LIBRARIES.iter().map(|library| (*library).to_owned()));
    for folder in &folders {
        let own: Vec<(&String, &String)> = files
            .iter()
            .filter(|(path, _)| path.starts_with(&format!("{folder}/src/")))
            .collect();
        let texts: String = own.iter().map(|(_, text)| format!(" {text}")).collect();
        let words = texts.replace(
            |letter: char| !letter.is_alphanumeric() && !"_:".contains(letter),
            " ",
        );
        let is_named = |name: &&String| {
            let name = name.replace('-', "_");
            words.contains(&format!(" {name}::")) || words.contains(&format!(" {name} as "))
        };
        let dependencies = names
            .iter()
            .filter(is_named)
            .map(|name| format!("{name} = \"1\"\n"));
        let dependencies: String = dependencies.collect();
        let modules = own.iter().filter_map(|(path, _)| {
            let below = path.strip_prefix(&format!("{folder}/src/"))?;
            let module = below.strip_suffix("/mod.rs").or(below.strip_suffix(".rs"))?;
            let is_module = !module.contains('/') && module != "main" && module != "lib";
            is_module.then(|| format!("pub mod {module};\n"))
        });
        let library: String = modules.collect();
        let manifest = format!(
            "[package]\nname = \"{}\"\n[dependencies]\n{dependencies}",
            name_of(folder)
        );
        files.entry(format!("{folder}/src/lib.rs")).or_insert(library);
        files.entry(format!("{folder}/Cargo.toml")).or_insert(manifest);
    }
    let members: Vec<String> = folders.iter().map(|folder| format!("\"{folder}\"")).collect();
    let manifest = format!("[workspace]\nmembers = [{}]\n", members.join(", "));
    files.entry("Cargo.toml".to_owned()).or_insert(manifest);
    files
}

/// As many findings as expected, each with its words.
#[track_caller]
fn assert_found(found: &[String], expected: &[&str]) {
    let all = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, expected)| found.contains(expected));
    assert!(all, "found {found:#?}, expected {expected:#?}");
}

#[track_caller]
fn assert_cycle(changes: &[(&str, &str)], modules: &str) {
    let found = cycles(&planted(changes), &[]);
    assert_found(&found, &[&format!("{modules} form a cycle")]);
}

fn excepted(from: &'static str, to: &'static str) -> Exception {
    Exception {
        of_crate: "kit",
        from,
        to,
        reason: "planted",
    }
}

#[test]
fn a_workspace_that_keeps_the_rules_breaks_none() {
    let graph = planted(&[]);
    for rule in [crates, layers, purity, reserved, never, sql, gone] {
        assert_found(&rule(&graph), &[]);
    }
    assert_found(&cycles(&graph, &[]), &[]);
}

#[test]
fn a_place_of_a_rule_that_is_gone_is_found() {
    for (path, place) in [
        ("shared/kit/src/rebuild.rs", "kit::rebuild"),
        ("pms-emitter/src/config.rs", "pms-emitter::config"),
        ("tests/chaos/src/lib.rs", "chaos::*"),
    ] {
        let found = gone(&planted_without(path));
        assert_found(&found, &[&format!("a rule names {place}, which is not there")]);
    }
}

#[test]
fn a_crate_that_is_not_in_the_table_is_found() {
    let graph = planted(&[("shared/extra/src/lib.rs", "")]);
    assert_found(&crates(&graph), &["extra is not in the table of crates"]);
}

#[test]
fn a_crate_that_knows_one_above_it_is_found_in_manifest_and_code() {
    let graph = planted(&[("shared/db/src/tx.rs", "use kit::random::fill;")]);
    assert_found(
        &crates(&graph),
        &[
            "db depends on kit: shared/db/Cargo.toml:",
            "db::tx -> kit::random: shared/db/src/tx.rs:1 names `kit::random::fill`",
        ],
    );
}

#[test]
fn a_dependency_that_no_code_names_is_found() {
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let manifest =
            format!("[package]\nname = \"api\"\n[{section}]\nstore.package = 1\n[{section}.db]\npath = 1\n");
        let graph = planted(&[
            ("shared/api/Cargo.toml", &manifest),
            ("shared/api/src/serve.rs", "pub fn serve() {}"),
        ]);
        assert_found(&crates(&graph), &["api depends on db: shared/api/Cargo.toml:5"]);
    }
}

#[test]
fn services_that_import_each_other_are_found() {
    let graph = planted(&[(
        "pms-emitter/src/meters.rs",
        "fn of() -> crm_receiver::store::Store { x }",
    )]);
    assert_found(
        &crates(&graph),
        &[
            "pms-emitter depends on crm-receiver",
            "pms-emitter::meters -> crm-receiver::store",
        ],
    );
}

#[test]
fn two_modules_in_a_cycle_are_found() {
    assert_cycle(
        &[
            ("shared/kit/src/one.rs", "use super::two::Two; pub struct One;"),
            ("shared/kit/src/two.rs", "pub struct Two(crate::one::One);"),
        ],
        "kit: one, two",
    );
}

#[test]
fn a_cycle_over_three_modules_is_found_with_what_closes_it() {
    let graph = planted(&[
        ("shared/kit/src/one.rs", "use crate::{two::*}; pub struct One;"),
        (
            "shared/kit/src/two.rs",
            "pub fn two() { super::three::inner::three() }",
        ),
        ("shared/kit/src/three/mod.rs", "pub mod inner;"),
        (
            "shared/kit/src/three/inner.rs",
            "pub fn three() { let all = vec![super::super::one::One]; }",
        ),
    ]);
    let found = cycles(&graph, &[]);
    assert_found(&found, &["kit: one, three, two form a cycle"]);
    assert!(found[0].contains("kit::three -> kit::one: shared/kit/src/three/inner.rs:1"));
}

#[test]
fn a_cycle_through_a_re_export_is_found() {
    assert_cycle(
        &[
            ("tests/demo/src/lib.rs", "mod facade; mod one; mod two;"),
            ("tests/demo/src/facade.rs", "pub use crate::two::Two;"),
            ("tests/demo/src/one.rs", "use crate::facade::Two; pub struct One;"),
            ("tests/demo/src/two.rs", "use crate::one::One; pub struct Two;"),
        ],
        "demo: facade, one, two",
    );
}

#[test]
fn a_cycle_with_the_root_of_a_crate_is_found() {
    assert_cycle(
        &[
            (
                "tests/demo/src/lib.rs",
                "pub mod one; pub struct All { one: one::One }",
            ),
            (
                "tests/demo/src/one.rs",
                "pub struct One; fn of(all: crate::All) {}",
            ),
        ],
        "demo: lib, one",
    );
}

#[test]
fn a_root_that_only_lists_names_is_in_no_cycle() {
    let graph = planted(&[
        (
            "tests/demo/src/lib.rs",
            "mod one; mod two; pub use one::One; pub use crate::two::Two;",
        ),
        ("tests/demo/src/one.rs", "pub struct One;"),
        ("tests/demo/src/two.rs", "use crate::One; pub struct Two;"),
    ]);
    assert_found(&cycles(&graph, &[]), &[]);
    assert!(graph.inside("demo").contains_key(&("two", "one")));
}

#[test]
fn files_of_one_folder_are_one_module() {
    let graph = planted(&[
        ("shared/kit/src/whole/mod.rs", "mod one; mod two; use one::One;"),
        (
            "shared/kit/src/whole/one.rs",
            "use super::two::Two; pub struct One;",
        ),
        (
            "shared/kit/src/whole/two.rs",
            "use super::one::One; pub struct Two;",
        ),
    ]);
    assert_found(&cycles(&graph, &[]), &[]);
}

/// Two modules of `kit` that know each other.
const CYCLE: [(&str, &str); 2] = [
    ("shared/kit/src/one.rs", "use crate::two::Two; pub struct One;"),
    ("shared/kit/src/two.rs", "use crate::one::One; pub struct Two;"),
];

#[test]
fn an_exception_with_a_reason_lets_its_cycle_stay() {
    assert_found(&cycles(&planted(&CYCLE), &[excepted("two", "one")]), &[]);
}

#[test]
fn an_exception_that_is_not_needed_is_found() {
    let unneeded = ["the exception kit: two -> one is not needed any more"];
    // There is no such arrow, or it closes no cycle, or another exception has opened it.
    assert_found(&cycles(&planted(&[]), &[excepted("two", "one")]), &unneeded);
    let one_way = [CYCLE[1], ("shared/kit/src/one.rs", "pub struct One;")];
    assert_found(&cycles(&planted(&one_way), &[excepted("two", "one")]), &unneeded);
    let both = [excepted("one", "two"), excepted("two", "one")];
    let found = cycles(&planted(&CYCLE), &both);
    assert_found(
        &found,
        &[
            "one -> two is not needed any more",
            "two -> one is not needed any more",
        ],
    );
}

#[test]
fn an_exception_without_a_reason_is_found() {
    let silent = Exception {
        reason: "",
        ..excepted("two", "one")
    };
    assert_found(
        &cycles(&planted(&CYCLE), &[silent]),
        &["two -> one has no reason"],
    );
}

#[test]
fn more_than_five_exceptions_are_found() {
    const ONES: [&str; 6] = ["one0", "one1", "one2", "one3", "one4", "one5"];
    const TWOS: [&str; 6] = ["two0", "two1", "two2", "two3", "two4", "two5"];
    let exceptions: Vec<Exception> = ONES
        .iter()
        .zip(TWOS)
        .map(|(one, two)| excepted(one, two))
        .collect();
    let mut files = Vec::new();
    for (one, two) in ONES.into_iter().zip(TWOS) {
        files.push((
            format!("shared/kit/src/{one}.rs"),
            format!("use crate::{two}::x; pub fn x() {{}}"),
        ));
        files.push((
            format!("shared/kit/src/{two}.rs"),
            format!("use crate::{one}::x; pub fn x() {{}}"),
        ));
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let graph = planted(&files);
    assert_found(&cycles(&graph, &exceptions), &["6 exceptions: at most 5"]);
    assert_found(
        &cycles(&graph, &exceptions[1..]),
        &["kit: one0, two0 form a cycle"],
    );
}

#[test]
fn a_layer_that_knows_one_above_it_is_found() {
    let graph = planted(&[
        (
            "crm-receiver/src/store.rs",
            "pub struct Store;\nfn count(on: super::ingest::Lane) {}",
        ),
        ("crm-receiver/src/ingest.rs", "pub struct Lane;"),
    ]);
    let found = layers(&graph);
    assert_found(&found, &["crm-receiver: store knows ingest"]);
    assert!(found[0].contains("crm-receiver/src/store.rs:2 names `super::ingest::Lane`"));
}

#[test]
fn a_layer_that_knows_one_beside_it_is_found() {
    let graph = planted(&[("pms-emitter/src/desk.rs", "use crate::dispatch; pub fn book() {}")]);
    assert_found(&layers(&graph), &["pms-emitter: desk knows dispatch"]);
}

#[test]
fn a_layer_that_knows_one_above_it_through_other_modules_is_found() {
    let graph = planted(&[
        (
            "crm-receiver/src/store.rs",
            "use crate::meters::Meters; pub struct Store;",
        ),
        (
            "crm-receiver/src/meters.rs",
            "use crate::figures::Figure; pub struct Meters;",
        ),
        (
            "crm-receiver/src/figures.rs",
            "use crate::project::*; pub struct Figure;",
        ),
    ]);
    let found = layers(&graph);
    assert_found(&found, &["crm-receiver: store knows project"]);
    assert_eq!(found[0].lines().count(), 4, "{}", found[0]);
}

#[test]
fn a_layer_that_is_missing_is_found() {
    let mut files: Files = HEALTHY
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    files.remove("pms-emitter/src/desk.rs");
    files.insert("pms-emitter/src/http.rs".to_owned(), String::new());
    let graph = Graph::of(&completed(files));
    assert_found(&layers(&graph), &["pms-emitter has no module desk"]);
}

#[test]
fn a_pure_function_that_knows_the_world_is_found() {
    for (text, words) in [
        ("use tokio::sync::Mutex;", "uses `tokio::sync::Mutex`"),
        ("use crate::store::Store;", "-> crm-receiver::store"),
        ("use crate::meters;", "-> crm-receiver::meters"),
        ("use db::pool::Db;", "-> db::pool"),
        ("fn all(of: &[api::serve::Request]) {}", "-> api::serve"),
        ("use kit::egress;", "-> kit::egress"),
    ] {
        let graph = planted(&[
            (
                "crm-receiver/src/profile.rs",
                &format!("{text} pub struct Profile;"),
            ),
            ("crm-receiver/src/store.rs", "pub struct Store;"),
            ("crm-receiver/src/meters.rs", ""),
            ("shared/api/src/serve.rs", "pub struct Request; pub fn serve() {}"),
        ]);
        assert_found(&purity(&graph), &[words]);
    }
    // What `event` may, `profile` may not.
    let graph = planted(&[(
        "crm-receiver/src/profile.rs",
        "use crate::event; pub struct Profile;",
    )]);
    assert_found(&purity(&graph), &["crm-receiver::profile -> crm-receiver::event"]);
}

#[test]
fn a_library_out_of_its_place_is_found() {
    for (text, words) in [
        ("use warp::Filter;", "uses `warp::Filter`"),
        (
            "use hyper as h; fn serve() { h::server::conn() }",
            "uses `hyper::server::conn`",
        ),
        ("use std::env::*;", "uses `std::env::*`"),
        ("fn all() { reqwest::get() }", "uses `reqwest::get`"),
        (
            "fn all() { format!(\"{}\", mysql_async::now()) }",
            "uses `mysql_async::now`",
        ),
        (
            "fn all() -> Option<rusqlite::Row> { None }",
            "uses `rusqlite::Row`",
        ),
        (
            "use std::time; fn now() { time::Instant::now() }",
            "uses `std::time::Instant::now`",
        ),
        (
            "use std::time::SystemTime as Time; fn now() { of(Time::now) }",
            "uses `std::time::SystemTime::now`",
        ),
        ("fn id() { uuid::Uuid::now_v7() }", "uses `uuid::Uuid::now_v7`"),
        ("fn bytes() { getrandom::fill() }", "uses `getrandom::fill`"),
        ("fn port() { std::env::var(\"PORT\") }", "uses `std::env::var`"),
    ] {
        let graph = planted(&[("pms-emitter/src/http.rs", text)]);
        assert_found(&reserved(&graph), &[words]);
        // The tests may.
        let graph = planted(&[("tests/harness/src/world.rs", text)]);
        assert_found(&reserved(&graph), &[]);
    }
}

#[test]
fn what_must_keep_apart_and_does_not_is_found() {
    for (file, text, words) in [
        (
            "shared/contract/src/clock.rs",
            "use std::{fs}; pub trait Clock {}",
            "uses `std::fs`",
        ),
        (
            "shared/contract/src/clock.rs",
            "pub trait Clock { fn of(&self) -> std::io::Error; }",
            "`std::io::Error`",
        ),
        (
            "shared/db/src/tx.rs",
            "use http::StatusCode;",
            "uses `http::StatusCode`",
        ),
        (
            "shared/db/src/tx.rs",
            "fn of() { api::serve::serve() }",
            "db::tx -> api::serve",
        ),
        (
            "shared/api/src/etag.rs",
            "use rusqlite::Error;",
            "uses `rusqlite::Error`",
        ),
        (
            "shared/api/src/etag.rs",
            "use db::pool::*;",
            "api::etag -> db::pool",
        ),
        (
            "pms-emitter/src/desk.rs",
            "use http::StatusCode; pub fn book() {}",
            "uses `http::StatusCode`",
        ),
    ] {
        let graph = planted(&[(file, text)]);
        assert_found(&never(&graph), &[words]);
    }
}

#[test]
fn sql_out_of_its_place_is_found() {
    for (text, words) in [
        (
            "const ALL: &str = \"SELECT * FROM guests\";",
            "\"SELECT * FROM guests\"",
        ),
        (
            "fn all() { format!(\"DELETE FROM {table}\") }",
            "\"DELETE FROM {table}\"",
        ),
        ("fn all() { tx.query_one(sql) }", "calls `tx.query_one`"),
    ] {
        let graph = planted(&[("pms-emitter/src/http.rs", text)]);
        assert_found(&sql(&graph), &[words]);
    }
    let in_comments_and_tests = "/// SELECT a guest.\nfn guest() {}\n#[test]\nfn tested() {}\n\
         #[cfg(test)]\nmod tests { const ALL: &str = \"SELECT * FROM guests\"; }";
    assert_found(
        &sql(&planted(&[("pms-emitter/src/http.rs", in_comments_and_tests)])),
        &[],
    );
}
