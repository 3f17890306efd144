//! Requests signed before the clock starts: what signing costs is measured here, and not in the load.
//!
//! A pool is one block of bytes, a gigabyte at most, and holds each event once. The events of two pools of one run
//! differ when their numbers do, so that a receiver takes every one of them as new.

use super::lives::{BodyStyle, lives};
use super::mix::{self, Subject};
use super::template::{EventIds, Template};
use anyhow::{Result, ensure};
use contract::{SecretList, UnixMillis};
use std::time::Duration;
use tokio::time::Instant;

/// The largest pool.
pub const POOL_EVENTS_MAX: u64 = 1_000_000;
/// The bytes of the largest pool.
const POOL_BYTES_MAX: u64 = 1 << 30;

/// What is to be signed.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The begin of the run, which is in every id.
    pub run: UnixMillis,
    /// The number of the first event.
    pub first: u64,
    /// How many.
    pub events: u64,
    /// How much of a body is written.
    pub style: BodyStyle,
    /// The source that sends them.
    pub source: String,
}

/// Signed requests. `ends` has the end of each in `bytes`, in order.
#[derive(Debug)]
pub struct Pool {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    body_bytes: u64,
    took: Duration,
}

impl Pool {
    /// Signs a batch as of `now`: the requests are refused once the receiver's skew has passed since then.
    ///
    /// # Errors
    /// When the batch is larger than a pool may be.
    pub fn sign(batch: &Batch, now: UnixMillis, secrets: &SecretList) -> Result<Self> {
        let templates = Templates::new(batch.style, &batch.source)?;
        ensure!(
            (1..=POOL_EVENTS_MAX).contains(&batch.events),
            "a pool holds 1 to {POOL_EVENTS_MAX} events, not {}",
            batch.events
        );
        let events = batch.first..batch.first + batch.events;
        let size: usize = events.clone().map(|event| templates.of(event).len()).sum();
        ensure!(
            size as u64 <= POOL_BYTES_MAX,
            "the requests have {size} bytes, and a pool {POOL_BYTES_MAX} at most: take fewer"
        );
        let begun = Instant::now();
        let mut pool = Self {
            bytes: Vec::with_capacity(size),
            ends: Vec::with_capacity(usize::try_from(batch.events)?),
            body_bytes: 0,
            took: Duration::ZERO,
        };
        for event in events {
            let template = templates.of(event);
            template.write(&mut pool.bytes, ids(batch.run, event), now, secrets)?;
            pool.ends.push(pool.bytes.len());
            pool.body_bytes += template.body_len() as u64;
        }
        pool.took = begun.elapsed();
        Ok(pool)
    }

    /// Requests that were written before, one behind the other, `ends` having the end of each.
    pub fn of(bytes: Vec<u8>, ends: Vec<usize>) -> Self {
        Self {
            bytes,
            ends,
            body_bytes: 0,
            took: Duration::ZERO,
        }
    }

    /// These requests, whatever they are.
    pub fn of_requests(requests: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for request in requests {
            bytes.extend(request);
            ends.push(bytes.len());
        }
        Self::of(bytes, ends)
    }

    /// How many requests it holds.
    pub fn len(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The `n`-th request; after the last one the first again.
    ///
    /// # Panics
    /// When the pool is empty.
    pub fn request(&self, n: u64) -> &[u8] {
        let at = usize::try_from(n % self.len()).expect("smaller than a length");
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    /// The body of the `n`-th request.
    ///
    /// # Panics
    /// When the pool is empty.
    pub fn body(&self, n: u64) -> &[u8] {
        let request = self.request(n);
        let head = request.windows(4).position(|window| window == b"\r\n\r\n");
        &request[head.map_or(0, |head| head + 4)..]
    }

    /// The mean length of a body.
    pub fn body_bytes_mean(&self) -> u64 {
        self.body_bytes / self.len().max(1)
    }

    /// What writing and signing one request took.
    pub fn sign_micros(&self) -> f64 {
        self.took.as_secs_f64() * 1e6 / self.len().max(1) as f64
    }
}

/// The templates of every life.
struct Templates(Vec<(Vec<Template>, Vec<Template>)>);

impl Templates {
    fn new(style: BodyStyle, source: &str) -> Result<Self> {
        let templates = |bodies: &[Vec<u8>]| -> Result<Vec<_>> {
            bodies.iter().map(|body| Template::of(source, body)).collect()
        };
        let lives = lives(style)?;
        let lives = lives
            .iter()
            .map(|life| Ok((templates(&life.guest)?, templates(&life.reservation)?)));
        Ok(Self(lives.collect::<Result<_>>()?))
    }

    /// The template of an event. A guest and what names it are of one life.
    fn of(&self, event: u64) -> &Template {
        let planned = mix::nth(event);
        let version = usize::try_from(planned.version - 1).expect("an entity has a handful of versions");
        let life = |guest: u64| &self.0[usize::try_from(guest % self.0.len() as u64).expect("a remainder")];
        match planned.subject {
            Subject::Guest(guest) => &life(guest).0[version],
            Subject::Reservation(_, guest) => &life(guest).1[version],
        }
    }
}

fn ids(run: UnixMillis, event: u64) -> EventIds {
    let (guest, reservation) = match mix::nth(event).subject {
        Subject::Guest(guest) => (guest, 0),
        Subject::Reservation(reservation, guest) => (guest, reservation),
    };
    EventIds {
        run,
        event,
        guest,
        reservation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::SOURCE;

    fn pool(first: u64, events: u64) -> Result<Pool> {
        let secrets: SecretList = "sixteen-bytes-is".parse().unwrap();
        let batch = Batch {
            run: UnixMillis(1_795_000_000_123),
            first,
            events,
            style: BodyStyle::Compact,
            source: SOURCE.to_owned(),
        };
        Pool::sign(&batch, UnixMillis(1_795_000_000_123), &secrets)
    }

    #[test]
    fn every_event_is_in_it_once_and_another_pool_has_others() {
        let (one, other) = (pool(0, 200).unwrap(), pool(200, 100).unwrap());
        let mut all: Vec<&[u8]> = (0..200)
            .map(|n| one.request(n))
            .chain((0..100).map(|n| other.request(n)))
            .collect();
        assert!(
            all.iter()
                .all(|request| request.starts_with(b"POST ") && request.ends_with(b"}"))
        );
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 300);
        assert_eq!(one.request(200), one.request(0));
    }

    #[test]
    fn it_is_bounded() {
        assert!(pool(0, 0).is_err());
        assert!(pool(0, POOL_EVENTS_MAX + 1).is_err());
    }
}
