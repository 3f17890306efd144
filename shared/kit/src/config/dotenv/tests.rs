use super::*;
use std::fs;

fn value(line: &str) -> Result<String, &'static str> {
    let parsed = parse(line).map_err(|bad| bad.reason)?;
    Ok(parsed.get("A").unwrap().unwrap().to_owned())
}

#[test]
fn case23_a_value_is_the_text_as_it_stands() {
    for (line, expected) in [
        ("A=abcdefghijklmnopqrst$uvw", "abcdefghijklmnopqrst$uvw"),
        ("A=${HOME}`id`$(id)\\n\\$", "${HOME}`id`$(id)\\n\\$"),
        ("A=\"a$b ${c} 'd' # e\"", "a$b ${c} 'd' # e"),
        ("A='a$b \"c\" \\ # d'", "a$b \"c\" \\ # d"),
        ("A=\"a \\\"b\\\" \\\\c\"", "a \"b\" \\c"),
        ("A=it's", "it's"),
        ("A=a=b==", "a=b=="),
        ("A=two words", "two words"),
        ("A=a#b", "a#b"),
        ("A=a # a comment", "a"),
        ("A=a b\t# a comment", "a b"),
        ("A='a' # a comment", "a"),
        ("A=\"a\"   ", "a"),
        ("A=", ""),
        ("A=''", ""),
        ("A=   ", ""),
        ("A= # a comment", ""),
        ("  A = a  ", "a"),
        ("export A=a", "a"),
        ("export\tA=a", "a"),
        ("# A=b\n\n   \n#\nA=a\n", "a"),
        ("A=a\r\nB=b\r\n", "a"),
        ("A=\"a\"\r\n", "a"),
        ("A=a\nA=a", "a"),
        ("A=\u{e9}\u{1f511}", "\u{e9}\u{1f511}"),
    ] {
        assert_eq!(value(line).as_deref(), Ok(expected), "{line:?}");
    }
}

#[test]
fn case23_a_line_that_could_be_meant_otherwise_is_named_and_never_quoted() {
    for line in [
        "hunter2",
        "export A",
        "=hunter2",
        "hunter 2=a",
        "2A=hunter2",
        "A='hunter2",
        "A=\"hunter2",
        "A=\"hunter2\\\"",
        "A='hunter'2",
        "A='hunter'# 2",
        "A=\"hunter2\\n\"",
        "A=\"hunter\\$2\"",
        "A=#hunter2",
        "A=hunter\u{0}2",
        "A=hunter\r2",
        "\u{feff}A=hunter2",
    ] {
        let text = format!("B=b\n\n{line}\nC=c\n");
        let bad = parse(&text).unwrap_err();
        assert_eq!(bad.line, 3, "{line:?}");
        assert!(!bad.reason.contains("hunter"), "{}", bad.reason);
    }
}

#[test]
fn case23_two_lines_that_differ_are_named_when_the_variable_is_asked_for() {
    let variables = parse("A=1\nB=2\nA=3\nA=1\nB=2\n").unwrap();
    let said = variables.get("A").unwrap_err().to_string();
    assert!(said.starts_with("A: lines 1 and 4 of"), "{said}");
    assert_eq!(variables.get("B").unwrap(), Some("2"));
}

#[test]
fn case24_a_file_is_read_after_its_byte_order_mark_and_named_when_it_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    assert!(read_file(&path).unwrap().get("A").unwrap().is_none());
    fs::write(&path, "\u{feff}A=1\r\n").unwrap();
    assert_eq!(read_file(&path).unwrap().get("A").unwrap(), Some("1"));
    for (bytes, reason) in [
        (&b"\xff\xfeA\0=\0"[..], "it is UTF-16"),
        (b"\xfe\xff\0A\0=", "it is UTF-16"),
        (b"A=1\nB=\xfc\n", "line 2 cannot be read: it is not UTF-8"),
        (b"A\0=\0", "line 1 cannot be read: it holds a control character"),
        (b"A=1\nhunter2\n", "line 2 cannot be read: it is no NAME=value"),
        (&[b'#'; 256 * 1024 + 1], "it is longer than"),
    ] {
        fs::write(&path, bytes).unwrap();
        let said = read_file(&path).unwrap_err().to_string();
        assert!(
            said.starts_with(&format!("{}: {reason}", path.display())),
            "{said}"
        );
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let said = read_file(&path).unwrap_err().to_string();
    assert_eq!(said, format!("{}: it is no file", path.display()));
}
