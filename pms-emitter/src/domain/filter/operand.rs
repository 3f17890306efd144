//! What a value of a payload is compared with.

use super::decimal::Decimal;
use serde_json::Value;
use std::cmp::Ordering;

/// A value of a filter, of the kind that it is compared as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A number, or a text that is a decimal.
    Decimal(Decimal),
    /// Any other text. Texts have the order of their characters' code points, which is that of dates as well.
    Text(String),
    Truth(bool),
}

/// How a value of a payload stands to an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    As(Ordering),
    /// A decimal beside a text, for example: they are not equal, and have no order.
    OtherKind,
    /// A list or an object.
    Never,
}

impl Operand {
    /// None for null, a list and an object.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Decimal::of(number).map(Self::Decimal),
            Value::String(text) => Some(match Decimal::parse(text) {
                Some(decimal) => Self::Decimal(decimal),
                None => Self::Text(text.clone()),
            }),
            Value::Bool(truth) => Some(Self::Truth(*truth)),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// How `found` stands to it: less, equal or greater.
    pub fn compare(&self, found: &Value) -> Compared {
        match (self, found) {
            (_, Value::Null | Value::Array(_) | Value::Object(_)) => Compared::Never,
            (Self::Decimal(operand), Value::Number(number)) => {
                Decimal::of(number).map_or(Compared::OtherKind, |found| Compared::As(found.cmp(operand)))
            }
            (Self::Decimal(operand), Value::String(text)) => {
                Decimal::parse(text).map_or(Compared::OtherKind, |found| Compared::As(found.cmp(operand)))
            }
            (Self::Text(operand), Value::String(text)) if Decimal::parse(text).is_none() => {
                Compared::As(text.as_str().cmp(operand))
            }
            (Self::Truth(operand), Value::Bool(truth)) => Compared::As(truth.cmp(operand)),
            _ => Compared::OtherKind,
        }
    }

    /// Whether one can be less than another.
    pub fn has_order(&self) -> bool {
        !matches!(self, Self::Truth(_))
    }
}
