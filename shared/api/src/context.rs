//! The context of a request: the ids that it carries through logs, events and answers.

use contract::{Ids, RequestId, TypedId, signature::TRACEPARENT};
use http::{HeaderMap, Method};
use std::net::SocketAddr;

/// Names the request, in and out.
pub const REQUEST_ID: &str = "x-request-id";
/// Names the chain of requests and events that this one belongs to.
pub const CORRELATION_ID: &str = "x-correlation-id";
/// The length of version 00, and of what later versions begin with.
const TRACEPARENT_LEN: usize = 55;
/// The flags of version 00 that are defined: sampled, and (level 2) random.
const FLAGS_KNOWN: u8 = 0b11;

/// The identity of one request. It holds neither the query nor the body, so all of it may be logged but `path`.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The client's `x-request-id` if it is a valid id, else a new one.
    pub request_id: RequestId,
    /// The client's `x-correlation-id` if it is a valid id, else the request id.
    pub correlation_id: RequestId,
    /// The client's `traceparent` if it is well-formed, in version 00.
    pub traceparent: Option<String>,
    /// The method as it was sent.
    pub method: Method,
    /// The path as it was sent, without the query.
    pub path: String,
    /// The other end of the connection.
    pub remote: Option<SocketAddr>,
}

impl RequestContext {
    /// Reads the ids from the headers and generates those that are missing, repeated or malformed.
    pub fn new(
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        remote: Option<SocketAddr>,
        ids: &Ids,
    ) -> Self {
        let request_id: RequestId = single(headers, REQUEST_ID)
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| {
                ids.new_id(RequestId::PREFIX)
                    .parse()
                    .expect("the ids we make are valid ids")
            });
        let correlation_id = single(headers, CORRELATION_ID)
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| request_id.clone());
        let traceparent = single(headers, TRACEPARENT).and_then(traceparent);
        Self {
            request_id,
            correlation_id,
            traceparent,
            method: method.clone(),
            path: path.to_owned(),
            remote,
        }
    }
}

/// The value of a header that occurs exactly once and is visible ASCII.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    }
}

/// A `traceparent` as version 00 writes it (W3C Trace Context, section 3.2). Of a later version the parts that 00
/// defines are read, and the rest is dropped (section 4.3 of "Versioning of traceparent").
fn traceparent(text: &str) -> Option<String> {
    let (known, rest) = text.split_at_checked(TRACEPARENT_LEN)?;
    let mut parts = known.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower_hex = |part: &str, len: usize| {
        part.len() == len
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let not_zero = |part: &str| part.bytes().any(|byte| byte != b'0');
    let well_formed = lower_hex(version, 2)
        && lower_hex(trace, 32)
        && not_zero(trace)
        && lower_hex(parent, 16)
        && not_zero(parent)
        && lower_hex(flags, 2)
        && parts.next().is_none();
    let later = version != "00";
    let ends = rest.is_empty() || later && rest.starts_with('-');
    (well_formed && ends && version != "ff").then(|| {
        let flags = u8::from_str_radix(flags, 16).unwrap_or_default();
        let flags = if later { flags & FLAGS_KNOWN } else { flags };
        format!("00-{trace}-{parent}-{flags:02x}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENUINE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_checked_part_by_part() {
        assert_eq!(traceparent(GENUINE).as_deref(), Some(GENUINE));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b\u{e9}-01",
        ] {
            assert_eq!(traceparent(bad), None, "{bad}");
        }
    }

    #[test]
    fn case15_a_later_traceparent_is_read_as_far_as_it_is_known() {
        for (later, flags) in [("01", "01"), ("cc", "ff"), ("01", "00")] {
            let known = format!("{later}-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            let flags = if flags == "ff" { "03" } else { flags };
            let read = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            for text in [
                known.clone(),
                format!("{known}-"),
                format!("{known}-what-the-future-holds"),
            ] {
                assert_eq!(traceparent(&text).as_ref(), Some(&read), "{text}");
            }
        }
    }

    #[test]
    fn a_header_that_stands_twice_is_none() {
        let mut headers = HeaderMap::new();
        headers.append(REQUEST_ID, "a".parse().unwrap());
        assert_eq!(single(&headers, REQUEST_ID), Some("a"));
        headers.append(REQUEST_ID, "b".parse().unwrap());
        assert_eq!(single(&headers, REQUEST_ID), None);
    }
}
