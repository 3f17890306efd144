//! Where a call goes.

use super::policy::literal;
use std::{fmt, net::IpAddr, str::FromStr};
use url::{Host, Url};

/// The longest URL, in bytes; the tables' columns are as wide.
const URL_LEN_MAX: usize = 2048;

/// An absolute `http` or `https` URL with a host, without user-info and fragment, in its normal form.
///
/// The same parser reads it here and in the client, so the two cannot disagree. Unless it is an operator's, the client sends
/// nothing to it that [`EgressSettings`](super::EgressSettings) does not allow.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl {
    url: Url,
    is_operators: bool,
}

/// Why a text is no target. It never quotes the text, which may hold a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// Not a URL, too long, or with characters that parsers read differently.
    #[error("it must be a URL with a host, of at most 2048 visible ASCII characters, without backslashes")]
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
    /// The same, as an operator set it: it may be http, private, and this machine.
    #[must_use]
    pub fn by_operator(self) -> Self {
        Self {
            is_operators: true,
            ..self
        }
    }

    /// The normal form, to store.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Scheme, host and port: what may be logged.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn is_operators(&self) -> bool {
        self.is_operators
    }

    /// The address that its host is, unless that is a name.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        literal(self.url.host())
    }

    /// The name that its host is.
    pub(super) fn name(&self) -> Option<&str> {
        match self.url.host()? {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
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
        let mut url = Url::parse(text).map_err(|_| InvalidTarget::Malformed)?;
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
        if url.port() == Some(0) {
            return Err(InvalidTarget::Malformed);
        }
        if let Some(Host::Domain(name)) = url.host() {
            // One name has one spelling: that with the root's dot says the same.
            let name = name.strip_suffix('.').unwrap_or(name).to_owned();
            if name.split('.').any(str::is_empty) {
                return Err(InvalidTarget::Malformed);
            }
            url.set_host(Some(&name)).map_err(|_| InvalidTarget::Malformed)?;
        }
        Ok(Self {
            url,
            is_operators: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e1_e6_a_target_is_kept_in_its_normal_form() {
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
            ("http://0x7f000001/", "http://127.0.0.1/"),
            ("http://0177.0.0.1/", "http://127.0.0.1/"),
            ("http://017700000001/", "http://127.0.0.1/"),
            ("http://127.1/", "http://127.0.0.1/"),
            ("http://0/", "http://0.0.0.0/"),
            ("http://127.0.0.1./", "http://127.0.0.1/"),
            ("http://%31%32%37.0.0.1/", "http://127.0.0.1/"),
            ("http://[::ffff:127.0.0.1]:080/", "http://[::ffff:7f00:1]/"),
            ("https://example.com./a", "https://example.com/a"),
            ("https://EX%41MPLE.com:/", "https://example.com/"),
            ("https://example.com:00443/", "https://example.com/"),
            ("https://example.com:08443/", "https://example.com:8443/"),
        ] {
            assert_eq!(given.parse::<TargetUrl>().unwrap().as_str(), kept);
        }
    }

    #[test]
    fn e6_what_parsers_disagree_on_is_refused() {
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
            ("http://example.com:0/", InvalidTarget::Malformed),
            ("http://example.com:-1/", InvalidTarget::Malformed),
            ("http://example.com:80a/", InvalidTarget::Malformed),
            ("http://example.com:+80/", InvalidTarget::Malformed),
            ("http://example.com../", InvalidTarget::Malformed),
            ("http://./", InvalidTarget::Malformed),
            ("http://.example.com/", InvalidTarget::Malformed),
            ("http://a..b/", InvalidTarget::Malformed),
            ("http://256.1.1.1/", InvalidTarget::Malformed),
            ("http://1.2.3.4.5/", InvalidTarget::Malformed),
            ("http://[::1%25lo]/", InvalidTarget::Malformed),
            ("http://[::1/", InvalidTarget::Malformed),
            ("http://a%00b/", InvalidTarget::Malformed),
            ("http://a%2fb/", InvalidTarget::Malformed),
            ("http://a%40b/", InvalidTarget::Malformed),
            ("http://example.com%23@evil.example/", InvalidTarget::UserInfo),
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
