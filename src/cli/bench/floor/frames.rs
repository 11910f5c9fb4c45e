//! Ready-made frames: a client's masked frames turned into a server's, where they lie.
//!
//! A bare frame is the masked one without its mask: the header moves over the mask, and the payload
//! stays where it was read. Only frames that share a send are moved together. Invariant: a part is
//! made of whole frames, in the order of their coming.

use crate::ws::{self, Decoded, FrameHeader, Opcode, ProtocolError, Role, Rsv1};
use std::ops::Range;

const MASK_BYTES: usize = 4;
/// The bit of a header's second byte that says that a mask follows (RFC 6455 §5.2).
const MASKED: u8 = 0x80;

/// What one send sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// Its place in the buffer.
    pub(super) bytes: Range<usize>,
    /// The messages in it.
    pub(super) messages: usize,
}

/// Where the reading of frames stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The frame that begins here is not complete.
    Incomplete(usize),
    /// The client closes.
    Close,
}

/// Makes bare frames of the masked ones that begin at `from` in `input`, up to `join` messages in
/// each of `parts`. A mask of zeros needs no unmasking, and a payload under one is not touched.
pub(super) fn bare(
    input: &mut [u8],
    from: usize,
    join: usize,
    parts: &mut Vec<Part>,
) -> Result<Stop, ProtocolError> {
    let mut at = from;
    loop {
        let rest = input.get_mut(at..).unwrap_or_default();
        let Decoded::Complete(header) = FrameHeader::decode(rest, Role::Server, Rsv1::Reserved)?
        else {
            return Ok(Stop::Incomplete(at));
        };
        let header_bytes = header.header_bytes();
        let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        let frame_bytes = header_bytes.saturating_add(payload_len);
        let Some(frame) = rest.get_mut(..frame_bytes) else { return Ok(Stop::Incomplete(at)) };
        match header.opcode {
            Opcode::Close => return Ok(Stop::Close),
            Opcode::Ping | Opcode::Pong => {}
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                if let Some(mask) = header.mask.filter(|mask| *mask != [0; MASK_BYTES]) {
                    ws::apply_mask(mask, 0, frame.get_mut(header_bytes..).unwrap_or_default());
                }
                if let [_, second, ..] = frame {
                    *second &= !MASKED;
                }
                frame.copy_within(..header_bytes - MASK_BYTES, MASK_BYTES);
                let whole = at + MASK_BYTES..at + frame_bytes;
                push(input, join, parts, whole, header.fin);
            }
        }
        at += frame_bytes;
    }
}

/// Adds a frame to the last part, or begins another with it.
fn push(input: &mut [u8], join: usize, parts: &mut Vec<Part>, frame: Range<usize>, fin: bool) {
    match parts.last_mut() {
        Some(part) if part.messages < join => {
            let end = part.bytes.end;
            part.bytes.end += frame.len();
            part.messages += usize::from(fin);
            input.copy_within(frame, end);
        }
        Some(_) | None => parts.push(Part { bytes: frame, messages: usize::from(fin) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(payloads: &[&[u8]], mask: [u8; 4]) -> Vec<u8> {
        let mut wire = Vec::new();
        for payload in payloads {
            ws::push_masked_frame(&mut wire, Opcode::Binary, payload, mask);
        }
        wire
    }

    fn sends(input: &mut [u8], join: usize) -> (Result<Stop, ProtocolError>, Vec<Vec<u8>>) {
        let mut parts = Vec::new();
        let stop = bare(input, 0, join, &mut parts);
        (stop, parts.into_iter().map(|part| input[part.bytes].to_vec()).collect())
    }

    #[test]
    fn what_arrives_together_is_sent_in_parts_of_so_many_messages() {
        for mask in [[0; 4], [1, 2, 3, 4]] {
            for (join, expected) in [
                (1, vec![&b"\x82\x03one"[..], b"\x82\x03two", b"\x82\x05three"]),
                (2, vec![b"\x82\x03one\x82\x03two", b"\x82\x05three"]),
                (64, vec![b"\x82\x03one\x82\x03two\x82\x05three"]),
            ] {
                let mut input = wire(&[b"one", b"two", b"three"], mask);
                let len = input.len();
                let (stop, sends) = sends(&mut input, join);
                assert_eq!((stop, sends), (Ok(Stop::Incomplete(len)), to_vecs(&expected)));
            }
        }
    }

    fn to_vecs(slices: &[&[u8]]) -> Vec<Vec<u8>> {
        slices.iter().map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn frames_of_every_length_are_what_a_server_would_write() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7; len];
            let mut expected = Vec::new();
            ws::push_frame(&mut expected, Opcode::Binary, &payload);
            let (_, sends) = sends(&mut wire(&[&payload], [9, 8, 7, 6]), 1);
            assert_eq!(sends, [expected], "{len}");
        }
    }

    #[test]
    fn a_message_in_fragments_counts_once_and_is_not_torn() {
        let mut input = b"\x02\x81\0\0\0\0a\x80\x81\0\0\0\0b\x82\x81\0\0\0\0c".to_vec();
        let mut parts = Vec::new();
        bare(&mut input, 0, 1, &mut parts).expect("frames");
        assert_eq!(parts.iter().map(|part| part.messages).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(&input[parts[0].bytes.clone()], b"\x02\x01a\x80\x01b");
        assert_eq!(&input[parts[1].bytes.clone()], b"\x82\x01c");
    }

    #[test]
    fn a_cut_frame_waits_and_a_close_stops() {
        let mut input = wire(&[b"whole", b"cut"], [1, 2, 3, 4]);
        input.pop();
        assert_eq!(sends(&mut input, 1), (Ok(Stop::Incomplete(11)), vec![b"\x82\x05whole".into()]));
        let mut close = Vec::new();
        ws::push_masked_frame(&mut close, Opcode::Close, &[3, 232], [0; 4]);
        assert_eq!(sends(&mut close, 1), (Ok(Stop::Close), vec![]));
    }
}
