//! Text as people see it: invisible characters are not content.
//!
//! They come with text that is pasted from web pages, tables and messengers. Unicode defines them: the property
//! Default_Ignorable_Code_Point and the category Format (UAX 44), by the tables of ICU4X.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, Emoji, GeneralCategory, Script},
};
use unicode_normalization::UnicodeNormalization;

/// Zero width non-joiner and joiner: Persian, Indic scripts and emoji need them between letters.
const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];
/// Combining enclosing keycap.
const KEYCAP: char = '\u{20e3}';
/// The one emoji that tags belong to: the flags of England, Scotland and Wales.
const TAGGED_FLAG: char = '\u{1f3f4}';

/// Whether a character shows nothing, and is not white space either.
pub fn is_invisible(c: char) -> bool {
    // The blank of Braille is a symbol by its category. The signs that a number or word is written under are of the
    // category Format and are seen.
    const BRAILLE_BLANK: char = '\u{2800}';
    const SEEN: [char; 13] = [
        '\u{600}',
        '\u{601}',
        '\u{602}',
        '\u{603}',
        '\u{604}',
        '\u{605}',
        '\u{6dd}',
        '\u{70f}',
        '\u{890}',
        '\u{891}',
        '\u{8e2}',
        '\u{110bd}',
        '\u{110cd}',
    ];
    if c.is_ascii() {
        return false;
    }
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || c == BRAILLE_BLANK
        || (CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::Format
            && !SEEN.contains(&c))
}

/// The text without invisible characters at its edges; white space stays.
pub fn trim_invisible(text: &str) -> &str {
    trim_by(text, is_invisible)
}

/// The text without white space and invisible characters at its edges. The result is empty when no character of the
/// text is visible.
pub fn trim(text: &str) -> &str {
    trim_by(text, |c| c.is_whitespace() || is_invisible(c))
}

/// A text in NFC, trimmed, and without invisible characters inside but joiners and the selectors that a sign is drawn
/// by.
pub fn tidy(text: &str) -> String {
    let text = trim(text);
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut base = None;
    let following = text.chars().skip(1).map(Some).chain([None]);
    let kept = text.chars().zip(following).filter_map(|(c, next)| {
        let is_drawn = || base.is_some_and(|base| selects(base, c, next));
        let keep = !is_invisible(c) || JOINERS.contains(&c) || is_drawn();
        if keep && !is_selector(c) {
            base = Some(c);
        }
        keep.then_some(c)
    });
    kept.nfc().collect()
}

/// Whether there is an invisible character anywhere in the text.
pub fn has_invisible(text: &str) -> bool {
    !text.is_ascii() && text.chars().any(is_invisible)
}

fn trim_by(text: &str, goes: impl Fn(char) -> bool) -> &str {
    let text = text.trim_start_matches(&goes);
    let trimmed = text.trim_end_matches(&goes);
    // A selector at the end belongs to the sign before it.
    let Some(base) = trimmed.chars().next_back() else {
        return trimmed;
    };
    let selected: usize = text[trimmed.len()..]
        .chars()
        .take_while(|&c| selects(base, c, None))
        .map(char::len_utf8)
        .sum();
    &text[..trimmed.len() + selected]
}

/// Whether a character says how the sign before it is drawn. Digits are drawn as usual but in a keycap.
fn selects(base: char, selector: char, next: Option<char>) -> bool {
    let script = || CodePointMapData::<Script>::new().get(base);
    match selector {
        '\u{fe0e}' | '\u{fe0f}' if base.is_ascii() => next == Some(KEYCAP),
        '\u{fe0e}' | '\u{fe0f}' => CodePointSetData::new::<Emoji>().contains(base),
        '\u{fe00}'..='\u{fe0d}' | '\u{e0100}'..='\u{e01ef}' => script() == Script::Han,
        '\u{180b}'..='\u{180d}' | '\u{180f}' => script() == Script::Mongolian,
        '\u{e0020}'..='\u{e007f}' => base == TAGGED_FLAG,
        _ => false,
    }
}

