//! Reading request bodies into typed values, with every broken rule at its JSON pointer.
//!
//! Shape and length are serde's and validator's; rules across fields follow in the domain. A message never quotes a
//! value: validator's own errors carry the offending one, so only field and code are taken from them.

use contract::FieldError;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};
use unicode_normalization::UnicodeNormalization;
use validator::{Validate, ValidationError, ValidationErrors, ValidationErrorsKind};

const WRONG_TYPE: &str = "has the wrong JSON type";

/// Reads a value of a request body and checks its validation rules.
pub fn read<T: DeserializeOwned + Serialize + Validate>(value: &Value) -> Result<T, Vec<FieldError>> {
    let typed: T = serde_path_to_error::deserialize(value)
        .map_err(|error| vec![shape_error(error.path(), &error.inner().to_string())])?;
    if let Some(pointer) = serde_json::to_value(&typed)
        .ok()
        .and_then(|read| array_for_object("", value, &read))
    {
        return Err(vec![FieldError::new(pointer, "wrong_type", WRONG_TYPE)]);
    }
    match typed.validate() {
        Ok(()) => Ok(typed),
        Err(broken) => {
            let mut errors = Vec::new();
            collect("", &broken, &mut errors);
            errors.sort_by(|one, other| one.pointer.cmp(&other.pointer));
            Err(errors)
        }
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
    refuse_if(text.chars().any(char::is_control), "control_character")
}

/// Validation rule: no control characters but line breaks and tabs.
pub fn free_text(text: &str) -> Result<(), ValidationError> {
    let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    refuse_if(text.chars().any(bad), "control_character")
}

/// Validation rule for key strings: one line, no white space at an edge, where binary collations would not see it.
pub fn key_text(text: &str) -> Result<(), ValidationError> {
    refuse_if(text.trim() != text, "space_at_edge")?;
    one_line(text)
}

fn refuse_if(broken: bool, code: &'static str) -> Result<(), ValidationError> {
    if broken {
        Err(ValidationError::new(code))
    } else {
        Ok(())
    }
}

/// A pointer one step further down (RFC 6901).
pub fn pointer_to(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn shape_error(path: &Path, message: &str) -> FieldError {
    let pointer = path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => pointer_to(&pointer, key),
        Segment::Enum { variant } => pointer_to(&pointer, variant),
        Segment::Unknown => pointer,
    });
    let (code, words) = if message.starts_with("unknown field") {
        ("unknown_field", "is not a field that can be set")
    } else if message.starts_with("missing field") {
        ("required", "a required field is missing")
    } else if message.starts_with("invalid type") {
        ("wrong_type", WRONG_TYPE)
    } else if message.starts_with("unknown variant") {
        ("unknown_value", "is none of the values that are allowed")
    } else if message.starts_with("not a date") {
        ("not_a_date", "is not a date (YYYY-MM-DD)")
    } else {
        ("invalid", "is not of the required form")
    };
    FieldError::new(pointer, code, words)
}

/// Where an array was read as an object: serde takes the items for the fields in their order.
fn array_for_object(pointer: &str, sent: &Value, read: &Value) -> Option<String> {
    match (sent, read) {
        (Value::Array(_), Value::Object(_)) => Some(pointer.to_owned()),
        (Value::Array(sent), Value::Array(read)) => sent
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(index, (sent, read))| array_for_object(&format!("{pointer}/{index}"), sent, read)),
        (Value::Object(sent), Value::Object(read)) => read
            .iter()
            .filter_map(|(name, read)| Some((name, sent.get(name)?, read)))
            .find_map(|(name, sent, read)| array_for_object(&pointer_to(pointer, name), sent, read)),
        _ => None,
    }
}

fn collect(parent: &str, broken: &ValidationErrors, errors: &mut Vec<FieldError>) {
    for (name, kind) in broken.errors() {
        let pointer = if name == "__all__" {
            parent.to_owned()
        } else {
            pointer_to(parent, name)
        };
        match kind {
            ValidationErrorsKind::Field(rules) => {
                errors.extend(rules.iter().map(|rule| rule_error(&pointer, rule)));
            }
            ValidationErrorsKind::Struct(inner) => collect(&pointer, inner, errors),
            ValidationErrorsKind::List(items) => {
                for (index, inner) in items {
                    collect(&format!("{pointer}/{index}"), inner, errors);
                }
            }
        }
    }
}

fn rule_error(pointer: &str, rule: &ValidationError) -> FieldError {
    let message = match rule.code.as_ref() {
        "required" => "is required",
        "length" => "is too short or too long",
        "range" => "is outside its range",
        "control_character" => "has a control character",
        "space_at_edge" => "has white space at an edge",
        _ => "is not of the required form",
    };
    FieldError::new(pointer, rule.code.as_ref(), message)
}

#[cfg(test)]
mod tests;
