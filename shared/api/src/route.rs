//! One line per endpoint: a method, a path pattern, a handler.
//!
//! ```ignore
//! const GUESTS: Area = Area::new("guests");
//! vec![get("/guests", GUESTS.read(), &app, list_guests), post("/guests", GUESTS.write(), &app, create_guest)]
//! ```
//! A handler is an async function of the state and the [`Request`]. It answers a [`Response`] or an error that becomes
//! a problem; it never rejects, so no other endpoint is tried once a pattern and its method match.

use super::{
    AnswerBudget, Response, Route,
    access::{self, Access, Admission, Caller, Gate, Visit},
    body::{BodyLimits, BodyStream, Broken},
    context::RequestContext,
    etag::ReadConditions,
    event_stream::Streamed,
    list::{CursorKey, parse_parameters},
    origin::{Exceptions, Foreign},
    reply,
    request::{PathParams, Request},
    traffic::Answers,
};
use bytes::Buf;
use contract::Problem;
use futures::{FutureExt, StreamExt, future::BoxFuture};
use http::{HeaderMap, Method, request::Parts};
use percent_encoding::percent_decode_str;
use std::{
    future::{Future, ready},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::Instant;
use warp::{Filter, Rejection};

/// What the server gives to a route in place of a request's head. warp would keep the head until the answer, and with
/// it the connection's read buffer; here it is taken out by the endpoint that matches.
#[derive(Clone)]
pub(super) struct Inbound {
    pub(super) context: Arc<RequestContext>,
    pub(super) foreign: Foreign,
    limits: BodyLimits,
    answers: AnswerBudget,
    gate: Option<Arc<dyn Gate>>,
    cursor_key: CursorKey,
    head: Arc<Mutex<Head>>,
}

#[derive(Default)]
struct Head {
    headers: HeaderMap,
    query: String,
}

impl Inbound {
    pub(super) fn new(
        context: Arc<RequestContext>,
        foreign: Foreign,
        limits: BodyLimits,
        answers: AnswerBudget,
        gate: Option<Arc<dyn Gate>>,
        cursor_key: CursorKey,
        parts: Parts,
    ) -> Self {
        let head = Head {
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
        };
        Self {
            context,
            foreign,
            limits,
            answers,
            gate,
            cursor_key,
            head: Arc::new(Mutex::new(head)),
        }
    }

    /// It can be taken once; a second call returns an empty head.
    fn take_head(&self) -> Head {
        std::mem::take(&mut *self.head.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The pattern that a request matched, on its answer: the access log names it instead of the path.
#[derive(Clone, Debug)]
pub(super) struct MatchedRoute(pub(super) Arc<Pattern>);

type Call = Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// A method, a pattern, what it asks of its caller, and what answers.
pub struct Endpoint {
    pub(super) method: Method,
    path: &'static str,
    pub(super) access: Access,
    call: Call,
    takes_query: bool,
    takes_slash: bool,
    exceptions: Exceptions,
}

/// A path of literal segments and `{parameters}`.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) text: String,
    /// Method and text, as usage is counted by.
    route: Arc<str>,
    segments: Vec<Segment>,
    /// Whether a slash may follow.
    takes_slash: bool,
    /// The checks that are not made for its requests.
    pub(super) exceptions: Exceptions,
    /// The counters of its answers, kept here so that counting needs no look-up.
    pub(super) answers: Answers,
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    Param(&'static str),
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $method:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $name<S, H, F, E>(pattern: &'static str, access: Access, state: &S, handler: H) -> Endpoint
            where
                S: Clone + Send + Sync + 'static,
                H: Fn(S, Request) -> F + Send + Sync + 'static,
                F: Future<Output = Result<Response, E>> + Send + 'static,
                E: Into<Problem>,
            {
                Endpoint::new(Method::$method, pattern, access, state, handler)
            }
        )*
    };
}

methods! {
    /// GET, which answers HEAD too.
    get = GET;
    /// POST.
    post = POST;
    /// PUT.
    put = PUT;
    /// PATCH.
    patch = PATCH;
    /// DELETE.
    delete = DELETE;
}

impl Endpoint {
    /// An endpoint of any method. The pattern begins with `/`; `{name}` stands for one segment.
    pub fn new<S, H, F, E>(
        method: Method,
        pattern: &'static str,
        access: Access,
        state: &S,
        handler: H,
    ) -> Self
    where
        S: Clone + Send + Sync + 'static,
        H: Fn(S, Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response, E>> + Send + 'static,
        E: Into<Problem>,
    {
        let state = state.clone();
        let call: Call = Arc::new(move |request: Request| {
            let context = Arc::clone(&request.context);
            let answering = handler(state.clone(), request);
            answering
                .map(move |answer| answer.unwrap_or_else(|error| reply::problem(&error.into(), &context)))
                .boxed()
        });
        Self {
            method,
            path: pattern,
            access,
            call,
            takes_query: false,
            takes_slash: false,
            exceptions: Exceptions::default(),
        }
    }

    /// Leaves the query string to the handler. Without it any parameter is unknown, and answered 400 before the
    /// handler is asked.
    #[must_use]
    pub fn with_query(self) -> Self {
        Self {
            takes_query: true,
            ..self
        }
    }

    /// Answers a path with a slash at its end too.
    #[must_use]
    pub fn with_slash(mut self) -> Self {
        self.takes_slash = true;
        self
    }

    /// Accepts requests for any `Host`: its clients use names of their own for this service.
    #[must_use]
    pub fn with_any_host(mut self) -> Self {
        self.exceptions.any_host = true;
        self
    }

    /// Accepts requests from any `Origin`: they are authenticated by other means.
    #[must_use]
    pub fn with_any_origin(mut self) -> Self {
        self.exceptions.any_origin = true;
        self
    }

    /// Its pattern under a base path.
    pub(super) fn pattern(&self, base: &str) -> Arc<Pattern> {
        Arc::new(Pattern {
            takes_slash: self.takes_slash,
            exceptions: self.exceptions,
            ..Pattern::new(&self.method, base, self.path)
        })
    }

    /// As a warp filter: it rejects what does not match, and answers everything that does.
    pub(super) fn into_route(self, pattern: Arc<Pattern>) -> Route {
        let Self {
            method: wanted,
            access,
            call,
            takes_query,
            ..
        } = self;
        let matched = Arc::clone(&pattern);
        // Method and path are the context's: warp's own path filter panics on a target without a path.
        warp::ext::get::<Inbound>()
            .and_then(move |inbound: Inbound| {
                let method = &inbound.context.method;
                let right = method == wanted || (method == Method::HEAD && wanted == Method::GET);
                let params = if right {
                    pattern.matches(&inbound.context.path)
                } else {
                    None
                };
                ready(
                    params
                        .map(|params| (inbound, params))
                        .ok_or_else(warp::reject::not_found),
                )
            })
            .untuple_one()
            .and(chunks())
            .then(move |inbound: Inbound, params, chunks| {
                let matched = MatchedRoute(Arc::clone(&matched));
                let asked = Asked {
                    access,
                    takes_query,
                    pattern: Arc::clone(&matched.0),
                };
                let answering = asked.answer(inbound, params, chunks, Arc::clone(&call));
                answering.map(move |mut response| {
                    response.extensions_mut().insert(matched);
                    response
                })
            })
            .boxed()
    }
}

/// What a line of the table asks of a request before its handler sees it.
struct Asked {
    access: Access,
    takes_query: bool,
    pattern: Arc<Pattern>,
}

impl Asked {
    /// Refuses the request, or lets the handler answer it.
    async fn answer(self, inbound: Inbound, params: PathParams, chunks: BodyStream, call: Call) -> Response {
        let Head { headers, query } = inbound.take_head();
        let Inbound {
            context,
            foreign,
            limits,
            answers,
            gate,
            cursor_key,
            ..
        } = inbound;
        if let Some(refusal) = foreign.refusal(self.pattern.exceptions, &context) {
            return refusal;
        }
        let gate = gate.filter(|_| self.access != Access::Public);
        let visit = Visit {
            context: &context,
            headers: &headers,
            query: &query,
            is_for_loopback: foreign.is_for_loopback,
            is_cross_origin: foreign.is_cross_origin,
        };
        let admission = match &gate {
            Some(gate) => gate.admit(visit).await,
            None if self.access == Access::Public => Admission::of(Arc::new(Caller::unknown())),
            None => Admission::refused(access::key_required()),
        };
        let caller = match admission.caller {
            Ok(caller) => caller,
            Err(problem) => {
                return access::with_headers(reply::problem(&problem, &context), admission.headers);
            }
        };
        let begun = Instant::now();
        let refused = self.access.check(&caller).and_then(|()| {
            let known = if self.takes_query {
                Ok(Vec::new())
            } else {
                parse_parameters(&[], &query)
            };
            known.map(drop)
        });
        let conditions = ReadConditions::of(&context.method, &headers);
        let mut response = match refused {
            Err(problem) => reply::problem(&problem, &context),
            Ok(()) => {
                call(Request {
                    context: Arc::clone(&context),
                    caller: Arc::clone(&caller),
                    headers,
                    params,
                    query,
                    cursor_key,
                    chunks,
                    limits,
                    answers,
                })
                .await
            }
        };
        if let Some(conditions) = conditions {
            response = conditions.judge(response, &context);
        }
        if let Some(gate) = gate {
            gate.answered(&caller, &self.pattern.route, response.status(), begun.elapsed());
            if let Some(streamed) = response.extensions().get::<Streamed>() {
                tokio::spawn(streamed.clone().end_with_caller(gate, caller));
            }
        }
        access::with_headers(response, admission.headers)
    }
}

fn chunks() -> impl Filter<Extract = (BodyStream,), Error = Rejection> + Clone {
    warp::body::stream().map(|stream| {
        let chunks = StreamExt::map(stream, |chunk: Result<_, warp::Error>| match chunk {
            Ok(mut buffer) => Ok(take(&mut buffer)),
            Err(_) => Err(Broken),
        });
        chunks.fuse().boxed()
    })
}

/// The chunk's bytes, not copied here, since hyper's chunks are `Bytes`.
fn take<B: Buf>(buffer: &mut B) -> bytes::Bytes {
    buffer.copy_to_bytes(buffer.remaining())
}

impl Pattern {
    fn new(method: &Method, base: &str, pattern: &'static str) -> Self {
        let literals = base
            .split('/')
            .skip(1)
            .map(|literal| Segment::Literal(literal.to_owned()));
        let own = pattern.split('/').skip(1).map(|segment| {
            match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(name) => Segment::Param(name),
                None => Segment::Literal(segment.to_owned()),
            }
        });
        let text = format!("{base}{pattern}");
        Self {
            segments: literals.chain(own).collect(),
            takes_slash: false,
            exceptions: Exceptions::default(),
            answers: Answers::of_route(method, &text),
            route: format!("{method} {text}").into(),
            text,
        }
    }

    /// The parameters, decoded, if the raw path matches segment by segment. An empty segment is no parameter, and
    /// neither is one that is not UTF-8.
    pub(super) fn matches(&self, path: &str) -> Option<PathParams> {
        let mut params = Vec::new();
        let mut given = path.split('/').skip(1);
        for segment in &self.segments {
            let text = given.next()?;
            match segment {
                Segment::Literal(literal) if literal == text => {}
                Segment::Literal(_) => return None,
                Segment::Param(_) if text.is_empty() => return None,
                Segment::Param(name) => {
                    params.push((*name, percent_decode_str(text).decode_utf8().ok()?.into_owned()));
                }
            }
        }
        let ends = match given.next() {
            None => true,
            Some(rest) => rest.is_empty() && self.takes_slash && given.next().is_none(),
        };
        ends.then_some(PathParams(params))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_segment_by_segment_and_decodes() {
        let pattern = Pattern::new(&Method::GET, "/api/v1", "/guests/{id}/notes/{note}");
        let params = pattern.matches("/api/v1/guests/g%2D1/notes/caf%C3%A9").unwrap();
        assert_eq!(params.0, [("id", "g-1".to_owned()), ("note", "café".to_owned())]);
        for other in [
            "/api/v1/guests//notes/x",
            "/api/v1/guests/g/notes",
            "/api/v1/guests/g/notes/x/",
            "/api/v1/guests/g/notes/x/y",
            "/api/v1/guests/g/notes/%ff",
            "/api/v2/guests/g/notes/x",
            "/guests/g/notes/x",
            "",
        ] {
            assert!(pattern.matches(other).is_none(), "{other}");
        }
    }

    #[test]
    fn case20_a_slash_at_the_end_is_passed_over_where_the_line_says_so() {
        let hook = Endpoint::new(
            Method::POST,
            "/webhooks/{source}",
            Access::Public,
            &(),
            |(), _| async { Err::<Response, _>(Problem::new(contract::ProblemCode::NotFound)) },
        );
        let pattern = hook.with_slash().pattern("/api/v1");
        for taken in ["/api/v1/webhooks/pms", "/api/v1/webhooks/pms/"] {
            let params = pattern.matches(taken).unwrap();
            assert_eq!(params.0, [("source", "pms".to_owned())], "{taken}");
        }
        for other in [
            "/api/v1/webhooks/pms//",
            "/api/v1/webhooks//",
            "/api/v1/webhooks/",
            "/api/v1/webhooks/pms/x",
        ] {
            assert!(pattern.matches(other).is_none(), "{other}");
        }
    }

    #[test]
    fn an_encoded_slash_stays_inside_its_parameter() {
        let pattern = Pattern::new(&Method::GET, "", "/guests/{id}");
        assert_eq!(
            pattern.matches("/guests/a%2Fb").unwrap().0,
            [("id", "a/b".to_owned())]
        );
    }
}
