//! What makes refusals alike: no answer, and no time that it takes, says which sources there are, or how one of them signs.

use contract::{
    Entropy, UnixSeconds,
    scheme::{Decoys, Key, Scheme, TimelyHeaders},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// What all senders share.
#[derive(Debug)]
pub(super) struct Refusals {
    /// The largest skew of any source: headers outside it are refused before the body is read, whichever source they name.
    pub(super) widest_skew_seconds: u32,
    /// What a refusal costs.
    pub(super) decoys: Decoys,
    /// The schemes in use that read headers differently, by each header that a proof may stand in. Standard Webhooks always is.
    schemes: HashMap<String, Vec<Arc<Scheme>>>,
}

impl Refusals {
    pub(super) fn new<'k, K: IntoIterator<Item = &'k Key>>(
        senders: impl IntoIterator<Item = (&'k Arc<Scheme>, K)>,
        widest_skew_seconds: u32,
        entropy: &dyn Entropy,
    ) -> Self {
        let senders: Vec<_> = senders.into_iter().collect();
        let mut schemes = HashMap::<String, Vec<Arc<Scheme>>>::new();
        let standard = Scheme::standard();
        for scheme in senders.iter().map(|(scheme, _)| *scheme).chain([&standard]) {
            for header in scheme.proof_headers() {
                let same = schemes.entry(header).or_default();
                if !same.iter().any(|other| other.reads_like(scheme)) {
                    same.push(Arc::clone(scheme));
                }
            }
        }
        let keys = senders.into_iter().map(|(scheme, keys)| (&**scheme, keys));
        Self {
            widest_skew_seconds,
            decoys: Decoys::for_senders(keys, entropy),
            schemes,
        }
    }

    /// The headers as any scheme in use reads them, or none.
    pub(super) fn read<'a, L: IntoIterator<Item = (&'a str, &'a [u8])>>(
        &self,
        lines: impl Fn() -> L,
        now: UnixSeconds,
    ) -> Option<TimelyHeaders> {
        let names = lines().into_iter().map(|(name, _)| name.to_ascii_lowercase());
        // Each once, however often a header is repeated.
        let names: BTreeSet<_> = names.filter(|name| self.schemes.contains_key(name)).collect();
        let named = names.iter().filter_map(|name| self.schemes.get(name));
        named.flatten().find_map(|scheme| {
            let read = scheme.read(lines()).ok()?;
            read.within(now, self.widest_skew_seconds).ok()
        })
    }
}
