//! Rows A13 and A14: what a browser sends for a page that is not ours, and under names that are not ours, on every route of
//! both tables.

use std::net::SocketAddr;

use api::HostList;
use harness::signer::{Answer, Delivery};
use serde_json::{Value, json};

use super::genuine;
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, config};
use crate::metrics::ask;
use crate::pms::Pms;
use crate::settings::{BOTH, Start};

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        a13_a_foreign_page_changes_nothing_at_the_emitter,
        a13_a_foreign_page_changes_nothing_at_the_receiver,
        a14_a_foreign_host_gets_nothing_from_the_emitter,
        a14_a_foreign_host_gets_nothing_from_the_receiver,
        a14_the_hosts_that_are_allowed_are_a_setting,
    ];
    cases.extend(cases![free; a14_a_list_with_what_is_no_host_is_refused]);
    cases
}

/// ADMIN_API_KEY, where requests without a key are refused.
const ADMIN: &str = "an-admin-key-of-the-suite-that-is-long";

/// What a browser says of pages that are not ours.
const FOREIGN_PAGES: [&[(&str, &str)]; 9] = [
    &[("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "same-site")],
    &[("sec-fetch-site", "cross-site"), ("origin", "http://localhost")],
    &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
    &[("origin", "http://evil.example")],
    &[("origin", "null")],
    &[("origin", "http://localhost:443")],
    &[("origin", "http://localhost:1")],
    &[("origin", "http://localhost"), ("origin", "http://localhost")],
];
/// What it says of our own, whose `Host` is `localhost`, and what a program that is no browser says.
const OUR_PAGES: [&[(&str, &str)]; 5] = [
    &[],
    &[
        ("sec-fetch-site", "same-origin"),
        ("origin", "http://elsewhere.example"),
    ],
    &[("sec-fetch-site", "none")],
    &[("origin", "http://localhost")],
    &[("origin", "HTTP://LOCALHOST:80")],
];
const FOREIGN_HOSTS: [&str; 6] = [
    "evil.example",
    "localhost.evil.example:4001",
    "10.1.2.3",
    "0.0.0.0",
    "[fd00::1]:4001",
    "2130706433",
];
const OUR_HOSTS: [&str; 6] = [
    "localhost",
    "LOCALHOST.:9",
    "pms.localhost",
    "127.0.0.1",
    "127.1.2.3:1",
    "[::1]:4001",
];

/// One request, with this `Host`.
async fn send(
    address: SocketAddr,
    (method, path): (&str, &str),
    host: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Answer {
    let mut request = Delivery {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: vec![("host".to_owned(), host.into())],
        body: body.map_or_else(Vec::new, |body| body.to_string().into()),
    };
    let typed = if body.is_some() {
        "application/json"
    } else {
        "text/plain"
    };
    request = request.and("content-type", typed);
    for (name, value) in headers {
        request = request.and(name, value);
    }
    request.send(address).await.unwrap()
}

fn code(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json()["code"].clone())
}

/// An emitter with one thing of each kind.
struct Hotel {
    pms: Pms,
    address: SocketAddr,
    /// Method and path of every route, each with the id of a thing that is there.
    routes: Vec<(String, String)>,
}

impl Hotel {
    async fn open(ctx: &Ctx) -> Self {
        let pms = Pms::start(ctx).await;
        let guest = pms
            .post("/guests", &json!({"last_name": "Silva"}))
            .await
            .expect(201);
        let stay =
            json!({"primary_guest_id": guest.id(), "check_in": "2026-03-20", "check_out": "2026-03-22"});
        let stay = pms.post("/reservations", &stay).await.expect(201);
        let routes = pms.metrics().await.routes();
        let routes = routes.into_iter().map(|(method, route)| {
            let id = match &route {
                route if route.contains("/guests/") => guest.id(),
                route if route.contains("/reservations/") => stay.id(),
                _ => "MAIN",
            };
            (
                method,
                route.replace("{id}", id).replace("{transition}", "cancel"),
            )
        });
        Self {
            address: pms.address().parse().unwrap(),
            routes: routes.collect(),
            pms,
        }
    }

    /// Everything that a request could change.
    async fn state(&self) -> Vec<Value> {
        let mut state = Vec::new();
        for list in ["/guests", "/reservations", "/properties"] {
            state.push(self.pms.get(list).await.expect(200).body["data"].clone());
        }
        for count in [
            "SELECT COUNT(*) AS n FROM events",
            "SELECT COUNT(*) AS n FROM audit_entries",
            "SELECT COUNT(*) AS n FROM idempotency",
        ] {
            state.push(self.pms.count(count).await.into());
        }
        state
    }
}

/// What each route would do something with.
fn fitting(method: &str, path: &str) -> Value {
    match path {
        _ if path.ends_with("/cancel") => json!({"reason": "no_reason"}),
        _ if path.ends_with("/night-audit") => json!({}),
        _ if path.ends_with("/guests") || path.contains("/guests/") => json!({"last_name": "Evil"}),
        _ if path.ends_with("/properties") => {
            json!({"id": "EVIL", "name": "Evil", "timezone": "UTC", "currency": "EUR"})
        }
        _ if path.contains("/properties/") => json!({"name": "Evil"}),
        _ => json!({"room_id": method}),
    }
}

fn changes_state(method: &str) -> bool {
    method != "GET"
}

async fn a13_a_foreign_page_changes_nothing_at_the_emitter(ctx: Ctx) {
    let hotel = Hotel::open(&ctx).await;
    let before = hotel.state().await;
    let mut routes = hotel.routes.clone();
    let changing = routes.iter().filter(|(method, _)| changes_state(method)).count();
    assert!(changing >= 12, "{routes:?}");
    // What is not in the table is no way around it, nor is what the method's name is.
    for (method, path) in [
        ("POST", "/nowhere"),
        ("POST", "/api/v1/health"),
        ("POST", "/health/ready"),
        ("CONNECT", "localhost:4001"),
        ("BREW", "/api/v1/guests"),
    ] {
        routes.push((method.to_owned(), path.to_owned()));
    }
    for (method, path) in &routes {
        let route = (method.as_str(), path.as_str());
        let body = fitting(method, path);
        for page in FOREIGN_PAGES {
            let keyed = [page, &[("idempotency-key", "k-1")]].concat();
            for answer in [
                send(hotel.address, route, "localhost", page, None).await,
                send(hotel.address, route, "localhost", &keyed, Some(&body)).await,
            ] {
                if changes_state(method) {
                    assert_eq!(code(&answer), (403, json!("cross_origin")), "{route:?} {page:?}");
                } else {
                    assert_ne!(answer.status, 403, "{route:?} {page:?}");
                }
            }
        }
    }
    assert_eq!(hotel.state().await, before);
    for page in OUR_PAGES {
        let guest = json!({"last_name": "Santos"});
        let route = ("POST", "/api/v1/guests");
        assert_eq!(
            send(hotel.address, route, "localhost", page, Some(&guest))
                .await
                .status,
            201,
            "{page:?}"
        );
    }
    hotel.pms.stop().await;
}

async fn a13_a_foreign_page_changes_nothing_at_the_receiver(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for (_, route) in receiver.metrics().await.routes() {
        let is_hook = route.contains("/webhooks/");
        let path = route.replace("{source}", "pms").replace("{id}", "evt_1");
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            for page in FOREIGN_PAGES {
                let answer = send(receiver.address, (method, &path), "localhost", page, None).await;
                let refused = code(&answer) == (403, json!("cross_origin"));
                assert_eq!(refused, !is_hook, "{method} {path} {page:?}: {}", answer.status);
            }
        }
    }
    // The signature is a webhook's proof, anyone who carries it.
    for (index, page) in FOREIGN_PAGES.into_iter().enumerate() {
        let mut delivery = genuine();
        for (name, value) in page {
            delivery = delivery.and(name, value);
        }
        let taken = receiver.send(&delivery).await;
        assert_eq!(taken.status, if index == 0 { 202 } else { 200 }, "{page:?}");
    }
    receiver.stop().await;
}

async fn a14_a_foreign_host_gets_nothing_from_the_emitter(ctx: Ctx) {
    let hotel = Hotel::open(&ctx).await;
    let before = hotel.state().await;
    for (method, path) in &hotel.routes {
        let route = (method.as_str(), path.as_str());
        let body = changes_state(method).then(|| fitting(method, path));
        for host in FOREIGN_HOSTS {
            // The browser takes the page for one of this very origin.
            let own = format!("http://{host}");
            for page in [
                vec![],
                vec![("sec-fetch-site", "same-origin")],
                vec![("origin", own.as_str())],
            ] {
                let answer = send(hotel.address, route, host, &page, body.as_ref()).await;
                assert_host_refused(&answer, !path.contains("/health"), &format!("{route:?} {host}"));
            }
        }
        // An absolute target's authority counts, and `Host` does not.
        let absolute = format!("http://evil.example:4001{path}");
        let answer = send(
            hotel.address,
            (method, &absolute),
            "localhost",
            &[],
            body.as_ref(),
        )
        .await;
        assert_host_refused(&answer, !path.contains("/health"), &absolute);
    }
    for path in ["/nowhere", "/api/v1/guests/x/y/z"] {
        assert_eq!(
            send(hotel.address, ("GET", path), "evil.example", &[], None)
                .await
                .status,
            421
        );
    }
    assert_eq!(hotel.state().await, before);
    for host in OUR_HOSTS {
        let answer = send(hotel.address, ("GET", "/api/v1/guests"), host, &[], None).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    let absolute = ("GET", "http://localhost:1/api/v1/guests");
    assert_eq!(
        send(hotel.address, absolute, "evil.example", &[], None)
            .await
            .status,
        200
    );
    hotel.pms.stop().await;
}

async fn a14_a_foreign_host_gets_nothing_from_the_receiver(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for (method, route) in receiver.metrics().await.routes() {
        let path = route.replace("{source}", "pms").replace("{id}", "evt_1");
        let refused = !route.contains("/health") && !route.contains("/webhooks/");
        for host in FOREIGN_HOSTS {
            let answer = send(receiver.address, (&method, &path), host, &[], None).await;
            assert_host_refused(&answer, refused, &format!("{method} {path} {host}"));
        }
    }
    let delivery = genuine().with("host", "crm-receiver:5001");
    assert_eq!(receiver.send(&delivery).await.status, 202);
    for host in OUR_HOSTS {
        let answer = send(receiver.address, ("GET", "/api/v1/events"), host, &[], None).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    receiver.stop().await;
}

fn assert_host_refused(answer: &Answer, refused: bool, what: &str) {
    assert_eq!(answer.status == 421, refused, "{what}: {}", answer.status);
    if refused {
        let problem = answer.json();
        assert_eq!(problem["code"], "misdirected_request", "{what}");
        assert!(
            problem["detail"].as_str().unwrap().contains("ALLOWED_HOSTS"),
            "{what}"
        );
        assert!(!problem["detail"].as_str().unwrap().contains("evil"), "{what}");
    }
}

async fn a14_the_hosts_that_are_allowed_are_a_setting(ctx: Ctx) {
    let listed: HostList = "crm.example, 10.1.2.3 [fd00::1]".parse().unwrap();
    for (bind, allowed, host, status) in [
        ("127.0.0.1", Some(&listed), "CRM.example:8443", 200),
        ("127.0.0.1", Some(&listed), "10.1.2.3", 200),
        ("127.0.0.1", Some(&listed), "[fd00::1]:1", 200),
        ("127.0.0.1", Some(&listed), "localhost", 200),
        ("127.0.0.1", Some(&listed), "pms.crm.example", 421),
        ("0.0.0.0", Some(&listed), "crm.example", 200),
        ("0.0.0.0", Some(&listed), "127.0.0.1", 200),
        ("0.0.0.0", Some(&listed), "evil.example", 421),
        ("0.0.0.0", None, "evil.example", 200),
    ] {
        let mut config = config(ctx.url());
        config.http.app_host = bind.to_owned();
        config.http.allowed_hosts = allowed.cloned();
        config.access.admin_api_key = Some(ADMIN.parse().unwrap());
        let receiver = Receiver::start_with(config).await;
        let address = SocketAddr::from(([127, 0, 0, 1], receiver.address.port()));
        let key = [("x-api-key", ADMIN)];
        let answer = send(address, ("GET", "/api/v1/events"), host, &key, None).await;
        assert_eq!(answer.status, status, "{host} at {bind}");
        let health = send(address, ("GET", "/health"), "probe.example", &[], None).await;
        assert_eq!(health.status, 200);
        let page = ask(receiver.metrics_address(), "GET", "/metrics").await;
        assert_eq!(page.status, 200);
        let page = send(
            receiver.metrics_address(),
            ("GET", "/metrics"),
            "scraper.example",
            &[],
            None,
        )
        .await;
        assert_eq!(page.status, 200, "a scraper has its own name for it");
        receiver.stop().await;
    }
}

async fn a14_a_list_with_what_is_no_host_is_refused(_: Ctx) {
    for program in BOTH {
        for list in ["*", "pms.example:443", "https://pms.example", " ,"] {
            let said = Start::new().with("ALLOWED_HOSTS", list).refused(program).await;
            assert!(said.starts_with("error: ALLOWED_HOSTS: "), "{list}: {said}");
        }
    }
}
