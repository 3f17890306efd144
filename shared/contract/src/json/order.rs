//! The order of an object's members: people read answers, so the members stand as the documentation lists them.

use serde_json::{Map, Value};

/// The object with the members that `names` lists first and in that order, then the others as they stood.
#[must_use]
pub fn in_order(mut object: Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let mut ordered = Map::with_capacity(object.len());
    for name in names {
        if let Some(value) = object.get_mut(*name) {
            ordered.insert((*name).to_owned(), value.take());
        }
    }
    for (name, value) in object {
        ordered.entry(name).or_insert(value);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case21_listed_members_come_first_and_nothing_is_lost() {
        let Value::Object(object) = serde_json::json!({"z": 1, "b": null, "id": 3, "a": [4]}) else {
            unreachable!("the literal is an object")
        };
        let ordered = Value::Object(in_order(object.clone(), &["id", "absent", "a", "b"]));
        assert_eq!(ordered.to_string(), r#"{"id":3,"a":[4],"b":null,"z":1}"#);
        assert_eq!(ordered, Value::Object(object));
    }
}
