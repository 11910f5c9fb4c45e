//! The opening handshake as a client sees it (RFC 6455 §4.1): what it sends, and what it asks of
//! the answer.
//!
//! Not here: sockets, URLs, redirects and passwords: an answer other than 101 is an error.

use super::agreement::check_answer;
use super::handshake::{KEY_BYTES, accept_key, only};
use super::{Agreement, Decoded, DeflateOffer};
use crate::limits::{HTTP_FIELDS_MAX, HTTP_HEAD_BYTES_MAX};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Why the answer to [`client_request`] opens no WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientHandshakeError {
    /// Not an HTTP response, or one with a longer head than we read.
    NotHttp,
    /// A response with another status than 101.
    Status(u16),
    /// No `Upgrade: websocket`.
    Upgrade,
    /// No `Connection: Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is not exactly one answer to our key.
    Accept,
    /// An extension or a subprotocol that we did not ask for.
    Unasked,
    /// An extension that we offered, on terms that don't fit the offer.
    Extension,
}

/// An answer that opens a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// So many bytes were the answer; frames may follow.
    pub head_bytes: usize,
    /// What the server made of our offer to compress; `None`: it declined, or there was none.
    pub deflate: Option<Agreement>,
}

impl fmt::Display for ClientHandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp => f.write_str("the answer is no HTTP response"),
            Self::Status(status) => write!(f, "the server answered with status {status}"),
            Self::Upgrade => f.write_str("the answer does not upgrade to WebSocket"),
            Self::Connection => f.write_str("the answer's Connection field does not name Upgrade"),
            Self::Accept => f.write_str("the answer's Sec-WebSocket-Accept does not fit our key"),
            Self::Unasked => f.write_str("the answer chose something that was not offered"),
            Self::Extension => f.write_str("the answer's extension does not fit what was offered"),
        }
    }
}

impl std::error::Error for ClientHandshakeError {}

/// Appends a client's request for `target` on `host`, with its `offer` to compress, if any. `key`
/// is 16 fresh random bytes.
///
/// `host` and `target` must be fit for an HTTP head: the caller took them from a URL.
pub fn client_request(
    out: &mut Vec<u8>,
    host: &str,
    target: &str,
    key: &[u8; 16],
    offer: Option<DeflateOffer>,
) {
    client_request_speaking(out, host, target, key, (offer, None));
}

