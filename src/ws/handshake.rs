//! The opening handshake as a server sees it (RFC 6455 §4.2): what it asks of a request.
//!
//! Not here: routes, origins and tokens, which decide whether somebody may connect at all, and the
//! client's side (`client`). Invariant: an [`Upgrade`] exists only for a request that met every
//! rule of §4.2.1.

use super::Agreement;
use crate::http::{BodyFraming, Head, Method, Response, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// RFC 6455 §1.3: appended to the key before it is hashed.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of 16 random bytes in base64.
pub(super) const KEY_BYTES: usize = 24;
/// Bytes of a SHA-1 hash in base64.
const ACCEPT_BYTES: usize = 28;

/// A request that may become a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upgrade {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: [u8; ACCEPT_BYTES],
}

/// Why a request can't become a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Not a GET.
    Method,
    /// Not exactly one `Host`.
    Host,
    /// A body is announced: its bytes would be read as frames.
    Body,
    /// A plain request, which does not ask for a WebSocket.
    NotAnUpgrade,
    /// An upgrade over HTTP/1.0.
    HttpVersion,
    /// `Connection` does not name `Upgrade`: a proxy may have dropped it.
    Connection,
    /// `Sec-WebSocket-Version` is not exactly one 13.
    Version,
    /// `Sec-WebSocket-Key` is not exactly one base64 of 16 bytes.
    Key,
}

/// Whether the request `head` may become a WebSocket (RFC 6455 §4.2.1).
pub fn check(head: &Head<'_>) -> Result<Upgrade, Refusal> {
    if head.method != Method::Get {
        return Err(Refusal::Method);
    }
    if only(head.fields("host")).is_none() {
        return Err(Refusal::Host);
    }
    if !matches!(head.body, BodyFraming::None | BodyFraming::Length(0)) {
        return Err(Refusal::Body);
    }
    if !head.has_token("upgrade", "websocket") {
        return Err(Refusal::NotAnUpgrade);
    }
    if head.version != Version::Http11 {
        return Err(Refusal::HttpVersion);
    }
    if !head.has_token("connection", "upgrade") {
        return Err(Refusal::Connection);
    }
    // Before the key: other versions of the protocol have other keys.
    if only(head.fields("sec-websocket-version")) != Some(b"13") {
        return Err(Refusal::Version);
    }
    let key = only(head.fields("sec-websocket-key")).filter(|key| is_key(key));
    let key = key.ok_or(Refusal::Key)?;
    Ok(Upgrade { accept: accept_key(key) })
}

/// What proves that we read `key` as a WebSocket handshake (RFC 6455 §4.2.2).
pub fn accept_key(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let hash: [u8; 20] = Sha1::new().chain_update(key).chain_update(GUID).finalize().into();
    let mut accept = [0; ACCEPT_BYTES];
    let written = STANDARD.encode_slice(hash, &mut accept);
    debug_assert_eq!(written, Ok(ACCEPT_BYTES), "20 bytes are 28 in base64");
    accept
}

impl Upgrade {
    /// Appends the 101 response. `subprotocol` is what [`super::choose_subprotocol`] came to, and
    /// `deflate` what [`super::agree_on_deflate`] did.
    pub fn push_response(
        &self,
        out: &mut Vec<u8>,
        subprotocol: Option<&str>,
        deflate: Option<Agreement>,
    ) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\n\
              Upgrade: websocket\r\n\
              Connection: Upgrade\r\n\
              Sec-WebSocket-Accept: ",
        );
        out.extend_from_slice(&self.accept);
        if let Some(subprotocol) = subprotocol {
            debug_assert!(subprotocol.bytes().all(is_token_byte));
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(subprotocol.as_bytes());
        }
        if let Some(agreement) = deflate {
            out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            agreement.push(out);
        }
        out.extend_from_slice(b"\r\n\r\n");
    }
}

