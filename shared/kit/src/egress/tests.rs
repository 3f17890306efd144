//! Against raw sockets that answer, or fail to, in every way.

mod guarded;

use super::*;
use http::{HeaderValue, header::RETRY_AFTER};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const TOTAL: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(150);

/// Reads one request to the end of its body of 5 bytes.
async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\nhello") {
        let mut chunk = [0; 1024];
        let len = stream.read(&mut chunk).await.unwrap();
        assert_ne!(len, 0, "the client closed early");
        bytes.extend_from_slice(&chunk[..len]);
    }
    String::from_utf8(bytes).unwrap()
}

/// A server for one connection, which answers its one request with `answer` and closes.
async fn answering(answer: Vec<u8>) -> (TargetUrl, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let seen = request(&mut stream).await;
        let _ = stream.write_all(&answer).await;
        seen
    });
    (operators(&url), server)
}

fn operators(url: &str) -> TargetUrl {
    url.parse::<TargetUrl>().unwrap().by_operator()
}

async fn post(target: &TargetUrl, total: Duration) -> Result<Answered, EgressError> {
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static("evt_1"));
    let egress = Egress::new("pms-emitter/1.0", EgressSettings::default()).unwrap();
    egress
        .post(target, headers, Bytes::from_static(b"hello"), total)
        .await
}

async fn failure(target: &str, total: Duration) -> EgressErrorKind {
    post(&operators(target), total).await.unwrap_err().kind
}

#[tokio::test]
async fn the_request_is_what_the_caller_gave_and_no_more() {
    let (target, server) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()).await;
    let answered = post(&target, TOTAL).await.unwrap();
    assert_eq!((answered.status.as_u16(), answered.excerpt.as_str()), (200, ""));
    let seen = server.await.unwrap();
    assert!(seen.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{seen}");
    for line in [
        "webhook-id: evt_1",
        "user-agent: pms-emitter/1.0",
        "content-length: 5",
    ] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    assert!(
        !seen.contains("referer") && !seen.contains("accept-encoding"),
        "{seen}"
    );
}

#[tokio::test]
async fn e5_a_redirect_is_an_answer_and_is_not_followed() {
    let answer =
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let (target, _server) = answering(answer.to_vec()).await;
    let answered = post(&target, TOTAL).await.unwrap();
    assert_eq!(answered.status.as_u16(), 302);
    assert_eq!(answered.headers[RETRY_AFTER], "7");
}

#[tokio::test]
async fn an_excerpt_is_cut_and_escaped() {
    let body = format!("<script>\u{1b}[31m \u{e9}\"{}", "x".repeat(100_000));
    let answer = format!("HTTP/1.1 500 No\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (target, _server) = answering(answer.into_bytes()).await;
    let excerpt = post(&target, TOTAL).await.unwrap().excerpt;
    assert!(
        excerpt.starts_with(r#"\u{3c}script\u{3e}\u{1b}[31m é"xxx"#),
        "{}",
        &excerpt[..60]
    );
    assert!(excerpt.len() < 2 * EXCERPT_BYTES_MAX);
}

#[tokio::test]
async fn the_status_line_decides_whatever_comes_after() {
    for broken in [
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
    ] {
        let (target, _server) = answering(broken.into()).await;
        assert_eq!(
            post(&target, TOTAL).await.unwrap().status.as_u16(),
            200,
            "{broken}"
        );
    }
}

#[tokio::test]
async fn case16_any_header_section_after_a_status_line_is_an_answer() {
    let many = "x-one: 1\r\n".repeat(1_000);
    let long = format!("x-long: {}\r\n", "x".repeat(200_000));
    for section in [
        "x-folded: one\r\n two\r\n",
        "x-folded: one\r\n\ttwo\r\n \r\n",
        "x-space : 1\r\n",
        "x name: 1\r\n",
        ": no name\r\n",
        "no colon\r\n",
        "x-control: a\u{1}b\r\n",
        "x-latin: \u{e9}\r\n",
        "x-bare: 1\n",
        "x-empty:\r\n",
        "set-cookie: a=b; path=\"/\r\n",
        "content-type: ;;;\r\n",
        "retry-after: soon\r\n",
        &many,
        &long,
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{section}content-length: 2\r\n\r\nok");
        let (target, _server) = answering(answer.into_bytes()).await;
        let answered = post(&target, TOTAL).await;
        let shown = &section[..section.len().min(40)];
        assert_eq!(
            answered.map(|answered| answered.status.as_u16()).ok(),
            Some(200),
            "{shown:?}"
        );
    }
}

/// What no option makes the library take; docs/webhooks.md says so.
#[tokio::test]
async fn case16_what_the_library_cannot_be_made_to_take_is_no_http() {
    let endless = format!("x-long: {}\r\n", "x".repeat(4_000_000));
    for section in [
        "x-nul: a\0b\r\n",
        "content-length: 1\r\ncontent-length: 2\r\n",
        &endless,
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{section}\r\n");
        let (target, _server) = answering(answer.into_bytes()).await;
        let kind = post(&target, TOTAL).await.unwrap_err().kind;
        assert_eq!(
            kind,
            EgressErrorKind::Protocol,
            "{:?}",
            &section[..section.len().min(40)]
        );
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_reset_and_garbage_is_no_http() {
    for (answer, kind) in [
        ("", EgressErrorKind::Reset),
        ("HTTP/1.1 200", EgressErrorKind::Reset),
        ("SSH-2.0-OpenSSH_9.9\r\n", EgressErrorKind::Protocol),
    ] {
        let (target, _server) = answering(answer.into()).await;
        assert_eq!(post(&target, TOTAL).await.unwrap_err().kind, kind, "{answer:?}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout() {
    // The kernel accepts for a listener that does not.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let error = post(&operators(&url), SHORT).await.unwrap_err();
    assert_eq!(error.kind, EgressErrorKind::Timeout);
    assert!(error.duration >= SHORT);
}

#[tokio::test]
async fn a_closed_port_is_no_connection_and_a_plain_one_no_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
    });
    assert_eq!(
        failure(&format!("https://{address}/"), TOTAL).await,
        EgressErrorKind::Tls
    );
    server.await.unwrap();
    assert_eq!(
        failure(&format!("http://{address}/"), TOTAL).await,
        EgressErrorKind::Connect
    );
}

#[tokio::test]
async fn a_name_that_is_not_there_is_a_dns_failure() {
    assert_eq!(
        failure("http://does-not-exist.invalid/", TOTAL).await,
        EgressErrorKind::Dns
    );
}

#[tokio::test]
async fn a_kept_connection_is_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = operators(&format!("http://{}/", listener.local_addr().unwrap()));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            request(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 500 No\r\ncontent-length: 3\r\n\r\nbad")
                .await
                .unwrap();
        }
    });
    let egress = Egress::new("test", EgressSettings::default()).unwrap();
    for _ in 0..2 {
        let body = Bytes::from_static(b"hello");
        let answered = egress.post(&target, HeaderMap::new(), body, TOTAL).await.unwrap();
        assert_eq!(answered.excerpt, "bad");
    }
    server.await.unwrap();
}
