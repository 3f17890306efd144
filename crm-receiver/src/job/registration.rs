//! What is known of a job before its sender says anything: who asked for it, and for what.

use contract::{JobId, PropertyId, SourceId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use validator::{Validate, ValidationError};

/// The longest JSON text of a registration's `metadata`, in bytes.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// The longest `user_id`, in characters; the tables' column is as wide.
pub const USER_ID_LEN_MAX: usize = 128;
/// The members that are columns of the job, and so no details.
const COLUMNS: [&str; 4] = ["source", "job_id", "property_id", "user_id"];

/// A job that is registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Whose updates are about it.
    pub source: SourceId,
    /// How that source names it.
    pub job_id: JobId,
    /// The property that it is for.
    #[serde(default)]
    pub property_id: Option<PropertyId>,
    /// Who asked for it.
    #[serde(default)]
    #[validate(custom(function = "plain_user_id"))]
    pub user_id: Option<String>,
    /// What is to be made.
    #[serde(default)]
    #[validate(length(min = 1, max = 10_000))]
    pub prompt: Option<String>,
    /// How large.
    #[serde(default)]
    #[validate(length(min = 1, max = 64))]
    pub size: Option<String>,
    /// In which format.
    #[serde(default)]
    #[validate(length(min = 1, max = 64))]
    pub format: Option<String>,
    /// In which style.
    #[serde(default)]
    #[validate(length(min = 1, max = 64))]
    pub style: Option<String>,
    /// How well.
    #[serde(default)]
    #[validate(length(min = 1, max = 64))]
    pub quality: Option<String>,
    /// How many.
    #[serde(default)]
    #[validate(range(min = 1, max = 1_000))]
    pub count: Option<u32>,
    /// Anything else.
    #[serde(default)]
    #[validate(custom(function = "short_metadata"))]
    pub metadata: Option<Map<String, Value>>,
}

impl Registration {
    /// What of it only describes the job.
    pub fn details(&self) -> Map<String, Value> {
        let Ok(Value::Object(mut details)) = serde_json::to_value(self) else {
            unreachable!("a registration is an object");
        };
        details.retain(|name, _| !COLUMNS.contains(&name.as_str()));
        details
    }
}

/// Collations pad: with a space at an edge two ids could be equal to the database.
fn plain_user_id(id: &str) -> Result<(), ValidationError> {
    let is_plain = id.trim() == id && !id.chars().any(char::is_control);
    if is_plain && (1..=USER_ID_LEN_MAX).contains(&id.chars().count()) {
        return Ok(());
    }
    let message = "it must have 1 to 128 characters, no control character, and no space at an edge";
    Err(ValidationError::new("invalid").with_message(message.into()))
}

fn short_metadata(metadata: &Map<String, Value>) -> Result<(), ValidationError> {
    let text = serde_json::to_string(metadata).expect("it was read from JSON");
    if text.len() <= METADATA_BYTES_MAX {
        return Ok(());
    }
    let message = "as JSON it may be 16384 bytes long";
    Err(ValidationError::new("length").with_message(message.into()))
}
