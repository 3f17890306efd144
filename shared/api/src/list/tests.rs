use super::*;
use contract::ProblemCode;
use proptest::prelude::*;

const GUESTS: ListSpec = ListSpec {
    name: "guests",
    filters: &["status", "email"],
    sorts: &[SortField::int("created_at"), SortField::text("last_name")],
    descending_by_default: true,
    updated_since: true,
};
const RESERVATIONS: ListSpec = ListSpec {
    name: "reservations",
    ..GUESTS
};

fn code(query: &str) -> ProblemCode {
    GUESTS.parse(query, &CursorKey::default()).unwrap_err().code
}

/// The cursor after some row.
fn cursor(spec: &ListSpec, query: &str) -> String {
    let query = spec.parse(query, &CursorKey::default()).unwrap();
    let place = match query.sort.field.kind {
        SortKind::Text => Position::text("name 2", "gst_2"),
        SortKind::Int => Position::int(2, "gst_2"),
    };
    query.pagination(Some(&place)).next_cursor.unwrap()
}

#[test]
fn an_empty_query_has_the_defaults() {
    let query = GUESTS.parse("", &CursorKey::default()).unwrap();
    assert_eq!(query.limit, 50);
    assert_eq!(
        query.sort,
        Sort {
            field: GUESTS.sorts[0],
            descending: true
        }
    );
    assert!(query.after.is_none() && query.updated_since.is_none() && query.filter("status").is_none());
}

#[test]
fn every_parameter_is_read() {
    let query = "limit=200&sort=-last_name&status=active&email=a%2Bb%40x.example+y&updated_since=2026-03-14T09:26:53Z";
    let query = GUESTS.parse(query, &CursorKey::default()).unwrap();
    assert_eq!(query.limit, 200);
    assert_eq!(
        (query.sort.field.name, query.sort.descending),
        ("last_name", true)
    );
    assert_eq!(query.filter("status"), Some("active"));
    assert_eq!(query.filter("email"), Some("a+b@x.example y"));
    assert_eq!(query.updated_since, Some(UnixMillis(1_773_480_413_000)));
    assert_eq!(
        GUESTS
            .parse("updated_since=1773480413000", &CursorKey::default())
            .unwrap()
            .updated_since,
        query.updated_since
    );
}

#[test]
fn what_is_unknown_repeated_or_malformed_is_a_400() {
    for bad in [
        "color=red",
        "Limit=5",
        "limit=",
        "limit=0",
        "limit=201",
        "limit=+5",
        "limit=5&limit=5",
        "sort=phone",
        "sort=",
        "sort=--created_at",
        "status=",
        "status=a&status=b",
        "status=%ff",
        "%ff=1",
        "updated_since=yesterday",
        "updated_since=",
        "updated_since=-1",
        "status",
    ] {
        assert_eq!(code(bad), ProblemCode::InvalidQuery, "{bad}");
    }
    assert_eq!(
        code(&format!("status={}", "x".repeat(513))),
        ProblemCode::InvalidQuery
    );
    let fixed = ListSpec {
        updated_since: false,
        ..GUESTS
    };
    assert_eq!(
        fixed
            .parse("updated_since=1", &CursorKey::default())
            .unwrap_err()
            .code,
        ProblemCode::InvalidQuery
    );
}

#[test]
fn a_parameter_that_is_no_name_is_not_repeated() {
    let problem = GUESTS.parse("%3Cscript%3E=1", &CursorKey::default()).unwrap_err();
    assert!(!problem.detail.unwrap().contains("script"));
}

#[test]
fn a_page_goes_on_where_the_one_before_ended() {
    let first = GUESTS
        .parse("limit=2&status=active", &CursorKey::default())
        .unwrap();
    let cursor = first
        .pagination(Some(&Position::int(20, "gst_20")))
        .next_cursor
        .unwrap();
    let next = GUESTS
        .parse(
            &format!("status=active&limit=2&cursor={cursor}"),
            &CursorKey::default(),
        )
        .unwrap();
    assert_eq!(next.after, Some(Position::int(20, "gst_20")));
    assert_eq!(
        serde_json::to_value(next.pagination(None)).unwrap(),
        serde_json::json!({"limit": 2, "next_cursor": null, "has_more": false})
    );
}

#[test]
fn a2_a_cursor_tells_nothing_and_nobody_else_makes_one() {
    let (sort, place) = (
        Sort {
            field: GUESTS.sorts[1],
            descending: false,
        },
        Position::text("secret-name", "gst_secret"),
    );
    let under = |secret: u8| {
        let key = CursorKey::new(&[secret; 32]);
        cursor::encode(&place, &cursor::Binding::new(&GUESTS, sort, &[], None, &key))
    };
    let ours = under(7);
    let bytes = data_encoding::BASE64URL_NOPAD.decode(ours.as_bytes()).unwrap();
    assert!(!bytes.windows(6).any(|part| part == b"secret"), "{ours}");
    let query = format!("sort={}&cursor=", sort.field.name);
    let parse = |cursor: &str| GUESTS.parse(&format!("{query}{cursor}"), &CursorKey::new(&[7; 32]));
    assert_eq!(parse(&ours).unwrap().after, Some(place.clone()));
    assert_eq!(parse(&under(8)).unwrap_err().code, ProblemCode::InvalidCursor);
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        let forged = data_encoding::BASE64URL_NOPAD.encode(&changed);
        assert_eq!(
            parse(&forged).unwrap_err().code,
            ProblemCode::InvalidCursor,
            "{index}"
        );
    }
}