impl Refusal {
    /// The status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::NotAnUpgrade | Self::Version => 426,
            Self::Host | Self::Body | Self::HttpVersion | Self::Connection | Self::Key => 400,
        }
    }

    /// What the client should have done.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Method => "a WebSocket handshake is a GET request",
            Self::Host => "a WebSocket handshake needs exactly one Host field",
            Self::Body => "a WebSocket handshake has no body",
            Self::NotAnUpgrade => "this is a WebSocket endpoint: connect with a WebSocket client",
            Self::HttpVersion => {
                "a WebSocket handshake needs HTTP/1.1; a proxy in between may speak HTTP/1.0"
            }
            Self::Connection => {
                "the Connection field must name Upgrade; a proxy in between may have dropped it"
            }
            Self::Version => "only version 13 of the WebSocket protocol is spoken here",
            Self::Key => "Sec-WebSocket-Key must be there once: 16 bytes in base64",
        }
    }

    /// The answer, with the fields that its status asks for.
    pub fn into_response(self) -> Response {
        let response = Response::problem(self.status(), self.detail());
        match self {
            Self::Method => response.with_field("Allow", "GET"),
            // RFC 9110 §15.5.22: a 426 names what to upgrade to.
            Self::NotAnUpgrade | Self::Version => response
                .with_field("Upgrade", "websocket")
                .with_field("Connection", "Upgrade")
                .with_field("Sec-WebSocket-Version", "13"), // RFC 6455 §4.4
            Self::Host | Self::Body | Self::HttpVersion | Self::Connection | Self::Key => response,
        }
    }
}

/// Whether `key` is the base64 of 16 bytes.
fn is_key(key: &[u8]) -> bool {
    let mut decoded = [0; KEY_BYTES];
    key.len() == KEY_BYTES && STANDARD.decode_slice(key, &mut decoded) == Ok(16)
}

/// The value of a field that must be there exactly once.
pub(super) fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    values.next().filter(|_| values.next().is_none())
}

