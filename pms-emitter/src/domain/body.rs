//! Reading request bodies into typed values, with every broken rule at its JSON pointer.
//!
//! Shape and length are serde's and validator's; rules across fields follow in the domain. A message never quotes a
//! value.

use contract::FieldError;
pub use kit::shape::pointer_to;
use kit::shape::{field_errors, fit};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;
use validator::{Validate, ValidationError};

const CONTROL_CHARACTER: (&str, &str) = ("control_character", "it has a control character");

/// Reads a value of a request body and checks its validation rules.
pub fn read<T: DeserializeOwned + Serialize + Validate>(value: &Value) -> Result<T, Vec<FieldError>> {
    let typed: T = fit(value).map_err(|misfit| vec![misfit])?;
    match typed.validate() {
        Ok(()) => Ok(typed),
        Err(broken) => Err(field_errors(&broken)),
    }
}

/// Merges a patch into a value (RFC 7396): objects merge, null removes, everything else replaces.
pub fn merge_patch(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(members) = target {
        for (name, value) in patch {
            if value.is_null() {
                members.remove(&name);
            } else {
                merge_patch(members.entry(name).or_insert(Value::Null), value);
            }
        }
    }
}

/// Takes out the fields of our own answers that no client sets, so that GET, edit, PUT works.
pub fn drop_read_only(body: &mut Map<String, Value>, names: &[&str]) {
    for name in names {
        body.remove(*name);
    }
}

/// For `deserialize_with`: text in NFC without white space at its edges; blank means absent.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| tidy(&text)).filter(|text| !text.is_empty()))
}

/// For `deserialize_with`: text that must be there, in NFC, without white space at its edges; blank stays blank.
pub fn required_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| tidy(&text))
}

/// NFC, without white space at its edges.
pub fn tidy(text: &str) -> String {
    text.trim().nfc().collect()
}

/// Validation rule: one line, without control characters.
pub fn one_line(text: &str) -> Result<(), ValidationError> {
    refuse_if(text.chars().any(char::is_control), CONTROL_CHARACTER)
}

/// Validation rule: no control characters but line breaks and tabs.
pub fn free_text(text: &str) -> Result<(), ValidationError> {
    let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    refuse_if(text.chars().any(bad), CONTROL_CHARACTER)
}

/// Validation rule for key strings: one line, no white space at an edge, where binary collations would not see it.
pub fn key_text(text: &str) -> Result<(), ValidationError> {
    refuse_if(
        text.trim() != text,
        ("space_at_edge", "it has white space at an edge"),
    )?;
    one_line(text)
}

fn refuse_if(broken: bool, (code, words): (&'static str, &'static str)) -> Result<(), ValidationError> {
    if broken {
        Err(ValidationError::new(code).with_message(words.into()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