#[test]
fn a_cursor_of_another_list_filter_or_order_is_a_400() {
    let ours = cursor(&GUESTS, "limit=2&status=active");
    assert!(
        GUESTS
            .parse(
                &format!("limit=3&status=active&cursor={ours}"),
                &CursorKey::default()
            )
            .is_ok(),
        "the limit may change"
    );
    for (spec, query) in [
        (&RESERVATIONS, "status=active"),
        (&GUESTS, "status=deleted"),
        (&GUESTS, "status=active&email=x"),
        (&GUESTS, "email=active"),
        (&GUESTS, ""),
        (&GUESTS, "status=active&sort=created_at"),
        (&GUESTS, "status=active&sort=last_name"),
        (&GUESTS, "status=active&updated_since=1"),
    ] {
        let foreign = spec
            .parse(&format!("{query}&cursor={ours}"), &CursorKey::default())
            .unwrap_err();
        assert_eq!(foreign.code, ProblemCode::InvalidCursor, "{query}");
    }
}

#[test]
fn a_cursor_whose_key_is_of_the_wrong_kind_is_a_400() {
    let sort = Sort {
        field: GUESTS.sorts[0],
        descending: true,
    };
    let binding = cursor::Binding::new(&GUESTS, sort, &[], None, &CursorKey::default());
    for forged in [
        Position::text("x", "gst_1"),
        Position::int(1, "a.b"),
        Position::int(1, "' OR 1=1"),
    ] {
        let text = cursor::encode(&forged, &binding);
        assert_eq!(
            code(&format!("cursor={text}")),
            ProblemCode::InvalidCursor,
            "{forged:?}"
        );
    }
}

#[test]
fn a_place_that_is_spelled_otherwise_is_a_400() {
    let sort = Sort {
        field: GUESTS.sorts[0],
        descending: true,
    };
    let binding = cursor::Binding::new(&GUESTS, sort, &[], None, &CursorKey::default());
    let sealed = |place: &str| code(&format!("cursor={}", cursor::seal(place.as_bytes(), &binding)));
    for place in [
        r#"{ "k":1,"i":"gst_1"}"#,
        r#"{"i":"gst_1","k":1}"#,
        r#"{"k":1,"i":"gst_1","z":1}"#,
        r#"{"k":1,"i":"\u0067st_1"}"#,
    ] {
        assert_eq!(sealed(place), ProblemCode::InvalidCursor, "{place}");
    }
    let ours = cursor::seal(br#"{"k":1,"i":"gst_1"}"#, &binding);
    assert!(
        GUESTS
            .parse(&format!("cursor={ours}"), &CursorKey::default())
            .is_ok()
    );
}

proptest! {
    #[test]
    fn a_cursor_reads_back_for_every_order(by_text: bool, descending: bool) {
        let field = if by_text { "last_name" } else { "created_at" };
        let query = format!("limit=2&sort={}{field}", if descending { "-" } else { "" });
        let after = GUESTS.parse(&format!("{query}&cursor={}", cursor(&GUESTS, &query)), &CursorKey::default()).unwrap().after;
        let expected = if by_text { Position::text("name 2", "gst_2") } else { Position::int(2, "gst_2") };
        prop_assert_eq!(after, Some(expected));
    }

    #[test]
    fn any_byte_changed_in_a_cursor_is_seen(place: prop::sample::Index, to in "[A-Za-z0-9_-]") {
        let genuine = cursor(&GUESTS, "limit=2");
        let mut forged = genuine.clone();
        let place = place.index(forged.len());
        forged.replace_range(place..=place, &to);
        prop_assume!(forged != genuine);
        prop_assert_eq!(code(&format!("cursor={forged}")), ProblemCode::InvalidCursor);
    }

    #[test]
    fn any_query_is_read_or_refused(query in "[a-z_=&%0-9+. -]{0,60}") {
        let _ = GUESTS.parse(&query, &CursorKey::default());
    }
}

#[test]
fn an_endpoint_that_is_no_list_takes_its_own_parameters_alone() {
    let given = parse_parameters(&["as_of"], "as_of=2026-05-01").unwrap();
    assert_eq!(given, [("as_of", "2026-05-01".to_owned())]);
    assert!(parse_parameters(&["as_of"], "").unwrap().is_empty());
    for query in [
        "limit=5",
        "cursor=x",
        "sort=a",
        "updated_since=0",
        "other=1",
        "as_of=1&as_of=2",
        "as_of=",
    ] {
        let refused = parse_parameters(&["as_of"], query).unwrap_err();
        assert_eq!(refused.code, ProblemCode::InvalidQuery, "{query}");
    }
}
