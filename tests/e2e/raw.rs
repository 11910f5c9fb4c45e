//! A WebSocket client that sends whatever bytes a test wants, and shows every frame it gets.
//!
//! Not here: clients that follow the rules (`crowd`, `node`). Invariant: it never answers by
//! itself, neither pings nor closes.

use super::http::{Answer, Expect, Http};
use std::net::{SocketAddr, TcpStream};

/// The mask of every frame: it need not be random here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// First bytes of frames.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;
/// Fragments: not the last one.
pub(crate) const BEGIN_TEXT: u8 = 0x01;
pub(crate) const CONTINUE: u8 = 0x00;
pub(crate) const LAST: u8 = 0x80;

/// A frame as a client sends it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | u8::try_from(len).expect("below 126")),
        len @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(len).expect("below 65,536").to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A close frame's payload.
pub(crate) fn close_payload(code: u16) -> [u8; 2] {
    code.to_be_bytes()
}

/// The request that opens a WebSocket, with these further fields.
pub(crate) fn upgrade(target: &str, host: &str, fields: &[&str]) -> Vec<u8> {
    let mut request = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    );
    for field in fields {
        request.push_str(field);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.into_bytes()
}

/// A frame as it came: its first byte and its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of a close frame.
    pub(crate) fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk().filter(|_| self.first == CLOSE)?;
        Some(u16::from_be_bytes(*code))
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Raw(pub(crate) Http);

impl Raw {
    /// Opens a WebSocket to `target`.
    pub(crate) fn open(address: SocketAddr, target: &str) -> Self {
        Self::over(Http::connect(address), target)
    }

    /// The same, with these further fields.
    pub(crate) fn open_with(address: SocketAddr, target: &str, fields: &[&str]) -> Self {
        Self::over_with(Http::connect(address), target, fields)
    }

    /// Over a connection that was made in a special way.
    pub(crate) fn over(http: Http, target: &str) -> Self {
        Self::over_with(http, target, &[])
    }

    fn over_with(mut http: Http, target: &str, fields: &[&str]) -> Self {
        http.send(&upgrade(target, "test", fields));
        let answer = http.answer(Expect::HeadOnly);
        assert_eq!(answer.status, 101, "{answer:?}");
        check_switch(&answer);
        Self(http)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.0.stream
    }

    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) {
        self.0.send(&frame(first, payload));
    }

    /// The next frame; none when the connection has ended.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, end)) = parse(&self.0.unread) {
                self.0.unread.drain(..end);
                return Some(frame);
            }
            if !self.0.more() {
                return None;
            }
        }
    }

    /// Reads until a close frame; its code. What came before is thrown away.
    pub(crate) fn close_code(&mut self) -> Option<u16> {
        loop {
            let frame = self.next().expect("a close frame before the connection ends");
            if frame.first == CLOSE {
                return frame.close_code();
            }
        }
    }
}

fn check_switch(answer: &Answer) {
    assert_eq!(answer.field("upgrade"), Some("websocket"));
    assert_eq!(answer.field("connection"), Some("Upgrade"));
    assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

/// The frame at the front of `bytes`, and where it ends.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server's frames are not masked");
    let (start, length) = match second {
        126 => (4, u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
        length => (2, u64::from(length)),
    };
    let end = start + usize::try_from(length).expect("a length that fits");
    Some((Frame { first, payload: bytes.get(start..end)?.to_vec() }, end))
}
