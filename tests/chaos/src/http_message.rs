//! Just enough of HTTP/1.1 to see where a message ends, what its headers say, and which status it has.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest message that passes: a body of the receiver's limit, and room for the head.
const MESSAGE_BYTES_MAX: usize = 512 * 1024;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// The lines before a message's body.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a>(&'a str);

impl<'a> Head<'a> {
    /// The head of a whole message.
    ///
    /// # Errors
    /// When it has no end, or is no text.
    pub fn of(message: &'a [u8]) -> Result<Self> {
        let end = head_len(message).context("a head without an end")?;
        Ok(Self(std::str::from_utf8(&message[..end])?))
    }

    /// The value of a header; names are compared without regard to case.
    pub fn header(self, name: &str) -> Option<&'a str> {
        self.0.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The path of a request.
    pub fn path(self) -> Option<&'a str> {
        self.0.split(' ').nth(1)
    }

    /// The status of an answer.
    pub fn status(self) -> Option<u16> {
        self.0.split(' ').nth(1)?.parse().ok()
    }
}

/// Reads one message whose length is declared, head and body. `unread` holds what was read beyond it. None at the end of
/// the connection.
///
/// # Errors
/// When the connection breaks in the middle of a message, or the message is over its bound.
pub async fn read_message(
    from: &mut (impl AsyncRead + Unpin),
    unread: &mut Vec<u8>,
) -> Result<Option<Vec<u8>>> {
    loop {
        if let Some(len) = message_len(unread)?
            && unread.len() >= len
        {
            let rest = unread.split_off(len);
            return Ok(Some(std::mem::replace(unread, rest)));
        }
        ensure!(unread.len() <= MESSAGE_BYTES_MAX, "the message is too large");
        if from.read_buf(unread).await? == 0 {
            ensure!(
                unread.is_empty(),
                "the connection broke in the middle of a message"
            );
            return Ok(None);
        }
    }
}

/// The length of the message that these bytes begin, once its head is whole.
fn message_len(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head) = head_len(bytes) else {
        return Ok(None);
    };
    let declared = Head::of(bytes)?.header("content-length").unwrap_or("0");
    Ok(Some(head + declared.parse::<usize>()?))
}

fn head_len(bytes: &[u8]) -> Option<usize> {
    let mut windows = bytes.windows(HEAD_END.len());
    windows
        .position(|window| window == HEAD_END)
        .map(|at| at + HEAD_END.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_separated_wherever_they_are_cut() {
        let one = b"POST /x HTTP/1.1\r\nWebhook-Id: evt_1\r\nContent-Length: 3\r\n\r\nabc".as_slice();
        let two = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".as_slice();
        let both = [one, two].concat();
        for cut in 0..both.len() {
            let mut wire = both[..cut].chain(&both[cut..]);
            let mut unread = Vec::new();
            let first = read_message(&mut wire, &mut unread).await.unwrap().unwrap();
            assert_eq!(first, one);
            let head = Head::of(&first).unwrap();
            assert_eq!(
                (head.path(), head.header("webhook-id")),
                (Some("/x"), Some("evt_1"))
            );
            let second = read_message(&mut wire, &mut unread).await.unwrap().unwrap();
            assert_eq!(Head::of(&second).unwrap().status(), Some(202));
            assert_eq!(read_message(&mut wire, &mut unread).await.unwrap(), None);
        }
        let mut broken = &one[..one.len() - 1];
        assert!(read_message(&mut broken, &mut Vec::new()).await.is_err());
    }
}
