//! Hosts as they are written in settings: a name, or an address, an IPv6 one in brackets or not.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The longest name in the DNS.
const NAME_LEN_MAX: usize = 253;

/// Why a text is no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// A whole URL.
    #[error("it must be a host alone, without http:// or a path")]
    Url,
    /// `host:port`.
    #[error("it must be a host alone: its port has a variable of its own")]
    Port,
    /// Neither a name nor an address, such as `*`, or an address in another notation, such as `127.1`.
    #[error("it must be a host name, an IPv4 address of four numbers or an IPv6 address")]
    Neither,
}

/// The host; an IPv6 address without its brackets.
///
/// # Errors
/// When it is no host, or more than one.
pub fn host(text: &str) -> Result<String, InvalidHost> {
    if text.contains('/') {
        return Err(InvalidHost::Url);
    }
    if let Some(inside) = text.strip_prefix('[') {
        let (address, after) = inside.split_once(']').ok_or(InvalidHost::Neither)?;
        return match address.parse::<Ipv6Addr>() {
            Ok(_) if after.is_empty() => Ok(address.to_owned()),
            Ok(_) if after.starts_with(':') => Err(InvalidHost::Port),
            _ => Err(InvalidHost::Neither),
        };
    }
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    if let Some((name, port)) = text.rsplit_once(':') {
        let one_colon = !name.is_empty() && !name.contains(':');
        let is_port = one_colon && port.bytes().all(|byte| byte.is_ascii_digit());
        return Err(if is_port {
            InvalidHost::Port
        } else {
            InvalidHost::Neither
        });
    }
    let labels = text.strip_suffix('.').unwrap_or(text).split('.');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let valid = |label: &str| !label.is_empty() && label.bytes().all(plain);
    // The resolver reads `0`, `127.1` and `0x7f.1` as addresses, usually not as the intended ones.
    let last = labels.clone().next_back().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    if text.len() > NAME_LEN_MAX || !labels.clone().all(valid) || is_number {
        return Err(InvalidHost::Neither);
    }
    Ok(text.to_owned())
}

/// Where metrics are shown: `host:port`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsAddr(pub(super) String);

impl FromStr for MetricsAddr {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let meant = || {
            let (name, port) = text.rsplit_once(':')?;
            let in_brackets = name.starts_with('[');
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port: u16 = port.parse().ok().filter(|_| digits)?;
            let host = host(name).ok()?;
            (in_brackets == host.contains(':')).then(|| Self(format!("{name}:{port}")))
        };
        meant().ok_or("it must be host:port, such as 127.0.0.1:9101 or [::1]:9101")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case26_a_host_is_a_name_or_an_address_and_nothing_beside() {
        for (text, meant) in [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "0.0.0.0"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("localhost", "localhost"),
            ("db-1.example.com.", "db-1.example.com."),
            ("a_database", "a_database"),
            ("1.example", "1.example"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(meant), "{text}");
        }
        for (text, why) in [
            ("http://127.0.0.1", InvalidHost::Url),
            ("/var/run/mysqld.sock", InvalidHost::Url),
            ("127.0.0.1:4001", InvalidHost::Port),
            ("localhost:4001", InvalidHost::Port),
            ("[::1]:4001", InvalidHost::Port),
            ("*", InvalidHost::Neither),
            ("", InvalidHost::Neither),
            ("0", InvalidHost::Neither),
            ("127.1", InvalidHost::Neither),
            ("0x7f.1", InvalidHost::Neither),
            ("0x7f000001", InvalidHost::Neither),
            ("256.0.0.1", InvalidHost::Neither),
            ("a b", InvalidHost::Neither),
            ("a..b", InvalidHost::Neither),
            ("[127.0.0.1]", InvalidHost::Neither),
            ("::1]", InvalidHost::Neither),
            ("b\u{fc}ro", InvalidHost::Neither),
        ] {
            assert_eq!(host(text), Err(why), "{text}");
        }
        for (text, valid) in [
            ("127.0.0.1:9101", true),
            ("[::1]:80", true),
            ("localhost:0", true),
            ("::1:80", false),
            ("[127.0.0.1]:80", false),
            ("127.0.0.1:+80", false),
            ("127.0.0.1:65536", false),
            ("9101", false),
            (":9101", false),
            ("*:9101", false),
            ("http://127.0.0.1:9101", false),
        ] {
            assert_eq!(text.parse::<MetricsAddr>().is_ok(), valid, "{text}");
        }
    }
}
