//! Reads the code of every module: each path that it names becomes an arrow, or a note of what it uses of other crates.
//!
//! Paths stand in `use` trees, types, expressions and patterns, and in the tokens of macros and attributes, which are looked
//! through for what looks like a path.

use std::collections::BTreeSet;

use proc_macro2::TokenStream;
use syn::visit::{self, Visit};
use syn::{Attribute, Item};

use super::graph::{Arrow, Call, Graph, Outside, Place, Text};
use super::modules::{LIB, ModuleId, Names, Tree, Written, attributes, leaves};
use super::resolve::{Answer, Found, Scope};
use super::test_only::for_tests_alone;
use super::tokens::Tokens;

/// The last name of what a glob brings in from another crate.
const EVERYTHING: &str = "*";

/// Adds all that the modules of the workspace name.
pub fn walk(tree: &Tree, graph: &mut Graph) {
    for module in 0..tree.modules.len() {
        let mut walk = Walk {
            tree,
            module,
            blocks: Vec::new(),
            graph,
        };
        for item in &tree.modules[module].items {
            walk.visit_item(item);
        }
    }
}

/// The module, in the sense of the rules, in which a module of Rust lies.
pub fn place(tree: &Tree, module: ModuleId) -> Place {
    let module = &tree.modules[module];
    Place {
        of_crate: tree.crates[module.of_crate].name.clone(),
        module: module.top.clone(),
    }
}

fn written(path: &syn::Path, line: usize) -> Written {
    let names = path.segments.iter().map(|segment| segment.ident.to_string());
    Written {
        from_outside: path.leading_colon.is_some(),
        names: names.collect(),
        line,
    }
}

struct Walk<'a> {
    tree: &'a Tree,
    module: ModuleId,
    /// What the blocks around the place import or declare, from the outermost.
    blocks: Vec<Names>,
    graph: &'a mut Graph,
}

