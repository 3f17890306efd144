//! Reads a filter from its JSON, with everything that is wrong at its pointer.

use super::{
    CHOICES_MAX, Condition, DEPTH_MAX, FILTER_BYTES_MAX, FieldError, Operand, Relation, TERMS_MAX, Test,
};
use crate::domain::{body::pointer_to, record_size::json_len};
use contract::Pointer;
use serde_json::{Map, Value};

/// The members of a comparison.
const TERM: [&str; 3] = ["path", "op", "value"];
/// The members of which a condition of conditions has one.
const COMPOSED: [&str; 3] = ["all", "any", "not"];

/// The condition that a filter is.
///
/// # Errors
/// Everything that is wrong, at least one.
pub fn condition(json: &Value) -> Result<Condition, Vec<FieldError>> {
    if json_len(json) > FILTER_BYTES_MAX {
        return Err(vec![FieldError::new(
            "",
            "too_long",
            "a filter has at most 16 KiB",
        )]);
    }
    let mut reader = Reader::default();
    let condition = reader.condition("", json, 1);
    if reader.terms > TERMS_MAX {
        reader.refuse("", "too_many", "a filter has at most 32 comparisons");
    }
    condition
        .filter(|_| reader.errors.is_empty())
        .ok_or(reader.errors)
}

#[derive(Default)]
struct Reader {
    errors: Vec<FieldError>,
    terms: usize,
}

impl Reader {
    fn refuse(&mut self, pointer: impl Into<String>, code: &str, message: &str) {
        self.errors.push(FieldError::new(pointer, code, message));
    }

    /// None where an error was noted.
    fn condition(&mut self, at: &str, value: &Value, depth: usize) -> Option<Condition> {
        if depth > DEPTH_MAX {
            self.refuse(at, "too_deep", "conditions stand at most 8 deep");
            return None;
        }
        let Value::Object(members) = value else {
            self.refuse(at, "wrong_type", "it must be an object");
            return None;
        };
        match COMPOSED.iter().find_map(|name| members.get_key_value(*name)) {
            Some((name, inner)) => {
                self.refuse_others(at, members, &[name], "no other member stands beside it");
                self.composed(name, &pointer_to(at, name), inner, depth + 1)
            }
            None => {
                self.terms += 1;
                self.refuse_others(at, members, &TERM, "there is no such field");
                self.term(at, members)
            }
        }
    }

    fn refuse_others(&mut self, at: &str, members: &Map<String, Value>, known: &[&str], message: &str) {
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            self.refuse(pointer_to(at, name), "unknown_field", message);
        }
    }

    fn composed(&mut self, name: &str, at: &str, inner: &Value, depth: usize) -> Option<Condition> {
        if name == "not" {
            return Some(Condition::Not(Box::new(self.condition(at, inner, depth)?)));
        }
        let Some(items) = inner.as_array().filter(|items| !items.is_empty()) else {
            self.refuse(at, "required", "it must be a list of at least one condition");
            return None;
        };
        let conditions: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.condition(&format!("{at}/{index}"), item, depth))
            .collect();
        let conditions = conditions.into_iter().collect::<Option<_>>()?;
        Some(if name == "all" {
            Condition::All(conditions)
        } else {
            Condition::Any(conditions)
        })
    }

    fn term(&mut self, at: &str, members: &Map<String, Value>) -> Option<Condition> {
        let mut member = |name: &str| {
            let found = members.get(name);
            if found.is_none() {
                self.refuse(pointer_to(at, name), "required", "it is required");
            }
            found
        };
        let (path, op, value) = (member("path"), member("op"), member("value"));
        let path = path.and_then(|path| self.path(&pointer_to(at, "path"), path));
        let op = op.and_then(|op| self.op(&pointer_to(at, "op"), op));
        let test = self.test(&pointer_to(at, "value"), op?, value?);
        Some(Condition::Term {
            path: path?,
            test: test?,
        })
    }

    fn path(&mut self, at: &str, path: &Value) -> Option<Pointer> {
        let pointer = path.as_str().map(str::parse);
        match pointer {
            Some(Ok(pointer)) => return Some(pointer),
            Some(Err(why)) => self.refuse(at, "invalid", why),
            None => self.refuse(at, "wrong_type", "it must be a JSON pointer, such as /total"),
        }
        None
    }

    fn op(&mut self, at: &str, op: &Value) -> Option<Op> {
        let found = match op.as_str() {
            Some("in") => Some(Op::In),
            Some("exists") => Some(Op::Exists),
            Some(relation) => Relation::of(relation).map(Op::Is),
            None => None,
        };
        if found.is_none() {
            let message = "it must be one of =, !=, <, <=, >, >=, in, exists";
            self.refuse(at, "unknown_value", message);
        }
        found
    }

    fn test(&mut self, at: &str, op: Op, value: &Value) -> Option<Test> {
        match op {
            Op::Exists => {
                let expected = value.as_bool();
                if expected.is_none() {
                    self.refuse(at, "wrong_type", "with exists it must be true or false");
                }
                expected.map(Test::Exists)
            }
            Op::In => self.choices(at, value).map(Test::In),
            Op::Is(relation) => {
                let operand = self.operand(at, value)?;
                if !operand.has_order() && !matches!(relation, Relation::Equal | Relation::NotEqual) {
                    self.refuse(at, "wrong_type", "true and false have no order");
                    return None;
                }
                Some(Test::Is(relation, operand))
            }
        }
    }

    fn choices(&mut self, at: &str, value: &Value) -> Option<Vec<Operand>> {
        let Some(items) = value.as_array().filter(|items| !items.is_empty()) else {
            self.refuse(
                at,
                "wrong_type",
                "with in it must be a list of at least one value",
            );
            return None;
        };
        if items.len() > CHOICES_MAX {
            self.refuse(at, "too_many", "it has at most 100 values");
            return None;
        }
        let operands = items.iter().enumerate();
        let operands: Vec<_> = operands
            .map(|(index, item)| self.operand(&format!("{at}/{index}"), item))
            .collect();
        operands.into_iter().collect()
    }

    fn operand(&mut self, at: &str, value: &Value) -> Option<Operand> {
        let operand = Operand::of(value);
        if operand.is_none() {
            let message = "it must be a text, a number, true or false; whether there is a value asks exists";
            self.refuse(at, "wrong_type", message);
        }
        operand
    }
}

#[derive(Clone, Copy)]
enum Op {
    Is(Relation),
    In,
    Exists,
}