/// RFC 9110 §5.6.2: `tchar`.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    let symbol = matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'|' | b'~');
    byte.is_ascii_alphanumeric() || symbol || matches!(byte, b'^'..=b'`')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Connection, Fields, RequestError, SendBody, parse_head};
    use crate::ws::{DeflatePolicy, agree_on_deflate};

    const FIELDS: [&str; 5] = [
        "Host: example.org",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];

    /// Checks a request of `line` and `fields` that the room `http` takes.
    fn checked(line: &str, fields: &[&str]) -> Result<Upgrade, Refusal> {
        let text = request(line, fields);
        let mut room = Fields::new();
        check(&parse_head(text.as_bytes(), &mut room).expect("a head that http takes"))
    }

    fn request(line: &str, fields: &[&str]) -> String {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        format!("{line}\r\n{fields}\r\n")
    }

    /// The good fields without the one called `name`, and with `more`.
    fn with(name: &str, more: &[&'static str]) -> Vec<&'static str> {
        let name = format!("{name}:");
        FIELDS
            .into_iter()
            .filter(|field| !field.starts_with(&name))
            .chain(more.iter().copied())
            .collect()
    }

    #[test]
    fn the_rfc_sample_key_has_the_rfc_answer() {
        let upgrade = checked("GET /chat HTTP/1.1", &FIELDS).expect("the RFC's own request");
        assert_eq!(&upgrade.accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let mut out = Vec::new();
        upgrade.push_response(&mut out, Some("chat"), None);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: chat\r\n\r\n"
        );
    }

    #[test]
    fn what_is_agreed_on_is_answered() {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
        let text = request("GET / HTTP/1.1", &with("", &["sec-websocket-extensions: x", offer]));
        let mut room = Fields::new();
        let head = parse_head(text.as_bytes(), &mut room).expect("a head that http takes");
        let policy = DeflatePolicy { enabled: true, client_takeover: true, server_takeover: false };
        let agreed = agree_on_deflate(head.fields("sec-websocket-extensions"), policy);
        let mut out = Vec::new();
        check(&head).expect("good fields").push_response(&mut out, None, agreed);
        assert!(String::from_utf8_lossy(&out).ends_with(
            "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n"
        ));
    }

    #[test]
    fn what_browsers_and_proxies_send_is_taken() {
        for fields in [
            with("Connection", &["Connection: keep-alive, Upgrade"]),
            with("Connection", &["connection: keep-alive", "CONNECTION: UPGRADE"]),
            with("Upgrade", &["upgrade: WebSocket"]),
            with("Upgrade", &["Upgrade: h2c, websocket"]),
            with("", &["Content-Length: 0", "Origin: http://example.org"]),
        ] {
            assert!(checked("GET / HTTP/1.1", &fields).is_ok(), "{fields:?}");
        }
    }

    #[test]
    fn every_breach_is_refused_with_its_status() {
        use Refusal::{Body, Key, NotAnUpgrade, Version};
        for (name, more, refusal, status) in [
            ("Upgrade", &[][..], NotAnUpgrade, 426),
            ("Upgrade", &["Upgrade: websockets"], NotAnUpgrade, 426),
            ("Connection", &[], Refusal::Connection, 400),
            ("Connection", &["Connection: keep-alive"], Refusal::Connection, 400),
            ("Sec-WebSocket-Version", &[], Version, 426),
            ("Sec-WebSocket-Version", &["Sec-WebSocket-Version: 8"], Version, 426),
            ("Sec-WebSocket-Version", &["Sec-WebSocket-Version: 14"], Version, 426),
            ("Sec-WebSocket-Version", &["Sec-WebSocket-Version: 013"], Version, 426),
            ("Sec-WebSocket-Version", &["Sec-WebSocket-Version: +13"], Version, 426),
            ("Sec-WebSocket-Version", &["Sec-WebSocket-Version: 13, 8"], Version, 426),
            ("", &["Sec-WebSocket-Version: 13"], Version, 426),
            ("Sec-WebSocket-Key", &[], Key, 400),
            ("", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], Key, 400),
            ("Sec-WebSocket-Key", &["Sec-WebSocket-Key:"], Key, 400),
            ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ="], Key, 400),
            ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"], Key, 400),
            ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q=="], Key, 400),
            ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: SGVsbG8sIHdvcmxkIQ=="], Key, 400),
            ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXM="], Key, 400),
            ("", &["Content-Length: 5"], Body, 400),
            ("", &["Transfer-Encoding: chunked"], Body, 400),
        ] {
            let fields = with(name, more);
            assert_eq!(checked("GET / HTTP/1.1", &fields), Err(refusal), "{fields:?}");
            assert_eq!(refusal.status(), status, "{fields:?}");
        }
    }

    #[test]
    fn other_methods_and_versions_are_refused() {
        for (line, refusal, status) in [
            ("POST / HTTP/1.1", Refusal::Method, 405),
            ("HEAD / HTTP/1.1", Refusal::Method, 405),
            ("GET / HTTP/1.0", Refusal::HttpVersion, 400),
        ] {
            assert_eq!(checked(line, &FIELDS), Err(refusal), "{line}");
            assert_eq!(refusal.status(), status, "{line}");
        }
    }

    #[test]
    fn a_host_is_there_exactly_once() {
        let none = with("Host", &[]);
        assert_eq!(checked("GET / HTTP/1.0", &none), Err(Refusal::Host));
        assert_eq!(Refusal::Host.status(), 400);
        for fields in [none, with("", &["Host: example.org"])] {
            let text = request("GET / HTTP/1.1", &fields);
            let refused = parse_head(text.as_bytes(), &mut Fields::new()).map(|_| ());
            assert_eq!(refused.map_err(RequestError::status), Err(400), "http refuses it already");
        }
    }

    #[test]
    fn refusals_carry_the_fields_that_their_status_asks_for() {
        for (refusal, expected) in [
            (Refusal::Version, "\r\nSec-WebSocket-Version: 13\r\n"),
            (Refusal::NotAnUpgrade, "\r\nUpgrade: websocket\r\n"),
            (Refusal::Method, "\r\nAllow: GET\r\n"),
            (Refusal::Key, "Sec-WebSocket-Key must be there once"),
        ] {
            let mut out = Vec::new();
            refusal.into_response().push(&mut out, Connection::Close, SendBody::Yes, 0);
            let text = String::from_utf8_lossy(&out);
            assert!(text.starts_with(&format!("HTTP/1.1 {} ", refusal.status())), "{text}");
            assert!(text.contains(expected), "{text}");
        }
    }
}
