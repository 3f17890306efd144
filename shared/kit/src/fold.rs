//! Text folded for searching and sorting, in one way for both services, so that both engines compare the same bytes.
//!
//! Collations differ between engines and versions; a folded column is compared byte by byte, by equality or prefix.
//! Letters lose their marks and their case, and a Latin letter that is not made of another and a mark (ł, ø, þ) becomes
//! what people type for it, by the table `data/latin_letters.txt`. Other scripts are unchanged: Greek text is found by
//! typing Greek. [`words`] defines the words under which a name is found.

pub mod words;

use caseless::Caseless;
use contract::text::is_invisible;
use std::{collections::HashMap, sync::LazyLock};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Raise it when the stored form of folded text changes: the services then fold their stored rows again.
pub const FOLD_VERSION: i64 = 1;

/// What is typed for a letter.
type Letters = HashMap<char, &'static str>;

/// The table's two halves: the letters, and the second spellings.
static LETTERS: LazyLock<(Letters, Letters)> =
    LazyLock::new(|| read_letters(include_str!("../data/latin_letters.txt")));

/// Marks removed, case and width folded, special letters as they are typed, runs of white space as one space:
/// "  Müller  ŁÓDŹ" is "muller lodz".
pub fn fold_for_search(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in characters(text) {
        if !c.is_whitespace() {
            push_typed(&mut folded, c);
        } else if !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
    }
    folded.truncate(folded.trim_end().len());
    folded
}

/// The smallest text greater than every text that begins with `prefix`: `column >= prefix AND column < end` is a prefix
/// search without LIKE.
pub fn end_of_prefix(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

/// A text's characters, composed and case folded, without those that cannot be seen.
fn characters(text: &str) -> impl Iterator<Item = char> + '_ {
    text.nfkc()
        .default_case_fold()
        .nfkc()
        .filter(|c| !is_invisible(*c) && *c != TATWEEL)
}

/// Adds a character without its marks, as it is typed.
fn push_typed(text: &mut String, c: char) {
    if c.is_ascii() {
        text.push(c);
        return;
    }
    for part in std::iter::once(c).nfkd().filter(|part| !is_combining_mark(*part)) {
        match LETTERS.0.get(&part) {
            Some(typed) => text.push_str(typed),
            None => text.push(part),
        }
    }
}

/// Adds a character in its second spelling, if it has one.
fn push_spelled(text: &mut String, c: char) {
    match LETTERS.1.get(&c) {
        Some(spelled) => text.push_str(spelled),
        None => push_typed(text, c),
    }
}

/// Arabic's tatweel, which only lengthens a word.
const TATWEEL: char = '\u{640}';

fn read_letters(table: &'static str) -> (Letters, Letters) {
    let (mut typed, mut spelled) = (Letters::new(), Letters::new());
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let (half, line) = match line.strip_prefix('+') {
            Some(line) => (&mut spelled, line),
            None => (&mut typed, line),
        };
        let Some((ascii, letters)) = line.split_once(' ') else {
            continue;
        };
        half.extend(letters.chars().filter(|c| *c != ' ').map(|c| (c, ascii)));
    }
    (typed, spelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_marks_case_width_letters_and_space() {
        for (text, folded) in [
            ("  Müller\t LÓPEZ ", "muller lopez"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("GROẞ", "gross"),
            ("ＦＵＬＬ", "full"),
            ("İzmir IŞIK Işık", "izmir isik isik"),
            ("Nguyễn", "nguyen"),
            ("Đặng", "dang"),
            ("ﬁne", "fine"),
            ("Łódź", "lodz"),
            ("Þórsson", "thorsson"),
            ("Søren Ægir Œuvre", "soren aegir oeuvre"),
            ("Guðrún", "gudrun"),
            ("Ħal Għargħur", "hal gharghur"),
            ("Ŋan Ŧa", "nan ta"),
            ("Əliyev", "eliyev"),
            ("Ǉubo Ǆevad", "ljubo dzevad"),
            ("M\u{AD}u\u{308}l\u{200D}ler", "muller"),
            ("Ἀθῆναι", "αθηναι"),
            ("Йосип", "иосип"),
            ("李小龍", "李小龍"),
            ("", ""),
        ] {
            assert_eq!(fold_for_search(text), folded, "{text}");
            assert_eq!(fold_for_search(folded), folded, "twice: {text}");
        }
    }

    #[test]
    fn every_letter_of_latin_blocks_folds_to_ascii_but_those_of_notation() {
        // Latin-1, Extended-A and the part of Extended-B that alphabets in use are written with, and Additional.
        let ranges = [
            '\u{C0}'..='\u{17F}',
            '\u{1CD}'..='\u{24F}',
            '\u{1E00}'..='\u{1EFF}',
        ];
        for c in ranges.into_iter().flatten().filter(|c| c.is_alphabetic()) {
            let folded = fold_for_search(&c.to_string());
            // A glottal stop is typed as an apostrophe or not at all, and two letters are compatible with one and a sign.
            let has_a_sign = matches!(
                c,
                '\u{13F}' | '\u{140}' | '\u{149}' | '\u{241}' | '\u{242}' | '\u{1E9A}'
            );
            assert!(
                folded.is_ascii() || has_a_sign,
                "{c} {:x}: {folded}",
                u32::from(c)
            );
        }
    }

    #[test]
    fn each_letter_of_the_table_stands_once_and_for_ascii() {
        let table = include_str!("../data/latin_letters.txt");
        for half in [true, false] {
            let lines = table.lines().filter(|line| !line.starts_with('#'));
            let lines = lines.filter(|line| line.starts_with('+') == half);
            let letters: Vec<char> = lines
                .clone()
                .flat_map(|line| line.split(' ').skip(1))
                .map(|letter| letter.chars().next().unwrap())
                .collect();
            let read = if half { &LETTERS.1 } else { &LETTERS.0 };
            assert_eq!(read.len(), letters.len());
            assert!(
                read.values()
                    .all(|typed| typed.bytes().all(|b| b.is_ascii_lowercase()))
            );
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
