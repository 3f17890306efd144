//! The JSON Schema of an event type's payload: checked for what it may cost when it is saved, compiled, and asked for each event.
//!
//! Who writes a schema decides how much work each event of that type is, so that is bounded: a schema refers to nothing outside of
//! itself and to nothing that it is in, it is counted with all that it refers to, and its patterns are those of a linear engine.

use contract::FieldError;
use jsonschema::{PatternOptions, Validator};
use kit::shape::pointer_to;
use serde_json::Value;
use std::fmt;

/// The longest schema, in bytes of JSON without white space.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Schemas in a schema, those that are referred to counted once for each reference.
pub const SUBSCHEMAS_MAX: usize = 1_000;
/// How deep schemas stand in each other, references included.
pub const SCHEMA_DEPTH_MAX: usize = 64;
/// Patterns of a schema, and encodings of texts, counted in the same way.
pub const PATTERNS_MAX: usize = 32;
/// Values in `enum` and `const` of a schema, those inside of them too, counted in the same way.
pub const ENUMERATED_MAX: usize = 2_000;
/// What checking a payload may cost: its values, times subschemas and the values that it may be compared with.
pub const WORK_MAX: usize = 4_000_000;
/// Bytes of one compiled pattern, and of what it remembers while it matches.
pub const PATTERN_BYTES_MAX: usize = 128 * 1024;
/// What finding out where a payload breaks a schema may cost, counted in the same way; above it the answer does not say where.
const LOCATED_WORK_MAX: usize = 100_000;
/// Estimated bytes of a compiled subschema.
const SUBSCHEMA_BYTES: usize = 2 * 1024;

/// The versions of JSON Schema that are known, as `$schema` names them.
const DRAFTS: [&str; 5] = [
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-04/schema",
];
/// References that are resolved only while a payload is checked: what they cost cannot be counted.
const DYNAMIC: [&str; 2] = ["$dynamicRef", "$recursiveRef"];
/// Names of a schema that change what its references are relative to.
const IDS: [&str; 2] = ["$id", "id"];
/// Keywords whose values are no schemas, whatever they hold.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];
/// Keywords whose value is a schema, or an array of them.
const OF_SCHEMAS: [&str; 18] = [
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "extends",
    "disallow",
];
/// Keywords whose value is an object of schemas.
const OF_NAMED_SCHEMAS: [&str; 5] = [
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "properties",
];
/// Keywords whose value is an object of schemas that are there to be referred to.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// Keywords by which a text is read whole, each by itself.
const OF_TEXTS: [&str; 3] = ["contentEncoding", "contentMediaType", "pattern"];

/// A schema that keeps the rules, compiled.
pub struct PayloadSchema {
    validator: Validator,
    cost: Cost,
}

/// What a schema costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    subschemas: usize,
    patterns: usize,
    enumerated: usize,
}

impl fmt::Debug for PayloadSchema {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PayloadSchema")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

impl PayloadSchema {
    /// Compiles a schema that stands at `pointer`.
    ///
    /// # Errors
    /// The first rule that it breaks, where it does.
    pub fn compile(schema: &Value, pointer: &str) -> Result<Self, FieldError> {
        let cost = Walk {
            root: schema,
            base: pointer,
            cost: Cost::default(),
            references: Vec::new(),
        }
        .of_root()?;
        let patterns = PatternOptions::regex()
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX);
        let built = jsonschema::options()
            .with_pattern_options(patterns)
            // Texts of a payload are compiled as patterns nowhere.
            .with_format("regex", |_: &str| true)
            .should_validate_formats(true)
            .offline()
            .build(schema);
        let validator = built.map_err(|error| {
            let at = format!("{pointer}{}", error.instance_path());
            FieldError::new(at, "invalid_schema", "it is no JSON Schema that is known here")
        })?;
        Ok(Self { validator, cost })
    }

