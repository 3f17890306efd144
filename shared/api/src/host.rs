//! Which hosts a service answers for.
//!
//! A foreign name that was bound to our address after its page was loaded (DNS rebinding) makes that page one of our
//! own origin, for the browser. The foreign name is still in `Host`, so [`Hosts`] refuses names that are not this
//! service's.

use http::{header::HOST, request::Parts};
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// A host in one normal form, so that two spellings of it are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// In lower case, without the dot of the root at its end.
    Name(String),
    /// An IPv4 address also where it is written as an IPv6 one (`::ffff:127.0.0.1`).
    Address(IpAddr),
}

/// A host and perhaps its port, as `Host`, `Origin` and an absolute target name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    host: Host,
    port: Option<u16>,
}

/// Names and addresses, separated by commas or spaces: `pms.example, 10.1.2.3, [fd00::1]`. It has at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostList(Vec<Host>);

/// Why a text is no list of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be names and addresses without ports and wildcards, separated by commas or spaces")]
pub struct InvalidHostList;

/// The names under which a service answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    /// Any: other machines reach it, by names that are not known here.
    #[default]
    Any,
    /// The loopback's names and addresses, and those that the operator lists.
    Loopback(Option<HostList>),
}

impl Hosts {
    /// The hosts of a service that listens on `address`, when the operator lists `allowed`.
    pub fn of(address: SocketAddr, allowed: Option<&HostList>) -> Self {
        if allowed.is_some() || is_loopback(address.ip()) {
            Self::Loopback(allowed.cloned())
        } else {
            Self::Any
        }
    }

    /// Whether a request for this host is for us. One without a host is HTTP/1.0, which no browser speaks.
    pub(super) fn allow(&self, target: &Target) -> bool {
        match (self, target) {
            (Self::Any, _) | (_, Target::None) => true,
            (_, Target::Unclear) => false,
            (Self::Loopback(listed), Target::One(authority)) => {
                let is_listed = |HostList(hosts): &HostList| hosts.contains(&authority.host);
                authority.host.is_loopback() || listed.as_ref().is_some_and(is_listed)
            }
        }
    }
}

/// Whether only this machine reaches an address.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The host that a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// It does not say.
    None,
    /// Several, or something that is no host.
    Unclear,
    /// This one.
    One(Authority),
}

impl Target {
    /// The authority of an absolute target, which outranks `Host` (RFC 9112, section 3.2.2), else `Host`.
    pub(super) fn of(head: &Parts) -> Self {
        let absolute = head.uri.scheme().and(head.uri.authority());
        if let Some(authority) = absolute {
            let without_user = authority.as_str().rsplit('@').next();
            return without_user
                .and_then(Authority::parse)
                .map_or(Self::Unclear, Self::One);
        }
        let mut lines = head.headers.get_all(HOST).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::None,
            (Some(only), None) => {
                let read = only.to_str().ok().and_then(Authority::parse);
                read.map_or(Self::Unclear, Self::One)
            }
            (Some(_), Some(_)) => Self::Unclear,
        }
    }

    /// Whether it is a name or an address of the loopback.
    pub(super) fn is_loopback(&self) -> bool {
        matches!(self, Self::One(authority) if authority.host.is_loopback())
    }
}

impl Authority {
    /// `host`, `host:port`, an IPv6 address in brackets, nothing before it (RFC 9110, section 7.2; RFC 3986, section 3.2).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (Host::of_address(address.parse::<Ipv6Addr>().ok()?.into()), port)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (name, port) = text.split_at(end);
                (Host::parse(name)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            // The same as no colon (RFC 3986, section 3.2.3).
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            None | Some(_) => return None,
        };
        Some(Self { host, port })
    }

    /// Whether both are one host and, with the `default` where none is named, one port.
    pub(super) fn is(&self, other: &Self, default: u16) -> bool {
        let port = |authority: &Self| authority.port.unwrap_or(default);
        self.host == other.host && port(self) == port(other)
    }
}

impl Host {
    /// A name, or an IPv4 address in its usual form.
    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self::of_address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        (!name.is_empty() && is_name(name)).then(|| Self::Name(name.to_ascii_lowercase()))
    }

    fn of_address(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }

    /// `localhost` and the names below it always mean this machine (RFC 6761, section 6.3).
    fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Self::Address(address) => address.is_loopback(),
        }
    }
}

/// Whether these may be the characters of a name: those of `reg-name` in RFC 3986, section 3.2.2, but the comma, which is what
/// two `Host` lines become when a program on the way joins them.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let taken = match byte {
            b'%' => {
                let mut hex = || bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                hex() && hex()
            }
            byte => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte),
        };
        if !taken {
            return false;
        }
    }
    true
}

