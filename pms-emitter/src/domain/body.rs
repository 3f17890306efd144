//! Reading request bodies into typed values, with every broken rule at its JSON pointer.
//!
//! Shape and length are serde's and validator's; rules across fields follow in the domain. A message never quotes a
//! value.

pub use contract::text::tidy;
use contract::{
    FieldError,
    text::{has_invisible, trim_invisible},
};
pub use kit::shape::pointer_to;
use kit::shape::{field_errors, fit};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use validator::{Validate, ValidationError};

const CONTROL_CHARACTER: (&str, &str) = ("control_character", "it has a control character");
const INVISIBLE_CHARACTER: (&str, &str) = ("invisible_character", "it has an invisible character");
const REQUIRED: (&str, &str) = ("required", "there is nothing to be seen in it");

/// The fields in which an invisible character is refused, at an edge too: what is seen is not what is sent to.
const EXACT_FIELDS: [&str; 1] = ["email"];

/// Reads a value of a request body and checks its validation rules.
pub fn read<T: DeserializeOwned + Serialize + Validate>(value: &Value) -> Result<T, Vec<FieldError>> {
    read_patched(value, |_| true)
}

/// Reads a record with a patch merged into it. Only the members that the patch sends are held to the validation rules: the
/// others were taken under the rules of their time, and no patch of something else is refused for them.
pub fn read_patched<T: DeserializeOwned + Serialize + Validate>(
    value: &Value,
    is_sent: impl Fn(&str) -> bool,
) -> Result<T, Vec<FieldError>> {
    let typed: T = fit(value).map_err(|misfit| vec![misfit])?;
    let mut errors = match typed.validate() {
        Ok(()) => Vec::new(),
        Err(broken) => field_errors(&broken),
    };
    errors.retain(|error| is_sent(member_of(&error.pointer)));
    if errors.is_empty() { Ok(typed) } else { Err(errors) }
}

/// The member of the body that a pointer leads into.
fn member_of(pointer: &str) -> &str {
    pointer.split('/').nth(1).unwrap_or_default()
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

/// Removes the invisible characters at the edges of every text in a body, which come with pasted text. What is inside a text is
/// checked by its field.
pub fn trim_edges(body: &mut Map<String, Value>) {
    for (name, value) in body {
        if !EXACT_FIELDS.contains(&name.as_str()) {
            trim_value(value);
        }
    }
}

fn trim_value(value: &mut Value) {
    match value {
        Value::String(text) => {
            let trimmed = trim_invisible(text);
            if trimmed.len() < text.len() {
                *text = trimmed.to_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(trim_value),
        Value::Object(members) => trim_edges(members),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// For `deserialize_with`: text that is tidy (see [`tidy`]); one without a visible character is absent.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| tidy(&text)).filter(|text| !text.is_empty()))
}

/// For `deserialize_with`: text without white space at its edges, and else as it was sent; blank means absent.
pub fn exact_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty()))
}

/// For `deserialize_with`: text that must be there, and tidy; one without a visible character stays, empty.
pub fn required_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| tidy(&text))
}

/// For `deserialize_with`: texts, each of them tidy.
pub fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    Ok(texts.iter().map(|text| tidy(text)).collect())
}

/// Validation rule: there is a visible character.
pub fn filled(text: &str) -> Result<(), ValidationError> {
    refuse_if(text.is_empty(), REQUIRED)
}

/// Validation rule: every character is visible.
pub fn all_visible(text: &str) -> Result<(), ValidationError> {
    refuse_if(has_invisible(text), INVISIBLE_CHARACTER)
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

/// Validation rule for key strings: one line, no white space at an edge, where binary collations would not see it, and
/// nothing that a person who compares two keys would not see.
pub fn key_text(text: &str) -> Result<(), ValidationError> {
    filled(text)?;
    all_visible(text)?;
    refuse_if(
        text.trim() != text,
        ("space_at_edge", "it has white space at an edge"),
    )?;
    one_line(text)
}

fn refuse_if(broken: bool, (code, message): (&'static str, &'static str)) -> Result<(), ValidationError> {
    if broken {
        Err(ValidationError::new(code).with_message(message.into()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
