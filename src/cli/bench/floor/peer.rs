//! One client of the floor: its socket, and what the kernel did not take of its output.

use crate::http::{Fields, parse_head};
use crate::limits::HTTP_HEAD_BYTES_MAX;
use crate::ws;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, Read, Write};

/// A client.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
    /// The room it is in, once its handshake is done.
    pub(super) room: Option<usize>,
    /// Bytes of a handshake or a frame that is not complete.
    pub(super) carry: Vec<u8>,
    /// What the kernel did not take yet.
    unsent: Vec<u8>,
}

/// A complete handshake.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Greeting {
    /// The path, which names the room.
    pub(super) path: String,
    /// Our answer.
    pub(super) answer: Vec<u8>,
    /// Bytes of the request.
    pub(super) bytes: usize,
}

/// Reads a handshake at the front of `input`: none while it is incomplete, or if it is none.
pub(super) fn greet(input: &[u8]) -> io::Result<Option<Greeting>> {
    let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
        let is_long = input.len() > HTTP_HEAD_BYTES_MAX;
        return if is_long { Err(io::ErrorKind::InvalidData.into()) } else { Ok(None) };
    };
    let mut fields = Fields::new();
    let head = input.get(..end + 4).unwrap_or_default();
    let head = parse_head(head, &mut fields).map_err(|_| io::ErrorKind::InvalidData)?;
    let upgrade = ws::check(&head).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut answer = Vec::new();
    upgrade.push_response(&mut answer, None);
    Ok(Some(Greeting { path: head.path.to_owned(), answer, bytes: end + 4 }))
}

impl Peer {
    /// A client just accepted.
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self { stream, room: None, carry: Vec::new(), unsent: Vec::new() }
    }

    /// Starts to watch for input.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, Interest::READABLE)
    }

    /// Reads once; 0 is the end, none that there is nothing.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.stream.read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends `bytes`, behind what is still unsent.
    pub(super) fn send(
        &mut self,
        bytes: &[u8],
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let taken = taken(self.stream.write(bytes))?;
        if let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            self.unsent.extend_from_slice(rest);
            let both = Interest::READABLE | Interest::WRITABLE;
            registry.reregister(&mut self.stream, token, both)?;
        }
        Ok(())
    }

    /// Goes on with what is unsent.
    pub(super) fn resume(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let taken = taken(self.stream.write(&self.unsent))?;
        self.unsent.drain(..taken);
        if self.unsent.is_empty() {
            registry.reregister(&mut self.stream, token, Interest::READABLE)?;
        }
        Ok(())
    }
}

/// How much the kernel took; a full socket took nothing.
fn taken(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_answered_once_it_is_whole() {
        let mut request = Vec::new();
        ws::client_request(&mut request, "127.0.0.1:1", "/raw/a?echo=0", b"the sample nonce");
        let whole = [&request[..], b"\x81\x00"].concat();
        let greeting = greet(&whole).expect("a handshake").expect("all of it");
        assert_eq!((greeting.path.as_str(), greeting.bytes), ("/raw/a", request.len()));
        let answer = ws::check_response(&greeting.answer, b"the sample nonce");
        assert_eq!(answer, Ok(ws::Decoded::Complete(greeting.answer.len())));
        for len in 0..request.len() {
            assert_eq!(greet(&whole[..len]).expect("a beginning"), None);
        }
        assert!(greet(b"GET / HTTP/1.1\r\n\r\n").is_err());
    }
}
