//! Pages of other origins that may call from a browser (CORS, as in the Fetch standard): those that the operator lists, and
//! never with cookies or other credentials that the browser adds by itself.

use super::{Response, host::Authority};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
    request::Parts,
};
use std::str::FromStr;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, x-api-key, content-type, idempotency-key, if-match, if-none-match, last-event-id, x-request-id, \
     x-correlation-id",
);
/// What a page may read beyond the headers that it may always read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, location, retry-after, x-request-id, idempotency-replayed, ratelimit, ratelimit-policy, x-ratelimit-limit, \
     x-ratelimit-remaining, x-ratelimit-reset",
);
/// Seconds for which a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origins that are allowed, separated by commas or spaces: `https://desk.example, http://localhost:3000`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<String>);

impl FromStr for Origins {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let items = text.split(|sign: char| sign == ',' || sign.is_whitespace());
        let items = items.filter(|item| !item.is_empty());
        let origin = |item: &str| {
            let (scheme, authority) = item.split_once("://")?;
            // A browser never writes it in Origin, so such an entry would allow nobody.
            let default_port = match scheme {
                "http" => ":80",
                "https" => ":443",
                _ => return None,
            };
            let valid = Authority::parse(authority).is_some()
                && !authority.contains('*')
                && !authority.ends_with(':')
                && !authority.ends_with(default_port);
            valid.then(|| item.to_ascii_lowercase())
        };
        let origins: Option<Vec<_>> = items.map(origin).collect();
        origins
            .map(Self)
            .ok_or(
                "it must be origins, such as https://desk.example, without a path, a * or the usual port (80, 443), \
                 separated by commas or spaces",
            )
    }
}

impl Origins {
    /// The origin of a request, if it is one of these.
    fn of<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else {
            return None;
        };
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        self.0.contains(&text).then_some(origin)
    }

    /// Whether a request is sent by a page of one of these.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        self.of(headers).is_some()
    }

    /// The answer to the question that a browser asks before a page's request; none to a request that is no such question.
    pub(super) fn preflight(&self, head: &Parts) -> Option<Response> {
        let asks = head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || !self.allow(&head.headers) {
            return None;
        }
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        Some(response)
    }

    /// The headers that let a page of one of these read an answer.
    pub(super) fn answer_headers(&self, request: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.0.is_empty() {
            return headers;
        }
        headers.insert(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = self.of(request) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_listed_origin_is_allowed_and_no_other_and_never_with_credentials() {
        let origins: Origins = "https://desk.example, http://localhost:3000".parse().unwrap();
        let asking = ("access-control-request-method", "POST");
        for (origin, allowed) in [
            ("https://desk.example", true),
            ("HTTPS://Desk.Example", true),
            ("http://localhost:3000", true),
            ("http://desk.example", false),
            ("https://desk.example:8443", false),
            ("https://desk.example.evil.example", false),
            ("null", false),
        ] {
            let question = head("OPTIONS", &[("origin", origin), asking]);
            assert_eq!(origins.preflight(&question).is_some(), allowed, "{origin}");
            let answer = origins.answer_headers(&question.headers);
            assert_eq!(
                answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN),
                allowed,
                "{origin}"
            );
            assert!(!answer.contains_key("access-control-allow-credentials"));
            assert_eq!(answer[VARY], "origin");
        }
        let twice = head(
            "OPTIONS",
            &[
                ("origin", "https://desk.example"),
                ("origin", "https://desk.example"),
                asking,
            ],
        );
        assert!(origins.preflight(&twice).is_none());
        assert!(
            origins
                .preflight(&head("OPTIONS", &[("origin", "https://desk.example")]))
                .is_none()
        );
        assert!(Origins::default().answer_headers(&twice.headers).is_empty());
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "*",
            "desk.example",
            "https://desk.example/",
            "https://*.example/x",
            "https://*.example",
            "https://desk.example:443",
            "http://desk.example:80",
            "https://desk.example:",
            "ftp://desk.example",
            "null",
        ] {
            assert!(bad.parse::<Origins>().is_err(), "{bad}");
        }
        assert_eq!("".parse(), Ok(Origins::default()));
    }
}
