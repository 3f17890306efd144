//! The number of values in a JSON text, counted in one pass over its bytes before a tree is built.
//!
//! A body of 256 KiB can be 75,000 tiny values, and a tree of them a hundred times as large. So the values are counted
//! first: too many are refused, and memory is reserved for the tree otherwise.

use super::DEPTH_MAX;
use memchr::memchr2;
use serde_json::Value;

/// The most memory of a value in a tree, without its text and the first allocation of its container: its part of a
/// buffer that has doubled, for an object's member also its index and its key, and the allocation of its text. The most
/// expensive kind is a member with a key and a text; `json_cost` in this crate's tests measures all kinds.
const VALUE_BYTES: usize = 4 * size_of::<Value>();

/// The most memory of an object or a list without its values as soon as it has one: the first allocations of an object
/// hold three members and their indexes.
const CONTAINER_BYTES: usize = 512;

/// The counts of a text. For a text that is no JSON they are at least what a parser builds before it fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Members and items, at every level.
    pub values: usize,
    /// Objects and lists that are not empty.
    pub containers: usize,
    text_bytes: usize,
}

impl Extent {
    /// Counts the values of a text. It stops where the text is nested deeper than [`DEPTH_MAX`], as the parser does.
    pub fn of(text: &[u8]) -> Self {
        let mut extent = Self {
            text_bytes: text.len(),
            ..Self::default()
        };
        let (mut at, mut depth) = (0, 0_usize);
        // Whether a container was opened and has no value yet.
        let mut opened = false;
        while let Some(&byte) = text.get(at) {
            at += 1;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {}
                b',' => extent.values += 1,
                b'}' | b']' => {
                    opened = false;
                    depth = depth.saturating_sub(1);
                }
                _ => {
                    extent.values += usize::from(opened);
                    extent.containers += usize::from(opened);
                    opened = matches!(byte, b'{' | b'[');
                    if opened {
                        depth += 1;
                        if depth > DEPTH_MAX {
                            break;
                        }
                    } else if byte == b'"' {
                        at = end_of_text(text, at);
                    }
                }
            }
        }
        extent
    }

    /// The most bytes of memory of the tree of this text.
    pub const fn tree_bytes(self) -> usize {
        self.text_bytes + self.values * VALUE_BYTES + self.containers * CONTAINER_BYTES
    }
}

/// The place behind the quotation mark that ends a text which begins at `at`.
fn end_of_text(text: &[u8], mut at: usize) -> usize {
    while let Some(rest) = text.get(at..) {
        match memchr2(b'"', b'\\', rest) {
            Some(found) if rest[found] == b'"' => return at + found + 1,
            Some(found) => at += found + 2,
            None => break,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use proptest::prelude::*;

    /// Values and containers of a tree.
    fn of_tree(value: &Value) -> (usize, usize) {
        let (own, inner): (usize, Vec<_>) = match value {
            Value::Array(items) => (items.len(), items.iter().map(of_tree).collect()),
            Value::Object(members) => (members.len(), members.values().map(of_tree).collect()),
            _ => (0, Vec::new()),
        };
        let containers = usize::from(own > 0);
        inner
            .into_iter()
            .fold((own, containers), |sum, inner| (sum.0 + inner.0, sum.1 + inner.1))
    }

    fn counted(text: &str) -> (usize, usize) {
        let extent = Extent::of(text.as_bytes());
        (extent.values, extent.containers)
    }

    #[test]
    fn r43_every_member_and_every_item_is_one_value() {
        for (text, values, containers) in [
            ("7", 0, 0),
            (r#""a,b[{""#, 0, 0),
            ("{}", 0, 0),
            ("[ ]", 0, 0),
            ("[[],{}]", 2, 1),
            (r#"{"a":1,"b":[1,2,3]}"#, 5, 2),
            (r#"{"x":[{"":0},{"":0}]}"#, 5, 4),
            (r#" { "a" : [ null , true , "x,y" ] } "#, 4, 2),
            (r#"{"a\"b,":"\\","c":"\",{["}"#, 2, 1),
            ("[\"\u{20000},\"]", 1, 1),
        ] {
            assert_eq!(counted(text), (values, containers), "{text}");
            assert_eq!(
                of_tree(&parse(text.as_bytes()).unwrap()),
                (values, containers),
                "{text}"
            );
        }
    }

    #[test]
    fn r43_counting_ends_where_the_parser_does() {
        let deep = "[".repeat(100_000);
        assert_eq!(counted(&deep), (DEPTH_MAX, DEPTH_MAX));
        for broken in ["", "\"", "\"\\", "{\"a", "]]]]", "[,", "{\"a\":1}}}}{"] {
            assert!(Extent::of(broken.as_bytes()).values <= 2, "{broken}");
        }
    }

    fn trees() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 128, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn r43_what_is_counted_is_what_is_built(tree in trees()) {
            prop_assert_eq!(counted(&tree.to_string()), of_tree(&tree));
            prop_assert_eq!(counted(&serde_json::to_string_pretty(&tree).unwrap()), of_tree(&tree));
        }
    }
}
