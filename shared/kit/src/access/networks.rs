//! Networks and addresses, as settings list them.

use ipnet::IpNet;
use std::{net::IpAddr, str::FromStr};

/// Whether a client may call from where it is: its address lies in one of the networks, or there are none. An address that is
/// not known lies in none.
pub fn is_allowed(networks: &[IpNet], client: Option<IpAddr>) -> bool {
    let client = client.map(|address| address.to_canonical());
    networks.is_empty()
        || client.is_some_and(|client| networks.iter().any(|network| network.contains(&client)))
}

/// Networks and single addresses, separated by commas or spaces: `10.0.0.0/8, 2001:db8::1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether an address lies in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for Networks {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let items = text.split(|sign: char| sign == ',' || sign.is_whitespace());
        let items = items.filter(|item| !item.is_empty());
        let network = |item: &str| {
            let single = || {
                item.parse()
                    .map(|address: IpAddr| IpNet::from(address.to_canonical()))
            };
            item.parse().or_else(|_| single()).ok()
        };
        let networks: Option<Vec<_>> = items.map(network).collect();
        networks
            .map(Self)
            .ok_or("it must be addresses and networks, such as 10.0.0.0/8, separated by commas or spaces")
    }
}
