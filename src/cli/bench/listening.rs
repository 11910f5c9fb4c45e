//! Which processes of this machine listen on an address, from the kernel's tables.
//!
//! Not here: what they cost (`process`). Invariant: of several listeners on a port, those count
//! that the kernel would give the connection to: the ones of that very address before those of
//! any address.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The ids of all processes that hold a socket which listens on `address`, in ascending order;
/// none where it is another machine's, or nobody's that we may look at.
pub(super) fn listening_on(address: SocketAddr) -> Vec<u32> {
    let ip = address.ip().to_canonical();
    let wanted = match ip {
        // The kernel takes "any address" as the loopback's.
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => ip,
    };
    // Only an address of this machine can be bound.
    if UdpSocket::bind((wanted, 0)).is_err() {
        return Vec::new();
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let tables: Vec<String> = tables.into_iter().flatten().collect();
    let listeners = tables.iter().flat_map(|table| table.lines()).filter_map(Listener::parse);
    let sockets = nearest(listeners, SocketAddr::new(wanted, address.port()));
    let sockets: Vec<String> =
        sockets.into_iter().map(|inode| format!("socket:[{inode}]")).collect();
    if sockets.is_empty() { Vec::new() } else { holders(&sockets) }
}

/// The processes that hold one of those sockets.
fn holders(sockets: &[String]) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|to| {
            to.to_str().is_some_and(|to| sockets.iter().any(|socket| socket.as_str() == to))
        })
    };
    let mut pids: Vec<u32> = pids.filter(holds).collect();
    pids.sort_unstable();
    pids
}

/// A socket that listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Listener<'a> {
    address: SocketAddr,
    inode: &'a str,
}

impl<'a> Listener<'a> {
    /// Reads a line of the kernel's table of TCP sockets; none where it does not listen.
    fn parse(line: &'a str) -> Option<Self> {
        const LISTEN: &str = "0A";
        let mut fields = line.split_whitespace();
        let (ip, port) = fields.nth(1)?.split_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        let address = SocketAddr::new(parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?);
        (state == LISTEN).then_some(Self { address, inode })
    }

    /// How near it is to `wanted`, 0 the nearest; none if it would not get the connection.
    fn distance(&self, wanted: SocketAddr) -> Option<u32> {
        let ip = self.address.ip();
        let distance = match (ip, wanted.ip()) {
            _ if ip.to_canonical() == wanted.ip() => 0,
            (IpAddr::V4(any), IpAddr::V4(_)) if any.is_unspecified() => 1,
            (IpAddr::V6(any), IpAddr::V6(_)) if any.is_unspecified() => 1,
            (IpAddr::V6(any), IpAddr::V4(_)) if any.is_unspecified() => 2,
            (_, _) => return None,
        };
        (self.address.port() == wanted.port()).then_some(distance)
    }
}

/// The inodes of those listeners that are nearest to `wanted`.
fn nearest<'a>(listeners: impl Iterator<Item = Listener<'a>>, wanted: SocketAddr) -> Vec<&'a str> {
    let near: Vec<(u32, &str)> = listeners
        .filter_map(|listener| Some((listener.distance(wanted)?, listener.inode)))
        .collect();
    let least = near.iter().map(|(distance, _)| *distance).min();
    near.into_iter().filter(|near| Some(near.0) == least).map(|(_, inode)| inode).collect()
}

/// An address as the kernel writes it: words of 32 bits in the machine's order.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| -> Option<[u8; 4]> {
        Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::V4(word(0)?.into())),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::V6(bytes.into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn hex(ip: IpAddr) -> String {
        let word = |bytes: &[u8]| {
            let bytes = bytes.try_into().expect("four bytes");
            format!("{:08X}", u32::from_ne_bytes(bytes))
        };
        match ip {
            IpAddr::V4(ip) => word(&ip.octets()),
            IpAddr::V6(ip) => ip.octets().chunks(4).map(word).collect(),
        }
    }

    fn line(ip: &str, port: u16, state: &str, inode: &str) -> String {
        let ip = hex(ip.parse().expect(ip));
        format!("0: {ip}:{port:04X} 00000000:0000 {state} 0:0 00:0 0 1000 0 {inode} 1 x 100")
    }

    #[test]
    fn lines_of_the_table_are_read() {
        let wanted: SocketAddr = "127.0.0.1:8080".parse().expect("an address");
        let text = line("127.0.0.1", 8080, "0A", "77");
        assert_eq!(Listener::parse(&text), Some(Listener { address: wanted, inode: "77" }));
        for other in [&line("127.0.0.1", 8080, "01", "77"), "  sl  local_address rem_address", ""] {
            assert_eq!(Listener::parse(other), None, "{other}");
        }
        let text = line("2001:db8::1", 1, "0A", "5");
        let found = Listener::parse(&text).map(|listener| listener.address.to_string());
        assert_eq!(found.as_deref(), Some("[2001:db8::1]:1"));
    }

    #[test]
    fn the_nearest_listeners_get_the_connection() {
        let all = [
            line("127.0.0.2", 80, "0A", "other"),
            line("::", 80, "0A", "dual"),
            line("0.0.0.0", 80, "0A", "any"),
            line("0.0.0.0", 81, "0A", "port"),
            line("127.0.0.1", 80, "0A", "one"),
            line("127.0.0.1", 80, "0A", "two"),
        ];
        let found = |lines: &[String], wanted: &str| -> Vec<String> {
            let listeners = lines.iter().filter_map(|line| Listener::parse(line));
            let wanted = wanted.parse().expect("an address");
            nearest(listeners, wanted).into_iter().map(str::to_owned).collect()
        };
        assert_eq!(found(&all, "127.0.0.1:80"), ["one", "two"]);
        assert_eq!(found(&all, "127.0.0.3:80"), ["any"]);
        assert_eq!(found(&all[..2], "127.0.0.1:80"), ["dual"]);
        assert_eq!(found(&all, "[::1]:80"), ["dual"]);
        assert_eq!(found(&all, "127.0.0.1:82"), [""; 0]);
        let mapped = [line("::ffff:127.0.0.1", 80, "0A", "mapped"), all[1].clone()];
        assert_eq!(found(&mapped, "127.0.0.1:80"), ["mapped"]);
    }

    #[test]
    fn we_are_found_by_what_we_listen_on_and_not_by_the_port_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        assert_eq!(listening_on(address), [std::process::id()]);
        let other = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 9).into(), address.port());
        assert_eq!(listening_on(other), [0; 0]);
        drop(listener);
        assert_eq!(listening_on(address), [0; 0]);
    }

    #[test]
    fn who_listens_everywhere_is_found_at_any_address_of_ours_and_no_other() {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        for ip in ["127.0.0.1", "127.9.9.9", "0.0.0.0"] {
            let address = SocketAddr::new(ip.parse().expect(ip), port);
            assert_eq!(listening_on(address), [std::process::id()], "{ip}");
        }
        let elsewhere = SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), port);
        assert_eq!(listening_on(elsewhere), [0; 0]);
    }
}
