//! Removes the notation of a telephone number: what remains are digits, country code first.

use super::PhoneError;
use crate::text::is_invisible;
use icu_properties::{CodePointMapData, props::GeneralCategory};
use unicode_normalization::UnicodeNormalization;

/// The longest text that is read, in bytes; RFC 3966 has parameters of any length.
const TEXT_LEN_MAX: usize = 200;

/// The scheme of RFC 3966.
const SCHEME: &str = "tel:";

/// Words that an extension is written by, in small letters, dots left out.
const EXTENSION_WORDS: [&str; 34] = [
    "x",
    "ext",
    "extn",
    "extension",
    "extensión",
    "extensão",
    "extensao",
    "xtn",
    "int",
    "interno",
    "interne",
    "anexo",
    "ramal",
    "poste",
    "dw",
    "durchwahl",
    "nst",
    "nebenstelle",
    "app",
    "apparat",
    "toestel",
    "tst",
    "lokalnummer",
    "ankn",
    "anknytning",
    "alanumero",
    "wew",
    "wewn",
    "klapka",
    "linka",
    "dahili",
    "доб",
    "добавочный",
    "вн",
];
/// Words that stand before the digits of an extension without a blank, in scripts that have none.
const EXTENSION_SIGNS: [&str; 6] = ["内線", "分机", "分機", "转", "轉", "내선"];

/// A number as digits.
pub struct Written {
    /// All of them, from the country code on.
    pub digits: String,
    /// The same without a zero that stood in parentheses, if one did.
    pub without_zero: Option<String>,
    /// Whether an extension followed.
    pub has_extension: bool,
}

impl Written {
    /// Reads the digits and the characters before and between them.
    pub fn read(text: &str) -> Result<Self, PhoneError> {
        if text.len() > TEXT_LEN_MAX {
            return Err(PhoneError::NotANumber);
        }
        let plain: String = text
            .nfkc()
            .filter(|c| !is_invisible(*c))
            .flat_map(char::to_lowercase)
            .map(plain)
            .collect();
        let plain = plain.trim();
        let plain = plain.strip_prefix(SCHEME).unwrap_or(plain);
        let (number, parameters) = plain.split_once(';').unwrap_or((plain, ""));
        let (number, behind) = number.split_at(number.find(|c| !is_of_number(c)).unwrap_or(number.len()));
        let parameters = Parameters::read(parameters)?;
        if !behind.is_empty() && !is_extension(behind) {
            return Err(PhoneError::NotANumber);
        }
        let mut written = international(number, parameters.context)?;
        written.has_extension = !behind.is_empty() || parameters.has_extension;
        Ok(written)
    }
}

/// Parameters of RFC 3966.
#[derive(Default)]
struct Parameters<'t> {
    /// The digits of a `phone-context` that is a number.
    context: Option<&'t str>,
    has_extension: bool,
}

impl<'t> Parameters<'t> {
    fn read(text: &'t str) -> Result<Self, PhoneError> {
        let mut parameters = Self::default();
        // Other parameters concern only the networks in between.
        for parameter in text.split(';').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("ext" | "isub", _)) => parameters.has_extension = true,
                Some(("phone-context", context)) => parameters.context = context.strip_prefix('+'),
                Some(_) => {}
                // A telephone reads a semicolon and digits as a pause and an extension.
                None if parameter.chars().all(is_of_number) || is_extension(parameter) => {
                    parameters.has_extension = true;
                }
                None if parameter.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => {}
                None => return Err(PhoneError::NotANumber),
            }
        }
        Ok(parameters)
    }
}

/// The digits of a number that says its country: by `+`, by `00`, or by its context.
fn international(number: &str, context: Option<&str>) -> Result<Written, PhoneError> {
    let number = number.trim_start_matches(|c| is_separator(c) || is_bracket(c));
    let (after_plus, had_plus) = match number.strip_prefix('+') {
        Some(rest) => (rest, true),
        None => (number, false),
    };
    if after_plus.contains('+') {
        return Err(PhoneError::NotANumber);
    }
    let before = if had_plus { "" } else { context.unwrap_or("") };
    let digits = digits_of(before) + &digits_of(after_plus);
    // No country code begins with 0: a prefix of international calls stands there, after a plus by mistake.
    let prefixed = digits.strip_prefix("00");
    let known = had_plus || prefixed.is_some() || !before.is_empty();
    if !known {
        return Err(PhoneError::NotANumber);
    }
    let dialled = prefixed.unwrap_or(&digits).to_owned();
    let without_zero = without_zero(after_plus).map(|rest| {
        let digits = digits_of(before) + &rest;
        digits.strip_prefix("00").unwrap_or(&digits).to_owned()
    });
    Ok(Written {
        digits: dialled,
        without_zero,
        has_extension: false,
    })
}

/// The digits but a zero that stands alone in parentheses behind others.
fn without_zero(number: &str) -> Option<String> {
    let (open, close) = number
        .match_indices(['(', '['])
        .filter_map(|(open, _)| Some((open, open + number[open..].find([')', ']'])?)))
        .find(|(open, close)| digits_of(&number[*open..*close]) == "0")?;
    let before = digits_of(&number[..open]);
    (!before.is_empty()).then(|| before + &digits_of(&number[close..]))
}

fn digits_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Whether what stands behind a number is an extension: a word or sign for it, and digits.
fn is_extension(behind: &str) -> bool {
    let first_digit = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
    let (marker, digits) = behind.split_at(first_digit);
    let has_digits = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| is_of_number(c) || c == '#');
    let marker: String = marker
        .chars()
        .filter(|c| !matches!(c, '.' | ':' | '=') && !is_separator(*c) && !is_bracket(*c))
        .collect();
    let is_pause = !marker.is_empty()
        && marker
            .chars()
            .all(|c| matches!(c, '#' | ',' | '*' | 'p' | 'w' | '~'));
    let word = marker.trim_start_matches([',', ';', '#']).trim_end_matches('#');
    let is_word = EXTENSION_WORDS.contains(&word);
    has_digits && (is_pause || is_word || EXTENSION_SIGNS.contains(&marker.as_str()))
}

/// The character that it stands for: a digit of any script, a dash of any length, any blank.
fn plain(c: char) -> char {
    match c {
        _ if c.is_ascii() => c,
        // The minus, and the long vowel sign that is taken for a dash in Japan.
        '\u{2212}' | '\u{30fc}' => '-',
        _ if c.is_whitespace() => ' ',
        _ => match CodePointMapData::<GeneralCategory>::new().get(c) {
            GeneralCategory::DashPunctuation => '-',
            GeneralCategory::DecimalNumber => digit(c),
            _ => c,
        },
    }
}

/// The digits of a script stand in a row from its zero on, and rows of several scripts by tens behind each other.
fn digit(c: char) -> char {
    let is_digit =
        |code: u32| CodePointMapData::<GeneralCategory>::new().get32(code) == GeneralCategory::DecimalNumber;
    let before = (1..).take_while(|back| is_digit(u32::from(c) - back)).count();
    char::from_digit(u32::try_from(before % 10).unwrap_or(0), 10).unwrap_or(c)
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || c == '+' || is_separator(c) || is_bracket(c)
}

fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '-' | '.' | '/' | '·' | '•' | '_')
}

fn is_bracket(c: char) -> bool {
    matches!(c, '(' | ')' | '[' | ']')
}
