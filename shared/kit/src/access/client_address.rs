//! Where a request comes from, behind proxies too.

use super::networks::Networks;
use api::RequestContext;
use http::HeaderMap;
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// What a proxy adds to a request. A request with any of these did not come straight from a program on this machine.
const PROXY_HEADERS: [&str; 3] = ["forwarded", "via", "x-real-ip"];
const X_FORWARDED: &str = "x-forwarded-";

/// The client's address: the other end of the connection, or, where that is a trusted proxy, the last address in
/// `X-Forwarded-For` that is none. What stands before that address anyone may have written.
pub fn client_address(context: &RequestContext, headers: &HeaderMap, trusted: &Networks) -> Option<IpAddr> {
    let mut address = context.remote?.ip().to_canonical();
    let lines: Vec<&str> = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .map(|line| line.to_str().unwrap_or_default())
        .collect();
    let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    while trusted.contain(address) {
        match hops.next() {
            None => break,
            Some(hop) => address = hop_address(hop.trim())?.to_canonical(),
        }
    }
    Some(address)
}

/// An address, as some proxies write it with a port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    hop.parse().ok().or_else(with_port)
}

/// Whether a proxy has passed the request on.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| PROXY_HEADERS.contains(&name.as_str()) || name.as_str().starts_with(X_FORWARDED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::RequestId;

    fn client(remote: &str, forwarded: &[&str], trusted: &str) -> Option<String> {
        let id: RequestId = "req_1".parse().unwrap();
        let context = RequestContext {
            request_id: id.clone(),
            correlation_id: id,
            traceparent: None,
            method: http::Method::GET,
            path: String::new(),
            remote: Some(format!("{remote}:1").parse().unwrap()),
        };
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(X_FORWARDED_FOR, line.parse().unwrap());
        }
        client_address(&context, &headers, &trusted.parse().unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_says_who_the_client_is() {
        let proxies = "10.0.0.0/8, 192.0.2.7";
        for (remote, forwarded, meant) in [
            ("198.51.100.1", &["203.0.113.9"][..], Some("198.51.100.1")),
            ("10.0.0.1", &["203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], Some("203.0.113.9")),
            (
                "10.0.0.1",
                &["1.1.1.1, 203.0.113.9, 192.0.2.7"],
                Some("203.0.113.9"),
            ),
            (
                "10.0.0.1",
                &["1.1.1.1", "203.0.113.9,10.9.9.9"],
                Some("203.0.113.9"),
            ),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &["203.0.113.9:4711"], Some("203.0.113.9")),
            ("10.0.0.1", &["[2001:db8::1]:4711"], Some("2001:db8::1")),
            ("10.0.0.1", &["nobody"], None),
            ("[::ffff:10.0.0.1]", &["2001:db8::1"], Some("2001:db8::1")),
        ] {
            assert_eq!(
                client(remote, forwarded, proxies).as_deref(),
                meant,
                "{remote} {forwarded:?}"
            );
        }
    }
}
