//! Where a connection comes from, as plain bytes.
//!
//! Not here: ports, sockets, and who may do what from where (`auth`). Invariant: an IPv4 address
//! has one form, also where it came over a socket of both families.

/// A connection's other end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerAddr {
    /// An IPv6 address, or an IPv4 one mapped into it: `::ffff:192.0.2.1` (RFC 4291 §2.5.5.2).
    Ip([u8; 16]),
    /// A process of this machine, through a Unix socket.
    Unix,
}

impl PeerAddr {
    /// An IPv4 address.
    pub const fn v4([a, b, c, d]: [u8; 4]) -> Self {
        Self::Ip([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    /// An IPv6 address, mapped ones included.
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Self::Ip(bytes)
    }
}
