//! Requests that a foreign page makes a browser send (CSRF, DNS rebinding): they are refused before a handler runs.
//!
//! A browser is inside the trusted network, and sends what any page makes it send. The browser marks such requests: in
//! `Sec-Fetch-Site` (Fetch Metadata), or in `Origin` (RFC 6454) where it is too old for that, and in `Host`, which is
//! [`super::host`]'s. Routes that authenticate requests by other means are excepted in the route table, line by line.

use super::{
    Response,
    context::RequestContext,
    cors::Origins,
    host::{Authority, Hosts, Target},
    reply,
};
use contract::{Problem, ProblemCode};
use http::{HeaderMap, HeaderName, Method, header::ORIGIN, request::Parts};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The checks that a route does not make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exceptions {
    /// Requests for any host.
    pub(super) any_host: bool,
    /// Requests of any page.
    pub(super) any_origin: bool,
}

/// The reasons against a request, found before its route is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// It is for a host that is not ours.
    host: bool,
    /// It would change something, and a page of another origin sends it.
    page: bool,
    /// It is for a name or address of the loopback: no reason against it, but found here.
    pub(super) is_for_loopback: bool,
    /// A page of another origin sends it: no reason against one that reads or is listed, unless it comes without a key.
    pub(super) is_cross_origin: bool,
}

impl Foreign {
    pub(super) fn of(head: &Parts, hosts: &Hosts, origins: &Origins) -> Self {
        let target = Target::of(head);
        let is_cross_origin = is_cross_origin(&head.headers, &target);
        Self {
            host: !hosts.allow(&target),
            page: changes_state(&head.method) && is_cross_origin && !origins.allow(&head.headers),
            is_for_loopback: target.is_loopback(),
            is_cross_origin,
        }
    }

    /// The answer to a request of a route with these exceptions, if it is refused: 421 or 403.
    pub(super) fn refusal(self, except: Exceptions, context: &RequestContext) -> Option<Response> {
        let problem = if self.host && !except.any_host {
            let detail =
                "the host is neither a loopback name or address nor one of the setting ALLOWED_HOSTS";
            Problem::new(ProblemCode::MisdirectedRequest).with_detail(detail)
        } else if self.page && !except.any_origin {
            let detail = "Sec-Fetch-Site or Origin says that a page of another origin sends this";
            Problem::new(ProblemCode::CrossOrigin).with_detail(detail)
        } else {
            return None;
        };
        Some(reply::problem(&problem, context))
    }
}

/// Every method but those that RFC 9110, section 9.2.1, defines as safe.
fn changes_state(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}

/// Whether the browser says that the page is of another origin. Programs that are no browsers send no such header.
fn is_cross_origin(headers: &HeaderMap, target: &Target) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    if let Some(site) = sites.next() {
        let ours = matches!(site.as_bytes(), b"same-origin" | b"none");
        return !ours || sites.next().is_some();
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => false,
        (Some(origin), None) => !origin.to_str().is_ok_and(|origin| is_origin_of(origin, target)),
        (Some(_), Some(_)) => true,
    }
}

/// `null` is nobody's, and so is an origin that is no web page's, as an extension's.
fn is_origin_of(origin: &str, target: &Target) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    match (Authority::parse(authority), target) {
        (Some(page), Target::One(ours)) => page.is(ours, default_port),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(method: &str, headers: &[(&str, &str)]) -> Foreign {
        let mut request = http::Request::builder().method(method).uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Foreign::of(&head, &Hosts::Any, &Origins::default())
    }

    #[test]
    fn a13_sec_fetch_site_decides_where_it_stands() {
        let host = ("host", "localhost:4001");
        let ours = ("origin", "http://localhost:4001");
        for (site, refused) in [
            ("same-origin", false),
            ("none", false),
            ("same-site", true),
            ("cross-site", true),
            ("Same-Origin", true),
            ("same-origin, none", true),
            ("", true),
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "BREW", "get"] {
                let asked = foreign(method, &[host, ours, ("sec-fetch-site", site)]);
                assert_eq!(asked.page, refused, "{method} {site}");
            }
            for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
                assert!(
                    !foreign(method, &[host, ("sec-fetch-site", site)]).page,
                    "{method}"
                );
            }
        }
        let twice = [host, ("sec-fetch-site", "none"), ("sec-fetch-site", "none")];
        assert!(foreign("POST", &twice).page);
        let proxied = [("host", "10.0.0.1"), ours, ("sec-fetch-site", "same-origin")];
        assert!(!foreign("POST", &proxied).page);
    }

    #[test]
    fn a13_without_it_the_origin_is_the_hosts() {
        for (host, origin, refused) in [
            ("localhost:4001", "http://localhost:4001", false),
            ("LocalHost:4001", "HTTP://LOCALHOST:4001", false),
            ("pms.example", "https://pms.example", false),
            ("pms.example", "https://pms.example:443", false),
            ("pms.example:443", "https://pms.example", false),
            ("pms.example:80", "http://pms.example", false),
            ("[::1]:4001", "http://[0:0::1]:4001", false),
            ("pms.example:80", "https://pms.example", true),
            ("pms.example", "https://pms.example:8443", true),
            ("localhost:4001", "http://localhost:4002", true),
            ("localhost:4001", "http://localhost", true),
            ("localhost:4001", "http://127.0.0.1:4001", true),
            ("localhost:4001", "http://evil.example", true),
            ("localhost:4001", "http://localhost:4001.evil.example", true),
            ("localhost:4001", "http://localhost:4001/", true),
            ("localhost:4001", "http://user@localhost:4001", true),
            (
                "localhost:4001",
                "http://localhost:4001 http://evil.example",
                true,
            ),
            ("localhost:4001", "null", true),
            ("localhost:4001", "", true),
            ("localhost:4001", "localhost:4001", true),
            ("localhost", "chrome-extension://localhost", true),
            ("localhost", "file://", true),
        ] {
            let asked = foreign("POST", &[("host", host), ("origin", origin)]);
            assert_eq!(asked.page, refused, "{origin} at {host}");
        }
        let own = ("origin", "http://localhost");
        assert!(foreign("POST", &[("host", "localhost"), own, own]).page);
        assert!(foreign("POST", &[own]).page, "no host is nobody's");
        assert!(!foreign("POST", &[("host", "localhost")]).page, "no browser");
    }
}
