//! Lists of keys in a few fixed sizes, so that each engine keeps the statements prepared.

use contract::SourceId;
use std::collections::BTreeMap;

/// Keys of one IN list, largest first.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

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
    fn padding_repeats_the_last_item() {
        assert_eq!(padded(&[7]), [[7]]);
        assert_eq!(padded(&[1, 2]), [[1, 2, 2, 2]]);
        let lists = padded(&(0..300).collect::<Vec<_>>());
        assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [256, 64]);
        assert!(padded::<u8>(&[]).is_empty());
    }
}
