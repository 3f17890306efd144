//! Versions as entity tags: `ETag` out, `If-Match` and `If-None-Match` in (RFC 9110, sections 8.8.3 and 13).
//!
//! A write reads its [`Preconditions`] and checks them against the version that it changes. Those of a read are
//! evaluated by the router, on the answer that it would give: see `ReadConditions`.

use super::{Response, context::RequestContext, reply};
use contract::{Problem, ProblemCode};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH},
};

/// The most tags that a write's header may list.
const TAGS_MAX: usize = 16;

/// What a client expects of the version that it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preconditions {
    if_match: Tags,
    if_none_match: Tags,
}

/// What a client has of what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadConditions(Preconditions);

/// One of the two headers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Absent,
    /// `*`: that there is one.
    Any,
    Listed(Vec<Tag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    opaque: String,
}

/// The header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed;

/// The entity tag of a version: `"7"`.
pub fn tag(version: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are a header value")
}

/// The answer with the version it shows.
#[must_use]
pub fn with_etag(mut response: Response, version: u64) -> Response {
    response.headers_mut().insert(ETAG, tag(version));
    response
}

/// The answer with the version it shows, followed by something shown that is not part of the version, such as a status
/// that depends on the date: `"7;due_in"`. For a write only the version counts.
///
/// # Panics
/// When `beside` has other characters than a tag may have.
#[must_use]
pub fn with_etag_beside(response: Response, version: u64, beside: Option<&str>) -> Response {
    let mut response = with_etag(response, version);
    if let Some(beside) = beside {
        let tag =
            HeaderValue::from_str(&format!("\"{version};{beside}\"")).expect("a code is a header value");
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

impl Preconditions {
    /// Reads both headers; several lines of one are one list.
    ///
    /// # Errors
    /// 400 when one is malformed, or lists more than 16 tags.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let if_match = Tags::of(headers, IF_MATCH).and_then(Tags::bounded);
        let if_none_match = Tags::of(headers, IF_NONE_MATCH).and_then(Tags::bounded);
        Ok(Self {
            if_match: if_match.map_err(|Malformed| Problem::new(ProblemCode::InvalidIfMatch))?,
            if_none_match: if_none_match.map_err(|Malformed| {
                Problem::new(ProblemCode::InvalidRequest).with_detail("the header if-none-match is malformed")
            })?,
        })
    }

    /// Whether the current version is one that the client expects.
    pub fn allows(&self, current: u64) -> bool {
        let is_current = |tag: &Tag| version(&tag.opaque) == Some(current);
        let wanted = match &self.if_match {
            Tags::Absent | Tags::Any => true,
            // If-Match compares strongly, so a weak tag matches nothing.
            Tags::Listed(tags) => tags.iter().any(|tag| !tag.weak && is_current(tag)),
        };
        let unwanted = match &self.if_none_match {
            Tags::Absent => false,
            Tags::Any => true,
            Tags::Listed(tags) => tags.iter().any(is_current),
        };
        wanted && !unwanted
    }

    /// As [`Preconditions::allows`], as a problem.
    ///
    /// # Errors
    /// 412 when the current version is another.
    pub fn check(&self, current: u64) -> Result<(), Problem> {
        if self.allows(current) {
            Ok(())
        } else {
            Err(Problem::new(ProblemCode::PreconditionFailed))
        }
    }
}

impl ReadConditions {
    /// The conditions of a GET or HEAD; None without any. Malformed conditions are ignored: the answer is then
    /// complete.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let conditional = headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MATCH);
        let read = |name| Tags::of(headers, name).unwrap_or(Tags::Absent);
        (reads && conditional).then(|| {
            Self(Preconditions {
                if_match: read(IF_MATCH),
                if_none_match: read(IF_NONE_MATCH),
            })
        })
    }

    /// The answer, or 412, or 304 with its tag alone. An answer without a tag is unchanged.
    pub(super) fn judge(&self, response: Response, context: &RequestContext) -> Response {
        let Some(current) = response
            .headers()
            .get(ETAG)
            .filter(|_| response.status() == StatusCode::OK)
        else {
            return response;
        };
        let current = Tags::read(current.to_str().unwrap_or_default());
        let Ok(Tags::Listed(current)) = current else {
            return response;
        };
        let is_current = |tag: &Tag| current.iter().any(|current| current.opaque == tag.opaque);
        if let Tags::Listed(tags) = &self.0.if_match
            && !tags.iter().any(|tag| !tag.weak && is_current(tag))
        {
            return reply::problem(&Problem::new(ProblemCode::PreconditionFailed), context);
        }
        match &self.0.if_none_match {
            Tags::Listed(tags) if tags.iter().any(is_current) => not_modified(response),
            Tags::Any => not_modified(response),
            Tags::Absent | Tags::Listed(_) => response,
        }
    }
}

/// 304 with the headers that the 200 would have had, but for those of a body (RFC 9110, section 15.4.5).
fn not_modified(mut response: Response) -> Response {
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = Response::default().into_body();
    for name in [CONTENT_TYPE, CONTENT_LENGTH] {
        response.headers_mut().remove(name);
    }
    response
}

