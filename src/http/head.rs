//! What a request head says: `httparse` once, then every rule that keeps readings apart.
//!
//! Not here: where a head ends (`head_reader`), routes, the rules of an upgrade (`ws`). Invariant:
//! a [`Head`] has one body framing, a version that is served, and, in HTTP/1.1, one valid host.

use super::target::{self, Target, is_authority};
use super::{BodyFraming, RequestError};
use crate::limits::{HTTP_FIELDS_MAX, HTTP_TARGET_BYTES_MAX};
use httparse::{Header, Status};
use memchr::memchr_iter;
use std::borrow::Cow;
use std::mem::MaybeUninit;

/// The method of a request. Methods are case-sensitive: `get` is [`Method::Other`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// Any other token.
    Other,
}

impl Method {
    /// The method as it stands on the wire; [`Method::Other`] has no name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "",
        }
    }

    fn parse(raw: &str) -> Self {
        match raw {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }
}

/// The version of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0: no `Host` needed, closed unless asked otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// Room for the fields of one head, on the caller's stack.
#[derive(Debug)]
pub struct Fields<'a>([MaybeUninit<Header<'a>>; HTTP_FIELDS_MAX]);

impl Fields<'_> {
    /// Room for as many fields as a head may have.
    pub const fn new() -> Self {
        // Filled as far as a head needs it: 3 KiB need not be cleared for each request.
        Self([const { MaybeUninit::uninit() }; HTTP_FIELDS_MAX])
    }
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// A request head. Borrows from its bytes and from its [`Fields`].
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// What is to be done.
    pub method: Method,
    /// The target as sent.
    pub target: &'a str,
    /// The target's path, still percent-encoded; `/` where it is empty.
    pub path: &'a str,
    /// What follows the first `?`, still percent-encoded.
    pub query: Option<&'a str>,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// How long the body is.
    pub body: BodyFraming,
    /// Whether the connection may serve another request after this one.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub expect_continue: bool,
    host: Option<&'a str>,
    fields: &'a [Header<'a>],
}

/// Takes a complete head apart, from its request line to its empty line. What follows an error on
/// the connection can't be told from a body: the caller answers and closes.
pub fn parse_head<'a, 'b: 'a>(
    bytes: &'b [u8],
    fields: &'a mut Fields<'b>,
) -> Result<Head<'a>, RequestError> {
    if has_bare_line_feed(bytes) {
        return Err(RequestError::BadLineEnd);
    }
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, &mut fields.0);
    match parsed.map_err(|error| refusal(error, bytes))? {
        Status::Complete(length) if length == bytes.len() => {}
        Status::Complete(_) | Status::Partial => return Err(RequestError::BadRequestLine),
    }
    let (Some(method), Some(raw), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(RequestError::BadRequestLine);
    };
    if raw.len() > HTTP_TARGET_BYTES_MAX {
        return Err(RequestError::TargetTooLong);
    }
    let method = Method::parse(method);
    let target = Target::parse(method, raw)?;
    let mut head = Head {
        method,
        target: raw,
        path: target.path,
        query: target.query,
        version: if minor == 0 { Version::Http10 } else { Version::Http11 },
        body: BodyFraming::None,
        keep_alive: false,
        expect_continue: false,
        host: None,
        fields: request.headers,
    };
    head.host = head.parse_host(target.authority)?;
    head.body = BodyFraming::parse(
        head.version,
        head.fields("content-length"),
        head.fields("transfer-encoding"),
    )?;
    head.keep_alive = head.wants_keep_alive();
    head.expect_continue = head.parse_expect()?;
    Ok(head)
}

