//! Answers that go on: server-sent events (`text/event-stream`, of the HTML standard).
//!
//! The handler keeps the [`EventSink`] and answers with the response beside it. Between the two stand at most
//! [`QUEUE_MESSAGES_MAX`] messages; a client that makes no room for the next one within [`CUT_AFTER`] is cut off. A stream ends
//! when the sink is dropped, when the caller's key changes or ends, and when the service stops.

use super::{
    Response, StopSignal,
    access::{Caller, Gate},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderName, HeaderValue, header::CONTENT_TYPE};
use std::{convert::Infallible, fmt::Write, future::pending, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// The media type of a stream of events.
pub const EVENT_STREAM: &str = "text/event-stream";
/// Asks a proxy that knows it (nginx) to pass each message on at once.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Messages that wait for one client.
pub const QUEUE_MESSAGES_MAX: usize = 256;
/// How long a full queue may have no room, until its client is cut off.
pub const CUT_AFTER: Duration = Duration::from_secs(10);
/// How often the caller's key is looked at.
const CALLER_EVERY: Duration = Duration::from_secs(2);
/// How often in a row it may be unknown.
const CALLER_UNKNOWN_MAX: u32 = 15;
/// How long the client of a stream that was ended has to read its last bytes.
const LAST_BYTES_WITHIN: Duration = Duration::from_secs(2);

/// Takes the messages for one client.
pub struct EventSink {
    queue: mpsc::Sender<Bytes>,
    streamed: Streamed,
}

/// Why a client gets no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is gone, or its stream was ended.
    Gone,
    /// It does not read, and was cut off.
    Cut,
}

/// On an answer that is a stream: how it is ended.
#[derive(Clone, Debug)]
pub(super) struct Streamed {
    /// Ends the answer as if it were complete; set, too, when it is done.
    ends: CancellationToken,
    /// Set when the answer was written whole, or its client is gone.
    done: CancellationToken,
    /// Ends the connection.
    cut: CancellationToken,
}

/// An answer whose messages come one by one, and where they are put.
pub fn event_stream() -> (EventSink, Response) {
    let (queue, messages) = mpsc::channel(QUEUE_MESSAGES_MAX);
    let done = CancellationToken::new();
    let streamed = Streamed {
        ends: done.child_token(),
        cut: CancellationToken::new(),
        done,
    };
    let on_drop = streamed.done.clone().drop_guard();
    let messages = stream::unfold((messages, on_drop), |(mut messages, on_drop)| async {
        let message: Bytes = messages.recv().await?;
        Some((Ok::<_, Infallible>(message), (messages, on_drop)))
    });
    let body = messages.take_until(streamed.ends.clone().cancelled_owned());
    let mut response = warp::Reply::into_response(warp::reply::stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(NO_BUFFERING, HeaderValue::from_static("no"));
    response.extensions_mut().insert(streamed.clone());
    (EventSink { queue, streamed }, response)
}

/// A message. `id` and `event` are one line each; `data` may be several.
pub fn message(id: &str, event: &str, data: &str) -> Bytes {
    debug_assert!(!id.contains(['\r', '\n', '\0']) && !event.contains(['\r', '\n']));
    let mut text = String::with_capacity(id.len() + event.len() + data.len() + 24);
    write!(text, "id: {id}\nevent: {event}\n").expect("writing to a String cannot fail");
    for line in data.split('\n') {
        writeln!(text, "data: {line}").expect("writing to a String cannot fail");
    }
    text.push('\n');
    text.into()
}

/// Moves the client's last id and keeps the connection alive; no event is dispatched for it.
pub fn mark(id: &str) -> Bytes {
    format!("id: {id}\n\n").into()
}

/// How long the client waits before it connects again.
pub fn retry_after(wait: Duration) -> Bytes {
    format!("retry: {}\n\n", wait.as_millis()).into()
}

impl EventSink {
    /// Puts a message into the queue, as soon as it has room.
    ///
    /// # Errors
    /// When the client is gone, or is cut off for not reading.
    pub async fn send(&self, message: Bytes) -> Result<(), Ended> {
        match timeout(CUT_AFTER, self.queue.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Gone),
            Err(_) => {
                self.streamed.ends.cancel();
                self.streamed.cut.cancel();
                Err(Ended::Cut)
            }
        }
    }

    /// Waits until the client is gone, or its stream was ended.
    pub async fn ended(&self) {
        self.streamed.ends.cancelled().await;
    }
}

impl Streamed {
    /// Ends the stream when its caller is not who it was any more. Completes with the stream.
    pub(super) async fn end_with_caller(self, gate: Arc<dyn Gate>, caller: Arc<Caller>) {
        let changed = async {
            let mut unknown = 0;
            while unknown < CALLER_UNKNOWN_MAX {
                sleep(CALLER_EVERY).await;
                match gate.is_unchanged(&caller).await {
                    Some(true) => unknown = 0,
                    Some(false) => return,
                    None => unknown += 1,
                }
            }
        };
        tokio::select! {
            () = self.ends.cancelled() => {}
            () = changed => self.ends.cancel(),
        }
    }

    /// Completes when the connection has to end at once: the client was cut off, or it does not read the end of its stream.
    pub(super) async fn cut_or_unread(self, stop: StopSignal) {
        let unread = async {
            tokio::select! {
                () = self.ends.cancelled() => {}
                () = stop.stopping() => self.ends.cancel(),
            }
            sleep(LAST_BYTES_WITHIN).await;
        };
        tokio::select! {
            biased;
            // The connection goes on to other requests.
            () = self.done.cancelled() => pending().await,
            () = self.cut.cancelled() => {}
            () = unread => {}
        }
    }
}

#[cfg(test)]
mod tests;
