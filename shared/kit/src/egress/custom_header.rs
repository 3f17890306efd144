//! Headers that a client adds to the deliveries of its endpoint.

use http::{HeaderName, HeaderValue};

/// The longest name and the longest value, in bytes.
const NAME_LEN_MAX: usize = 64;
const VALUE_LEN_MAX: usize = 1_024;

/// What says where a request ends, what its body is, where it goes, or how the connection is used: the client of HTTP writes
/// these, and nobody else.
const RESERVED: [&str; 20] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie2",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
];
/// What stands before the names of our own headers, and of those for proxies on the way.
const RESERVED_PREFIXES: [&str; 2] = ["webhook-", "proxy-"];

/// Why a header may not be added. It never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderRefusal {
    /// No name of a header.
    #[error("the name must have 1 to 64 letters, digits and -_ and the other signs of a header's name")]
    Name,
    /// A name that is not the client's to set.
    #[error("the name is reserved: it belongs to HTTP, to the signature or to a proxy")]
    Reserved,
    /// No value of a header.
    #[error("the value must have 1 to 1024 visible ASCII characters, with blanks only between them")]
    Value,
}

impl HeaderRefusal {
    /// The rule, for machines.
    pub fn code(self) -> &'static str {
        match self {
            Self::Name => "invalid_name",
            Self::Reserved => "reserved",
            Self::Value => "invalid_value",
        }
    }
}

/// A header as it can be sent: the name in lower case, the value marked as one that is not to be shown.
///
/// # Errors
/// When its name is reserved or none, or its value would be read in another way at the other end, such as one with a line break.
pub fn custom_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HeaderRefusal> {
    if name.len() > NAME_LEN_MAX {
        return Err(HeaderRefusal::Name);
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderRefusal::Name)?;
    let text = name.as_str();
    let is_prefixed = RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
    if is_prefixed || RESERVED.contains(&text) {
        return Err(HeaderRefusal::Reserved);
    }
    let plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !plain || value.trim() != value || value.is_empty() || value.len() > VALUE_LEN_MAX {
        return Err(HeaderRefusal::Value);
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| HeaderRefusal::Value)?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e11_what_belongs_to_http_or_to_us_is_refused() {
        for name in [
            "Host",
            "host",
            "HOST",
            "Content-Length",
            "content-length",
            "Transfer-Encoding",
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Upgrade",
            "Expect",
            "Content-Type",
            "Content-Encoding",
            "webhook-id",
            "Webhook-Signature",
            "WEBHOOK-anything",
            "webhook-",
            "Proxy-Authorization",
            "Proxy-Connection",
            "X-Forwarded-For",
            "Forwarded",
            "Via",
            "traceparent",
        ] {
            assert_eq!(
                custom_header(name, "x").unwrap_err(),
                HeaderRefusal::Reserved,
                "{name}"
            );
        }
        let long = "x".repeat(NAME_LEN_MAX + 1);
        for name in [
            "",
            " ",
            "Host ",
            " Host",
            "X-A:",
            "X A",
            "X-A\r\nHost",
            "X-\u{e9}",
            "X\0",
            ":path",
            &long,
        ] {
            assert_eq!(
                custom_header(name, "x").unwrap_err(),
                HeaderRefusal::Name,
                "{name:?}"
            );
        }
        let long = "x".repeat(VALUE_LEN_MAX + 1);
        for value in [
            "",
            " ",
            "a\r\nHost: evil",
            "a\nb",
            "a\rb",
            "a\0b",
            " a",
            "a ",
            "a\tb",
            "\u{e9}",
            "a\u{7f}",
            &long,
        ] {
            assert_eq!(
                custom_header("X-A", value).unwrap_err(),
                HeaderRefusal::Value,
                "{value:?}"
            );
        }
    }

    #[test]
    fn others_are_taken_and_their_values_not_shown() {
        for (name, value) in [
            ("Authorization", "Bearer canary"),
            ("X-API-Key", "canary"),
            ("x_tenant", "canary 7"),
            ("User-Agent", "canary/1.0"),
        ] {
            let (name, value) = custom_header(name, value).unwrap();
            assert_eq!(name.as_str(), name.as_str().to_ascii_lowercase());
            assert!(!format!("{value:?}").contains("canary"));
            assert!(value.to_str().unwrap().contains("canary"));
        }
        assert!(custom_header("X-A", &"x".repeat(VALUE_LEN_MAX)).is_ok());
    }
}