impl<'a> Head<'a> {
    /// The first field called `name`, in any case.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields(name).next()
    }

    /// Every field called `name`, in any case, in the order sent.
    pub fn fields<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let named = self.fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value)
    }

    /// Whether `token` is in the comma-separated list that the fields called `name` make together.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let token = token.as_bytes();
        self.fields(name).any(|list| {
            // Most lists are of one.
            list.eq_ignore_ascii_case(token)
                || list
                    .split(|&byte| byte == b',')
                    .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
        })
    }

    /// The first query parameter called `name`, decoded; `None` too where it does not decode to
    /// UTF-8. As in forms, `+` is a blank.
    pub fn query_param(&self, name: &str) -> Option<Cow<'a, str>> {
        target::query_param(self.query?, name)
    }

    /// All parameters of the query called `name`, in order; `None` for each that is badly encoded.
    pub fn query_params(&self, name: &str) -> impl Iterator<Item = Option<Cow<'a, str>>> {
        target::query_params(self.query.unwrap_or_default(), name)
    }

    /// The host and port that the client means: those of an absolute target, else `Host`.
    pub fn host(&self) -> Option<&'a str> {
        self.host
    }

    /// RFC 9112 §3.2: one valid `Host`, needed in HTTP/1.1; §3.2.2: an absolute target replaces it.
    fn parse_host(&self, authority: Option<&'a str>) -> Result<Option<&'a str>, RequestError> {
        let mut hosts = self.fields("host");
        let host = match (hosts.next(), hosts.next()) {
            (None, None) if self.version == Version::Http10 => None,
            (Some(raw), None) => {
                let host = str::from_utf8(raw).ok().filter(|host| is_authority(host));
                Some(host.ok_or(RequestError::BadHost)?)
            }
            (None, None) | (_, Some(_)) => return Err(RequestError::BadHost),
        };
        Ok(authority.or(host))
    }

    /// RFC 9112 §9.3.
    fn wants_keep_alive(&self) -> bool {
        let asked = match self.version {
            Version::Http10 => self.has_token("connection", "keep-alive"),
            Version::Http11 => true,
        };
        asked && !self.has_token("connection", "close")
    }

    /// RFC 9110 §10.1.1: HTTP/1.0 can't expect, and nothing to send is nothing to wait for.
    fn parse_expect(&self) -> Result<bool, RequestError> {
        if self.version == Version::Http10 {
            return Ok(false);
        }
        let mut expects = false;
        for value in self.fields("expect") {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(RequestError::UnknownExpectation);
            }
            expects = true;
        }
        Ok(expects && self.body != BodyFraming::None)
    }
}

/// `httparse` takes a line feed alone for a line end; a proxy before us might not.
fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let before = |at: usize| at.checked_sub(1).and_then(|at| bytes.get(at));
    memchr_iter(b'\n', bytes).any(|at| before(at) != Some(&b'\r'))
}

fn refusal(error: httparse::Error, bytes: &[u8]) -> RequestError {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => RequestError::BadField,
        httparse::Error::NewLine => RequestError::BadLineEnd,
        httparse::Error::TooManyHeaders => RequestError::TooManyFields,
        httparse::Error::Version if names_a_version(bytes) => RequestError::UnknownVersion,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => {
            RequestError::BadRequestLine
        }
    }
}

