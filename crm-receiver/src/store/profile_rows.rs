//! The rows of profiles, and of the terms and properties under which they are found.

use super::batch_rows::padded;
use crate::profile::{
    Profile,
    contents::ProfileStatus,
    derive::DERIVE_VERSION,
    terms::{self, TermKind},
};
use contract::{ProfileId, PropertyId, UnixMillis};
use db::{DbError, Dialect, Params, Tx, params, placeholders};
use kit::fold::FOLD_VERSION;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

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
struct ProfileRows<'p> {
    id: &'p ProfileId,
    status: Option<ProfileStatus>,
    updated_at: UnixMillis,
    sort_name: String,
    summary: Option<String>,
    body: Option<String>,
    texts: Vec<(TermKind, &'p str)>,
    properties: Vec<&'p str>,
    /// Of everything that it is found under; no two different sets share one.
    index_digest: Vec<u8>,
}

/// Makes sure that there is a row for each profile, and holds them all until the transaction ends, in the order of
/// their ids.
pub(super) async fn lock(tx: &mut Tx, ids: &BTreeSet<ProfileId>) -> Result<(), DbError> {
    // One writer: nobody else is there to be kept out.
    if tx.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let raise = tx.dialect().on_conflict_add(&["id"], &["revision"]);
    let columns = ["id", "revision", "updated_at", "sort_name"];
    let params = ids.iter().flat_map(|id| params![id.as_str(), 1, 0, ""]).collect();
    tx.insert("profiles", &columns, &raise, params).await
}

/// Writes what the profiles are now; None is one with nothing left to show. Their rows are locked.
pub(super) async fn write(tx: &mut Tx, profiles: Vec<(ProfileId, Option<Profile>)>) -> Result<(), DbError> {
    let profiles: Vec<ProfileRows<'_>> = profiles
        .iter()
        .map(|(id, profile)| ProfileRows::of(id, profile.as_ref()))
        .collect();
    let indexed = index_digests(tx, &profiles).await?;
    let update = tx.dialect().on_conflict_update(&["id"], &CONTENTS);
    let columns = [["id", "revision"].as_slice(), &CONTENTS].concat();
    let mut params = Params::with_capacity(profiles.len() * columns.len());
    for profile in &profiles {
        params.extend(params![
            profile.id.as_str(),
            1,
            profile.status.map(ProfileStatus::as_str),
            profile.updated_at,
            &profile.sort_name,
            &profile.index_digest,
            &profile.summary,
            &profile.body,
        ]);
    }
    tx.insert("profiles", &columns, &update, params).await?;
    let stands = |profile: &&ProfileRows<'_>| indexed.get(profile.id) == Some(&profile.index_digest);
    let found_otherwise: Vec<&ProfileRows<'_>> = profiles.iter().filter(|profile| !stands(profile)).collect();
    write_index(tx, &found_otherwise).await
}

/// Writes terms and properties in the place of what was there.
async fn write_index(tx: &mut Tx, profiles: &[&ProfileRows<'_>]) -> Result<(), DbError> {
    let ids: Vec<&str> = profiles.iter().map(|profile| profile.id.as_str()).collect();
    for ids in padded(&ids) {
        let places = placeholders(1, ids.len());
        for table in ["profile_terms", "profile_properties"] {
            let sql = format!("DELETE FROM {table} WHERE profile_id IN {places}");
            tx.execute(&sql, ids.iter().map(|id| (*id).into()).collect())
                .await?;
        }
    }
    let (mut terms, mut properties) = (Params::new(), Params::new());
    for profile in profiles {
        let id = profile.id.as_str();
        for (kind, term) in terms::of(&profile.texts) {
            terms.extend(params![kind.as_str(), term, id]);
        }
        for property in &profile.properties {
            properties.extend(params![id, *property]);
        }
    }
    let columns = ["kind", "term", "profile_id"];
    tx.insert("profile_terms", &columns, "", terms).await?;
    let columns = ["profile_id", "property_id"];
    tx.insert("profile_properties", &columns, "", properties).await
}

/// Under which terms and properties the profiles are found so far.
async fn index_digests(
    tx: &mut Tx,
    profiles: &[ProfileRows<'_>],
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

impl<'p> ProfileRows<'p> {
    fn of(id: &'p ProfileId, profile: Option<&'p Profile>) -> Self {
        let texts = profile.map(terms::texts).unwrap_or_default();
        let properties = profile.map(|profile| profile.property_ids.iter().map(PropertyId::as_str).collect());
        let properties: Vec<&str> = properties.unwrap_or_default();
        let body = profile.map(whole);
        Self {
            id,
            status: profile.map(|profile| profile.status),
            updated_at: profile.map_or(UnixMillis(0), |profile| profile.updated_at),
            sort_name: profile.map(terms::sort_name).unwrap_or_default(),
            summary: body.as_deref().map(summary),
            body,
            index_digest: index_digest(&texts, &properties),
            texts,
            properties,
        }
    }
}

fn whole(profile: &Profile) -> String {
    serde_json::to_string(profile).expect("a profile always serialises")
}

/// What lists show of a whole, its members as they stand there.
fn summary(whole: &str) -> String {
    let Members(mut members) =
        serde_json::from_str(whole).expect("a profile's text is an object with plain names");
    members.retain(|(name, _)| !NOT_IN_LISTS.contains(name));
    serde_json::to_string(&Members(members)).expect("an object always serialises")
}

/// Of the texts as they stand, which is less work than to fold them, and of the versions of what is made of them.
fn index_digest(texts: &[(TermKind, &str)], properties: &[&str]) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update([FOLD_VERSION, DERIVE_VERSION].map(i64::to_be_bytes).concat());
    let texts = texts.iter().map(|(kind, text)| (kind.as_str(), *text));
    let properties = properties.iter().map(|property| ("property", *property));
    for (kind, text) in texts.chain(properties) {
        digest.update(kind);
        digest.update([0]);
        digest.update(text.len().to_be_bytes());
        digest.update(text);
    }
    digest.finalize().to_vec()
}

/// The members of an object in their order, unread.
struct Members<'m>(Vec<(&'m str, &'m RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
