//! What kind of mailbox an e-mail address names: a person's, an agency's relay, or an office's.
//!
//! Both services use it: the emitter shows `email_kind`, the receiver never identifies a person by the address of a
//! relay or an office. The lists are data files beside the code.

use serde::{Deserialize, Serialize};
use std::{collections::HashSet, sync::LazyLock};
use strum::EnumString;

static RELAY_DOMAINS: LazyLock<HashSet<&str>> =
    LazyLock::new(|| lines(include_str!("../data/ota_relay_domains.txt")));
static ROLE_NAMES: LazyLock<HashSet<&str>> =
    LazyLock::new(|| lines(include_str!("../data/role_mailboxes.txt")));

/// Whose mailbox an address is. The order is that of preference, the best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum MailboxKind {
    /// An online travel agency's relay: it changes with every booking, and is nobody's identity.
    OtaRelay,
    /// An office's: info@, reservations@.
    Role,
    /// A person's, as far as the address shows.
    Real,
}

impl MailboxKind {
    /// The kind of an address. Letter case does not matter; a subdomain of a relay is a relay, by whole labels.
    pub fn of(address: &str) -> Self {
        let address = address.to_lowercase();
        let Some((local, domain)) = address.rsplit_once('@') else {
            return Self::Real;
        };
        let untagged = local.split_once('+').map_or(local, |(name, _)| name);
        if is_relay(domain) {
            Self::OtaRelay
        } else if ROLE_NAMES.contains(untagged) {
            Self::Role
        } else {
            Self::Real
        }
    }
}

fn is_relay(domain: &str) -> bool {
    std::iter::successors(Some(domain), |rest| {
        rest.split_once('.').map(|(_, parent)| parent)
    })
    .any(|suffix| RELAY_DOMAINS.contains(suffix))
}

fn lines(file: &'static str) -> HashSet<&'static str> {
    file.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_are_matched_by_whole_labels_and_win_over_roles() {
        for (address, kind) in [
            ("ana@example.com", MailboxKind::Real),
            ("x1@guest.booking.com", MailboxKind::OtaRelay),
            ("x1@GUEST.Booking.com", MailboxKind::OtaRelay),
            ("x1@eu.m.expediapartnercentral.com", MailboxKind::OtaRelay),
            ("booking@guest.booking.com", MailboxKind::OtaRelay),
            ("x1@notguest.airbnb.com", MailboxKind::Real),
            ("x1@notairbnb.com", MailboxKind::Real),
            ("x1@booking.com", MailboxKind::Real),
            ("x1@guest.booking.com.example.org", MailboxKind::Real),
            ("Info@example.com", MailboxKind::Role),
            ("reservations+spring@example.com", MailboxKind::Role),
            ("information.desk@example.com", MailboxKind::Real),
            ("no address", MailboxKind::Real),
        ] {
            assert_eq!(MailboxKind::of(address), kind, "{address}");
        }
        assert_eq!(RELAY_DOMAINS.len(), 22);
    }
}