/// Whether the request line is whole but for its version, as in HTTP/2's preface.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|&byte| byte == b' ').skip(2);
    matches!((parts.next(), parts.next()), (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None)
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wire: &str, test: impl FnOnce(&Head<'_>)) {
        let mut fields = Fields::new();
        let head = parse_head(wire.as_bytes(), &mut fields);
        test(&head.unwrap_or_else(|error| panic!("{error:?}: {wire:?}")));
    }

    fn error(wire: &[u8]) -> Option<RequestError> {
        parse_head(wire, &mut Fields::new()).err()
    }

    #[test]
    fn the_example_of_rfc_6455_parses() {
        let wire = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
            Sec-WebSocket-Version: 13\r\n\r\n";
        check(wire, |head| {
            assert_eq!((head.method, head.version), (Method::Get, Version::Http11));
            assert_eq!((head.target, head.path, head.query), ("/chat", "/chat", None));
            assert_eq!(head.host(), Some("server.example.com"));
            assert_eq!(head.body, BodyFraming::None);
            assert!(head.keep_alive && !head.expect_continue);
            assert!(head.has_token("CONNECTION", "upgrade"));
            assert!(head.has_token("sec-websocket-protocol", "superchat"));
            assert!(!head.has_token("sec-websocket-protocol", "super"));
            assert_eq!(head.field("sec-websocket-version"), Some(&b"13"[..]));
            assert_eq!(head.field("cookie"), None);
        });
    }

    #[test]
    fn fields_of_one_name_make_one_list() {
        let wire =
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nconnection:\tY ,\t upgrade\r\n\r\n";
        check(wire, |head| {
            assert!(["x", "y", "Upgrade"].iter().all(|token| head.has_token("connection", token)));
            let values: Vec<_> = head.fields("Connection").collect();
            assert_eq!(values, [&b"x"[..], b"Y ,\t upgrade"]);
        });
    }

    #[test]
    fn keep_alive_is_by_version_and_by_wish() {
        for (version, connection, keeps) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: keep-alive, Close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ] {
            let wire = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
            check(&wire, |head| assert_eq!(head.keep_alive, keeps, "{wire:?}"));
        }
    }

    #[test]
    fn hosts_are_needed_once_and_valid_and_absolute_targets_replace_them() {
        check("GET / HTTP/1.0\r\n\r\n", |head| assert_eq!(head.host(), None));
        check("GET / HTTP/1.0\r\nHost: b\r\n\r\n", |head| assert_eq!(head.host(), Some("b")));
        check("GET http://a:1/x?y=%20 HTTP/1.1\r\nHost: b\r\n\r\n", |head| {
            assert_eq!((head.host(), head.path), (Some("a:1"), "/x"));
            assert_eq!(head.query_param("y").as_deref(), Some(" "));
        });
        for fields in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host: a\r\nhost: b\r\n",
            "Host:\r\n",
            "Host: a b\r\n",
            "Host: a, b\r\n",
            "Host: u@a\r\n",
            "Host: a/b\r\n",
            "Host: a:99999\r\n",
            "Host: \u{e9}\r\n",
        ] {
            let wire = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(error(wire.as_bytes()), Some(RequestError::BadHost), "{wire:?}");
            let absolute = format!("GET http://c/ HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(error(absolute.as_bytes()), Some(RequestError::BadHost), "{absolute:?}");
        }
    }

    #[test]
    fn expectations_are_kept_or_refused() {
        let wire = |version, fields| format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        let expect = "Content-Length: 5\r\nExpect: 100-Continue\r\n";
        check(&wire("1.1", expect), |head| assert!(head.expect_continue));
        check(&wire("1.0", expect), |head| assert!(!head.expect_continue));
        check(&wire("1.1", "Expect: 100-continue\r\n"), |head| assert!(!head.expect_continue));
        let odd = wire("1.1", "Expect: 200-ok\r\n");
        assert_eq!(error(odd.as_bytes()), Some(RequestError::UnknownExpectation));
    }

    #[test]
    fn methods_are_case_sensitive() {
        for (raw, method) in [("DELETE", Method::Delete), ("get", Method::Other)] {
            let wire = format!("{raw} / HTTP/1.1\r\nHost: a\r\n\r\n");
            check(&wire, |head| assert_eq!(head.method, method));
        }
        for method in [Method::Get, Method::Head, Method::Post, Method::Put, Method::Options] {
            assert_eq!(Method::parse(method.name()), method);
        }
    }

    #[test]
    fn targets_beyond_the_limit_are_refused_to_the_byte() {
        let wire = |bytes: usize| {
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1)).into_bytes()
        };
        assert_eq!(error(&wire(HTTP_TARGET_BYTES_MAX)), None);
        let long = error(&wire(HTTP_TARGET_BYTES_MAX + 1));
        assert_eq!(long, Some(RequestError::TargetTooLong));
    }

    #[test]
    fn versions_that_are_not_served_are_told_from_nonsense() {
        for (wire, kind) in [
            (&b"PRI * HTTP/2.0\r\n\r\n"[..], RequestError::UnknownVersion),
            (b"GET / HTTP/1.2\r\n\r\n", RequestError::UnknownVersion),
            (b"GET / HTTP/0.9\r\n\r\n", RequestError::UnknownVersion),
            (b"GET / http/1.1\r\n\r\n", RequestError::BadRequestLine),
            (b"GET / HTTP/11\r\n\r\n", RequestError::BadRequestLine),
            (b"GET / HTTP/1.11\r\n\r\n", RequestError::BadLineEnd),
            (b"GET /\r\n\r\n", RequestError::BadRequestLine),
            (b"GET /a b HTTP/1.1\r\n\r\n", RequestError::BadRequestLine),
            (b"GET  / HTTP/2.0\r\n\r\n", RequestError::BadRequestLine),
        ] {
            assert_eq!(error(wire), Some(kind), "{}", wire.escape_ascii());
        }
    }

    #[test]
    fn bare_line_feeds_are_refused_here_too() {
        for wire in [&b"GET / HTTP/1.0\n\n"[..], b"GET / HTTP/1.0\r\nA: b\n\r\n", b"\nGET"] {
            assert_eq!(error(wire), Some(RequestError::BadLineEnd), "{}", wire.escape_ascii());
        }
    }

    #[test]
    fn incomplete_heads_and_bytes_after_a_head_are_errors_here() {
        let whole = b"GET / HTTP/1.0\r\n\r\n";
        for end in 0..whole.len() {
            assert!(error(&whole[..end]).is_some(), "{end}");
        }
        assert!(error(b"GET / HTTP/1.0\r\n\r\nx").is_some());
    }
}
