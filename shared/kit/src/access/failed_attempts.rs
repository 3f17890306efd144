//! How often a network has failed to prove who it is: in memory, since it guards against work, not against guessing.

use moka::sync::Cache;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Failures of one network in a minute; further ones are refused before anything is looked up.
pub const FAILURES_MAX: u32 = 600;
/// The window.
const WINDOW: Duration = Duration::from_secs(60);
/// A refused network hears this: its window began with its first failure, and is over by then.
const SECONDS_TO_WAIT: u32 = WINDOW.as_secs() as u32;
/// Networks that are remembered, in some 40 MB. Where more attack at once, the ones that fail least are forgotten.
const NETWORKS_MAX: u64 = 100_000;
/// Bits that name one IPv6 network: what one customer gets.
const IPV6_NETWORK_BITS: u32 = 64;

/// Failures of the last minute by network.
pub struct FailedAttempts {
    windows: Cache<IpAddr, Arc<AtomicU32>>,
    begun: Instant,
    /// Until when one of them may be refused, in milliseconds since `begun`: before and after, nobody is looked up.
    refuses_until: AtomicU64,
}

impl Default for FailedAttempts {
    fn default() -> Self {
        let windows = Cache::builder().max_capacity(NETWORKS_MAX).time_to_live(WINDOW);
        Self {
            windows: windows.build(),
            begun: Instant::now(),
            refuses_until: AtomicU64::default(),
        }
    }
}

impl FailedAttempts {
    /// Counts a failure.
    ///
    /// # Errors
    /// The seconds to wait, for a network that has failed so often that it is not heard now; nothing is counted then.
    pub fn count(&self, client: Option<IpAddr>) -> Result<(), u32> {
        let failures = self.windows.get_with(network(client), Arc::default);
        let counted = failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failures| {
            (failures < FAILURES_MAX).then_some(failures + 1)
        });
        if counted.is_ok_and(|before| before + 1 == FAILURES_MAX) {
            let until = millis(self.begun.elapsed() + WINDOW);
            self.refuses_until.fetch_max(until, Ordering::Release);
        }
        counted.map(drop).map_err(|_| SECONDS_TO_WAIT)
    }

    /// Counts nothing, and says whether the network is heard now.
    ///
    /// # Errors
    /// The seconds to wait.
    pub fn check(&self, client: Option<IpAddr>) -> Result<(), u32> {
        let until = self.refuses_until.load(Ordering::Acquire);
        if until == 0 || millis(self.begun.elapsed()) >= until {
            return Ok(());
        }
        let failures = self.windows.get(&network(client));
        let is_over = failures.is_some_and(|failures| failures.load(Ordering::Relaxed) >= FAILURES_MAX);
        if is_over { Err(SECONDS_TO_WAIT) } else { Ok(()) }
    }

    /// Takes back what was counted of one who has proved himself after all.
    pub fn take_back(&self, client: Option<IpAddr>) {
        if let Some(failures) = self.windows.get(&network(client)) {
            let less = |failures: u32| Some(failures.saturating_sub(1));
            let _ = failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// An IPv4 address, or the first 64 bits of an IPv6 one. All clients whose address is unknown share one.
fn network(client: Option<IpAddr>) -> IpAddr {
    match client.unwrap_or(Ipv4Addr::UNSPECIFIED.into()).to_canonical() {
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
        let address = |text: &str| -> Option<IpAddr> { Some(text.parse().unwrap()) };
        for _ in 1..FAILURES_MAX {
            failed.count(address("2001:db8:1:2::3")).unwrap();
        }
        failed.count(address("2001:db8:1:2:ffff::")).unwrap();
        assert!(failed.count(address("2001:db8:1:2::4")).is_err());
        assert!(failed.check(address("2001:db8:1:2::4")).is_err());
        for other in [address("2001:db8:1:3::4"), address("192.0.2.1"), None] {
            assert!(failed.check(other).is_ok(), "{other:?}");
        }
        assert!(failed.count(address("2001:db8:1:3::3")).is_ok());
        assert!(failed.count(address("192.0.2.1")).is_ok());
        failed.take_back(address("2001:db8:1:2::5"));
        assert!(failed.count(address("2001:db8:1:2::4")).is_ok());
        assert!(failed.count(address("2001:db8:1:2::4")).is_err());
        failed.take_back(address("192.0.2.9"));
        assert!(failed.check(address("192.0.2.9")).is_ok());
    }
}
