//! A batch as one text for MySQL: its statements with their values written into them, so that all of them are one round
//! trip. Prepared statements cannot be sent this way.
//!
//! No value can end its own literal, whatever the session's SQL mode and character set: a literal between quotes holds
//! printable ASCII without quotes and backslashes, and any other value is written in hexadecimal.

use crate::batch::{Statement, StatementKind};
use crate::fault::Fault;
use crate::value::Value;

/// Bytes that are sent at once, except for a single row that is longer: the driver keeps a buffer as large as the
/// largest packet for each session. A longer batch is sent statement by statement, and in fewer rows.
const SENT_BYTES_MAX: usize = 1024 * 1024;
/// Estimated bytes of a text around each value, or of a number: used to allocate the text once.
pub(crate) const AROUND: usize = 16;
/// Bytes of a packet that are not text.
const PACKET_OVERHEAD: usize = 1024;

/// The longest text for a server with this packet limit.
pub(crate) fn bytes_max(packet_bytes: usize) -> usize {
    SENT_BYTES_MAX.min(packet_bytes.saturating_sub(PACKET_OVERHEAD))
}

/// The text of a batch; None when it would be longer than `bytes_max`.
///
/// # Errors
/// A statement whose values are not as many as its `?`, or a number that no column holds.
pub(crate) fn text_of_batch(
    first: Option<&str>,
    statements: &[Statement],
    bytes_max: usize,
) -> Result<Option<String>, Fault> {
    let length = |around| {
        statements
            .iter()
            .map(move |one| length(one, around))
            .sum::<usize>()
    };
    if length(0) > bytes_max {
        return Ok(None);
    }
    let mut text = String::with_capacity(length(AROUND));
    text.extend(first);
    for statement in statements {
        if !text.is_empty() {
            text.push(';');
        }
        write(&mut text, statement)?;
        if text.len() > bytes_max {
            return Ok(None);
        }
    }
    Ok(Some(text))
}

/// The length of its text with so many bytes around each value; with 0 it is a lower bound.
fn length(statement: &Statement, around: usize) -> usize {
    statement.sql.len() + values_len(&statement.params, around)
}

/// The length of values, with so many bytes around each.
pub(crate) fn values_len(values: &[Value], around: usize) -> usize {
    values.iter().map(|value| value.content_len() + around).sum()
}

fn write(text: &mut String, statement: &Statement) -> Result<(), Fault> {
    let Statement { sql, params, kind } = statement;
    let mut values = params.iter();
    match kind {
        StatementKind::Change | StatementKind::Query => fill(text, sql, &mut values)?,
        StatementKind::Rows { values: row } => {
            text.push_str(&sql[..row.start]);
            for nth in 0.. {
                if nth > 0 && values.len() == 0 {
                    break;
                }
                text.push_str(if nth == 0 { "" } else { ", " });
                fill(text, &sql[row.clone()], &mut values)?;
            }
            text.push_str(&sql[row.end..]);
        }
    }
    match values.next() {
        Some(_) => Err(miscounted()),
        None => Ok(()),
    }
}

/// The SQL with the next values in the places of its `?`.
fn fill(text: &mut String, sql: &str, values: &mut std::slice::Iter<'_, Value>) -> Result<(), Fault> {
    let mut parts = sql.split('?');
    text.extend(parts.next());
    for part in parts {
        literal(text, values.next().ok_or_else(miscounted)?)?;
        text.push_str(part);
    }
    Ok(())
}

fn miscounted() -> Fault {
    Fault::statement(
        0,
        "a batch's statement has another number of values than of places",
    )
}

fn literal(text: &mut String, value: &Value) -> Result<(), Fault> {
    match value {
        Value::Null => text.push_str("NULL"),
        Value::Int(number) => text.push_str(&number.to_string()),
        Value::Text(content) => {
            if plain(content.as_bytes()).is_none() {
                text.push_str("_utf8mb4 ");
            }
            quoted(text, content.as_bytes());
        }
        Value::Bytes(content) => {
            text.push_str("_binary ");
            quoted(text, content);
        }
        Value::TooLarge => return Err(Fault::statement(0, "a number over i64::MAX")),
    }
    Ok(())
}

fn quoted(text: &mut String, content: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if let Some(plain) = plain(content) {
        text.extend(["'", plain, "'"]);
        return;
    }
    text.reserve(2 * content.len() + 3);
    text.push_str("x'");
    for byte in content {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text.push('\'');
}

/// The content as text, if it has no character that is special between quotes.
fn plain(content: &[u8]) -> Option<&str> {
    let mut bytes = content.iter();
    let plain = bytes.all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'\'' | b'\\'));
    std::str::from_utf8(content).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params;

    fn text(sql: &'static str, values: Vec<Value>) -> String {
        let statements = [Statement::change(sql, values)];
        text_of_batch(None, &statements, SENT_BYTES_MAX).unwrap().unwrap()
    }

    #[test]
    fn each_kind_of_value_has_its_literal() {
        assert_eq!(
            text(
                "a ?, ?, ?, ?",
                params![None::<i64>, i64::MIN, "it is {\"x\": 1}?", b"\x00'"]
            ),
            "a NULL, -9223372036854775808, 'it is {\"x\": 1}?', _binary x'0027'"
        );
        assert_eq!(text("?", params![""]), "''");
    }

    #[test]
    fn no_value_ends_its_literal() {
        for nasty in [
            "'",
            "\\",
            "\\'",
            "a'; DROP TABLE guests; --",
            "é",
            "\u{0}",
            "\n",
            "\u{bf}\u{27}",
        ] {
            let written = text("?", params![nasty]);
            let hex = written
                .strip_prefix("_utf8mb4 x'")
                .and_then(|rest| rest.strip_suffix('\''));
            assert!(
                hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit())),
                "{written}"
            );
        }
    }

    #[test]
    fn statements_follow_one_another_and_count_their_values() {
        let statements = [
            Statement::change("one ?", params![1]),
            Statement::query("two", params![]),
        ];
        let text = text_of_batch(Some("BEGIN"), &statements, SENT_BYTES_MAX).unwrap();
        assert_eq!(text.as_deref(), Some("BEGIN;one 1;two"));
        for wrong in [
            Statement::change("?", params![]),
            Statement::change("", params![1]),
        ] {
            assert!(text_of_batch(None, &[wrong], SENT_BYTES_MAX).is_err());
        }
    }

    #[test]
    fn rows_are_one_statement() {
        let rows = Statement::rows("t", &["a", "b"], " END", params![1, "x", 2, "y"]).unwrap();
        let text = text_of_batch(None, std::slice::from_ref(&rows), SENT_BYTES_MAX).unwrap();
        assert_eq!(
            text.as_deref(),
            Some("INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y') END")
        );
        assert_eq!(rows.runs().map(<[Value]>::len).collect::<Vec<_>>(), [2, 2]);
        assert!(Statement::rows("t", &["a"], "", params![]).is_none());
    }

    #[test]
    fn what_is_too_long_has_no_text() {
        let long = [Statement::change("?", params!["a".repeat(SENT_BYTES_MAX)])];
        assert_eq!(text_of_batch(None, &long, SENT_BYTES_MAX).unwrap(), None);
        assert!(text_of_batch(None, &long, SENT_BYTES_MAX + 2).unwrap().is_some());
        assert_eq!(bytes_max(16 << 20), SENT_BYTES_MAX);
        assert_eq!(bytes_max(1 << 20), (1 << 20) - 1024);
    }
}
