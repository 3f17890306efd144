//! The sender's half: the header lines that prove a delivery under a scheme.

use super::{
    Algorithm, Key, Place, Scheme,
    definition::{Definition, SignatureRule},
};
use crate::{
    clock::UnixSeconds,
    id::IdempotencyKey,
    secret::{Secret, SecretError},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::Ed25519KeyPair;
use std::{fmt, sync::Arc};

/// What a private key of Standard Webhooks begins with.
const PRIVATE_PREFIX: &str = "whsk_";
/// The seed; a public key may follow it.
const SEED_LEN: usize = 32;

/// What a sender signs with. Clones share the key pair.
#[derive(Clone)]
pub enum SigningKey {
    /// The receiver has the same one.
    Shared(Key),
    /// The receiver has the public half.
    Private(Arc<Ed25519KeyPair>),
}

impl From<Secret> for SigningKey {
    fn from(secret: Secret) -> Self {
        Self::Shared(secret.into())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SigningKey(..)")
    }
}

impl Scheme {
    /// The key that signs, as a sender's own text says it: a secret, or for Ed25519 `whsk_` and the base64 of the seed, or of
    /// the seed and the public key.
    ///
    /// # Errors
    /// What is wrong with it; the text is never quoted.
    pub fn signing_key(&self, text: &str) -> Result<SigningKey, SecretError> {
        let Some(encoded) = text.strip_prefix(PRIVATE_PREFIX) else {
            return self.key(text).map(SigningKey::Shared);
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| SecretError::PrivateKey)?;
        let pair = match bytes.split_at_checked(SEED_LEN) {
            Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed).ok(),
            Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public).ok(),
            None => None,
        };
        let pair = pair.ok_or(SecretError::PrivateKey)?;
        Ok(SigningKey::Private(Arc::new(pair)))
    }

    /// The header lines that prove one attempt, with the id where it stands in a header. Several keys sign where the scheme has
    /// room for several signatures, so that a receiver in the middle of a rotation accepts one; else the first does.
    pub fn sign(
        &self,
        keys: &[SigningKey],
        id: &IdempotencyKey,
        at: UnixSeconds,
        body: &[u8],
    ) -> Vec<(String, String)> {
        let definition = &self.definition;
        let mut lines = Vec::new();
        if let Some(Place::Header(name)) = &definition.id {
            lines.push((name.clone(), id.as_str().to_owned()));
        }
        let stamp = at.0.to_string();
        if let Some(place) = definition
            .timestamp
            .as_ref()
            .filter(|place| place.separator.is_none())
        {
            lines.push((place.header.clone(), format!("{}{stamp}", place.prefix)));
        }
        lines.extend(match &definition.signature {
            Some(rule) => Some((
                rule.header.clone(),
                signed(definition, rule, keys, id, &stamp, body),
            )),
            None => token(definition, keys),
        });
        lines
    }
}

fn signed(
    definition: &Definition,
    rule: &SignatureRule,
    keys: &[SigningKey],
    id: &IdempotencyKey,
    stamp: &str,
    body: &[u8],
) -> String {
    let pieces = rule.signed.pieces(id.as_str().as_bytes(), stamp.as_bytes(), body);
    let signatures = keys.iter().filter_map(|key| {
        let version = rule.versions.iter().find(|version| {
            (version.algorithm == Algorithm::Ed25519) == matches!(key, SigningKey::Private(_))
        })?;
        let bytes = match key {
            SigningKey::Shared(Key::Shared(secret)) => version.algorithm.tag(secret, pieces.clone()),
            SigningKey::Shared(Key::Public(_)) => return None,
            SigningKey::Private(pair) => {
                let message = pieces.clone().collect::<Vec<_>>().concat();
                pair.sign(&message).as_ref().to_vec()
            }
        };
        Some(format!("{}{}", version.prefix, rule.encoding.encode(&bytes)))
    });
    let Some(separator) = rule.separator else {
        return signatures.take(1).collect();
    };
    let time = definition
        .timestamp
        .as_ref()
        .filter(|place| place.header == rule.header);
    let time = time.map(|place| format!("{}{stamp}", place.prefix));
    let parts: Vec<_> = time.into_iter().chain(signatures).collect();
    parts.join(&separator.to_string())
}

/// The token as a sender shows it, in the first header that takes one. Its text is the key itself.
fn token(definition: &Definition, keys: &[SigningKey]) -> Option<(String, String)> {
    let part = definition.token.first()?;
    let [SigningKey::Shared(Key::Shared(secret)), ..] = keys else {
        return None;
    };
    let text = std::str::from_utf8(secret.bytes()).ok()?;
    Some((part.header.clone(), format!("{}{text}", part.prefix)))
}
