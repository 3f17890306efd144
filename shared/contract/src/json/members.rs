//! Parses an object of which few members are needed: these are built, and the others only checked, at a fraction of the
//! cost.

use super::{
    JsonError, Rules, Strict, parse_as,
    skim::{Key, Keys, Skim},
};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
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
        Members { names, inner, rules }.deserialize(parser)
    })
}

struct Members<'r, 'k, const N: usize> {
    names: &'k [&'k str; N],
    inner: (&'k str, Fields<'k>),
    rules: Rules<'r>,
}

impl<'de, const N: usize> DeserializeSeed<'de> for Members<'_, '_, N> {
    type Value = Option<[Option<Value>; N]>;
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, const N: usize> Members<'_, '_, N> {
    /// A value that is no object, checked by the same rules.
    fn other<E>(
        self,
        check: impl FnOnce(Skim<'_, 'de>) -> Result<(), E>,
    ) -> Result<Option<[Option<Value>; N]>, E> {
        let keys = &mut Keys::default();
        check(Skim {
            rules: self.rules,
            keys,
        })
        .map(|()| None)
    }
}

impl<'de, const N: usize> Visitor<'de> for Members<'_, '_, N> {
    type Value = Option<[Option<Value>; N]>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.other(|skim| skim.visit_u64(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.other(|skim| skim.visit_i64(value))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.other(|skim| skim.visit_f64(value))
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        self.other(|skim| skim.visit_seq(items))
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
        Ok(Some(found))
    }
}
