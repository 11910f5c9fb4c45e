//! Where a broker is, as `sub` and `pub` are told: `ws://HOST[:PORT][/PREFIX]`.

use crate::broker::RoomName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;

/// Where a broker is unless one says otherwise.
pub(super) const URL_DEFAULT: &str = "ws://127.0.0.1:8080";

/// What stays as it is in one segment of a path: RFC 3986 §3.3, less what only looks harmless.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'@')
    .remove(b'*');

/// A broker's URL. Its parts are fit for an HTTP head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Url {
    /// For the `Host` field: with brackets and the port, if there was one.
    pub(super) authority: String,
    /// To look up: without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    prefix: String,
}

impl Url {
    /// Takes `raw` as a broker's URL, or says what would be one.
    pub(super) fn parse(raw: &str) -> Result<Self, String> {
        let rule = format!("a broker's URL is ws://HOST:PORT, as in {URL_DEFAULT}");
        if raw.starts_with("wss://") {
            return Err(format!("{rule}; TLS is not built in yet"));
        }
        let rest = raw.strip_prefix("ws://").ok_or(&rule)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#@\\".contains(&byte);
        if !rest.bytes().all(plain) {
            return Err(rule);
        }
        if path.starts_with("/raw/") {
            return Err(format!("{rule}; leave out {path}, the room has an argument of its own"));
        }
        let (host, port) = split_authority(authority).ok_or(rule)?;
        Ok(Self {
            authority: authority.to_owned(),
            host: host.to_owned(),
            port,
            prefix: path.trim_end_matches('/').to_owned(),
        })
    }

    /// The request target of the raw room `room`; `query` begins with its question mark.
    pub(super) fn raw_room(&self, room: &RoomName, query: &str) -> String {
        format!("{}/raw/{}{query}", self.prefix, utf8_percent_encode(room.as_str(), ESCAPED))
    }
}

/// The token that `sub` and `pub` come in with.
#[derive(clap::Args, Debug)]
pub(super) struct Token {
    /// The token to come in with; better in the environment, where others can't see it
    #[arg(long, env = "FANFARE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Token {
    /// `parameters` of a target and the token, as a query; nothing where there is neither.
    pub(super) fn query(&self, parameters: &str) -> Result<String, &'static str> {
        let token = self.token.as_deref().filter(|token| !token.is_empty());
        let part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        match token {
            Some(token) if !token.bytes().all(part) => Err("the token is no JSON Web Token"),
            Some(token) if parameters.is_empty() => Ok(format!("?token={token}")),
            Some(token) => Ok(format!("?{parameters}&token={token}")),
            None if parameters.is_empty() => Ok(String::new()),
            None => Ok(format!("?{parameters}")),
        }
    }
}

/// Takes `raw` as the name of a room, or says what would be one.
pub(super) fn parse_room(raw: &str) -> Result<RoomName, String> {
    RoomName::parse(raw).map_err(|rule| rule.to_string())
}

fn split_authority(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok()?,
        None if port.is_empty() => 80,
        None => return None,
    };
    (!host.is_empty()).then_some((host, port))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_split_into_host_port_and_prefix() {
        for (raw, host, port, target) in [
            (URL_DEFAULT, "127.0.0.1", 8080, "/raw/lobby?echo=0"),
            ("ws://example.com", "example.com", 80, "/raw/lobby?echo=0"),
            ("ws://[::1]:9000/", "::1", 9000, "/raw/lobby?echo=0"),
            ("ws://example.com:1/live/", "example.com", 1, "/live/raw/lobby?echo=0"),
        ] {
            let url = Url::parse(raw).expect(raw);
            let room = RoomName::parse("lobby").expect("a name");
            assert_eq!((url.host.as_str(), url.port), (host, port), "{raw}");
            assert_eq!(url.raw_room(&room, "?echo=0"), target);
        }
    }

    #[test]
    fn what_is_no_brokers_url_is_refused() {
        for raw in [
            "",
            "127.0.0.1:8080",
            "http://127.0.0.1:8080",
            "wss://127.0.0.1:8080",
            "ws://",
            "ws://:8080",
            "ws://host:port",
            "ws://host:65536",
            "ws://[::1",
            "ws://[::1]8080",
            "ws://user@host",
            "ws://host/?x",
            "ws://host/a b",
            "ws://host\r\nX: y",
            "ws://127.0.0.1:8080/raw/lobby",
        ] {
            assert!(Url::parse(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn a_token_is_part_of_the_query_and_never_more_than_that() {
        let query = |token: Option<&str>, parameters: &str| {
            Token { token: token.map(str::to_owned) }.query(parameters)
        };
        for (token, parameters, expected) in [
            (None, "", ""),
            (None, "echo=0", "?echo=0"),
            (Some(""), "echo=0", "?echo=0"),
            (Some("a-b_c.d"), "", "?token=a-b_c.d"),
            (Some("a.b.c"), "echo=0", "?echo=0&token=a.b.c"),
        ] {
            assert_eq!(query(token, parameters), Ok(expected.to_owned()));
        }
        for wrong in ["a b", "a&echo=1", "a#", "a\r\nX: y", "ä", "a%20"] {
            assert!(query(Some(wrong), "").is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_room_is_one_segment_of_the_path() {
        let url = Url::parse(URL_DEFAULT).expect("the default");
        let room = RoomName::parse("a/b?c#d%e:f*").expect("a name");
        assert_eq!(url.raw_room(&room, ""), "/raw/a%2Fb%3Fc%23d%25e:f*");
    }
}
