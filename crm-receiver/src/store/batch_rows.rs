//! Statements of many rows in a few fixed sizes, so that each engine keeps them prepared.

use contract::SourceId;
use std::{collections::BTreeMap, ops::Range};

/// Rows of one INSERT, and keys of one IN list, largest first.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

/// Cuts `len` rows into ranges whose lengths are among the fixed sizes.
pub(super) fn chunks(len: usize) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= len - from)?;
        from += size;
        Some(from - size..from)
    })
}

/// Cuts `items` into lists of a fixed size, the last one filled up with its last item: for an IN list, where a
/// repetition means nothing.
pub(super) fn padded<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    items
        .chunks(SIZES[0])
        .map(|chunk| {
            let size = SIZES
                .into_iter()
                .rev()
                .find(|size| *size >= chunk.len())
                .unwrap_or(SIZES[0]);
            let last = chunk.last().expect("a chunk is never empty");
            let mut list = chunk.to_vec();
            list.resize(size, last.clone());
            list
        })
        .collect()
}

/// One list of ids for each source.
pub(super) fn by_source<'b>(
    keys: impl Iterator<Item = (&'b SourceId, &'b str)>,
) -> BTreeMap<&'b SourceId, Vec<&'b str>> {
    let mut grouped = BTreeMap::<_, Vec<_>>::new();
    for (source, key) in keys {
        grouped.entry(source).or_default().push(key);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_everything_once_in_fixed_sizes() {
        for len in [0, 1, 3, 100, 256, 1000] {
            let ranges: Vec<_> = chunks(len).collect();
            assert!(ranges.iter().all(|range| SIZES.contains(&range.len())));
            assert_eq!(
                ranges.into_iter().flatten().collect::<Vec<_>>(),
                (0..len).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn padding_repeats_the_last_item() {
        assert_eq!(padded(&[7]), [[7]]);
        assert_eq!(padded(&[1, 2]), [[1, 2, 2, 2]]);
        let lists = padded(&(0..300).collect::<Vec<_>>());
        assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [256, 64]);
        assert!(padded::<u8>(&[]).is_empty());
    }
}
