//! New connections, spread over the addresses of the loopback so that ports don't run out.

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Addresses that connections to 127.0.0.1 come from: 127.0.0.2 and up. Each has some 28,000 ports.
const SOURCES: usize = 250;

/// Begins to connect; the socket becomes writable when it is done.
pub(super) fn dial(to: SocketAddr, nth: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source(to, nth) {
        socket.bind(&source.into())?;
    }
    match socket.connect(&to.into()) {
        Err(error)
            if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Err(error)
        }
        Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
    }
}

/// The `nth` connection's own address, where the system would use but one.
fn source(to: SocketAddr, nth: usize) -> Option<SocketAddr> {
    let IpAddr::V4(address) = to.ip() else { return None };
    let last = u8::try_from(2 + nth % SOURCES).ok()?;
    address.is_loopback().then(|| (Ipv4Addr::new(127, 0, 0, last), 0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_to_the_loopback_come_from_many_addresses() {
        let to: SocketAddr = "127.0.0.1:80".parse().expect("an address");
        let sources: std::collections::BTreeSet<_> =
            (0..1_000).map(|nth| source(to, nth)).collect();
        assert_eq!(sources.len(), SOURCES);
        assert!(!sources.contains(&None));
    }

    #[test]
    fn elsewhere_the_system_chooses() {
        for to in ["192.0.2.1:80", "[::1]:80"] {
            assert_eq!(source(to.parse().expect(to), 1), None);
        }
    }
}
