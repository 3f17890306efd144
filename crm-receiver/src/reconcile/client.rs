//! Reads pages of the feed over HTTP, and tries again what may go well later.

use super::FeedConfig;
use contract::feed::{FEED_PAGE_BYTES_MAX, FeedPage};
use http::{HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER};
use kit::egress::{Egress, EgressSettings, FetchError, InvalidTarget, TargetUrl};
use std::{fmt, str::FromStr, time::Duration};
use tokio::time::sleep;

/// How this service names itself.
const AGENT: &str = concat!("crm-receiver/", env!("CARGO_PKG_VERSION"));
/// How long one page may take.
const PAGE_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of an answer at most: a page, or a single event that is larger than one.
const ANSWER_BYTES_MAX: usize = 2 * FEED_PAGE_BYTES_MAX;
/// Tries of one page that the sender asks to repeat, or that did not come.
const TRIES: u32 = 5;
/// The pause before another try, unless the sender says how long; and the longest that it may say.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
const API_KEY: &str = "x-api-key";
/// The longest key.
const KEY_LEN_MAX: usize = 512;

/// An API key of the emitter. It shows itself to nobody.
#[derive(Clone)]
pub struct FeedKey(HeaderValue);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must have 1 to {KEY_LEN_MAX} characters, all of them visible ASCII")]
pub struct InvalidFeedKey;

impl FromStr for FeedKey {
    type Err = InvalidFeedKey;
    fn from_str(text: &str) -> Result<Self, InvalidFeedKey> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain || !(1..=KEY_LEN_MAX).contains(&text.len()) {
            return Err(InvalidFeedKey);
        }
        let mut value = HeaderValue::from_str(text).map_err(|_| InvalidFeedKey)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for FeedKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("FeedKey(..)")
    }
}

/// Why a page cannot be read. It holds no address: it may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// The place belongs to another feed than it did.
    #[error("another event has this place of the feed")]
    AnotherFeed,
    /// The key is not accepted, or may not read events.
    #[error("PMS_API_KEY is refused with {0}")]
    Refused(StatusCode),
    /// It is no feed.
    #[error("PMS_FEED_URL is no feed: it answers {0}")]
    NoFeed(StatusCode),
    /// It does not answer now.
    #[error("the feed cannot be read at present: it answers {0}")]
    Unavailable(StatusCode),
    /// It is not there, or does not answer in time.
    #[error("the feed cannot be read: {0}")]
    Unreachable(FetchError),
    /// Its answer is no page, or its places are in no order.
    #[error("PMS_FEED_URL is no feed: its answer is no page of events")]
    Unreadable,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageQuery<'q> {
    pub(super) after: i64,
    pub(super) mark: Option<&'q str>,
    pub(super) limit: usize,
    pub(super) bodies: bool,
}

/// Reads one feed. Clones share its connections.
#[derive(Clone, Debug)]
pub struct FeedClient {
    egress: Egress,
    base: TargetUrl,
    key: Option<FeedKey>,
}

