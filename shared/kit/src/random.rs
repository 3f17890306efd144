//! The one place of randomness and of the system's clock.
//!
//! Everything else takes an [`Entropy`], an [`Ids`] or a `Clock` as a parameter, so that a test can seed the one and
//! move the other by hand. clippy's `disallowed-methods` keeps it so.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use contract::clock::{Clock, UnixMillis};
use sha2::{Digest, Sha256};

/// A source of random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// A random 64-bit number.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// `base` moved by up to `percent` of itself either way: the jitter of every retry.
    fn jitter(&self, base: Duration, percent: u32) -> Duration {
        // 53 bits give an evenly spread fraction in [-1, 1).
        let fraction = (self.next_u64() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
        base.mul_f64((1.0 + fraction * f64::from(percent.min(100)) / 100.0).max(0.0))
    }
}

/// Bytes that a thread draws from the operating system at a time: a call for each id and salt would cost a microsecond.
const DRAWN_LEN: usize = 1024;

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

/// What a thread has drawn and not given out. Each byte is given out once, and is gone from here then.
struct Drawn {
    bytes: [u8; DRAWN_LEN],
    given: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [0; DRAWN_LEN], given: DRAWN_LEN }) };
}

impl Drawn {
    fn give(&mut self, wanted: &mut [u8]) {
        if wanted.len() > DRAWN_LEN - self.given {
            draw(&mut self.bytes);
            self.given = 0;
        }
        let end = self.given + wanted.len();
        let given = &mut self.bytes[self.given..end];
        wanted.copy_from_slice(given);
        given.fill(0);
        self.given = end;
    }
}

fn draw(bytes: &mut [u8]) {
    #[expect(clippy::disallowed_methods, reason = "the one place of randomness")]
    getrandom::fill(bytes).expect("the operating system gives randomness");
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > DRAWN_LEN {
            draw(bytes);
        } else {
            DRAWN.with_borrow_mut(|drawn| drawn.give(bytes));
        }
    }
}

/// A reproducible stream for tests and for seeded data: SHA-256 over the seed and a counter.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    blocks: Mutex<u64>,
}

impl SeededEntropy {
    /// The same seed gives the same stream.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            blocks: Mutex::new(0),
        }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(32) {
            let block = Sha256::new()
                .chain_update(self.seed.to_le_bytes())
                .chain_update(blocks.to_le_bytes());
            chunk.copy_from_slice(&block.finalize()[..chunk.len()]);
            *blocks += 1;
        }
    }
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the system's clock"
        )]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Bits of a UUIDv7 below its time: 12 of rand_a and 62 of rand_b.
const TAIL_BITS: u32 = 74;
/// Room left above a fresh tail, so that a burst within one millisecond seldom has to borrow the next one.
const TAIL_MASK: u128 = (1 << (TAIL_BITS - 1)) - 1;
/// Crockford's base 32, in lower case.
const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Makes ids: a prefix, `_`, and the 26 lower-case Crockford base 32 digits of a UUIDv7 (RFC 9562).
///
/// Ids of one `Ids` grow strictly, also within a millisecond and when the clock steps back; the steps between them are
/// random, so that one id does not tell the next.
#[derive(Clone)]
pub struct Ids {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    last: Arc<Mutex<(u64, u128)>>,
}

impl Ids {
    /// Ids from this clock and this randomness.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            clock,
            entropy,
            last: Arc::new(Mutex::new((0, 0))),
        }
    }

    /// A fresh id such as `evt_01jd3k...`: the prefix, `_` and 26 digits.
    pub fn new_id(&self, prefix: &str) -> String {
        let mut id = String::with_capacity(prefix.len() + 27);
        id.push_str(prefix);
        id.push('_');
        let uuid = self.next_uuid();
        for digit in (0..26).rev() {
            id.push(char::from(CROCKFORD[(uuid >> (digit * 5)) as usize & 31]));
        }
        id
    }

    fn next_uuid(&self) -> u128 {
        let now = u64::try_from(self.clock.now().0).unwrap_or(0);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (millis, tail) = &mut *last;
        if now > *millis {
            (*millis, *tail) = (now, self.fresh_tail());
        } else {
            *tail += 1 + u128::from(self.entropy.next_u64() >> 32);
            if *tail >> TAIL_BITS != 0 {
                (*millis, *tail) = (*millis + 1, self.fresh_tail());
            }
        }
        let (rand_a, rand_b) = (*tail >> 62, *tail & ((1 << 62) - 1));
        (u128::from(*millis) & ((1 << 48) - 1)) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b
    }

    fn fresh_tail(&self) -> u128 {
        (u128::from(self.entropy.next_u64()) << 64 | u128::from(self.entropy.next_u64())) & TAIL_MASK
    }
}

/// What a service takes from outside beside its configuration: tests bring their own.
#[derive(Clone)]
pub struct Runtime {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Runtime {
    /// The system's clock and randomness.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// Ids from this clock and this randomness.
    pub fn ids(&self) -> Ids {
        Ids::new(Arc::clone(&self.clock), Arc::clone(&self.entropy))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    struct HandClock(AtomicI64);

    impl Clock for HandClock {
        fn now(&self) -> UnixMillis {
            UnixMillis(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn ids_grow_strictly_within_a_millisecond_and_when_the_clock_steps_back() {
        let clock = Arc::new(HandClock(AtomicI64::new(1_763_769_600_000)));
        let ids = Ids::new(clock.clone(), Arc::new(SeededEntropy::new(7)));
        let mut last = ids.new_id("evt");
        for step in 0..10_000 {
            if step == 5_000 {
                clock.0.fetch_sub(60_000, Ordering::SeqCst);
            }
            let next = ids.new_id("evt");
            assert!(next > last, "{next} after {last}");
            last = next;
        }
    }

    #[test]
    fn an_id_is_its_prefix_and_26_digits_of_a_version_7_uuid() {
        let clock = Arc::new(HandClock(AtomicI64::new(0x0123_4567_89ab)));
        let ids = Ids::new(clock, Arc::new(SeededEntropy::new(1)));
        let uuid = ids.next_uuid();
        assert_eq!(uuid >> 80, 0x0123_4567_89ab);
        assert_eq!(uuid >> 76 & 0xf, 7);
        assert_eq!(uuid >> 62 & 0b11, 0b10);
        let id = ids.new_id("gst");
        assert_eq!(id.len(), 30);
        assert!(id.starts_with("gst_0"), "{id}");
        assert!(id[4..].bytes().all(|digit| CROCKFORD.contains(&digit)), "{id}");
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let entropy = SeededEntropy::new(3);
        let moved: Vec<_> = (0..1_000)
            .map(|_| entropy.jitter(Duration::from_secs(100), 20).as_secs())
            .collect();
        assert!(moved.iter().all(|seconds| (80..=120).contains(seconds)));
        assert!(moved.iter().any(|seconds| *seconds < 85) && moved.iter().any(|seconds| *seconds > 115));
    }

    #[test]
    fn one_seed_gives_one_stream() {
        let (mut one, mut two, mut other) = ([0; 100], [0; 100], [0; 100]);
        SeededEntropy::new(5).fill(&mut one);
        SeededEntropy::new(5).fill(&mut two);
        SeededEntropy::new(6).fill(&mut other);
        assert_eq!(one, two);
        assert_ne!(one, other);
    }
}
