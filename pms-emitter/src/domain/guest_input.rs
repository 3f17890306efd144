//! A guest as a request sends it: the shapes and lengths of its fields. What the values mean is checked by `guest_rules`.
//!
//! The aliases of the API (`name`, `country`) are resolved here, before a patch is merged, so that nothing behind this
//! module knows them.

use super::{
    body::{
        all_visible, exact_text, filled, free_text, key_text, one_line, required_text, text, texts, tidy,
    },
    guest::{ConsentChannel, ConsentStatus},
    refusal::Refusal,
};
use contract::{FieldError, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use validator::Validate;

/// The longest part of a name, in characters.
pub const NAME_LEN_MAX: u64 = 100;
/// The longest line of an address, in characters.
const LINE_LEN_MAX: u64 = 200;
/// The longest code or short text, in characters; the column of `system_name` is as wide.
const CODE_LEN_MAX: u64 = 64;
/// The longest id in another system, in characters; its column is as wide.
const EXTERNAL_ID_LEN_MAX: u64 = 128;
/// The longest notes, in characters.
const NOTES_LEN_MAX: u64 = 4000;
/// The most items of any one list.
const ITEMS_MAX: u64 = 50;
/// The highest VIP level.
const VIP_LEVEL_MAX: u8 = 9;

/// Fields of our own answers that a client may send back and that change nothing.
pub const READ_ONLY: &[&str] = &[
    "id",
    "version",
    "status",
    "merged_into",
    "email_kind",
    "created_at",
    "updated_at",
    "deleted_at",
    "warnings",
];

/// A whole guest as a request sends it.
#[derive(Deserialize, Serialize, Validate)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
#[expect(missing_docs, reason = "the fields are those of GuestDetails")]
pub struct GuestInput {
    #[validate(length(max = ITEMS_MAX), nested)]
    pub external_ids: Vec<ExternalIdInput>,
    #[serde(deserialize_with = "text")]
    #[validate(length(max = CODE_LEN_MAX), custom(function = one_line))]
    pub title: Option<String>,
    #[serde(deserialize_with = "text")]
    #[validate(length(max = NAME_LEN_MAX), custom(function = one_line))]
    pub first_name: Option<String>,
    #[serde(deserialize_with = "text")]
    #[validate(required, length(max = NAME_LEN_MAX), custom(function = one_line))]
    pub last_name: Option<String>,
    #[serde(deserialize_with = "text")]
    #[validate(length(max = NAME_LEN_MAX), custom(function = one_line))]
    pub second_last_name: Option<String>,
    #[serde(deserialize_with = "exact_text")]
    #[validate(custom(function = all_visible))]
    pub email: Option<String>,
    #[serde(deserialize_with = "exact_text")]
    pub phone: Option<String>,
    #[serde(deserialize_with = "text")]
    pub date_of_birth: Option<String>,
    #[serde(deserialize_with = "text")]
    pub nationality: Option<String>,
    #[validate(nested)]
    pub address: Option<AddressInput>,
    #[serde(deserialize_with = "text")]
    pub language: Option<String>,
    #[validate(length(max = ITEMS_MAX), nested)]
    pub documents: Vec<DocumentInput>,
    #[validate(length(max = ITEMS_MAX), nested)]
    pub loyalty: Vec<LoyaltyInput>,
    #[validate(range(max = VIP_LEVEL_MAX))]
    pub vip_level: Option<u8>,
    pub blacklisted: bool,
    #[validate(length(max = ITEMS_MAX), nested)]
    pub consent: Vec<ConsentInput>,
    #[serde(deserialize_with = "texts")]
    #[validate(length(max = ITEMS_MAX))]
    pub preferences: Vec<String>,
    #[serde(deserialize_with = "text")]
    #[validate(length(max = NOTES_LEN_MAX), custom(function = free_text))]
    pub notes: Option<String>,
}

/// An id in another system.
#[derive(Deserialize, Serialize, Validate)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of ExternalId")]
pub struct ExternalIdInput {
    #[validate(length(max = CODE_LEN_MAX), custom(function = key_text))]
    pub system: String,
    #[validate(length(max = EXTERNAL_ID_LEN_MAX), custom(function = key_text))]
    pub value: String,
}

/// An address.
#[derive(Deserialize, Serialize, Validate, Default)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of Address")]
pub struct AddressInput {
    #[serde(deserialize_with = "text")]
    #[validate(length(max = LINE_LEN_MAX), custom(function = one_line))]
    pub line1: Option<String>,
    #[serde(deserialize_with = "text")]
    #[validate(length(max = LINE_LEN_MAX), custom(function = one_line))]
    pub line2: Option<String>,
    #[serde(deserialize_with = "text")]
    #[validate(length(max = LINE_LEN_MAX), custom(function = one_line))]
    pub city: Option<String>,
    #[serde(deserialize_with = "text")]
    #[validate(length(max = LINE_LEN_MAX), custom(function = one_line))]
    pub region: Option<String>,
    #[serde(deserialize_with = "text")]
    #[validate(length(max = CODE_LEN_MAX), custom(function = one_line))]
    pub postal_code: Option<String>,
    #[serde(deserialize_with = "text")]
    pub country: Option<String>,
}

/// A document.
#[derive(Deserialize, Serialize, Validate)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of Document")]
pub struct DocumentInput {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, deserialize_with = "text")]
    pub issuing_country: Option<String>,
    #[serde(deserialize_with = "required_text")]
    #[validate(length(max = CODE_LEN_MAX), custom(function = filled), custom(function = one_line))]
    pub number: String,
    #[serde(default, deserialize_with = "text")]
    pub expires_on: Option<String>,
}

