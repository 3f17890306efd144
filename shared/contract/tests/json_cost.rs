//! R43: the estimated memory of a JSON tree is at least its real memory, for every kind of value.
//!
//! The allocator counts for the whole process, so this program has one test.

use contract::json::{Extent, parse};
use serde_json::Value;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Values of each text, about.
const VALUES: usize = 20_000;

/// What making something took and still holds, in bytes.
fn held<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let region = Region::new(ALLOCATOR);
    let made = make();
    let change = region.change();
    (made, change.bytes_allocated - change.bytes_deallocated)
}

fn list(item: &str, values: usize) -> String {
    format!("[{}]", vec![item; VALUES / values].join(","))
}

fn object(member: impl Fn(usize) -> String, members: usize) -> String {
    let members: Vec<_> = (0..members).map(member).collect();
    format!("{{{}}}", members.join(","))
}

fn nested(open: &str, close: &str) -> String {
    let deep = 60;
    list(&format!("{}0{}", open.repeat(deep), close.repeat(deep)), deep + 1)
}

#[test]
fn r43_no_kind_of_value_takes_more_than_it_is_counted_for() {
    let mut texts = vec![
        ("numbers", list("0", 1)),
        ("texts", list("\"a\"", 1)),
        ("escaped texts", list(r#""\u0041""#, 1)),
        ("empty objects", list("{}", 1)),
        ("empty lists", list("[]", 1)),
        ("lists of one", list("[0]", 2)),
        ("nested lists", nested("[", "]")),
        ("nested objects", nested(r#"{"a":"#, "}")),
        (
            "one wide object",
            object(|nth| format!(r#""{nth:05}":0"#), VALUES),
        ),
        (
            "from its end",
            object(|nth| format!(r#""{:05}":"b""#, VALUES - nth), VALUES),
        ),
        (
            "out of order",
            object(|nth| format!(r#""{:05}":"b""#, nth * 7_919 % 100_003), VALUES),
        ),
    ];
    for members in 1..=30 {
        let one = object(|nth| format!(r#""{nth:x}":"b""#), members);
        texts.push(("objects", list(&one, members + 1)));
    }
    for (kind, text) in texts {
        let counted = Extent::of(text.as_bytes()).tree_bytes();
        let (tree, parsed) = held(|| parse(text.as_bytes()).unwrap());
        let (copy, copied) = held(|| Value::clone(&tree));
        assert!(
            parsed.max(copied) <= counted,
            "{kind}: {parsed}, {copied} of {counted}"
        );
        assert!(parsed * 8 > counted, "{kind}: {counted} is far from {parsed}");
        drop(copy);
    }
}
