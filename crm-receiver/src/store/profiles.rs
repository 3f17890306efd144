//! Profiles, with the terms and properties under which they are found: written by projection, listed and shown by the API.

use super::{Store, property_days};
use crate::profile::{
    Profile,
    contents::ProfileStatus,
    derive::DERIVE_VERSION,
    property_day::PropertyDays,
    summary::summary,
    terms::{self, TermKind},
};
use api::ListQuery;
use contract::{ProfileId, PropertyId, Scope, UnixMillis};
use db::{DbError, Dialect, InList, Params, Statement, Tx, in_lists, params, read_id};
use kit::{
    fold::{FOLD_VERSION, words::TypedWord},
    listing::{Index, Link, Listing, Order, Reading, Rows, Table, begins_with_any},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a profile must have to be in the list. Absent: anything.
#[derive(Clone, Debug, Default)]
pub struct ProfileFilter {
    /// Words that must all be among its names.
    pub name: Vec<TypedWord>,
    /// Terms of other kinds, folded; found whole.
    pub terms: Vec<(TermKind, String)>,
    /// A property of one of its records.
    pub property_id: Option<PropertyId>,
    /// Absent: active and stub profiles.
    pub status: Option<ProfileStatus>,
    /// A profile is seen with one of its guest records: one without any needs the whole scope.
    pub scope: Scope,
}

/// How the table is listed.
const PROFILES: Table = Table {
    name: "profiles",
    id: "id",
    orders: &[
        Order {
            field: "updated_at",
            column: "updated_at",
            index: "profiles_updated",
        },
        Order {
            field: "name",
            column: "sort_name",
            index: "profiles_name",
        },
    ],
};

const TERMS: Link = Link {
    table: "profile_terms",
    id: "profile_id",
    by_value: Index::Primary,
    by_row: Index::Named("profile_terms_profile"),
};

const PROPERTIES: Link = Link {
    table: "profile_properties",
    id: "profile_id",
    by_value: Index::Named("profile_properties_property"),
    by_row: Index::Primary,
};

/// What lists read.
const SELECT: &str = "SELECT id, summary FROM profiles";

/// A profile as it is stored.
#[derive(Debug)]
pub struct StoredProfile {
    text: String,
    days: PropertyDays,
}

impl StoredProfile {
    /// Bytes of its text.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The profile that it holds, with the days of its properties.
    ///
    /// # Errors
    /// `Decode` when this program did not write it.
    pub fn read(self) -> Result<(Profile, PropertyDays), DbError> {
        Ok((stored(&self.text, "body")?, self.days))
    }
}

impl Store {
    /// The profiles of one page, each as lists show it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn profiles(&self, filter: &ProfileFilter, query: &ListQuery) -> Result<Rows<Value>, DbError> {
        let reading = Reading {
            name: "profiles",
            select: SELECT,
            read: |row| stored(&row.get::<String>("summary")?, "summary"),
        };
        self.lists.find(filter.listing(query), query, reading).await
    }

    /// One profile, with the days of the properties that it names; None when there is nothing to show under this id,
    /// `Some(None)` when its text is longer than `bytes_max`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn stored_profile(
        &self,
        id: &ProfileId,
        bytes_max: usize,
    ) -> Result<Option<Option<StoredProfile>>, DbError> {
        let body = "SELECT CASE WHEN OCTET_LENGTH(body) <= ? THEN body END AS body FROM profiles \
                    WHERE id = ? AND status IS NOT NULL";
        let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
        let questions = Arc::new([
            Statement::query(body, params![bytes_max, id.as_str()]),
            property_days::question(id),
        ]);
        self.reads
            .read("profile", move |tx| {
                let questions = Arc::clone(&questions);
                Box::pin(async move {
                    let answers = tx.run(&*questions).await.all()?;
                    let Some(row) = answers[0].row() else {
                        return Ok(None);
                    };
                    let days = property_days::read(&answers[1].rows)?;
                    let text: Option<String> = row.get("body")?;
                    Ok(Some(text.map(|text| StoredProfile { text, days })))
                })
            })
            .await
    }
}

fn stored<T: serde::de::DeserializeOwned>(text: &str, column: &str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|_| DbError::unreadable(column))
}

