//! Keys of nobody, which make every refusal as costly as that of the source with the most keys.

use super::{Algorithm, Key, Scheme, key::PublicKey};
use crate::{entropy::Entropy, secret::Secret};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::collections::BTreeMap;

/// For each algorithm that any sender uses, as many keys as the sender with the most keys of it has.
#[derive(Clone, Debug, Default)]
pub struct Decoys(Vec<(Algorithm, Key)>);

impl Decoys {
    /// Decoys for senders with these keys. There is always one for HMAC-SHA256, so that a receiver without any sender does not
    /// answer at once.
    pub fn for_senders<'k, K: IntoIterator<Item = &'k Key>>(
        senders: impl IntoIterator<Item = (&'k Scheme, K)>,
        entropy: &dyn Entropy,
    ) -> Self {
        let mut most = BTreeMap::from([(Algorithm::HmacSha256, 1)]);
        for (scheme, keys) in senders {
            let mut own = BTreeMap::<Algorithm, usize>::new();
            for algorithm in keys.into_iter().filter_map(|key| key.algorithm(scheme)) {
                *own.entry(algorithm).or_default() += 1;
            }
            for (algorithm, count) in own {
                let most = most.entry(algorithm).or_default();
                *most = count.max(*most);
            }
        }
        let decoys = most
            .into_iter()
            .flat_map(|(algorithm, count)| (0..count).map(move |_| (algorithm, decoy(algorithm, entropy))));
        Self(decoys.collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are left when for each of the algorithms in `compared` one is taken away.
    pub(super) fn beyond(&self, compared: &[Algorithm]) -> impl Iterator<Item = (Algorithm, &Key)> {
        let mut done = compared.to_vec();
        self.0.iter().filter_map(move |(algorithm, key)| {
            if let Some(place) = done.iter().position(|other| other == algorithm) {
                done.swap_remove(place);
                return None;
            }
            Some((*algorithm, key))
        })
    }
}

fn decoy(algorithm: Algorithm, entropy: &dyn Entropy) -> Key {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    if algorithm != Algorithm::Ed25519 {
        return Key::Shared(Secret::of_bytes(bytes.to_vec()));
    }
    // Bytes that are no point would be refused sooner than a key is.
    let pair = Ed25519KeyPair::from_seed_unchecked(&bytes).expect("a seed has 32 bytes");
    let public = pair.public_key().as_ref().try_into();
    Key::Public(PublicKey::new(public.expect("a public key has 32 bytes")))
}
