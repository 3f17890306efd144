//! The settings of who may call.

use super::SECRETS;
use crate::access::{AccessSettings, KeyPrefix, Networks, PREFIX_DEFAULT};
use api::Origins;
use clap::{Args, builder::BoolishValueParser};
use sha2::{Digest, Sha256};
use std::{net::SocketAddr, str::FromStr};

/// The shortest ADMIN_API_KEY, in bytes.
const ADMIN_KEY_LEN_MIN: usize = 32;

/// Who may call, and how callers are recognised.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Access")]
pub struct AccessArgs {
    /// What new API keys begin with, so that a leaked one is recognised
    #[arg(long, env = "API_KEY_PREFIX", default_value = PREFIX_DEFAULT)]
    pub api_key_prefix: KeyPrefix,
    /// A key that may do everything, of at least 32 bytes; with it requests without a key are refused everywhere
    #[arg(long, env = "ADMIN_API_KEY", hide_env_values = true, help_heading = SECRETS)]
    pub admin_api_key: Option<AdminKey>,
    /// Whether everyone may only read
    #[arg(
        long,
        env = "DEMO_MODE",
        default_value = "false",
        num_args = 0..=1,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub demo_mode: bool,
    /// Addresses and networks of proxies whose X-Forwarded-For says who the client is
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "", value_parser = networks)]
    pub trusted_proxies: Networks,
    /// Origins, with their scheme, of pages that may call from a browser; without it no page of another origin may
    #[arg(long, env = "CORS_ALLOWED_ORIGINS", default_value = "", value_parser = origins)]
    pub cors_allowed_origins: Origins,
}

/// The digest of ADMIN_API_KEY.
#[derive(Clone, Copy, Debug)]
pub struct AdminKey([u8; 32]);

/// Why a text is no ADMIN_API_KEY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must have at least {ADMIN_KEY_LEN_MIN} characters, all of them visible ASCII")]
pub struct InvalidAdminKey;

impl AccessArgs {
    /// What the gate of a service that listens on `address` needs.
    pub fn settings(&self, address: SocketAddr) -> AccessSettings {
        AccessSettings {
            admin_key: self.admin_api_key.map(|AdminKey(digest)| digest),
            demo: self.demo_mode,
            trusted_proxies: self.trusted_proxies.clone(),
            address,
        }
    }
}

impl FromStr for AdminKey {
    type Err = InvalidAdminKey;
    fn from_str(text: &str) -> Result<Self, InvalidAdminKey> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.len() < ADMIN_KEY_LEN_MIN || !plain {
            return Err(InvalidAdminKey);
        }
        Ok(Self(Sha256::digest(text).into()))
    }
}

fn networks(text: &str) -> Result<Networks, &'static str> {
    text.parse()
}

fn origins(text: &str) -> Result<Origins, &'static str> {
    text.parse()
}
