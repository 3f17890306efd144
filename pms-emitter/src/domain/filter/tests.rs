//! What each comparison says of each kind of value, and what is no filter.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn filter(json: &Value) -> Filter {
    Filter::parse(json).unwrap_or_else(|errors| panic!("{json}: {errors:?}"))
}

fn refusals(json: &Value) -> Vec<(String, String)> {
    let errors = Filter::parse(json).expect_err(&json.to_string());
    errors
        .into_iter()
        .map(|error| (error.pointer, error.code))
        .collect()
}

fn payload() -> Value {
    json!({
        "status": "confirmed", "total": "120.50", "adults": 2, "rate": 0.3, "vip": true, "room_id": null,
        "check_in": "2026-03-14", "guest": {"country": "PT", "a/b": "x"}, "nights": [{"price": "99"}, {"price": "101"}],
        "empty": "", "room": "101A",
    })
}

fn holds(path: &str, op: &str, value: &Value) -> bool {
    filter(&json!({"path": path, "op": op, "value": value})).matches(&payload())
}

#[test]
fn each_comparison_holds_for_what_it_says() {
    for (path, op, value, expected) in [
        ("/total", "=", json!("120.5"), true),
        ("/total", "=", json!(120.5), true),
        ("/total", "!=", json!("120.50"), false),
        ("/total", ">=", json!("100"), true),
        ("/total", ">", json!("120.50"), false),
        ("/total", "<", json!("1000"), true),
        ("/total", "<=", json!("120.4999"), false),
        ("/adults", "=", json!("2"), true),
        ("/adults", "<", json!(10), true),
        ("/rate", "=", json!("0.3"), true),
        ("/rate", "<", json!("0.30000000000000001"), true),
        ("/status", "=", json!("confirmed"), true),
        ("/status", "=", json!("Confirmed"), false),
        ("/status", "!=", json!("cancelled"), true),
        ("/check_in", ">=", json!("2026-03-01"), true),
        ("/check_in", "<", json!("2026-03-14"), false),
        ("/status", "in", json!(["cancelled", "confirmed"]), true),
        ("/status", "in", json!(["cancelled"]), false),
        ("/total", "in", json!([1, "120.500"]), true),
        ("/vip", "=", json!(true), true),
        ("/vip", "!=", json!(true), false),
        ("/vip", "in", json!([false]), false),
        ("/guest/country", "=", json!("PT"), true),
        ("/guest/a~1b", "=", json!("x"), true),
        ("/nights/1/price", ">", json!(100), true),
        ("/nights/2/price", ">", json!(100), false),
        ("/empty", "=", json!(""), true),
    ] {
        assert_eq!(holds(path, op, &value), expected, "{path} {op} {value}");
    }
}

#[test]
fn where_no_value_stands_every_comparison_is_false() {
    for path in ["/absent", "/room_id", "/status/x", "/guest/absent", "/nights/-"] {
        for op in ["=", "!=", "<", "<=", ">", ">="] {
            assert!(!holds(path, op, &json!("1")), "{path} {op}");
        }
        assert!(!holds(path, "in", &json!(["1"])));
        assert!(!holds(path, "exists", &json!(true)));
        assert!(holds(path, "exists", &json!(false)));
        // A negation is that of the answer.
        let not = filter(&json!({"not": {"path": path, "op": "=", "value": "1"}}));
        assert!(not.matches(&payload()));
    }
    for path in ["/status", "/vip", "/guest", "/nights", "/empty"] {
        assert!(holds(path, "exists", &json!(true)), "{path}");
        assert!(!holds(path, "exists", &json!(false)), "{path}");
    }
}

#[test]
fn other_kinds_are_not_equal_and_have_no_order() {
    for (path, value) in [
        ("/status", json!(1)),
        ("/status", json!(true)),
        ("/total", json!("confirmed")),
        ("/adults", json!("many")),
        ("/adults", json!(true)),
        ("/vip", json!("true")),
        ("/vip", json!(1)),
        ("/room", json!("100")),
    ] {
        assert!(holds(path, "!=", &value), "{path} {value}");
        let ordered = ["=", "<", "<=", ">", ">="];
        for op in ordered.iter().filter(|op| **op == "=" || !value.is_boolean()) {
            assert!(!holds(path, op, &value), "{path} {op} {value}");
        }
    }
    for path in ["/guest", "/nights"] {
        for op in ["=", "!=", "<", ">="] {
            assert!(!holds(path, op, &json!("x")), "{path} {op}");
        }
    }
}

