//! As much of HTTP/1.1 as the generator reads: a status, and where the answer ends.
//!
//! The services and the bare endpoint always say how long an answer is; one that does not is refused, since the
//! connection could not be used again. Pure.

use anyhow::{Context, Result, ensure};

/// The longest answer that is read: the longest list, and its head.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024 + 64 * 1024;

/// An answer that has arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its bytes, head and body.
    pub len: usize,
    /// Whether the server keeps the connection.
    pub keeps: bool,
}

/// The answer at the beginning of `bytes`; None while some of it is missing.
///
/// # Errors
/// When it is no answer, says no length, or is too long.
pub fn read(bytes: &[u8]) -> Result<Option<Answer>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        ensure!(bytes.len() < ANSWER_BYTES_MAX, "a head without an end");
        return Ok(None);
    };
    let status = bytes.get(9..12).filter(|_| bytes.starts_with(b"HTTP/1.1 "));
    let status = std::str::from_utf8(status.context("no status line")?)?.parse()?;
    let (mut body, mut keeps) = (None, true);
    for line in bytes[..head].split(|byte| *byte == b'\n').skip(1) {
        if let Some(value) = value_of(line, b"content-length:") {
            body = Some(value.parse::<usize>()?);
        } else if let Some(value) = value_of(line, b"connection:") {
            keeps = !value.eq_ignore_ascii_case("close");
        }
    }
    let len = head + 4 + body.context("an answer without a length")?;
    ensure!(len <= ANSWER_BYTES_MAX, "an answer of {len} bytes");
    Ok((bytes.len() >= len).then_some(Answer { status, len, keeps }))
}

/// The value of the first header of a whole answer whose line begins with `name`, a colon at its end.
pub fn header<'a>(answer: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let lines = answer.split(|byte| *byte == b'\n').skip(1);
    lines
        .take_while(|line| *line != b"\r")
        .find_map(|line| value_of(line, name))
}

fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l str> {
    let given = line.get(..name.len())?;
    given
        .eq_ignore_ascii_case(name)
        .then(|| std::str::from_utf8(&line[name.len()..]).ok().map(str::trim))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let text = b"HTTP/1.1 202 Accepted\r\nX: y\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 ";
        let whole = text.len() - "HTTP/1.1 ".len();
        for end in 0..whole {
            assert_eq!(read(&text[..end]).unwrap(), None, "{end}");
        }
        let answer = Answer {
            status: 202,
            len: whole,
            keeps: true,
        };
        assert_eq!(read(text).unwrap(), Some(answer));
    }

    #[test]
    fn a_closing_answer_says_so() {
        let text = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let answer = read(text).unwrap().unwrap();
        assert_eq!((answer.status, answer.keeps), (503, false));
    }

    #[test]
    fn a_header_is_found_in_the_head_alone() {
        let text = b"HTTP/1.1 200 OK\r\nETag: \"7\"\r\n\r\nx: y\n";
        assert_eq!(header(text, b"etag:"), Some("\"7\""));
        assert_eq!(header(text, b"x:"), None);
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "SSH-2.0-x\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
