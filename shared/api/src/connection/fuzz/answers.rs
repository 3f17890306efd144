//! The answers in what a server wrote, one behind the other and nothing between them.

use super::ECHO;

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The request that it names; hyper's own names none.
    pub(super) id: Option<String>,
    pub(super) closes: bool,
    content_type: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Whether the whole body was read.
    pub(super) fn is_echo(&self) -> bool {
        self.content_type == ECHO
    }
}

/// Reads them; `methods` are those of the requests in their order, since an answer to HEAD has a length and no body.
pub(super) fn read(said: &[u8], methods: &[&str]) -> Result<Vec<Answer>, &'static str> {
    let (mut answers, mut rest) = (Vec::new(), said);
    while !rest.is_empty() {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.ok_or("half an answer")?;
        let head = std::str::from_utf8(&rest[..end]).map_err(|_| "a head that is no text")?;
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
        let status = status.and_then(|line| line.get(2..5)?.parse().ok());
        let status: u16 = status.ok_or("something between two answers")?;
        if status == 100 {
            continue;
        }
        let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
        let field = |wanted: &str| {
            let found = fields.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| *value)
        };
        let declared = field("content-length").and_then(|value| value.parse().ok());
        let declared: usize = declared.ok_or("an answer without a length")?;
        let len = if methods.get(answers.len()) == Some(&"HEAD") {
            0
        } else {
            declared
        };
        let body = rest.get(..len).ok_or("half a body")?.to_vec();
        rest = &rest[len..];
        answers.push(Answer {
            status,
            id: field("x-request-id").map(str::to_owned),
            // hyper adds its `keep-alive` to the `close` of an answer to HTTP/1.0.
            closes: field("connection").is_some_and(|value| value.split(", ").any(|token| token == "close")),
            content_type: field("content-type").unwrap_or_default().to_owned(),
            body,
        });
    }
    Ok(answers)
}