#[test]
fn conditions_are_put_together() {
    let yes = json!({"path": "/adults", "op": "=", "value": 2});
    let no = json!({"path": "/adults", "op": "=", "value": 3});
    for (json, expected) in [
        (yes.clone(), true),
        (json!({"all": [yes, yes]}), true),
        (json!({"all": [yes, no]}), false),
        (json!({"any": [no, yes]}), true),
        (json!({"any": [no, no]}), false),
        (json!({"not": no}), true),
        (json!({"not": {"any": [no, yes]}}), false),
        (
            json!({"all": [{"any": [no, yes]}, {"not": {"all": [yes, no]}}]}),
            true,
        ),
    ] {
        assert_eq!(filter(&json).matches(&payload()), expected, "{json}");
    }
}

#[test]
fn a_payload_of_any_kind_is_no_error() {
    let filter = filter(&json!({"any": [
        {"path": "/0", "op": "=", "value": 1}, {"path": "/a/b", "op": "exists", "value": true},
    ]}));
    for payload in [json!(null), json!(7), json!("x"), json!([]), json!({})] {
        assert!(!filter.matches(&payload), "{payload}");
    }
    assert!(filter.matches(&json!([1])));
}

#[test]
fn a_filter_is_kept_as_it_was_sent() {
    let json = json!({"all": [{"value": "100.00", "op": ">=", "path": "/total"}]});
    let filter = filter(&json);
    assert_eq!(filter.to_json().to_string(), json.to_string());
    assert_eq!(Filter::parse(filter.to_json()), Ok(filter));
}

#[test]
fn what_is_wrong_is_named_at_its_pointer() {
    let term = json!({"path": "/a", "op": "=", "value": 1});
    let not_deep = |times: usize| (1..times).fold(term.clone(), |inner, _| json!({"not": inner}));
    let term_with = |name: &str, value: Value| {
        let mut term = term.clone();
        term[name] = value;
        term
    };
    for (json, expected) in [
        (json!(null), vec![("", "wrong_type")]),
        (json!([]), vec![("", "wrong_type")]),
        (
            json!({}),
            vec![("/path", "required"), ("/op", "required"), ("/value", "required")],
        ),
        (json!({"all": []}), vec![("/all", "required")]),
        (json!({"any": term}), vec![("/any", "required")]),
        (json!({"not": [term]}), vec![("/not", "wrong_type")]),
        (
            json!({"all": [term], "any": [term]}),
            vec![("/any", "unknown_field")],
        ),
        (term_with("case", json!(1)), vec![("/case", "unknown_field")]),
        (term_with("path", json!("a")), vec![("/path", "invalid")]),
        (term_with("path", json!("")), vec![("/path", "invalid")]),
        (term_with("path", json!(1)), vec![("/path", "wrong_type")]),
        (term_with("op", json!("==")), vec![("/op", "unknown_value")]),
        (term_with("op", json!(7)), vec![("/op", "unknown_value")]),
        (term_with("op", json!("in")), vec![("/value", "wrong_type")]),
        (term_with("op", json!("exists")), vec![("/value", "wrong_type")]),
        (term_with("value", json!(null)), vec![("/value", "wrong_type")]),
        (term_with("value", json!([1])), vec![("/value", "wrong_type")]),
        (term_with("value", json!({})), vec![("/value", "wrong_type")]),
        (
            json!({"path": "/a", "op": "<", "value": true}),
            vec![("/value", "wrong_type")],
        ),
        (
            json!({"path": "/a", "op": "in", "value": []}),
            vec![("/value", "wrong_type")],
        ),
        (
            json!({"path": "/a", "op": "in", "value": [1, null, [2]]}),
            vec![("/value/1", "wrong_type"), ("/value/2", "wrong_type")],
        ),
        (
            json!({"path": "/a", "op": "in", "value": vec![1; CHOICES_MAX + 1]}),
            vec![("/value", "too_many")],
        ),
        (
            json!({"all": [term, {"any": [term, {"path": "x", "op": "?", "value": 1}]}, 7]}),
            vec![
                ("/all/1/any/1/path", "invalid"),
                ("/all/1/any/1/op", "unknown_value"),
                ("/all/2", "wrong_type"),
            ],
        ),
        (
            not_deep(DEPTH_MAX + 1),
            vec![("/not/not/not/not/not/not/not/not", "too_deep")],
        ),
        (
            json!({"any": vec![term.clone(); TERMS_MAX + 1]}),
            vec![("", "too_many")],
        ),
        (
            json!({"path": "/a", "op": "=", "value": "x".repeat(FILTER_BYTES_MAX)}),
            vec![("", "too_long")],
        ),
    ] {
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(pointer, code)| (pointer.to_owned(), code.to_owned()))
            .collect();
        assert_eq!(refusals(&json), expected, "{json}");
    }
    // Exactly at the bounds.
    filter(&not_deep(DEPTH_MAX));
    filter(&json!({"any": vec![term.clone(); TERMS_MAX]}));
    filter(&json!({"path": "/a", "op": "in", "value": vec![1; CHOICES_MAX]}));
}

