//! Where calls for others may go: the rules for the address of an endpoint that a client of the API chose.
//!
//! They are asked twice: when the URL is saved, and of the addresses that are dialled, since a name may mean another address by
//! then. An operator's own URL ([`TargetUrl::by_operator`]) is not asked.

use super::{
    address::is_public,
    target::{InvalidTarget, TargetUrl},
};
use crate::access::Networks;
use std::net::{IpAddr, SocketAddr};
use url::Host;

/// How calls leave the process.
#[derive(Clone, Debug)]
pub struct EgressSettings {
    /// Networks that calls may go to although they are not public.
    pub allow: Networks,
    /// Whether http is as good as https.
    pub allow_http: bool,
    /// The proxy that every call goes through.
    pub proxy: Option<EgressProxy>,
    /// Calls at once to one address.
    pub per_address: usize,
    /// Where this process listens, which is no place to send to.
    pub own_address: Option<SocketAddr>,
}

/// Calls at once to one address, by default.
pub const PER_ADDRESS: u16 = 64;

impl Default for EgressSettings {
    fn default() -> Self {
        Self {
            allow: Networks::default(),
            allow_http: false,
            proxy: None,
            per_address: usize::from(PER_ADDRESS),
            own_address: None,
        }
    }
}

/// The URL of a proxy. It may hold a user and a password, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct EgressProxy(url::Url);

impl EgressProxy {
    pub(super) fn url(&self) -> &url::Url {
        &self.0
    }
}

impl std::fmt::Debug for EgressProxy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "EgressProxy({})", self.0.origin().ascii_serialization())
    }
}

impl std::str::FromStr for EgressProxy {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = url::Url::parse(text).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.map(Self).ok_or("it must be a URL with http:// or https://")
    }
}

/// Why a URL may not be an endpoint's. It never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetRefusal {
    /// No URL that can be called.
    #[error(transparent)]
    Invalid(#[from] InvalidTarget),
    /// http, where it is not allowed on purpose.
    #[error("it must begin with https://")]
    HttpsRequired,
    /// The host is, or the name means, an address that is not public. Of several one is enough.
    #[error("it leads to an address that is not public")]
    ForbiddenAddress,
    /// The name has no address, or none was found in time.
    #[error("its name cannot be resolved")]
    Unresolvable,
    /// It leads to this service.
    #[error("it leads to this service itself")]
    OwnAddress,
}

impl TargetRefusal {
    /// The rule, for machines.
    pub fn code(self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::HttpsRequired => "https_required",
            Self::ForbiddenAddress => "forbidden_address",
            Self::Unresolvable => "unresolvable",
            Self::OwnAddress => "own_address",
        }
    }
}

impl EgressSettings {
    /// What can be said of a URL without resolving its name.
    pub(super) fn check_url(&self, target: &TargetUrl) -> Result<(), TargetRefusal> {
        if target.url().scheme() != "https" && !self.allow_http {
            return Err(TargetRefusal::HttpsRequired);
        }
        match target.literal() {
            Some(address) => self.check_addresses(target, &[address]),
            None => Ok(()),
        }
    }

    /// What can be said of a URL whose name means these addresses.
    pub(super) fn check_addresses(
        &self,
        target: &TargetUrl,
        addresses: &[IpAddr],
    ) -> Result<(), TargetRefusal> {
        let is_own = |address: &IpAddr| {
            let own = self
                .own_address
                .filter(|own| Some(own.port()) == target.url().port_or_known_default());
            own.is_some_and(|own| reaches(own.ip(), *address))
        };
        if addresses.iter().any(is_own) {
            return Err(TargetRefusal::OwnAddress);
        }
        if self.admit(addresses) {
            Ok(())
        } else {
            Err(TargetRefusal::ForbiddenAddress)
        }
    }

    /// Whether a call may go to a name with these addresses: to each of them.
    pub(super) fn admit(&self, addresses: &[IpAddr]) -> bool {
        let may = |address: &IpAddr| is_public(*address) || self.allow.contain(address.to_canonical());
        addresses.iter().all(may)
    }
}

/// Whether who dials `address` reaches what listens on `own`, as far as this can be known: a service that listens everywhere has
/// more addresses than those of the loopback.
fn reaches(own: IpAddr, address: IpAddr) -> bool {
    let (own, address) = (own.to_canonical(), address.to_canonical());
    let is_here = |address: IpAddr| address.is_loopback() || address.is_unspecified();
    own == address || (is_here(address) && is_here(own))
}

/// The literal address that a host is.
pub(super) fn literal(host: Option<Host<&str>>) -> Option<IpAddr> {
    match host? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}
