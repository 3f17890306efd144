//! Versions as entity tags: `ETag` out, `If-Match` in (RFC 9110, sections 8.8.3 and 13.1.1).

use super::Response;
use contract::{Problem, ProblemCode};
use http::{
    HeaderMap, HeaderValue,
    header::{ETAG, IF_MATCH},
};

/// The most tags that one `If-Match` may list.
const TAGS_MAX: usize = 16;

/// What a client expects of the version that it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Nothing: the header is absent.
    Unconditional,
    /// `*`: that there is one.
    Any,
    /// One of these versions. Empty when every tag is weak or none of ours: nothing matches it.
    Versions(Vec<u64>),
}

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

impl IfMatch {
    /// Reads the header; several lines of it are one list.
    ///
    /// # Errors
    /// 400 when it is malformed, or lists more than 16 tags.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let malformed = || Problem::new(ProblemCode::InvalidIfMatch);
        let lines: Vec<_> = headers.get_all(IF_MATCH).iter().collect();
        if lines.is_empty() {
            return Ok(Self::Unconditional);
        }
        let texts = lines.iter().map(|line| line.to_str().map_err(|_| malformed()));
        let text = texts.collect::<Result<Vec<_>, _>>()?.join(",");
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let tags = parse_tags(&text).ok_or_else(malformed)?;
        // If-Match compares strongly, so a weak tag matches nothing.
        let strong = tags.iter().filter(|tag| !tag.weak);
        Ok(Self::Versions(
            strong.filter_map(|tag| version(tag.opaque)).collect(),
        ))
    }

    /// Whether the current version is one that the client expects.
    pub fn allows(&self, current: u64) -> bool {
        match self {
            Self::Unconditional | Self::Any => true,
            Self::Versions(expected) => expected.contains(&current),
        }
    }

    /// As [`IfMatch::allows`], as a problem.
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

struct Tag<'t> {
    weak: bool,
    opaque: &'t str,
}

/// A version as we write it: no sign, no leading zero.
fn version(opaque: &str) -> Option<u64> {
    let number: u64 = opaque.parse().ok()?;
    (number.to_string() == opaque).then_some(number)
}

fn parse_tags(text: &str) -> Option<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (weak, quoted) = rest
            .strip_prefix("W/")
            .map_or((false, rest), |quoted| (true, quoted));
        let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if !opaque
            .bytes()
            .all(|byte| byte == b'!' || (b'#'..=b'~').contains(&byte))
            || tags.len() == TAGS_MAX
        {
            return None;
        }
        tags.push(Tag { weak, opaque });
        let next = after.trim_start_matches([' ', '\t']);
        if !next.is_empty() && !next.starts_with(',') {
            return None;
        }
        rest = next.trim_start_matches([' ', '\t', ',']);
    }
    (!tags.is_empty()).then_some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<IfMatch, Problem> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, line.parse().unwrap());
        }
        IfMatch::from_headers(&headers)
    }

    #[test]
    fn what_the_client_expects_is_read() {
        assert_eq!(read(&[]).unwrap(), IfMatch::Unconditional);
        assert_eq!(read(&[" * "]).unwrap(), IfMatch::Any);
        for (lines, versions) in [
            (&["\"7\""][..], &[7][..]),
            (&["\"7\", \"8\""], &[7, 8]),
            (&["\"7\"", "\"8\""], &[7, 8]),
            (&[", \"7\",,"], &[7]),
            (&["W/\"7\", \"abc\", \"007\", \"+7\", \"\""], &[]),
        ] {
            assert_eq!(
                read(lines).unwrap(),
                IfMatch::Versions(versions.to_vec()),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_400() {
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
            many.as_str(),
        ] {
            assert_eq!(
                read(&[bad]).unwrap_err().code,
                ProblemCode::InvalidIfMatch,
                "{bad}"
            );
        }
    }

    #[test]
    fn another_version_is_a_412() {
        assert!(read(&["\"7\""]).unwrap().check(7).is_ok());
        assert!(read(&["*"]).unwrap().check(7).is_ok());
        for differs in ["\"8\"", "W/\"7\"", "\"07\""] {
            let problem = read(&[differs]).unwrap().check(7).unwrap_err();
            assert_eq!(problem.code, ProblemCode::PreconditionFailed, "{differs}");
        }
    }
}
