//! Checks a value without building it: by the same rules as the parser, without an allocation for each part of it.

use super::{JsonError, Rules};
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt};

/// A key as it stands in the text, or unescaped.
#[derive(Deserialize)]
pub(super) struct Key<'t>(#[serde(borrow)] Cow<'t, str>);

/// The keys of all objects that are open, the innermost object's last.
#[derive(Default)]
pub(super) struct Keys<'de>(Vec<Cow<'de, str>>);

/// One value that is checked.
pub(super) struct Skim<'r, 'de> {
    pub(super) rules: Rules<'r>,
    pub(super) keys: &'r mut Keys<'de>,
}

impl Key<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Key<'_>> for String {
    fn from(key: Key<'_>) -> Self {
        key.0.into_owned()
    }
}

impl<'de> Keys<'de> {
    pub(super) fn push(&mut self, key: Key<'de>) {
        self.0.push(key.0);
    }

    /// Removes the keys from `start` on; true if one of them occurs twice.
    pub(super) fn repeat_since(&mut self, start: usize) -> bool {
        self.0[start..].sort_unstable();
        let repeated = self.0[start..].windows(2).any(|pair| pair[0] == pair[1]);
        self.0.truncate(start);
        repeated
    }
}

impl<'de> DeserializeSeed<'de> for Skim<'_, 'de> {
    type Value = ();
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skim<'_, 'de> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: de::Error>(mut self, value: u64) -> Result<(), E> {
        self.rules.exact(value)
    }
    fn visit_i64<E: de::Error>(mut self, value: i64) -> Result<(), E> {
        self.rules.exact(value.unsigned_abs())
    }
    fn visit_f64<E: de::Error>(mut self, value: f64) -> Result<(), E> {
        self.rules.in_range(value)
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        loop {
            let rules = self.rules.deeper()?;
            let keys = &mut *self.keys;
            if items.next_element_seed(Skim { rules, keys })?.is_none() {
                return Ok(());
            }
        }
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let start = self.keys.0.len();
        while let Some(key) = members.next_key::<Key<'de>>()? {
            self.keys.push(key);
            let rules = self.rules.deeper()?;
            let keys = &mut *self.keys;
            members.next_value_seed(Skim { rules, keys })?;
        }
        if self.keys.repeat_since(start) {
            return Err(self.rules.refuse(JsonError::DuplicateKey));
        }
        Ok(())
    }
}
