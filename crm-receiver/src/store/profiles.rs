//! Profiles as the API shows them: stored bodies, found by terms and properties.

use super::{Store, property_days};
use crate::profile::{Profile, contents::ProfileStatus, property_day::PropertyDays, terms::TermKind};
use api::ListQuery;
use contract::{ProfileId, PropertyId};
use db::{DbError, Params, Statement, params};
use kit::{
    fold::words::TypedWord,
    listing::{Index, Link, Listing, Order, Reading, Rows, Table, begins_with_any},
};
use serde_json::Value;
use std::sync::Arc;

/// What a profile must have to be in the list. Absent: anything.
#[derive(Clone, Debug, Default)]
pub struct ProfileFilter {
    /// Words that its names have, all of them.
    pub name: Vec<TypedWord>,
    /// Terms of other kinds, folded, whole.
    pub terms: Vec<(TermKind, String)>,
    /// A property of one of its records.
    pub property_id: Option<PropertyId>,
    /// Absent: those of guests that are there, known or not.
    pub status: Option<ProfileStatus>,
}

/// The table as it is listed.
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

/// What lists show.
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

    /// What it says, with the days of its properties.
    ///
    /// # Errors
    /// `Decode` when it was written by something else.
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

    /// One profile, with the days of the properties that it names; None when there is nothing to show under this id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn profile(&self, id: &ProfileId) -> Result<Option<(Profile, PropertyDays)>, DbError> {
        let stored = self.stored_profile(id, usize::MAX).await?;
        stored.flatten().map(StoredProfile::read).transpose()
    }

    /// As [`profile`](Self::profile), before its text is read; `Some(None)` when that is longer than `bytes_max`.
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
            Statement::question(body, params![bytes_max, id.as_str()]),
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
    serde_json::from_str(text).map_err(|_| super::record_rows::unreadable(column))
}

impl ProfileFilter {
    fn listing(&self, query: &ListQuery) -> Listing {
        let mut listing = Listing::of(&PROFILES);
        match self.status {
            Some(status) => listing.equal("status", Some(status.as_str())),
            None => listing.require("status IN ('active', 'stub')", Params::new()),
        }
        for word in &self.name {
            let (begins, params) = begins_with_any("kind = 'name' AND ", "term", word);
            listing.linked(TERMS, begins, params);
        }
        for (kind, term) in &self.terms {
            listing.linked(TERMS, "kind = ? AND term = ?", params![kind.as_str(), term]);
        }
        if let Some(property) = &self.property_id {
            listing.linked(PROPERTIES, "property_id = ?", params![property.as_str()]);
        }
        let none = None::<i64>;
        listing.between(Some("profiles_updated"), "updated_at", query.updated_since, none);
        listing
    }
}
