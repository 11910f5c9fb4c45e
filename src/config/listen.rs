//! Addresses to listen on.

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
}