impl ProfileFilter {
    fn listing(&self, query: &ListQuery) -> Listing {
        let mut listing = Listing::of(&PROFILES);
        match self.status {
            Some(status) => listing.equal("status", Some(status.into_str())),
            None => listing.require("status IN ('active', 'stub')", Params::new()),
        }
        for word in &self.name {
            let (begins, params) = begins_with_any("kind = 'name' AND ", "term", word);
            listing.linked(TERMS, begins, params);
        }
        for (kind, term) in &self.terms {
            listing.linked(TERMS, "kind = ? AND term = ?", params![kind.into_str(), term]);
        }
        if let Some(property) = &self.property_id {
            listing.linked(PROPERTIES, "property_id = ?", params![property.as_str()]);
        }
        if let Scope::Parts(properties) = &self.scope {
            let list = InList::of(properties);
            let condition = format!("kind = ? AND term IN {list}");
            let kind = params![TermKind::RecordProperty.into_str()];
            listing.linked(TERMS, condition, list.after(kind));
        }
        let none = None::<i64>;
        listing.between(Some("profiles_updated"), "updated_at", query.updated_since, none);
        listing
    }
}

/// The columns that a projection writes.
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
    /// Over everything that it is found under: equal sets have equal digests.
    index_digest: Vec<u8>,
}

/// Makes sure that there is a row for each profile, and holds them all until the transaction ends, in the order of
/// their ids.
pub(super) async fn lock(tx: &mut Tx, ids: &BTreeSet<ProfileId>) -> Result<(), DbError> {
    // SQLite has one writer: no lock is needed.
    if tx.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let raise = tx.dialect().on_conflict_add(&["id"], &["revision"]);
    let columns = ["id", "revision", "updated_at", "sort_name"];
    let params = ids.iter().flat_map(|id| params![id.as_str(), 1, 0, ""]).collect();
    tx.insert("profiles", &columns, &raise, params).await
}

/// Writes the profiles; None is one with nothing left to show. Their rows must be locked.
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
            profile.status.map(|status| status.into_str()),
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

/// Replaces the terms and properties under which the profiles are found.
async fn write_index(tx: &mut Tx, profiles: &[&ProfileRows<'_>]) -> Result<(), DbError> {
    let ids: Vec<&str> = profiles.iter().map(|profile| profile.id.as_str()).collect();
    for list in in_lists(ids) {
        for table in ["profile_terms", "profile_properties"] {
            let sql = format!("DELETE FROM {table} WHERE profile_id IN {list}");
            tx.execute(&sql, list.clone().into_params()).await?;
        }
    }
    let (mut terms, mut properties) = (Params::new(), Params::new());
    for profile in profiles {
        let id = profile.id.as_str();
        for (kind, term) in terms::of(&profile.texts) {
            terms.extend(params![kind.into_str(), term, id]);
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

/// The digests of the terms and properties under which the profiles are found so far.
async fn index_digests(
    tx: &mut Tx,
    profiles: &[ProfileRows<'_>],
) -> Result<BTreeMap<ProfileId, Vec<u8>>, DbError> {
    let ids: Vec<&str> = profiles.iter().map(|profile| profile.id.as_str()).collect();
    let mut digests = BTreeMap::new();
    for list in in_lists(ids) {
        let sql =
            format!("SELECT id, index_digest FROM profiles WHERE index_digest IS NOT NULL AND id IN {list}");
        for row in tx.query(&sql, list.into_params()).await? {
            digests.insert(read_id(&row, "id")?, row.get("index_digest")?);
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

/// A digest of the texts as they are, which is less work than folding them, and of the versions of the rules that fold
/// them.
fn index_digest(texts: &[(TermKind, &str)], properties: &[&str]) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update([FOLD_VERSION, DERIVE_VERSION].map(i64::to_be_bytes).concat());
    let texts = texts.iter().map(|(kind, text)| (kind.into_str(), *text));
    let properties = properties.iter().map(|property| ("property", *property));
    for (kind, text) in texts.chain(properties) {
        digest.update(kind);
        digest.update([0]);
        digest.update(text.len().to_be_bytes());
        digest.update(text);
    }
    digest.finalize().to_vec()
}
