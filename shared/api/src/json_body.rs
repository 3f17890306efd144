//! A request's body as JSON: its values are counted, memory for its tree is reserved, then it is parsed strictly. Its
//! content type is checked by `media_type`, its structure by `shape`.

use super::body::{Body, BodyError, Reservation};
use contract::{
    Problem, ProblemCode,
    json::{self, Extent},
};
use serde_json::Value;

/// The most values that a body may hold, each member and each item one; an endpoint may name a limit of its own.
pub const VALUES_MAX: usize = 20_000;

/// Parses a body strictly: no key twice, no number that readers disagree on, bounded depth. The body then keeps memory
/// reserved for `trees` trees: the one that is returned, and copies that exist at the same time.
///
/// # Errors
/// 422 `too_many_values` for more than `values_max` or than could ever fit the budget, 503 when the budget is used up
/// now, 400 `invalid_json`.
pub fn parse(body: &mut Body, values_max: usize, trees: usize) -> Result<Value, Problem> {
    let bytes = trees * tree_bytes(body, values_max)?;
    if !body.reservation().could_grow(bytes) {
        let detail = "what is made of this body takes more than HTTP_BODY_BYTES in memory: send fewer values";
        return Err(Problem::new(ProblemCode::TooManyValues).with_detail(detail));
    }
    body.reserve(bytes)?;
    json::parse(body).map_err(|error| Problem::new(ProblemCode::InvalidJson).with_detail(error.to_string()))
}

/// Reserves memory for one tree of a body that another part parses, in addition to that of its bytes. An event is
/// already committed at its sender, so one that could never fit is a 503 too: its sender retries, and the operator can
/// raise the budget meanwhile.
///
/// # Errors
/// 422 `too_many_values` for more than `values_max`, 503 when the budget is used up.
pub fn reserve_tree(body: &[u8], held: &Reservation, values_max: usize) -> Result<Reservation, Problem> {
    let room = held.reserve_more(tree_bytes(body, values_max)?);
    Ok(room.ok_or(BodyError::OverBudget)?)
}

/// What the tree of a body takes, counted before it is built.
fn tree_bytes(body: &[u8], values_max: usize) -> Result<usize, Problem> {
    let extent = Extent::of(body);
    if extent.values > values_max {
        let detail = format!("a body may hold {values_max} values, each member and each item one");
        return Err(Problem::new(ProblemCode::TooManyValues).with_detail(detail));
    }
    Ok(extent.tree_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{BodyLimits, ByteBudget, read};
    use bytes::Bytes;
    use futures::{FutureExt, StreamExt, stream};

    fn limits(bytes: usize) -> BodyLimits {
        BodyLimits {
            budget: ByteBudget::new(bytes),
            ..BodyLimits::default()
        }
    }

    fn body(text: &str, limits: &BodyLimits) -> Body {
        let chunks = stream::iter([Ok(Bytes::copy_from_slice(text.as_bytes()))]).boxed();
        let read = read(chunks, None, text.len(), limits).now_or_never();
        read.expect("it is there").unwrap()
    }

    fn code(text: &str) -> ProblemCode {
        let mut body = body(text, &limits(64 << 20));
        parse(&mut body, VALUES_MAX, 1).unwrap_err().code
    }

    #[test]
    fn what_is_no_strict_json_is_a_400() {
        for body in [
            "",
            "{",
            r#"{"last_name":"x","last_name":"y"}"#,
            &"[".repeat(100_000),
            "\u{feff}{}",
        ] {
            assert_eq!(code(body), ProblemCode::InvalidJson);
        }
    }

    /// Texts of so many values, one for each kind of value.
    fn texts_of(values: usize) -> Vec<String> {
        let list = |item: &str, each: usize| vec![item; values / each].join(",");
        let members: Vec<_> = (1..values).map(|nth| format!(r#""{nth:x}":0"#)).collect();
        vec![
            format!("[{}]", list("0", 1)),
            format!("[{}]", list(r#""a""#, 1)),
            format!("[{}]", list("[0]", 2)),
            format!("[{}]", list("[]", 1)),
            format!("[{}]", list(r#"{"":0}"#, 2)),
            format!("[{}]", list(r#"{"a":{"a":{"a":0}}}"#, 4)),
            format!(r#"{{"x":{{{}}}}}"#, members.join(",")),
            format!("[ {} ]", list(" 0 ", 1)),
        ]
    }

    #[test]
    fn r43_one_value_too_many_is_refused_before_a_tree_is_built() {
        const MAX: usize = 4_000;
        let limits = limits(64 << 20);
        let all = limits.budget.left();
        for (fits, over) in texts_of(MAX).into_iter().zip(texts_of(MAX + 4)) {
            assert!(parse(&mut body(&fits, &limits), MAX, 1).is_ok(), "{fits:.40}");
            let mut body = body(&over, &limits);
            let refused = parse(&mut body, MAX, 1).unwrap_err();
            assert_eq!(
                (refused.code, refused.code.status()),
                (ProblemCode::TooManyValues, 422),
                "{over:.40}"
            );
            assert_eq!(limits.budget.left(), all - over.len(), "no room was taken for it");
        }
        assert_eq!(limits.budget.left(), all);
    }

    #[test]
    fn r43_what_could_never_have_room_is_refused_for_good() {
        let text = r#"{"x":[{"":0},{"":0}]}"#;
        let tree = Extent::of(text.as_bytes()).tree_bytes();
        let limits = limits(text.len() + 3 * tree);
        let refused = parse(&mut body(text, &limits), VALUES_MAX, 4).unwrap_err();
        assert_eq!(
            (refused.code, refused.retry_after_seconds),
            (ProblemCode::TooManyValues, None)
        );
        assert!(parse(&mut body(text, &limits), VALUES_MAX, 3).is_ok());
    }

    #[test]
    fn r43_a_tree_has_room_for_as_long_as_it_lives_or_is_not_built() {
        let text = r#"{"x":[{"":0},{"":0}]}"#;
        let tree = Extent::of(text.as_bytes()).tree_bytes();
        let limits = limits(2 * (text.len() + 3 * tree) + tree);
        let all = limits.budget.left();
        let (mut one, mut other) = (body(text, &limits), body(text, &limits));
        parse(&mut one, VALUES_MAX, 3).unwrap();
        parse(&mut other, VALUES_MAX, 3).unwrap();
        let third = body(text, &limits);
        let (bytes, held) = third.into_parts();
        let refused = reserve_tree(&bytes, &held, VALUES_MAX).unwrap_err();
        assert_eq!(
            (refused.code, refused.retry_after_seconds),
            (ProblemCode::Overloaded, Some(1))
        );
        drop(one);
        let room = reserve_tree(&bytes, &held, VALUES_MAX).unwrap();
        assert_eq!(limits.budget.left(), all - 2 * text.len() - 4 * tree);
        drop(room);
        assert_eq!(
            limits.budget.left(),
            all - 2 * text.len() - 3 * tree,
            "the body's own stays"
        );
        drop((other, held));
        assert_eq!(limits.budget.left(), all);
    }
}
