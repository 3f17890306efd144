//! The events of one source over a run, signed batch by batch: each of them is new to a receiver.

use super::lives::BodyStyle;
use super::pool::{Batch, Pool};
use anyhow::Result;
use contract::clock::Clock;
use contract::{SecretList, UnixMillis};
use kit::random::SystemClock;
use std::sync::Arc;

/// Signs events of one source.
#[derive(Debug)]
pub struct Events {
    run: UnixMillis,
    next: u64,
    source: String,
    secrets: SecretList,
    style: BodyStyle,
}

impl Events {
    /// A run that begins now.
    ///
    /// # Errors
    /// When the secret is none.
    pub fn new(source: &str, secret: &str, style: BodyStyle) -> Result<Self> {
        Self::since(SystemClock.now(), source, secret, style)
    }

    /// A run that began then: two runs of one source have no event in common when they began at different times.
    ///
    /// # Errors
    /// As `new`.
    pub fn since(run: UnixMillis, source: &str, secret: &str, style: BodyStyle) -> Result<Self> {
        Ok(Self {
            run,
            next: 0,
            source: source.to_owned(),
            secrets: secret.parse()?,
            style,
        })
    }

    /// How many were signed.
    pub fn signed(&self) -> u64 {
        self.next
    }

    /// Signs so many more as of now.
    ///
    /// # Errors
    /// When they are more than a pool may hold.
    pub fn sign(&mut self, events: u64) -> Result<Arc<Pool>> {
        let batch = Batch {
            run: self.run,
            first: self.next,
            events,
            style: self.style,
            source: self.source.clone(),
        };
        self.next += events;
        Ok(Arc::new(Pool::sign(&batch, SystemClock.now(), &self.secrets)?))
    }
}
