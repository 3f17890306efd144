//! What is done around every request: its context, its access log line, and an answer even after a panic.

use super::{
    AnswerBudget, Response, Router,
    access::Gate,
    body::BodyLimits,
    context::{REQUEST_ID, RequestContext},
    cors::Origins,
    event_stream::Streamed,
    head,
    host::Hosts,
    list::CursorKey,
    origin::Foreign,
    reply,
    route::{Inbound, MatchedRoute},
    router::Unanswered,
    traffic::Traffic,
};
use bytes::Bytes;
use contract::{Ids, Problem, ProblemCode};
use futures::{FutureExt, future::BoxFuture};
use http::{
    HeaderValue, Method, StatusCode,
    header::{CACHE_CONTROL, CONNECTION, X_CONTENT_TYPE_OPTIONS},
    request::Parts,
};
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};
use tokio::time::Instant;
use tracing::Instrument;

type BodyFault = Box<dyn std::error::Error + Send + Sync>;
/// Warp's service; its own type has no name outside warp.
type Answering =
    Box<dyn Fn(http::Request<BoxBody<Bytes, BodyFault>>) -> BoxFuture<'static, Response> + Send + Sync>;

/// A router with what every request needs. It answers requests without a socket too, as tests do.
pub struct Server {
    answering: Answering,
    ids: Ids,
    limits: BodyLimits,
    hosts: Hosts,
    origins: Origins,
    answers: AnswerBudget,
    gate: Option<Arc<dyn Gate>>,
    cursor_key: CursorKey,
    traffic: Arc<Traffic>,
}

impl Server {
    /// Takes the route table, the source of request ids and the bounds of bodies. Until it has a gate it answers on public
    /// lines alone.
    pub fn new(router: Router, ids: Ids, limits: BodyLimits) -> Self {
        let traffic = Traffic::of(router.answers());
        let service = TowerToHyperService::new(warp::service(router.into_route()));
        let answering: Answering = Box::new(move |request| {
            service
                .call(request)
                .map(|answer| answer.unwrap_or_else(|never| match never {}))
                .boxed()
        });
        Self {
            answering,
            ids,
            limits,
            hosts: Hosts::Any,
            origins: Origins::default(),
            answers: AnswerBudget::default(),
            gate: None,
            cursor_key: CursorKey::default(),
            traffic,
        }
    }

    /// Answers for these hosts alone, but for the lines of the table that take any.
    #[must_use]
    pub fn with_hosts(self, hosts: Hosts) -> Self {
        Self { hosts, ..self }
    }

    /// Encrypts the cursors of its lists under this key.
    #[must_use]
    pub fn with_cursor_key(self, cursor_key: CursorKey) -> Self {
        Self { cursor_key, ..self }
    }

    /// Lets pages of these origins call.
    #[must_use]
    pub fn with_origins(self, origins: Origins) -> Self {
        Self { origins, ..self }
    }

    /// Asks this gate who the callers are.
    #[must_use]
    pub fn with_gate(self, gate: Arc<dyn Gate>) -> Self {
        Self {
            gate: Some(gate),
            ..self
        }
    }

    /// The same server with another budget of answers.
    #[must_use]
    pub fn with_answers(self, answers: AnswerBudget) -> Self {
        Self { answers, ..self }
    }

    /// Its counters.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Answers one request. A panic in a handler is logged once and answered with a 500.
    pub async fn answer<B>(&self, request: http::Request<B>, remote: Option<SocketAddr>) -> Response
    where
        B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<BodyFault>,
    {
        let (head, body) = request.into_parts();
        let context = Arc::new(RequestContext::new(
            &head.method,
            head.uri.path(),
            &head.headers,
            remote,
            &self.ids,
        ));
        let span = tracing::info_span!(
            "request",
            request.id = context.request_id.as_str(),
            correlation.id = context.correlation_id.as_str()
        );
        let mut line = AccessLine {
            context: Arc::clone(&context),
            begun: Instant::now(),
            answer: None,
            traffic: &self.traffic,
        };
        let refusal = head::refusal(&head);
        let is_last = refusal.is_some() || head::is_last(&head);
        let cors = self.origins.answer_headers(&head.headers);
        let response = match refusal {
            Some(problem) => reply::problem(&problem, &context),
            None => match self.origins.preflight(&head) {
                Some(answer) => answer,
                None => self.route(head, body, &context).instrument(span).await,
            },
        };
        // A stream has a bound of its own, and no end to wait for.
        let response = if response.extensions().get::<Streamed>().is_some() {
            response
        } else {
            let within = self.answers.within_budget(response).await;
            within.unwrap_or_else(|problem| reply::problem(&problem, &context))
        };
        let mut response = with_common_headers(response, &context, is_last);
        response.headers_mut().extend(cors);
        let route = response.extensions().get::<MatchedRoute>().cloned();
        line.answer = Some((response.status(), route));
        response
    }

    /// Hands a request to the routes.
    async fn route<B>(&self, head: Parts, body: B, context: &Arc<RequestContext>) -> Response
    where
        B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<BodyFault>,
    {
        let foreign = Foreign::of(&head, &self.hosts, &self.origins);
        let inbound = Inbound::new(
            Arc::clone(context),
            foreign,
            self.limits.clone(),
            self.answers.clone(),
            self.gate.clone(),
            self.cursor_key.clone(),
            head,
        );
        let mut request = http::Request::new(body.map_err(Into::into).boxed());
        request.extensions_mut().insert(inbound);
        match AssertUnwindSafe((self.answering)(request)).catch_unwind().await {
            Ok(response) if response.extensions().get::<Unanswered>().is_none() => response,
            Ok(_) => reply::problem(&Problem::new(ProblemCode::Internal), context),
            Err(_) => {
                tracing::error!("a handler panicked");
                reply::problem(&Problem::new(ProblemCode::Internal), context)
            }
        }
    }
}

/// What every answer carries, and what the last one of a connection does. Answers hold guests' data: no cache may keep one.
fn with_common_headers(mut response: Response, context: &RequestContext, is_last: bool) -> Response {
    let request_id = HeaderValue::from_str(context.request_id.as_str()).expect("an id is a header value");
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, request_id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if is_last {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A method as logs name it. An unknown method is text that the client chose, so it is not repeated.
fn logged(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS
        | Method::TRACE
        | Method::CONNECT => method.as_str(),
        _ => "other",
    }
}

/// The access log line of a request, and its count in the traffic; written when its answer is ready, or when the client
/// has gone before.
struct AccessLine<'s> {
    context: Arc<RequestContext>,
    begun: Instant,
    answer: Option<(StatusCode, Option<MatchedRoute>)>,
    traffic: &'s Traffic,
}

impl Drop for AccessLine<'_> {
    fn drop(&mut self) {
        let context = &self.context;
        let duration_ms = self.begun.elapsed().as_secs_f64() * 1000.0;
        let (request_id, correlation_id) = (context.request_id.as_str(), context.correlation_id.as_str());
        let Some((status, route)) = &self.answer else {
            self.traffic.gone.inc();
            tracing::info!(
                method = logged(&context.method),
                duration_ms,
                request.id = request_id,
                correlation.id = correlation_id,
                "client gone"
            );
            return;
        };
        let route = route.as_ref().map(|MatchedRoute(pattern)| &**pattern);
        self.traffic
            .answered(route.map(|pattern| &pattern.answers), *status);
        tracing::info!(
            method = logged(&context.method),
            route = route.map_or("", |pattern| &pattern.text),
            status = status.as_u16(),
            duration_ms,
            request.id = request_id,
            correlation.id = correlation_id,
            "request"
        );
    }
}
