//! The rooms of one hotel: which are free, by type, so that no two guests of a plan get the same one.

use std::collections::{BTreeMap, BTreeSet};

/// The first number on the first floor; a type has its rooms on floors of its own.
const FIRST_NUMBER: u32 = 101;

/// Free rooms and how many there are of each type. A hotel of the demo has as many as it ever needs at once.
#[derive(Debug, Default)]
pub struct Rooms {
    free: BTreeMap<char, BTreeSet<u32>>,
    built: BTreeMap<char, u32>,
}

/// One room: the letter of its type and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Room {
    kind: char,
    number: u32,
}

impl Rooms {
    /// The lowest free room of a type, which is then taken.
    pub fn take(&mut self, kind: char) -> Room {
        let number = self.free.entry(kind).or_default().pop_first().unwrap_or_else(|| {
            let built = self.built.entry(kind).or_default();
            *built += 1;
            FIRST_NUMBER + *built - 1
        });
        Room { kind, number }
    }

    /// Gives a room back after the check-out.
    pub fn give_back(&mut self, room: Room) {
        self.free.entry(room.kind).or_default().insert(room.number);
    }
}

/// The room's id at the hotel: `D-104`.
impl std::fmt::Display for Room {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}-{}", self.kind, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_room_of_the_type_is_given() {
        let mut rooms = Rooms::default();
        let (first, second) = (rooms.take('A'), rooms.take('A'));
        assert_eq!(
            (first.to_string(), second.to_string()),
            ("A-101".into(), "A-102".into())
        );
        assert_eq!(rooms.take('D').to_string(), "D-101");
        rooms.give_back(first);
        assert_eq!(rooms.take('A'), first);
        assert_eq!(rooms.take('A').to_string(), "A-103");
    }
}
