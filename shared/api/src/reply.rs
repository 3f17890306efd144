//! Answers: JSON, created, no content, problems.

use super::{Response, context::RequestContext, media_type};
use contract::{Problem, ProblemCode, problem::PROBLEM_JSON};
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

/// The longest path that a problem repeats as its `instance`, in bytes.
const INSTANCE_LEN_MAX: usize = 512;
/// The authentication schemes, one of which every 401 must name (RFC 9110, section 15.5.2).
const SIGNATURE: HeaderValue = HeaderValue::from_static("Standard-Webhooks");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// A JSON answer.
///
/// # Panics
/// When `value` has a map whose keys are not strings: a mistake in its type.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    let bytes = serde_json::to_vec(value).expect("answers are plain data with string keys");
    bytes_of(status, "application/json", bytes)
}

/// 200 with JSON.
pub fn ok<T: Serialize + ?Sized>(value: &T) -> Response {
    json(StatusCode::OK, value)
}

/// 201 with JSON and where the new thing is found: an absolute path.
///
/// # Panics
/// As [`json`], and when `location` is no header value: paths of ours are built of ids.
pub fn created<T: Serialize + ?Sized>(location: &str, value: &T) -> Response {
    let mut response = json(StatusCode::CREATED, value);
    let location = HeaderValue::from_str(location).expect("a path built of ids is a header value");
    response.headers_mut().insert(LOCATION, location);
    response
}

/// 204.
pub fn no_content() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Bytes as they are, under a media type.
pub fn bytes_of(status: StatusCode, media_type: &'static str, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A problem as `application/problem+json`, with the path and the request that it answers.
pub fn problem(problem: &Problem, context: &RequestContext) -> Response {
    let instance = if context.path.len() > INSTANCE_LEN_MAX {
        ""
    } else {
        &context.path
    };
    let body = problem.to_json(instance, context.request_id.as_str());
    let status =
        StatusCode::from_u16(problem.code.status()).expect("every code has a status between 400 and 599");
    let mut response = bytes_of(status, PROBLEM_JSON, body.to_string().into_bytes());
    if let Some(seconds) = problem.retry_after_seconds {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match problem.code {
        ProblemCode::UnsupportedMediaType => say_what_is_taken(&mut response, &context.method),
        ProblemCode::Unauthorized => {
            response.headers_mut().insert(WWW_AUTHENTICATE, SIGNATURE);
        }
        ProblemCode::KeyRequired => {
            response.headers_mut().insert(WWW_AUTHENTICATE, BEARER);
        }
        _ => {}
    }
    response
}

/// What a body may be (RFC 9110, section 15.5.16; of a PATCH RFC 5789, section 2.2).
fn say_what_is_taken(response: &mut Response, method: &Method) {
    let name = if *method == Method::PATCH {
        ACCEPT_PATCH
    } else {
        ACCEPT
    };
    let headers = response.headers_mut();
    headers.insert(name, HeaderValue::from_static(media_type::accepted(method)));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// 405 with the methods that this path does have (RFC 9110, section 15.5.6).
pub(super) fn method_not_allowed(allowed: &str, context: &RequestContext) -> Response {
    let mut response = problem(&Problem::new(ProblemCode::MethodNotAllowed), context);
    let allowed = HeaderValue::from_str(allowed).expect("a list of method names is a header value");
    response.headers_mut().insert(ALLOW, allowed);
    response
}
