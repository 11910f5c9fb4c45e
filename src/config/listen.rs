//! Addresses to listen on.

use super::value::{self, Value, Wanted};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Longest path of a Unix socket: `sun_path` of Linux, less its final NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// One address to listen on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenAddr {
    /// TCP, IPv4 or IPv6; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket at this path; written `unix:/path`.
    Unix(PathBuf),
}

impl ListenAddr {
    /// Takes `raw` as an address, or says what would be one.
    pub fn parse(raw: &str) -> Result<Self, String> {
        if let Some(path) = raw.strip_prefix("unix:") {
            return parse_unix(path);
        }
        if let Ok(address) = raw.parse() {
            return Ok(Self::Tcp(address));
        }
        let rule = "an address is IP:PORT, such as 127.0.0.1:8080 or [::]:8080, or unix:/path";
        let port = raw.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
        match (raw.split(':').next(), port) {
            (Some("" | "*"), Some(port)) => {
                Err(format!("{rule}; for every IPv4 interface write 0.0.0.0:{port}"))
            }
            (Some("localhost"), Some(port)) => Err(format!("{rule}; write 127.0.0.1:{port}")),
            (Some(first), Some(port)) if first == port => {
                Err(format!("{rule}; write 127.0.0.1:{port}"))
            }
            (_, _) if raw.starts_with('/') => Err(format!("{rule}; write unix:{raw}")),
            (_, _) => Err(rule.to_owned()),
        }
    }
}

fn parse_unix(path: &str) -> Result<ListenAddr, String> {
    if path.is_empty() || path.contains('\0') || path.len() > UNIX_PATH_BYTES_MAX {
        return Err(format!(
            "the path of a Unix socket has 1 to {UNIX_PATH_BYTES_MAX} bytes and no NUL, \
             as in unix:/run/fanfare.sock"
        ));
    }
    Ok(ListenAddr::Unix(path.into()))
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One address, several joined by commas, or a list.
pub(super) fn several(value: &Value<'_>) -> Result<Vec<ListenAddr>, Wanted> {
    let wanted = "an address such as \"127.0.0.1:8080\", or a list of them";
    let raws = value::texts(value, wanted)?;
    if raws.is_empty() {
        return Err("at least one address, such as \"127.0.0.1:8080\"".into());
    }
    let mut addresses = Vec::with_capacity(raws.len());
    for raw in raws {
        let address = ListenAddr::parse(raw)
            .map_err(|rule| format!("addresses, and {raw:?} is none: {rule}"))?;
        let ephemeral = matches!(&address, ListenAddr::Tcp(tcp) if tcp.port() == 0);
        if addresses.contains(&address) && !ephemeral {
            return Err(format!("each address once, and {raw:?} is there twice"));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_parses_and_displays_as_written() {
        for raw in ["127.0.0.1:8080", "0.0.0.0:0", "[::1]:65535", "unix:/run/x.sock", "unix:x"] {
            assert_eq!(ListenAddr::parse(raw).expect(raw).to_string(), raw);
        }
    }

    #[test]
    fn what_is_nearly_an_address_is_refused_with_the_mend() {
        for (raw, mend) in [
            ("8080", "write 127.0.0.1:8080"),
            (":8080", "write 0.0.0.0:8080"),
            ("*:8080", "write 0.0.0.0:8080"),
            ("localhost:8080", "write 127.0.0.1:8080"),
            ("/run/x.sock", "write unix:/run/x.sock"),
            ("127.0.0.1", "IP:PORT"),
            ("127.0.0.1:65536", "IP:PORT"),
            ("::1:8080:zz", "IP:PORT"),
            ("", "IP:PORT"),
            ("unix:", "1 to 107 bytes"),
            ("unix:/a\0b", "1 to 107 bytes"),
            (&format!("unix:/{}", "x".repeat(107)), "1 to 107 bytes"),
        ] {
            let wrong = ListenAddr::parse(raw).expect_err(raw);
            assert!(wrong.contains(mend), "{raw}: {wrong}");
        }
    }

    #[test]
    fn addresses_come_alone_joined_or_listed_and_never_twice() {
        let two = several(&Value::Bare("127.0.0.1:1, unix:/x")).expect("two addresses");
        let listed = Value::List(vec![Value::Text("127.0.0.1:1"), Value::Text("unix:/x")]);
        assert_eq!(several(&listed), Ok(two));
        assert!(
            several(&Value::Bare("127.0.0.1:0,127.0.0.1:0")).is_ok(),
            "two ports of its choice"
        );
        for wrong in [
            Value::Bare("127.0.0.1:1,127.0.0.1:1"),
            Value::Bare(""),
            Value::List(vec![]),
            Value::List(vec![Value::Integer(8080)]),
            Value::Integer(8080),
        ] {
            assert!(several(&wrong).is_err(), "{wrong}");
        }
    }
}