impl Walk<'_> {
    fn here(&self) -> Place {
        place(self.tree, self.module)
    }

    fn file(&self) -> String {
        self.tree.modules[self.module].file.clone()
    }

    fn is_root(&self, module: ModuleId) -> bool {
        self.tree.modules[module].parent.is_none()
    }

    fn is_own_root(&self, module: ModuleId) -> bool {
        let here = &self.tree.modules[self.module];
        self.is_root(module) && self.tree.modules[module].of_crate == here.of_crate
    }

    /// A path in code.
    fn note(&mut self, path: &Written) {
        let lone = path.names.len() == 1;
        if let Answer::Known { through, mut found } = self.answer(path) {
            // A lone word in code is no module and no crate, but a variable that has the name of one.
            let is_variable = |found: &Found| match found {
                Found::Module(_) => true,
                Found::Outside(names) => names.len() == 1,
                Found::Item { .. } => false,
            };
            found.retain(|found| !lone || !is_variable(found));
            self.note_found(path, &through, found);
        }
    }

    /// What a path means here. One that leads into the workspace and is not understood is noted: there must be none.
    fn answer(&mut self, path: &Written) -> Answer {
        let scope = Scope {
            module: self.module,
            blocks: &self.blocks,
        };
        let answer = self.tree.resolve(scope, path);
        if answer == Answer::Missing {
            self.note_gap(path);
        }
        answer
    }

    fn note_found(&mut self, path: &Written, through: &[ModuleId], found: Vec<Found>) {
        // A path passes the root of its own crate, and of another one when it leads to a module of that.
        let from = self.here();
        let named = through.iter().copied().filter(|module| !self.is_root(*module));
        let mut targets: BTreeSet<Place> = named.map(|module| place(self.tree, module)).collect();
        let only_outside = found.iter().all(|found| matches!(found, Found::Outside(_)));
        if only_outside {
            let roots = through
                .iter()
                .copied()
                .filter(|module| !self.is_own_root(*module));
            targets.extend(roots.map(|module| place(self.tree, module)));
        }
        for found in found {
            match found {
                Found::Module(module) if self.is_own_root(module) => {}
                Found::Module(module) | Found::Item { module, .. } => {
                    targets.insert(place(self.tree, module));
                }
                Found::Outside(names) => self.graph.outside.push(Outside {
                    from: self.here(),
                    path: names.join("::"),
                    file: self.file(),
                    line: path.line,
                }),
            }
        }
        targets.remove(&from);
        for to in targets {
            self.graph.arrows.push(Arrow {
                from: from.clone(),
                to,
                path: path.names.join("::"),
                file: self.file(),
                line: path.line,
            });
        }
    }

    fn note_gap(&mut self, path: &Written) {
        let text = format!("{}:{}: `{}`", self.file(), path.line, path.names.join("::"));
        self.graph.unresolved.push(text);
    }

    fn note_use(&mut self, item: &syn::ItemUse) {
        // A crate's root that re-exports its own modules only says what their names are for others.
        let is_list_of_names = self.is_root(self.module)
            && self.here().module == LIB
            && !matches!(item.vis, syn::Visibility::Inherited);
        for leaf in leaves(item) {
            if !(is_list_of_names && self.begins_here(&leaf.path)) {
                self.note_import(&leaf.path, leaf.name.is_none());
            }
        }
    }

    /// Whether a path in the root of a crate leads to the crate's own modules.
    fn begins_here(&self, path: &Written) -> bool {
        let bound = &self.tree.modules[self.module].names.bound;
        let first = path.names.first();
        first.is_some_and(|first| first == "crate" || first == "self" || bound.contains_key(first))
    }

    fn note_import(&mut self, path: &Written, is_glob: bool) {
        match self.answer(path) {
            Answer::Known { through, mut found } => {
                for found in &mut found {
                    if let Found::Outside(names) = found
                        && is_glob
                    {
                        names.push(EVERYTHING.to_owned());
                    }
                }
                self.note_found(path, &through, found);
            }
            // The compiler knows every name of a `use`: this resolver must too.
            Answer::Local => self.note_gap(path),
            Answer::Missing => {}
        }
    }

    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut read = Tokens::default();
        read.read(tokens);
        for path in read.paths {
            self.note(&path);
        }
        for (value, line) in read.texts {
            self.note_text(value, line);
        }
    }

    fn note_text(&mut self, value: String, line: usize) {
        self.graph.texts.push(Text {
            from: self.here(),
            value,
            file: self.file(),
            line,
        });
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if for_tests_alone(attributes(item)) {
            return;
        }
        match item {
            Item::Use(item) => self.note_use(item),
            // Its items are those of another module.
            Item::Mod(module) => {
                for attribute in &module.attrs {
                    self.visit_attribute(attribute);
                }
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        let names = Names::of_block(block);
        let declares = !names.is_empty();
        if declares {
            self.blocks.push(names);
        }
        visit::visit_block(self, block);
        if declares {
            self.blocks.pop();
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(first) = path.segments.first() {
            self.note(&written(path, first.ident.span().start().line));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.note_tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("doc") {
            return;
        }
        self.visit_path(attribute.path());
        let syn::Meta::List(list) = &attribute.meta else {
            return;
        };
        let mut read = Tokens::default();
        read.read(list.tokens.clone());
        // `#[serde(with = "contract::json")]`: the path is a text.
        let in_texts = read.texts.iter().filter_map(|(text, line)| {
            let path = text
                .contains("::")
                .then(|| syn::parse_str::<syn::Path>(text).ok())??;
            Some(written(&path, *line))
        });
        for path in in_texts.chain(read.paths.iter().cloned()) {
            self.note(&path);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if let syn::Expr::Path(receiver) = &*call.receiver
            && let Some(receiver) = receiver.path.get_ident()
        {
            self.graph.calls.push(Call {
                from: self.here(),
                receiver: receiver.to_string(),
                method: call.method.to_string(),
                file: self.file(),
                line: call.method.span().start().line,
            });
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.note_text(text.value(), text.span().start().line);
    }

    /// `pub(in crate::store)` says who sees an item: it is no use of the module.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        let attributes = match statement {
            syn::Stmt::Local(statement) => &statement.attrs[..],
            syn::Stmt::Macro(statement) => &statement.attrs,
            syn::Stmt::Expr(syn::Expr::Block(statement), _) => &statement.attrs,
            syn::Stmt::Expr(syn::Expr::Call(statement), _) => &statement.attrs,
            syn::Stmt::Expr(syn::Expr::MethodCall(statement), _) => &statement.attrs,
            syn::Stmt::Expr(..) | syn::Stmt::Item(_) => &[],
        };
        if !for_tests_alone(attributes) {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Const(item) => &item.attrs[..],
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            syn::ImplItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !for_tests_alone(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast syn::TraitItem) {
        let attributes = match item {
            syn::TraitItem::Const(item) => &item.attrs[..],
            syn::TraitItem::Fn(item) => &item.attrs,
            syn::TraitItem::Type(item) => &item.attrs,
            syn::TraitItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !for_tests_alone(attributes) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !for_tests_alone(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        if !for_tests_alone(&field.attrs) {
            visit::visit_field_value(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !for_tests_alone(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if !for_tests_alone(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }
}
