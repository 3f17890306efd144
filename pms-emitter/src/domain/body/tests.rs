use super::*;
use serde_json::json;

#[derive(Debug, serde::Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Outer {
    #[serde(default, deserialize_with = "text")]
    #[validate(length(max = 3), custom(function = one_line))]
    name: Option<String>,
    #[serde(default)]
    #[validate(nested, length(max = 2))]
    items: Vec<Inner>,
}

#[derive(Debug, serde::Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Inner {
    #[serde(deserialize_with = "required_text")]
    #[validate(length(max = 3), custom(function = filled))]
    code: String,
}

fn errors(value: &Value) -> Vec<(String, String)> {
    read::<Outer>(value)
        .unwrap_err()
        .into_iter()
        .map(|error| (error.pointer, error.code))
        .collect()
}

#[test]
fn every_broken_rule_has_its_pointer_and_code() {
    let long = json!({"name": "four", "items": [{"code": "ok"}, {"code": " "}]});
    let expected = [("/items/1/code", "required"), ("/name", "length")];
    assert_eq!(errors(&long), expected.map(|(p, c)| (p.to_owned(), c.to_owned())));
    for (body, pointer, code) in [
        (json!({"name": 1}), "/name", "wrong_type"),
        (json!({"nam/e": 1}), "/nam~1e", "unknown_field"),
        (
            json!({"items": [{"code": "a", "x": 1}]}),
            "/items/0/x",
            "unknown_field",
        ),
        (json!({"items": [{}]}), "/items/0/code", "required"),
        (json!({"items": {}}), "/items", "wrong_type"),
        (json!({"name": "a\u{7}b"}), "/name", "control_character"),
        (json!([]), "", "wrong_type"),
        (json!({"items": [{"code": "a"}, ["b"]]}), "/items/1", "wrong_type"),
    ] {
        let found = errors(&body);
        assert_eq!(found, [(pointer.to_owned(), code.to_owned())], "{body}");
    }
}

#[test]
fn text_is_trimmed_before_its_length_counts() {
    let outer: Outer = read(&json!({"name": "  e\u{301}bc "})).unwrap();
    assert_eq!(outer.name.as_deref(), Some("\u{e9}bc"));
    assert_eq!(read::<Outer>(&json!({"name": "  "})).unwrap().name, None);
}

#[test]
fn messages_never_quote_a_value() {
    let canary = "canary-value";
    for body in [
        json!({"name": canary}),
        json!({"items": canary}),
        json!({"name": [canary]}),
    ] {
        let found = read::<Outer>(&body).unwrap_err();
        assert!(!format!("{found:?}").contains(canary));
    }
}

#[test]
fn merging_follows_rfc_7396() {
    for (mut target, patch, merged) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": ["b"]}), json!({"a": ["c"]}), json!({"a": ["c"]})),
        (
            json!({"a": {"b": "c", "d": 1}}),
            json!({"a": {"b": "d", "c": null}}),
            json!({"a": {"b": "d", "d": 1}}),
        ),
        (
            json!({"a": 1}),
            json!({"b": {"c": {"d": null}}}),
            json!({"a": 1, "b": {"c": {}}}),
        ),
        (json!([1]), json!({"a": 1}), json!({"a": 1})),
    ] {
        merge_patch(&mut target, patch);
        assert_eq!(target, merged);
    }
}

#[test]
fn case02_invisible_characters_at_the_edges_go_everywhere_but_in_an_email() {
    let mut body = json!({"a": "\u{feff}x\u{200b}", "b": [{"c": "\u{202e}y"}, "\u{ad}"], "email": "a@b.example\u{200b}", "n": 1});
    let Value::Object(members) = &mut body else {
        panic!("an object")
    };
    trim_edges(members);
    let expected = json!({"a": "x", "b": [{"c": "y"}, ""], "email": "a@b.example\u{200b}", "n": 1});
    assert_eq!(body, expected);
}
