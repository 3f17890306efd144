//! An API key: what is chosen for it, what is kept of it, and how it is made.

use super::{networks::is_allowed, rate_limit::Limit};
use api::access::Permissions;
use contract::{Clock, Entropy, Ids, KeyId, Scope, TypedId, UnixMillis, text::is_invisible};
use data_encoding::BASE64URL_NOPAD;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{net::IpAddr, str::FromStr, sync::Arc};
use validator::{Validate, ValidationError};

/// Random bytes of a key.
const KEY_BYTES: usize = 32;
/// Their characters in base64url.
const KEY_CHARS: usize = 43;
/// What a key begins with, unless the operator chooses otherwise.
pub const PREFIX_DEFAULT: &str = "gw_";
/// The longest prefix, in bytes.
const PREFIX_LEN_MAX: usize = 16;
/// Characters of a key after its prefix that are shown later, for people who look for one among several.
const HINT_CHARS: usize = 4;
/// Requests in a window, and the window's seconds, when none are chosen.
const RATE_LIMIT_DEFAULT: u32 = 1_000;
const RATE_WINDOW_DEFAULT: u32 = 3_600;
/// Characters of a name: with the id of its key it fits the columns of the audit log.
const NAME_CHARS_MAX: usize = 64;
/// Networks that a key, or a sender, may be used from, at most.
pub const NETWORKS_MAX: u64 = 32;

/// What a key's text is found by.
pub(super) type KeyDigest = [u8; 32];

/// What is chosen for a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// For people; it stands in the audit log.
    #[validate(custom(function = "plain_name"))]
    pub name: String,
    /// What it may do.
    pub permissions: Permissions,
    /// What it may see.
    pub scope: Scope,
    /// When it ends; none: never.
    #[serde(default)]
    pub expires_at: Option<UnixMillis>,
    /// Whether it is taken at all.
    #[serde(default = "active")]
    pub active: bool,
    /// Requests in a window.
    #[serde(default = "rate_limit")]
    #[validate(range(min = 1, max = 1_000_000_000, message = "it must be 1 to 1000000000"))]
    pub rate_limit: u32,
    /// Seconds of a window.
    #[serde(default = "rate_window")]
    #[validate(range(min = 1, max = 86_400, message = "it must be 1 to 86400 seconds"))]
    pub rate_window: u32,
    /// Where it may be used from; empty: anywhere.
    #[serde(default)]
    #[validate(length(max = NETWORKS_MAX, message = "there are too many networks"))]
    pub allowed_networks: Vec<IpNet>,
}

fn active() -> bool {
    true
}

fn rate_limit() -> u32 {
    RATE_LIMIT_DEFAULT
}

fn rate_window() -> u32 {
    RATE_WINDOW_DEFAULT
}

/// 1 to 64 characters that are seen as they are: the name stands in logs, where others could be read into it.
///
/// # Errors
/// `invalid`.
pub fn plain_name(name: &str) -> Result<(), ValidationError> {
    let valid = (1..=NAME_CHARS_MAX).contains(&name.chars().count())
        && !name.chars().any(|sign| sign.is_control() || is_invisible(sign))
        && name.trim() == name;
    if valid {
        return Ok(());
    }
    let message =
        "it must have 1 to 64 characters, none of them invisible, a control character, or a space at an edge";
    Err(ValidationError::new("invalid").with_message(message.into()))
}

impl KeySettings {
    /// Whether a key with these settings may do, see and ask for all that one with the `other` may, as long and from where.
    pub(super) fn cover(&self, other: &Self) -> bool {
        let rate = |asked: &Self, window: &Self| u64::from(asked.rate_limit) * u64::from(window.rate_window);
        let networks = &self.allowed_networks;
        let is_within = |inner: &IpNet| networks.iter().any(|own| own.contains(inner));
        self.permissions.cover(&other.permissions)
            && self.scope.covers(&other.scope)
            && self
                .expires_at
                .is_none_or(|end| other.expires_at.is_some_and(|earlier| earlier <= end))
            && (networks.is_empty()
                || (!other.allowed_networks.is_empty() && other.allowed_networks.iter().all(is_within)))
            && rate(other, self) <= rate(self, other)
    }

    /// How often it may ask.
    pub(super) fn limit(&self) -> Limit {
        Limit {
            count: self.rate_limit,
            window_seconds: self.rate_window,
        }
    }

