//! What a path means: the module that defines the item, through imports, globs and re-exports, or something outside of the
//! workspace.
//!
//! It knows names, not types: `store.pending()` makes no arrow, the `Store` that was named to get there does. Visibility is
//! looked at only where a glob would bring in what it does not see; the rest the compiler has checked.

use std::collections::HashSet;

use super::modules::{Import, Meaning, ModuleId, Names, Tree, Written};

/// What a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Module(ModuleId),
    /// An item, with the module that defines it.
    Item {
        module: ModuleId,
        name: String,
        kind: Kind,
    },
    /// The whole path of something that is not ours, such as `["std", "fs", "read"]`.
    Outside(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What can stand before `::`.
    Type,
    Other,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Known {
        /// The modules that the path names on its way.
        through: Vec<ModuleId>,
        /// One name may be a module, a type and a function at once.
        found: Vec<Found>,
    },
    /// A local variable, a type parameter, a name of the prelude.
    Local,
    /// The path leads into the workspace, and there is no such name: something that this resolver does not understand.
    Missing,
}

/// Where a path is read.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub module: ModuleId,
    /// The blocks around it that import or declare something, from the outermost.
    pub blocks: &'a [Names],
}

/// The names that are being looked up: a cycle of globs or imports ends where it began.
type Open = HashSet<(*const Names, String)>;

impl Tree {
    pub fn resolve(&self, scope: Scope<'_>, path: &Written) -> Answer {
        self.follow(scope, path, &mut Open::new())
    }

    fn follow(&self, scope: Scope<'_>, path: &Written, open: &mut Open) -> Answer {
        let Some((first, rest)) = path.names.split_first() else {
            return Answer::Missing;
        };
        let last = rest.is_empty();
        let mut at = self.first(scope, first, path.from_outside, last, open);
        if at.is_empty() {
            return Answer::Local;
        }
        let (mut through, mut found) = (Vec::new(), Vec::new());
        for name in rest {
            let mut next = Vec::new();
            for here in at {
                match here {
                    Found::Module(module) => {
                        through.push(module);
                        next.extend(self.member(module, name, open));
                    }
                    Found::Outside(mut outside) => {
                        outside.push(name.clone());
                        next.push(Found::Outside(outside));
                    }
                    // What stands behind a type is its variant, constant or function.
                    Found::Item { kind: Kind::Type, .. } => found.push(here),
                    Found::Item {
                        kind: Kind::Other, ..
                    } => {}
                }
            }
            at = next;
        }
        found.extend(at);
        if found.is_empty() {
            Answer::Missing
        } else {
            Answer::Known { through, found }
        }
    }

    /// What the first name of a path means; a name that cannot begin one is left out unless it is the whole path.
    fn first(
        &self,
        scope: Scope<'_>,
        name: &str,
        from_outside: bool,
        last: bool,
        open: &mut Open,
    ) -> Vec<Found> {
        let module = &self.modules[scope.module];
        match name {
            "crate" => return vec![Found::Module(module.root)],
            "self" => return vec![Found::Module(scope.module)],
            "super" => return module.parent.map(Found::Module).into_iter().collect(),
            _ => {}
        }
        let begins = |found: &Found| {
            last || !matches!(
                found,
                Found::Item {
                    kind: Kind::Other,
                    ..
                }
            )
        };
        let mut visible = |perhaps: bool| -> Vec<Found> {
            let mut found = self.visible(scope, name, perhaps, open);
            found.retain(begins);
            found
        };
        if !from_outside {
            let found = visible(false);
            if !found.is_empty() {
                return found;
            }
        }
        if let Some(found) = self.of_a_crate(module.of_crate, name) {
            return vec![found];
        }
        if from_outside { Vec::new() } else { visible(true) }
    }

    /// A name as code at this place sees it, without the names of crates.
    fn visible(&self, scope: Scope<'_>, name: &str, perhaps: bool, open: &mut Open) -> Vec<Found> {
        for (index, block) in scope.blocks.iter().enumerate().rev() {
            let inside = Scope {
                blocks: &scope.blocks[..=index],
                ..scope
            };
            let found = self.named(
                inside,
                block,
                name,
                Seen {
                    private: true,
                    perhaps,
                },
                open,
            );
            if !found.is_empty() {
                return found;
            }
        }
        let scope = Scope { blocks: &[], ..scope };
        let names = &self.modules[scope.module].names;
        self.named(
            scope,
            names,
            name,
            Seen {
                private: true,
                perhaps,
            },
            open,
        )
    }

