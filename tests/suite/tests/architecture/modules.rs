//! The modules of every crate, with the names that each of them declares or imports.
//!
//! It follows `mod` declarations from the roots of a crate (`lib.rs`, `main.rs`, `bin/`) to the files, and leaves out what is
//! compiled for unit tests alone. What a name stands for is another step's question: `resolve` answers it.

use std::collections::{BTreeSet, HashMap};

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::{Attribute, Item, UseName, UseTree, Visibility};

use super::crates::{Crate, Files, crates};
use super::test_only::for_tests_alone;

/// The name of the module that a crate's `lib.rs` is.
pub const LIB: &str = "lib";

/// The number of a module in [`Tree::modules`].
pub type ModuleId = usize;

/// All modules of the workspace.
pub struct Tree {
    pub crates: Vec<Crate>,
    pub modules: Vec<Module>,
    /// From a crate, as code spells it, to its `lib.rs`.
    pub libraries: HashMap<String, ModuleId>,
    /// What could not be read, such as a `mod` without its file.
    pub unread: Vec<String>,
}

/// A module as Rust has it: a file, or a part of one.
pub struct Module {
    /// The number of its crate.
    pub of_crate: usize,
    pub parent: Option<ModuleId>,
    /// The `lib.rs` or `main.rs` that it hangs on: what `crate` means in it.
    pub root: ModuleId,
    pub file: String,
    /// The file or folder directly under `src` that it lies in, without `.rs`.
    pub top: String,
    pub names: Names,
    pub items: Vec<Item>,
}

/// What a module, or a block of a function, calls by a name.
#[derive(Default)]
pub struct Names {
    pub bound: HashMap<String, Vec<Bound>>,
    /// What `use path::*` brings in.
    pub globs: Vec<Import>,
    /// Names in the calls of macros that declare something: perhaps a macro of ours declares one of them here.
    pub perhaps: BTreeSet<String>,
}

/// A name and what it is bound to.
pub struct Bound {
    /// Whether more than the module itself and what lies below it sees the name.
    pub public: bool,
    pub to: Meaning,
}

pub enum Meaning {
    /// A type or trait; of an enum with its variants.
    Type {
        variants: Vec<String>,
    },
    /// A function, constant or static: nothing can stand behind it in a path.
    Value,
    /// A macro by example that this module declares.
    Macro,
    /// A macro that another module of this crate declares for all crates.
    ExportedMacro(ModuleId),
    Module(ModuleId),
    Import(Import),
}

impl Meaning {
    const A_TYPE: Self = Self::Type { variants: Vec::new() };
}

/// The path of a `use`.
#[derive(Clone)]
pub struct Import {
    pub path: Written,
    pub public: bool,
}

/// A path as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Whether it begins with `::`.
    pub from_outside: bool,
    pub names: Vec<String>,
    pub line: usize,
}

/// A leaf of a `use` tree.
pub struct Leaf {
    pub path: Written,
    /// The name that it brings in; none of a glob.
    pub name: Option<String>,
}

impl Tree {
    pub fn read(files: &Files) -> Self {
        let mut tree = Self {
            crates: crates(files),
            modules: Vec::new(),
            libraries: HashMap::new(),
            unread: Vec::new(),
        };
        let mut reader = Reader {
            files,
            tree: &mut tree,
            declared: HashMap::new(),
            called: Vec::new(),
        };
        for of_crate in 0..reader.tree.crates.len() {
            reader.read_crate(of_crate);
        }
        reader.note_what_macros_declare();
        tree
    }

    /// Whether `module` is `other` or lies below it.
    pub fn is_within(&self, module: ModuleId, other: ModuleId) -> bool {
        let mut at = Some(module);
        while let Some(id) = at {
            if id == other {
                return true;
            }
            at = self.modules[id].parent;
        }
        false
    }
}

/// A module that is about to be read.
struct Location {
    of_crate: usize,
    parent: Option<ModuleId>,
    file: String,
    /// Where the files of its own modules lie.
    folder: String,
}

struct Reader<'a> {
    files: &'a Files,
    tree: &'a mut Tree,
    /// From the crate and name of a macro to the names that its rules declare.
    declared: HashMap<(usize, String), BTreeSet<String>>,
    /// Which module calls which macro where an item may stand.
    called: Vec<(ModuleId, String)>,
}

