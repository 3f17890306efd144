//! Who may send, and the decoy that stands in for everyone else.
//!
//! An unknown or disabled source is answered exactly as a known one with a wrong signature, after the same work: it
//! gets a decoy with as many keys, which no sender holds.

use crate::store::{OnInvalid, Source};
use contract::Entropy;
use contract::{Secret, SecretList, SourceId};
use std::{collections::HashMap, sync::Arc};

/// The source whose keys and skew the environment gives. Only it has keys so far.
pub const PMS: &str = "pms";

/// A source with its keys, or the decoy, which has no `id`.
#[derive(Debug)]
pub struct Sender {
    pub(super) id: Option<SourceId>,
    pub(super) max_skew_seconds: u32,
    pub(super) on_invalid: OnInvalid,
    pub(super) keys: SecretList,
}

/// All senders of this process, looked up by the path alone.
#[derive(Debug)]
pub struct Sources {
    known: HashMap<SourceId, Arc<Sender>>,
    decoy: Arc<Sender>,
}

impl Sources {
    /// The enabled ones among `rows`, of which [`PMS`] alone has the `keys`, and a decoy with as many. Another source
    /// has keys that no sender holds: what was signed for one path must never be taken at a second.
    pub fn new(rows: Vec<Source>, keys: &SecretList, entropy: &dyn Entropy) -> Self {
        let widest = rows
            .iter()
            .map(|row| row.max_skew_seconds)
            .max()
            .unwrap_or_default();
        let known = rows.into_iter().filter(|row| row.enabled).map(|row| {
            let keys = if row.id.as_str() == PMS {
                keys.clone()
            } else {
                decoy_keys(keys.as_slice().len(), entropy)
            };
            let sender = Sender {
                id: Some(row.id.clone()),
                max_skew_seconds: row.max_skew_seconds,
                on_invalid: row.on_invalid,
                keys,
            };
            (row.id, Arc::new(sender))
        });
        let decoy = Sender {
            id: None,
            max_skew_seconds: widest,
            on_invalid: OnInvalid::Reject,
            keys: decoy_keys(keys.as_slice().len(), entropy),
        };
        Self {
            known: known.collect(),
            decoy: Arc::new(decoy),
        }
    }

    /// The sender of that name, or the decoy.
    pub fn named(&self, name: &str) -> Arc<Sender> {
        let known = name.parse().ok().and_then(|id: SourceId| self.known.get(&id));
        Arc::clone(known.unwrap_or(&self.decoy))
    }
}

fn decoy_keys(number: usize, entropy: &dyn Entropy) -> SecretList {
    let keys: Vec<String> = (0..number)
        .map(|_| {
            let mut key = [0; 32];
            entropy.fill(&mut key);
            Secret::encode(&key)
        })
        .collect();
    keys.join(" ")
        .parse()
        .expect("as many encoded secrets as a valid list has")
}
