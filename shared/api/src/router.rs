//! All endpoints of a service as one route that answers everything: 404 and a true 405 included.

use super::{
    Response, Route,
    access::Access,
    context::RequestContext,
    origin::Exceptions,
    reply,
    route::{Endpoint, Inbound, Pattern},
    traffic::Answers,
};
use contract::{Problem, ProblemCode};
use http::Method;
use std::{convert::Infallible, sync::Arc};
use warp::{Filter, Rejection};

/// The route table of one service.
///
/// Invariant: no two entries have the same method and pattern. Where patterns overlap, the first in the list answers.
#[derive(Default)]
pub struct Router {
    entries: Vec<(Endpoint, Arc<Pattern>)>,
}

/// A line of the table, as tests and documents see it.
#[derive(Clone, Debug)]
pub struct Line {
    /// The method.
    pub method: Method,
    /// Base path and pattern.
    pub pattern: String,
    /// What it asks of its caller.
    pub access: Access,
}

/// Marks an answer that no endpoint gave: the server turns it into a problem.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unanswered;

impl Router {
    /// An empty table: everything is 404.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds endpoints under a base path, `""` or `/some/path` without a slash at its end.
    ///
    /// # Panics
    /// When a method and pattern occur twice: route tables are code, and the second could never be reached.
    #[must_use]
    pub fn mount(mut self, base: &str, endpoints: Vec<Endpoint>) -> Self {
        for endpoint in endpoints {
            let pattern = endpoint.pattern(base);
            let twice = self
                .entries
                .iter()
                .any(|(other, known)| other.method == endpoint.method && known.text == pattern.text);
            assert!(
                !twice,
                "{} {} stands twice in the route table",
                endpoint.method, pattern.text
            );
            self.entries.push((endpoint, pattern));
        }
        self
    }

    /// Every endpoint, in order.
    pub fn table(&self) -> impl Iterator<Item = Line> {
        self.entries.iter().map(|(endpoint, pattern)| Line {
            method: endpoint.method.clone(),
            pattern: pattern.text.clone(),
            access: endpoint.access,
        })
    }

    /// Every endpoint's method and pattern, shared.
    pub(super) fn patterns(&self) -> Vec<(Method, Arc<Pattern>)> {
        self.entries
            .iter()
            .map(|(endpoint, pattern)| (endpoint.method.clone(), Arc::clone(pattern)))
            .collect()
    }

    /// The counters of every endpoint's answers.
    pub(super) fn answers(&self) -> Vec<Answers> {
        let patterns = self.entries.iter().map(|(_, pattern)| pattern);
        patterns.map(|pattern| pattern.answers.clone()).collect()
    }

    /// One route. It is boxed after every step: unboxed chains of `or` take minutes to compile. The first endpoint is
    /// the outermost, so that a request passes only those that stand before its own.
    pub(super) fn into_route(self) -> Route {
        let table: Table = self.patterns().into();
        self.entries
            .into_iter()
            .rev()
            .map(|(endpoint, pattern)| endpoint.into_route(pattern))
            .fold(unmatched(table), |later, route| route.or(later).unify().boxed())
            .recover(unanswered)
            .unify()
            .boxed()
    }
}

type Table = Arc<[(Method, Arc<Pattern>)]>;

/// What no endpoint answered: 405 where the path has other methods, else 404.
fn unmatched(table: Table) -> Route {
    warp::ext::get::<Inbound>()
        .map(move |inbound: Inbound| {
            let RequestContext { method, path, .. } = &*inbound.context;
            if let Some(refusal) = inbound
                .foreign
                .refusal(exceptions(&table, path), &inbound.context)
            {
                return refusal;
            }
            // CONNECT names no path of ours, so it is refused as a method, wherever it points.
            let allowed = allowed(&table, (method != Method::CONNECT).then_some(path.as_str()));
            if allowed.is_empty() {
                reply::problem(&Problem::new(ProblemCode::NotFound), &inbound.context)
            } else {
                reply::method_not_allowed(&allowed, &inbound.context)
            }
        })
        .boxed()
}

/// The exceptions of all endpoints of a path.
fn exceptions(table: &[(Method, Arc<Pattern>)], path: &str) -> Exceptions {
    let of_path = table
        .iter()
        .filter(|(_, pattern)| pattern.matches(path).is_some());
    of_path.fold(Exceptions::default(), |sum, (_, pattern)| Exceptions {
        any_host: sum.any_host || pattern.exceptions.any_host,
        any_origin: sum.any_origin || pattern.exceptions.any_origin,
    })
}

/// The methods of a path, or of all paths, as `Allow` lists them.
fn allowed(table: &[(Method, Arc<Pattern>)], path: Option<&str>) -> String {
    let mut methods: Vec<&str> = Vec::new();
    for (method, pattern) in table {
        if path.is_some_and(|path| pattern.matches(path).is_none()) {
            continue;
        }
        let with_head: &[&str] = if method == Method::GET {
            &["GET", "HEAD"]
        } else {
            &[method.as_str()]
        };
        for name in with_head {
            if !methods.contains(name) {
                methods.push(name);
            }
        }
    }
    methods.join(", ")
}

/// No handler rejects on purpose: a rejection that arrives here is a bug, logged and answered with 500.
async fn unanswered(rejection: Rejection) -> Result<Response, Infallible> {
    tracing::error!(?rejection, "a filter rejected");
    let mut response = Response::default();
    response.extensions_mut().insert(Unanswered);
    Ok(response)
}

#[cfg(test)]
mod tests;
