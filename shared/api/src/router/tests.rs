use super::*;
use crate::{Request, Server, body::BodyLimits, delete, get, post, put};
use bytes::Bytes;
use contract::{Ids, SeededEntropy, UnixMillis};
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

async fn echo((): (), request: Request) -> Result<Response, Problem> {
    Ok(reply::ok(
        &json!({"id": request.param("id"), "query": request.query()}),
    ))
}

async fn nothing((): (), _: Request) -> Result<Response, Problem> {
    Ok(reply::no_content())
}

async fn refuse((): (), _: Request) -> Result<Response, Problem> {
    Err(Problem::new(ProblemCode::Overloaded).with_retry_after(7))
}

async fn panics((): (), _: Request) -> Result<Response, Problem> {
    panic!("on purpose")
}

async fn typed((): (), request: Request) -> Result<Response, Problem> {
    let id: contract::GuestId = request.id("id")?;
    Ok(reply::created(&format!("/guests/{id}"), &json!({})))
}

fn server() -> Server {
    let api = vec![
        get("/guests/{id}", Access::Public, &(), echo).with_query(),
        put("/guests/{id}", Access::Public, &(), nothing),
        delete("/guests/{id}", Access::Public, &(), typed),
        post("/guests", Access::Public, &(), refuse),
        get("/panic", Access::Public, &(), panics),
    ];
    let router = Router::new()
        .mount("/api/v1", api)
        .mount("", vec![get("/health", Access::Public, &(), nothing)]);
    let ids = Ids::new(Arc::new(UnixMillis(0)), Arc::new(SeededEntropy::new(1)));
    Server::new(router, ids, BodyLimits::default())
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = server()
        .answer(request.body(Full::new(Bytes::new())).unwrap(), None)
        .await;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

#[tokio::test]
async fn a_route_answers_under_its_base_with_decoded_parameters() {
    let answer = ask("GET", "/api/v1/guests/caf%C3%A9?a=1&b=%20", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, json!({"id": "café", "query": "a=1&b=%20"}));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(ask("GET", "/health", &[]).await.status, 204);
}

#[tokio::test]
async fn a_parameter_is_refused_before_a_handler_that_takes_none() {
    for (method, path) in [
        ("PUT", "/api/v1/guests/g?dry_run=true"),
        ("DELETE", "/api/v1/guests/no%20id?x"),
        ("POST", "/api/v1/guests?a=1"),
        ("GET", "/api/v1/panic?limit=1"),
    ] {
        let answer = ask(method, path, &[]).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["code"]),
            (400, &json!("invalid_query")),
            "{path}"
        );
    }
    assert_eq!(ask("PUT", "/api/v1/guests/g?", &[]).await.status, 204);
}

#[tokio::test]
async fn what_is_not_there_is_a_404_problem() {
    for path in [
        "/",
        "/guests/g",
        "/api/v1/guests/",
        "/api/v1/guests/g/",
        "/api/v1/health",
        "/api/v1/guests/%ff",
    ] {
        let answer = ask("GET", path, &[("x-request-id", "req_mine")]).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.body["code"], "not_found");
        assert_eq!(answer.body["instance"], path);
        assert_eq!(answer.body["request_id"], "req_mine");
    }
}

#[tokio::test]
async fn a_405_names_the_methods_that_there_are() {
    let override_headers = [("x-http-method-override", "PUT"), ("x-method-override", "PUT")];
    for method in ["POST", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let answer = ask(method, "/api/v1/guests/g", &override_headers).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), "GET, HEAD, PUT, DELETE");
        assert_eq!(answer.body["code"], "method_not_allowed");
    }
    assert_eq!(ask("CONNECT", "example.com:443", &[]).await.status, 405);
}

#[tokio::test]
async fn head_is_answered_where_get_is() {
    assert_eq!(ask("HEAD", "/api/v1/guests/g", &[]).await.status, 200);
    let answer = ask("HEAD", "/api/v1/guests", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn an_error_becomes_a_problem_with_its_retry_after() {
    let answer = ask("POST", "/api/v1/guests", &[]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "7");
    assert_eq!(answer.body["code"], "overloaded");
}

#[tokio::test]
async fn a_panic_is_a_500_without_its_reason() {
    let answer = ask("GET", "/api/v1/panic", &[]).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.body["code"], "internal");
    assert!(!answer.body.to_string().contains("on purpose"));
}

#[tokio::test]
async fn an_id_that_cannot_be_is_not_found() {
    let found = ask("DELETE", "/api/v1/guests/gst_1", &[]).await;
    assert_eq!(
        (found.status.as_u16(), found.header("location")),
        (201, "/guests/gst_1")
    );
    for id in ["a.b", "a%20b", "a%00", "%2e%2e%2f", &"x".repeat(65)] {
        assert_eq!(
            ask("DELETE", &format!("/api/v1/guests/{id}"), &[]).await.status,
            404,
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_request_id_is_taken_if_it_is_one_and_made_otherwise() {
    let taken = ask("GET", "/health", &[("x-request-id", "mine-1")]).await;
    assert_eq!(taken.header("x-request-id"), "mine-1");
    for bad in [
        &[("x-request-id", "not an id")][..],
        &[("x-request-id", "a"), ("x-request-id", "b")],
        &[],
    ] {
        let made = ask("GET", "/health", bad).await;
        assert!(made.header("x-request-id").starts_with("req_"), "{bad:?}");
    }
}

#[test]
#[should_panic(expected = "GET /api/guests stands twice")]
fn an_endpoint_cannot_stand_twice() {
    let twice = || vec![get("/guests", Access::Public, &(), nothing)];
    let _ = Router::new().mount("/api", twice()).mount("/api", twice());
}