    /// Whether its end has come.
    pub(super) fn ends_before(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// The settings of a key that nobody limits further, by name, permissions and scope.
    pub fn new(name: impl Into<String>, permissions: Permissions, scope: Scope) -> Self {
        Self {
            name: name.into(),
            permissions,
            scope,
            expires_at: None,
            active: active(),
            rate_limit: rate_limit(),
            rate_window: rate_window(),
            allowed_networks: Vec::new(),
        }
    }
}

/// A key as it is kept: everything but the key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Names it.
    pub id: KeyId,
    /// Its first characters.
    pub hint: String,
    /// What was chosen for it.
    pub settings: KeySettings,
    /// The name of the caller who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When its settings last changed.
    pub updated_at: UnixMillis,
    /// When it was last used, to some seconds.
    pub last_used_at: Option<UnixMillis>,
    /// Requests so far, but for those of the last seconds.
    pub usage_count: u64,
    pub(super) digest: KeyDigest,
}

impl ApiKey {
    /// Whether it is taken now, from this address.
    pub(super) fn is_valid(&self, now: UnixMillis, client: Option<IpAddr>) -> bool {
        self.is_live(now) && is_allowed(&self.settings.allowed_networks, client)
    }

    /// Whether it is taken now, from an address that it is taken from.
    pub(super) fn is_live(&self, now: UnixMillis) -> bool {
        let KeySettings {
            active, expires_at, ..
        } = &self.settings;
        *active && expires_at.is_none_or(|end| now < end)
    }
}

/// What every key begins with, so that a leaked one is recognised: `gw_`, `sk_`, `pk_live_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPrefix(String);

impl Default for KeyPrefix {
    fn default() -> Self {
        Self(PREFIX_DEFAULT.to_owned())
    }
}

impl FromStr for KeyPrefix {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if (2..=PREFIX_LEN_MAX).contains(&text.len()) && text.bytes().all(plain) && text.ends_with('_') {
            Ok(Self(text.to_owned()))
        } else {
            Err("it must have 2 to 16 lower-case letters, digits and underscores, and end in an underscore")
        }
    }
}

/// What the keys of one service may name.
#[derive(Clone, Copy, Debug)]
pub struct KeyTerms {
    /// The areas of its permissions.
    pub areas: &'static [&'static str],
    /// What the scope of a key is called in it: `property_ids`.
    pub scope_field: &'static str,
    /// Whether a text can name a part of a scope, which need not exist yet.
    pub is_part: fn(&str) -> bool,
    /// What such a text must be, for people.
    pub part_rule: &'static str,
}

impl KeyTerms {
    /// # Errors
    /// What the parts of a scope must be, where one is not.
    pub(super) fn check_scope(&self, scope: &Scope) -> Result<(), &'static str> {
        match scope {
            Scope::Parts(parts) if !parts.iter().all(|part| (self.is_part)(part)) => Err(self.part_rule),
            Scope::All | Scope::Parts(_) => Ok(()),
        }
    }

    /// The first area of permissions that the service does not have.
    pub(super) fn unknown_area<'p>(&self, permissions: &'p Permissions) -> Option<&'p str> {
        permissions.areas().find(|area| !self.areas.contains(area))
    }
}

/// Makes keys.
#[derive(Clone)]
pub struct KeyMaker {
    /// What keys begin with.
    pub prefix: KeyPrefix,
    /// Makes their ids.
    pub ids: Ids,
    /// Makes them.
    pub entropy: Arc<dyn Entropy>,
    /// The present time.
    pub clock: Arc<dyn Clock>,
}

impl KeyMaker {
    /// A new key with its text, which is shown once and kept nowhere.
    pub(super) fn make(&self, settings: KeySettings, created_by: String) -> (ApiKey, String) {
        let KeyPrefix(prefix) = &self.prefix;
        let mut bytes = [0; KEY_BYTES];
        self.entropy.fill(&mut bytes);
        let text = format!("{prefix}{}", BASE64URL_NOPAD.encode(&bytes));
        let (id, now) = (self.ids.new_id(KeyId::PREFIX).parse(), self.clock.now());
        let key = ApiKey {
            id: id.unwrap_or_else(|_| unreachable!("the ids we make are valid ids")),
            hint: format!("{}...", &text[..prefix.len() + HINT_CHARS]),
            settings,
            created_by,
            created_at: now,
            updated_at: now,
            last_used_at: None,
            usage_count: 0,
            digest: digest(&text),
        };
        (key, text)
    }
}

