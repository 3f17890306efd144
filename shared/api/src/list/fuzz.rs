//! Any text as a cursor: reading it never panics, and only what this list gave is taken.
//!
//! Each target is an ordinary test of a bounded number of rounds; CONTRIBUTING.md says how to run one for longer.

use super::*;
use bolero::check;
use contract::ProblemCode;
use data_encoding::BASE64URL_NOPAD;

/// Rounds of each target within the test command.
const ROUNDS: usize = 4_000;

const EVENTS: ListSpec = ListSpec {
    name: "events",
    filters: &["status"],
    sorts: &[SortField::int("received_at"), SortField::text("name")],
    descending_by_default: true,
    updated_since: false,
};

fn sort(field: usize) -> Sort {
    Sort {
        field: EVENTS.sorts[field % 2],
        descending: true,
    }
}

fn binding(sort: Sort) -> cursor::Binding {
    cursor::Binding::new(&EVENTS, sort, &[], None, &CursorKey::default())
}

/// Whatever is taken is, letter by letter, the cursor that this list gives for that place.
fn assert_own_or_refused(text: &str, sort: Sort) {
    let binding = binding(sort);
    match cursor::decode(text, sort, &binding) {
        Ok(position) => assert_eq!(cursor::encode(&position, &binding), text),
        Err(problem) => assert_eq!(problem.code, ProblemCode::InvalidCursor),
    }
}

#[test]
fn fuzz_any_text_is_our_own_cursor_or_refused() {
    check!()
        .with_iterations(ROUNDS)
        .with_type::<(usize, Vec<u8>)>()
        .for_each(|(field, bytes)| {
            assert_own_or_refused(&String::from_utf8_lossy(bytes), sort(*field));
            assert_own_or_refused(&BASE64URL_NOPAD.encode(bytes), sort(*field));
            let _ = EVENTS.parse(&String::from_utf8_lossy(bytes), &CursorKey::default());
        });
}

/// Should the key ever be known, what is sealed under it must still be a place as we write one.
#[test]
fn fuzz_a_forged_place_under_a_right_digest_is_our_own_or_refused() {
    const PLACES: [&str; 3] = [
        r#"{"k":1,"i":"evt_1"}"#,
        r#"{"k":"x","i":"evt_1"}"#,
        r#"{"i":"evt_1","k":1}"#,
    ];
    const INSERTED: [&str; 14] = [
        " ",
        "\n",
        "0",
        "-",
        ".0",
        "e0",
        "9223372036854775808",
        r#","z":1"#,
        r#","k":2"#,
        r"\u0065",
        "null",
        "\"",
        "\0",
        "[",
    ];
    check!()
        .with_iterations(ROUNDS)
        .with_type::<(usize, u8, Vec<(usize, u8)>)>()
        .for_each(|(field, place, inserted)| {
            let mut place = PLACES[usize::from(*place) % PLACES.len()].to_owned();
            for (at, what) in inserted.iter().take(3) {
                place.insert_str(
                    at % (place.len() + 1),
                    INSERTED[usize::from(*what) % INSERTED.len()],
                );
            }
            let sort = sort(*field);
            let forged = cursor::seal(place.as_bytes(), &binding(sort));
            assert_own_or_refused(&forged, sort);
        });
}
