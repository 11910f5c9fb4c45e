//! The same-host check that keeps other sites' pages out (RFC 6455 §10.2).
//!
//! Not here: an allow-list of other origins. Browsers set `Origin` and scripts can't change it, so
//! it tells whose page is talking; who sends none is no browser, and is not kept out by this.
//! Invariant: an origin that is not understood to the last byte is foreign.

/// Whether a page of `origin` is one of this `host`'s own: same host, same port, ports that are
/// left out being those of the origin's scheme. Without an origin the answer is yes.
///
/// `host` is what the client said it connects to, `host[:port]`.
pub fn same_host(origin: Option<&[u8]>, host: Option<&str>) -> bool {
    let Some(origin) = origin else { return true };
    let fits = || {
        let (scheme, authority) = str::from_utf8(origin).ok()?.split_once("://")?;
        let default_port = default_port(scheme)?;
        let (origin_host, origin_port) = split_port(authority, default_port)?;
        let (host, port) = split_port(host?, default_port)?;
        Some(origin_host.eq_ignore_ascii_case(host) && origin_port == port)
    };
    fits().unwrap_or(false)
}

/// [`same_host`] over all `Origin` fields of a request: more than one is refused, even equal ones.
pub fn all_same_host<'a>(origins: impl IntoIterator<Item = &'a [u8]>, host: Option<&str>) -> bool {
    let mut origins = origins.into_iter();
    let first = origins.next();
    origins.next().is_none() && same_host(first, host)
}

/// Pages are served by these two schemes; `file:`, extensions and apps have no host to compare.
fn default_port(scheme: &str) -> Option<u16> {
    let ports = [("http", 80), ("https", 443)];
    let known = ports.into_iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name));
    known.map(|(_, port)| port)
}

/// Takes `host[:port]` apart; `None` where it is anything more (user, path, list) or less.
fn split_port(authority: &str, default_port: u16) -> Option<(&str, u16)> {
    let host_end = match authority.strip_prefix('[') {
        Some(_) => authority.find(']')? + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    let named = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'[' | b']' | b':')
    };
    if host.is_empty() || !host.bytes().all(named) {
        return None;
    }
    let digits = match port.strip_prefix(':') {
        None if port.is_empty() => return Some((host, default_port)),
        None => return None,
        Some("") => return Some((host, default_port)), // RFC 3986 §3.2.3.
        Some(digits) => digits,
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((host, digits.parse().ok().filter(|_| plain)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "chat.example.com";

    #[test]
    fn no_origin_and_the_hosts_own_pages_come_in() {
        assert!(same_host(None, Some(HOST)));
        assert!(same_host(None, None));
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
            assert!(same_host(Some(origin.as_bytes()), Some(host)), "{origin} at {host}");
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
            assert!(!same_host(Some(origin), Some(HOST)), "{}", origin.escape_ascii());
        }
        for origin in
            [&b"http://chat.example.com\0"[..], b"http://ch\xc3\xa4t.example.com", b"\xff"]
        {
            assert!(!same_host(Some(origin), Some(HOST)), "{}", origin.escape_ascii());
        }
    }

    #[test]
    fn an_origin_without_a_valid_host_to_compare_stays_out() {
        let origin = Some(&b"http://a"[..]);
        for host in
            [None, Some(""), Some("a,a"), Some("a b"), Some("u@a"), Some("a:80:80"), Some("[a")]
        {
            assert!(!same_host(origin, host), "{host:?}");
        }
        assert!(!same_host(Some(b"http://"), Some("")));
        assert!(!same_host(Some(b"http://:80"), Some(":80")));
    }

    #[test]
    fn more_than_one_origin_stays_out() {
        let own = &b"http://chat.example.com"[..];
        assert!(all_same_host([], Some(HOST)));
        assert!(all_same_host([own], Some(HOST)));
        assert!(!all_same_host([own, own], Some(HOST)));
        assert!(!all_same_host([own, b"http://evil.com"], Some(HOST)));
        assert!(!all_same_host([&b"http://evil.com"[..]], Some(HOST)));
    }
}
