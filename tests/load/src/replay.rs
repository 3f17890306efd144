//! Requests signed beforehand in a file, so that any generator can send them: ours, wrk with `tests/load/replay.lua`.
//!
//! One line is one request: id, Unix seconds, signature and body, separated by tabs; JSON has no raw tab or line feed.
//! A receiver takes each as new once, and refuses all of them when its skew (1800 s by default) has passed.

use super::figures::LoadFigures;
use super::generator::{self, Load};
use super::options::Options;
use super::pool::Pool;
use super::session::sign;
use super::template;
use super::watch::cpu_seconds;
use anyhow::{Context, Result, ensure};
use contract::signature::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use url::Url;

/// The headers of a line, in their order; its last field is the body.
const FIELDS: [&str; 3] = [WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE];

/// Signs so many events with the secret and writes them.
///
/// # Errors
/// When they are too many, or the file cannot be written.
pub fn prepare(options: &Options, events: u64, secret: &str, out: &Path) -> Result<()> {
    let pool = sign(options.bodies, events, secret)?;
    let file = std::fs::File::create(out).with_context(|| out.display().to_string())?;
    let mut file = BufWriter::new(file);
    for n in 0..pool.len() {
        let line = line_of(pool.request(n)).context("a request that we wrote")?;
        file.write_all(line.as_bytes())?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    Ok(())
}

/// Sends the requests of a file, each once, to an endpoint that is there already.
///
/// # Errors
/// When the file or the address cannot be read, or nobody listens.
pub async fn replay(options: &Options, file: &Path, url: &Url) -> Result<LoadFigures> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    ensure!(url.scheme() == "http", "the address begins with http://");
    let host = url.host_str().context("the address has a host")?;
    let port = url.port_or_known_default().context("the address has a port")?;
    let mut addresses = tokio::net::lookup_host((host, port)).await?;
    let target = addresses.next().context("the host has an address")?;
    let pool = Arc::new(read(&text, url.path())?);
    let load = Load {
        target,
        requests_max: Some(pool.len()),
        connections: options.connections(),
        threads: options.threads(),
        pace: options.pace(),
        time: options.time(),
    };
    let used = cpu_seconds(std::process::id())?;
    let speakers = Arc::new(pool);
    let measured = tokio::task::spawn_blocking(move || generator::run(load, &speakers)).await??;
    let used = cpu_seconds(std::process::id())? - used;
    Ok(LoadFigures::new(
        &measured,
        options.rate(),
        options.connections(),
        used,
    ))
}

/// The requests of a file's text, to this path.
fn read(text: &str, path: &str) -> Result<Pool> {
    let (mut bytes, mut ends) = (Vec::with_capacity(text.len() * 5 / 4), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let mut parts = line.splitn(FIELDS.len() + 1, '\t');
        let headers: Vec<(&str, &str)> = FIELDS.into_iter().zip(parts.by_ref()).collect();
        let body = parts
            .next()
            .with_context(|| format!("line {} has no body", number + 1))?;
        bytes.extend_from_slice(template::head(path, body.len(), &headers).as_bytes());
        bytes.extend_from_slice(body.as_bytes());
        ends.push(bytes.len());
    }
    ensure!(!ends.is_empty(), "the file is empty");
    Ok(Pool::of(bytes, ends))
}

fn line_of(request: &[u8]) -> Option<String> {
    let (head, body) = std::str::from_utf8(request).ok()?.split_once("\r\n\r\n")?;
    let mut fields = Vec::new();
    for field in FIELDS {
        let value = head
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
        fields.push(value?);
    }
    fields.push(body);
    Some(fields.join("\t"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lives::BodyStyle;

    #[test]
    fn what_was_written_is_read_as_the_same_requests() {
        let pool = sign(BodyStyle::Compact, 50, "sixteen-bytes-is").unwrap();
        let lines: Vec<String> = (0..50).map(|n| line_of(pool.request(n)).unwrap()).collect();
        let read = read(&lines.join("\n"), template::PATH).unwrap();
        assert_eq!(read.len(), 50);
        for n in 0..50 {
            assert_eq!(read.request(n), pool.request(n));
        }
    }

    #[test]
    fn a_line_without_a_body_is_refused() {
        assert!(read("evt_1\t1795000000\tv1,AAAA", "/").is_err());
        assert!(read("", "/").is_err());
    }
}
