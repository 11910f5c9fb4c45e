//! Where a connection comes from, as plain bytes.
//!
//! Not here: ports, sockets, and who may do what from where (`auth`). Invariant: an IPv4 address
//! has one form, also where it came over a socket of both families.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::fmt;

/// A connection's other end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerAddr {
    /// An IPv6 address, or an IPv4 one mapped into it: `::ffff:192.0.2.1` (RFC 4291 §2.5.5.2).
    Ip([u8; 16]),
    /// A process of this machine, through a Unix socket.
    Unix,
}

/// What counts as one address where there are limits for each: an IPv4 address, the 64 bits that
/// name a network in an IPv6 one (who has one address there has them all), or all Unix sockets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AddressKey(u128);

/// Bits of an IPv6 address that its network is free to give out.
const HOST_BITS: u32 = 64;

/// The key of Unix sockets: `::` is nobody's address.
const UNIX: u128 = 0;

impl PeerAddr {
    /// An IPv4 address.
    pub const fn v4([a, b, c, d]: [u8; 4]) -> Self {
        Self::Ip([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    /// An IPv6 address, mapped ones included.
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Self::Ip(bytes)
    }

    /// Reads an address without port and brackets, in any of the notations of its family.
    pub fn parse(text: &str) -> Option<Self> {
        let v4 = || text.parse::<Ipv4Addr>().ok().map(|address| Self::v4(address.octets()));
        let v6 = || text.parse::<Ipv6Addr>().ok().map(|address| Self::v6(address.octets()));
        v4().or_else(v6)
    }

    /// What it counts as where there are limits for each address.
    pub fn bucket(&self) -> AddressKey {
        match self {
            Self::Ip(bytes) => {
                let address = u128::from_be_bytes(*bytes);
                let is_v4 = Ipv6Addr::from_bits(address).to_ipv4_mapped().is_some();
                AddressKey(if is_v4 { address } else { address >> HOST_BITS << HOST_BITS })
            }
            Self::Unix => AddressKey(UNIX),
        }
    }
}

impl AddressKey {
    /// As a number, from which a home may be drawn.
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(bytes) => Ipv6Addr::from(*bytes).to_canonical().fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.0);
        match (self.0, address.to_ipv4_mapped()) {
            (UNIX, _) => f.write_str("unix"),
            (_, Some(address)) => address.fmt(f),
            (_, None) => write!(f, "{address}/{HOST_BITS}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> PeerAddr {
        PeerAddr::parse(text).expect(text)
    }

    #[test]
    fn one_ipv4_address_is_one_key_and_so_is_one_ipv6_network() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::1", "192.0.2.1", false),
            // Compatible and translated ones are not mapped ones.
            ("::192.0.2.1", "192.0.2.1", false),
            ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", true),
        ] {
            assert_eq!(address(one).bucket() == address(other).bucket(), same, "{one} {other}");
        }
        assert_ne!(PeerAddr::Unix.bucket(), address("0.0.0.0").bucket());
        assert_ne!(PeerAddr::Unix.bucket(), address("127.0.0.1").bucket());
    }

    #[test]
    fn addresses_are_shown_as_they_are_written() {
        for (text, shown, key) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("::ffff:c000:201", "192.0.2.1", "192.0.2.1"),
            ("2001:DB8:0::1", "2001:db8::1", "2001:db8::/64"),
        ] {
            assert_eq!(address(text).to_string(), shown);
            assert_eq!(address(text).bucket().to_string(), key);
        }
        assert_eq!(PeerAddr::Unix.to_string(), "unix");
        assert_eq!(PeerAddr::Unix.bucket().to_string(), "unix");
    }

    #[test]
    fn what_is_no_address_is_not_read() {
        for text in ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4:80", "[::1]", "fe80::1%eth0"] {
            assert_eq!(PeerAddr::parse(text), None, "{text}");
        }
    }
}
