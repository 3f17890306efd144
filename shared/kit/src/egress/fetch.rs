//! Fetching: a GET whose whole body is wanted, within a bound and a deadline.

use super::{Egress, EgressError, InvalidTarget, TargetUrl};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use reqwest::Response;
use std::time::Duration;
use tokio::time::Instant;

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Fetched {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body. It may hold personal data.
    pub body: Bytes,
}

/// Why there is no whole answer. It holds no URL: it may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No status line came, or the body broke off or took too long.
    #[error(transparent)]
    Broken(#[from] EgressError),
    /// The body is longer than it may be.
    #[error("the answer is too large")]
    TooLarge,
}

impl TargetUrl {
    /// The address of a path below this one, with a query. What this one has as its query is left out.
    ///
    /// # Errors
    /// When it is too long.
    pub fn below(&self, path: &str, query: &[(&str, &str)]) -> Result<Self, InvalidTarget> {
        let mut url = self.url().clone();
        url.path_segments_mut()
            .map_err(|()| InvalidTarget::Malformed)?
            .pop_if_empty()
            .extend(path.split('/'));
        url.set_query(None);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let below: Self = url.as_str().parse()?;
        Ok(if self.is_operators() {
            below.by_operator()
        } else {
            below
        })
    }
}

impl Egress {
    /// Sends a GET with these headers, and reads the answer to its end, all within `total`. Redirects are answers like others.
    ///
    /// # Errors
    /// When the whole answer did not come in time, or has more than `bytes_max` bytes.
    pub fn fetch<'e>(
        &'e self,
        target: &'e TargetUrl,
        headers: HeaderMap,
        total: Duration,
        bytes_max: usize,
    ) -> BoxFuture<'e, Result<Fetched, FetchError>> {
        Box::pin(async move {
            let begun = Instant::now();
            let request = self.client(target).get(target.url().clone()).headers(headers);
            let sent = request.timeout(total).send().await;
            let mut response = sent.map_err(|error| EgressError::new(&error, begun.elapsed()))?;
            let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
            let body = read_whole(response, bytes_max, begun).await?;
            Ok(Fetched {
                status,
                headers,
                body,
            })
        })
    }
}

/// The time-out of the request holds for its body too.
async fn read_whole(mut response: Response, bytes_max: usize, begun: Instant) -> Result<Bytes, FetchError> {
    let mut body = BytesMut::new();
    loop {
        let chunk = response.chunk().await;
        match chunk.map_err(|error| EgressError::new(&error, begun.elapsed()))? {
            Some(chunk) if body.len() + chunk.len() > bytes_max => return Err(FetchError::TooLarge),
            Some(chunk) => body.extend_from_slice(&chunk),
            None => return Ok(body.freeze()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::EgressSettings;
    use super::*;
    use crate::egress::EgressErrorKind;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    const TOTAL: Duration = Duration::from_secs(20);

    /// Fetches from a server that answers so, and keeps the connection open where the answer has no end.
    async fn fetch(answer: &'static str, bytes_max: usize, total: Duration) -> Result<Fetched, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target: TargetUrl = format!("http://{}/api", listener.local_addr().unwrap())
            .parse::<TargetUrl>()
            .unwrap()
            .by_operator();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = [0; 1024];
            let len = stream.read(&mut seen).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            (String::from_utf8_lossy(&seen[..len]).into_owned(), stream)
        });
        let target = target
            .below("events", &[("after", "7"), ("mark", "a b")])
            .unwrap();
        let fetched = Egress::new("test/1", EgressSettings::default())
            .unwrap()
            .fetch(&target, HeaderMap::new(), total, bytes_max)
            .await;
        let (seen, _open) = server.await.unwrap();
        assert!(
            seen.starts_with("GET /api/events?after=7&mark=a+b HTTP/1.1\r\n"),
            "{seen}"
        );
        fetched
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end_whatever_the_status() {
        let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 5\r\n\r\nhello";
        let fetched = fetch(answer, 5, TOTAL).await.unwrap();
        assert_eq!(
            (fetched.status.as_u16(), fetched.body.as_ref()),
            (302, b"hello".as_slice())
        );
        assert_eq!(fetched.headers["location"], "http://127.0.0.1:1/");
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_or_breaks_off_or_takes_too_long_is_none() {
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        assert_eq!(fetch(whole, 4, TOTAL).await.unwrap_err(), FetchError::TooLarge);
        let chunked =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n";
        assert_eq!(fetch(chunked, 9, TOTAL).await.unwrap_err(), FetchError::TooLarge);
        let half = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhello";
        let FetchError::Broken(slow) = fetch(half, 100, Duration::from_millis(150)).await.unwrap_err() else {
            panic!("it is not too large");
        };
        assert_eq!(slow.kind, EgressErrorKind::Timeout);
    }

    #[test]
    fn a_path_is_put_below_the_base_path() {
        let below = |base: &str| {
            let base: TargetUrl = base.parse().unwrap();
            base.below("events/evt_1", &[]).unwrap().as_str().to_owned()
        };
        for (base, expected) in [
            ("http://pms:4001", "http://pms:4001/events/evt_1"),
            ("http://pms:4001/api/v1", "http://pms:4001/api/v1/events/evt_1"),
            ("http://pms:4001/api/v1/", "http://pms:4001/api/v1/events/evt_1"),
        ] {
            assert_eq!(below(base), expected);
        }
    }
}
