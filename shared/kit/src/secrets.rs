//! Secrets in tables: encrypted under a master key that no table has, each bound to its place.
//!
//! A sealed secret is `version, key id, nonce, ciphertext and tag` of ChaCha20-Poly1305 (RFC 8439). Table, column and row are
//! its associated data, so a ciphertext that is moved to another row does not open. A master key is named by the first bytes of
//! its digest, so several may be known while one is replaced: the first seals, any of them opens, and [`rewrap`] seals
//! everything again under the first.

mod check;
mod rewrap;

pub use check::{CheckError, check, is_sealed};
pub use rewrap::{Rewrapped, SealedColumn, rewrap, sealed_row};

use contract::Entropy;
use data_encoding::BASE64;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};
use std::{str::FromStr, sync::Arc};

/// The version of the layout.
const VERSION: u8 = 1;
/// Bytes of a key.
const KEY_LEN: usize = 32;
/// Bytes of a key's name.
const KEY_ID_LEN: usize = 4;
/// Bytes before the ciphertext.
const HEAD_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;
/// Master keys at once, at most.
const KEYS_MAX: usize = 8;

/// The keys that seal secrets, the first, and open them, all.
#[derive(Clone)]
pub struct MasterKeys(Arc<[MasterKey]>);

struct MasterKey {
    id: [u8; KEY_ID_LEN],
    key: LessSafeKey,
}

/// Where a sealed secret stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'p> {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The row, by its id, or by that of its owner and its own: [`sealed_row`].
    pub row: &'p str,
}

/// Why a text is no list of master keys. It quotes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be the base64 of 32 bytes, or up to {KEYS_MAX} of them, separated by spaces")]
pub struct InvalidMasterKeys;

/// A sealed secret that none of the keys opens at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret does not open: another master key sealed it, or it was changed or moved")]
pub struct Unopened;

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "MasterKeys({})", self.0.len())
    }
}

impl FromStr for MasterKeys {
    type Err = InvalidMasterKeys;
    fn from_str(text: &str) -> Result<Self, InvalidMasterKeys> {
        let keys = text.split_whitespace().map(|text| {
            let bytes = BASE64.decode(text.as_bytes()).map_err(|_| InvalidMasterKeys)?;
            MasterKey::new(&bytes).ok_or(InvalidMasterKeys)
        });
        let keys: Arc<[MasterKey]> = keys.collect::<Result<_, _>>()?;
        let valid = (1..=KEYS_MAX).contains(&keys.len());
        valid.then_some(Self(keys)).ok_or(InvalidMasterKeys)
    }
}

impl MasterKey {
    fn new(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; KEY_LEN] = bytes.try_into().ok()?;
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&Sha256::digest(bytes)[..KEY_ID_LEN]);
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).ok()?;
        Some(Self {
            id,
            key: LessSafeKey::new(key),
        })
    }
}

impl MasterKeys {
    /// Writes 32 bytes as a key.
    pub fn spell(bytes: &[u8]) -> String {
        BASE64.encode(bytes)
    }

    /// Seals a secret under the first key, for one place. The nonce is random: a key may seal four thousand million secrets.
    pub fn seal(&self, place: Place<'_>, secret: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let MasterKey { id, key } = &self.0[0];
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut sealed = [&[VERSION][..], id, &nonce].concat();
        let mut text = secret.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place.aad(), &mut text)
            .expect("a secret is shorter than what the cipher takes");
        sealed.extend(text);
        sealed
    }

    /// Opens a secret that was sealed for this place.
    ///
    /// # Errors
    /// When none of the keys opens it here.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        let (head, text) = sealed.split_at_checked(HEAD_LEN).ok_or(Unopened)?;
        let (id, nonce) = head[1..].split_at(KEY_ID_LEN);
        let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_| Unopened)?;
        let known = self.0.iter().filter(|known| head[0] == VERSION && known.id == id);
        for MasterKey { key, .. } in known {
            let mut text = text.to_vec();
            let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), place.aad(), &mut text);
            if let Ok(secret) = opened {
                return Ok(secret.to_vec());
            }
        }
        Err(Unopened)
    }

    /// Whether a secret is sealed under the first key.
    fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.get(1..1 + KEY_ID_LEN) == Some(&self.0[0].id)
    }
}

impl Place<'_> {
    /// Names of tables and columns, and ids, have no zero byte.
    fn aad(&self) -> Aad<Vec<u8>> {
        let Self { table, column, row } = self;
        Aad::from([table, "\0", column, "\0", row].concat().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemEntropy;

    fn keys(bytes: &[u8]) -> MasterKeys {
        let texts: Vec<String> = bytes
            .iter()
            .map(|byte| MasterKeys::spell(&[*byte; KEY_LEN]))
            .collect();
        texts.join(" ").parse().unwrap()
    }

    const HERE: Place<'static> = Place {
        table: "source_secrets",
        column: "sealed",
        row: "sec_1",
    };

    #[test]
    fn a_secret_opens_at_its_place_under_any_known_key_and_nowhere_else() {
        let (old, both, new) = (keys(&[1]), keys(&[2, 1]), keys(&[2]));
        let sealed = old.seal(HERE, b"whsec_canary", &SystemEntropy);
        assert!(!sealed.windows(6).any(|part| part == b"canary"));
        assert_eq!(both.open(HERE, &sealed).unwrap(), b"whsec_canary");
        assert_eq!(new.open(HERE, &sealed), Err(Unopened));
        assert!(old.is_current(&sealed) && !both.is_current(&sealed));
        for place in [
            Place { row: "sec_2", ..HERE },
            Place {
                column: "other",
                ..HERE
            },
            Place {
                table: "endpoints",
                ..HERE
            },
        ] {
            assert_eq!(both.open(place, &sealed), Err(Unopened), "{place:?}");
        }
    }

    #[test]
    fn every_byte_of_a_sealed_secret_counts_and_no_two_are_equal() {
        let keys = keys(&[7]);
        let sealed = keys.seal(HERE, b"secret", &SystemEntropy);
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(keys.open(HERE, &changed), Err(Unopened), "{index}");
            assert_eq!(keys.open(HERE, &sealed[..index]), Err(Unopened), "{index}");
        }
        assert_ne!(keys.seal(HERE, b"secret", &SystemEntropy), sealed);
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused() {
        let key = MasterKeys::spell(&[1; KEY_LEN]);
        for bad in [
            "",
            " ",
            "short",
            &MasterKeys::spell(&[1; 31]),
            &MasterKeys::spell(&[1; 33]),
            &vec![key; 9].join(" "),
        ] {
            assert!(bad.parse::<MasterKeys>().is_err(), "{bad}");
        }
    }
}
