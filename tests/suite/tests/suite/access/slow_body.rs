//! A request whose body comes later than its head was admitted.

use harness::config::BASE_PATH;
use harness::waiting::in_time;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request of which the service has read the head, and now wants the body.
pub struct SlowBody {
    stream: TcpStream,
    body: String,
}

impl SlowBody {
    /// Sends the head, and waits until a handler reads the body: it comes after the service has admitted the caller.
    pub async fn begin(address: &str, line: (&str, &str), key: Option<&str>, body: &Value) -> Self {
        let (body, (method, path)) = (body.to_string(), line);
        let mut stream = TcpStream::connect(address).await.unwrap();
        let key = key.map_or_else(String::new, |key| format!("x-api-key: {key}\r\n"));
        let head = format!(
            "{method} {BASE_PATH}{path} HTTP/1.1\r\nhost: localhost\r\n{key}content-type: application/json\r\n\
             content-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            seen.push(in_time("the body is asked for", stream.read_u8()).await.unwrap());
        }
        let seen = String::from_utf8(seen).unwrap();
        assert!(seen.starts_with("HTTP/1.1 100 "), "{seen}");
        Self { stream, body }
    }

    /// Sends the body, and returns the status of the answer.
    pub async fn finish(mut self) -> u16 {
        self.stream.write_all(self.body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        in_time("it is answered", self.stream.read_to_string(&mut answer))
            .await
            .unwrap();
        let status = answer.split(' ').nth(1);
        status
            .and_then(|status| status.parse().ok())
            .expect("a status line")
    }
}
