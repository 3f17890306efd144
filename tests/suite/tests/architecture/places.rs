//! The rules about places: what stands only where ARCHITECTURE.md says, of other libraries, of the world, and of SQL. Each
//! rule is a function from the graph to what breaks it. They hold for the product; the tests may do as they like.

use std::collections::BTreeSet;

use super::arrows::{API, CLIENT, DB, named};
use super::graph::{Graph, Place};

/// A library, or a part of one, that belongs to some modules alone.
struct Reserved {
    paths: &'static [&'static str],
    places: &'static [(&'static str, &'static str)],
}

const RESERVED: &[Reserved] = &[
    // The server of HTTP.
    Reserved {
        paths: &["warp", "hyper::server", "hyper_util::server"],
        places: API,
    },
    // The client: all that leaves a process leaves through one module.
    Reserved {
        paths: &["reqwest", "hyper::client", "hyper_util::client"],
        places: CLIENT,
    },
    // The drivers of the databases.
    Reserved {
        paths: &["rusqlite", "mysql_async"],
        places: DB,
    },
    // The clock and randomness. (`tokio::time::Instant` measures deadlines, and stands still in tests.)
    Reserved {
        paths: &[
            "std::time::SystemTime::now",
            "std::time::Instant::now",
            "jiff::Timestamp::now",
            "jiff::Zoned::now",
            "uuid::Uuid::now_v7",
            "uuid::Uuid::new_v4",
            "getrandom",
            "rand",
        ],
        places: &[("kit", "random")],
    },
    // The environment.
    Reserved {
        paths: &[
            "std::env::var",
            "std::env::var_os",
            "std::env::vars",
            "std::env::vars_os",
        ],
        places: &[
            ("kit", "config"),
            ("pms-emitter", "config"),
            ("crm-receiver", "config"),
        ],
    },
];

/// What a crate, or a part of one, never names.
struct Never {
    places: &'static [(&'static str, &'static str)],
    paths: &'static [&'static str],
    modules: &'static [(&'static str, &'static str)],
}

const NEVER: &[Never] = &[
    // The contract does no I/O.
    Never {
        places: &[("contract", "*")],
        paths: &[
            "std::fs",
            "std::net",
            "std::io",
            "std::process",
            "std::thread",
            "std::env",
            "tokio",
        ],
        modules: &[],
    },
    // The database knows no HTTP,
    Never {
        places: DB,
        paths: &[
            "http",
            "http_body",
            "http_body_util",
            "warp",
            "hyper",
            "hyper_util",
            "reqwest",
        ],
        modules: API,
    },
    // and HTTP no database.
    Never {
        places: API,
        paths: &["rusqlite", "mysql_async"],
        modules: DB,
    },
    // The front desk serves a console and tests as well as HTTP.
    Never {
        places: &[("pms-emitter", "desk")],
        paths: &["http", "warp", "hyper"],
        modules: API,
    },
];

/// Where SQL stands: in the stores, in `db`, and in the modules of `kit` that own tables or write lists.
const SQL: &[(&str, &str)] = &[
    ("pms-emitter", "store"),
    ("crm-receiver", "store"),
    ("db", "*"),
    ("kit", "access"),
    ("kit", "audit"),
    ("kit", "idempotency"),
    ("kit", "listing"),
    ("kit", "purge"),
    ("kit", "rebuild"),
    ("kit", "secrets"),
    ("kit", "sequencer"),
];
const SQL_WORDS: &[&str] = &["SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM"];

/// Every place that a rule names is there: a rule about one that is gone, or has another name now, would find nothing.
pub fn gone(graph: &Graph) -> Vec<String> {
    let reserved = RESERVED.iter().flat_map(|reserved| reserved.places);
    let never = NEVER
        .iter()
        .flat_map(|never| never.places.iter().chain(never.modules));
    let places = reserved.chain(never).chain(SQL).copied();
    let all: BTreeSet<(&str, &str)> = places.chain(named()).collect();
    let is_there = |(of_crate, module): &(&str, &str)| match *module {
        "*" => graph.crates.iter().any(|member| member.name == *of_crate),
        module => graph.has(of_crate, module),
    };
    let gone = all.into_iter().filter(|place| !is_there(place));
    gone.map(|(of_crate, module)| format!("a rule names {of_crate}::{module}, which is not there"))
        .collect()
}

/// A library that belongs to some modules is used by no other one.
pub fn reserved(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for Reserved { paths, places } in RESERVED {
        let elsewhere = graph.outside.iter().filter(|outside| {
            is_of_product(graph, &outside.from) && !outside.from.is_in(places) && outside.is_of_any(paths)
        });
        found.extend(elsewhere.map(ToString::to_string));
    }
    found
}

/// A part that must not know something does not.
pub fn never(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for Never {
        places,
        paths,
        modules,
    } in NEVER
    {
        let outside = graph.outside.iter();
        let outside = outside.filter(|outside| outside.from.is_in(places) && outside.is_of_any(paths));
        found.extend(outside.map(ToString::to_string));
        let arrows = graph.arrows.iter();
        let arrows = arrows.filter(|arrow| arrow.from.is_in(places) && arrow.to.is_in(modules));
        found.extend(arrows.map(ToString::to_string));
    }
    found
}

/// SQL, and the calls that run it, stand where tables are kept.
pub fn sql(graph: &Graph) -> Vec<String> {
    let elsewhere = |place: &Place| is_of_product(graph, place) && !place.is_in(SQL);
    let texts = graph
        .texts
        .iter()
        .filter(|text| elsewhere(&text.from) && SQL_WORDS.iter().any(|words| text.value.contains(words)));
    let calls = graph.calls.iter().filter(|call| {
        let runs = call.method.starts_with("query") || call.method.starts_with("execute");
        elsewhere(&call.from) && call.receiver == "tx" && runs
    });
    let texts = texts.map(ToString::to_string);
    texts.chain(calls.map(ToString::to_string)).collect()
}

/// Whether a module is no part of the tests.
fn is_of_product(graph: &Graph, place: &Place) -> bool {
    let of = graph.crates.iter().find(|known| known.name == place.of_crate);
    of.is_some_and(|known| known.folder != "tests" && !known.folder.starts_with("tests/"))
}
