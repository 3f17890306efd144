//! Paths and texts in the tokens of a macro, which no parser of ours understands: what looks like a path is taken for one.

use proc_macro2::{Ident, TokenStream, TokenTree};

use super::modules::Written;

/// What tokens name and say.
#[derive(Default)]
pub struct Tokens {
    pub paths: Vec<Written>,
    /// String literals, each with its line.
    pub texts: Vec<(String, usize)>,
}

impl Tokens {
    pub fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) => self.read(group.stream()),
                TokenTree::Literal(literal) => {
                    if let syn::Lit::Str(text) = syn::Lit::new(literal.clone()) {
                        let line = literal.span().start().line;
                        self.texts.push((text.value(), line));
                    }
                }
                TokenTree::Ident(first) => at += self.read_path(first, &tokens[..at - 1], &tokens[at..]),
                TokenTree::Punct(_) => {}
            }
        }
    }

    /// Reads the path that begins with `first`. Says how many tokens behind that belong to it.
    fn read_path(&mut self, first: &Ident, before: &[TokenTree], behind: &[TokenTree]) -> usize {
        let mut names = vec![first.to_string()];
        let mut read = 0;
        while let Some(name) = next_name(&behind[read..]) {
            names.push(name.to_string());
            read += 3;
        }
        let line = first.span().start().line;
        match Before::of(before) {
            Before::Member => {}
            Before::Dollar if names[0] != "crate" => {}
            // The rules of a macro are read as if they were called in the crate that declares them.
            Before::Nothing | Before::Dollar => self.paths.push(Written {
                from_outside: false,
                names,
                line,
            }),
            Before::TwoColons => self.paths.push(Written {
                from_outside: true,
                names,
                line,
            }),
        }
        read
    }
}

/// The name of `::name`, at the beginning of these tokens.
fn next_name(tokens: &[TokenTree]) -> Option<&Ident> {
    match tokens {
        [first, second, TokenTree::Ident(name), ..] if is(first, ':') && is(second, ':') => Some(name),
        _ => None,
    }
}

/// What stands before a name.
enum Before {
    Nothing,
    /// It is a field, a method, a lifetime, or what a type has: `.name`, `'name`, `>::name`.
    Member,
    /// `$name`.
    Dollar,
    /// `::name`, a path from outside.
    TwoColons,
}

impl Before {
    fn of(tokens: &[TokenTree]) -> Self {
        match tokens {
            // `..name` is a range, or the rest of a struct.
            [.., first, last] if is(first, '.') && is(last, '.') => Self::Nothing,
            [.., last] if is(last, '.') || is(last, '\'') => Self::Member,
            [.., last] if is(last, '$') => Self::Dollar,
            [.., of, first, last] if is(first, ':') && is(last, ':') => match of {
                TokenTree::Punct(mark) if mark.as_char() != '>' => Self::TwoColons,
                _ => Self::Member,
            },
            [first, last] if is(first, ':') && is(last, ':') => Self::TwoColons,
            _ => Self::Nothing,
        }
    }
}

fn is(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == mark)
}