#[test]
fn a_refusal_never_quotes_a_value() {
    for name in ["path", "op", "value"] {
        let mut json = json!({"path": "/a", "op": "exists", "value": true});
        json[name] = json!("canary\n7");
        let errors = Filter::parse(&json).unwrap_err();
        assert!(!format!("{errors:?}").contains("canary"), "{errors:?}");
    }
}

fn leaves() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-20_i64..20).prop_map(Value::from),
        (-2.0_f64..2.0).prop_map(Value::from),
        "[a-c0-2.-]{0,4}".prop_map(Value::from),
    ]
}

proptest! {
    /// Where two values can be compared, exactly one of less, equal and greater holds, and each op is what it says of them.
    #[test]
    fn the_ops_agree_with_each_other(found in leaves(), value in leaves()) {
        let payload = json!({"x": found});
        let ask = |op: &str| {
            let filter = Filter::parse(&json!({"path": "/x", "op": op, "value": value}));
            filter.ok().map(|filter| filter.matches(&payload))
        };
        let Some(equal) = ask("=") else {
            prop_assert!(value.is_null());
            return Ok(());
        };
        prop_assert_eq!(ask("!="), Some(!equal && !found.is_null()));
        if let (Some(less), Some(greater)) = (ask("<"), ask(">")) {
            prop_assert!(u8::from(less) + u8::from(equal) + u8::from(greater) <= 1);
            prop_assert_eq!(ask("<="), Some(less || equal));
            prop_assert_eq!(ask(">="), Some(greater || equal));
        }
        let one = Filter::parse(&json!({"path": "/x", "op": "in", "value": [value]})).unwrap();
        prop_assert_eq!(one.matches(&payload), equal);
    }

    /// Whatever is sent as a filter is read or refused, at every depth, and what is read answers for any payload.
    #[test]
    fn any_json_is_a_filter_or_is_refused(json in trees(), payload in trees()) {
        match Filter::parse(&json) {
            Ok(filter) => {
                filter.matches(&payload);
                prop_assert_eq!(Filter::parse(filter.to_json()), Ok(filter));
            }
            Err(errors) => prop_assert!(!errors.is_empty()),
        }
    }
}

/// Trees whose names are mostly those of filters.
fn trees() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("all"),
        Just("any"),
        Just("not"),
        Just("path"),
        Just("op"),
        Just("value"),
        Just("x"),
    ];
    let word = prop_oneof![
        Just("/x"),
        Just("="),
        Just("<"),
        Just("in"),
        Just("exists"),
        Just("1.5"),
        Just("")
    ];
    let leaf = prop_oneof![leaves(), word.prop_map(Value::from)];
    let term = (
        prop_oneof![Just("/x"), Just("/all/0"), Just("x")],
        prop_oneof![Just("="), Just("<="), Just("in")],
        leaves(),
    )
        .prop_map(|(path, op, value)| json!({"path": path, "op": op, "value": value}));
    prop_oneof![leaf, term].prop_recursive(10, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner.clone()), 0..4).prop_map(|members| Value::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            )),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|items| json!({"all": items})),
            inner.prop_map(|inner| json!({"not": inner})),
        ]
    })
}
