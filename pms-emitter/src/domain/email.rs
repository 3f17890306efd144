//! E-mail addresses: the shape of RFC 5321 with local parts of RFC 6531, quoted local parts left out.

use contract::MailboxKind;
use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};
use serde::{Deserialize, Serialize};

/// The longest address, in bytes (RFC 5321, section 4.5.3.1.3, less the angle brackets).
const ADDRESS_LEN_MAX: usize = 254;

/// The longest local part, in bytes (RFC 5321, section 4.5.3.1.1).
const LOCAL_LEN_MAX: usize = 64;

/// One `@`, a local part as it was typed, and a domain of at least two labels in lower case and in its ASCII form
/// (IDNA, UTS 46).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

impl Email {
    /// Reads an address that is trimmed and in NFC. A domain of one label (`a@b`) is refused: no mail reaches it from
    /// outside, and it is nearly always a slip. Dots may stand anywhere in the local part: some carriers issue such.
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        if local.is_empty() || local.len() > LOCAL_LEN_MAX || !local.chars().all(is_local) {
            return None;
        }
        let domain = Uts46::new()
            .to_ascii(
                domain.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Verify,
            )
            .ok()?;
        let top = domain.rsplit_once('.').map(|(_, top)| top)?;
        if top.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let address = format!("{local}@{domain}");
        (address.len() <= ADDRESS_LEN_MAX).then_some(Self(address))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a person's, an agency's relay, or an office's.
    pub fn kind(&self) -> MailboxKind {
        MailboxKind::of(&self.0)
    }
}

fn is_local(c: char) -> bool {
    !(c.is_control() || c.is_whitespace() || r#"()<>[]:;,\"@"#.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_normalised_and_the_local_part_kept() {
        for (text, address) in [
            ("john@example.com", "john@example.com"),
            ("John.Doe+x@EXAMPLE.Com", "John.Doe+x@example.com"),
            ("ana@müller.example", "ana@xn--mller-kva.example"),
            ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),
            ("a..b.@docomo.example", "a..b.@docomo.example"),
            ("o'brien@r3---sn.example", "o'brien@r3---sn.example"),
        ] {
            assert_eq!(Email::parse(text).map(|email| email.0).as_deref(), Some(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "x".repeat(65));
        let longer = format!("{}@{}.com", "x".repeat(64), "abcdefg.".repeat(24));
        for text in [
            "",
            "@",
            "a@",
            "@b.com",
            "a@b",
            "a@b@c.com",
            "a b@c.com",
            "a@b c.com",
            "a@b..com",
            "a@.com",
            "a@b.com.",
            "a@-b.com",
            "a@b_c.com",
            "a@127.0.0.1",
            "a@[127.0.0.1]",
            "<a@b.com>",
            "\"a b\"@c.com",
            "a\u{0}@b.com",
            "a@b.com\r\nbcc: c@d.com",
            &long,
            &longer,
        ] {
            assert_eq!(Email::parse(text), None, "{text:?}");
        }
    }
}
