//! Which code is compiled for tests alone: it may import what the product may not, and makes no arrow.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

/// Features of the tests: no program that ships has them, so `any(test, feature = "failpoints")` is for tests alone.
const FEATURES_OF_TESTS: [&str; 3] = ["failpoints", "planted-bugs", "faults"];

/// Whether an attribute keeps the item out of every build but those for tests: `#[cfg(test)]`, or a longer condition that
/// asks for `test` and cannot hold without it or a feature of the tests. A condition on such a feature alone is not one:
/// the arrows of that code are arrows of the crate.
pub fn for_tests_alone(attributes: &[Attribute]) -> bool {
    let mut conditions = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"));
    conditions.any(|attribute| {
        let condition = attribute.parse_args::<Meta>();
        condition.is_ok_and(|condition| asks_for_test(&condition) && !may_hold(&condition))
    })
}

fn asks_for_test(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(_) => parts(condition).iter().any(asks_for_test),
        Meta::NameValue(_) => false,
    }
}

/// Whether a condition can hold in a build that is not for tests. What else it asks for is taken to hold, and not to hold.
fn may_hold(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => !path.is_ident("test"),
        Meta::NameValue(pair) => !is_feature_of_tests(pair),
        Meta::List(list) if list.path.is_ident("all") => parts(condition).iter().all(may_hold),
        Meta::List(list) if list.path.is_ident("any") => parts(condition).iter().any(may_hold),
        Meta::List(_) => true,
    }
}

fn parts(condition: &Meta) -> Vec<Meta> {
    let Meta::List(list) = condition else {
        return Vec::new();
    };
    let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    parsed
        .map(|parts| parts.into_iter().collect())
        .unwrap_or_default()
}

fn is_feature_of_tests(pair: &syn::MetaNameValue) -> bool {
    let syn::Expr::Lit(syn::ExprLit {
        lit: syn::Lit::Str(name),
        ..
    }) = &pair.value
    else {
        return false;
    };
    pair.path.is_ident("feature") && FEATURES_OF_TESTS.contains(&name.value().as_str())
}