    /// A name behind `module::`.
    fn member(&self, module: ModuleId, name: &str, open: &mut Open) -> Vec<Found> {
        match name {
            "super" => {
                return self.modules[module]
                    .parent
                    .map(Found::Module)
                    .into_iter()
                    .collect();
            }
            "self" => return vec![Found::Module(module)],
            _ => {}
        }
        let scope = Scope { module, blocks: &[] };
        let names = &self.modules[module].names;
        let mut seen = |perhaps| {
            self.named(
                scope,
                names,
                name,
                Seen {
                    private: true,
                    perhaps,
                },
                open,
            )
        };
        let found = seen(false);
        if found.is_empty() { seen(true) } else { found }
    }

    /// A name among those of a module or block. What it declares or imports by name goes before what its globs bring in.
    fn named(&self, scope: Scope<'_>, names: &Names, name: &str, seen: Seen, open: &mut Open) -> Vec<Found> {
        let key = (std::ptr::from_ref(names), name.to_owned());
        if !open.insert(key.clone()) {
            return Vec::new();
        }
        let mut found = Vec::new();
        let bound = names.bound.get(name).into_iter().flatten();
        for bound in bound.filter(|bound| seen.private || bound.public) {
            let item = |module, kind| Found::Item {
                module,
                name: name.to_owned(),
                kind,
            };
            match &bound.to {
                Meaning::Module(module) => found.push(Found::Module(*module)),
                Meaning::Type { .. } => found.push(item(scope.module, Kind::Type)),
                Meaning::Value | Meaning::Macro => found.push(item(scope.module, Kind::Other)),
                Meaning::ExportedMacro(module) => found.push(item(*module, Kind::Other)),
                Meaning::Import(import) => found.extend(self.imported(scope, &import.path, open)),
            }
        }
        if found.is_empty() {
            let globs = names.globs.iter().filter(|glob| seen.private || glob.public);
            found = globs
                .flat_map(|glob| self.through_glob(scope, glob, name, seen, open))
                .collect();
        }
        if found.is_empty() && seen.perhaps && names.perhaps.contains(name) {
            found.push(Found::Item {
                module: scope.module,
                name: name.to_owned(),
                kind: Kind::Type,
            });
        }
        open.remove(&key);
        found
    }

    fn imported(&self, scope: Scope<'_>, path: &Written, open: &mut Open) -> Vec<Found> {
        match self.follow(scope, path, open) {
            Answer::Known { found, .. } => found,
            Answer::Local | Answer::Missing => Vec::new(),
        }
    }

    fn through_glob(
        &self,
        scope: Scope<'_>,
        glob: &Import,
        name: &str,
        seen: Seen,
        open: &mut Open,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        for source in self.imported(scope, &glob.path, open) {
            match source {
                Found::Module(module) => {
                    let seen = Seen {
                        private: self.is_within(scope.module, module),
                        ..seen
                    };
                    let inside = Scope { module, blocks: &[] };
                    let names = &self.modules[module].names;
                    found.extend(self.named(inside, names, name, seen, open));
                }
                Found::Item {
                    module,
                    name: of_enum,
                    ..
                } if self.has_variant(module, &of_enum, name) => {
                    found.push(Found::Item {
                        module,
                        name: of_enum,
                        kind: Kind::Other,
                    });
                }
                // What a glob of another crate brings in cannot be known; the glob itself is noted.
                Found::Item { .. } | Found::Outside(_) => {}
            }
        }
        found
    }

    fn has_variant(&self, module: ModuleId, name: &str, variant: &str) -> bool {
        let bound = self.modules[module].names.bound.get(name);
        bound.into_iter().flatten().any(|bound| match &bound.to {
            Meaning::Type { variants } => variants.iter().any(|known| known == variant),
            _ => false,
        })
    }

    /// A crate by the name that code of this one calls it: a member of the workspace, or a dependency.
    fn of_a_crate(&self, of_crate: usize, name: &str) -> Option<Found> {
        let here = &self.crates[of_crate];
        // A program of a package calls the package's library by its name.
        let package = if here.spelled() == name {
            Some(name)
        } else {
            here.package_of(name)
        };
        if let Some(library) = package.and_then(|package| self.libraries.get(package)) {
            return Some(Found::Module(*library));
        }
        let of_rust = ["std", "core", "alloc"].contains(&name).then_some(name);
        package
            .or(of_rust)
            .map(|package| Found::Outside(vec![package.to_owned()]))
    }
}

/// What of a module's names is seen.
#[derive(Clone, Copy)]
struct Seen {
    /// Those that only it and the modules below it see.
    private: bool,
    /// Those that a macro perhaps declares.
    perhaps: bool,
}
