//! The fingerprint of a body: a salted digest that distinguishes two bodies under one key without storing them.
//!
//! An unsalted digest of personal data could be guessed from a list of people, so each row has a random salt of its
//! own, and erasure drops both. Pure: the salt is a parameter.

use sha2::{Digest, Sha256};

/// Bytes of a row's salt.
pub const SALT_LEN: usize = 16;

/// SHA-256 over a salt and a raw body, beside that salt. `Debug` shows neither.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    salt: [u8; SALT_LEN],
    digest: [u8; 32],
}

impl Fingerprint {
    /// The fingerprint of a body with a new salt.
    pub fn of(salt: [u8; SALT_LEN], body: &[u8]) -> Self {
        let digest = Sha256::new()
            .chain_update(salt)
            .chain_update(body)
            .finalize()
            .into();
        Self { salt, digest }
    }

    /// The fingerprint that a row holds; None when either part is of another length.
    pub fn from_columns(salt: &[u8], digest: &[u8]) -> Option<Self> {
        Some(Self {
            salt: salt.try_into().ok()?,
            digest: digest.try_into().ok()?,
        })
    }

    /// Whether `body` is the one that this was made of.
    pub fn matches(&self, body: &[u8]) -> bool {
        Self::of(self.salt, body) == *self
    }

    /// The salt's bytes.
    pub fn salt(&self) -> &[u8; SALT_LEN] {
        &self.salt
    }

    /// The digest's bytes.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Fingerprint(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_body_has_as_many_fingerprints_as_salts() {
        let (one, other) = (
            Fingerprint::of([1; SALT_LEN], b"body"),
            Fingerprint::of([2; SALT_LEN], b"body"),
        );
        assert_ne!(one, other);
        assert!(one.matches(b"body") && other.matches(b"body"));
        assert!(!one.matches(b"body ") && !one.matches(b""));
        assert_eq!(Fingerprint::from_columns(one.salt(), one.digest()), Some(one));
        assert_eq!(Fingerprint::from_columns(&[1; 15], one.digest()), None);
    }
}
