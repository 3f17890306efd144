//! Pipelines of requests: each put together from tables of parts, then changed in a few bytes.

use super::BODY_LEN_MAX;
use bolero::TypeGenerator;

/// One request, by its parts' places in the tables.
#[derive(Clone, Debug, TypeGenerator)]
pub(super) struct Draft {
    pub(super) line: u8,
    pub(super) host: u8,
    pub(super) extra: u8,
    pub(super) framing: u8,
    pub(super) body: u8,
}

/// A change of one byte.
#[derive(Clone, Copy, Debug, TypeGenerator)]
pub(super) struct Edit {
    place: u16,
    byte: u8,
    kind: EditKind,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
pub(super) enum EditKind {
    Replace,
    Insert,
    InsertOdd,
    Remove,
    CutHere,
}

pub(super) const LINES: [&str; 14] = [
    "POST /read HTTP/1.1",
    "POST /read HTTP/1.1",
    "POST /early HTTP/1.1",
    "POST /early HTTP/1.1",
    "GET /plain HTTP/1.1",
    "HEAD /plain HTTP/1.1",
    "GET /none HTTP/1.1",
    "PUT /read HTTP/1.1",
    "POST http://test/read HTTP/1.1",
    "POST /read HTTP/1.0",
    "GET /plain HTTP/1.0",
    "GET /plain HTTP/1.2",
    "GET  /plain HTTP/1.1",
    "CONNECT test:80 HTTP/1.1",
];
const HOSTS: [&str; 10] = [
    "host: test\r\n",
    "host: test\r\n",
    "host: test\r\n",
    "host: test\r\n",
    "Host:test:80\r\n",
    "host: test\n",
    "",
    "host: a b\r\n",
    "host: test\r\nhost: test\r\n",
    "host : test\r\n",
];
const EXTRAS: [&str; 8] = [
    "",
    "",
    "connection: keep-alive\r\n",
    "connection: close\r\n",
    "expect: 100-continue\r\n",
    "upgrade: x\r\nconnection: upgrade\r\n",
    "x: y\r\n folded: z\r\n",
    "x-request-id: twice\r\n",
];
/// `{len}` is the body's real length.
pub(super) const FRAMINGS: [&str; 16] = [
    "content-length: {len}\r\n",
    "content-length: {len}\r\n",
    "content-length: {len}\r\n",
    "content-length: {len}0\r\n",
    "content-length: {len}\r\ncontent-length: {len}\r\n",
    "content-length: {len}\r\ncontent-length: 1\r\n",
    "content-length: +{len}\r\n",
    "content-length: {len}, {len}\r\n",
    "",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: Chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    "transfer-encoding: identity\r\n",
    "content-length: 3\r\ntransfer-encoding: chunked\r\n",
    "transfer-encoding: chunked\r\ncontent-length: {len}\r\n",
];
const SMUGGLED: &str =
    "POST /read HTTP/1.1\r\nhost: test\r\nx-request-id: within\r\ncontent-length: 0\r\n\r\n";
/// `{it}` is a request that must never be answered, `{size}` its length in hexadecimal digits.
pub(super) const BODIES: [&str; 15] = [
    "",
    "",
    "abc",
    "{it}",
    "\r\n\r\n{it}",
    "\n{it}{it}",
    "0\r\n\r\n{it}",
    "{size}\r\n{it}\r\n0\r\n\r\n",
    "{size};x=\"y\"\r\n{it}\r\n0\r\nx: y\r\n\r\n",
    "{size} \r\n{it}\r\n0\r\n\r\n",
    "{size}\n{it}\r\n0\r\n\r\n",
    "1\r\n{it}\r\n0\r\n\r\n",
    "3\r\nabc\r\n0\r\n{it}",
    "0\r\nx: y\n\r\n",
    "{long}{it}",
];
/// Bytes that end something.
const ODD: [u8; 10] = *b"\r\n\0 \t:,;0\x7f";

pub(super) fn pipeline(drafts: &[Draft], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (nth, draft) in drafts.iter().enumerate() {
        let body = of(&BODIES, draft.body)
            .replace("{it}", SMUGGLED)
            .replace("{size}", &format!("{:x}", SMUGGLED.len()))
            .replace("{long}", &"x".repeat(BODY_LEN_MAX));
        let framing = of(&FRAMINGS, draft.framing).replace("{len}", &body.len().to_string());
        let (line, host, extra) = (
            of(&LINES, draft.line),
            of(&HOSTS, draft.host),
            of(&EXTRAS, draft.extra),
        );
        let request = format!("{line}\r\n{host}x-request-id: nth-{nth}\r\n{extra}{framing}\r\n{body}");
        bytes.extend_from_slice(request.as_bytes());
    }
    for edit in edits {
        let at = usize::from(edit.place) % (bytes.len() + 1);
        match edit.kind {
            EditKind::Insert => bytes.insert(at, edit.byte),
            EditKind::InsertOdd => bytes.insert(at, ODD[usize::from(edit.byte) % ODD.len()]),
            EditKind::CutHere => bytes.truncate(at),
            EditKind::Replace if at < bytes.len() => bytes[at] = edit.byte,
            EditKind::Remove if at < bytes.len() => drop(bytes.remove(at)),
            EditKind::Replace | EditKind::Remove => {}
        }
    }
    bytes
}

fn of(table: &[&'static str], place: u8) -> &'static str {
    table[usize::from(place) % table.len()]
}
