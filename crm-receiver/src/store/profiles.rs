//! Profiles as the API shows them: stored bodies, found by terms and properties.

use super::Store;
use crate::profile::{Profile, contents::ProfileStatus, terms::TermKind};
use contract::{ProfileId, PropertyId, UnixMillis};
use kit::{
    db::{DbError, Params},
    fold::end_of_prefix,
    params,
};
use serde_json::Value;

/// What a profile must have to be in the list. Absent: anything.
#[derive(Clone, Debug, Default)]
pub struct ProfileFilter {
    /// Terms, already folded: a name by its beginning, everything else whole.
    pub terms: Vec<(TermKind, String)>,
    /// A property of one of its records.
    pub property_id: Option<PropertyId>,
    /// Absent: those of guests that are there, known or not.
    pub status: Option<ProfileStatus>,
    /// A commit among its records at or after.
    pub updated_since: Option<UnixMillis>,
}

/// What the list is sorted by; then by id, in the same direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileSort {
    /// The latest commit among its records.
    UpdatedAt,
    /// The folded name, family name first.
    Name,
}

/// Where a page ended.
#[derive(Clone, Debug)]
pub enum ProfilePosition {
    /// In the order of commits.
    UpdatedAt(UnixMillis, ProfileId),
    /// In the order of names.
    Name(String, ProfileId),
}

/// One profile of a list.
#[derive(Clone, Debug)]
pub struct ProfileRow {
    /// Its id.
    pub id: String,
    /// The latest commit among its records.
    pub updated_at: UnixMillis,
    /// The folded name.
    pub sort_name: String,
    /// What lists show of it.
    pub summary: Value,
}

impl Store {
    /// At most `limit` profiles that pass the filter, after a position.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn profiles(
        &self,
        filter: ProfileFilter,
        sort: ProfileSort,
        descending: bool,
        after: Option<ProfilePosition>,
        limit: i64,
    ) -> Result<Vec<ProfileRow>, DbError> {
        self.queries
            .read("profiles", move |tx| {
                let (sql, params) = list_sql(&filter, sort, descending, after.as_ref(), limit);
                Box::pin(async move {
                    let rows = tx.query(&sql, params).await?;
                    let shown = rows.iter().map(|row| {
                        Ok(ProfileRow {
                            id: row.get("id")?,
                            updated_at: row.get("updated_at")?,
                            sort_name: row.get("sort_name")?,
                            summary: stored(&row.get::<String>("summary")?, "summary")?,
                        })
                    });
                    shown.collect()
                })
            })
            .await
    }

    /// One profile; None when there is nothing to show under this id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn profile(&self, id: &ProfileId) -> Result<Option<Profile>, DbError> {
        let id = id.to_string();
        self.queries
            .read("profile", move |tx| {
                let params = params![&id];
                Box::pin(async move {
                    let sql = "SELECT body FROM profiles WHERE id = ? AND status IS NOT NULL";
                    let row = tx.query_one(sql, params).await?;
                    row.map(|row| stored(&row.get::<String>("body")?, "body"))
                        .transpose()
                })
            })
            .await
    }
}

fn stored<T: serde::de::DeserializeOwned>(text: &str, column: &str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|_| super::record_rows::unreadable(column))
}

fn list_sql(
    filter: &ProfileFilter,
    sort: ProfileSort,
    descending: bool,
    after: Option<&ProfilePosition>,
    limit: i64,
) -> (String, Params) {
    let mut conditions: Vec<String> = Vec::new();
    let mut params = Params::new();
    match filter.status {
        Some(status) => {
            conditions.push("status = ?".to_owned());
            params.push(status.as_str().into());
        }
        None => conditions.push("status IN ('active', 'stub')".to_owned()),
    }
    for (kind, term) in &filter.terms {
        let found = if *kind == TermKind::Name {
            "term >= ? AND term < ?"
        } else {
            "term = ?"
        };
        conditions.push(format!(
            "id IN (SELECT profile_id FROM profile_terms WHERE kind = ? AND {found})"
        ));
        params.extend(params![kind.as_str(), term]);
        if *kind == TermKind::Name {
            params.push(end_of_prefix(term).into());
        }
    }
    if let Some(property) = &filter.property_id {
        conditions.push("id IN (SELECT profile_id FROM profile_properties WHERE property_id = ?)".to_owned());
        params.push(property.as_str().into());
    }
    if let Some(since) = filter.updated_since {
        conditions.push("updated_at >= ?".to_owned());
        params.push(since.into());
    }
    let (beyond, direction) = if descending { ("<", "DESC") } else { (">", "ASC") };
    let column = match sort {
        ProfileSort::UpdatedAt => "updated_at",
        ProfileSort::Name => "sort_name",
    };
    if let Some(after) = after {
        // Spelled out so that both engines walk the index: MariaDB does not use one for a row comparison.
        conditions.push(format!(
            "{column} {beyond}= ? AND ({column} {beyond} ? OR id {beyond} ?)"
        ));
        params.extend(match after {
            ProfilePosition::UpdatedAt(at, id) => params![*at, *at, id.as_str()],
            ProfilePosition::Name(name, id) => params![name, name, id.as_str()],
        });
    }
    params.push(limit.into());
    let conditions = conditions.join(" AND ");
    let sql = format!(
        "SELECT id, updated_at, sort_name, summary FROM profiles WHERE {conditions} \
         ORDER BY {column} {direction}, id {direction} LIMIT ?"
    );
    (sql, params)
}
