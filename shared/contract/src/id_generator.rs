//! New ids, from a clock and randomness that are parameters.

use crate::{Clock, Entropy};
use std::sync::{Arc, Mutex, PoisonError};

/// Bits of a UUIDv7 below its time: 12 of rand_a and 62 of rand_b.
const TAIL_BITS: u32 = 74;
/// A new tail leaves its highest bit free, so that a burst within one millisecond rarely overflows into the next
/// millisecond.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SeededEntropy, UnixMillis};
    use std::sync::atomic::{AtomicI64, Ordering};

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
}