/// A membership.
#[derive(Deserialize, Serialize, Validate)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of Loyalty")]
pub struct LoyaltyInput {
    #[serde(deserialize_with = "required_text")]
    #[validate(length(max = CODE_LEN_MAX), custom(function = filled), custom(function = one_line))]
    pub programme: String,
    #[serde(deserialize_with = "required_text")]
    #[validate(length(max = CODE_LEN_MAX), custom(function = filled), custom(function = one_line))]
    pub number: String,
    #[serde(default, deserialize_with = "text")]
    #[validate(length(max = CODE_LEN_MAX), custom(function = one_line))]
    pub level: Option<String>,
}

/// A consent; without an instant it keeps the one that it had, or is given now.
#[derive(Deserialize, Serialize, Validate)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of Consent")]
pub struct ConsentInput {
    pub channel: ConsentChannel,
    pub status: ConsentStatus,
    #[serde(default)]
    pub at: Option<UnixMillis>,
    #[serde(default, deserialize_with = "text")]
    #[validate(length(max = CODE_LEN_MAX), custom(function = one_line))]
    pub source: Option<String>,
}

/// Which aliases a request used, so that errors point at what was sent.
#[derive(Clone, Copy, Default)]
pub struct Aliases {
    name: bool,
    country: bool,
}

impl Aliases {
    /// Resolves `name` into first and last name, split at its last space, and `country` into `address.country`. An
    /// alias beside what it stands for is refused.
    pub fn resolve(request: &mut Map<String, Value>) -> Result<Self, Refusal> {
        let mut used = Self::default();
        if let Some(name) = request.remove("name") {
            used.name = true;
            if request.contains_key("first_name") || request.contains_key("last_name") {
                return Err(conflict("/name", "stands beside first_name or last_name"));
            }
            let (first, last) = match name {
                Value::String(name) => split_name(&name),
                Value::Null => (Value::Null, Value::Null),
                _ => return Err(Refusal::field("/name", "wrong_type", "has the wrong JSON type")),
            };
            request.insert("first_name".to_owned(), first);
            request.insert("last_name".to_owned(), last);
        }
        if let Some(country) = request.remove("country") {
            used.country = true;
            let address = request.entry("address").or_insert(Value::Null);
            if address.is_null() {
                *address = Value::Object(Map::new());
            }
            if let Value::Object(address) = address
                && address.insert("country".to_owned(), country).is_some()
            {
                return Err(conflict("/country", "stands beside address.country"));
            }
        }
        Ok(used)
    }

    /// The errors, pointing at the aliases that were sent.
    pub fn restore(self, mut errors: Vec<FieldError>) -> Vec<FieldError> {
        for error in &mut errors {
            match error.pointer.as_str() {
                "/first_name" | "/last_name" if self.name => error.pointer = "/name".to_owned(),
                "/address/country" if self.country => error.pointer = "/country".to_owned(),
                _ => {}
            }
        }
        errors.dedup();
        errors
    }
}

fn conflict(pointer: &str, message: &str) -> Refusal {
    Refusal::field(pointer, "conflict", message)
}

/// First and last name; the first is null when there is only one word.
fn split_name(name: &str) -> (Value, Value) {
    let name = tidy(name);
    match name.rsplit_once(char::is_whitespace) {
        Some((first, last)) => (first.trim_end().into(), last.into()),
        None => (Value::Null, name.into()),
    }
}