impl FeedClient {
    /// A client that asks nothing yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(config: &FeedConfig) -> Result<Self, String> {
        Ok(Self {
            egress: Egress::new(AGENT, EgressSettings::default()).map_err(|error| error.to_string())?,
            // The operator set it, so it may be private.
            base: config.url.clone().by_operator(),
            key: config.key.clone(),
        })
    }

    /// One page, after a few tries if need be.
    ///
    /// # Errors
    /// As [`FeedError`] lists them.
    pub(super) async fn page(&self, query: PageQuery<'_>) -> Result<FeedPage, FeedError> {
        let (after, limit) = (query.after.to_string(), query.limit.to_string());
        let bodies = query.bodies.to_string();
        let mut parameters = vec![
            ("after", after.as_str()),
            ("limit", limit.as_str()),
            ("bodies", bodies.as_str()),
        ];
        parameters.extend(query.mark.map(|mark| ("mark", mark)));
        let too_long = |_: InvalidTarget| FeedError::NoFeed(StatusCode::URI_TOO_LONG);
        let target = self.base.below("events", &parameters).map_err(too_long)?;
        let mut tries = 1;
        loop {
            let (error, pause) = match self.once(&target).await {
                Ok(page) => return checked(page, query),
                Err(Failed::AtLast(error)) => return Err(error),
                Err(Failed::ForNow(error, pause)) => (error, pause),
            };
            if tries == TRIES {
                return Err(error);
            }
            tries += 1;
            sleep(pause).await;
        }
    }

    async fn once(&self, target: &TargetUrl) -> Result<FeedPage, Failed> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            headers.insert(API_KEY, key.0.clone());
        }
        let fetched = self
            .egress
            .fetch(target, headers, PAGE_WITHIN, ANSWER_BYTES_MAX)
            .await;
        let fetched = fetched.map_err(|error| match error {
            FetchError::Broken(_) => Failed::ForNow(FeedError::Unreachable(error), PAUSE),
            FetchError::TooLarge => Failed::AtLast(FeedError::Unreadable),
        })?;
        match fetched.status {
            StatusCode::OK => {
                serde_json::from_slice(&fetched.body).map_err(|_| Failed::AtLast(FeedError::Unreadable))
            }
            StatusCode::GONE => Err(Failed::AtLast(FeedError::AnotherFeed)),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(Failed::AtLast(FeedError::Refused(status)))
            }
            status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                let pause = retry_after(&fetched.headers).unwrap_or(PAUSE).min(PAUSE_MAX);
                Err(Failed::ForNow(FeedError::Unavailable(status), pause))
            }
            status => Err(Failed::AtLast(FeedError::NoFeed(status))),
        }
    }
}

enum Failed {
    AtLast(FeedError),
    ForNow(FeedError, Duration),
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The page, if its places follow each other behind the one that was asked for: so a walk of the feed comes to its end.
fn checked(page: FeedPage, query: PageQuery<'_>) -> Result<FeedPage, FeedError> {
    let places = page.data.iter().map(|event| event.feed_seq);
    let mut before = query.after;
    for place in places {
        if place <= before {
            return Err(FeedError::Unreadable);
        }
        before = place;
    }
    let goes_on = page.next_after > query.after || !page.has_more;
    if page.next_after < before || !goes_on || page.data.len() > query.limit {
        return Err(FeedError::Unreadable);
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(places: &[i64], next_after: i64, has_more: bool) -> FeedPage {
        let event = |place: &i64| {
            serde_json::json!({
                "feed_seq": place, "event_id": format!("evt_{place}"), "type": "ping", "property_id": null,
                "committed_at": "2026-03-14T09:26:53.589Z",
            })
        };
        let data: Vec<_> = places.iter().map(event).collect();
        serde_json::from_value(serde_json::json!({
            "data": data, "next_after": next_after, "next_mark": null, "has_more": has_more, "head": 9, "oldest": 1,
        }))
        .unwrap()
    }

    #[test]
    fn a_page_that_would_not_come_to_an_end_is_none() {
        let query = PageQuery {
            after: 3,
            mark: None,
            limit: 3,
            bodies: false,
        };
        for (good, page) in [
            (true, page(&[4, 5, 7], 7, true)),
            (true, page(&[], 9, false)),
            (true, page(&[], 3, false)),
            (true, page(&[], 5, true)),
            (false, page(&[], 3, true)),
            (false, page(&[3], 4, true)),
            (false, page(&[5, 4], 5, true)),
            (false, page(&[4, 5], 4, true)),
            (false, page(&[4, 5, 6, 7], 7, true)),
            (false, page(&[], 2, false)),
        ] {
            assert_eq!(checked(page.clone(), query).is_ok(), good, "{page:?}");
        }
    }

    #[test]
    fn a_key_shows_itself_to_nobody() {
        let key: FeedKey = "gw_canary".parse().unwrap();
        assert_eq!(format!("{key:?}"), "FeedKey(..)");
        for bad in ["", "a b", "a\n", "é"] {
            assert!(bad.parse::<FeedKey>().is_err(), "{bad:?}");
        }
    }
}