/// The same, and asks for the `subprotocol`, if any (RFC 6455 §1.9).
pub fn client_request_speaking(
    out: &mut Vec<u8>,
    host: &str,
    target: &str,
    key: &[u8; 16],
    (offer, subprotocol): (Option<DeflateOffer>, Option<&str>),
) {
    debug_assert!(host.bytes().chain(target.bytes()).all(|byte| byte.is_ascii_graphic()));
    for part in ["GET ", target, " HTTP/1.1\r\nHost: ", host] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(
        b"\r\nUpgrade: websocket\r\n\
          Connection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: ",
    );
    out.extend_from_slice(&encode_key(key));
    if let Some(offer) = offer {
        out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
        offer.push(out);
    }
    if let Some(subprotocol) = subprotocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(subprotocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Checks the answer to [`client_request`] with `key` and `offer` at the front of `bytes` (RFC 6455
/// §4.1).
pub fn check_response(
    bytes: &[u8],
    key: &[u8; 16],
    offer: Option<DeflateOffer>,
) -> Result<Decoded<Accepted>, ClientHandshakeError> {
    check_response_speaking(bytes, key, (offer, None))
}

/// Checks the answer to [`client_request_speaking`] with the same `key`, `offer` and
/// `subprotocol`. A server may choose none.
pub fn check_response_speaking(
    bytes: &[u8],
    key: &[u8; 16],
    (offer, subprotocol): (Option<DeflateOffer>, Option<&str>),
) -> Result<Decoded<Accepted>, ClientHandshakeError> {
    let mut fields = [httparse::EMPTY_HEADER; HTTP_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let head = bytes.get(..HTTP_HEAD_BYTES_MAX).unwrap_or(bytes);
    let head_bytes = match response.parse(head) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) if head.len() < HTTP_HEAD_BYTES_MAX => {
            return Ok(Decoded::Partial(bytes.len() + 1));
        }
        Ok(httparse::Status::Partial) | Err(_) => return Err(ClientHandshakeError::NotHttp),
    };
    match response.code {
        Some(101) => {}
        Some(status) => return Err(ClientHandshakeError::Status(status)),
        None => return Err(ClientHandshakeError::NotHttp),
    }
    let values = |name: &'static str| {
        let fields = response.headers.iter();
        fields.filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    };
    if !values("upgrade").any(|value| value.trim_ascii().eq_ignore_ascii_case(b"websocket")) {
        return Err(ClientHandshakeError::Upgrade);
    }
    if !values("connection").any(|value| has_item(value, b"upgrade")) {
        return Err(ClientHandshakeError::Connection);
    }
    let expected = accept_key(&encode_key(key));
    if only(values("sec-websocket-accept")).map(<[u8]>::trim_ascii) != Some(&expected) {
        return Err(ClientHandshakeError::Accept);
    }
    let asked = subprotocol.unwrap_or_default().as_bytes();
    let mut chosen = values("sec-websocket-protocol").map(<[u8]>::trim_ascii);
    if chosen.any(|value| !value.is_empty() && value != asked) {
        return Err(ClientHandshakeError::Unasked);
    }
    let deflate = check_answer(values("sec-websocket-extensions"), offer)?;
    Ok(Decoded::Complete(Accepted { head_bytes, deflate }))
}

/// 16 random bytes as the value of `Sec-WebSocket-Key`.
fn encode_key(key: &[u8; 16]) -> [u8; KEY_BYTES] {
    let mut encoded = [0; KEY_BYTES];
    let written = STANDARD.encode_slice(key, &mut encoded);
    debug_assert_eq!(written, Ok(KEY_BYTES), "16 bytes are 24 in base64");
    encoded
}

/// Whether the comma-separated `list` has `wanted`, in any case of its letters.
fn has_item(list: &[u8], wanted: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{ClientWindow, WindowBits};

    const KEY: &[u8; 16] = b"the sample nonce";
    const OFFER: DeflateOffer = DeflateOffer {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: None,
        client_max_window_bits: ClientWindow::Any,
    };
    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn the_request_asks_with_the_rfc_sample_key() {
        let mut out = Vec::new();
        client_request(&mut out, "example.org:81", "/raw/lobby?echo=0", KEY, None);
        let text = String::from_utf8_lossy(&out);
        assert!(text.starts_with("GET /raw/lobby?echo=0 HTTP/1.1\r\nHost: example.org:81\r\n"));
        assert!(text.contains("\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
        assert!(text.ends_with("\r\n\r\n"));
        assert!(!text.contains("Extensions"));
        out.clear();
        client_request(&mut out, "example.org", "/", KEY, Some(OFFER));
        let text = String::from_utf8_lossy(&out);
        let field = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        assert!(text.contains(field), "{text}");
    }

    #[test]
    fn the_answer_is_complete_at_its_last_byte_and_not_before() {
        let wire = [ANSWER.as_bytes(), b"\x81\x00"].concat();
        for len in 0..=wire.len() {
            let checked = check_response(&wire[..len], KEY, Some(OFFER));
            if len < ANSWER.len() {
                assert_eq!(checked, Ok(Decoded::Partial(len + 1)), "{len}");
            } else {
                let accepted = Accepted { head_bytes: ANSWER.len(), deflate: None };
                assert_eq!(checked, Ok(Decoded::Complete(accepted)), "{len}");
            }
        }
    }

    #[test]
    fn the_servers_choice_is_part_of_the_answer() {
        let chosen = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9; \
            server_no_context_takeover\r\n\r\n";
        let answer = ANSWER.replace("\r\n\r\n", chosen);
        let deflate = Some(Agreement {
            server_max_window_bits: None,
            client_max_window_bits: Some(WindowBits::Nine),
            server_no_context_takeover: true,
            client_no_context_takeover: false,
        });
        let accepted = Accepted { head_bytes: answer.len(), deflate };
        let checked = check_response(answer.as_bytes(), KEY, Some(OFFER));
        assert_eq!(checked, Ok(Decoded::Complete(accepted)));
    }

    #[test]
    fn every_wrong_answer_is_refused() {
        use ClientHandshakeError::{Accept, Connection, NotHttp, Status, Unasked, Upgrade};
        for (from, to, error) in [
            ("101 Switching Protocols", "200 OK", Status(200)),
            ("HTTP/1.1 101", "101", NotHttp),
            ("Upgrade: websocket", "Upgrade: h2c", Upgrade),
            ("Upgrade: websocket\r\n", "", Upgrade),
            ("Connection: Upgrade", "Connection: close", Connection),
            ("s3pP", "S3pP", Accept),
            ("Sec-WebSocket-Accept", "X-Accept", Accept),
            ("\r\n\r\n", "\r\nSec-WebSocket-Accept: twice\r\n\r\n", Accept),
            ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n", Unasked),
            ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", Unasked),
        ] {
            let answer = ANSWER.replace(from, to);
            assert_ne!(answer, ANSWER, "{from}");
            assert_eq!(check_response(answer.as_bytes(), KEY, None), Err(error), "{answer}");
        }
    }

    #[test]
    fn a_subprotocol_is_asked_for_and_only_that_one_may_be_chosen() {
        let mut out = Vec::new();
        client_request_speaking(&mut out, "example.org", "/", KEY, (None, Some("chat.v1")));
        let text = String::from_utf8_lossy(&out);
        assert!(text.ends_with("\r\nSec-WebSocket-Protocol: chat.v1\r\n\r\n"), "{text}");
        for (chosen, is_fine) in [("chat.v1", true), ("", true), ("chat.v2", false)] {
            let field = format!("\r\nSec-WebSocket-Protocol: {chosen}\r\n\r\n");
            let answer = ANSWER.replace("\r\n\r\n", &field);
            let checked = check_response_speaking(answer.as_bytes(), KEY, (None, Some("chat.v1")));
            assert_eq!(checked.is_ok(), is_fine, "{chosen}");
        }
    }

    #[test]
    fn an_endless_answer_is_refused_at_the_bound() {
        let endless = [b"HTTP/1.1 101 x\r\nX: ".as_slice(), &[b'y'; HTTP_HEAD_BYTES_MAX]].concat();
        assert!(check_response(&endless[..HTTP_HEAD_BYTES_MAX - 1], KEY, None).is_ok());
        let refused = check_response(&endless, KEY, None);
        assert_eq!(refused, Err(ClientHandshakeError::NotHttp));
    }
}
