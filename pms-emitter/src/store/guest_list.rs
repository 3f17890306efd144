//! Lists of guests: what they are narrowed to, page by page.

use super::{
    Store,
    guests::{SELECT, read},
};
use crate::domain::guest::{Guest, GuestStatus};
use api::ListQuery;
use contract::PropertyId;
use db::params;
use db::{DbError, Params};
use kit::fold::words::TypedWord;
use kit::listing::begins_with_any;
use kit::listing::{Index, Link, Listing, Order, Reading, Rows, Table};

/// The table as it is listed.
const GUESTS: Table = Table {
    name: "guests",
    id: "id",
    orders: &[
        Order {
            field: "created_at",
            column: "created_at",
            index: "guests_created",
        },
        Order {
            field: "updated_at",
            column: "updated_at",
            index: "guests_updated",
        },
        Order {
            field: "last_name",
            column: "last_name_folded",
            index: "guests_last_name",
        },
    ],
};

const EXTERNAL_IDS: Link = Link {
    table: "guest_external_ids",
    id: "guest_id",
    by_value: Index::Primary,
    by_row: Index::Named("guest_external_ids_guest"),
};

const NAME_WORDS: Link = Link {
    table: "guest_name_words",
    id: "guest_id",
    by_value: Index::Primary,
    by_row: Index::Named("guest_name_words_guest"),
};

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
    /// Whose last names have all of these words.
    pub last_name: Vec<TypedWord>,
    /// With this id (system, value) in another system.
    pub external_id: Option<(String, String)>,
    /// Of this level.
    pub vip_level: Option<u8>,
    /// Blacklisted or not.
    pub blacklisted: Option<bool>,
}

impl Store {
    /// The guests of one page.
    ///
    /// # Errors
    /// The database's.
    pub async fn guests(&self, filter: &GuestFilter, query: &ListQuery) -> Result<Rows<Guest>, DbError> {
        let reading = Reading {
            name: "list_guests",
            select: SELECT,
            read,
        };
        self.lists.find(filter.listing(query), query, reading).await
    }
}

impl GuestFilter {
    fn listing(&self, query: &ListQuery) -> Listing {
        let mut listing = Listing::of(&GUESTS);
        match self.status {
            Some(status) => listing.equal("status", Some(status.as_str())),
            None => listing.require("status NOT IN ('deleted', 'erased')", Params::new()),
        }
        listing.equal("property_id", self.property_id.as_ref().map(PropertyId::as_str));
        listing.equal_by("guests_email", "email", self.email.as_ref());
        listing.equal_by("guests_phone", "phone", self.phone.as_ref());
        for word in &self.last_name {
            let (begins, params) = begins_with_any("", "word", word);
            listing.linked(NAME_WORDS, begins, params);
        }
        listing.equal("vip_level", self.vip_level);
        listing.equal("blacklisted", self.blacklisted);
        if let Some((system, value)) = &self.external_id {
            let condition = "system_name = ? AND external_id = ?";
            listing.linked(EXTERNAL_IDS, condition, params![system, value]);
        }
        let none = None::<i64>;
        listing.between(Some("guests_updated"), "updated_at", query.updated_since, none);
        listing
    }
}
