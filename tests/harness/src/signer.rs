//! A sender of webhooks that does exactly what a case asks for, the wrong things included.
//!
//! It writes the request itself, byte by byte, on a connection of its own: doubled headers, broken signatures, bodies
//! that never come. A real client would refuse to send most of it.

use anyhow::{Context, Result, ensure};
use contract::{SecretList, UnixSeconds, id::IdempotencyKey, signature};
use futures::future::BoxFuture;
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// From the connection to the last byte of the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// One delivery, to be changed before it is sent.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// POST, unless it is to be refused.
    pub method: String,
    /// The path with the source.
    pub path: String,
    /// Header lines in their order, names as they are sent.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What follows them.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
}

/// Signs and sends one delivery as a well-behaved sender would.
///
/// # Errors
/// When nothing answers.
pub async fn send(
    address: SocketAddr,
    source: &str,
    id: &str,
    body: &[u8],
    secrets: &SecretList,
    at: UnixSeconds,
) -> Result<Answer> {
    Delivery::signed(source, id, body, secrets, at)
        .send(address)
        .await
}

impl Delivery {
    /// A delivery as it should be.
    ///
    /// # Panics
    /// When `id` is no id.
    pub fn signed(source: &str, id: &str, body: &[u8], secrets: &SecretList, at: UnixSeconds) -> Self {
        let key: IdempotencyKey = id.parse().expect("a well-behaved sender's ids are ids");
        let signature = signature::sign(secrets.as_slice(), &key, at, body);
        let lines = [
            ("content-type", "application/json"),
            ("webhook-id", id),
            ("webhook-timestamp", &at.0.to_string()),
            ("webhook-signature", signature.as_str()),
        ];
        Self {
            method: "POST".to_owned(),
            path: format!("/api/v1/webhooks/{source}"),
            headers: lines
                .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                .to_vec(),
            body: body.to_vec(),
        }
    }

    /// A request that is no delivery: without headers and body.
    pub fn bare(method: &str, path: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The same with this header instead of whatever stood under its name.
    #[must_use]
    pub fn with(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).and(name, value)
    }

    /// The same with one more header line.
    #[must_use]
    pub fn and(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The same without a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    /// The same with another body, the signature left as it is.
    #[must_use]
    pub fn with_body(self, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    /// The same with another method.
    #[must_use]
    pub fn with_method(self, method: &str) -> Self {
        Self {
            method: method.to_owned(),
            ..self
        }
    }

    /// The value of a header as text.
    ///
    /// # Panics
    /// When it is not there.
    pub fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(other, _)| other == name);
        String::from_utf8_lossy(&found.expect("the header is there").1).into_owned()
    }

    /// Sends it, the body's length declared.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn send(&self, address: SocketAddr) -> Result<Answer> {
        let declared = format!("content-length: {}\r\n", self.body.len());
        self.exchange(address, &declared, &self.body).await
    }

    /// Sends the head alone and says that `declared` bytes follow, which never do.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn send_head(&self, address: SocketAddr, declared: usize) -> Result<Answer> {
        self.exchange(address, &format!("content-length: {declared}\r\n"), b"")
            .await
    }

    /// Sends the body as one chunk of a chunked body that is not ended.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn send_unended(&self, address: SocketAddr) -> Result<Answer> {
        let mut chunk = format!("{:x}\r\n", self.body.len()).into_bytes();
        chunk.extend_from_slice(&self.body);
        chunk.extend_from_slice(b"\r\n");
        self.exchange(address, "transfer-encoding: chunked\r\n", &chunk)
            .await
    }

    /// The whole request as it goes over the wire, the body's length declared.
    pub fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        self.framed(
            address,
            &format!("content-length: {}\r\n", self.body.len()),
            &self.body,
        )
    }

    fn exchange(
        &self,
        address: SocketAddr,
        framing: &str,
        body: &[u8],
    ) -> BoxFuture<'static, Result<Answer>> {
        let request = self.framed(address, framing, body);
        Box::pin(async move {
            let answer = timeout(ANSWER_WITHIN, talk(address, request)).await;
            answer.context("no answer in time")?
        })
    }

    fn framed(&self, address: SocketAddr, framing: &str, body: &[u8]) -> Vec<u8> {
        let mut request = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", self.method, self.path);
        if self.headers.iter().all(|(name, _)| name != "host") {
            request.push_str(&format!("host: {address}\r\n"));
        }
        request.push_str(framing);
        let mut request = request.into_bytes();
        for (name, value) in &self.headers {
            request.extend_from_slice(name.as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        request
    }
}

/// Writes, and reads one answer. The server may answer and close before it has read everything.
async fn talk(address: SocketAddr, request: Vec<u8>) -> Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    let (mut reading, mut writing) = stream.into_split();
    let sending = tokio::spawn(async move {
        // An early answer may cut this: the answer is what counts.
        let _ = writing.write_all(&request).await;
        writing
    });
    let mut received = Vec::new();
    let answer = loop {
        if let Some(answer) = Answer::read(&received)? {
            break answer;
        }
        let mut buffer = [0; 8192];
        let read = reading.read(&mut buffer).await?;
        ensure!(read > 0, "closed after {} bytes of an answer", received.len());
        received.extend_from_slice(&buffer[..read]);
    };
    sending.abort();
    Ok(answer)
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A whole answer, or None while some of it is missing.
    fn read(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&bytes[..end])?;
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .context("no status line")?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let answer = Self {
            status: status.parse()?,
            headers,
            body: bytes[end + 4..].to_vec(),
        };
        // These two never have a body, and of a stream the head says how it is answered.
        let is_stream = answer.header("content-type") == Some("text/event-stream");
        if matches!(answer.status, 204 | 304) || is_stream {
            return Ok(Some(answer));
        }
        let len: usize = answer.header("content-length").context("no length")?.parse()?;
        Ok((answer.body.len() >= len).then_some(answer))
    }
}
