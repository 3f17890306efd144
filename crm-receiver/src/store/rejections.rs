//! The table `rejections`: a sample of the deliveries that were refused, without anything of their headers and bodies.

use super::Store;
use api::ListQuery;
use contract::{Scope, SourceId, UnixMillis};
use db::{DbError, Params, Row, params};
use kit::listing::{Index, Listing, Lookup, Order, Part, Reading, Rows, Table};
use serde::Serialize;
use std::sync::{Arc, LazyLock};

/// A delivery that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectionRow {
    /// Its id, which only keeps it from being written twice.
    #[serde(skip)]
    pub id: String,
    /// When it came.
    pub at: UnixMillis,
    /// The source of its path, or `unknown`.
    pub source: String,
    /// Why it was refused.
    pub cause: String,
    /// The sender's clock minus ours, where that was the cause.
    pub skew_seconds: Option<i64>,
    /// The network from which it came: the /24 of an IPv4 address, the /48 of an IPv6 address.
    pub address: Option<String>,
}

/// What a rejection must have to be in the list. Absent: anything.
#[derive(Clone, Debug, Default)]
pub struct RejectionFilter {
    /// The source of the path, or `unknown`.
    pub source: Option<SourceId>,
    /// Why it was refused.
    pub cause: Option<String>,
    /// Came at or after.
    pub from: Option<UnixMillis>,
    /// Came before.
    pub to: Option<UnixMillis>,
    /// Who asks: a rejection belongs to no property, so that a scope of some sees none.
    pub scope: Scope,
}

const REJECTIONS: Table = Table {
    name: "rejections",
    id: "id",
    orders: &[Order {
        field: "at",
        column: "at",
        index: "rejections_at",
    }],
};
const COLUMNS: [&str; 6] = ["id", "at", "source", "cause", "skew_seconds", "address"];
static SELECT: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM {}", COLUMNS.join(", "), REJECTIONS.name));

impl Store {
    /// Keeps rejections; those that are there already stay.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add_rejections(&self, rows: Arc<[RejectionRow]>) -> Result<(), DbError> {
        self.db
            .transaction("add_rejections", move |tx| {
                let rows = Arc::clone(&rows);
                Box::pin(async move {
                    let values = rows.iter().flat_map(|row| {
                        params![
                            &row.id,
                            row.at,
                            &row.source,
                            &row.cause,
                            row.skew_seconds,
                            &row.address
                        ]
                    });
                    let skip = tx.dialect().skip_existing("id");
                    tx.insert(REJECTIONS.name, &COLUMNS, &skip, values.collect())
                        .await
                })
            })
            .await
    }

    /// The rejections of one page.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rejections(
        &self,
        filter: &RejectionFilter,
        query: &ListQuery,
    ) -> Result<Rows<RejectionRow>, DbError> {
        let reading = Reading {
            name: "rejections",
            select: SELECT.as_str(),
            read: read_rejection,
        };
        self.lists.find(filter.listing(), query, reading).await
    }
}

impl RejectionFilter {
    fn listing(&self) -> Listing {
        let mut listing = Listing::of(&REJECTIONS);
        if self.scope != Scope::All {
            // Found by an index, so that no page looks at rows: how many there are is not shown either.
            listing.find_by(Lookup::new(Part {
                before: None,
                table: REJECTIONS.name,
                index: Index::Primary,
                id: REJECTIONS.id,
                condition: "id = ''".to_owned(),
                params: Params::new(),
            }));
            listing.require("id = ''", Params::new());
        }
        let source = self.source.as_ref().map(SourceId::as_str);
        listing.equal_by("rejections_source", "source", source);
        listing.equal("cause", self.cause.as_ref());
        listing.between(Some("rejections_at"), "at", self.from, self.to);
        listing
    }
}

fn read_rejection(row: &Row) -> Result<RejectionRow, DbError> {
    Ok(RejectionRow {
        id: row.get("id")?,
        at: row.get("at")?,
        source: row.get("source")?,
        cause: row.get("cause")?,
        skew_seconds: row.get("skew_seconds")?,
        address: row.get("address")?,
    })
}
