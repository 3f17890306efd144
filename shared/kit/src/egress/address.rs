//! Which addresses are those of the public internet. A forbidden one belongs to this machine, to a network around it, to nobody,
//! or leads through a gateway to any of these.

use ipnet::{Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What of IPv4 is no single machine of the internet (IANA's registry of special-purpose addresses; multicast, RFC 5771).
const FORBIDDEN_V4: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),       // this network; connecting to it reaches this machine
    v4([10, 0, 0, 0], 8),      // private (RFC 1918)
    v4([100, 64, 0, 0], 10),   // shared, behind carriers' NAT (RFC 6598)
    v4([127, 0, 0, 0], 8),     // this machine
    v4([169, 254, 0, 0], 16),  // link-local, with the metadata services of clouds
    v4([172, 16, 0, 0], 12),   // private
    v4([192, 0, 0, 0], 24),    // protocol assignments (RFC 6890)
    v4([192, 0, 2, 0], 24),    // for documentation (RFC 5737)
    v4([192, 88, 99, 0], 24),  // relays of 6to4 (RFC 7526)
    v4([192, 168, 0, 0], 16),  // private
    v4([198, 18, 0, 0], 15),   // for measuring (RFC 2544)
    v4([198, 51, 100, 0], 24), // for documentation
    v4([203, 0, 113, 0], 24),  // for documentation
    v4([224, 0, 0, 0], 4),     // multicast
    v4([240, 0, 0, 0], 4),     // reserved, and broadcast
];

/// All that is given out to networks in IPv6 (RFC 4291, section 2.4). Beyond it lie the loopback, IPv4 in other clothes (`::/96`,
/// `64:ff9b::/96`, `64:ff9b:1::/48`), unique local, link-local and site-local addresses, multicast, `100::/64`, `5f00::/16`, and
/// what is still unknown.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);
/// What of it is no single machine of the internet either.
const FORBIDDEN_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0], 23), // protocol assignments, among them Teredo, which embeds IPv4
    v6([0x2001, 0xdb8, 0, 0], 32), // for documentation
    v6([0x2002, 0, 0, 0], 16), // 6to4, which embeds IPv4
    v6([0x3fff, 0, 0, 0], 20), // for documentation (RFC 9637)
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b, c, d]: [u16; 4], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

/// Whether an address is one of the public internet. One of IPv4 that is written as IPv6 (`::ffff:0:0/96`) is what it means.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => FORBIDDEN_V4.iter().all(|network| !network.contains(&address)),
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && FORBIDDEN_V6.iter().all(|network| !network.contains(&address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e1_e2_no_special_address_is_public() {
        let forbidden = [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.169.254",
            "169.254.170.2",
            "169.254.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.0",
            "192.0.0.192",
            "192.0.0.255",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.254",
            "255.255.255.255",
            "::",
            "::1",
            "::2",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::1",
            "64:ff9b:1:ffff::1",
            "100::1",
            "100:0:0:1::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2001:db8:ffff::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff:ffff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdff:ffff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            "1fff::1",
            "4000::1",
        ];
        for text in forbidden {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        assert!(forbidden.len() >= 60);
    }

    #[test]
    fn what_stands_beside_them_is() {
        for text in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.101.0",
            "203.0.112.255",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2000::1",
            "2001:200::1",
            "2001:db7::1",
            "2001:db9::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700::1111",
            "3ffe::1",
            "3fff:1000::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
