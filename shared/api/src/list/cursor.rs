//! Cursors: where a page ended, unreadable, and bound to its list, filters and order.
//!
//! A page ends at the last row that was looked at, which its reader may not be allowed to see: so a cursor is encrypted, by
//! ChaCha20-Poly1305 (RFC 8439) under a key of the service, and nobody else can make one. Its associated data is what it is
//! bound to, so a cursor of another list, filter or order is refused. The nonce is a MAC of what is encrypted (as in a synthetic
//! IV, RFC 5297), so a position has one cursor.

use super::{ListSpec, Sort, SortKind};
use contract::{Problem, ProblemCode, UnixMillis, id::is_valid_id};
use data_encoding::BASE64URL_NOPAD;
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};

/// The longest cursor that is looked at.
const CURSOR_LEN_MAX: usize = 2048;

/// The key of a service's cursors, the same on every replica. The default is known to all who read this: it is for servers
/// that have no lists.
#[derive(Clone)]
pub struct CursorKey(Arc<Keys>);

struct Keys {
    encryption: LessSafeKey,
    nonces: hmac::Key,
}

impl CursorKey {
    /// From random bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        let derived = |purpose: &str| {
            Sha256::new()
                .chain_update(secret)
                .chain_update(purpose)
                .finalize()
        };
        let encryption = UnboundKey::new(&CHACHA20_POLY1305, &derived("cursor")).expect("a SHA-256 is a key");
        Self(Arc::new(Keys {
            encryption: LessSafeKey::new(encryption),
            nonces: hmac::Key::new(hmac::HMAC_SHA256, &derived("nonce")),
        }))
    }
}

impl Default for CursorKey {
    fn default() -> Self {
        Self::new(&[0; 32])
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("CursorKey")
    }
}

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

/// A digest of everything that a cursor is bound to, and the key.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    digest: [u8; 32],
    key: CursorKey,
}

impl Binding {
    /// `filters` in the order of the list's own table.
    pub(super) fn new(
        spec: &ListSpec,
        sort: Sort,
        filters: &[(&'static str, String)],
        updated_since: Option<UnixMillis>,
        key: &CursorKey,
    ) -> Self {
        let bound = serde_json::json!([
            spec.name,
            sort.field.name,
            sort.descending,
            filters,
            updated_since.map(i64::from)
        ]);
        Self {
            digest: Sha256::digest(bound.to_string()).into(),
            key: key.clone(),
        }
    }

    fn nonce(&self, position: &[u8]) -> [u8; NONCE_LEN] {
        let mac = hmac::sign(&self.key.0.nonces, &[&self.digest[..], position].concat());
        *mac.as_ref().first_chunk().expect("a MAC is longer")
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let key = &self.key.0.encryption;
        let opened = key.open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(&self.digest),
            &mut text,
        );
        opened.ok().map(|position| position.to_vec())
    }
}

pub(super) fn encode(position: &Position, binding: &Binding) -> String {
    let position = serde_json::to_vec(position).expect("a position is plain data");
    seal(&position, binding)
}

/// A cursor of these bytes, whatever they say.
pub(super) fn seal(position: &[u8], binding: &Binding) -> String {
    let (nonce, mut text) = (binding.nonce(position), position.to_vec());
    let key = &binding.key.0.encryption;
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(&binding.digest),
        &mut text,
    )
    .expect("a position is short");
    BASE64URL_NOPAD.encode(&[&nonce[..], &text].concat())
}

/// # Errors
/// 400 `invalid_cursor`.
pub(super) fn decode(text: &str, sort: Sort, binding: &Binding) -> Result<Position, Problem> {
    let refused = || Problem::new(ProblemCode::InvalidCursor);
    if text.len() > CURSOR_LEN_MAX {
        return Err(refused());
    }
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| refused())?;
    let position = binding.open(&bytes).ok_or_else(refused)?;
    let position: Position = serde_json::from_slice(&position).map_err(|_| refused())?;
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
