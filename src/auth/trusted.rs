//! Which peers are trusted to say who their users are.
//!
//! Not here: the text form of networks (`config`), what is believed (`proxy`). Invariant: without a
//! network nobody is trusted, and a network of one family never holds an address of the other.

use crate::broker::PeerAddr;

/// Bits of an address.
const BITS: u8 = 128;
/// Bits before the IPv4 address in one that is mapped into IPv6.
const MAPPED_BITS: u8 = 96;

/// How a peer's word about its users is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// It is anyone, and what it says of users is passed over.
    Stranger,
    /// It is a proxy that has made sure who its users are.
    Proxy,
}

/// Addresses that have their first bits in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: u128,
    prefix: u8,
}

impl Network {
    /// The IPv4 network of this address and prefix; `None` where the prefix is too long, or the
    /// address has bits set beyond it.
    pub fn v4(address: [u8; 4], prefix: u8) -> Option<Self> {
        let PeerAddr::Ip(mapped) = PeerAddr::v4(address) else { return None };
        Self::v6(mapped, prefix.checked_add(MAPPED_BITS)?)
    }

    /// The same for IPv6. Mapped addresses are IPv4's, whatever their notation.
    pub fn v6(address: [u8; 16], prefix: u8) -> Option<Self> {
        let network = Self { address: u128::from_be_bytes(address), prefix };
        (prefix <= BITS && network.address & !network.mask() == 0).then_some(network)
    }

    fn contains(self, address: u128) -> bool {
        let same_family = self.prefix >= MAPPED_BITS || !is_mapped(address);
        same_family && (address ^ self.address) & self.mask() == 0
    }

    fn mask(self) -> u128 {
        u128::MAX.checked_shl(u32::from(BITS.saturating_sub(self.prefix))).unwrap_or(0)
    }
}

const fn is_mapped(address: u128) -> bool {
    address >> 32 == 0xffff
}

/// The peers whose word is taken.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustedProxies {
    /// By their addresses.
    pub networks: Vec<Network>,
    /// Whoever reaches our Unix sockets: the permissions of their paths say who that is.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether nobody is trusted, so that addresses need not be looked at.
    pub const fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether the peer is one of them. O(networks), once per connection.
    pub fn contains(&self, peer: &PeerAddr) -> bool {
        match peer {
            PeerAddr::Ip(bytes) => {
                let address = u128::from_be_bytes(*bytes);
                self.networks.iter().any(|network| network.contains(address))
            }
            PeerAddr::Unix => self.unix,
        }
    }

    /// How the peer's word is taken.
    pub fn trust(&self, peer: &PeerAddr) -> Trust {
        if self.contains(peer) { Trust::Proxy } else { Trust::Stranger }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv6 address by its first and its last 16 bits.
    fn v6(first: u16, last: u16) -> [u8; 16] {
        (u128::from(first) << 112 | u128::from(last)).to_be_bytes()
    }

    fn proxies(networks: &[Option<Network>]) -> TrustedProxies {
        let networks = networks.iter().map(|network| network.expect("a network")).collect();
        TrustedProxies { networks, unix: false }
    }

    #[test]
    fn a_network_holds_its_first_and_its_last_address_and_no_more() {
        for (network, within, without) in [
            (([10, 0, 0, 0], 8), [[10, 0, 0, 0], [10, 255, 255, 255]], [9, 255, 255, 255]),
            (([10, 0, 0, 0], 8), [[10, 1, 2, 3], [10, 0, 0, 1]], [11, 0, 0, 0]),
            (([192, 0, 2, 4], 31), [[192, 0, 2, 4], [192, 0, 2, 5]], [192, 0, 2, 6]),
            (([192, 0, 2, 7], 32), [[192, 0, 2, 7]; 2], [192, 0, 2, 6]),
        ] {
            let proxies = proxies(&[Network::v4(network.0, network.1)]);
            for address in within {
                assert!(proxies.contains(&PeerAddr::v4(address)), "{network:?} {address:?}");
            }
            assert!(!proxies.contains(&PeerAddr::v4(without)), "{network:?} {without:?}");
        }
        let proxies = proxies(&[Network::v6(v6(0x2001, 0), 16), Network::v6(v6(0, 1), 128)]);
        for (address, within) in
            [((0x2001, 0xffff), true), ((0, 1), true), ((0x2002, 0), false), ((0, 2), false)]
        {
            let peer = PeerAddr::v6(v6(address.0, address.1));
            assert_eq!(proxies.contains(&peer), within, "{address:x?}");
        }
    }

    #[test]
    fn all_of_one_family_is_none_of_the_other() {
        let (four, six) = (PeerAddr::v4([192, 0, 2, 1]), PeerAddr::v6(v6(0x2001, 1)));
        let all_four = proxies(&[Network::v4([0; 4], 0)]);
        assert!(all_four.contains(&four) && !all_four.contains(&six));
        for prefix in [0, 64, 80] {
            let all_six = proxies(&[Network::v6([0; 16], prefix)]);
            assert!(!all_six.contains(&four), "::/{prefix}");
        }
        assert!(proxies(&[Network::v6([0; 16], 0)]).contains(&six));
    }

    #[test]
    fn a_mapped_address_is_the_address_that_it_maps() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
        let proxies = proxies(&[Network::v4([192, 0, 2, 0], 24)]);
        assert!(proxies.contains(&PeerAddr::v6(mapped)));
        assert_eq!(Network::v6(mapped, 128), Network::v4([192, 0, 2, 1], 32));
    }

    #[test]
    fn a_prefix_that_does_not_fit_makes_no_network() {
        for (address, prefix) in [([10, 0, 0, 1], 8), ([0; 4], 33), ([0; 4], 255)] {
            assert_eq!(Network::v4(address, prefix), None, "{address:?}/{prefix}");
        }
        assert_eq!(Network::v6(v6(0x2001, 1), 64), None);
        assert_eq!(Network::v6([0; 16], 129), None);
    }

    #[test]
    fn unix_sockets_are_trusted_apart_and_by_default_nobody_is() {
        let nobody = TrustedProxies::default();
        assert!(nobody.is_empty());
        for peer in [PeerAddr::Unix, PeerAddr::v4([127, 0, 0, 1]), PeerAddr::v6([0; 16])] {
            assert_eq!(nobody.trust(&peer), Trust::Stranger, "{peer:?}");
        }
        let unix = TrustedProxies { networks: Vec::new(), unix: true };
        assert!(!unix.is_empty());
        assert_eq!(unix.trust(&PeerAddr::Unix), Trust::Proxy);
        assert_eq!(unix.trust(&PeerAddr::v4([127, 0, 0, 1])), Trust::Stranger);
    }
}
