//! Checks of a request's head beyond hyper's own, before anything else is done with it.
//!
//! A head that two programs on its way read differently lets a request bypass the first of them. So a head is refused
//! when its host is not named exactly once, or when its body is framed in a way that only some programs understand.
//! Only hyper knows where the body ends: a head refused here closes its connection.

use super::host::Authority;
use contract::{Problem, ProblemCode};
use http::{
    HeaderMap, HeaderValue, Version,
    header::{HOST, TRANSFER_ENCODING},
    request::Parts,
};

/// The only transfer coding that is supported.
const CHUNKED: &[u8] = b"chunked";

/// Why a head is refused; None when it is valid.
pub(super) fn refusal(head: &Parts) -> Option<Problem> {
    let detail = if !is_host_clear(head) {
        "the request must name its host once, as `Host: name` or `Host: name:port`"
    } else if !is_coding_known(&head.headers) {
        "the only transfer coding that is understood is a single `chunked`"
    } else {
        return None;
    };
    Some(Problem::new(ProblemCode::InvalidRequest).with_detail(detail))
}

/// Whether there is one `Host`, or, before HTTP/1.1, at most one, and it is valid (RFC 9112, section 3.2). A target that
/// names its host itself takes the place of `Host`, which must be there all the same (section 3.2.2).
fn is_host_clear(head: &Parts) -> bool {
    let mut lines = head.headers.get_all(HOST).iter();
    let named = match (lines.next(), lines.next()) {
        (None, _) => head.version < Version::HTTP_11,
        (Some(only), None) => only.to_str().is_ok_and(is_authority),
        (Some(_), Some(_)) => false,
    };
    named
        && head
            .uri
            .authority()
            .is_none_or(|target| is_authority(target.as_str()))
}

fn is_authority(text: &str) -> bool {
    Authority::parse(text).is_some()
}

/// Whether nothing may follow this request on its connection. Nothing follows chunks: where they end is read in more than one
/// way (a trailer whose line ends with a bare LF swallows the head of the next request, and that one's body is taken for a
/// request), and senders that know the length of what they send are not concerned.
pub(super) fn is_last(head: &Parts) -> bool {
    head.headers.contains_key(TRANSFER_ENCODING)
}

/// Whether the body is not coded, or in the one way that is understood: of several codings hyper looks at the last, so
/// that what we read would still be coded (RFC 9112, section 6.1).
fn is_coding_known(headers: &HeaderMap) -> bool {
    let mut lines = headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .map(HeaderValue::as_bytes);
    match (lines.next(), lines.next()) {
        (None, _) => true,
        (Some(only), None) => only.eq_ignore_ascii_case(CHUNKED),
        (Some(_), Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r45_a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for text in [
            "crm",
            "crm.example.com:5001",
            "CRM.example.com.",
            "127.0.0.1:5001",
            "my_host-1~",
            "%63rm",
            "crm:",
            "crm:00080",
            "crm:65535",
            "[::1]",
            "[::ffff:127.0.0.1]:5001",
        ] {
            assert!(is_authority(text), "{text}");
        }
        for text in [
            "",
            ":5001",
            " ",
            "a b",
            "crm ",
            "a,b",
            "crm, crm",
            "user@crm",
            "user:secret@crm",
            "@crm",
            "crm:http",
            "crm:-1",
            "crm:+80",
            "crm:80 ",
            "crm:65536",
            "crm:80:80",
            "crm/",
            "crm?x",
            "crm#x",
            "crm\\x",
            "http://crm",
            "\"crm\"",
            "<crm>",
            "%6",
            "%zz",
            "%",
            "crm\t",
            "crm\u{e9}",
            "::1",
            "[]",
            "[::1",
            "::1]",
            "[::1]5001",
            "[::1]:x",
            "[[::1]]",
            "[crm]",
            "[127.0.0.1]",
            "[fe80::1%25eth0]",
            "[v1.crm]",
            "a[::1]",
        ] {
            assert!(!is_authority(text), "{text:?}");
        }
    }
}
