//! The request that a handler gets; its parts are read on demand.

use super::{
    AnswerBudget,
    access::Caller,
    body::{self, Body, BodyLimits, BodyStream},
    context::RequestContext,
    list::{CursorKey, ListQuery, ListSpec},
};
use contract::{Problem, ProblemCode};
use futures::future::BoxFuture;
use http::{HeaderMap, header::CONTENT_LENGTH};
use std::{str::FromStr, sync::Arc};

/// The parameters of a path by their names, percent-decoded.
#[derive(Clone, Debug, Default)]
pub(super) struct PathParams(pub(super) Vec<(&'static str, String)>);

/// One request. Its body is not read until [`Request::read_body`].
pub struct Request {
    /// Who asked what.
    pub context: Arc<RequestContext>,
    /// Who sent it.
    pub caller: Arc<Caller>,
    /// All headers, until [`Request::read_body`].
    pub headers: HeaderMap,
    pub(super) params: PathParams,
    pub(super) query: String,
    pub(super) cursor_key: CursorKey,
    pub(super) chunks: BodyStream,
    pub(super) limits: BodyLimits,
    /// The memory budget for large answers.
    pub answers: AnswerBudget,
}

impl std::fmt::Debug for Request {
    /// Neither headers nor query nor body: they may hold secrets and personal data.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Request")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// A parameter of the path, decoded.
    ///
    /// # Panics
    /// When the endpoint's pattern has no parameter of that name.
    pub fn param(&self, name: &str) -> &str {
        let found = self.params.0.iter().find(|(known, _)| *known == name);
        &found.expect("the endpoint's pattern names this parameter").1
    }

    /// A parameter of the path as an id.
    ///
    /// # Errors
    /// 404 when it is no valid id: nothing can be found under it.
    ///
    /// # Panics
    /// As [`Request::param`].
    pub fn id<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        self.param(name)
            .parse()
            .map_err(|_| Problem::new(ProblemCode::NotFound))
    }

    /// The raw query string, without its `?`; empty when there is none.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// The query string as that of a list.
    ///
    /// # Errors
    /// As [`ListSpec::parse`].
    pub fn list(&self, spec: &ListSpec) -> Result<ListQuery, Problem> {
        spec.parse(&self.query, &self.cursor_key)
    }

    /// A header that may occur at most once.
    ///
    /// # Errors
    /// 400 when it occurs more than once or is not visible ASCII: which value is meant is unknown.
    pub fn header(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next();
        let malformed = || {
            Problem::new(ProblemCode::InvalidRequest)
                .with_detail(format!("the header {name} is malformed or repeated"))
        };
        if values.next().is_some() {
            return Err(malformed());
        }
        first
            .map(|value| value.to_str().map_err(|_| malformed()))
            .transpose()
    }

    /// Reads the raw body, at most `limit` bytes. A second call reads nothing more. The headers are gone after it: they
    /// would keep the connection's read buffer while the body is on its way, and thousands may be.
    ///
    /// # Errors
    /// 413 as soon as the declared or the real length is over the limit, 408 at the deadline, 503 when too many bytes
    /// of bodies are in memory, 400 when it breaks off.
    pub fn read_body<'r>(&'r mut self, limit: usize) -> BoxFuture<'r, Result<Body, Problem>> {
        Box::pin(async move {
            let declared = std::mem::take(&mut self.headers)
                .get(CONTENT_LENGTH)
                .and_then(|value| value.to_str().ok())
                .and_then(|text| text.parse::<u64>().ok());
            Ok(body::read(&mut self.chunks, declared, limit, &self.limits).await?)
        })
    }
}
