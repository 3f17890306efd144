//! Pages in a browser: those of listed origins may call with a key of their own, and none without.

use super::{ADMIN, guarded, key};
use crate::case::{Case, Ctx, cases};
use crate::pms::{Pms, Reply};
use http::Method;
use serde_json::json;

pub fn cases() -> Vec<Case> {
    cases![
        a6_without_a_key_no_page_of_another_origin_is_served,
        a13_a_listed_origin_may_ask_write_and_read_answers_with_a_key,
    ]
}

const DESK: &str = "https://desk.example";

async fn a6_without_a_key_no_page_of_another_origin_is_served(ctx: Ctx) {
    let pms = Pms::start_set(&ctx, |config| {
        config.access.cors_allowed_origins = DESK.parse().unwrap();
    })
    .await;
    let host = pms.address().to_owned();
    for (headers, served) in [
        (vec![], true),
        (vec![("sec-fetch-site", "none")], true),
        (vec![("sec-fetch-site", "same-origin")], true),
        (vec![("sec-fetch-site", "cross-site")], false),
        (vec![("sec-fetch-site", "same-site")], false),
        (vec![("origin", DESK)], false),
        (vec![("origin", DESK), ("sec-fetch-site", "cross-site")], false),
        (vec![("origin", "null")], false),
    ] {
        let status = if served { 200 } else { 401 };
        for path in ["/guests", "/api-keys"] {
            let answer = pms.send(Method::GET, path, &headers, None).await;
            assert_eq!(answer.status, status, "{headers:?} at {host}");
        }
        pms.send(Method::GET, "/health", &headers, None).await.expect(200);
    }
    let body = json!({"name": "k", "permissions": ["admin"], "property_ids": "*"});
    let page = [("origin", DESK)];
    pms.send(Method::POST, "/api-keys", &page, Some(&body))
        .await
        .expect(401);
    pms.stop().await;
}

async fn a13_a_listed_origin_may_ask_write_and_read_answers_with_a_key(ctx: Ctx) {
    let pms = Pms::start_set(&ctx, |config| {
        config.access.admin_api_key = Some(ADMIN.parse().unwrap());
        config.access.cors_allowed_origins = DESK.parse().unwrap();
    })
    .await;
    let text = key(&pms, &["write"], json!("*")).await;
    let guest = json!({"first_name": "Ana", "last_name": "Silva"});
    let opens = |answer: &Reply| {
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        answer.header("access-control-allow-origin").to_owned()
    };
    for (origin, asked, wrote) in [(DESK, 204, 201), ("https://evil.example", 405, 403)] {
        let question = [("origin", origin), ("access-control-request-method", "POST")];
        let answer = pms.send(Method::OPTIONS, "/guests", &question, None).await;
        assert_eq!(answer.status, asked, "{origin}");
        let allowed = if asked == 204 { DESK } else { "" };
        assert_eq!(opens(&answer), allowed);
        let headers = [
            ("origin", origin),
            ("sec-fetch-site", "cross-site"),
            ("x-api-key", text.as_str()),
        ];
        let answer = pms.send(Method::POST, "/guests", &headers, Some(&guest)).await;
        assert_eq!(
            (answer.status, opens(&answer).as_str()),
            (wrote, allowed),
            "{origin}"
        );
        // A page reads why it was refused, too.
        let answer = pms
            .send(Method::GET, "/guests", &headers[..2], None)
            .await
            .expect(401);
        assert_eq!(opens(&answer), allowed);
    }
    pms.stop().await;
    // Nobody is listed where nothing is set.
    let pms = guarded(&ctx).await;
    let question = [("origin", DESK), ("access-control-request-method", "POST")];
    let answer = pms
        .send(Method::OPTIONS, "/guests", &question, None)
        .await
        .expect(405);
    assert_eq!(opens(&answer), "");
    pms.stop().await;
}
