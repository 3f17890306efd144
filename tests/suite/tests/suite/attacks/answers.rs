//! Row A11: what is answered says nothing of how it is made, whatever is asked.

use crate::case::{Case, Ctx, cases};
use crate::ingest::Receiver;
use crate::pms::Pms;
use api::{Access, Line};
use harness::signer::{Answer, Delivery};
use std::net::SocketAddr;

pub fn cases() -> Vec<Case> {
    cases![
        a11_no_answer_of_the_receiver_says_how_it_is_made,
        a11_no_answer_of_the_emitter_says_how_it_is_made,
    ]
}

/// What would be of use to who looks for a way in.
const INTERNALS: [&str; 13] = [
    env!("CARGO_PKG_VERSION"),
    "sqlite",
    "mysql",
    "mariadb",
    "hyper",
    "warp",
    "tokio",
    "panicked",
    ".rs:",
    "select ",
    "insert ",
    "_total",
    "/root",
];

/// Requests to a line that its handler, or what stands before it, refuses in different ways.
fn odd(line: &Line) -> Vec<Delivery> {
    let of = |part: &str| {
        let parts: Vec<_> = line
            .pattern
            .split('/')
            .map(|own| if own.starts_with('{') { part } else { own })
            .collect();
        parts.join("/")
    };
    let method = line.method.as_str();
    let json = |path: String, body: &str| {
        Delivery::bare(method, path)
            .with("content-type", "application/json")
            .with_body(body)
    };
    let long = "x".repeat(300);
    vec![
        json(of("pms"), "{}"),
        json(of("pms"), "{"),
        json(of("%27%20OR%201%3D1"), "[]"),
        json(of(&long), "{}"),
        json(of("pms") + "?cursor=zzzz&limit=0&sort=%27", "{}"),
        Delivery::bare(method, of("..%2f..%2fetc%2fpasswd")).with("content-type", "text/plain"),
        Delivery::bare("TRACE", of("pms")),
        Delivery::bare("OPTIONS", of("pms")),
        json(of("pms"), "{}").with("x-api-key", "gw_wrong"),
        json(of("pms"), "{}")
            .with("traceparent", "00-zz")
            .with("x-request-id", "\u{1}"),
    ]
}

fn assert_plain(answer: &Answer, what: &str) {
    let headers = answer.headers.iter().filter(|(name, _)| name != "date");
    let headers: String = headers
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    let said = (headers + &String::from_utf8_lossy(&answer.body)).to_lowercase();
    for internal in INTERNALS {
        assert!(!said.contains(internal), "{what} says {internal}: {said}");
    }
}

async fn ask_all(address: SocketAddr, table: &[Line]) {
    let (mut asked, mut public) = (0, 0);
    for line in table {
        public += usize::from(line.access == Access::Public);
        for request in odd(line) {
            let what = format!("{} {}", request.method, request.path);
            let answer = request.send(address).await.unwrap();
            assert!(
                answer.status < 500 || answer.status == 501,
                "{what}: {}",
                answer.status
            );
            assert_plain(&answer, &what);
            asked += 1;
        }
    }
    assert!(asked > 100 && public > 3, "{asked} {public}");
    for path in ["/metrics", "/api/v1/metrics", "/debug", "/.env", "/"] {
        let answer = Delivery::bare("GET", path).send(address).await.unwrap();
        assert_eq!(answer.status, 404, "{path}");
        assert_plain(&answer, path);
    }
}

async fn a11_no_answer_of_the_receiver_says_how_it_is_made(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    ask_all(receiver.address, &receiver.table).await;
    receiver.stop().await;
}

async fn a11_no_answer_of_the_emitter_says_how_it_is_made(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    ask_all(pms.address().parse().unwrap(), &pms.table).await;
    pms.stop().await;
}
