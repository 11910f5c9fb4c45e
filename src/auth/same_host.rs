//! Whether a page is one of the host's own (RFC 6455 §10.2): same host, same port.
//!
//! Not here: which others may connect (`origin`). Invariant: an origin that is not understood to
//! the last byte is foreign.

use super::origin::{own_port, split_port};

/// Whether a page of `origin` is one of this `host`'s own: same host, same port, ports that are
/// left out being those of the origin's scheme.
///
/// `host` is what the client said it connects to, `host[:port]`.
pub(super) fn same_host(origin: &[u8], host: Option<&str>) -> bool {
    let fits = || {
        let (scheme, authority) = str::from_utf8(origin).ok()?.split_once("://")?;
        // Pages come over these two; `file:`, extensions and apps have no host to compare.
        let own_port = own_port(scheme)?;
        let (origin_host, origin_port) = split_port(authority)?;
        let (host, port) = split_port(host?)?;
        let same_port = origin_port.unwrap_or(own_port) == port.unwrap_or(own_port);
        Some(origin_host.eq_ignore_ascii_case(host) && same_port)
    };
    fits().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "chat.example.com";

    #[test]
    fn the_hosts_own_pages_come_in() {
        for (origin, host) in [
            ("http://chat.example.com", "chat.example.com"),
            ("https://chat.example.com", "chat.example.com"),
            ("HTTPS://Chat.Example.COM", "chat.example.com"),
            ("http://chat.example.com", "CHAT.example.com:80"),
            ("http://chat.example.com:80", "chat.example.com"),
            ("https://chat.example.com", "chat.example.com:443"),
            ("http://localhost:8080", "localhost:8080"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("http://[::1]", "[::1]"),
        ] {
            assert!(same_host(origin.as_bytes(), Some(host)), "{origin} at {host}");
        }
    }

    #[test]
    fn pages_of_others_stay_out() {
        let foreign: [&[u8]; 30] = [
            b"http://evil.com",
            b"http://evilchat.example.com",
            b"http://evil-chat.example.com",
            b"http://chat.example.com.evil.com",
            b"http://chat.example.comevil.com",
            b"http://sub.chat.example.com",
            b"http://example.com",
            b"http://chat.example.com:8080",
            b"http://chat.example.com:443",
            b"https://chat.example.com:80",
            b"http://chat.example.com@evil.com",
            b"http://evil.com#chat.example.com",
            b"http://evil.com?chat.example.com",
            b"http://evil.com/chat.example.com",
            b"http://user@chat.example.com",
            b"http://chat.example.com/",
            b"http://chat.example.com.",
            b"http://chat.example.com, http://evil.com",
            b"http://evil.com http://chat.example.com",
            b"http://chat.example.com http://chat.example.com",
            b"null",
            b"NULL",
            b"",
            b"chat.example.com",
            b"//chat.example.com",
            b"file://",
            b"ws://chat.example.com",
            b"chrome-extension://chat.example.com",
            b"http://chat.example.com:+80",
            b"http://chat.example.com:65616",
        ];
        for origin in foreign {
            assert!(!same_host(origin, Some(HOST)), "{}", origin.escape_ascii());
        }
        for origin in
            [&b"http://chat.example.com\0"[..], b"http://ch\xc3\xa4t.example.com", b"\xff"]
        {
            assert!(!same_host(origin, Some(HOST)), "{}", origin.escape_ascii());
        }
    }

    #[test]
    fn an_origin_without_a_valid_host_to_compare_stays_out() {
        let origin = b"http://a";
        for host in
            [None, Some(""), Some("a,a"), Some("a b"), Some("u@a"), Some("a:80:80"), Some("[a")]
        {
            assert!(!same_host(origin, host), "{host:?}");
        }
        assert!(!same_host(b"http://", Some("")));
        assert!(!same_host(b"http://:80", Some(":80")));
    }
}
