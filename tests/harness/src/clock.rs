//! A clock that moves by hand.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use contract::clock::{Clock, UnixMillis};

/// A clock that does not advance until it is moved.
#[derive(Debug)]
pub struct HandClock(AtomicI64);

impl HandClock {
    /// A clock at this instant.
    pub fn at(now: UnixMillis) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).expect("a test does not wait for ages");
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets it, also back.
    pub fn set(&self, now: UnixMillis) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}
