//! What is signed, as text with `{id}`, `{timestamp}` and `{body}` in it.

use serde::Deserialize;
use std::str::FromStr;

/// The longest template, in bytes.
const TEMPLATE_LEN_MAX: usize = 256;

/// The parts of what is signed, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    Id,
    Timestamp,
    Body,
}

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("it is longer than {TEMPLATE_LEN_MAX} bytes")]
    TooLong,
    #[error("it holds something else than visible ASCII characters and blanks")]
    Invisible,
    #[error("in braces stands something else than id, timestamp or body")]
    UnknownPart,
    #[error("it must hold {{body}}, once")]
    Body,
    #[error("it names a part twice")]
    Twice,
    /// Otherwise bytes could be moved from one to the other under the same signature.
    #[error("between {{id}} and {{timestamp}} must stand a character that no id holds, such as a dot")]
    Ambiguous,
}

impl Template {
    /// The body alone.
    pub(super) fn body() -> Self {
        Self(vec![Part::Body])
    }

    pub(super) fn holds(&self, part: &Part) -> bool {
        self.0.contains(part)
    }

    /// The bytes that are signed, piece by piece.
    pub(super) fn pieces<'m>(
        &'m self,
        id: &'m [u8],
        timestamp: &'m [u8],
        body: &'m [u8],
    ) -> impl Iterator<Item = &'m [u8]> + Clone {
        self.0.iter().map(move |part| match part {
            Part::Literal(text) => text.as_bytes(),
            Part::Id => id,
            Part::Timestamp => timestamp,
            Part::Body => body,
        })
    }

    fn check(&self) -> Result<(), TemplateError> {
        let count = |wanted: &Part| self.0.iter().filter(|part| *part == wanted).count();
        if count(&Part::Body) != 1 {
            return Err(TemplateError::Body);
        }
        if count(&Part::Id) > 1 || count(&Part::Timestamp) > 1 {
            return Err(TemplateError::Twice);
        }
        let is_id_or_time = |part: &Part| matches!(part, Part::Id | Part::Timestamp);
        let places: Vec<_> = (0..self.0.len())
            .filter(|place| is_id_or_time(&self.0[*place]))
            .collect();
        let [first, second] = places[..] else {
            return Ok(());
        };
        let separates = |part: &Part| match part {
            Part::Literal(text) => text.bytes().any(|byte| !is_of_ids(byte)),
            _ => true,
        };
        if self.0[first + 1..second].iter().any(separates) {
            Ok(())
        } else {
            Err(TemplateError::Ambiguous)
        }
    }
}

/// Digits and letters: of ids, and of times as far as they could be cut.
fn is_of_ids(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-".contains(&byte)
}

impl FromStr for Template {
    type Err = TemplateError;
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_LEN_MAX {
            return Err(TemplateError::TooLong);
        }
        if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(TemplateError::Invisible);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').ok_or(TemplateError::UnknownPart)?;
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(match name {
                "id" => Part::Id,
                "timestamp" => Part::Timestamp,
                "body" => Part::Body,
                _ => return Err(TemplateError::UnknownPart),
            });
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let template = Self(parts);
        template.check()?;
        Ok(template)
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;
    fn try_from(text: String) -> Result<Self, TemplateError> {
        text.parse()
    }
}
