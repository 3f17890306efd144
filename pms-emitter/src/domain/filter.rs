//! Which events an endpoint gets by what stands in their payloads: `{"all": [{"path": "/total", "op": ">=", "value": "100"}]}`.
//!
//! A filter is checked once, when it is saved, and kept as the JSON that it is. The fan-out asks it for each event whose type and
//! property the endpoint is subscribed to (see [`subscription`](super::subscription)). It reads nothing but the payload, so what
//! it says of an event never changes. The rules stand in docs/filters.md.

mod decimal;
mod operand;
mod read;

use contract::{FieldError, Pointer};
use operand::{Compared, Operand};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cmp::Ordering;

/// How deep conditions may stand inside each other; one comparison alone is 1.
pub const DEPTH_MAX: usize = 8;
/// The most comparisons in one filter.
pub const TERMS_MAX: usize = 32;
/// The most values of one `in`.
pub const CHOICES_MAX: usize = 100;
/// The most bytes of a filter as JSON.
pub const FILTER_BYTES_MAX: usize = 16 * 1024;

/// A filter that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Filter {
    json: Value,
    condition: Condition,
}

/// What is stored is no filter, or none that is known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no filter")]
pub struct Unreadable;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    /// Every one holds.
    All(Vec<Self>),
    /// At least one holds.
    Any(Vec<Self>),
    Not(Box<Self>),
    Term {
        path: Pointer,
        test: Test,
    },
}

/// What is asked of the value at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Is(Relation, Operand),
    In(Vec<Operand>),
    Exists(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// Reads a filter as a client sends it, or as [`to_json`](Self::to_json) gave it.
    ///
    /// # Errors
    /// Everything that is wrong with it; the pointers begin at the filter.
    pub fn parse(json: &Value) -> Result<Self, Vec<FieldError>> {
        let condition = read::condition(json)?;
        Ok(Self {
            json: json.clone(),
            condition,
        })
    }

    /// The filter as it was sent; its text is what is stored.
    pub fn to_json(&self) -> &Value {
        &self.json
    }

    /// Whether an event with this payload passes.
    pub fn matches(&self, payload: &Value) -> bool {
        self.condition.holds(payload)
    }
}

impl TryFrom<Value> for Filter {
    type Error = Unreadable;
    fn try_from(json: Value) -> Result<Self, Unreadable> {
        Self::parse(&json).map_err(|_| Unreadable)
    }
}

impl From<Filter> for Value {
    fn from(filter: Filter) -> Self {
        filter.json
    }
}

impl Condition {
    fn holds(&self, payload: &Value) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(payload)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(payload)),
            Self::Not(condition) => !condition.holds(payload),
            Self::Term { path, test } => test.holds(path.find(payload)),
        }
    }
}

impl Test {
    /// Null stands where a value is missing, so it is the same as nothing.
    fn holds(&self, found: Option<&Value>) -> bool {
        let found = found.filter(|value| !value.is_null());
        match (self, found) {
            (Self::Exists(expected), found) => found.is_some() == *expected,
            (_, None) => false,
            (Self::Is(relation, operand), Some(value)) => relation.holds(operand.compare(value)),
            (Self::In(operands), Some(value)) => operands
                .iter()
                .any(|operand| Relation::Equal.holds(operand.compare(value))),
        }
    }
}

impl Relation {
    fn of(op: &str) -> Option<Self> {
        Some(match op {
            "=" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// Whether it holds between the value that was found and the operand.
    fn holds(self, compared: Compared) -> bool {
        match (self, compared) {
            // Lists and objects are no values to compare with.
            (_, Compared::Never) => false,
            (relation, Compared::OtherKind) => relation == Self::NotEqual,
            (Self::Equal, Compared::As(order)) => order == Ordering::Equal,
            (Self::NotEqual, Compared::As(order)) => order != Ordering::Equal,
            (Self::Less, Compared::As(order)) => order == Ordering::Less,
            (Self::LessOrEqual, Compared::As(order)) => order != Ordering::Greater,
            (Self::Greater, Compared::As(order)) => order == Ordering::Greater,
            (Self::GreaterOrEqual, Compared::As(order)) => order != Ordering::Less,
        }
    }
}

#[cfg(test)]
mod tests;
