//! How often a network has failed to prove who it is: in memory, since it guards against work, not against guessing.

use moka::sync::Cache;
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// Failures of one network in a minute; further ones are refused before anything is looked up.
pub const FAILURES_MAX: u32 = 600;
/// The window.
const WINDOW: Duration = Duration::from_secs(60);
/// Networks that are remembered. Where more attack at once, the ones that fail least are forgotten.
const NETWORKS_MAX: u64 = 100_000;
/// Bits that name one IPv6 network: what one customer gets.
const IPV6_NETWORK_BITS: u32 = 64;

/// Failures of the last minute by network.
pub struct FailedAttempts(Cache<IpAddr, Arc<AtomicU32>>);

impl Default for FailedAttempts {
    fn default() -> Self {
        let windows = Cache::builder().max_capacity(NETWORKS_MAX).time_to_live(WINDOW);
        Self(windows.build())
    }
}

impl FailedAttempts {
    /// Counts a failure.
    pub fn count(&self, client: IpAddr) {
        let failures = self.0.get_with(network(client), Arc::default);
        failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a network has failed so often that it is not heard now. Returns the seconds to wait.
    pub fn refuse(&self, client: IpAddr) -> Option<u32> {
        let failures = self.0.get(&network(client))?.load(Ordering::Relaxed);
        (failures >= FAILURES_MAX).then_some(WINDOW.as_secs() as u32)
    }
}

/// An IPv4 address, or the first 64 bits of an IPv6 one.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() >> IPV6_NETWORK_BITS << IPV6_NETWORK_BITS).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_fails_too_often_is_refused_and_no_other_one() {
        let failed = FailedAttempts::default();
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        for _ in 1..FAILURES_MAX {
            failed.count(address("2001:db8:1:2::3"));
        }
        assert_eq!(failed.refuse(address("2001:db8:1:2::4")), None);
        failed.count(address("2001:db8:1:2:ffff::"));
        assert!(failed.refuse(address("2001:db8:1:2::4")).is_some());
        assert_eq!(failed.refuse(address("2001:db8:1:3::3")), None);
        assert_eq!(failed.refuse(address("192.0.2.1")), None);
    }
}
