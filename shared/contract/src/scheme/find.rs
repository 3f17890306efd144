//! How the values at a few JSON pointers are found in one pass over a body, without building it.

use crate::pointer::Pointer;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A value that is no array and no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Text(String),
    /// An integer.
    Integer(i128),
    /// A boolean, a fraction, an array or an object.
    Other,
}

/// The body is no JSON, or names what is asked for twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// The values at the pointers, each at its place; None where nothing or null stands.
pub(super) fn find(body: &[u8], pointers: &[&Pointer]) -> Result<Vec<Option<Scalar>>, Unreadable> {
    let mut found = vec![None; pointers.len()];
    let wanted = pointers
        .iter()
        .enumerate()
        .map(|(place, pointer)| (place, pointer.steps()))
        .collect();
    let text = std::str::from_utf8(body).map_err(|_| Unreadable)?;
    let mut parser = serde_json::Deserializer::from_str(text);
    let level = Level {
        wanted,
        found: &mut found,
    };
    level
        .deserialize(&mut parser)
        .and_then(|()| parser.end())
        .map_err(|_| Unreadable)?;
    Ok(found)
}

/// One value on the way, and what is wanted inside it.
struct Level<'p, 'f> {
    wanted: Vec<(usize, &'p [String])>,
    found: &'f mut Vec<Option<Scalar>>,
}

impl Level<'_, '_> {
    /// What is wanted inside the member of this name.
    fn inside<'s>(&'s mut self, name: &str) -> Option<Level<'s, 's>> {
        let wanted: Vec<_> = self
            .wanted
            .iter()
            .filter_map(|(place, steps)| match steps {
                [first, rest @ ..] if first == name => Some((*place, rest)),
                _ => None,
            })
            .collect();
        (!wanted.is_empty()).then_some(Level {
            wanted,
            found: &mut *self.found,
        })
    }

    fn note(&mut self, scalar: &Scalar) {
        for (place, _) in self.wanted.iter().filter(|(_, steps)| steps.is_empty()) {
            self.found[*place] = Some(scalar.clone());
        }
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.note(&Scalar::Other);
        let mut seen: Vec<String> = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            let Some(level) = self.inside(&name) else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            // Readers would differ on which of two counts.
            if seen.contains(&name) {
                return Err(de::Error::custom("twice"));
            }
            members.next_value_seed(level)?;
            seen.push(name);
        }
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.note(&Scalar::Other);
        for index in 0_usize.. {
            let more = match self.inside(&index.to_string()) {
                Some(level) => items.next_element_seed(level)?.is_some(),
                None => items.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
    fn visit_str<E: de::Error>(mut self, text: &str) -> Result<(), E> {
        self.note(&Scalar::Text(text.to_owned()));
        Ok(())
    }
    fn visit_i64<E: de::Error>(mut self, number: i64) -> Result<(), E> {
        self.note(&Scalar::Integer(number.into()));
        Ok(())
    }
    fn visit_u64<E: de::Error>(mut self, number: u64) -> Result<(), E> {
        self.note(&Scalar::Integer(number.into()));
        Ok(())
    }
    fn visit_f64<E: de::Error>(mut self, _: f64) -> Result<(), E> {
        self.note(&Scalar::Other);
        Ok(())
    }
    fn visit_bool<E: de::Error>(mut self, _: bool) -> Result<(), E> {
        self.note(&Scalar::Other);
        Ok(())
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }
}
