//! Row R45: heads that two programs could read differently, and those that look odd but have one meaning.

use super::{BEHIND, Both, answers, behind, said_to};
use crate::case::{Case, Ctx, cases};
use api::body::BYTES_IN_ALL;
use kit::config::ByteSize;
use std::net::SocketAddr;

pub fn cases() -> Vec<Case> {
    cases![free;
        case17_http_1_1_without_one_host_is_400,
        r45_a_head_that_has_two_meanings_is_400_and_closes,
        r45_a_length_beside_chunks_is_answered_once_by_the_chunks,
        r45_a_head_with_one_meaning_is_taken,
    ]
}

const CONNECTIONS: u32 = 100;
/// The id of the request under test.
const FIRST: &str = "first";

/// These bytes, `{host}` in them filled in, and a request behind them.
fn message(template: &str, host: SocketAddr) -> Vec<u8> {
    (template.replace("{host}", &host.to_string()) + &behind(host)).into_bytes()
}

/// 400 is all that comes back.
async fn is_refused(address: SocketAddr, template: &str) -> super::AnswerHead {
    let said = said_to(address, &message(template, address)).await;
    let mut found = answers(&said);
    assert_eq!(found.len(), 1, "{template:?}: {said:?}");
    let only = found.remove(0);
    assert_eq!(only.status, 400, "{template:?}: {said:?}");
    assert!(only.closes, "{template:?}: {said:?}");
    only
}

async fn case17_http_1_1_without_one_host_is_400(ctx: Ctx) {
    let both = Both::start(&ctx, CONNECTIONS, ByteSize(BYTES_IN_ALL)).await;
    let mut listeners: Vec<_> = both.addresses().map(|(_, address)| address).into();
    listeners.push(both.receiver.metrics_address());
    for address in listeners {
        for line in [
            "GET /health",
            "GET /metrics",
            "POST /api/v1/webhooks/pms",
            "POST /api/v1/guests",
            "GET /api/v1/nothing",
            "DELETE /",
            "OPTIONS *",
        ] {
            for hosts in [
                "",
                "host: {host}\r\nhost: {host}\r\n",
                "Host: {host}\r\nHOST: other\r\n",
                "host:\r\n",
                "host: \t \r\n",
                "host:\r\nhost: {host}\r\n",
            ] {
                let template = format!("{line} HTTP/1.1\r\n{hosts}x-request-id: {FIRST}\r\n\r\n");
                let found = is_refused(address, &template).await;
                assert_eq!(
                    (found.request_id.as_str(), found.content_type.as_str()),
                    (FIRST, "application/problem+json"),
                    "{template}"
                );
            }
        }
    }
    both.stop().await;
}

