//! The feed as it is read: pages of events in the order of their places.
//!
//! Places are given after the commit, in order, by one process at a time, and the last of them is written in the same transaction
//! (`fan_out`). It is read first here: so all places up to it are seen by what is read behind it, and no event gets one of them
//! later. A node of a cluster that is behind has a lower last place, and nothing is skipped either.

use super::{Store, fan_out::FEED};
use contract::{
    Scope,
    feed::{FEED_PAGE_BODY_BYTES_MAX, FeedEvent, FeedPage, mark},
    id::IdempotencyKey,
};
use db::{DbError, InList, Params, Row, Tx, in_lists, params, read_id};
use std::collections::HashMap;

/// Places that one page looks at, for a caller who sees few of the events.
pub const PLACES_LOOKED_AT_MAX: i64 = 5_000;

/// What of the feed is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedQuery {
    /// Only events behind this place.
    pub after: i64,
    /// The mark of that place, as the caller knows it.
    pub mark: Option<String>,
    /// Events at most.
    pub limit: u32,
    /// Whether their bodies are wanted.
    pub bodies: bool,
    /// Which the caller may see.
    pub scope: Scope,
}

/// What was found.
#[derive(Debug)]
pub enum FeedRead {
    /// The events without their bodies, and how many bytes these have in all.
    Page(FeedPage, usize),
    /// The place that the caller has come to is not given yet: it never was in this database, or its node is behind.
    Ahead,
    /// Another event has the place that the caller has come to: this database was restored from a backup, and went on from there.
    Replaced,
}

impl Store {
    /// The next page of the feed.
    ///
    /// # Errors
    /// Those of the database; `Unavailable` when too many lists are being read.
    pub async fn feed(&self, query: FeedQuery) -> Result<FeedRead, DbError> {
        self.lists
            .read("feed", move |tx| {
                let query = query.clone();
                Box::pin(async move { read_page(tx, &query).await })
            })
            .await
    }

    /// Adds the bodies of a page, as far as they are kept. It is a read of its own, so that memory is set aside for them before.
    ///
    /// # Errors
    /// Those of the database; `Unavailable` when too many lists are being read.
    pub async fn feed_bodies(&self, page: FeedPage) -> Result<FeedPage, DbError> {
        self.lists
            .read("feed_bodies", move |tx| {
                let mut page = page.clone();
                Box::pin(async move {
                    with_bodies(tx, &mut page.data).await?;
                    Ok(page)
                })
            })
            .await
    }

    /// An event of the feed with its body.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn feed_event(&self, id: &IdempotencyKey, scope: &Scope) -> Result<Option<FeedEvent>, DbError> {
        let (id, scope) = (id.clone(), scope.clone());
        self.reads
            .read("feed_event", move |tx| {
                let (id, scope) = (id.clone(), scope.clone());
                Box::pin(async move {
                    let sql = format!("{SELECT} WHERE id = ? AND feed_seq > 0");
                    let Some(row) = tx.query_one(&sql, params![id.as_str()]).await? else {
                        return Ok(None);
                    };
                    let mut events = vec![read_event(&row)?];
                    with_bodies(tx, &mut events).await?;
                    let event = events.pop();
                    Ok(event.filter(|event| scope.has_optional(event.property_id.as_deref())))
                })
            })
            .await
    }
}

/// The columns of an event; its body is in another table.
const SELECT: &str = "SELECT id, feed_seq, type, property_id, committed_at FROM events";