/// Whether a text ends as every key does. What does not need not be looked up.
pub(super) fn looks_like_a_key(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let random = text
        .len()
        .checked_sub(KEY_CHARS)
        .and_then(|start| text.as_bytes().get(start..));
    text.bytes().all(|byte| byte.is_ascii_graphic())
        && random.is_some_and(|end| end.iter().copied().all(is_plain))
}

/// A key has 256 random bits, so one round of SHA-256 is enough: there is nothing to guess.
pub(super) fn digest(key: &str) -> KeyDigest {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::access::Level;
    use contract::SeededEntropy;

    fn key(settings: KeySettings) -> ApiKey {
        ApiKey {
            id: "key_1".parse().unwrap(),
            hint: String::new(),
            settings,
            created_by: String::new(),
            created_at: UnixMillis(0),
            updated_at: UnixMillis(0),
            last_used_at: None,
            usage_count: 0,
            digest: [0; 32],
        }
    }

    #[test]
    fn a6_a_key_ends_and_is_bound_to_its_networks() {
        let mut key = key(KeySettings::new("k", Permissions::all(Level::Read), Scope::All));
        let (now, inside, outside) = (
            UnixMillis(1_000),
            "10.1.2.3".parse().ok(),
            "192.0.2.1".parse().ok(),
        );
        assert!(key.is_valid(now, None));
        key.settings.expires_at = Some(UnixMillis(1_001));
        assert!(key.is_valid(now, None) && !key.is_valid(UnixMillis(1_001), None));
        key.settings.allowed_networks = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(key.is_valid(now, inside) && !key.is_valid(now, outside) && !key.is_valid(now, None));
        assert!(key.is_valid(now, "::ffff:10.1.2.3".parse().ok()));
        key.settings.active = false;
        assert!(!key.is_valid(now, inside));
    }

    #[test]
    fn a_key_has_its_prefix_and_256_random_bits_and_the_hint_tells_little() {
        let (clock, entropy) = (
            Arc::new(UnixMillis(1_700_000_000_000)),
            Arc::new(SeededEntropy::new(1)),
        );
        let maker = KeyMaker {
            prefix: "pk_live_".parse().unwrap(),
            ids: Ids::new(clock.clone(), entropy.clone()),
            entropy,
            clock,
        };
        let settings = KeySettings::new("k", Permissions::all(Level::Read), Scope::All);
        let (made, text) = maker.make(settings, "test".to_owned());
        assert!(text.starts_with("pk_live_") && text.len() == 8 + 43, "{text}");
        assert_eq!(
            (made.hint, made.digest),
            (format!("{}...", &text[..12]), digest(&text))
        );
    }

    #[test]
    fn what_is_no_key_is_seen_without_a_look_up() {
        let end = "aZ09-_".repeat(8)[..KEY_CHARS].to_owned();
        for (text, meant) in [
            (format!("gw_{end}"), true),
            (format!("other.{end}"), true),
            (end.clone(), true),
            (end[1..].to_owned(), false),
            (format!("gw_{end}="), false),
            (format!("g w_{end}"), false),
            (format!("gw_{}", "+".repeat(KEY_CHARS)), false),
            (format!("é{end}"), false),
            (String::new(), false),
        ] {
            assert_eq!(looks_like_a_key(&text), meant, "{text}");
        }
    }

    #[test]
    fn a_name_shows_all_of_its_characters() {
        for good in ["front desk", "Рецепция", "x"] {
            assert!(plain_name(good).is_ok(), "{good}");
        }
        for bad in ["", " x", "a\nb", "a\u{202e}b", "a\u{200b}b", "a\u{feff}b"] {
            assert!(plain_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_is_plain() {
        for good in ["gw_", "sk_", "pk_live_"] {
            assert!(good.parse::<KeyPrefix>().is_ok(), "{good}");
        }
        for bad in ["", "_", "gw", "GW_", "g w_", "gw-", "a_very_long_prefix_"] {
            assert!(bad.parse::<KeyPrefix>().is_err(), "{bad}");
        }
    }
}
