//! Parses an object of which few members are needed: these are built, and the others only checked, at a fraction of the
//! cost.

use super::{
    JsonError, Rules, Strict, parse_as,
    skim::{Key, Keys, Skim},
};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// Which members of an object are built.
#[derive(Clone, Copy)]
pub enum Fields<'k> {
    /// All of them.
    All,
    /// These, whole.
    Only(&'k [&'k str]),
}

impl Fields<'_> {
    pub(super) fn has(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(&name),
        }
    }

    /// How many there can be, if that is known.
    pub(super) fn at_most(self) -> usize {
        match self {
            Self::All => 0,
            Self::Only(names) => names.len(),
        }
    }
}

/// Parses, as strictly as [`parse`](super::parse), a text that is an object, and returns the members with these names,
/// each at the index of its name; None where it is absent. Of the member `inner.0` only the fields `inner.1` are built.
/// None when the text is no object.
///
/// # Errors
/// As [`parse`](super::parse).
pub fn parse_members<const N: usize>(
    bytes: &[u8],
    names: &[&str; N],
    inner: (&str, Fields<'_>),
) -> Result<Option<[Option<Value>; N]>, JsonError> {
    parse_as(bytes, |rules, parser| {
        if bytes.trim_ascii_start().starts_with(b"{") {
            return parser.deserialize_map(Members { names, inner, rules }).map(Some);
        }
        let keys = &mut Keys::default();
        Skim { rules, keys }.deserialize(parser).map(|()| None)
    })
}

struct Members<'r, 'k, const N: usize> {
    names: &'k [&'k str; N],
    inner: (&'k str, Fields<'k>),
    rules: Rules<'r>,
}

impl<'de, const N: usize> Visitor<'de> for Members<'_, '_, N> {
    type Value = [Option<Value>; N];

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON object")
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = [const { None }; N];
        let mut dropped = Keys::default();
        while let Some(key) = members.next_key::<Key<'de>>()? {
            let place = self.names.iter().position(|name| *name == key.as_str());
            let rules = self.rules.deeper()?;
            let Some(place) = place else {
                let keys = &mut dropped;
                members.next_value_seed(Skim { rules, keys })?;
                dropped.push(key);
                continue;
            };
            let fields = if self.inner.0 == key.as_str() {
                self.inner.1
            } else {
                Fields::All
            };
            let value = members.next_value_seed(Strict { fields, rules })?;
            if found[place].replace(value).is_some() {
                return Err(self.rules.refuse(JsonError::DuplicateKey));
            }
        }
        if dropped.repeat_since(0) {
            return Err(self.rules.refuse(JsonError::DuplicateKey));
        }
        Ok(found)
    }
}
