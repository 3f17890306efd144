//! Languages by BCP 47.

use oxilangtag::LanguageTag;

/// The longest tag: BCP 47 (RFC 5646, section 4.4.1) asks for room for 35 characters.
const TAG_LEN_MAX: usize = 35;

/// A well-formed tag in the letter case of RFC 5646, section 2.1.1: `pt-br` is `pt-BR`.
pub fn language_tag(text: &str) -> Option<String> {
    if text.len() > TAG_LEN_MAX {
        return None;
    }
    LanguageTag::parse_and_normalize(text)
        .ok()
        .map(LanguageTag::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_normalised_or_refused() {
        for (text, tag) in [("EN", "en"), ("pt-br", "pt-BR"), ("zh-hant-tw", "zh-Hant-TW")] {
            assert_eq!(language_tag(text).as_deref(), Some(tag));
        }
        for text in [
            "",
            "english language",
            "e",
            "pt_BR",
            "en-",
            &format!("en-{}", "abcde-".repeat(9)),
        ] {
            assert_eq!(language_tag(text), None, "{text:?}");
        }
    }
}