async fn r45_a_head_that_has_two_meanings_is_400_and_closes(ctx: Ctx) {
    let both = Both::start(&ctx, CONNECTIONS, ByteSize(BYTES_IN_ALL)).await;
    for (_, address) in both.addresses() {
        for host in [
            "a b",
            "{host} {host}",
            "{host}, {host}",
            "{host},",
            "a,b",
            "user@{host}",
            "user:secret@{host}",
            "http://{host}",
            "{host}/",
            "{host}/path",
            "{host}?query",
            "{host}#fragment",
            "{host}:80",
            "127.0.0.1:http",
            "127.0.0.1:-1",
            "127.0.0.1:+80",
            "127.0.0.1:65536",
            ":80",
            "[::1",
            "::1",
            "[]",
            "[::1]x",
            "[::1]80",
            "[localhost]",
            "[fe80::1%25eth0]",
            "\"localhost\"",
            "local\\host",
            "<localhost>",
            "local%host",
            "local%2",
            "caf\u{e9}",
            "local\u{1}host",
        ] {
            is_refused(address, &format!("GET /health HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
            is_refused(address, &format!("GET /health HTTP/1.0\r\nhost: {host}\r\n\r\n")).await;
        }
        for whole in [
            "GET /health HTTP/1.0\r\nhost: {host}\r\nhost: {host}\r\n\r\n",
            "GET /health HTTP/1.0\r\nhost:\r\n\r\n",
            "GET http://{host}/health HTTP/1.1\r\n\r\n",
            "GET http://{host}/health HTTP/1.1\r\nhost: {host}\r\nhost: {host}\r\n\r\n",
            "GET http://{host}/health HTTP/1.1\r\nhost: a b\r\n\r\n",
            "GET http://user@{host}/health HTTP/1.1\r\nhost: {host}\r\n\r\n",
            "GET http://a,b/health HTTP/1.1\r\nhost: {host}\r\n\r\n",
            "GET http://{host}:x/health HTTP/1.1\r\nhost: {host}\r\n\r\n",
            "GET /health HTTP/1.1\r\nhost : {host}\r\n\r\n",
            "GET /health HTTP/1.1\r\n host: {host}\r\n\r\n",
            "GET /health HTTP/1.1\r\nhost: {host}\r\n folded: x\r\n\r\n",
            "GET /health HTTP/1.1\r\nhost {host}\r\n\r\n",
        ] {
            is_refused(address, whole).await;
        }
        for coding in [
            "gzip, chunked",
            "gzip,chunked",
            "chunked, chunked",
            "chunked,chunked",
            "chunked, gzip",
            "chunked, identity",
            "identity",
            "identity, chunked",
            "gzip",
            "xchunked",
            "chunked;q=1",
            "\"chunked\"",
            "chunked,",
            ", chunked",
            ",",
            "",
            "chunked x",
            "chunked\u{b}",
            "gzip\r\ntransfer-encoding: chunked",
            "chunked\r\ntransfer-encoding: gzip",
            "chunked\r\nTransfer-Encoding: chunked",
            "chunked\r\ncontent-length: 5\r\ntransfer-encoding: chunked",
        ] {
            for line in [
                "POST /api/v1/webhooks/pms",
                "POST /api/v1/guests",
                "GET /health",
                "PUT /nothing",
            ] {
                let template = format!(
                    "{line} HTTP/1.1\r\nhost: {{host}}\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\n"
                );
                is_refused(address, &template).await;
            }
        }
        for framing in [
            "HTTP/1.0\r\nhost: {host}\r\ntransfer-encoding: chunked",
            "HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5\r\ncontent-length: 6",
            "HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5, 6",
            "HTTP/1.1\r\nhost: {host}\r\ncontent-length: +5",
            "HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0x5",
            "HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5 5",
            "HTTP/1.1\r\nhost: {host}\r\ncontent-length:",
            "HTTP/1.1\r\nhost: {host}\r\ncontent-length : 5",
        ] {
            is_refused(address, &format!("POST /nothing {framing}\r\n\r\n0\r\n\r\n")).await;
        }
    }
    both.stop().await;
}

async fn r45_a_length_beside_chunks_is_answered_once_by_the_chunks(ctx: Ctx) {
    let both = Both::start(&ctx, CONNECTIONS, ByteSize(BYTES_IN_ALL)).await;
    for (_, address) in both.addresses() {
        for framing in [
            "content-length: 4\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
            "content-length: 4\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n",
            "content-length: 0\r\ntransfer-encoding: Chunked\r\n",
            "content-length: 500\r\ntransfer-encoding: chunked\r\n",
        ] {
            for line in ["POST /api/v1/nothing", "GET /health"] {
                let template = format!(
                    "{line} HTTP/1.1\r\nhost: {{host}}\r\nx-request-id: {FIRST}\r\n{framing}\r\n0\r\n\r\n"
                );
                let said = said_to(address, &message(&template, address)).await;
                let ids: Vec<String> = answers(&said).into_iter().map(|found| found.request_id).collect();
                assert_eq!(ids, [FIRST], "{template}: {said}");
            }
        }
    }
    both.stop().await;
}

async fn r45_a_head_with_one_meaning_is_taken(ctx: Ctx) {
    let both = Both::start(&ctx, CONNECTIONS, ByteSize(BYTES_IN_ALL)).await;
    for (_, address) in both.addresses() {
        for head in [
            "GET /health HTTP/1.1\r\nhost: {host}\r\n",
            "GET /health HTTP/1.1\r\nHOST:\t{host} \r\n",
            "GET /health HTTP/1.1\r\nhost: localhost\r\n",
            "GET /health HTTP/1.1\r\nhost: localhost:\r\n",
            "GET /health HTTP/1.1\r\nhost: LOCALHOST.\r\n",
            "GET /health HTTP/1.1\r\nhost: [::1]:5001\r\n",
            "GET /health HTTP/1.1\r\nhost: crm_1.example.com:80\r\n",
            // The target's host stands for both (RFC 9112, section 3.2.2).
            "GET http://{host}/health HTTP/1.1\r\nhost: {host}\r\n",
            "GET http://{host}/health HTTP/1.1\r\nhost: other\r\n",
            "GET /health HTTP/1.1\r\nhost: {host}\r\nconnection: keep-alive\r\n",
            "\r\n\r\nGET /health HTTP/1.1\r\nhost: {host}\r\n",
        ] {
            let template = format!("{head}x-request-id: {FIRST}\r\n\r\n");
            let said = said_to(address, &message(&template, address)).await;
            let found: Vec<_> = answers(&said)
                .into_iter()
                .map(|found| (found.status, found.request_id))
                .collect();
            let expected = [FIRST, BEHIND].map(|id| (200, id.to_owned()));
            assert_eq!(found, expected, "{template}: {said}");
        }
        // Before HTTP/1.1 nobody had to name a host; a connection then has one request.
        for hosts in ["", "host: {host}\r\n"] {
            let template = format!("GET /health HTTP/1.0\r\n{hosts}x-request-id: {FIRST}\r\n\r\n");
            let found = answers(&said_to(address, &message(&template, address)).await);
            assert_eq!((found.len(), found[0].status), (1, 200), "{template}: {found:?}");
        }
        for coding in ["chunked", "Chunked", " \tCHUNKED \t"] {
            let template = format!(
                "POST /nothing HTTP/1.1\r\nhost: {{host}}\r\ntransfer-encoding: {coding}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            );
            let found = answers(&said_to(address, &message(&template, address)).await);
            let statuses: Vec<u16> = found.iter().map(|found| found.status).collect();
            assert_eq!(statuses, [404], "{template}: {found:?}");
            assert!(found[0].closes, "nothing follows chunks: {template}");
        }
    }
    both.stop().await;
}
