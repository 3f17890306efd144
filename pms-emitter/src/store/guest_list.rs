//! Lists of guests: what they are narrowed to, page by page.

use super::{
    Store,
    guests::{SELECT, read},
    listing::Listing,
};
use crate::domain::guest::{Guest, GuestStatus};
use contract::PropertyId;
use kit::db::{DbError, Params, Row};
use kit::http::ListQuery;
use kit::params;

/// What a list of guests is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct GuestFilter {
    /// In this status; without it, everything but deleted and erased.
    pub status: Option<GuestStatus>,
    /// Of this property.
    pub property_id: Option<PropertyId>,
    /// With this address, in any letter case.
    pub email: Option<String>,
    /// With this number.
    pub phone: Option<String>,
    /// Whose last name begins with this, folded.
    pub last_name: Option<String>,
    /// With this id (system, value) in another system.
    pub external_id: Option<(String, String)>,
    /// Of this level.
    pub vip_level: Option<u8>,
    /// Blacklisted or not.
    pub blacklisted: Option<bool>,
}

/// A guest in a list, with what it is sorted by.
#[derive(Clone, Debug)]
pub struct ListedGuest {
    /// The record.
    pub guest: Guest,
    /// Its folded last name.
    pub last_name_folded: String,
}

impl Store {
    /// One page of guests, and one row more.
    ///
    /// # Errors
    /// The database's.
    pub async fn guests(&self, filter: &GuestFilter, query: &ListQuery) -> Result<Vec<ListedGuest>, DbError> {
        let column = match query.sort.field.name {
            "last_name" => "last_name_folded",
            "updated_at" => "updated_at",
            _ => "created_at",
        };
        let (sql, params) = filter.listing().page(SELECT, column, query);
        self.queries
            .read("list_guests", move |tx| {
                let (sql, params) = (sql.clone(), params.clone());
                Box::pin(async move { tx.query(&sql, params).await?.iter().map(read_listed).collect() })
            })
            .await
    }
}

impl GuestFilter {
    fn listing(&self) -> Listing {
        let mut listing = Listing::default();
        match self.status {
            Some(status) => listing.equal("status", Some(status.as_str())),
            None => listing.require("status NOT IN ('deleted', 'erased')", Params::new()),
        }
        listing.equal("property_id", self.property_id.as_ref().map(PropertyId::as_str));
        listing.equal("email", self.email.as_ref());
        listing.equal("phone", self.phone.as_ref());
        listing.begins_with("last_name_folded", self.last_name.as_ref());
        listing.equal("vip_level", self.vip_level);
        listing.equal("blacklisted", self.blacklisted);
        if let Some((system, value)) = &self.external_id {
            listing.require(
                "id IN (SELECT guest_id FROM guest_external_ids WHERE system_name = ? AND external_id = ?)",
                params![system, value],
            );
        }
        listing
    }
}

fn read_listed(row: &Row) -> Result<ListedGuest, DbError> {
    Ok(ListedGuest {
        guest: read(row)?,
        last_name_folded: row.get("last_name_folded")?,
    })
}
