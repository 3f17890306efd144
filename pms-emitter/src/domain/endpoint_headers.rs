//! The headers that an endpoint gets beside ours: a tenant, a key of a gateway.

use super::refusal::Refusal;
use contract::FieldError;
use kit::shape::pointer_to;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Headers of one endpoint at most.
const HEADERS_MAX: usize = 20;

/// Names, in lower case, and values.
pub type EndpointHeaders = BTreeMap<String, String>;

/// Reads an object of headers; `null` is none. `check` says by a code and a sentence why a name and its value make no header that
/// may be added.
///
/// # Errors
/// `Invalid`, which never quotes a value.
pub fn read(
    value: &Value,
    check: impl Fn(&str, &str) -> Result<(), (&'static str, String)>,
) -> Result<EndpointHeaders, Refusal> {
    let object = match value {
        Value::Null => &Map::new(),
        Value::Object(object) => object,
        _ => {
            let message = "it must be an object of texts, or null";
            return Err(Refusal::field("/headers", "wrong_type", message));
        }
    };
    if object.len() > HEADERS_MAX {
        let message = format!("it must have at most {HEADERS_MAX} headers");
        return Err(Refusal::field("/headers", "length", &message));
    }
    let (mut headers, mut broken) = (EndpointHeaders::new(), Vec::new());
    for (name, value) in object {
        let at = |code: &str, message: String| FieldError::new(pointer_to("/headers", name), code, message);
        let Some(text) = value.as_str() else {
            broken.push(at("wrong_type", "it must be a text".to_owned()));
            continue;
        };
        if let Err((code, message)) = check(name, text) {
            broken.push(at(code, message));
        } else if headers
            .insert(name.to_ascii_lowercase(), text.to_owned())
            .is_some()
        {
            broken.push(at(
                "not_unique",
                "names of headers differ in more than their case".to_owned(),
            ));
        }
    }
    Refusal::unless_empty(broken)?;
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_all(value: &Value) -> Result<EndpointHeaders, Refusal> {
        read(value, |name, _| match name {
            "host" => Err(("reserved", "it is ours".to_owned())),
            _ => Ok(()),
        })
    }

    #[test]
    fn names_are_kept_in_lower_case_each_once() {
        let headers = read_all(&json!({"X-Tenant": "lis 01", "authorization": "Bearer x"})).unwrap();
        assert_eq!(headers["x-tenant"], "lis 01");
        assert_eq!(headers.len(), 2);
        assert_eq!(read_all(&Value::Null).unwrap().len(), 0);
        let many: Map<String, Value> = (0..21).map(|n| (format!("x-{n}"), json!("v"))).collect();
        for bad in [
            json!({"X-A": "1", "x-a": "2"}),
            json!({"x-a": 1}),
            json!({"host": "x"}),
            json!([]),
            Value::Object(many),
        ] {
            assert!(read_all(&bad).is_err(), "{bad}");
        }
    }
}