async fn read_page(tx: &mut Tx, query: &FeedQuery) -> Result<FeedRead, DbError> {
    let head = FEED.last_place(tx).await?;
    if let Some(known) = &query.mark {
        if query.after > head {
            return Ok(FeedRead::Ahead);
        }
        // What was deleted since cannot be compared: `oldest` shows it.
        if mark_of(tx, query.after).await?.is_some_and(|mark| mark != *known) {
            return Ok(FeedRead::Replaced);
        }
    }
    let first = "SELECT feed_seq FROM events WHERE feed_seq > 0 ORDER BY feed_seq LIMIT 1";
    let first = tx.query_one(first, vec![]).await?;
    let oldest: Option<i64> = first.map(|row| row.get("feed_seq")).transpose()?;
    let begin = query
        .after
        .max(oldest.map_or(head, |oldest| oldest - 1).min(head));
    let until = begin.saturating_add(PLACES_LOOKED_AT_MAX).min(head);
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let rows = rows(tx, query, begin, until).await?;
    let mut data = Vec::new();
    let mut bytes = 0;
    for row in rows.iter().take(limit) {
        let of_body = if query.bodies {
            row.get::<Option<u32>>("bytes")?.unwrap_or_default() as usize
        } else {
            0
        };
        if bytes + of_body > FEED_PAGE_BODY_BYTES_MAX && !data.is_empty() {
            break;
        }
        bytes += of_body;
        data.push(read_event(row)?);
    }
    let next_after = match data.last() {
        Some(last) if data.len() < rows.len() || data.len() == limit => last.feed_seq,
        _ => until.max(query.after),
    };
    let page = FeedPage {
        data,
        next_mark: mark_of(tx, next_after).await?,
        has_more: next_after < head,
        next_after,
        head,
        oldest,
    };
    Ok(FeedRead::Page(page, bytes))
}

/// The events between two places that the caller may see, one more than the page may have, each with its body's length.
async fn rows(tx: &mut Tx, query: &FeedQuery, after: i64, until: i64) -> Result<Vec<Row>, DbError> {
    let lengths = if query.bodies {
        "SELECT e.id, e.feed_seq, e.type, e.property_id, e.committed_at, LENGTH(b.body) AS bytes
         FROM events e LEFT JOIN event_bodies b ON b.event_id = e.id"
    } else {
        "SELECT e.id, e.feed_seq, e.type, e.property_id, e.committed_at FROM events e"
    };
    let (within, parts) = match &query.scope {
        Scope::All => (String::new(), Params::new()),
        Scope::Parts(parts) => {
            let list = InList::of(parts);
            (format!(" AND e.property_id IN {list}"), list.into_params())
        }
    };
    let sql =
        format!("{lengths} WHERE e.feed_seq > ? AND e.feed_seq <= ?{within} ORDER BY e.feed_seq LIMIT ?");
    let mut values = params![after, until];
    values.extend(parts);
    values.push((i64::from(query.limit) + 1).into());
    tx.query(&sql, values).await
}

fn read_event(row: &Row) -> Result<FeedEvent, DbError> {
    Ok(FeedEvent {
        feed_seq: row.get("feed_seq")?,
        event_id: read_id(row, "id")?,
        event_type: row.get("type")?,
        property_id: row.get("property_id")?,
        committed_at: row.get("committed_at")?,
        body: None,
    })
}

/// Adds the bodies, as far as they are kept.
async fn with_bodies(tx: &mut Tx, events: &mut [FeedEvent]) -> Result<(), DbError> {
    let mut bodies = HashMap::new();
    for list in in_lists(events.iter().map(|event| event.event_id.as_str())) {
        let sql = format!("SELECT event_id, body FROM event_bodies WHERE event_id IN {list}");
        for row in tx.query(&sql, list.into_params()).await? {
            let body: Option<Vec<u8>> = row.get("body")?;
            let text = body.map(|body| String::from_utf8(body).map_err(|_| DbError::unreadable("body")));
            bodies.insert(row.get::<String>("event_id")?, text.transpose()?);
        }
    }
    for event in events {
        event.body = Some(bodies.remove(event.event_id.as_str()).flatten());
    }
    Ok(())
}

async fn mark_of(tx: &mut Tx, place: i64) -> Result<Option<String>, DbError> {
    let sql = "SELECT id FROM events WHERE feed_seq = ?";
    let row = tx.query_one(sql, params![place]).await?;
    row.map(|row| Ok(mark(place, &row.get::<String>("id")?)))
        .transpose()
}
