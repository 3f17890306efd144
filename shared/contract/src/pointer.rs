//! JSON pointers (RFC 6901).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, str::FromStr};

/// The longest pointer, in bytes.
const POINTER_LEN_MAX: usize = 256;
/// The most steps of a pointer.
const STEPS_MAX: usize = 8;

/// A pointer to something inside a body; never the whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// The name of what it points to.
    pub fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// Its steps, at least one.
    pub fn steps(&self) -> &[String] {
        &self.0
    }

    /// What it points to. The index of an item is written without needless zeros.
    pub fn find<'v>(&self, body: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(body, |value, step| match value {
            Value::Object(members) => members.get(step),
            Value::Array(items) => items.get(index(step)?),
            _ => None,
        })
    }
}

impl FromStr for Pointer {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text.chars().any(char::is_control) {
            return Err("it holds a control character");
        }
        let rest = text.strip_prefix('/').ok_or("it must begin with / (RFC 6901)")?;
        let steps: Vec<_> = rest
            .split('/')
            .map(unescaped)
            .collect::<Option<_>>()
            .ok_or("behind ~ must stand 0 or 1 (RFC 6901)")?;
        if text.len() > POINTER_LEN_MAX || steps.len() > STEPS_MAX {
            return Err("it has more than 8 steps or 256 bytes");
        }
        Ok(Self(steps))
    }
}

/// The index of an item that a step means (RFC 6901, section 4).
pub fn index(step: &str) -> Option<usize> {
    let plain = step == "0" || !step.starts_with('0');
    let digits = step.bytes().all(|byte| byte.is_ascii_digit());
    (plain && digits).then(|| step.parse().ok())?
}

fn unescaped(step: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = step.chars();
    while let Some(character) = rest.next() {
        text.push(match character {
            '~' => match rest.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text)
}

impl TryFrom<String> for Pointer {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        text.parse()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|step| write!(out, "/{}", step.replace('~', "~0").replace('/', "~1")))
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pointer_is_followed_as_the_standard_says() {
        let body = json!({"a/b": 1, "m~n": 2, "": 3, "list": [{"x": 4}, 5], "none": null, "0": 6});
        for (pointer, expected) in [
            ("/a~1b", Some(json!(1))),
            ("/m~0n", Some(json!(2))),
            ("/", Some(json!(3))),
            ("/list/0/x", Some(json!(4))),
            ("/list/1", Some(json!(5))),
            ("/none", Some(Value::Null)),
            ("/0", Some(json!(6))),
            ("/list/01", None),
            ("/list/+1", None),
            ("/list/-", None),
            ("/list/2", None),
            ("/list/1/x", None),
            ("/absent", None),
        ] {
            let parsed: Pointer = pointer.parse().unwrap();
            assert_eq!(parsed.find(&body), expected.as_ref(), "{pointer}");
            assert_eq!(parsed.to_string(), pointer);
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        let long = format!("/{}", "x".repeat(256));
        for refused in ["", "a", "/a~", "/a~2", "/a\n", &"/a".repeat(9), &long] {
            assert!(refused.parse::<Pointer>().is_err(), "{refused}");
        }
        assert!("/a".repeat(8).parse::<Pointer>().is_ok());
        assert!(long[..256].parse::<Pointer>().is_ok());
    }
}
