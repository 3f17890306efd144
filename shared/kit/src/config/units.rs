//! Values with units: sizes in bytes, lists of durations.

use std::{fmt, str::FromStr, time::Duration};

/// A number of bytes: `65536`, `64 KiB`, `4MiB`, `1 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub usize);

/// One or more durations, separated by commas: `0 s, 5 s, 5 min, 2 h`. A plain number is in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationList(pub Vec<Duration>);

/// The most durations that a list may hold.
pub const DURATIONS_MAX: usize = 64;
/// The longest duration in a list: a year.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Why a text is no value with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUnit {
    /// Not a size.
    #[error("it must be a number of bytes, with B, KiB, MiB or GiB")]
    Size,
    /// Not a list of durations.
    #[error("it must be durations separated by commas, each a number with ms, s, min, h or d")]
    Durations,
    /// Too many, or too long a one.
    #[error("it may hold at most {DURATIONS_MAX} durations of at most a year")]
    TooMuch,
}

impl FromStr for ByteSize {
    type Err = InvalidUnit;
    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let (number, unit) = split(text).ok_or(InvalidUnit::Size)?;
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return Err(InvalidUnit::Size),
        };
        let bytes = number
            .checked_mul(factor)
            .and_then(|bytes| usize::try_from(bytes).ok());
        bytes.map(Self).ok_or(InvalidUnit::Size)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        for (factor, unit) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if bytes >= factor && bytes % factor == 0 {
                return write!(out, "{} {unit}", bytes / factor);
            }
        }
        write!(out, "{bytes} B")
    }
}

impl FromStr for DurationList {
    type Err = InvalidUnit;
    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let durations = text
            .split(',')
            .map(|item| duration(item).ok_or(InvalidUnit::Durations));
        let durations = durations.collect::<Result<Vec<_>, _>>()?;
        if durations.len() > DURATIONS_MAX || durations.iter().any(|each| *each > DURATION_MAX) {
            return Err(InvalidUnit::TooMuch);
        }
        Ok(Self(durations))
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let factor_ms = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "min" | "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "d" => 24 * 3600 * 1000,
        _ => return None,
    };
    number.checked_mul(factor_ms).map(Duration::from_millis)
}

/// `64 MiB` as 64 and `MiB`.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("64 KiB", 65536),
            ("4MiB", 4 << 20),
            (" 1 gib ", 1 << 30),
            ("5 B", 5),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        assert_eq!(ByteSize(64 << 20).to_string(), "64 MiB");
        assert_eq!(ByteSize(1025).to_string(), "1025 B");
        for bad in [
            "",
            "MiB",
            "-1",
            "1.5 MiB",
            "1 MB",
            "99999999999999999999",
            "18446744073709551615 GiB",
        ] {
            assert_eq!(bad.parse::<ByteSize>(), Err(InvalidUnit::Size), "{bad}");
        }
    }

    #[test]
    fn durations_are_read_in_every_unit() {
        let read: DurationList = "0, 250 ms, 5s, 5 min, 2 h, 1d".parse().unwrap();
        let seconds: Vec<_> = read.0.iter().map(Duration::as_secs_f64).collect();
        assert_eq!(seconds, [0.0, 0.25, 5.0, 300.0, 7200.0, 86400.0]);
        for bad in ["", "5 s,", "5 weeks", "-5", "five"] {
            assert_eq!(bad.parse::<DurationList>(), Err(InvalidUnit::Durations), "{bad}");
        }
        for much in ["400 d".to_owned(), "1,".repeat(DURATIONS_MAX) + "1"] {
            assert_eq!(much.parse::<DurationList>(), Err(InvalidUnit::TooMuch));
        }
    }
}
