//! The feed: the emitter's events in the order of their places, as it answers them and a consumer reads them.
//!
//! A delivery may be lost, or dead; the feed has every event all the same, with the very bytes that were signed. So a receiver
//! proves by it that nothing is missing, and a later delivery of what it read there is a duplicate.

use crate::{UnixMillis, id::IdempotencyKey};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Events of one page at most.
pub const FEED_PAGE_EVENTS_MAX: u32 = 500;
/// Bytes of a page at most.
pub const FEED_PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of an event in a page beside its body, at most: an id, a type and the names of the members.
pub const FEED_EVENT_BYTES_MAX: usize = 512;
/// Bytes of bodies in one page at most, but for a single event that is larger: a body's text may be twice as long inside JSON, where
/// its quotes are escaped.
pub const FEED_PAGE_BODY_BYTES_MAX: usize =
    (FEED_PAGE_BYTES_MAX - (FEED_PAGE_EVENTS_MAX as usize + 1) * FEED_EVENT_BYTES_MAX) / 2;
/// The longest that a caller may wait for an event, in seconds.
pub const FEED_WAIT_SECONDS_MAX: u32 = 30;
/// Bytes of the digest that a mark shows.
const MARK_BYTES: usize = 8;

/// One page, in the order of places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedPage {
    /// The events behind `after` that the caller may see.
    pub data: Vec<FeedEvent>,
    /// What `after` of the next page is: all up to this place is in this page or not the caller's to see.
    pub next_after: i64,
    /// What `mark` of the next page is; none where no event has this place, as at 0.
    pub next_mark: Option<String>,
    /// Whether there are more places behind `next_after`.
    pub has_more: bool,
    /// The last place that was given.
    pub head: i64,
    /// The first place whose event is still in the log; none where there is none.
    pub oldest: Option<i64>,
}

/// An event of the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedEvent {
    /// Its place.
    pub feed_seq: i64,
    /// Its id, which is its idempotency key.
    pub event_id: IdempotencyKey,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The property that it belongs to; a ping has none.
    pub property_id: Option<String>,
    /// When its change was committed.
    pub committed_at: UnixMillis,
    /// The exact text that is signed and sent; `null` where it is kept no more, absent where bodies were not asked for.
    #[serde(default, with = "asked_for", skip_serializing_if = "Option::is_none")]
    pub body: Option<Option<String>>,
}

/// Distinguishes `null` from absent.
mod asked_for {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(body: &Option<Option<String>>, to: S) -> Result<S::Ok, S::Error> {
        body.serialize(to)
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Option<String>>, D::Error> {
        Option::deserialize(from).map(Some)
    }
}

/// The mark of a place: it differs when another event has the place, as in a database that was restored from a backup and went
/// on from there. It says nothing of the event.
pub fn mark(place: i64, event_id: &str) -> String {
    let digest = Sha256::digest(format!("{place}:{event_id}"));
    digest[..MARK_BYTES].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A body that was read from the feed that the operator names. It is authentic by where it was read, not by a signature.
#[derive(Clone, Debug)]
pub struct FetchedBody {
    id: IdempotencyKey,
    body: Bytes,
}

impl FetchedBody {
    /// The body of an event, unless it is kept no more or was not asked for.
    pub fn of(event: FeedEvent) -> Option<Self> {
        Some(Self {
            id: event.event_id,
            body: event.body.flatten()?.into(),
        })
    }

    /// The idempotency key that the feed has it under.
    pub fn id(&self) -> &IdempotencyKey {
        &self.id
    }

    /// The bytes that are signed when it is delivered.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(body: Option<Option<String>>) -> FeedEvent {
        FeedEvent {
            feed_seq: 7,
            event_id: "evt_7".parse().unwrap(),
            event_type: "guest.updated".to_owned(),
            property_id: None,
            committed_at: UnixMillis(0),
            body,
        }
    }

    #[test]
    fn a_body_that_is_gone_differs_from_one_that_was_not_asked_for() {
        for body in [None, Some(None), Some(Some("{\"a\":\"\\u00e9\"}".to_owned()))] {
            let text = serde_json::to_string(&event(body.clone())).unwrap();
            assert_eq!(text.contains("\"body\""), body.is_some());
            assert_eq!(serde_json::from_str::<FeedEvent>(&text).unwrap().body, body);
            let fetched = FetchedBody::of(event(body.clone())).map(|fetched| fetched.body);
            assert_eq!(fetched, body.flatten().map(Bytes::from));
        }
    }

    #[test]
    fn a_mark_is_of_a_place_and_its_event() {
        assert_eq!(mark(7, "evt_7"), mark(7, "evt_7"));
        assert_eq!(mark(7, "evt_7").len(), 2 * MARK_BYTES);
        assert_ne!(mark(7, "evt_7"), mark(7, "evt_8"));
        assert_ne!(mark(7, "evt_7"), mark(8, "evt_7"));
    }
}
