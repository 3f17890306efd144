//! The rules about arrows: which crate may know which, which module of a service may, and that no modules of a crate form a
//! cycle. Each rule is a function from the graph to what breaks it.

use std::collections::BTreeSet;

use super::crates::Crate;
use super::graph::{Arrow, Graph, Place, Witnesses, cyclic_groups, reached};

/// `tests -> services -> kit -> {db, api} -> contract`: a crate, and the crates that it may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("contract", &[]),
    ("db", &["contract"]),
    ("api", &["contract"]),
    ("kit", &["contract", "db", "api"]),
    ("pms-emitter", &["contract", "db", "api", "kit"]),
    ("crm-receiver", &["contract", "db", "api", "kit"]),
    ("harness", PRODUCT),
    ("demo", PRODUCT_AND_HARNESS),
    ("load", PRODUCT_AND_HARNESS),
    ("chaos", PRODUCT_AND_HARNESS),
    // It judges the product, and knows nothing of it.
    ("conform", &[]),
    (
        "suite",
        &[
            "contract",
            "db",
            "api",
            "kit",
            "pms-emitter",
            "crm-receiver",
            "harness",
            "demo",
            "load",
            "chaos",
            "conform",
        ],
    ),
];
const PRODUCT: &[&str] = &["contract", "db", "api", "kit", "pms-emitter", "crm-receiver"];
const PRODUCT_AND_HARNESS: &[&str] = &[
    "contract",
    "db",
    "api",
    "kit",
    "pms-emitter",
    "crm-receiver",
    "harness",
];

