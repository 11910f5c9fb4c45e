//! The least that answers a handshake: the path, the key, nothing else is looked at.
//!
//! Not here: anything that refuses a request (`ws::handshake` is the broker's).

use crate::limits::HTTP_HEAD_BYTES_MAX;
use crate::ws;
use std::io;

const END: &[u8] = b"\r\n\r\n";
const KEY: &[u8] = b"sec-websocket-key:";

/// A complete request at the front of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Greeting<'a> {
    /// Its path, which names the room.
    pub(super) path: &'a [u8],
    /// The key of a handshake; other requests have none.
    pub(super) key: Option<&'a [u8]>,
    /// Bytes of the request.
    pub(super) bytes: usize,
}

impl<'a> Greeting<'a> {
    /// Reads a request at the front of `input`: none while it is incomplete.
    pub(super) fn read(input: &'a [u8]) -> io::Result<Option<Self>> {
        let Some(end) = input.windows(END.len()).position(|window| window == END) else {
            let is_long = input.len() > HTTP_HEAD_BYTES_MAX;
            return if is_long { Err(io::ErrorKind::InvalidData.into()) } else { Ok(None) };
        };
        let mut lines = input.get(..end).unwrap_or_default().split(|byte| *byte == b'\n');
        let mut words = lines.next().unwrap_or_default().split(|byte| matches!(byte, b' ' | b'?'));
        let path = words.nth(1).unwrap_or_default();
        let key = lines.find_map(|line| {
            let (name, value) = line.split_at_checked(KEY.len())?;
            name.eq_ignore_ascii_case(KEY).then(|| value.trim_ascii())
        });
        Ok(Some(Self { path, key, bytes: end + END.len() }))
    }
}

/// Appends the answer to the handshake with that key.
pub(super) fn push_answer(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
          Connection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(&ws::accept_key(key));
    out.extend_from_slice(END);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_answered_once_it_is_whole() {
        let mut request = Vec::new();
        ws::client_request(&mut request, "127.0.0.1:1", "/raw/a?echo=0", b"the sample nonce", None);
        let whole = [&request[..], b"\x81\x00"].concat();
        let greeting = Greeting::read(&whole).expect("a request").expect("all of it");
        assert_eq!((greeting.path, greeting.bytes), (&b"/raw/a"[..], request.len()));
        let mut answer = Vec::new();
        push_answer(&mut answer, greeting.key.expect("a key"));
        let answered = ws::check_response(&answer, b"the sample nonce", None);
        let accepted = ws::Accepted { head_bytes: answer.len(), deflate: None };
        assert_eq!(answered, Ok(ws::Decoded::Complete(accepted)));
        for len in 0..request.len() {
            assert_eq!(Greeting::read(&whole[..len]).expect("a beginning"), None);
        }
        assert!(Greeting::read(&vec![b'x'; HTTP_HEAD_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn other_requests_have_no_key() {
        let greeting = Greeting::read(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
        let greeting = greeting.expect("a request").expect("all of it");
        assert_eq!((greeting.path, greeting.key), (&b"/metrics"[..], None));
    }
}
