//! Frames onto the wire: bare ones as a server, masked ones as a client (RFC 6455 §5).
//!
//! Not here: when to send, and queues. Invariant: everything appended is one whole frame, except
//! after [`push_header`], whose caller owes the payload.

use super::close::push_close_payload;
use super::{FrameHeader, Opcode, mask};
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;

/// Appends a server's frame: a whole message, unmasked.
pub fn push_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.reserve(frame_bytes(payload.len()));
    push_header(out, opcode, true, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a server's frame whose payload `write` appends, and returns what that returned. A
/// payload that is not of 126 to 65,535 bytes is moved once to make the header fit.
pub fn push_frame_with<R>(
    out: &mut Vec<u8>,
    opcode: Opcode,
    write: impl FnOnce(&mut Vec<u8>) -> R,
) -> R {
    let start = out.len();
    push_header(out, opcode, true, usize::from(u16::MAX)); // The most usual size of header.
    let from = out.len();
    let written = write(out);
    let len = out.len() - from;
    match u16::try_from(len) {
        Ok(short) if len > CONTROL_PAYLOAD_BYTES_MAX => {
            if let Some(length) = out.get_mut(from - size_of::<u16>()..from) {
                length.copy_from_slice(&short.to_be_bytes());
            }
        }
        Ok(_) | Err(_) => {
            let mut header = Vec::new();
            push_header(&mut header, opcode, true, len);
            out.splice(start..from, header);
        }
    }
    written
}

/// Appends the header of a server's frame whose payload of `len` bytes the caller appends next.
/// `fin` says that the frame is its message's last.
pub fn push_header(out: &mut Vec<u8>, opcode: Opcode, fin: bool, len: usize) {
    debug_assert!(!opcode.is_control() || fin && len <= CONTROL_PAYLOAD_BYTES_MAX);
    FrameHeader { fin, opcode, compressed: false, mask: None, payload_len: len as u64 }.encode(out);
}

/// Bytes of a server's frame with a payload of `payload_len` bytes, header included.
pub const fn frame_bytes(payload_len: usize) -> usize {
    let header = FrameHeader {
        fin: true,
        opcode: Opcode::Binary,
        compressed: false,
        mask: None,
        payload_len: payload_len as u64,
    };
    header.header_bytes() + payload_len
}

/// Appends a client's frame: a whole message, masked with `mask`, which must be unpredictable to
/// whoever chose the payload (RFC 6455 §5.3).
pub fn push_masked_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    debug_assert!(!opcode.is_control() || payload.len() <= CONTROL_PAYLOAD_BYTES_MAX);
    let header = FrameHeader {
        fin: true,
        opcode,
        compressed: false,
        mask: Some(mask),
        payload_len: payload.len() as u64,
    };
    out.reserve(header.header_bytes() + payload.len());
    header.encode(out);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(mask, 0, out.get_mut(start..).unwrap_or_default());
}

/// Appends a server's close frame: `code`, and as much of `reason` as fits, cut between characters.
///
/// `code` must be one that may be sent; 1005, 1006 and 1015 never go on the wire. To answer a close
/// frame that had no code, push a [`Opcode::Close`] frame with an empty payload instead.
pub fn push_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let mut payload = Vec::with_capacity(CONTROL_PAYLOAD_BYTES_MAX);
    push_close_payload(&mut payload, code, reason);
    push_frame(out, Opcode::Close, &payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_the_rfc_examples() {
        let mut out = Vec::new();
        push_frame(&mut out, Opcode::Text, b"Hello");
        assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);

        out.clear();
        push_masked_frame(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);

        out.clear();
        push_header(&mut out, Opcode::Text, false, 3);
        out.extend(b"Hel");
        push_header(&mut out, Opcode::Continuation, true, 2);
        out.extend(b"lo");
        assert_eq!(out, [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f]);

        out.clear();
        push_frame(&mut out, Opcode::Ping, b"Hello");
        assert_eq!(out, [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);

        out.clear();
        push_header(&mut out, Opcode::Binary, true, 256);
        assert_eq!(out, [0x82, 0x7E, 0x01, 0x00]);

        out.clear();
        push_header(&mut out, Opcode::Binary, true, 65_536);
        assert_eq!(out, [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_frame_written_in_place_is_as_one_written_at_once() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload = vec![7; len];
            let (mut at_once, mut in_place) = (b"before".to_vec(), b"before".to_vec());
            push_frame(&mut at_once, Opcode::Text, &payload);
            push_frame_with(&mut in_place, Opcode::Text, |out| out.extend_from_slice(&payload));
            assert!(at_once == in_place, "{len}");
        }
    }

    #[test]
    fn frame_bytes_is_what_push_frame_appends() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537] {
            let mut out = Vec::new();
            push_frame(&mut out, Opcode::Binary, &vec![7; len]);
            assert_eq!(out.len(), frame_bytes(len), "{len}");
        }
    }

    #[test]
    fn a_close_frame_carries_its_code_and_reason() {
        let mut out = b"before".to_vec();
        push_close(&mut out, 1001, "bye");
        assert_eq!(out, b"before\x88\x05\x03\xe9bye");
    }
}
