//! Where each request of a byte stream begins, and how its body ends: read off RFC 9112, not off hyper.
//!
//! Where the RFC leaves a choice, the reading that refuses is taken, but for a bare LF at the end of a line (section 2.2).
//! What has one meaning and may be refused all the same is [`Request::doubtful`]. Behind a request whose end is not known,
//! or that ends its connection, nothing is a request.

/// The longest head that must be taken.
const HEAD_LEN_SURE: usize = 4 * 1024;

/// All of a connection's bytes, read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) requests: Vec<Request>,
    /// Behind the requests stands what is no request, or half of one.
    pub(super) rest: bool,
}

#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    /// Its `x-request-id`, if it is one.
    pub(super) id: Option<String>,
    pub(super) body: Body,
    /// It must be refused with 400.
    pub(super) refused: bool,
    /// It may be refused before it has an id.
    pub(super) doubtful: bool,
    /// Nothing follows it.
    pub(super) last: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Body {
    /// The head frames none.
    #[default]
    None,
    Whole(Vec<u8>),
    /// More of it would have to come.
    Unfinished,
    Malformed,
}

/// How a head says that its body ends.
#[derive(Clone, Copy)]
enum Framing {
    None,
    Length(u64),
    Chunked,
}

type Fields<'b> = Vec<(String, &'b [u8])>;

pub(super) fn read(bytes: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let mut at = 0;
    loop {
        at += empty_lines(&bytes[at..]);
        if at == bytes.len() {
            return reading;
        }
        let Some((mut request, head_len, framing)) = head(&bytes[at..]) else {
            reading.rest = true;
            return reading;
        };
        at += head_len;
        if !request.refused {
            at += take_body(&mut request, framing, &bytes[at..]);
        }
        let last = request.last || request.refused;
        let unended = matches!(request.body, Body::Unfinished | Body::Malformed);
        reading.requests.push(request);
        if last || unended {
            return reading;
        }
    }
}

/// Section 2.2: empty lines before a request line are skipped.
fn empty_lines(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match &bytes[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [b'\n', ..] => at += 1,
            _ => return at,
        }
    }
}

/// Section 2.1: a request line, field lines, an empty line. None where it is broken, or not whole.
fn head(bytes: &[u8]) -> Option<(Request, usize, Framing)> {
    let mut at = 0;
    let mut lines = Vec::new();
    loop {
        let len = bytes[at..].iter().position(|byte| *byte == b'\n')?;
        let line = &bytes[at..at + len];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at += len + 1;
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let (first, lines) = lines.split_first()?;
    let (mut request, is_1_1) = request_line(first)?;
    let fields: Fields<'_> = lines.iter().map(|line| field(line)).collect::<Option<_>>()?;
    let framing = framing(&fields, is_1_1, &mut request)?;
    request.refused |= !is_host_clear(&fields, is_1_1, &request.target);
    request.id = request_id(&fields);
    let connection = |wanted: &str| all(&fields, "connection").any(|value| has_token(value, wanted));
    // Section 9.3.
    request.last |= connection("close") || (!is_1_1 && !connection("keep-alive"));
    request.doubtful |= at > HEAD_LEN_SURE;
    Some((request, at, framing))
}

/// Section 3: `method SP request-target SP HTTP-version`.
fn request_line(line: &[u8]) -> Option<(Request, bool)> {
    let text = String::from_utf8_lossy(line);
    let [method, target, version] = text.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let is_1_1 = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return None,
    };
    let request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        // Section 3.2: of a target that is none of the four forms it is only said that it should be refused.
        doubtful: !is_target(method, target),
        ..Request::default()
    };
    (is_token(method.as_bytes()) && !target.is_empty()).then_some((request, is_1_1))
}

fn is_target(method: &str, target: &str) -> bool {
    let path = target.strip_prefix("http://").map_or(Some(target), |rest| {
        let at = rest.find('/')?;
        is_authority(&rest[..at]).then_some(&rest[at..])
    });
    let characters = |byte: u8| byte.is_ascii_alphanumeric() || b"/?-._~!$&'()*+,;=:@".contains(&byte);
    method != "CONNECT" && path.is_some_and(|path| path.starts_with('/') && path.bytes().all(characters))
}

/// Section 5: `field-name ":" OWS field-value OWS`, no space before the colon, no continued line; of the value, RFC 9110,
/// section 5.5.
fn field(line: &[u8]) -> Option<(String, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let whole = is_token(name) && line[colon + 1..].iter().all(is_text);
    whole.then(|| (String::from_utf8_lossy(name).to_ascii_lowercase(), value))
}

/// RFC 9110, section 5.6.2.
fn is_token(name: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_tchar)
}

fn all<'f>(fields: &'f Fields<'_>, name: &'f str) -> impl Iterator<Item = &'f [u8]> {
    let named = fields.iter().filter(move |(other, _)| other == name);
    named.map(|(_, value)| *value)
}

