//! The rows of profiles, and of the terms and properties under which they are found.

use super::batch_rows::{chunks, padded};
use crate::profile::{
    Profile,
    contents::ProfileStatus,
    terms::{self, TermKind},
};
use contract::{ProfileId, UnixMillis};
use kit::{
    db::{DbError, Params, Tx, placeholders},
    params,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The members of a profile that only the whole shows, not the lists.
const NOT_IN_LISTS: [&str; 6] = [
    "names",
    "contact_points",
    "consent_history",
    "reservations",
    "timeline",
    "timeline_count",
];

const CONTENTS: [&str; 6] = [
    "status",
    "updated_at",
    "sort_name",
    "index_digest",
    "summary",
    "body",
];

/// A profile as its rows hold it.
struct ProfileRows {
    id: ProfileId,
    status: Option<ProfileStatus>,
    updated_at: UnixMillis,
    sort_name: String,
    summary: Option<String>,
    body: Option<String>,
    terms: BTreeSet<(TermKind, String)>,
    properties: BTreeSet<String>,
}

/// Makes sure that there is a row for each profile, and holds them all until the transaction ends, in the order of
/// their ids.
pub(super) async fn lock(tx: &mut Tx, ids: &BTreeSet<ProfileId>) -> Result<(), DbError> {
    let raise = tx.dialect().on_conflict_add(&["id"], &["revision"]);
    let ids: Vec<&ProfileId> = ids.iter().collect();
    for range in chunks(ids.len()) {
        let rows = placeholders(range.len(), 4);
        let sql = format!("INSERT INTO profiles (id, revision, updated_at, sort_name) VALUES {rows}{raise}");
        let mut params = Params::with_capacity(range.len() * 4);
        for id in &ids[range] {
            params.extend(params![id.as_str(), 1, 0, ""]);
        }
        tx.execute(&sql, params).await?;
    }
    Ok(())
}

/// Writes what the profiles are now; None is one with nothing left to show. Their rows are locked.
pub(super) async fn write(tx: &mut Tx, profiles: Vec<(ProfileId, Option<Profile>)>) -> Result<(), DbError> {
    let profiles: Vec<ProfileRows> = profiles
        .into_iter()
        .map(|(id, profile)| ProfileRows::of(id, profile))
        .collect();
    let indexed = index_digests(tx, &profiles).await?;
    let update = tx.dialect().on_conflict_update(&["id"], &CONTENTS);
    for range in chunks(profiles.len()) {
        let rows = placeholders(range.len(), 2 + CONTENTS.len());
        let columns = CONTENTS.join(", ");
        let sql = format!("INSERT INTO profiles (id, revision, {columns}) VALUES {rows}{update}");
        let mut params = Params::with_capacity(range.len() * (2 + CONTENTS.len()));
        for profile in &profiles[range] {
            params.extend(params![
                profile.id.as_str(),
                1,
                profile.status.map(ProfileStatus::as_str),
                profile.updated_at,
                &profile.sort_name,
                profile.index_digest(),
                &profile.summary,
                &profile.body,
            ]);
        }
        tx.execute(&sql, params).await?;
    }
    let stands = |profile: &&ProfileRows| indexed.get(&profile.id) == Some(&profile.index_digest());
    let found_otherwise: Vec<&ProfileRows> = profiles.iter().filter(|profile| !stands(profile)).collect();
    write_index(tx, &found_otherwise).await
}

/// Writes terms and properties in the place of what was there.
async fn write_index(tx: &mut Tx, profiles: &[&ProfileRows]) -> Result<(), DbError> {
    let ids: Vec<&str> = profiles.iter().map(|profile| profile.id.as_str()).collect();
    for ids in padded(&ids) {
        let places = placeholders(1, ids.len());
        for table in ["profile_terms", "profile_properties"] {
            let sql = format!("DELETE FROM {table} WHERE profile_id IN {places}");
            tx.execute(&sql, ids.iter().map(|id| (*id).into()).collect())
                .await?;
        }
    }
    let mut terms: Vec<(&str, &str, &str)> = Vec::new();
    let mut properties: Vec<(&str, &str)> = Vec::new();
    for profile in profiles {
        let id = profile.id.as_str();
        terms.extend(
            profile
                .terms
                .iter()
                .map(|(kind, term)| (kind.as_str(), term.as_str(), id)),
        );
        properties.extend(profile.properties.iter().map(|property| (id, property.as_str())));
    }
    for range in chunks(terms.len()) {
        let rows = placeholders(range.len(), 3);
        let sql = format!("INSERT INTO profile_terms (kind, term, profile_id) VALUES {rows}");
        let rows = terms[range].iter();
        tx.execute(
            &sql,
            rows.flat_map(|(kind, term, id)| params![*kind, *term, *id])
                .collect(),
        )
        .await?;
    }
    for range in chunks(properties.len()) {
        let rows = placeholders(range.len(), 2);
        let sql = format!("INSERT INTO profile_properties (profile_id, property_id) VALUES {rows}");
        let rows = properties[range].iter();
        tx.execute(
            &sql,
            rows.flat_map(|(id, property)| params![*id, *property]).collect(),
        )
        .await?;
    }
    Ok(())
}

/// Under which terms and properties the profiles are found so far.
async fn index_digests(
    tx: &mut Tx,
    profiles: &[ProfileRows],
) -> Result<BTreeMap<ProfileId, Vec<u8>>, DbError> {
    let ids: Vec<&str> = profiles.iter().map(|profile| profile.id.as_str()).collect();
    let mut digests = BTreeMap::new();
    for ids in padded(&ids) {
        let places = placeholders(1, ids.len());
        let sql = format!(
            "SELECT id, index_digest FROM profiles WHERE index_digest IS NOT NULL AND id IN {places}"
        );
        for row in tx
            .query(&sql, ids.iter().map(|id| (*id).into()).collect())
            .await?
        {
            digests.insert(super::record_rows::parsed(&row, "id")?, row.get("index_digest")?);
        }
    }
    Ok(digests)
}

impl ProfileRows {
    fn of(id: ProfileId, profile: Option<Profile>) -> Self {
        let Some(profile) = profile else {
            return Self {
                id,
                status: None,
                updated_at: UnixMillis(0),
                sort_name: String::new(),
                summary: None,
                body: None,
                terms: BTreeSet::new(),
                properties: BTreeSet::new(),
            };
        };
        let mut whole = serde_json::to_value(&profile).expect("a profile always serialises");
        let body = whole.to_string();
        if let Value::Object(members) = &mut whole {
            members.retain(|name, _| !NOT_IN_LISTS.contains(&name.as_str()));
        }
        Self {
            id,
            status: Some(profile.status),
            updated_at: profile.updated_at,
            sort_name: terms::sort_name(&profile),
            summary: Some(whole.to_string()),
            body: Some(body),
            terms: terms::of(&profile),
            properties: profile.property_ids.iter().map(ToString::to_string).collect(),
        }
    }

    /// Of everything that the profile is found under; no two different sets share one.
    fn index_digest(&self) -> Vec<u8> {
        let mut digest = Sha256::new();
        let terms = self
            .terms
            .iter()
            .map(|(kind, term)| (kind.as_str(), term.as_str()));
        let properties = self
            .properties
            .iter()
            .map(|property| ("property", property.as_str()));
        for (kind, term) in terms.chain(properties) {
            digest.update(kind);
            digest.update([0]);
            digest.update(term);
            digest.update([0]);
        }
        digest.finalize().to_vec()
    }
}
