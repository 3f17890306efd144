//! Where a call may go.

use std::{fmt, str::FromStr};
use url::Url;

/// The longest URL, in bytes; the tables' columns are as wide.
const URL_LEN_MAX: usize = 2048;

/// An absolute `http` or `https` URL with a host, without user-info and fragment, in its normal form.
///
/// The same parser reads it here and in the client, so the two cannot disagree.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl(Url);

/// Why a text is no target. It never quotes the text, which may hold a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// Not a URL, too long, or with characters that parsers read differently.
    #[error("it must be a URL of at most 2048 visible ASCII characters, without backslashes")]
    Malformed,
    /// Another scheme.
    #[error("it must begin with http:// or https://")]
    Scheme,
    /// `user:password@`.
    #[error("it must not hold a user or a password")]
    UserInfo,
    /// `#...`.
    #[error("it must not have a fragment")]
    Fragment,
}

impl TargetUrl {
    /// The normal form, to store.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Scheme, host and port: what may be logged.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for TargetUrl {
    /// Without path and query: they may hold a token.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TargetUrl({})", self.origin())
    }
}

impl FromStr for TargetUrl {
    type Err = InvalidTarget;
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        // The URL standard drops tabs and line ends, turns backslashes and maps full-width digits: refused instead.
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        if !plain || text.len() > URL_LEN_MAX {
            return Err(InvalidTarget::Malformed);
        }
        let url = Url::parse(text).map_err(|_| InvalidTarget::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidTarget::Scheme);
        }
        // The parser would correct `http:host`; the intended URL is unknown.
        if !text.as_bytes()[url.scheme().len()..].starts_with(b"://") {
            return Err(InvalidTarget::Malformed);
        }
        // Also an empty one, which the parser drops.
        let authority = text
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split(['/', '?', '#']).next());
        match authority {
            None | Some("") => return Err(InvalidTarget::Malformed),
            Some(authority) if authority.contains('@') => return Err(InvalidTarget::UserInfo),
            Some(_) => {}
        }
        if url.fragment().is_some() {
            return Err(InvalidTarget::Fragment);
        }
        Ok(Self(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_kept_in_its_normal_form() {
        for (given, kept) in [
            (
                "http://localhost:5001/api/v1/webhooks/pms",
                "http://localhost:5001/api/v1/webhooks/pms",
            ),
            (
                "HTTPS://Example.COM:443/a/../b?c=%20d",
                "https://example.com/b?c=%20d",
            ),
            ("http://2130706433", "http://127.0.0.1/"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
        ] {
            assert_eq!(given.parse::<TargetUrl>().unwrap().as_str(), kept);
        }
    }

    #[test]
    fn what_parsers_disagree_on_is_refused() {
        for (given, why) in [
            ("", InvalidTarget::Malformed),
            ("localhost:5001", InvalidTarget::Scheme),
            ("/path", InvalidTarget::Malformed),
            ("ftp://example.com/", InvalidTarget::Scheme),
            ("file:///etc/passwd", InvalidTarget::Scheme),
            ("http:example.com", InvalidTarget::Malformed),
            ("http:///example.com", InvalidTarget::Malformed),
            ("http://user@example.com/", InvalidTarget::UserInfo),
            ("http://user:pass@example.com/", InvalidTarget::UserInfo),
            ("http://@example.com/", InvalidTarget::UserInfo),
            ("http://example.com/#x", InvalidTarget::Fragment),
            ("http://example.com\\@evil.example/", InvalidTarget::Malformed),
            ("http://exa\tmple.com/", InvalidTarget::Malformed),
            (" http://example.com/", InvalidTarget::Malformed),
            ("http://１２７.0.0.1/", InvalidTarget::Malformed),
            ("http://example.com:99999/", InvalidTarget::Malformed),
        ] {
            assert_eq!(given.parse::<TargetUrl>(), Err(why), "{given}");
        }
    }

    #[test]
    fn a_target_shows_no_more_than_its_origin() {
        let target: TargetUrl = "https://example.com/hook/canary?token=canary".parse().unwrap();
        assert_eq!(format!("{target:?}"), "TargetUrl(https://example.com)");
    }
}
