//! Randomness as a parameter: the trait, and a reproducible stream for tests and for seeded data. The operating system's
//! randomness implements it in one place, outside of this crate.

use sha2::{Digest, Sha256};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

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

#[cfg(test)]
mod tests {
    use super::*;

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
