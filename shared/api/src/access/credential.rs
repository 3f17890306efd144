//! The API key that a request carries.

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};
use std::fmt;
use url::form_urlencoded;

/// Where a key stands by itself.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The names under which a key is put into a query, where proxies and logs keep it.
const PARAMETERS: [&str; 6] = ["api_key", "apikey", "api-key", "x-api-key", "key", "access_token"];

/// What a request shows of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'h> {
    /// Nothing.
    None,
    /// One text, which may be a key.
    One(&'h str),
    /// Something that is never taken: several keys, one in the query, or another scheme.
    Refused,
}

impl fmt::Debug for Credential<'_> {
    /// Which it is, without the text.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::None => "None",
            Self::One(_) => "One(..)",
            Self::Refused => "Refused",
        })
    }
}

/// The key of `X-API-Key` or of `Authorization: Bearer`, if exactly one is sent, and none in the query.
pub fn sent_credential<'h>(headers: &'h HeaderMap, query: &str) -> Credential<'h> {
    let in_query = form_urlencoded::parse(query.as_bytes())
        .any(|(name, _)| PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known)));
    let own = headers.get_all(X_API_KEY).iter().map(|value| value.to_str().ok());
    let bearer = headers
        .get_all(AUTHORIZATION)
        .iter()
        .map(|value| value.to_str().ok().and_then(bearer));
    let mut sent = own.chain(bearer);
    match (sent.next(), sent.next()) {
        _ if in_query => Credential::Refused,
        (None, _) => Credential::None,
        (Some(Some(key)), None) if !key.is_empty() => Credential::One(key),
        (Some(_), _) => Credential::Refused,
    }
}

/// The token of the scheme Bearer (RFC 6750, section 2.1), whose name is in any case (RFC 9110, section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a5_a_key_is_not_in_debug_output() {
        assert_eq!(format!("{:?}", Credential::One("gw_a")), "One(..)");
    }

    #[test]
    fn a6_one_key_in_one_header_and_none_in_the_query() {
        let sent = |headers: &[(&'static str, &'static str)], query: &str| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            match sent_credential(&map, query) {
                Credential::None => "none".to_owned(),
                Credential::One(key) => key.to_owned(),
                Credential::Refused => "refused".to_owned(),
            }
        };
        let own = ("x-api-key", "gw_a");
        let bearer = ("authorization", "Bearer gw_a");
        for (headers, query, meant) in [
            (&[][..], "limit=2", "none"),
            (&[own], "", "gw_a"),
            (&[bearer], "", "gw_a"),
            (&[("authorization", "bEARER  gw_a")], "", "gw_a"),
            (&[own, own], "", "refused"),
            (&[own, bearer], "", "refused"),
            (&[("authorization", "Basic Z3dfYTo=")], "", "refused"),
            (&[("authorization", "gw_a")], "", "refused"),
            (&[("x-api-key", "")], "", "refused"),
            (&[], "api_key=gw_a", "refused"),
            (&[own], "limit=2&API%5FKEY=gw_a", "refused"),
            (&[own], "access_token=", "refused"),
        ] {
            assert_eq!(sent(headers, query), meant, "{headers:?} {query}");
        }
    }
}