/// A layer of a service, and the layers of it that it may know. Modules that are no layer (`app`, `config`) may stand
/// between two, and are looked through.
type Layer = (&'static str, &'static [&'static str]);

/// The layers of both services, from the top.
const SERVICES: &[(&str, &[Layer])] = &[
    (
        "pms-emitter",
        &[
            ("http", &["desk", "store", "domain"]),
            ("desk", &["store", "domain"]),
            ("dispatch", &["store", "domain"]),
            ("retention", &["store"]),
            ("store", &["domain"]),
            ("domain", &[]),
        ],
    ),
    (
        "crm-receiver",
        &[
            (
                "http",
                &[
                    "ingest", "project", "stream", "store", "event", "identity", "job", "profile",
                ],
            ),
            ("ingest", &["store", "event", "job", "profile"]),
            ("reconcile", &["ingest", "store", "event", "job", "profile"]),
            ("project", &["store", "event", "identity", "profile"]),
            ("retention", &["store", "event", "profile"]),
            ("stream", &["store", "event", "profile"]),
            ("store", &["event", "identity", "job", "profile"]),
            ("event", &["profile"]),
            ("identity", &["profile"]),
            ("job", &[]),
            ("profile", &[]),
        ],
    ),
];

/// Layers of pure functions, with the modules of their service that they may know: no others, whether layers or not.
const PURE: &[(&str, &str, &[&str])] = &[
    ("pms-emitter", "domain", &[]),
    ("crm-receiver", "event", &["profile"]),
    ("crm-receiver", "identity", &["profile"]),
    ("crm-receiver", "job", &[]),
    ("crm-receiver", "profile", &[]),
];
/// Libraries that a pure function has no use for.
const IMPURE: &[&str] = &[
    "tokio",
    "tokio_util",
    "warp",
    "hyper",
    "hyper_util",
    "reqwest",
    "rusqlite",
    "mysql_async",
];

/// What serves HTTP, and what keeps data.
pub const API: &[(&str, &str)] = &[("api", "*")];
pub const DB: &[(&str, &str)] = &[("db", "*")];
pub const CLIENT: &[(&str, &str)] = &[("kit", "egress")];

/// An arrow that closes a cycle and may stay: it is not counted.
pub struct Exception {
    pub of_crate: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    pub reason: &'static str,
}

/// Every such arrow, of all crates.
pub const EXCEPTIONS: &[Exception] = &[];
/// More exceptions than this would be the rule.
const EXCEPTIONS_MAX: usize = 5;

/// Each crate is in the table and depends on nothing but what the table allows, in its manifest and in its code.
pub fn crates(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for member in &graph.crates {
        let name = member.name.as_str();
        let Some((_, allowed)) = CRATES.iter().find(|(known, _)| *known == name) else {
            found.push(format!("{name} is not in the table of crates"));
            continue;
        };
        let forbidden = |other: &str| other != name && !allowed.contains(&other);
        found.extend(depended_on(graph, member).filter_map(|(other, line)| {
            let text = || format!("{name} depends on {other}: {}:{line}", member.manifest());
            forbidden(other).then(text)
        }));
        let arrows = graph.arrows.iter().filter(|arrow| arrow.from.of_crate == name);
        found.extend(
            arrows
                .filter(|arrow| forbidden(&arrow.to.of_crate))
                .map(Arrow::to_string),
        );
    }
    found
}

/// The members of the workspace that a manifest names, with the lines.
fn depended_on<'a>(graph: &'a Graph, member: &'a Crate) -> impl Iterator<Item = (&'a str, usize)> {
    member.dependencies.iter().filter_map(|dependency| {
        let is_it = |other: &&Crate| other.spelled() == dependency.package;
        let other = graph.crates.iter().find(is_it)?;
        Some((other.name.as_str(), dependency.line))
    })
}

/// No modules of a crate form a cycle, but for the exceptions; each of these is needed.
pub fn cycles(graph: &Graph, exceptions: &[Exception]) -> Vec<String> {
    let mut found = Vec::new();
    if exceptions.len() > EXCEPTIONS_MAX {
        found.push(format!(
            "{} exceptions: at most {EXCEPTIONS_MAX}",
            exceptions.len()
        ));
    }
    for member in &graph.crates {
        let arrows = graph.inside(&member.name);
        let mut counted: BTreeSet<(&str, &str)> = arrows.keys().copied().collect();
        let own = exceptions
            .iter()
            .filter(|exception| exception.of_crate == member.name);
        let own: Vec<(&str, &str)> = own.map(|exception| (exception.from, exception.to)).collect();
        counted.retain(|arrow| !own.contains(arrow));
        found.extend(
            cyclic_groups(&counted)
                .iter()
                .map(|group| describe(&member.name, group, &arrows)),
        );
    }
    found.extend(
        exceptions
            .iter()
            .filter_map(|exception| unneeded(graph, exception, exceptions)),
    );
    found
}

fn describe(of_crate: &str, group: &BTreeSet<&str>, arrows: &Witnesses<'_>) -> String {
    let names: Vec<&str> = group.iter().copied().collect();
    let mut text = format!("{of_crate}: {} form a cycle", names.join(", "));
    for ((from, to), arrow) in arrows {
        if group.contains(from) && group.contains(to) {
            text.push_str(&format!("\n    {arrow}"));
        }
    }
    text
}

/// What is wrong with an exception: it has no reason, or what it leaves out closes no cycle that the others leave.
fn unneeded(graph: &Graph, exception: &Exception, all: &[Exception]) -> Option<String> {
    let Exception {
        of_crate,
        from,
        to,
        reason,
    } = exception;
    if reason.is_empty() {
        return Some(format!("the exception {of_crate}: {from} -> {to} has no reason"));
    }
    let others = all
        .iter()
        .filter(|other| !std::ptr::eq(*other, exception) && other.of_crate == *of_crate);
    let others: Vec<(&str, &str)> = others.map(|other| (other.from, other.to)).collect();
    let mut arrows: BTreeSet<(&str, &str)> = graph.inside(of_crate).keys().copied().collect();
    arrows.retain(|arrow| !others.contains(arrow));
    let needed = arrows.contains(&(*from, *to)) && reached(&arrows, to).contains(from);
    (!needed).then(|| format!("the exception {of_crate}: {from} -> {to} is not needed any more"))
}

/// Every crate and every layer that a table here names, as places.
pub fn named() -> impl Iterator<Item = (&'static str, &'static str)> {
    let crates = CRATES.iter().flat_map(|(name, allowed)| {
        let others = allowed.iter().map(|other| (*other, "*"));
        others.chain([(*name, "*")])
    });
    let pure = PURE.iter().flat_map(|(of_crate, module, allowed)| {
        let others = allowed.iter().map(|other| (*of_crate, *other));
        others.chain([(*of_crate, *module)])
    });
    let layers = SERVICES.iter().flat_map(|(service, layers)| {
        let all = layers.iter();
        all.flat_map(|(layer, allowed)| allowed.iter().chain([layer]).map(|name| (*service, *name)))
    });
    let lists = [API, DB, CLIENT].into_iter().flatten().copied();
    crates.chain(pure).chain(layers).chain(lists)
}

/// In a service, each layer is there and knows none but those that it may, by whatever way.
pub fn layers(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for (service, layers) in SERVICES {
        let arrows = graph.inside(service);
        let is_layer = |module: &str| layers.iter().any(|(layer, _)| *layer == module);
        for (layer, allowed) in *layers {
            if !graph.has(service, layer) {
                found.push(format!("{service} has no module {layer}"));
            }
            for way in ways_to_layers(&arrows, layer, is_layer) {
                let end = way.last().map_or(*layer, |arrow| arrow.to.module.as_str());
                if end != *layer && !allowed.contains(&end) {
                    let steps: Vec<String> = way.iter().map(ToString::to_string).collect();
                    found.push(format!(
                        "{service}: {layer} knows {end}:\n    {}",
                        steps.join("\n    ")
                    ));
                }
            }
        }
    }
    found
}

/// The shortest way from a module to each layer that it reaches without passing another.
fn ways_to_layers<'a>(
    arrows: &Witnesses<'a>,
    from: &'a str,
    is_layer: impl Fn(&str) -> bool,
) -> Vec<Vec<&'a Arrow>> {
    let mut ways = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<Vec<&Arrow>> = vec![Vec::new()];
    while !open.is_empty() {
        let mut next = Vec::new();
        for way in open {
            let at = way.last().map_or(from, |arrow| arrow.to.module.as_str());
            for arrow in arrows.values().filter(|arrow| arrow.from.module == at) {
                if !seen.insert(arrow.to.module.as_str()) {
                    continue;
                }
                let longer: Vec<&Arrow> = way.iter().copied().chain([*arrow]).collect();
                if is_layer(&arrow.to.module) {
                    ways.push(longer);
                } else {
                    next.push(longer);
                }
            }
        }
        open = next;
    }
    ways
}

/// Rules and folds are pure functions: they know no other module of their service, no database, no HTTP, no runtime.
pub fn purity(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for (of_crate, module, allowed) in PURE {
        let place = Place::new(of_crate, module);
        let arrows = graph.arrows.iter().filter(|arrow| arrow.from == place);
        let impure = arrows.filter(|arrow| {
            let own = arrow.to.of_crate == *of_crate && !allowed.contains(&arrow.to.module.as_str());
            own || [API, DB, CLIENT].iter().any(|places| arrow.to.is_in(places))
        });
        found.extend(impure.map(Arrow::to_string));
        let outside = graph.outside.iter().filter(|outside| outside.from == place);
        let impure = outside.filter(|outside| outside.is_of_any(IMPURE));
        found.extend(impure.map(ToString::to_string));
    }
    found
}
