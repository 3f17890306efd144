//! What one strict parse takes and what it refuses, with or without building it.

use super::*;
use proptest::prelude::*;

#[test]
fn refuses_a_key_that_stands_twice_also_by_escape() {
    for text in [
        r#"{"id":1,"id":1}"#,
        r#"{"id":1,"\u0069d":2}"#,
        r#"[{"a":{"b":1,"b":2}}]"#,
    ] {
        assert_eq!(parse(text.as_bytes()), Err(JsonError::DuplicateKey), "{text}");
    }
}

#[test]
fn refuses_numbers_that_readers_disagree_on() {
    for text in [
        "9007199254740992",
        "-9007199254740992",
        "9223372036854775808",
        "18446744073709551616",
        "1e300",
    ] {
        assert_eq!(parse(text.as_bytes()), Err(JsonError::InexactNumber), "{text}");
    }
    assert!(matches!(parse(b"1e400"), Err(JsonError::Syntax { .. })));
    assert_eq!(parse(b"9007199254740991"), Ok(9_007_199_254_740_991_u64.into()));
}

#[test]
fn a_number_is_the_same_when_it_is_read_again() {
    for number in [
        "-10995116277760.4623",
        "0.1",
        "1e-320",
        "5e-324",
        "123456.78901234567890123",
    ] {
        let value = parse(number.as_bytes()).unwrap();
        assert_eq!(parse(&canonical(&value)), Ok(value), "{number}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(parse(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(parse(&nested(DEPTH_MAX + 1)), Err(JsonError::TooDeep));
    assert_eq!(parse(&nested(100_000)), Err(JsonError::TooDeep));
}

#[test]
fn refuses_what_is_not_one_json_text() {
    assert_eq!(parse(b"\xff"), Err(JsonError::NotUtf8));
    for text in [
        "",
        "{",
        "{}{}",
        "\u{feff}{}",
        "'a'",
        r#""\ud800""#,
        "NaN",
        "[1,]",
        "01",
    ] {
        assert!(
            matches!(parse(text.as_bytes()), Err(JsonError::Syntax { .. })),
            "{text:?}"
        );
    }
}

#[test]
fn canonical_sorts_keys_at_every_level() {
    let value = parse(br#"{ "b": [ {"z":1, "a":"\u00e9"} ], "a": null }"#).unwrap();
    assert_eq!(
        canonical(&value),
        r#"{"a":null,"b":[{"a":"é","z":1}]}"#.as_bytes()
    );
}

fn keeping(text: &str) -> Result<Option<[Option<Value>; 2]>, JsonError> {
    let kept = ("payload", Fields::Only(&["kept"]));
    parse_members(text.as_bytes(), &["a", "payload"], kept)
}

/// What is dropped is held to the same rules as what is kept.
fn assert_as_strict(text: &str) {
    let whole = parse(text.as_bytes());
    let kept = keeping(text);
    let expected = whole.map(|value| {
        let Value::Object(mut members) = value else {
            return None;
        };
        let mut payload = members.remove("payload");
        if let Some(Value::Object(payload)) = &mut payload {
            payload.retain(|name, _| name == "kept");
        }
        Some([members.remove("a"), payload])
    });
    assert_eq!(kept.is_ok(), expected.is_ok(), "{text}");
    if let Ok(expected) = expected {
        assert_eq!(kept, Ok(expected), "{text}");
    }
}

#[test]
fn keeps_the_fields_that_were_named_and_checks_the_others() {
    let taken = keeping(r#"{"a":{"b":1},"b":2,"payload":{"kept":{"x":[1]},"dropped":{"y":[{"z":2}]}}}"#);
    let expected = [
        Some(serde_json::json!({"b": 1})),
        Some(serde_json::json!({"kept": {"x": [1]}})),
    ];
    assert_eq!(taken, Ok(Some(expected)));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for dropped in [
        r#""d":{"b":1,"b":2}"#,
        r#""d":{"b":1,"\u0062":2}"#,
        r#""d":[{"e":{"b":1,"c":{"b":3},"b":2}}]"#,
        r#""d":{"b":{"c":1},"c":{"b":1}}"#,
        r#""d":1,"d":2"#,
        r#""d":1,"kept":2,"kept":3"#,
        r#""kept":1,"d":2,"k\u0065pt":3"#,
        r#""d":9007199254740992"#,
        r#""d":[-9007199254740992]"#,
        r#""d":1e300"#,
        r#""d":1e400"#,
        r#""d":01"#,
        r#""d":"\ud800""#,
        r#""d":[1,]"#,
        &format!(r#""d":{}"#, nested(DEPTH_MAX - 2)),
        &format!(r#""d":{}"#, nested(DEPTH_MAX - 1)),
    ] {
        for text in [
            format!(r#"{{"payload":{{{dropped}}}}}"#),
            format!(r#"{{"a":1,"payload":{{"kept":null,{dropped}}}}}"#),
            format!(r#"{{"payload":[{{{dropped}}}]}}"#),
            format!(r#"{{"payload":1,"b":{{{dropped}}}}}"#),
        ] {
            assert_as_strict(&text);
        }
    }
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn what_is_dropped_is_held_to_the_same_rules(tokens in prop::collection::vec(0_usize..16, 0..24)) {
        let words = ["{", "}", "[", "]", ",", ":", "\"a\"", "\"kept\"", "\"b\"", "1", "\"a\":1", "\"b\":{", "},",
                     "\"\\u0061\":", "9007199254740992", "null"];
        let inner: String = tokens.iter().map(|token| words[*token]).collect();
        assert_as_strict(&format!(r#"{{"payload":{{{inner}}}}}"#));
    }

    #[test]
    fn canonical_text_reads_back(text in "[ -~é]{0,20}", number in -(1_i64 << 53) + 1..(1_i64 << 53)) {
        let value = serde_json::json!({"t": text, "n": [number, null, true]});
        prop_assert_eq!(parse(&canonical(&value)), Ok(value));
    }
}