    /// Checks a payload that stands at `pointer`.
    ///
    /// # Errors
    /// The first thing that is against the schema. Never a value of the payload.
    pub fn check(&self, payload: &Value, pointer: &str) -> Result<(), FieldError> {
        let work = values_of(payload).saturating_mul(self.cost.subschemas + self.cost.enumerated);
        if work > WORK_MAX {
            let message =
                "it holds more values than are checked by so many rules as the schema of its type has";
            return Err(FieldError::new(pointer, "too_complex", message));
        }
        if self.validator.is_valid(payload) {
            return Ok(());
        }
        // The library collects what breaks each branch of a choice before it says that all of them are broken.
        let is_cheap = work <= LOCATED_WORK_MAX;
        let located = is_cheap.then(|| self.validator.validate(payload).err()).flatten();
        let (at, rule) = located.map_or_else(Default::default, |error| {
            (error.instance_path().to_string(), error.schema_path().to_string())
        });
        let message = match rule.as_str() {
            "" => "it is against the schema of its type".to_owned(),
            rule => format!("it is against {rule} of the schema of its type"),
        };
        Err(FieldError::new(
            format!("{pointer}{at}"),
            "against_schema",
            message,
        ))
    }

    /// Estimated bytes in memory.
    pub fn bytes(&self) -> usize {
        self.cost.subschemas * SUBSCHEMA_BYTES + self.cost.patterns * 2 * PATTERN_BYTES_MAX
    }
}

fn values_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(values_of).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(values_of).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

/// A way through a schema and all that it refers to.
struct Walk<'s> {
    root: &'s Value,
    base: &'s str,
    cost: Cost,
    /// The references that lead to where it is.
    references: Vec<&'s str>,
}

impl<'s> Walk<'s> {
    fn of_root(mut self) -> Result<Cost, FieldError> {
        let Value::Object(members) = self.root else {
            return Err(FieldError::new(self.base, "wrong_type", "a schema is an object"));
        };
        let bytes = self.root.to_string();
        if bytes.len() > SCHEMA_BYTES_MAX {
            let message = format!("a schema may have {SCHEMA_BYTES_MAX} bytes");
            return Err(FieldError::new(self.base, "too_long", message));
        }
        if let Some(draft) = members.get("$schema") {
            let named = draft.as_str().map(|name| name.trim_end_matches('#'));
            if !named.is_some_and(|name| DRAFTS.contains(&name)) {
                return Err(self.error(
                    "/$schema",
                    "unknown_value",
                    "it names no draft that is known here",
                ));
            }
        }
        self.refuse_nested_ids(self.root, "", false)?;
        self.schema(self.root, "", 0)?;
        Ok(self.cost)
    }

    fn error(&self, at: &str, code: &str, message: &str) -> FieldError {
        FieldError::new(format!("{}{at}", self.base), code, message)
    }