impl Reader<'_> {
    /// Reads every program and the library of a crate.
    fn read_crate(&mut self, of_crate: usize) {
        let member = &self.tree.crates[of_crate];
        let (name, src) = (member.spelled(), format!("{}/src", member.folder));
        let all: Vec<String> = self
            .files
            .keys()
            .filter(|file| is_root(file, &src))
            .cloned()
            .collect();
        for file in all {
            let (folder, _) = file.rsplit_once('/').expect("a file lies in a folder");
            let location = Location {
                of_crate,
                parent: None,
                folder: folder.to_owned(),
                file: file.clone(),
            };
            let read = self.read_file(&location);
            if let Some(root) = read.filter(|_| file == format!("{src}/lib.rs")) {
                self.tree.libraries.insert(name.clone(), root);
            }
        }
    }

    fn read_file(&mut self, location: &Location) -> Option<ModuleId> {
        match syn::parse_file(&self.files[&location.file]) {
            Ok(file) if for_tests_alone(&file.attrs) => None,
            Ok(file) => Some(self.read_module(location, file.items)),
            Err(error) => {
                self.tree.unread.push(format!("{}: {error}", location.file));
                None
            }
        }
    }

    fn read_module(&mut self, location: &Location, items: Vec<Item>) -> ModuleId {
        let id = self.tree.modules.len();
        let src = format!("{}/src/", self.tree.crates[location.of_crate].folder);
        let below = location.file.strip_prefix(&src).expect("modules lie below src");
        let top = below.split('/').next().unwrap_or(below);
        self.tree.modules.push(Module {
            of_crate: location.of_crate,
            parent: location.parent,
            root: location
                .parent
                .map_or(id, |parent| self.tree.modules[parent].root),
            top: top.trim_end_matches(".rs").to_owned(),
            file: location.file.clone(),
            names: Names::default(),
            items: Vec::new(),
        });
        let mut names = Names::default();
        let mut kept = Vec::new();
        for mut item in items {
            if for_tests_alone(attributes(&item)) {
                continue;
            }
            match &mut item {
                Item::Mod(module) => {
                    let public = is_public(&module.vis);
                    let name = module.ident.to_string();
                    let read = match module.content.take() {
                        Some((_, items)) => {
                            let inside = Location {
                                of_crate: location.of_crate,
                                parent: Some(id),
                                file: location.file.clone(),
                                folder: format!("{}/{name}", location.folder),
                            };
                            Some(self.read_module(&inside, items))
                        }
                        None => self.read_declared(location, id, &name),
                    };
                    if let Some(read) = read {
                        names.bind(name, public, Meaning::Module(read));
                    }
                }
                Item::Macro(call) => self.read_macro(id, call, &mut names),
                _ => names.declare(&item),
            }
            kept.push(item);
        }
        let module = &mut self.tree.modules[id];
        // A macro that a child exports has bound its name already.
        let exported = std::mem::take(&mut module.names.bound);
        module.names = names;
        for (name, bound) in exported {
            module.names.bound.entry(name).or_default().extend(bound);
        }
        module.items = kept;
        id
    }

    /// Reads the file that `mod name;` declares. None of ours says with `#[path]` that it lies elsewhere.
    fn read_declared(&mut self, above: &Location, id: ModuleId, name: &str) -> Option<ModuleId> {
        let Location { folder, of_crate, .. } = above;
        let candidates = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")];
        let Some(file) = candidates.iter().find(|file| self.files.contains_key(*file)) else {
            let text = format!("{}: `mod {name}` has no file", above.file);
            self.tree.unread.push(text);
            return None;
        };
        self.read_file(&Location {
            of_crate: *of_crate,
            parent: Some(id),
            file: file.clone(),
            folder: format!("{folder}/{name}"),
        })
    }

    fn read_macro(&mut self, id: ModuleId, call: &syn::ItemMacro, names: &mut Names) {
        let of_crate = self.tree.modules[id].of_crate;
        if let Some(name) = &call.ident {
            let name = name.to_string();
            names.bind(name.clone(), false, Meaning::Macro);
            let exported = call
                .attrs
                .iter()
                .any(|attribute| attribute.path().is_ident("macro_export"));
            if exported {
                let root = self.tree.modules[id].root;
                let bound = if root == id {
                    &mut *names
                } else {
                    &mut self.tree.modules[root].names
                };
                bound.bind(name.clone(), true, Meaning::ExportedMacro(id));
            }
            let mut declared = BTreeSet::new();
            declared_in(call.mac.tokens.clone(), &mut declared);
            self.declared.insert((of_crate, name), declared);
        } else {
            identifiers(call.mac.tokens.clone(), &mut names.perhaps);
            let name = call.mac.path.segments.last().map(|last| last.ident.to_string());
            self.called.push((id, name.unwrap_or_default()));
        }
    }

    /// A macro that declares `enum EventType` in its rules declares it where it is called.
    fn note_what_macros_declare(&mut self) {
        for (id, name) in std::mem::take(&mut self.called) {
            let of_crate = self.tree.modules[id].of_crate;
            if let Some(declared) = self.declared.get(&(of_crate, name)) {
                self.tree.modules[id]
                    .names
                    .perhaps
                    .extend(declared.iter().cloned());
            }
        }
    }
}

impl Names {
    /// The names that a block of a function declares or imports for itself.
    pub fn of_block(block: &syn::Block) -> Self {
        let mut names = Self::default();
        for statement in &block.stmts {
            if let syn::Stmt::Item(item) = statement {
                names.declare(item);
            }
        }
        names
    }

    pub fn is_empty(&self) -> bool {
        self.bound.is_empty() && self.globs.is_empty()
    }

    fn bind(&mut self, name: String, public: bool, to: Meaning) {
        self.bound.entry(name).or_default().push(Bound { public, to });
    }

