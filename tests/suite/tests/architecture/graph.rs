//! What the code names, as a graph: an arrow from a module to each module whose items it names.
//!
//! A module is a file or folder directly under a crate's `src`, with all below it; `lib.rs` is the module `lib`, the programs
//! are `main` and `bin`. `resolve` finds what a path means, `walk` goes through the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::crates::{Crate, Files};
use super::modules::Tree;
use super::walk::{place, walk};

/// All that the rules look at.
pub struct Graph {
    pub crates: Vec<Crate>,
    pub modules: BTreeSet<Place>,
    pub arrows: Vec<Arrow>,
    pub outside: Vec<Outside>,
    pub texts: Vec<Text>,
    pub calls: Vec<Call>,
    /// Paths into the workspace that the resolver does not understand, and files that it could not read. There must be
    /// none: each could hide an arrow.
    pub unresolved: Vec<String>,
}

/// A module of a crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub of_crate: String,
    pub module: String,
}

/// One module names another, or an item that the other defines.
#[derive(Clone, Debug)]
pub struct Arrow {
    pub from: Place,
    pub to: Place,
    /// As it is written there.
    pub path: String,
    pub file: String,
    pub line: usize,
}

/// A use of something that is not ours.
pub struct Outside {
    pub from: Place,
    /// Whole, whatever the code calls it: `std::time::Instant::now`. `std::time::*` is a glob.
    pub path: String,
    pub file: String,
    pub line: usize,
}

/// A string literal.
pub struct Text {
    pub from: Place,
    pub value: String,
    pub file: String,
    pub line: usize,
}

/// `receiver.method(..)`, of a receiver that is one word.
pub struct Call {
    pub from: Place,
    pub receiver: String,
    pub method: String,
    pub file: String,
    pub line: usize,
}

/// The first arrow between each two modules of one crate.
pub type Witnesses<'a> = BTreeMap<(&'a str, &'a str), &'a Arrow>;

impl Graph {
    pub fn of(files: &Files) -> Self {
        let mut tree = Tree::read(files);
        let mut graph = Self {
            crates: Vec::new(),
            modules: (0..tree.modules.len())
                .map(|module| place(&tree, module))
                .collect(),
            arrows: Vec::new(),
            outside: Vec::new(),
            texts: Vec::new(),
            calls: Vec::new(),
            unresolved: std::mem::take(&mut tree.unread),
        };
        walk(&tree, &mut graph);
        graph.crates = tree.crates;
        graph
    }

    pub fn has(&self, of_crate: &str, module: &str) -> bool {
        self.modules.contains(&Place::new(of_crate, module))
    }

    /// Arrows between the modules of one crate, one for each two.
    pub fn inside(&self, of_crate: &str) -> Witnesses<'_> {
        let mut found = Witnesses::new();
        for arrow in &self.arrows {
            if arrow.from.of_crate == of_crate && arrow.to.of_crate == of_crate {
                found
                    .entry((&arrow.from.module, &arrow.to.module))
                    .or_insert(arrow);
            }
        }
        found
    }
}

/// The groups of modules of which each reaches each other one, along these arrows.
pub fn cyclic_groups<'a>(arrows: &BTreeSet<(&'a str, &'a str)>) -> Vec<BTreeSet<&'a str>> {
    let all: BTreeSet<&str> = arrows.iter().map(|(from, _)| *from).collect();
    let mut groups: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
    for module in all {
        let there = reached(arrows, module);
        let group: BTreeSet<&str> = there
            .into_iter()
            .filter(|other| reached(arrows, other).contains(module))
            .collect();
        // One that does not reach itself is in no group.
        if group.contains(module) {
            groups.insert(group);
        }
    }
    groups.into_iter().collect()
}

/// The modules to which a way of one or more arrows leads.
pub fn reached<'a>(arrows: &BTreeSet<(&'a str, &'a str)>, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for (_, to) in arrows.iter().filter(|(from, _)| *from == module) {
            if found.insert(*to) {
                open.push(to);
            }
        }
    }
    found
}

impl Outside {
    pub fn is_of_any(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| self.is_of(path))
    }

    /// Whether this names `path`, something in it, or a glob that brings it in.
    fn is_of(&self, path: &str) -> bool {
        let is_below = |inner: &str, outer: &str| {
            let rest = inner.strip_prefix(outer);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let glob = self.path.strip_suffix("::*");
        is_below(&self.path, path) || glob.is_some_and(|glob| is_below(path, glob))
    }
}

impl Place {
    pub fn new(of_crate: &str, module: &str) -> Self {
        Self {
            of_crate: of_crate.to_owned(),
            module: module.to_owned(),
        }
    }

    /// Whether it is one of these, a crate and a module each; `*` is every module of the crate.
    pub fn is_in(&self, places: &[(&str, &str)]) -> bool {
        let is = |(of_crate, module): &(&str, &str)| {
            self.of_crate == *of_crate && (*module == "*" || self.module == *module)
        };
        places.iter().any(is)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}::{}", self.of_crate, self.module)
    }
}

impl fmt::Display for Arrow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            to,
            path,
            file,
            line,
        } = self;
        write!(formatter, "{from} -> {to}: {file}:{line} names `{path}`")
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            path,
            file,
            line,
        } = self;
        write!(formatter, "{from} uses `{path}`: {file}:{line}")
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            value,
            file,
            line,
        } = self;
        write!(formatter, "{from} says {value:?}: {file}:{line}")
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            receiver,
            method,
            file,
            line,
        } = self;
        write!(formatter, "{from} calls `{receiver}.{method}`: {file}:{line}")
    }
}
