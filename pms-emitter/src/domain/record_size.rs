//! How large a record may become.
//!
//! Each change of a record writes it whole, sends it whole and shows it whole: what a small request costs is bounded by the
//! record that it is about. A record that was larger before this bound existed may still change, but not grow.

use super::refusal::Refusal;
use serde::Serialize;
use std::io::{self, Write};

/// The most that a record's state takes as the JSON that is stored, in bytes.
pub const RECORD_BYTES_MAX: usize = 32 * 1024;

/// Refuses a state that is stored as `stored` when it is over the bound and `content`, what clients set in it, takes more
/// than it did `before`. What the service sets beside it is small, and no reason to refuse a check-in.
pub fn within_bound(
    stored: &impl Serialize,
    content: impl Fn() -> usize,
    before: impl Fn() -> usize,
) -> Result<(), Refusal> {
    if json_len(stored) <= RECORD_BYTES_MAX || content() <= before() {
        Ok(())
    } else {
        Err(Refusal::RecordTooLarge)
    }
}

/// The bytes of a value's JSON.
pub fn json_len(value: &impl Serialize) -> usize {
    /// Counts what is written, and keeps nothing of it.
    struct Length(usize);

    impl Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut length = Length(0);
    serde_json::to_writer(&mut length, value).expect("a record is plain data with string keys");
    length.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a16_the_bound_is_inside_and_what_is_over_it_may_not_grow() {
        let text = |len: usize| "x".repeat(len - 2);
        let check = |stored: usize, content: usize, before: usize| {
            within_bound(&text(stored), || content, || before).is_ok()
        };
        assert_eq!(json_len(&text(RECORD_BYTES_MAX)), RECORD_BYTES_MAX);
        assert_eq!(json_len(&"é\n\"\u{20000}"), 2 + 2 + 2 + 2 + 4);
        assert!(check(RECORD_BYTES_MAX, 9, 0));
        assert!(!check(RECORD_BYTES_MAX + 1, 9, 8));
        assert!(check(RECORD_BYTES_MAX + 1, 9, 9));
        assert!(check(2 * RECORD_BYTES_MAX, 8, 9));
    }
}