impl FromStr for HostList {
    type Err = InvalidHostList;
    fn from_str(text: &str) -> Result<Self, InvalidHostList> {
        let items = text.split(|sign: char| sign == ',' || sign.is_whitespace());
        let items = items.filter(|item| !item.is_empty());
        let hosts = items.map(listed).collect::<Option<Vec<_>>>();
        let hosts = hosts.filter(|hosts| !hosts.is_empty());
        hosts.map(Self).ok_or(InvalidHostList)
    }
}

/// One host of a list, names in their ASCII form, as requests carry them.
fn listed(item: &str) -> Option<Host> {
    let bare = item.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(item).parse() {
        return Some(Host::of_address(address));
    }
    let url::Host::Domain(name) = url::Host::parse(item).ok()? else {
        return None;
    };
    let name = name.strip_suffix('.').unwrap_or(&name);
    let plain = !item.contains(['*', '%']) && name.split('.').all(|label| !label.is_empty());
    plain.then(|| Host::Name(name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str, hosts: &[&str]) -> Target {
        let mut request = http::Request::get(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        Target::of(&request.body(()).unwrap().into_parts().0)
    }

    fn allows(hosts: &Hosts, host: &str) -> bool {
        hosts.allow(&target("/", &[host]))
    }

    #[test]
    fn a14_a_loopback_answers_to_its_own_names_alone() {
        let hosts = Hosts::of("127.0.0.1:4001".parse().unwrap(), None);
        for own in [
            "localhost",
            "localhost:4001",
            "LOCALHOST:1",
            "localhost.",
            "pms.localhost:80",
            "127.0.0.1",
            "127.0.0.1:4001",
            "127.9.8.7",
            "[::1]",
            "[::1]:4001",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]:4001",
            "localhost:",
        ] {
            assert!(allows(&hosts, own), "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:4001",
            "localhost.evil.example",
            "evil-localhost",
            "127.0.0.1.evil.example",
            "127.0.0.1.",
            "0.0.0.0",
            "[::]",
            "10.1.2.3",
            "[fd00::1]",
            "2130706433",
            "0x7f.1",
            "127.1",
            "%6cocalhost",
            "user@localhost",
            "localhost:port",
            "localhost:99999",
            "localhost:80:80",
            "::1",
            "[::1",
            "",
        ] {
            assert!(!allows(&hosts, foreign), "{foreign}");
        }
        assert!(!hosts.allow(&target("/", &["localhost", "localhost"])));
        assert!(hosts.allow(&target("/", &[])), "HTTP/1.0");
    }

    #[test]
    fn a14_an_absolute_targets_authority_outranks_host() {
        let hosts = Hosts::of("[::1]:4001".parse().unwrap(), None);
        for (uri, host, allowed) in [
            ("http://localhost:4001/x", "evil.example", true),
            ("http://evil.example/x", "localhost", false),
            ("http://localhost@evil.example/x", "localhost", false),
            ("http://user@localhost/x", "evil.example", true),
            ("https://[::1]/", "evil.example", true),
        ] {
            assert_eq!(hosts.allow(&target(uri, &[host])), allowed, "{uri}");
        }
    }

    #[test]
    fn a14_what_is_listed_is_allowed_and_binds_every_address() {
        let listed: HostList = "PMS.example, 10.1.2.3 [fd00::1],fd00::2\thôtel.example crm_1."
            .parse()
            .unwrap();
        let hosts = Hosts::of("0.0.0.0:4001".parse().unwrap(), Some(&listed));
        for own in [
            "pms.example:8443",
            "pms.EXAMPLE.",
            "10.1.2.3",
            "[fd00::1]",
            "[fd00:0::2]:1",
            "xn--htel-vqa.example",
            "crm_1",
            "localhost",
            "127.0.0.1",
        ] {
            assert!(allows(&hosts, own), "{own}");
        }
        for foreign in [
            "evil.example",
            "a.pms.example",
            "example",
            "10.1.2.4",
            "[fd00::3]",
        ] {
            assert!(!allows(&hosts, foreign), "{foreign}");
        }
        assert_eq!(Hosts::of("0.0.0.0:4001".parse().unwrap(), None), Hosts::Any);
        assert_eq!(Hosts::of("[::]:4001".parse().unwrap(), None), Hosts::Any);
        assert!(allows(&Hosts::Any, "evil.example"));
        let mapped = Hosts::of("[::ffff:127.0.0.1]:4001".parse().unwrap(), None);
        assert!(!allows(&mapped, "evil.example"));
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        for bad in [
            "",
            " , ",
            "*",
            "*.example",
            ".example",
            "a..b",
            "pms.example:443",
            "https://pms.example",
            "pms.example/",
            "user@pms.example",
            "a%2eb",
            "[fd00::1]:80",
            "[fd00::1",
            "pms.example, a b:1",
        ] {
            assert_eq!(bad.parse::<HostList>(), Err(InvalidHostList), "{bad}");
        }
    }
}
