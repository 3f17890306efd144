//! Detects `whsec_` secrets that were damaged when they were copied from a page to a variable.
//!
//! It does not decide that a text is a secret, only that it cannot be meant as a plain one.

use super::{SECRETS_MAX, STANDARD_BYTES, STANDARD_PREFIX, Secret, SecretError};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The prefix without its underscore.
const WORD: &str = "whsec";
/// The prefixes of Standard Webhooks for private and public keys, without their underscores.
const ASYMMETRIC: [&str; 2] = ["whsk", "whpk"];
/// What may stand for the underscore.
const SEPARATORS: [char; 5] = ['_', '-', ':', '.', '='];
/// Programs write plain quotes, word processors the others.
const QUOTES: [char; 11] = [
    '"', '\'', '`', '\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{201a}', '\u{ab}',
    '\u{bb}',
];

/// What is wrong with one secret, if something is.
pub(super) fn of(text: &str) -> Option<SecretError> {
    if text.contains(is_invisible) {
        return Some(SecretError::Invisible);
    }
    let bare = text.trim_matches(QUOTES);
    if text.len() > 1 && bare.len() < text.len() && text.starts_with(QUOTES) && text.ends_with(QUOTES) {
        return Some(SecretError::Quoted);
    }
    if text.starts_with(STANDARD_PREFIX) {
        return None;
    }
    let plain = folded(bare);
    let head = plain.split(SEPARATORS).next().unwrap_or_default();
    let has_separator = head.len() < plain.len();
    if has_separator && ASYMMETRIC.contains(&head) {
        Some(SecretError::Asymmetric)
    } else if plain.starts_with("v1,") && plain[3..].trim_start_matches(',').starts_with(WORD) {
        Some(SecretError::SignaturePrefix)
    } else if plain.contains(WORD) || has_separator && is_nearly(head, WORD) {
        Some(SecretError::Prefix)
    } else {
        None
    }
}

/// What is wrong with a list, if a `whsec_` secret in it shows that something is.
pub(super) fn of_list(items: &[&str]) -> Option<SecretError> {
    // A list that is refused for its length anyway is not looked through.
    let items = items.get(..items.len().min(SECRETS_MAX + 1))?;
    let is_standard = |item: &&str| folded(item).contains(WORD);
    if !items.iter().any(is_standard) {
        return None;
    }
    if let Some(damage) = items.iter().find_map(|item| of(item)) {
        return Some(damage);
    }
    if items.windows(2).any(|pair| is_one(pair[0], pair[1])) {
        return Some(SecretError::Broken);
    }
    let refused = |item: &&str| item.parse::<Secret>() == Err(SecretError::PlainLength);
    items.iter().any(refused).then_some(SecretError::Beside)
}

/// Whether the second is the rest of the first: together they are the base64 of one key.
fn is_one(first: &str, second: &str) -> bool {
    let Some(encoded) = first.strip_prefix(STANDARD_PREFIX) else {
        return false;
    };
    let key = STANDARD.decode([encoded, second].concat());
    key.is_ok_and(|key| STANDARD_BYTES.contains(&key.len()))
}

/// In lower case, with full-width letters as plain ones.
fn folded(text: &str) -> String {
    let plain = |character: char| match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        other => other,
    };
    text.chars().map(plain).collect::<String>().to_lowercase()
}

/// Whether one letter more, fewer or other, or two neighbours exchanged, make the word.
fn is_nearly(text: &str, word: &str) -> bool {
    let (text, word): (Vec<char>, Vec<char>) = (text.chars().collect(), word.chars().collect());
    if text.len().abs_diff(word.len()) > 1 {
        return false;
    }
    let ahead = text
        .iter()
        .zip(&word)
        .take_while(|(one, other)| one == other)
        .count();
    let (text, word) = (&text[ahead..], &word[ahead..]);
    match (text, word) {
        ([a, b, text @ ..], [c, d, word @ ..]) if a == d && b == c && text == word => true,
        ([_, text @ ..], [_, word @ ..]) if text == word => true,
        ([_, rest @ ..], word) if rest == word => true,
        (text, [_, rest @ ..]) if text == rest => true,
        (text, word) => text == word,
    }
}

/// Controls, and what has no shape of its own: zero-width and joining characters, marks of direction, the soft hyphen,
/// the byte order mark, fillers, variation selectors and tags.
pub(super) fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}
