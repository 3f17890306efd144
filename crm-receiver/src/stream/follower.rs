//! One client of the stream: from its place on, everything that passes its filter.

use super::{
    Feed, Place, StreamFilter,
    feed::{ClientPlace, NoBatch},
};
use crate::store::Behind;
use api::event_stream::{self, Ended, EventSink};
use db::DbError;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};

/// The longest time without a message: then the client gets its place, so that neither it nor a proxy takes the connection for
/// dead, and a filter that lets little through does not leave the client with an old place.
const MARK_EVERY: Duration = Duration::from_secs(15);
/// How long a client waits before it connects again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How far the nodes of a database may be apart, and how often to look whether ours has come as far.
const NODES_AGREE_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
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
    /// There are as many clients as there may be, in all or of this caller.
    Crowded,
    /// What follows its place is not kept any more, or there never was such a place.
    Gone,
}

impl Follower {
    /// A client of a caller, that has everything up to `place`, or begins now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn resume(feed: &Feed, caller: &Arc<str>, place: Option<Place>) -> Result<Resumed, DbError> {
        if !feed.has_place(caller) {
            return Ok(Resumed::Crowded);
        }
        let place = match place {
            None => Place::behind(feed.store().stream_end().await?),
            Some(place) => {
                if !is_kept(place, behind(feed, place).await?) {
                    return Ok(Resumed::Gone);
                }
                place
            }
        };
        // Not before it is known that it begins: who asks for a place that never was holds none meanwhile.
        let Some(held) = feed.enter(caller) else {
            return Ok(Resumed::Crowded);
        };
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
        let mut mark = MarkTimer::begin(Instant::now());
        loop {
            match timeout_at(mark.at, self.feed.next(whole)).await {
                Ok(Ok(batch)) => {
                    let known = self.place.known_of(batch.seq);
                    for message in batch.messages.iter().skip(known).flatten() {
                        if filter.lets_through(message) {
                            sink.send(message.bytes.clone()).await?;
                            mark = MarkTimer::begin(Instant::now());
                        }
                    }
                    whole = batch.seq;
                }
                Ok(Err(NoBatch::Gone)) => return Ok(()),
                Ok(Err(NoBatch::Late)) => sleep(LOOK_AGAIN).await,
                Ok(Err(NoBatch::Unread(error))) => {
                    // The outage itself is logged by the feed.
                    tracing::debug!(%error, "a batch of the stream is read later");
                    sleep(FAILURE_PAUSE).await;
                }
                Err(_) => {}
            }
            // Not before the rest of the batch that the client has in part was sent.
            if mark.is_due(Instant::now()) && whole >= self.place.seq {
                sink.send(event_stream::mark(&Place::behind(whole).to_string()))
                    .await?;
            }
        }
    }
}

/// When a client gets its place next.
struct MarkTimer {
    at: Instant,
}

impl MarkTimer {
    fn begin(now: Instant) -> Self {
        Self { at: now + MARK_EVERY }
    }

    /// Whether the time has come; then the next time is that much later, also where nothing is sent: a time that has passed
    /// would leave the reads no time at all.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.at;
        if is_due {
            *self = Self::begin(now);
        }
        is_due
    }
}

/// What is there behind a place. One that seems never to have been may be known to another node of the database already.
async fn behind(feed: &Feed, place: Place) -> Result<Behind, DbError> {
    let until = Instant::now() + NODES_AGREE_WITHIN;
    loop {
        let behind = feed.store().stream_behind(place.whole()).await?;
        if behind.last >= place.seq || Instant::now() >= until {
            return Ok(behind);
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Whether what comes behind a place can be read, or is still to come.
fn is_kept(place: Place, behind: Behind) -> bool {
    let is_at_the_end = place.position.is_none() && place.seq == behind.last;
    behind.is_next_there || is_at_the_end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_mark_is_never_left_in_the_past() {
        let begin = Instant::now();
        let mut mark = MarkTimer::begin(begin);
        assert!(!mark.is_due(begin + MARK_EVERY / 2));
        let late = begin + 3 * MARK_EVERY;
        assert!(mark.is_due(late) && mark.at > late);
        assert!(!mark.is_due(late), "once");
    }

    #[test]
    fn a_place_is_kept_when_what_comes_next_is_there_or_still_to_come() {
        let kept = |text: &str, last, is_next_there| {
            let behind = Behind { last, is_next_there };
            is_kept(text.parse().unwrap(), behind)
        };
        assert!(kept("8", 9, true) && kept("9", 9, false) && kept("9.2", 9, true) && kept("0", 0, false));
        // Purged; of a batch that is gone in part; of a database that was restored.
        assert!(!kept("8", 9, false) && !kept("9.2", 9, false) && !kept("10", 9, false));
    }
}
