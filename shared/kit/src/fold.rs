//! Text folded for searching and sorting, so that both engines compare the same bytes.
//!
//! Collations differ between engines and versions; a folded column is compared byte by byte, by equality or prefix.

use caseless::Caseless;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// NFKD, marks removed, case folded, runs of white space as one space: "  Müller  LÓPEZ" is "muller lopez".
pub fn fold_for_search(text: &str) -> String {
    let folded: String = text
        .nfkd()
        .default_case_fold()
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The least text above every text that begins with `prefix`: `column >= prefix AND column < end` is the search by
/// prefix, without the wildcards of LIKE.
pub fn end_of_prefix(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_marks_case_width_and_space() {
        for (text, folded) in [
            ("  Müller\t LÓPEZ ", "muller lopez"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("ＦＵＬＬ", "full"),
            ("İzmir", "izmir"),
            ("Nguyễn", "nguyen"),
            ("ﬁne", "fine"),
            ("Ἀθῆναι", "αθηναι"),
            ("", ""),
        ] {
            assert_eq!(fold_for_search(text), folded, "{text}");
            assert_eq!(fold_for_search(folded), folded, "twice: {text}");
        }
    }

    #[test]
    fn a_prefix_ends_behind_all_that_begin_with_it() {
        let end = end_of_prefix("mul");
        for inside in ["mul", "muller", "mul\u{10fffe}"] {
            assert!(("mul"..end.as_str()).contains(&inside), "{inside}");
        }
        assert!("mum" > end.as_str());
    }
}
