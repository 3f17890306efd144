//! The settings of where calls may go.

use super::SECRETS;
use crate::{
    access::Networks,
    egress::{EgressProxy, EgressSettings, PER_ADDRESS},
};
use clap::{Args, builder::BoolishValueParser, value_parser};
use std::net::SocketAddr;

/// Where calls may go that are made for clients of the API.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Egress")]
pub struct EgressArgs {
    /// Addresses and networks that deliveries may go to although they are not public
    #[arg(long, env = "EGRESS_ALLOW", default_value = "", value_parser = networks)]
    pub egress_allow: Networks,
    /// Whether deliveries may go to http:// as well as to https://
    #[arg(
        long,
        env = "EGRESS_ALLOW_HTTP",
        default_value = "false",
        num_args = 0..=1,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub egress_allow_http: bool,
    /// The URL of a proxy that all deliveries go through, with a user and a password if it asks for them; HTTP_PROXY and the like
    /// are not read
    #[arg(long, env = "EGRESS_PROXY", hide_env_values = true, help_heading = SECRETS)]
    pub egress_proxy: Option<EgressProxy>,
    /// Deliveries at once to one address, whatever names lead to it
    #[arg(long, env = "EGRESS_PER_ADDRESS", default_value_t = PER_ADDRESS, value_parser = value_parser!(u16).range(1..=4096))]
    pub egress_per_address: u16,
}

impl Default for EgressArgs {
    fn default() -> Self {
        Self {
            egress_allow: Networks::default(),
            egress_allow_http: false,
            egress_proxy: None,
            egress_per_address: PER_ADDRESS,
        }
    }
}

impl EgressArgs {
    /// How calls leave a service that listens on `own`.
    pub fn settings(&self, own: SocketAddr) -> EgressSettings {
        EgressSettings {
            allow: self.egress_allow.clone(),
            allow_http: self.egress_allow_http,
            proxy: self.egress_proxy.clone(),
            per_address: usize::from(self.egress_per_address),
            own_address: Some(own),
        }
    }
}

fn networks(text: &str) -> Result<Networks, &'static str> {
    text.parse()
}
