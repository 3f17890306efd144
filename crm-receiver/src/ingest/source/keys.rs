//! The keys of senders, opened from the tables.

use super::senders::Senders;
use crate::store::{SealedDigestKey, Source, SourceSecret};
use contract::{
    Secret, SecretId, SecretList, SourceId, UnixMillis,
    scheme::{DigestKey, Key, Scheme},
};
use kit::secrets::MasterKeys;
use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicI64},
};

/// One key of a sender.
#[derive(Clone, Debug)]
pub(super) struct SenderKey {
    pub(super) key: Key,
    /// Of what the tables have; the environment's are valid as long as the process runs.
    pub(super) of_tables: Option<TableKey>,
}

#[derive(Clone, Debug)]
pub(super) struct TableKey {
    pub(super) id: SecretId,
    until: Option<UnixMillis>,
    /// When it last signed, as far as that is not written yet; 0 for never. All states of the tables share it.
    pub(super) used: Arc<AtomicI64>,
}

impl SenderKey {
    pub(super) fn is_valid(&self, now: UnixMillis) -> bool {
        self.of_tables
            .as_ref()
            .is_none_or(|key| key.until.is_none_or(|until| now < until))
    }
}

pub(super) fn schemes(sources: &[Source]) -> HashMap<SourceId, Arc<Scheme>> {
    let scheme = |source: &Source| (source.id.clone(), source.settings.scheme.scheme());
    sources.iter().map(scheme).collect()
}

/// The keys of these rows, by their sources. Their uses go on being noted where those of `before` are.
pub(super) fn open_keys(
    rows: &[SourceSecret],
    schemes: &HashMap<SourceId, Arc<Scheme>>,
    master_keys: &MasterKeys,
    before: Option<&Senders>,
) -> HashMap<SourceId, Vec<SenderKey>> {
    let uses: HashMap<_, _> = before
        .into_iter()
        .flat_map(Senders::table_keys)
        .map(|key| (&key.id, &key.used))
        .collect();
    let mut keys = HashMap::<SourceId, Vec<SenderKey>>::new();
    for row in rows {
        let Some(scheme) = schemes.get(&row.source) else {
            continue;
        };
        let used = uses.get(&row.id).map(|used| Arc::clone(used));
        if let Some(key) = open(row, scheme, master_keys, used.unwrap_or_default()) {
            keys.entry(row.source.clone()).or_default().push(key);
        }
    }
    keys
}

pub(super) fn of_list(secrets: &SecretList) -> Vec<SenderKey> {
    let key = |secret: &Secret| SenderKey {
        key: Key::Shared(secret.clone()),
        of_tables: None,
    };
    secrets.as_slice().iter().map(key).collect()
}

/// The key of a row, unless it does not open there, or is none of the scheme's: then nobody can sign with it.
pub(super) fn open(
    row: &SourceSecret,
    scheme: &Scheme,
    master_keys: &MasterKeys,
    used: Arc<AtomicI64>,
) -> Option<SenderKey> {
    let place = SourceSecret::row(&row.source, &row.id);
    let text = master_keys
        .open(SourceSecret::place(&place), &row.sealed)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(key) = text.and_then(|text| scheme.key(&text).ok()) else {
        does_not_open(&row.source, row.id.as_str());
        return None;
    };
    Some(SenderKey {
        key,
        of_tables: Some(TableKey {
            id: row.id.clone(),
            until: row.until,
            used,
        }),
    })
}

fn does_not_open(source: &SourceId, what: &str) {
    tracing::error!(
        secret.id = what,
        source = source.as_str(),
        "a secret does not open: another master key encrypted it, or it was changed or moved"
    );
}

pub(super) fn open_digest_keys(
    rows: &[SealedDigestKey],
    master_keys: &MasterKeys,
) -> HashMap<SourceId, DigestKey> {
    let open = |row: &SealedDigestKey| {
        let key = row.open(master_keys);
        if key.is_none() {
            does_not_open(&row.source, "digest key");
        }
        Some((row.source.clone(), key?))
    };
    rows.iter().filter_map(open).collect()
}