    fn bind_item(&mut self, name: &syn::Ident, visibility: &Visibility, to: Meaning) {
        self.bind(name.to_string(), is_public(visibility), to);
    }

    fn declare(&mut self, item: &Item) {
        match item {
            Item::Const(item) => self.bind_item(&item.ident, &item.vis, Meaning::Value),
            Item::Fn(item) => self.bind_item(&item.sig.ident, &item.vis, Meaning::Value),
            Item::Static(item) => self.bind_item(&item.ident, &item.vis, Meaning::Value),
            Item::Enum(item) => {
                let variants = item.variants.iter().map(|variant| variant.ident.to_string());
                let variants = variants.collect();
                self.bind_item(&item.ident, &item.vis, Meaning::Type { variants });
            }
            Item::Struct(item) => self.bind_item(&item.ident, &item.vis, Meaning::A_TYPE),
            Item::Trait(item) => self.bind_item(&item.ident, &item.vis, Meaning::A_TYPE),
            Item::TraitAlias(item) => self.bind_item(&item.ident, &item.vis, Meaning::A_TYPE),
            Item::Type(item) => self.bind_item(&item.ident, &item.vis, Meaning::A_TYPE),
            Item::Union(item) => self.bind_item(&item.ident, &item.vis, Meaning::A_TYPE),
            Item::ExternCrate(item) => {
                let name = item.rename.as_ref().map_or(&item.ident, |(_, name)| name);
                let path = Written {
                    from_outside: true,
                    names: vec![item.ident.to_string()],
                    line: item.ident.span().start().line,
                };
                let public = is_public(&item.vis);
                self.bind(name.to_string(), public, Meaning::Import(Import { path, public }));
            }
            Item::Use(item) => {
                let public = is_public(&item.vis);
                for leaf in leaves(item) {
                    let import = Import {
                        path: leaf.path,
                        public,
                    };
                    match leaf.name {
                        Some(name) => self.bind(name, public, Meaning::Import(import)),
                        None => self.globs.push(import),
                    }
                }
            }
            _ => {}
        }
    }
}

/// Every path of a `use`, whole.
pub fn leaves(item: &syn::ItemUse) -> Vec<Leaf> {
    let mut found = Vec::new();
    add_leaves(&item.tree, item.leading_colon.is_some(), &[], &mut found);
    found
}

fn add_leaves(tree: &UseTree, from_outside: bool, above: &[String], found: &mut Vec<Leaf>) {
    let with = |name: &syn::Ident| {
        let names = above.iter().cloned().chain([name.to_string()]);
        names.collect::<Vec<String>>()
    };
    let mut add = |names: Vec<String>, name: Option<String>, at: Span| {
        let line = at.start().line;
        let path = Written {
            from_outside,
            names,
            line,
        };
        found.push(Leaf { path, name });
    };
    match tree {
        UseTree::Path(part) => add_leaves(&part.tree, from_outside, &with(&part.ident), found),
        UseTree::Group(group) => {
            for part in &group.items {
                add_leaves(part, from_outside, above, found);
            }
        }
        UseTree::Glob(glob) => add(above.to_vec(), None, glob.star_token.spans[0]),
        UseTree::Name(UseName { ident }) => {
            // `use path::{self}` brings in what the path before it names.
            let is_self = ident == "self" && !above.is_empty();
            let names = if is_self { above.to_vec() } else { with(ident) };
            let name = names.last().cloned();
            add(names, name, ident.span());
        }
        UseTree::Rename(part) => {
            let is_self = part.ident == "self" && !above.is_empty();
            let names = if is_self {
                above.to_vec()
            } else {
                with(&part.ident)
            };
            add(names, Some(part.rename.to_string()), part.ident.span());
        }
    }
}

/// Whether a file is `lib.rs`, `main.rs`, or one of the further programs in `bin`.
fn is_root(file: &str, src: &str) -> bool {
    let below = file.strip_prefix(src).and_then(|rest| rest.strip_prefix('/'));
    let Some(below) = below else { return false };
    match below.strip_prefix("bin/") {
        Some(program) => !program.contains('/') || program.ends_with("/main.rs"),
        None => below == "lib.rs" || below == "main.rs",
    }
}

fn is_public(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Every word in a macro's tokens.
fn identifiers(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) => {
                found.insert(word.to_string());
            }
            TokenTree::Group(group) => identifiers(group.stream(), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The words in a macro's tokens that stand behind one that declares, such as `EventType` of `pub enum EventType`.
fn declared_in(tokens: TokenStream, found: &mut BTreeSet<String>) {
    const DECLARING: [&str; 8] = [
        "struct", "enum", "union", "trait", "type", "fn", "const", "static",
    ];
    let mut declares = false;
    for token in tokens {
        match token {
            TokenTree::Ident(word) => {
                let word = word.to_string();
                if declares {
                    found.insert(word.clone());
                }
                declares = DECLARING.contains(&word.as_str());
            }
            TokenTree::Group(group) => {
                declares = false;
                declared_in(group.stream(), found);
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => declares = false,
        }
    }
}
