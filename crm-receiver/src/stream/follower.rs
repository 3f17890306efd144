//! One client of the stream: from its place on, everything that passes its filter.

use super::{
    Feed, Place, StreamFilter,
    feed::{ClientPlace, NoBatch},
};
use crate::store::StreamBounds;
use api::event_stream::{self, Ended, EventSink};
use db::DbError;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// The longest time without a message: then the client gets its place, so that neither it nor a proxy takes the connection for
/// dead, and a filter that lets little through does not leave the client with an old place.
const MARK_EVERY: Duration = Duration::from_secs(15);
/// How long a client waits before it connects again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// The pause after a read that failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// A client that has one of the places, and knows where it begins.
pub struct Follower {
    feed: Feed,
    place: Place,
    _held: ClientPlace,
}

/// Whether a client can begin.
pub enum Resumed {
    /// It begins behind its place.
    At(Follower),
    /// There are as many clients as there may be.
    Crowded,
    /// What follows its place is not kept any more, or there never was such a place.
    Gone,
}

impl Follower {
    /// A client that has everything up to `place`, or begins now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn resume(feed: &Feed, place: Option<Place>) -> Result<Resumed, DbError> {
        let Some(held) = feed.enter() else {
            return Ok(Resumed::Crowded);
        };
        let bounds = feed.store().stream_bounds().await?;
        let place = place.unwrap_or(Place::behind(bounds.last));
        if !is_kept(place, bounds) {
            return Ok(Resumed::Gone);
        }
        Ok(Resumed::At(Self {
            feed: feed.clone(),
            place,
            _held: held,
        }))
    }

    /// Sends what passes the filter, until the client is gone or cut off, or what comes next is not kept any more.
    pub async fn follow(self, filter: StreamFilter, sink: EventSink) {
        tokio::select! {
            () = sink.ended() => {}
            ended = self.send_all(&filter, &sink) => {
                if ended == Ended::Cut {
                    self.feed.count_cut();
                }
            }
        }
    }

    async fn send_all(&self, filter: &StreamFilter, sink: &EventSink) -> Ended {
        let ended = self.send_each(filter, sink).await;
        ended.err().unwrap_or(Ended::Gone)
    }

    /// Ends without an error where what comes next is not kept any more.
    async fn send_each(&self, filter: &StreamFilter, sink: &EventSink) -> Result<(), Ended> {
        let mut whole = self.place.whole();
        sink.send(event_stream::retry_after(RETRY_AFTER)).await?;
        sink.send(event_stream::mark(&self.place.to_string())).await?;
        let mut mark_at = Instant::now() + MARK_EVERY;
        loop {
            match timeout_at(mark_at, self.feed.next(whole)).await {
                Ok(Ok(batch)) => {
                    let known = self.place.known_of(batch.seq);
                    for message in batch.messages.iter().skip(known).flatten() {
                        if filter.lets_through(message) {
                            sink.send(message.bytes.clone()).await?;
                            mark_at = Instant::now() + MARK_EVERY;
                        }
                    }
                    whole = batch.seq;
                }
                Ok(Err(NoBatch::Gone)) => return Ok(()),
                Ok(Err(NoBatch::Unread(error))) => {
                    // The outage itself is logged by the feed.
                    tracing::debug!(%error, "a batch of the stream is read later");
                    sleep(FAILURE_PAUSE).await;
                }
                Err(_) => {}
            }
            // Not before the rest of the batch that the client has in part was sent.
            if Instant::now() >= mark_at && whole >= self.place.seq {
                sink.send(event_stream::mark(&Place::behind(whole).to_string()))
                    .await?;
                mark_at = Instant::now() + MARK_EVERY;
            }
        }
    }
}

/// Whether everything behind a place can be read.
fn is_kept(place: Place, bounds: StreamBounds) -> bool {
    let whole = place.whole();
    let is_next_there = bounds.first.is_some_and(|first| first <= whole + 1) && whole < bounds.last;
    is_next_there || (place.position.is_none() && whole == bounds.last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_when_nothing_behind_it_is_missing() {
        let some = StreamBounds {
            first: Some(5),
            last: 9,
        };
        let kept = |text: &str, bounds| is_kept(text.parse().unwrap(), bounds);
        for good in ["4", "5", "5.0", "9", "9.2"] {
            assert!(kept(good, some), "{good}");
        }
        for bad in ["0", "3", "4.7", "10", "10.0"] {
            assert!(!kept(bad, some), "{bad}");
        }
        let none = StreamBounds { first: None, last: 9 };
        assert!(kept("9", none) && !kept("8", none) && !kept("9.0", none));
        let new = StreamBounds { first: None, last: 0 };
        assert!(kept("0", new) && !kept("1", new));
    }
}
