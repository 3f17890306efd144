//! The words under which a name is found, and the prefixes that are searched for a typed text.
//!
//! A name is found by the beginning of any of its words, in any order; hyphen, apostrophe, dot and space all part
//! words. Words that people write together or apart are found both ways: each word is stored joined with the words that
//! follow it. So `O'Brien` is kept as `obrien` and `brien`, and `o`, `obr` and `brien` are beginnings of what is kept.

use super::{characters, fold_for_search, push_spelled, push_typed};
use std::collections::BTreeSet;

/// How many characters of a word are kept and looked for; the tables' columns are at least as wide.
pub const WORD_CHARS_MAX: usize = 64;
/// How many words of one text are kept.
pub const WORDS_KEPT_MAX: usize = 16;
/// How many typed words are looked for: of more the longest, since these find the least.
pub const WORDS_TYPED_MAX: usize = 8;
/// How many typed words may have been written as one.
const JOINED_MAX: usize = 3;

/// A word that was typed, as the beginnings of kept words of which a name must have one. None begins with another.
pub type TypedWord = Vec<String>;

/// A word in its two spellings: `muller` and `mueller`, mostly the same.
#[derive(Default)]
struct Part {
    typed: String,
    spelled: String,
}

/// The words under which a text is found: at most twice [`WORDS_KEPT_MAX`].
pub fn kept_words(text: &str) -> BTreeSet<String> {
    let parts = parts(text);
    let starts = 0..parts.len().min(WORDS_KEPT_MAX);
    starts.flat_map(|start| joined(&parts[start..])).collect()
}

/// What is looked for when this was typed: a name must match every word of it. Empty when nothing can be looked for.
pub fn typed_words(text: &str) -> Vec<TypedWord> {
    let parts = parts(text);
    let mut words: Vec<(usize, TypedWord)> = (0..parts.len())
        .map(|last| {
            let firsts = last.saturating_sub(JOINED_MAX - 1)..=last;
            let beginnings = firsts.flat_map(|first| joined(&parts[first..=last])).collect();
            (parts[last].typed.chars().count(), shortest(beginnings))
        })
        .collect();
    words.sort_by_key(|(chars, _)| std::cmp::Reverse(*chars));
    words.truncate(WORDS_TYPED_MAX);
    words.into_iter().map(|(_, word)| word).collect()
}

/// Without what begins with another of them, which finds nothing more.
fn shortest(beginnings: BTreeSet<String>) -> TypedWord {
    let mut kept = TypedWord::new();
    for beginning in beginnings {
        // In their order, what begins with a text follows it at once.
        if kept
            .last()
            .is_none_or(|last| !beginning.starts_with(last.as_str()))
        {
            kept.push(beginning);
        }
    }
    kept
}

/// The parts as one word, in both spellings.
fn joined(parts: &[Part]) -> [String; 2] {
    let cut = |spelling: fn(&Part) -> &str| {
        let all = parts.iter().flat_map(|part| spelling(part).chars());
        all.take(WORD_CHARS_MAX).collect()
    };
    [cut(|part| &part.typed), cut(|part| &part.spelled)]
}

/// A text's words; a text of nothing but signs is one word of them, so that it can be found at all.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = vec![Part::default()];
    for c in characters(text) {
        let last = parts.last_mut().expect("there is one from the beginning");
        if !is_between_words(c) {
            push_typed(&mut last.typed, c);
            push_spelled(&mut last.spelled, c);
        } else if !last.typed.is_empty() {
            parts.push(Part::default());
        }
    }
    parts.retain(|part| !part.typed.is_empty());
    if parts.is_empty() {
        let mut signs = fold_for_search(text);
        signs.retain(|c| c != ' ');
        let spelled = signs.clone();
        parts.extend((!signs.is_empty()).then_some(Part {
            typed: signs,
            spelled,
        }));
    }
    parts
}