fn has_token(value: &[u8], wanted: &str) -> bool {
    let mut tokens = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    tokens.any(|token| token.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// Section 3.2: HTTP/1.1 has one `Host`, HTTP/1.0 at most one; and it, and the authority of an absolute target, are valid.
fn is_host_clear(fields: &Fields<'_>, is_1_1: bool, target: &str) -> bool {
    let hosts: Vec<&[u8]> = all(fields, "host").collect();
    let named = match hosts[..] {
        [] => !is_1_1,
        [only] => std::str::from_utf8(only).is_ok_and(is_authority),
        _ => false,
    };
    let authority = target
        .strip_prefix("http://")
        .and_then(|rest| rest.split(['/', '?']).next());
    named && authority.is_none_or(is_authority)
}

/// RFC 3986, section 3.2, of names alone: no address in brackets is sent here. A comma is refused, as two hosts joined.
fn is_authority(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    let encoded: Vec<&str> = name.split('%').skip(1).collect();
    let is_encoded =
        |part: &&str| part.len() > 1 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(&byte))
        && encoded.iter().all(is_encoded)
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && (port.is_empty() || port.parse::<u16>().is_ok())
}

fn request_id(fields: &Fields<'_>) -> Option<String> {
    let ids: Vec<&[u8]> = all(fields, "x-request-id").collect();
    let [only] = ids[..] else { return None };
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let valid = (1..=64).contains(&only.len()) && only.iter().all(is_part);
    valid.then(|| String::from_utf8_lossy(only).into_owned())
}

/// Section 6.3. None where the length is not known: 400, and the connection ends.
fn framing(fields: &Fields<'_>, is_1_1: bool, request: &mut Request) -> Option<Framing> {
    let lengths: Vec<&[u8]> = all(fields, "content-length").collect();
    let codings: Vec<&[u8]> = all(fields, "transfer-encoding").collect();
    if !codings.is_empty() {
        // Section 6.1: chunks are none of HTTP/1.0's. Of a list of codings only the end would be known.
        let only = matches!(codings[..], [only] if only.eq_ignore_ascii_case(b"chunked"));
        request.refused = !is_1_1 || !only;
        request.doubtful |= request.refused || !lengths.is_empty();
        request.last = !lengths.is_empty();
        return Some(Framing::Chunked);
    }
    let number = |value: &&[u8]| {
        let digits = value.iter().all(u8::is_ascii_digit).then_some(*value)?;
        std::str::from_utf8(digits).ok()?.parse::<u64>().ok()
    };
    let lengths = lengths.iter().map(number).collect::<Option<Vec<_>>>()?;
    let Some((&length, others)) = lengths.split_first() else {
        return Some(Framing::None);
    };
    if others.iter().any(|other| *other != length) {
        return None;
    }
    // The same length twice may be refused; one that no body can have as well.
    request.doubtful |= !others.is_empty() || length > u64::MAX / 2;
    Some(if length == 0 {
        Framing::None
    } else {
        Framing::Length(length)
    })
}

/// Takes the body off the front of these bytes, and says how many it was.
fn take_body(request: &mut Request, framing: Framing, bytes: &[u8]) -> usize {
    let (body, len) = match framing {
        Framing::None => (Body::None, 0),
        Framing::Length(declared) => match usize::try_from(declared).ok().and_then(|len| bytes.get(..len)) {
            Some(whole) => (Body::Whole(whole.to_vec()), whole.len()),
            None => (Body::Unfinished, bytes.len()),
        },
        Framing::Chunked => match chunked(bytes) {
            Ok((whole, len)) => (Body::Whole(whole), len),
            Err(why) => (why, bytes.len()),
        },
    };
    request.body = body;
    len
}

/// Section 7.1: chunks, the last of them empty, trailers, an empty line; lines end in CR LF.
fn chunked(bytes: &[u8]) -> Result<(Vec<u8>, usize), Body> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = line(bytes, &mut at)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        // Section 7.1.1: extensions that are not known are skipped. White space that could stand before one is taken without
        // one, too.
        let blank = line[digits..]
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        let extension = &line[digits + blank..];
        let size = std::str::from_utf8(&line[..digits]).ok();
        let size = size.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let (Some(size), [] | [b';', ..]) = (size, extension) else {
            return Err(Body::Malformed);
        };
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).map_err(|_| Body::Unfinished)?;
        let rest = &bytes[at..];
        if rest.len() < size {
            return Err(Body::Unfinished);
        }
        body.extend_from_slice(&rest[..size]);
        match &rest[size..] {
            [b'\r', b'\n', ..] => at += size + 2,
            [] | [b'\r'] => return Err(Body::Unfinished),
            _ => return Err(Body::Malformed),
        }
    }
    // Section 7.1.2: trailer fields are fields.
    loop {
        match line(bytes, &mut at)? {
            [] => return Ok((body, at)),
            trailer if field(trailer).is_some() => {}
            _ => return Err(Body::Malformed),
        }
    }
}

/// A line that ends in CR LF, and in nothing else.
fn line<'b>(bytes: &'b [u8], at: &mut usize) -> Result<&'b [u8], Body> {
    let rest = &bytes[*at..];
    let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return Err(Body::Unfinished);
    };
    match &rest[end..] {
        [b'\r', b'\n', ..] => {
            *at += end + 2;
            Ok(&rest[..end])
        }
        [b'\r'] => Err(Body::Unfinished),
        _ => Err(Body::Malformed),
    }
}