fn is_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0020}'..='\u{e01ef}' | '\u{180b}'..='\u{180f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each block that has any, and all that are known from pasted text.
    const INVISIBLE: [char; 60] = [
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{115f}',
        '\u{1160}',
        '\u{17b4}',
        '\u{17b5}',
        '\u{180b}',
        '\u{180c}',
        '\u{180d}',
        '\u{180e}',
        '\u{180f}',
        '\u{200b}',
        '\u{200c}',
        '\u{200d}',
        '\u{200e}',
        '\u{200f}',
        '\u{202a}',
        '\u{202b}',
        '\u{202c}',
        '\u{202d}',
        '\u{202e}',
        '\u{2060}',
        '\u{2061}',
        '\u{2062}',
        '\u{2063}',
        '\u{2064}',
        '\u{2065}',
        '\u{2066}',
        '\u{2067}',
        '\u{2068}',
        '\u{2069}',
        '\u{206a}',
        '\u{206f}',
        '\u{2800}',
        '\u{3164}',
        '\u{fe00}',
        '\u{fe0e}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{ffa0}',
        '\u{fff0}',
        '\u{fff8}',
        '\u{fff9}',
        '\u{fffa}',
        '\u{fffb}',
        '\u{13430}',
        '\u{1343f}',
        '\u{1bca0}',
        '\u{1bca3}',
        '\u{1d173}',
        '\u{1d17a}',
        '\u{e0000}',
        '\u{e0001}',
        '\u{e0020}',
        '\u{e007f}',
        '\u{e0100}',
        '\u{e01ef}',
        '\u{e0fff}',
        '\u{e0041}',
    ];

    #[test]
    fn case02_nothing_is_left_of_what_shows_nothing() {
        for c in INVISIBLE {
            assert!(is_invisible(c), "{c:?}");
            for text in [c.to_string(), format!("{c}{c}"), format!(" {c}\u{a0}{c}\u{3000}")] {
                assert_eq!(tidy(&text), "", "{text:?}");
            }
            assert_eq!(tidy(&format!("{c}Ana {c}")), "Ana", "{c:?}");
        }
        for seen in "aé日ก\u{301}\u{600}\u{6dd}\u{1f600}\u{fffd}-'".chars() {
            assert!(!is_invisible(seen), "{seen:?}");
        }
    }

    #[test]
    fn case02_joiners_and_selectors_stay_where_they_are_needed() {
        for kept in [
            "نسیم\u{200c}جهان",
            "ක්\u{200d}ෂ",
            "👨\u{200d}👩\u{200d}👧 and ❤\u{fe0f}\u{200d}🔥!",
            "two ❤\u{fe0f}",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "1\u{fe0f}\u{20e3} floor",
            "葛\u{e0100}城",
            "葛\u{e0100}",
        ] {
            assert_eq!(tidy(kept), kept, "{kept:?}");
        }
    }

    #[test]
    fn case02_other_invisible_characters_inside_go() {
        for (text, tidied) in [
            ("Sch\u{ad}midt", "Schmidt"),
            ("An\u{202e}na\u{202c}", "Anna"),
            ("Jo\u{200b}ao\u{feff} \u{2066}Silva\u{2069}", "Joao Silva"),
            ("e\u{34f}\u{301}", "é"),
            ("a\u{fe0f}b", "ab"),
            ("101\u{fe0f}", "101"),
            ("1\u{fe0f}st", "1st"),
            ("x\u{e0041}y", "xy"),
        ] {
            assert_eq!(tidy(text), tidied, "{text:?}");
        }
    }

    #[test]
    fn white_space_is_kept_at_the_edge_of_a_key() {
        assert_eq!(trim_invisible("\u{feff}A-1\u{200b}"), "A-1");
        assert_eq!(trim_invisible("\u{feff} A-1"), " A-1");
        assert!(has_invisible("a\u{200d}b") && !has_invisible("añb"));
    }
}
