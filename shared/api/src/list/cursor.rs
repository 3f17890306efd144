//! Cursors: where a page ended, opaque and bound to its list, filters and order.
//!
//! A cursor is base64url of a digest and the position as JSON. The digest covers the binding and the position, so a
//! cursor that was altered, or that comes from another list, filter or order, is refused. It is no secret: a client
//! that computes one reaches only rows of the same list, within the filters and its own scope. A position has one
//! cursor: another spelling of the same JSON is refused too.

use super::{ListSpec, Sort, SortKind};
use contract::{Problem, ProblemCode, UnixMillis, id::is_valid_id};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The longest cursor that is looked at.
const CURSOR_LEN_MAX: usize = 2048;
/// Bytes of the digest in a cursor.
const DIGEST_LEN: usize = 12;

/// The value of the sort field in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SortKey {
    /// Of a [`SortKind::Int`] field.
    Int(i64),
    /// Of a [`SortKind::Text`] field.
    Text(String),
}

/// A row's position in the order: its sort key, then its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The sort field's value.
    #[serde(rename = "k")]
    pub key: SortKey,
    /// The row's id.
    #[serde(rename = "i")]
    pub id: String,
}

impl Position {
    /// A position in a list that is sorted by an integer.
    pub fn int(key: impl Into<i64>, id: impl Into<String>) -> Self {
        Self {
            key: SortKey::Int(key.into()),
            id: id.into(),
        }
    }

    /// A position in a list that is sorted by a text.
    pub fn text(key: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            key: SortKey::Text(key.into()),
            id: id.into(),
        }
    }
}

/// A digest of everything that a cursor is bound to.
#[derive(Clone, Debug)]
pub(super) struct Binding([u8; 32]);

impl Binding {
    /// `filters` in the order of the list's own table.
    pub(super) fn new(
        spec: &ListSpec,
        sort: Sort,
        filters: &[(&'static str, String)],
        updated_since: Option<UnixMillis>,
    ) -> Self {
        let bound = serde_json::json!([
            spec.name,
            sort.field.name,
            sort.descending,
            filters,
            updated_since.map(i64::from)
        ]);
        Self(Sha256::digest(bound.to_string()).into())
    }

    fn digest(&self, position: &[u8]) -> [u8; DIGEST_LEN] {
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update(position)
            .finalize();
        *digest.first_chunk().expect("a SHA-256 is longer")
    }
}

pub(super) fn encode(position: &Position, binding: &Binding) -> String {
    let position = serde_json::to_vec(position).expect("a position is plain data");
    seal(&position, binding)
}

/// A cursor of these bytes, whatever they say.
pub(super) fn seal(position: &[u8], binding: &Binding) -> String {
    BASE64URL_NOPAD.encode(&[&binding.digest(position)[..], position].concat())
}

/// # Errors
/// 400 `invalid_cursor`.
pub(super) fn decode(text: &str, sort: Sort, binding: &Binding) -> Result<Position, Problem> {
    let refused = || Problem::new(ProblemCode::InvalidCursor);
    if text.len() > CURSOR_LEN_MAX {
        return Err(refused());
    }
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| refused())?;
    let (digest, position) = bytes.split_at_checked(DIGEST_LEN).ok_or_else(refused)?;
    if digest != binding.digest(position) {
        return Err(refused());
    }
    let position: Position = serde_json::from_slice(position).map_err(|_| refused())?;
    let fits = match position.key {
        SortKey::Int(_) => sort.field.kind == SortKind::Int,
        SortKey::Text(_) => sort.field.kind == SortKind::Text,
    };
    if fits && is_valid_id(&position.id) && encode(&position, binding) == text {
        Ok(position)
    } else {
        Err(refused())
    }
}
