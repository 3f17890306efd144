//! One client of `GET /events/stream` that reads everything while a load goes on. When it is cut off, it goes on behind the
//! last message that it has.

use super::service::Service;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::config::BASE_PATH;
use harness::waiting::Looks;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// What the line with a message's id begins with.
const ID: &[u8] = b"id:";
/// The same with its name, which blocks of lines that are no message do not have.
const NAME: &[u8] = b"event:";
/// The longest line that is kept; only ids are looked at, and they are shorter.
const LINE_BYTES_MAX: usize = 256;
/// How long after the load the last messages may come.
const ALL_WITHIN: Duration = Duration::from_secs(60);
/// What each event gives: it was received, and it was decided.
const MESSAGES_OF_EVENT: u64 = 2;

/// What the client read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamFigures {
    /// Messages.
    pub messages: u64,
    /// How often it had to connect again.
    pub cuts: u64,
}

/// The client.
#[derive(Debug)]
pub struct Streaming {
    read: Arc<Mutex<Lines>>,
    reading: JoinHandle<Result<()>>,
}

/// The lines of a stream, as far as they came. A message counts with the empty line that ends it: one that was cut off comes again.
#[derive(Debug, Default)]
struct Lines {
    figures: StreamFigures,
    line: Vec<u8>,
    /// Of the message whose end has not come: whether it has a name, and its id.
    is_named: bool,
    id: Option<String>,
    /// Of the last whole message.
    last_id: Option<String>,
}

impl Streaming {
    /// Opens the stream, from the present on.
    ///
    /// # Errors
    /// When the receiver is gone.
    pub async fn open(receiver: &Service) -> Result<Self> {
        let read = Arc::<Mutex<Lines>>::default();
        let mut body = connect(receiver.address(), None).await?;
        // The head of the answer says that the stream has begun; its first block, from where.
        take_frame(&mut body, &read).await;
        let reading = tokio::spawn(read_all(receiver.address(), body, Arc::clone(&read)));
        Ok(Self { read, reading })
    }

    /// Waits until both messages of so many events came, and ends.
    ///
    /// # Errors
    /// When the stream cannot be opened again.
    pub async fn end(self, events: u64, faults: &mut Vec<String>) -> Result<StreamFigures> {
        let looks = Looks::within(ALL_WITHIN);
        let figures = || self.read.lock().unwrap_or_else(PoisonError::into_inner).figures;
        while figures().messages < events * MESSAGES_OF_EVENT
            && !self.reading.is_finished()
            && looks.go_on().await
        {}
        let read = figures();
        if self.reading.is_finished() {
            self.reading.await??;
        } else {
            self.reading.abort();
        }
        if read.messages != events * MESSAGES_OF_EVENT {
            faults.push(format!(
                "the stream had {} messages of {events} events",
                read.messages
            ));
        }
        Ok(read)
    }
}

type Body = hyper::body::Incoming;

async fn connect(address: SocketAddr, last_id: Option<String>) -> Result<Body> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::get(format!("http://{address}{BASE_PATH}/events/stream"));
    if let Some(id) = last_id {
        request = request.header("last-event-id", id);
    }
    let answer = client.request(request.body(Empty::new())?).await?;
    ensure!(
        answer.status() == StatusCode::OK,
        "the stream is answered {}",
        answer.status()
    );
    Ok(answer.into_body())
}

/// Reads until it is aborted, and connects again whenever it is cut off.
async fn read_all(address: SocketAddr, mut body: Body, read: Arc<Mutex<Lines>>) -> Result<()> {
    loop {
        while take_frame(&mut body, &read).await {}
        let last_id = {
            let mut lines = read.lock().unwrap_or_else(PoisonError::into_inner);
            lines.figures.cuts += 1;
            lines.forget_half();
            lines.last_id.clone()
        };
        let last_id = last_id.context("cut off before the first message")?;
        body = connect(address, Some(last_id)).await?;
    }
}

/// Reads what comes next; false at the end of the stream.
async fn take_frame(body: &mut Body, read: &Mutex<Lines>) -> bool {
    let Some(Ok(frame)) = body.frame().await else {
        return false;
    };
    if let Some(bytes) = frame.data_ref() {
        read.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
    }
    true
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < LINE_BYTES_MAX {
                    self.line.push(*byte);
                }
                continue;
            }
            if self.line.is_empty() {
                self.figures.messages += u64::from(self.is_named);
                self.last_id = self.id.take().or(self.last_id.take());
                self.forget_half();
            } else if self.line.starts_with(NAME) {
                self.is_named = true;
            } else if let Some(id) = self.line.strip_prefix(ID) {
                self.id = std::str::from_utf8(id).ok().map(|id| id.trim().to_owned());
            }
            self.line.clear();
        }
    }

    fn forget_half(&mut self) {
        self.line.clear();
        self.is_named = false;
        self.id = None;
    }
}

impl fmt::Display for StreamFigures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "    an open stream: {} messages, cut off {} times",
            self.messages, self.cuts
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_wherever_the_bytes_are_parted() {
        let text = b"id: 0\n\nid: 1.0\nevent: received\ndata: {\"id\":\"event:\"}\n\n: \n\nid: 1.1\nevent: decided\ndata: {}\n\n";
        for parts in 1..text.len() {
            let mut lines = Lines::default();
            text.chunks(parts).for_each(|part| lines.take(part));
            assert_eq!(lines.figures.messages, 2, "{parts}");
            assert_eq!(lines.last_id.as_deref(), Some("1.1"), "{parts}");
        }
    }

    #[test]
    fn a_message_without_its_end_does_not_count() {
        let mut lines = Lines::default();
        lines.take(b"id: 1.0\nevent: received\ndata: {}\n\nid: 1.1\nevent: decided\n");
        assert_eq!(
            (lines.figures.messages, lines.last_id.as_deref()),
            (1, Some("1.0"))
        );
        lines.forget_half();
        lines.take(b"\nid: 1.1\nevent: decided\ndata: {}\n\n");
        assert_eq!(
            (lines.figures.messages, lines.last_id.as_deref()),
            (2, Some("1.1"))
        );
    }
}
