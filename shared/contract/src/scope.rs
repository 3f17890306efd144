//! What of a service's data a caller may see: all of it, or the parts with these names.

use crate::id::is_valid_id;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// Parts that one scope names, at most.
pub const SCOPE_PARTS_MAX: usize = 100;
/// How "all of it" is written.
const ALL: &str = "*";

/// All parts of a service's data, or those with these names; in the services a part is a property. What belongs to no part is
/// seen with all of it alone.
///
/// In JSON it is `"*"` or a list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Scope {
    /// Everything, also what comes to exist later.
    #[default]
    All,
    /// These parts, 1 to [`SCOPE_PARTS_MAX`].
    Parts(BTreeSet<String>),
}

/// Why a value is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be \"*\" or a list of 1 to {SCOPE_PARTS_MAX} ids")]
pub struct InvalidScope;

impl Scope {
    /// A scope of these parts.
    ///
    /// # Errors
    /// When there is none, one that is no id, or more than [`SCOPE_PARTS_MAX`].
    pub fn of<P: Into<String>>(parts: impl IntoIterator<Item = P>) -> Result<Self, InvalidScope> {
        let parts: BTreeSet<String> = parts.into_iter().map(Into::into).collect();
        let valid =
            (1..=SCOPE_PARTS_MAX).contains(&parts.len()) && parts.iter().all(|part| is_valid_id(part));
        valid.then_some(Self::Parts(parts)).ok_or(InvalidScope)
    }

    /// A scope as its [names](Self::names) with commas between them.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn read_names(text: &str) -> Result<Self, InvalidScope> {
        match text {
            ALL => Ok(Self::All),
            list => Self::of(list.split(',')),
        }
    }

    /// The names of its parts; of all of it `*`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (all, parts) = match self {
            Self::All => (Some(ALL), None),
            Self::Parts(parts) => (None, Some(parts)),
        };
        let parts = parts.into_iter().flatten();
        all.into_iter().chain(parts.map(String::as_str))
    }

    /// Whether what belongs to `part` is seen.
    pub fn has(&self, part: &str) -> bool {
        match self {
            Self::All => true,
            Self::Parts(parts) => parts.contains(part),
        }
    }

    /// Whether what belongs to `part`, or to none, is seen.
    pub fn has_optional(&self, part: Option<&str>) -> bool {
        part.map_or(*self == Self::All, |part| self.has(part))
    }

    /// The part of a scope that has one alone.
    pub fn only(&self) -> Option<&str> {
        match self {
            Self::Parts(parts) if parts.len() == 1 => parts.first().map(String::as_str),
            Self::All | Self::Parts(_) => None,
        }
    }

    /// Whether all that `other` sees is seen by this one.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Parts(_), Self::All) => false,
            (Self::Parts(these), Self::Parts(those)) => those.is_subset(these),
        }
    }
}

impl TryFrom<Value> for Scope {
    type Error = InvalidScope;
    fn try_from(value: Value) -> Result<Self, InvalidScope> {
        match value {
            Value::String(text) if text == ALL => Ok(Self::All),
            Value::Array(items) => {
                let names = items.into_iter().map(|item| match item {
                    Value::String(name) => Ok(name),
                    _ => Err(InvalidScope),
                });
                Self::of(names.collect::<Result<Vec<_>, _>>()?)
            }
            _ => Err(InvalidScope),
        }
    }
}

impl From<Scope> for Value {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::All => ALL.into(),
            Scope::Parts(parts) => parts.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope(value: Value) -> Scope {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_scope_sees_its_parts_and_what_has_none_needs_all() {
        let two = scope(json!(["LIS01", "OPO02"]));
        assert!(two.has("LIS01") && !two.has("MAIN") && !two.has_optional(None));
        assert!(two.has_optional(Some("OPO02")) && Scope::All.has_optional(None));
        assert!(Scope::All.covers(&two) && two.covers(&scope(json!(["LIS01"]))));
        assert!(!two.covers(&Scope::All) && !two.covers(&scope(json!(["LIS01", "MAIN"]))));
    }

    #[test]
    fn json_is_a_star_or_a_list_of_ids() {
        for good in [json!("*"), json!(["LIS01"]), json!(["A", "B"])] {
            assert_eq!(serde_json::to_value(scope(good.clone())).unwrap(), good);
        }
        let many: Vec<String> = (0..=SCOPE_PARTS_MAX).map(|part| format!("P{part}")).collect();
        for bad in [
            json!([]),
            json!("LIS01"),
            json!(["*"]),
            json!([""]),
            json!(["a b"]),
            json!([1]),
            json!(null),
            json!(many),
        ] {
            assert!(serde_json::from_value::<Scope>(bad.clone()).is_err(), "{bad}");
        }
    }
}
