//! What the resolver makes of paths, one way of writing them at a time.

use super::crates::{Files, crates};
use super::graph::Graph;

/// The arrows of a crate `our` whose `lib.rs` declares `a` to `d`, with these files below its `src`, beside a crate `kit`.
/// `a -> kit::random` is an arrow to another crate.
fn arrows(files: &[(&str, &str)]) -> Vec<String> {
    let graph = graph(files);
    assert_eq!(graph.unresolved, [""; 0]);
    let mut found: Vec<String> = graph
        .arrows
        .iter()
        .filter(|arrow| arrow.from.of_crate == "our")
        .map(|arrow| {
            let to = if arrow.to.of_crate == "our" {
                arrow.to.module.clone()
            } else {
                arrow.to.to_string()
            };
            format!("{} -> {to}", arrow.from.module)
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

fn graph(files: &[(&str, &str)]) -> Graph {
    Graph::of(&workspace(files))
}

fn workspace(files: &[(&str, &str)]) -> Files {
    let mut all: Files = [
        ("Cargo.toml", "[workspace]\nmembers = [\"our\", \"shared/kit\"]"),
        (
            "our/Cargo.toml",
            "[package]\nname = \"our\"\n[dependencies]\nkit.workspace = true\ntokio = \"1\"\nserde = \"1\"",
        ),
        ("our/src/lib.rs", "pub mod a; pub mod b; pub mod c; pub mod d;"),
        ("our/src/a.rs", ""),
        (
            "our/src/b.rs",
            "pub struct B; pub fn b() {} pub enum Both { This, That } pub const LIMIT: u8 = 1;",
        ),
        ("our/src/c.rs", "pub struct C; pub fn c() {}"),
        ("our/src/d.rs", "pub struct D; pub fn d() {}"),
        ("shared/kit/Cargo.toml", "[package]\nname = \"kit\""),
        (
            "shared/kit/src/lib.rs",
            "pub mod random; pub mod front; pub use random::Ids;",
        ),
        ("shared/kit/src/random.rs", "pub struct Ids; pub fn fill() {}"),
        ("shared/kit/src/front.rs", "pub use crate::random::fill;"),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .collect();
    for (path, text) in files {
        let is_whole = path.ends_with("Cargo.toml") || path.starts_with("shared/");
        let path = if is_whole {
            (*path).to_owned()
        } else {
            format!("our/src/{path}")
        };
        if let Some(folder) = path.strip_suffix("/mod.rs") {
            all.remove(&format!("{folder}.rs"));
        }
        all.insert(path, (*text).to_owned());
    }
    all
}

/// The arrows of `a`, when it is this text.
#[track_caller]
fn assert_arrows_of_a(text: &str, expected: &[&str]) {
    assert_eq!(arrows(&[("a.rs", text)]), expected, "{text}");
}

/// What `a` uses of others, when it is this text.
fn outside_of_a(text: &str) -> Vec<String> {
    let graph = graph(&[("a.rs", text)]);
    assert_eq!(graph.unresolved, [""; 0]);
    graph.outside.into_iter().map(|outside| outside.path).collect()
}

#[test]
fn use_trees_are_read_to_their_leaves() {
    assert_arrows_of_a("use crate::b::B;", &["a -> b"]);
    assert_arrows_of_a("use crate::{b::{B, b as other}, c};", &["a -> b", "a -> c"]);
    assert_arrows_of_a("use crate::b::{self, B};", &["a -> b"]);
    assert_arrows_of_a("use super::{b, c::C as D};", &["a -> b", "a -> c"]);
    assert_arrows_of_a("use crate::b::*;", &["a -> b"]);
    assert_arrows_of_a(
        "use {crate::b, kit::random::{Ids as _}};",
        &["a -> b", "a -> kit::random"],
    );
    assert_arrows_of_a("pub(in crate::b) fn a() {}", &[]);
}

#[test]
fn paths_in_code_are_arrows() {
    for text in [
        "fn a() { crate::b::b() }",
        "fn a(b: &[Option<super::b::B>]) {}",
        "struct A { b: Vec<crate::b::B> }",
        "fn a() { match both { crate::b::Both::This => {}, _ => {} } }",
        "fn a() { if let crate::b::B = x {} }",
        "fn a() -> impl Iterator<Item = crate::b::B> { x }",
        "impl From<crate::b::B> for u8 {}",
        "fn a() { let x = [0; crate::b::LIMIT]; }",
        "fn a() { all.map(crate::b::b) }",
        "fn a() { <crate::b::B as Default>::default() }",
        "fn a<T: Into<crate::b::B>>() {}",
        "fn a() where crate::b::B: Clone {}",
        "async fn a() { tokio::spawn(async move { crate::b::b().await }) }",
        "static A: crate::b::B = x;",
        "const A: fn() = || crate::b::b();",
    ] {
        assert_arrows_of_a(text, &["a -> b"]);
    }
}

#[test]
fn a_name_is_followed_through_imports() {
    assert_arrows_of_a("use crate as all; fn a() { all::b::b() }", &["a -> b"]);
    assert_arrows_of_a(
        "use kit::front as f; fn a() { f::fill() }",
        &["a -> kit::front", "a -> kit::random"],
    );
    assert_arrows_of_a("fn a() { use super::b as x; { x::b() } }", &["a -> b"]);
    assert_arrows_of_a(
        "extern crate kit as plumbing; fn a() { plumbing::random::fill() }",
        &["a -> kit::random"],
    );
    assert_arrows_of_a("fn a() { ::kit::random::fill() }", &["a -> kit::random"]);
}

#[test]
fn the_block_that_is_nearest_says_what_a_name_means() {
    let text = "use crate::b as x; fn a() { use crate::c as x; x::c(); } fn other() { x::b(); }";
    assert_arrows_of_a(text, &["a -> b", "a -> c"]);
    // Without its own import, the second would be a call into `b` that does not exist.
    let text = "use crate::b as x; fn a() { { use crate::c as x; } x::b(); }";
    assert_arrows_of_a(text, &["a -> b", "a -> c"]);
}

#[test]
fn a_re_export_counts_as_the_module_that_defines_and_as_the_one_that_is_named() {
    let files = [
        ("a.rs", "use crate::b::D;"),
        ("b.rs", "pub use crate::c::*;"),
        ("c.rs", "pub use crate::d::{D};"),
    ];
    assert_eq!(arrows(&files), ["a -> b", "a -> d", "b -> c", "c -> d"]);
    // The root of a crate is no module of its own when it lists names.
    let files = [
        (
            "lib.rs",
            "pub mod a; pub mod b; pub use b::B; pub use kit::Ids as Random;",
        ),
        ("a.rs", "use crate::{B, Random};"),
    ];
    assert_eq!(
        arrows(&files),
        ["a -> b", "a -> kit::random", "lib -> kit::random"]
    );
}

#[test]
fn a_re_export_from_another_crate_is_an_arrow_to_that_crate() {
    let files = [
        ("a.rs", "use crate::b::fill;"),
        ("b.rs", "pub use kit::front::*;"),
    ];
    assert_eq!(arrows(&files), ["a -> b", "a -> kit::random", "b -> kit::front"]);
}

#[test]
fn what_a_root_alone_gives_is_an_arrow_to_its_crate() {
    assert_arrows_of_a("use kit;", &["a -> kit::lib"]);
    assert_arrows_of_a("use kit::*;", &["a -> kit::lib"]);
    // Given on from a library: what is used is the library's, the arrow is to the crate that gives it.
    let giving = "pub use tokio::time;";
    let graph = graph(&[
        (
            "shared/kit/Cargo.toml",
            "[package]\nname = \"kit\"\n[dependencies]\ntokio = \"1\"",
        ),
        ("shared/kit/src/lib.rs", giving),
        ("a.rs", "use kit::time;"),
    ]);
    assert_eq!(graph.outside.last().unwrap().path, "tokio::time");
    assert!(
        graph
            .arrows
            .iter()
            .any(|arrow| arrow.to.to_string() == "kit::lib")
    );
}

#[test]
fn a_glob_brings_in_what_lies_behind_it() {
    let files = [
        ("a/mod.rs", "mod inner; use crate::b::B; use crate::c;"),
        ("a/inner.rs", "use super::*; fn of(b: B) { c::c() }"),
    ];
    assert_eq!(arrows(&files), ["a -> b", "a -> c"]);
    // A private import is seen by the modules below it alone.
    let files = [
        ("a.rs", "use crate::b::*; use crate::c::*; fn of(d: D) {}"),
        ("b.rs", "use crate::d::D;"),
        ("c.rs", "pub struct D;"),
    ];
    assert_eq!(arrows(&files), ["a -> b", "a -> c", "b -> d"]);
    // An own name goes before one from a glob.
    let files = [
        ("a.rs", "use crate::b::*; struct D;  fn of(d: D) {}"),
        ("b.rs", "pub use crate::d::D;"),
    ];
    assert_eq!(arrows(&files), ["a -> b", "b -> d"]);
    let files = [
        ("a.rs", "use crate::b::*; fn of() { This }"),
        ("b.rs", "pub use crate::c::Both::*;"),
        ("c.rs", "pub enum Both { This }"),
    ];
    assert_eq!(arrows(&files), ["a -> b", "a -> c", "b -> c"]);
}

#[test]
fn globs_in_a_cycle_end() {
    let files = [
        ("a.rs", "pub use crate::b::*; fn a(x: Unknown) { d::d() }"),
        ("b.rs", "pub use crate::a::*; pub use crate::d;"),
    ];
    assert_eq!(arrows(&files), ["a -> b", "a -> d", "b -> a", "b -> d"]);
}

#[test]
fn self_and_super_lead_through_inline_modules() {
    let text = "mod inner { fn of() { super::super::b::b(); self::deep::deep(); } mod deep { pub fn deep() { super::super::super::c::c() } } }";
    assert_arrows_of_a(text, &["a -> b", "a -> c"]);
}

#[test]
fn modules_lie_in_files_and_folders() {
    let files = [
        ("a.rs", "mod one; mod two; mod inline { mod three; }"),
        ("a/one.rs", "use crate::b;"),
        ("a/two/mod.rs", "use crate::c;"),
        ("a/inline/three.rs", "use crate::d;"),
    ];
    assert_eq!(arrows(&files), ["a -> b", "a -> c", "a -> d"]);
}

#[test]
fn programs_are_modules_that_call_the_library_by_its_name() {
    let files = [
        (
            "main.rs",
            "mod commands; use our::a; fn main() { commands::run() }",
        ),
        ("commands.rs", "pub fn run() { our::b::b(); crate::main() }"),
        ("bin/other.rs", "use our::c::C;"),
    ];
    assert_eq!(
        arrows(&files),
        [
            "bin -> c",
            "commands -> b",
            "commands -> main",
            "main -> a",
            "main -> commands"
        ]
    );
}

#[test]
fn the_tokens_of_macros_are_looked_through() {
    assert_arrows_of_a("fn a() { println!(\"{}\", crate::b::LIMIT) }", &["a -> b"]);
    assert_arrows_of_a(
        "fn a() { assert!(matches!(x, super::b::Both::This | super::c::C)) }",
        &["a -> b", "a -> c"],
    );
    assert_arrows_of_a(
        "fn a() { select! { x = kit::random::fill() => {} } }",
        &["a -> kit::random"],
    );
    assert_arrows_of_a("use crate::b; fn a() { vec![..b::LIMIT] }", &["a -> b"]);
    assert_arrows_of_a("use crate::b::B; fn a() { vec![B] }", &["a -> b"]);
    // A field, a method and a lifetime are no names of modules; neither is a variable.
    assert_arrows_of_a(
        "fn a() { vec![self.kit::<u8>(), x.tokio, 'b, <X>::b::c, b, kit] }",
        &[],
    );
}

#[test]
fn the_rules_of_a_macro_name_modules_too() {
    assert_arrows_of_a(
        "macro_rules! a { ($b:ident) => { $crate::b::b($b); $b::c::c() } }",
        &["a -> b"],
    );
}

#[test]
fn an_exported_macro_belongs_to_the_module_that_declares_it() {
    let files = [
        (
            "a.rs",
            "use crate::params; fn a() { params![1]; crate::other!() }",
        ),
        (
            "b.rs",
            "#[macro_export] macro_rules! params { () => {} } pub use crate::params;",
        ),
        ("c.rs", "#[macro_export] macro_rules! other { () => {} }"),
    ];
    assert_eq!(arrows(&files), ["a -> b", "a -> c"]);
}

#[test]
fn what_a_macro_declares_is_found_where_it_is_called() {
    let files = [
        ("a.rs", "use crate::b::{RoomId, Kind, make};"),
        (
            "b.rs",
            "macro_rules! ids { ($($name:ident)*) => { $(pub struct $name;)* pub enum Kind {} pub fn make() {} } }\nids!(RoomId);",
        ),
    ];
    assert_eq!(arrows(&files), ["a -> b"]);
}

#[test]
fn attributes_name_modules() {
    assert_arrows_of_a("#[serde(with = \"crate::b\")] struct A;", &["a -> b"]);
    assert_arrows_of_a(
        "#[validate(custom(function = crate::b::b))] struct A;",
        &["a -> b"],
    );
    assert_arrows_of_a(
        "/// [`crate::b::b`] is a link, `kit::random` a word.\nstruct A;",
        &[],
    );
    assert_eq!(
        outside_of_a("#[derive(serde::Serialize)] struct A;"),
        ["serde::Serialize"]
    );
}

#[test]
fn what_is_compiled_for_tests_alone_makes_no_arrow() {
    for text in [
        "#[cfg(test)] use crate::b;",
        "#[cfg(test)] mod tests { use crate::b; }",
        "#[cfg(test)] mod tests;",
        "#[cfg(all(test, unix))] fn a() { crate::b::b() }",
        "#[cfg(any(test, feature = \"failpoints\"))] fn a() { crate::b::b() }",
        "struct A; impl A { #[cfg(test)] fn a(b: crate::b::B) {} }",
        "struct A { #[cfg(test)] b: crate::b::B }",
        "enum A { #[cfg(test)] One(crate::b::B) }",
        "fn a() { #[cfg(test)] let x = crate::b::b(); }",
        "fn a() { #[cfg(test)] println!(\"{}\", crate::b::LIMIT); }",
        "fn a() { #[cfg(test)] { crate::b::b(); } }",
        "#![cfg(test)] use crate::b;",
    ] {
        assert_arrows_of_a(text, &[]);
    }
    for text in [
        "#[cfg(not(test))] use crate::b;",
        "#[cfg(any(test, unix))] use crate::b;",
        "#[cfg(any(test, feature = \"tls\"))] use crate::b;",
        "#[cfg(feature = \"failpoints\")] use crate::b;",
        "#[cfg_attr(test, derive(Debug))] struct A(crate::b::B);",
    ] {
        assert_arrows_of_a(text, &["a -> b"]);
    }
}

#[test]
fn what_is_not_ours_is_named_whole() {
    assert_eq!(
        outside_of_a("use std::{fs::{self, File}};"),
        ["std::fs", "std::fs::File"]
    );
    assert_eq!(outside_of_a("use tokio::time::*;"), ["tokio::time::*"]);
    assert_eq!(
        outside_of_a("use tokio::time::{self as t}; fn a() { t::Instant::now() }"),
        ["tokio::time", "tokio::time::Instant::now"]
    );
    assert_eq!(outside_of_a("#[tokio::test] async fn a() {}"), ["tokio::test"]);
    // A name that is no dependency is a type, a variable or a lint.
    assert_eq!(
        outside_of_a("#[expect(clippy::all)] fn a<T: Default>() { T::default() }"),
        [""; 0]
    );
}

#[test]
fn a_module_goes_before_a_crate_of_its_name() {
    let files = [
        ("lib.rs", "pub mod a; pub mod b; mod kit; fn of() { kit::own() }"),
        ("a.rs", "fn a() { kit::random::fill() }"),
        ("b.rs", "use crate::kit; fn b() { kit::own() }"),
        ("kit.rs", "pub fn own() {}"),
    ];
    assert_eq!(arrows(&files), ["a -> kit::random", "b -> kit", "lib -> kit"]);
}

#[test]
fn what_is_not_understood_is_said() {
    let graph = graph(&[
        ("lib.rs", "pub mod a; mod gone;"),
        (
            "a.rs",
            "use kit::random::Gone;\nuse unknown::Thing;\nfn a() { crate::nowhere::at_all() }",
        ),
    ]);
    assert_eq!(
        graph.unresolved,
        [
            "our/src/lib.rs: `mod gone` has no file",
            "our/src/a.rs:1: `kit::random::Gone`",
            "our/src/a.rs:2: `unknown::Thing`",
            "our/src/a.rs:3: `crate::nowhere::at_all`",
        ]
    );
    let broken = self::graph(&[("lib.rs", "pub mod a;"), ("a.rs", "fn 1() {}")]);
    assert!(
        broken.unresolved[0].starts_with("our/src/a.rs: expected identifier"),
        "{:?}",
        broken.unresolved
    );
}

#[test]
fn manifests_say_which_crates_there_are_and_how_code_spells_their_dependencies() {
    let files = workspace(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\n    \"our\",\n    \"shared/*\",\n]\n[workspace.dependencies]\nweb = { package = \"re-qwest\", version = \"1\" }",
        ),
        (
            "our/Cargo.toml",
            "[package]\nname = \"our\"\n[dependencies]\nweb.workspace = true\nplumbing = { path = \"..\", package = \"kit\" }\n# old = \"1\"\n",
        ),
    ]);
    let all = crates(&files);
    let names: Vec<&str> = all.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["our", "kit"]);
    let found = all[0]
        .dependencies
        .iter()
        .map(|of| (of.spelled.as_str(), of.package.as_str(), of.line));
    assert_eq!(
        found.collect::<Vec<_>>(),
        [("web", "re_qwest", 4), ("plumbing", "kit", 5)]
    );
    let mut files = files;
    files.insert(
        "our/src/a.rs".to_owned(),
        "use plumbing::random; use web::Client;".to_owned(),
    );
    let graph = Graph::of(&files);
    assert_eq!(graph.outside[0].path, "re_qwest::Client");
    assert_eq!(graph.arrows[0].to.to_string(), "kit::random");
}