/// The version in a tag of ours: no sign, no leading zero; what follows a `;` is ignored.
fn version(opaque: &str) -> Option<u64> {
    let digits = opaque.split_once(';').map_or(opaque, |(digits, _)| digits);
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

impl Tags {
    fn of(headers: &HeaderMap, name: HeaderName) -> Result<Self, Malformed> {
        let lines = headers.get_all(name).iter();
        let texts = lines.map(|line| line.to_str().map_err(|_| Malformed));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        if texts.is_empty() {
            return Ok(Self::Absent);
        }
        Self::read(&texts.join(","))
    }

    fn bounded(self) -> Result<Self, Malformed> {
        match &self {
            Self::Listed(tags) if tags.len() > TAGS_MAX => Err(Malformed),
            _ => Ok(self),
        }
    }

    fn read(text: &str) -> Result<Self, Malformed> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = text.trim_start_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            let (weak, quoted) = rest
                .strip_prefix("W/")
                .map_or((false, rest), |quoted| (true, quoted));
            let quoted = quoted.strip_prefix('"').ok_or(Malformed)?;
            let (opaque, after) = quoted.split_once('"').ok_or(Malformed)?;
            let plain = |byte: u8| byte == b'!' || (b'#'..=b'~').contains(&byte);
            if !opaque.bytes().all(plain) {
                return Err(Malformed);
            }
            tags.push(Tag {
                weak,
                opaque: opaque.to_owned(),
            });
            let next = after.trim_start_matches([' ', '\t']);
            if !next.is_empty() && !next.starts_with(',') {
                return Err(Malformed);
            }
            rest = next.trim_start_matches([' ', '\t', ',']);
        }
        if tags.is_empty() {
            return Err(Malformed);
        }
        Ok(Self::Listed(tags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{Ids, SeededEntropy, UnixMillis};
    use std::sync::Arc;

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, line.parse().unwrap());
        }
        headers
    }

    fn if_match(lines: &[&str]) -> Result<Preconditions, ProblemCode> {
        Preconditions::from_headers(&headers(&IF_MATCH, lines)).map_err(|problem| problem.code)
    }

    fn if_none_match(lines: &[&str]) -> Result<Preconditions, ProblemCode> {
        Preconditions::from_headers(&headers(&IF_NONE_MATCH, lines)).map_err(|problem| problem.code)
    }

    #[test]
    fn a_write_is_for_one_of_the_versions_that_it_lists() {
        for (lines, current, allowed) in [
            (&[][..], 7, true),
            (&[" * "], 7, true),
            (&["\"7\""], 7, true),
            (&["\"7;due_in\""], 7, true),
            (&["\"7\", \"8\""], 8, true),
            (&["\"7\"", "\"8\""], 8, true),
            (&[", \"7\",,"], 7, true),
            (&["\"8\""], 7, false),
            (&["W/\"7\", \"abc\", \"007\", \"+7\", \"\", \"x;7\""], 7, false),
        ] {
            assert_eq!(if_match(lines).unwrap().allows(current), allowed, "{lines:?}");
        }
        let problem = if_match(&["\"8\""]).unwrap().check(7).unwrap_err();
        assert_eq!(problem.code, ProblemCode::PreconditionFailed);
    }

    #[test]
    fn case18_a_write_is_not_for_a_version_that_it_excludes() {
        for (lines, allowed) in [
            (&["*"][..], false),
            (&["\"7\""], false),
            (&["W/\"7\""], false),
            (&["\"6\", \"7;due_in\""], false),
            (&["\"6\""], true),
        ] {
            assert_eq!(if_none_match(lines).unwrap().allows(7), allowed, "{lines:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_400_to_a_write() {
        let many = "\"1\",".repeat(TAGS_MAX + 1);
        for bad in [
            "",
            "7",
            "\"7",
            "7\"",
            "\"7\" \"8\"",
            "*, \"7\"",
            "w/\"7\"",
            "\"a b\"",
            &many,
        ] {
            assert_eq!(if_match(&[bad]), Err(ProblemCode::InvalidIfMatch), "{bad}");
            assert_eq!(if_none_match(&[bad]), Err(ProblemCode::InvalidRequest), "{bad}");
        }
    }

    /// The status of the answer to a GET of version 7, asked with these headers.
    fn read(asked: &HeaderMap, beside: Option<&str>) -> Response {
        let ids = Ids::new(Arc::new(UnixMillis(0)), Arc::new(SeededEntropy::new(1)));
        let context = RequestContext::new(&Method::GET, "/x", asked, None, &ids);
        let answer = with_etag_beside(reply::ok("x"), 7, beside);
        match ReadConditions::of(&Method::GET, asked) {
            Some(conditions) => conditions.judge(answer, &context),
            None => answer,
        }
    }

    #[test]
    fn case18_a_read_of_what_the_client_has_is_a_304() {
        let many = format!("{}\"7\"", "\"1\", ".repeat(100));
        for (lines, beside, status) in [
            (&["\"7\""][..], None, 304),
            (&["W/\"7\""], None, 304),
            (&["\"6\", \"7\""], None, 304),
            (&["\"6\"", "W/\"7\""], None, 304),
            (&["*"], None, 304),
            (&[&many], None, 304),
            (&["\"7;due_in\""], Some("due_in"), 304),
            (&["\"6\""], None, 200),
            (&["\"7\""], Some("due_in"), 200),
            (&["\"7;due_in\""], Some("due_out"), 200),
            (&["7"], None, 200),
            (&[""], None, 200),
        ] {
            let answer = read(&headers(&IF_NONE_MATCH, lines), beside);
            assert_eq!(answer.status(), status, "{lines:?}");
            assert_eq!(answer.headers().contains_key(CONTENT_TYPE), status == 200);
            assert!(answer.headers().contains_key(ETAG), "{lines:?}");
        }
        for (lines, status) in [
            (&["\"7\""][..], 200),
            (&["*"], 200),
            (&["\"6\""], 412),
            (&["W/\"7\""], 412),
        ] {
            assert_eq!(
                read(&headers(&IF_MATCH, lines), None).status(),
                status,
                "{lines:?}"
            );
        }
        let post = ReadConditions::of(&Method::POST, &headers(&IF_NONE_MATCH, &["*"]));
        assert_eq!(post, None);
    }
}
