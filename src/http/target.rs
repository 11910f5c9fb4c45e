//! Request targets and authorities: the forms of RFC 9112 §3.2, hosts, percent-encoding.
//!
//! Not here: what a path leads to (`routes`), whether an origin fits a host (`auth`).

use super::{Method, RequestError};
use std::borrow::Cow;

/// A request target, taken apart.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Target<'a> {
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    /// Of an absolute-form target; it replaces `Host`.
    pub(super) authority: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Takes origin-form, absolute-form and, for OPTIONS, `*`. There is no CONNECT here, hence no
    /// authority-form.
    pub(super) fn parse(method: Method, raw: &'a str) -> Result<Self, RequestError> {
        // RFC 3986 §2: a URI is ASCII. Its fragment never leaves the client.
        if !raw.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(RequestError::BadTarget);
        }
        if raw.starts_with('/') {
            return Ok(Self::origin_form(raw, None));
        }
        if raw == "*" && method == Method::Options {
            return Ok(Self { path: raw, query: None, authority: None });
        }
        let (scheme, rest) = raw.split_once("://").ok_or(RequestError::BadTarget)?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(RequestError::BadTarget);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if !is_authority(authority) {
            return Err(RequestError::BadTarget);
        }
        Ok(Self::origin_form(rest, Some(authority)))
    }

    fn origin_form(raw: &'a str, authority: Option<&'a str>) -> Self {
        let (path, query) = match raw.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (raw, None),
        };
        // RFC 9110 §4.2.3: an empty path is the same as "/".
        Self { path: if path.is_empty() { "/" } else { path }, query, authority }
    }
}

/// Whether `raw` is `host[:port]`: a DNS name or address, without user, escapes or commas. An empty
/// host is none (RFC 9110 §4.2.1).
pub(super) fn is_authority(raw: &str) -> bool {
    let (host_fits, rest) = match raw.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(None) => return false,
        Some(Some((address, rest))) => {
            let hex = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            (address.bytes().all(hex) && address.contains(':'), rest)
        }
        None => {
            let (host, rest) = raw.split_at(raw.find(':').unwrap_or(raw.len()));
            let named = |byte: u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
            };
            (!host.is_empty() && host.bytes().all(named), rest)
        }
    };
    host_fits && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

/// Digits up to 65,535; none at all means the default (RFC 3986 §3.2.3).
fn is_port(raw: &str) -> bool {
    let digits = raw.bytes().all(|byte| byte.is_ascii_digit());
    digits && (raw.is_empty() || raw.parse::<u16>().is_ok())
}

/// Whether `byte` may be part of a token: RFC 9110 §5.6.2.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// The text that a path segment stands for; `None` where an escape is broken or the bytes are not
/// UTF-8.
pub fn decode_segment(raw: &str) -> Option<Cow<'_, str>> {
    let mut escapes = raw.bytes();
    while let Some(byte) = escapes.next() {
        let hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        if byte == b'%' && !(hex(escapes.next()) && hex(escapes.next())) {
            return None;
        }
    }
    percent_encoding::percent_decode_str(raw).decode_utf8().ok()
}

/// The value of the first parameter called `name` in a query, by the rules that browsers build
/// queries with: `+` is a blank. `None` as for [`decode_segment`].
pub(super) fn query_param<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    query_params(query, name).next().flatten()
}

/// All values of that name, in order; `None` for each that is badly encoded.
pub(super) fn query_params<'a>(
    query: &'a str,
    name: &str,
) -> impl Iterator<Item = Option<Cow<'a, str>>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let fitting = pairs.filter(move |(key, _)| decode_form(key).is_some_and(|key| key == name));
    fitting.map(|(_, value)| decode_form(value))
}

fn decode_form(raw: &str) -> Option<Cow<'_, str>> {
    if raw.contains('+') {
        decode_segment(&raw.replace('+', " ")).map(|text| Cow::Owned(text.into_owned()))
    } else {
        decode_segment(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_come_apart() {
        for (raw, path, query, authority) in [
            ("/", "/", None, None),
            ("/raw/a?echo=0", "/raw/a", Some("echo=0"), None),
            ("/a?", "/a", Some(""), None),
            ("/a?b?c", "/a", Some("b?c"), None),
            ("//a", "//a", None, None),
            ("http://h/path?q", "/path", Some("q"), Some("h")),
            ("HTTPS://h:8080", "/", None, Some("h:8080")),
            ("http://[::1]:80?q", "/", Some("q"), Some("[::1]:80")),
        ] {
            let parsed = Target::parse(Method::Get, raw);
            assert_eq!(parsed, Ok(Target { path, query, authority }), "{raw}");
        }
        assert!(Target::parse(Method::Options, "*").is_ok());
    }

    #[test]
    fn targets_in_no_form_are_refused() {
        for raw in [
            "*",
            "a",
            "h:80",
            "?q",
            "ftp://h/",
            "http:/h/",
            "http:///",
            "http://u@h/",
            "http://u:p@h/",
            "/a#b",
            "/\u{e9}",
            "/\u{7f}",
            "",
        ] {
            let parsed = Target::parse(Method::Get, raw);
            assert_eq!(parsed, Err(RequestError::BadTarget), "{raw:?}");
        }
    }

    #[test]
    fn authorities_are_a_host_and_perhaps_a_port() {
        for raw in
            ["a", "a.b", "a:", "a:0", "a:65535", "127.0.0.1:80", "[::1]", "[::1]:80", "a_b-c~"]
        {
            assert!(is_authority(raw), "{raw}");
        }
        for raw in [
            "", ":", ":80", "a:65536", "a:+1", "a:b", "a b", "a,b", "u@a", "a/b", "a?b", "a%41",
            "[::1", "::1", "[]", "[::1]x", "[a]", "[::g]", "\u{e9}", "a:80:80", "a\t",
        ] {
            assert!(!is_authority(raw), "{raw:?}");
        }
    }

    #[test]
    fn segments_decode_or_are_refused() {
        for (raw, text) in [
            ("lobby", Some("lobby")),
            ("a%2Fb", Some("a/b")),
            ("%C3%A9", Some("\u{e9}")),
            ("a+b", Some("a+b")),
            ("%", None),
            ("%4", None),
            ("%4g", None),
            ("%ff", None),
            ("%%41", None),
        ] {
            assert_eq!(decode_segment(raw).as_deref(), text, "{raw}");
        }
    }

    #[test]
    fn query_parameters_are_found_and_decoded() {
        let query = "a=1&b&c=%C3%A9+x&a=2&d%20e=3&f==&g=%zz&=h";
        for (name, value) in [
            ("a", Some("1")),
            ("b", Some("")),
            ("c", Some("\u{e9} x")),
            ("d e", Some("3")),
            ("f", Some("=")),
            ("g", None),
            ("", Some("h")),
            ("z", None),
        ] {
            assert_eq!(query_param(query, name).as_deref(), value, "{name}");
        }
    }

    #[test]
    fn token_bytes_are_those_of_the_grammar() {
        let reference =
            |byte: u8| (33..127).contains(&byte) && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
        for byte in 0..=255 {
            assert_eq!(is_token_byte(byte), reference(byte), "{byte:#x}");
        }
    }
}
