//! The headers that an endpoint gets beside ours: a tenant, a key of a gateway.

use super::refusal::Refusal;
use contract::FieldError;
use kit::shape::pointer_to;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Headers of one endpoint at most.
const HEADERS_MAX: usize = 20;
/// Bytes of a name and of a value at most.
const NAME_LEN_MAX: usize = 100;
const VALUE_LEN_MAX: usize = 1_024;

/// What the connection and the contract say themselves.
const OURS: [&str; 13] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "expect",
    "te",
    "trailer",
    "user-agent",
    "traceparent",
];
/// What names of the contract, of proxies and of HTTP/2 begin with.
const OUR_PREFIXES: [&str; 3] = ["webhook-", "proxy-", ":"];

/// Names, in lower case, and values.
pub type EndpointHeaders = BTreeMap<String, String>;

/// Reads an object of headers; `null` is none.
///
/// # Errors
/// `Invalid`, which names the header but never quotes its value.
pub fn read(value: &Value) -> Result<EndpointHeaders, Refusal> {
    let object = match value {
        Value::Null => &Map::new(),
        Value::Object(object) => object,
        _ => {
            return Err(Refusal::field(
                "/headers",
                "wrong_type",
                "it must be an object of texts, or null",
            ));
        }
    };
    if object.len() > HEADERS_MAX {
        let message = format!("it must have at most {HEADERS_MAX} headers");
        return Err(Refusal::field("/headers", "length", &message));
    }
    let (mut headers, mut broken) = (EndpointHeaders::new(), Vec::new());
    for (name, value) in object {
        match header(name, value) {
            Ok(value) if !headers.contains_key(&name.to_ascii_lowercase()) => {
                headers.insert(name.to_ascii_lowercase(), value);
            }
            Ok(_) => broken.push(at(
                name,
                "not_unique",
                "names of headers differ in more than their case",
            )),
            Err(why) => broken.push(at(name, "invalid", why)),
        }
    }
    Refusal::unless_empty(broken)?;
    Ok(headers)
}

fn at(name: &str, code: &str, message: &str) -> FieldError {
    // A name that is none of HTTP's may be anything, and long.
    let shown = if is_token(name) { name } else { "" };
    FieldError::new(pointer_to("/headers", shown), code, message)
}

fn header(name: &str, value: &Value) -> Result<String, &'static str> {
    let lower = name.to_ascii_lowercase();
    if !is_token(name) {
        return Err("its name is none of a header of HTTP, or longer than 100 bytes");
    }
    if OURS.contains(&lower.as_str()) || OUR_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err("the sender sets this header itself");
    }
    let text = value.as_str().ok_or("its value must be a text")?;
    let visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !visible || text.trim() != text || text.is_empty() || text.len() > VALUE_LEN_MAX {
        return Err("its value must be 1 to 1024 visible ASCII characters and spaces, none at an edge");
    }
    Ok(text.to_owned())
}

/// A token of RFC 9110, section 5.6.2.
fn is_token(name: &str) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(is_sign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn headers_of_the_endpoints_own_are_taken() {
        let headers = read(&json!({"X-Tenant": "lis 01", "authorization": "Bearer x"})).unwrap();
        assert_eq!(headers["x-tenant"], "lis 01");
        assert_eq!(headers.len(), 2);
        assert_eq!(read(&Value::Null).unwrap().len(), 0);
    }

    #[test]
    fn ours_and_what_could_break_a_request_are_refused() {
        for name in [
            "Host",
            "CONTENT-LENGTH",
            "Transfer-Encoding",
            "connection",
            "Webhook-Id",
            "webhook-signature",
            "Proxy-Authorization",
            "user-agent",
            "x y",
            "",
            "x\r\ny",
            "é",
            ":authority",
            &"x".repeat(101),
        ] {
            assert!(read(&json!({name: "value"})).is_err(), "{name}");
        }
        for value in [
            json!("a\r\nx: y"),
            json!("a\nb"),
            json!("\u{0}"),
            json!(""),
            json!(" a"),
            json!(1),
            json!("é"),
            json!("x".repeat(1025)),
        ] {
            assert!(read(&json!({"x-tenant": value})).is_err(), "{value}");
        }
        assert!(read(&json!({"X-A": "1", "x-a": "2"})).is_err());
        assert!(read(&json!([])).is_err());
        let many: Map<String, Value> = (0..21).map(|n| (format!("x-{n}"), json!("v"))).collect();
        assert!(read(&Value::Object(many)).is_err());
    }
}