/// White space, and the signs that stand between or inside of names: hyphens and dashes, apostrophes and quotation marks
/// of all kinds, dots, commas, brackets; letters that are written and typed as an apostrophe are among them. Any other
/// sign, as `%` or `_`, is looked for as it stands.
fn is_between_words(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '!' | '"' | '&'..=')' | '+'..='/' | ':' | ';' | '?' | '[' | ']' | '`' | '{' | '}'
                | '\u{A1}' | '\u{AB}' | '\u{B4}' | '\u{B7}' | '\u{BB}' | '\u{BF}'
                // Clicks, glottal stops, saltillo; modifier letters such as the okina.
                | '\u{1C0}'..='\u{1C3}' | '\u{242}' | '\u{294}' | '\u{295}' | '\u{2B9}'..='\u{2DF}' | '\u{2EE}'
                | '\u{A78B}' | '\u{A78C}'
                // Of Armenian, Hebrew and Arabic.
                | '\u{55A}'..='\u{55F}' | '\u{58A}' | '\u{5BE}' | '\u{5F3}' | '\u{5F4}' | '\u{60C}'
                | '\u{2010}'..='\u{201F}' | '\u{2022}'..='\u{2027}' | '\u{2032}'..='\u{203A}'
                | '\u{2043}' | '\u{2044}' | '\u{2212}' | '\u{2219}' | '\u{22C5}'
                | '\u{2E17}' | '\u{2E1A}' | '\u{2E3A}' | '\u{2E3B}'
                // Of Chinese, Japanese and Korean, where a dot stands between the parts of a foreign name.
                | '\u{3001}' | '\u{3002}' | '\u{300C}'..='\u{300F}' | '\u{301C}' | '\u{30A0}' | '\u{30FB}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_found(name: &str, typed: &str) -> bool {
        let (kept, words) = (kept_words(name), typed_words(typed));
        let begins = |beginning: &String| kept.iter().any(|word| word.starts_with(beginning.as_str()));
        !words.is_empty() && words.iter().all(|word| word.iter().any(begins))
    }

    #[test]
    fn a_name_is_found_by_what_people_type() {
        for (name, all_typed) in [
            ("Łódź", ["lodz", "łódź", "LÓDZ", "lo"].as_slice()),
            ("Đặng", &["dang", "đang", "Dặng", "djang"]),
            ("Þórsson", &["thorsson", "þorsson", "Thórs"]),
            ("Søren", &["soren", "soeren", "søren", "SÖREN"]),
            ("Œuvre", &["oeuvre", "œuvre"]),
            (
                "Müller",
                &["muller", "mueller", "müller", "mu\u{308}ller", "ＭÜＬＬＥＲ"],
            ),
            ("Mueller", &["mueller", "müller"]),
            ("Muller", &["muller", "müller"]),
            ("Ågård", &["agard", "aagaard", "ågård"]),
            ("Weiß", &["weiss", "weiß", "WEISS", "WEIẞ"]),
            ("Yıldız", &["yildiz", "YILDIZ", "yıldız"]),
            ("İnönü", &["inonu", "INONU", "inoenue"]),
            ("Ħamrun", &["hamrun"]),
            ("Əliyev", &["eliyev", "aliyev", "əliyev"]),
            (
                "O'Brien",
                &[
                    "obrien",
                    "o brien",
                    "brien",
                    "o'brien",
                    "o\u{2019}brien",
                    "O\u{B4}Brien",
                    "o-brien",
                    "O`Brien",
                ],
            ),
            ("O\u{2BC}Brien", &["obrien", "o'brien", "brien"]),
            ("OBrien", &["obrien", "o'brien", "o brien"]),
            (
                "Smith-Jones",
                &[
                    "smith",
                    "jones",
                    "smith jones",
                    "jones smith",
                    "smith-jones",
                    "smithjones",
                    "jo sm",
                ],
            ),
            ("Smith\u{2010}Jones", &["smith-jones", "jones"]),
            ("Smith Jones", &["smith-jones", "smithjones"]),
            (
                "de la Cruz",
                &["cruz", "la cruz", "de la cruz", "delacruz", "cruz de"],
            ),
            (
                "Van den Berg",
                &["vandenberg", "berg", "van den berg", "vanden berg"],
            ),
            ("Vandenberg", &["van den berg", "vandenberg"]),
            ("Gal·la", &["galla", "gal la", "gal·la"]),
            ("J.R.R. Tolkien", &["tolkien", "jrr", "j.r.r.", "j r r tolkien"]),
            ("Hawai\u{2BB}i", &["hawaii", "hawai'i"]),
            ("ジョン・スミス", &["スミス", "ジョン"]),
            ("Παπαδόπουλος", &["παπαδοπουλοσ", "ΠΑΠΑΔΌΠΟΥΛΟΣ"]),
            ("%", &["%"]),
            ("-", &["-"]),
        ] {
            for typed in all_typed {
                assert!(
                    is_found(name, typed),
                    "{name} by {typed}: {:?}",
                    typed_words(typed)
                );
            }
        }
    }

    #[test]
    fn only_the_beginnings_of_words_and_only_all_of_them_find() {
        for (name, typed) in [
            ("Silva", "ilva"),
            ("Smith-Jones", "smith brown"),
            ("O'Brien", "rien"),
            ("Mulligan", "mul%"),
            ("Mulligan", "mu_l"),
            ("Cruz", "cruzado"),
            ("Παπας", "papas"),
            ("Silva", ""),
            ("Silva", " \u{301} \u{200B}"),
        ] {
            assert!(!is_found(name, typed), "{name} by {typed}");
        }
    }

    #[test]
    fn both_sides_are_bounded() {
        let long: String = (0..200).map(|nth| format!("{nth}Ö ")).collect();
        assert_eq!(kept_words(&long).len(), 2 * WORDS_KEPT_MAX);
        let chars = |word: &String| word.chars().count();
        assert_eq!(
            kept_words(&"ß".repeat(200)).iter().map(chars).max(),
            Some(WORD_CHARS_MAX)
        );
        let typed = typed_words("a bb ccc dddd eeeee f g h i jj");
        assert_eq!(typed.len(), WORDS_TYPED_MAX);
        assert_eq!(typed[0], ["cccddddeeeee", "ddddeeeee", "eeeee"]);
        assert!(is_found(&"ab".repeat(90), &"ab".repeat(90)));
    }
}