    /// A part with an id is a schema of its own, in which a pointer leads to another place: also where nothing refers to it.
    fn refuse_nested_ids(&self, value: &Value, at: &str, names_are_free: bool) -> Result<(), FieldError> {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let (below, keyword) = (pointer_to(at, name), (!names_are_free).then_some(name.as_str()));
                    let is_any_of = |keywords: &[&str]| keyword.is_some_and(|name| keywords.contains(&name));
                    if is_any_of(&IDS) && value.is_string() && !at.is_empty() {
                        return Err(self.error(&below, "nested_id", "only the whole schema may have an id"));
                    }
                    if !is_any_of(&DATA) {
                        let names_are_free = is_any_of(&OF_NAMED_SCHEMAS) || is_any_of(&DEFINITIONS);
                        self.refuse_nested_ids(value, &below, names_are_free)?;
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.refuse_nested_ids(item, &format!("{at}/{index}"), false)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(())
    }

    fn schema(&mut self, schema: &'s Value, at: &str, depth: usize) -> Result<(), FieldError> {
        self.cost.subschemas += 1;
        if self.cost.subschemas > SUBSCHEMAS_MAX {
            let message = format!(
                "a schema may hold {SUBSCHEMAS_MAX} schemas, those that it refers to counted for each reference"
            );
            return Err(self.error("", "too_complex", &message));
        }
        if depth > SCHEMA_DEPTH_MAX {
            let message = format!("schemas may stand {SCHEMA_DEPTH_MAX} deep, with what they refer to");
            return Err(self.error(at, "too_complex", &message));
        }
        let Value::Object(members) = schema else {
            return Ok(());
        };
        for (name, value) in members {
            let below = || pointer_to(at, name);
            match name.as_str() {
                "$ref" => self.reference(value, &below(), depth)?,
                name if DYNAMIC.contains(&name) => {
                    return Err(self.error(
                        &below(),
                        "dynamic_reference",
                        "only $ref refers to a schema here",
                    ));
                }
                name if OF_TEXTS.contains(&name) => self.pattern(&below())?,
                "enum" => self.enumeration(value.as_array().map_or(&[], Vec::as_slice), &below())?,
                "const" => self.enumeration(std::slice::from_ref(value), &below())?,
                name if OF_NAMED_SCHEMAS.contains(&name) => {
                    self.named(name, value, &below(), depth)?;
                }
                name if OF_SCHEMAS.contains(&name) => match value {
                    Value::Array(items) => {
                        for (index, item) in items.iter().enumerate() {
                            self.schema(item, &format!("{}/{index}", below()), depth + 1)?;
                        }
                    }
                    one => self.schema(one, &below(), depth + 1)?,
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn named(&mut self, keyword: &str, value: &'s Value, at: &str, depth: usize) -> Result<(), FieldError> {
        for (name, schema) in value.as_object().into_iter().flatten() {
            let below = pointer_to(at, name);
            if keyword == "patternProperties" {
                self.pattern(&below)?;
            }
            self.schema(schema, &below, depth + 1)?;
        }
        Ok(())
    }

    fn enumeration(&mut self, values: &[Value], at: &str) -> Result<(), FieldError> {
        self.cost.enumerated += values.iter().map(values_of).sum::<usize>();
        if self.cost.enumerated > ENUMERATED_MAX {
            let message = format!("enum and const of a schema may have {ENUMERATED_MAX} values");
            return Err(self.error(at, "too_complex", &message));
        }
        Ok(())
    }

    fn pattern(&mut self, at: &str) -> Result<(), FieldError> {
        self.cost.patterns += 1;
        if self.cost.patterns > PATTERNS_MAX {
            let message = format!("a schema may have {PATTERNS_MAX} patterns");
            return Err(self.error(at, "too_complex", &message));
        }
        Ok(())
    }

    /// Goes where a reference leads to.
    fn reference(&mut self, value: &'s Value, at: &str, depth: usize) -> Result<(), FieldError> {
        let target = value.as_str().unwrap_or_default();
        let Some(pointer) = target.strip_prefix('#') else {
            return Err(self.error(
                at,
                "remote_reference",
                "a schema refers to nothing outside of itself",
            ));
        };
        if self.references.contains(&target) || pointer.is_empty() {
            return Err(self.error(
                at,
                "recursive_reference",
                "a schema does not refer to what it is in",
            ));
        }
        // An escaped name is one that another reader may take for another place.
        let found = (!pointer.contains('%'))
            .then(|| self.root.pointer(pointer))
            .flatten();
        let Some(found) = found else {
            return Err(self.error(at, "unknown_reference", "there is nothing at this JSON pointer"));
        };
        self.references.push(target);
        let walked = self.schema(found, pointer, depth + 1);
        self.references.pop();
        walked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn refused(schema: &Value) -> (String, String) {
        let error = PayloadSchema::compile(schema, "/schema").unwrap_err();
        (error.pointer, error.code)
    }

    fn is_refused(schema: &Value, pointer: &str, code: &str) {
        assert_eq!(
            refused(schema),
            (pointer.to_owned(), code.to_owned()),
            "{schema:.200}"
        );
    }

    #[test]
    fn what_a_payload_breaks_is_named_without_its_values() {
        let schema = json!({"type": "object", "required": ["total"], "properties": {
            "total": {"type": "string", "pattern": "^[0-9]+$"}, "mail": {"type": "string", "format": "email"},
            "stay": {"$ref": "#/$defs/stay"}},
            "$defs": {"stay": {"type": "object", "properties": {"nights": {"type": "integer", "minimum": 1}}}}});
        let compiled = PayloadSchema::compile(&schema, "/schema").unwrap();
        compiled
            .check(
                &json!({"total": "12", "mail": "a@b.c", "stay": {"nights": 2}}),
                "/payload",
            )
            .unwrap();
        for (payload, pointer, rule) in [
            (json!({}), "/payload", "/required"),
            (json!({"total": 12}), "/payload/total", "/properties/total/type"),
            (
                json!({"total": "secret"}),
                "/payload/total",
                "/properties/total/pattern",
            ),
            (
                json!({"total": "1", "mail": "secret"}),
                "/payload/mail",
                "/properties/mail/format",
            ),
            (
                json!({"total": "1", "stay": {"nights": 0}}),
                "/payload/stay/nights",
                "minimum",
            ),
        ] {
            let error = compiled.check(&payload, "/payload").unwrap_err();
            assert_eq!(
                (error.pointer.as_str(), error.code.as_str()),
                (pointer, "against_schema"),
                "{payload}"
            );
            assert!(
                error.message.contains(rule) && !error.message.contains("secret"),
                "{}",
                error.message
            );
        }
    }

    #[test]
    fn a_schema_refers_to_nothing_outside_and_to_nothing_that_it_is_in() {
        let remote = "remote_reference";
        for target in [
            "https://example.com/x.json",
            "other.json#/a",
            "http://json-schema.org/draft-07/schema#",
        ] {
            is_refused(
                &json!({"properties": {"a": {"$ref": target}}}),
                "/schema/properties/a/$ref",
                remote,
            );
        }
        is_refused(
            &json!({"items": {"$ref": "#"}}),
            "/schema/items/$ref",
            "recursive_reference",
        );
        let both = json!({"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"items": {"$ref": "#/$defs/a"}}}});
        is_refused(&both, "/schema/$defs/b/items/$ref", "recursive_reference");
        is_refused(
            &json!({"$ref": "#/$defs/none"}),
            "/schema/$ref",
            "unknown_reference",
        );
        is_refused(&json!({"$ref": "#anchor"}), "/schema/$ref", "unknown_reference");
        is_refused(
            &json!({"$dynamicRef": "#a"}),
            "/schema/$dynamicRef",
            "dynamic_reference",
        );
        is_refused(&json!({"items": {"$id": "x"}}), "/schema/items/$id", "nested_id");
        is_refused(
            &json!({"$schema": "https://example.com/s"}),
            "/schema/$schema",
            "unknown_value",
        );
        is_refused(&json!({"type": "colour"}), "/schema/type", "invalid_schema");
        is_refused(&json!([]), "/schema", "wrong_type");
        // One that nothing refers to would still take the place of the whole, whose name it has.
        let taken = json!({"$id": "https://example.com/a", "$defs": {"x": {"not": {"$id": "https://example.com/a"}}}});
        is_refused(&taken, "/schema/$defs/x/not/$id", "nested_id");
        let hidden =
            json!({"$id": "https://example.com/a", "properties": {"enum": {"$id": "https://example.com/a"}}});
        is_refused(&hidden, "/schema/properties/enum/$id", "nested_id");
        PayloadSchema::compile(
            &json!({"$id": "https://example.com/a", "enum": [{"id": "x"}]}),
            "",
        )
        .unwrap();
        // A property may have any name.
        PayloadSchema::compile(
            &json!({"properties": {"$ref": {"type": "string"}, "id": {"const": "x"}}}),
            "",
        )
        .unwrap();
    }

    #[test]
    fn what_a_schema_costs_is_bounded_with_all_that_it_refers_to() {
        // Each doubles what the next one costs.
        let mut defs = Map::new();
        for nth in 0..15 {
            let next = json!({"$ref": format!("#/$defs/d{}", nth + 1)});
            defs.insert(format!("d{nth}"), json!({"allOf": [next, next]}));
        }
        defs.insert("d15".to_owned(), json!({"type": "string"}));
        is_refused(
            &json!({"$ref": "#/$defs/d0", "$defs": defs}),
            "/schema",
            "too_complex",
        );
        let wide = |count: usize| {
            let properties: Map<String, Value> =
                (0..count).map(|nth| (format!("p{nth}"), json!(true))).collect();
            json!({"properties": properties})
        };
        PayloadSchema::compile(&wide(SUBSCHEMAS_MAX - 1), "/schema").unwrap();
        is_refused(&wide(SUBSCHEMAS_MAX), "/schema", "too_complex");
        let patterns = |count: usize| json!({"allOf": vec![json!({"pattern": "^a"}); count]});
        PayloadSchema::compile(&patterns(PATTERNS_MAX), "/schema").unwrap();
        assert_eq!(refused(&patterns(PATTERNS_MAX + 1)).1, "too_complex");
        is_refused(
            &json!({"pattern": "(\\w{500}){500}"}),
            "/schema/pattern",
            "invalid_schema",
        );
        // A look-ahead needs an engine that goes back.
        is_refused(
            &json!({"pattern": "^(?=a)(a+)+$"}),
            "/schema/pattern",
            "invalid_schema",
        );
        let enumeration = |count: usize| json!({"items": {"enum": (0..count).collect::<Vec<_>>()}});
        PayloadSchema::compile(&enumeration(ENUMERATED_MAX), "/schema").unwrap();
        is_refused(
            &enumeration(ENUMERATED_MAX + 1),
            "/schema/items/enum",
            "too_complex",
        );
        // What is inside of one is compared too.
        let inside = |count: usize| json!({"const": (1..count).collect::<Vec<_>>()});
        PayloadSchema::compile(&inside(ENUMERATED_MAX), "/schema").unwrap();
        is_refused(&inside(ENUMERATED_MAX + 1), "/schema/const", "too_complex");
        let long = json!({"description": "x".repeat(SCHEMA_BYTES_MAX)});
        is_refused(&long, "/schema", "too_long");
    }

    #[test]
    fn a_payload_that_is_wrong_in_many_places_costs_no_more_than_one() {
        let branches = vec![json!({"type": "string"}); 200];
        let schema =
            json!({"properties": {"x": {"anyOf": [{"items": {"allOf": branches}}, {"type": "string"}]}}});
        let compiled = PayloadSchema::compile(&schema, "/schema").unwrap();
        let error = compiled
            .check(&json!({"x": vec![1; 10_000]}), "/payload")
            .unwrap_err();
        assert_eq!(
            (error.pointer.as_str(), error.code.as_str()),
            ("/payload", "against_schema")
        );
    }

    #[test]
    fn what_checking_a_payload_costs_is_bounded() {
        let rules = vec![json!({"uniqueItems": true}); SUBSCHEMAS_MAX - 2];
        let schema = json!({"properties": {"x": {"allOf": rules}}});
        let compiled = PayloadSchema::compile(&schema, "/schema").unwrap();
        let values = WORK_MAX / SUBSCHEMAS_MAX;
        let payload = |count: usize| json!({"x": (0..count).collect::<Vec<_>>()});
        compiled.check(&payload(values - 2), "/payload").unwrap();
        let error = compiled.check(&payload(values), "/payload").unwrap_err();
        assert_eq!(
            (error.pointer.as_str(), error.code.as_str()),
            ("/payload", "too_complex")
        );
    }

    #[test]
    fn values_that_a_payload_is_compared_with_cost_as_schemas_do() {
        let names: Vec<String> = (0..ENUMERATED_MAX - 2).map(|number| number.to_string()).collect();
        let schema = json!({"properties": {"x": {"items": {"enum": names}}}});
        let compiled = PayloadSchema::compile(&schema, "/schema").unwrap();
        let payload = |count: usize| json!({"x": vec!["7"; count]});
        let values = WORK_MAX / (ENUMERATED_MAX + 1);
        compiled.check(&payload(values - 2), "/payload").unwrap();
        let error = compiled.check(&payload(values), "/payload").unwrap_err();
        assert_eq!(error.code, "too_complex");
    }

    #[test]
    fn a_text_of_a_payload_is_never_compiled_as_a_pattern() {
        let compiled =
            PayloadSchema::compile(&json!({"properties": {"x": {"format": "regex"}}}), "").unwrap();
        compiled.check(&json!({"x": "("}), "").unwrap();
    }
}
