//! Where a client of the stream stands: the id of the last message that it has, as `Last-Event-ID` names it.

use std::{fmt, str::FromStr};

/// A place in the stream: behind a whole batch, `17`, or behind one of its changes, `17.3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The batch.
    pub seq: i64,
    /// The last change of it that the client has; None: all of them.
    pub position: Option<usize>,
}

/// It is no id of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be the id of a message: 17, or 17.3")]
pub struct InvalidPlace;

impl Place {
    /// Behind a whole batch.
    pub const fn behind(seq: i64) -> Self {
        Self { seq, position: None }
    }

    /// The last batch that the client has whole.
    pub const fn whole(self) -> i64 {
        match self.position {
            None => self.seq,
            Some(_) => self.seq - 1,
        }
    }

    /// How many changes of a batch the client has already.
    pub fn known_of(self, seq: i64) -> usize {
        match self.position {
            Some(position) if seq == self.seq => position + 1,
            _ => 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.seq)?;
        self.position
            .map_or(Ok(()), |position| write!(out, ".{position}"))
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;
    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let (seq, position) = match text.split_once('.') {
            Some((seq, position)) => (seq, Some(position)),
            None => (text, None),
        };
        let place = Self {
            seq: seq.parse().map_err(|_| InvalidPlace)?,
            position: position
                .map(|position| position.parse().map_err(|_| InvalidPlace))
                .transpose()?,
        };
        // As it is written here and no other way; the number of changes in a batch is far below a u32's.
        let is_possible = place.seq >= i64::from(place.position.is_some())
            && place
                .position
                .is_none_or(|position| u32::try_from(position).is_ok())
            && place.to_string() == text;
        is_possible.then_some(place).ok_or(InvalidPlace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written_and_no_other_way() {
        for good in ["0", "17", "17.0", "17.3", "9223372036854775807"] {
            assert_eq!(good.parse::<Place>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "-1",
            "+1",
            "01",
            "1.",
            ".1",
            "1.01",
            "1.-1",
            "1.2.3",
            "0.0",
            " 1",
            "1 ",
            "x",
            "9223372036854775808",
            "1.4294967296",
            "1.18446744073709551616",
        ] {
            assert_eq!(bad.parse::<Place>(), Err(InvalidPlace), "{bad}");
        }
    }

    #[test]
    fn a_part_of_a_batch_is_skipped_and_the_rest_is_not() {
        let place: Place = "17.3".parse().unwrap();
        assert_eq!(
            (place.whole(), place.known_of(17), place.known_of(18)),
            (16, 4, 0)
        );
        let place = Place::behind(17);
        assert_eq!((place.whole(), place.known_of(18)), (17, 0));
    }
}
