//! Walks the frames of one connection in the buffer they were read into.
//!
//! Not here: validation beyond frame headers, and payloads beyond their first bytes: they are
//! stepped over, never copied. Invariants: however the bytes are cut, the same frames are seen;
//! what is kept between reads is at most one header and the part of a payload that is looked at.

use crate::ws::{Decoded, FrameHeader, Opcode, ProtocolError, Role};

/// Where a connection's stream of frames is.
#[derive(Default, Debug)]
pub(super) struct Walk {
    /// The front of a frame that a read cut within what is looked at.
    carry: Vec<u8>,
    /// Payload bytes still to be stepped over.
    skip: u64,
}

/// A frame that means something to a load tester.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen<'a> {
    /// The front of a message: as much of its payload as is looked at.
    Message(&'a [u8]),
    /// To be answered with its payload.
    Ping(&'a [u8]),
    /// The server closes; the payload is its code and reason.
    Close(&'a [u8]),
}

/// What stands at the front of some bytes.
enum Front<'a> {
    /// So many bytes are needed to tell.
    Partial(usize),
    /// A frame whose looked-at part ends after `consumed` bytes; `skip` bytes of it follow.
    Frame { seen: Option<Seen<'a>>, consumed: usize, skip: u64 },
}

impl Walk {
    /// Hands each frame of `input` to `see`, `look` bytes of each data frame's payload.
    pub(super) fn walk(
        &mut self,
        input: &[u8],
        look: usize,
        mut see: impl FnMut(Seen<'_>),
    ) -> Result<(), ProtocolError> {
        let mut rest = input;
        if !self.carry.is_empty() {
            rest = self.complete_carry(rest, look, &mut see)?;
        }
        while !rest.is_empty() {
            if self.skip > 0 {
                rest = self.step_over(rest);
                continue;
            }
            match front(rest, look)? {
                Front::Frame { seen, consumed, skip } => {
                    if let Some(seen) = seen {
                        see(seen);
                    }
                    self.skip = skip;
                    rest = rest.get(consumed..).unwrap_or_default();
                }
                Front::Partial(_) => {
                    self.carry.extend_from_slice(rest);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Fills the carry from `input` until it is a frame. Returns what is left.
    #[cold]
    fn complete_carry<'a>(
        &mut self,
        input: &'a [u8],
        look: usize,
        see: &mut impl FnMut(Seen<'_>),
    ) -> Result<&'a [u8], ProtocolError> {
        let mut rest = input;
        loop {
            match front(&self.carry, look)? {
                Front::Frame { seen, skip, .. } => {
                    if let Some(seen) = seen {
                        see(seen);
                    }
                    self.skip = skip;
                    self.carry.clear();
                    return Ok(rest);
                }
                Front::Partial(needed) => {
                    let missing = needed.saturating_sub(self.carry.len());
                    let (more, after) = rest.split_at(missing.min(rest.len()));
                    self.carry.extend_from_slice(more);
                    rest = after;
                    if more.len() < missing {
                        return Ok(rest);
                    }
                }
            }
        }
    }

    fn step_over<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let step = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rest.len());
        self.skip -= step as u64;
        rest.get(step..).unwrap_or_default()
    }
}

fn front(bytes: &[u8], look: usize) -> Result<Front<'_>, ProtocolError> {
    let header = match FrameHeader::decode(bytes, Role::Client)? {
        Decoded::Complete(header) => header,
        Decoded::Partial(needed) => return Ok(Front::Partial(needed)),
    };
    let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
    let looked = match header.opcode {
        Opcode::Text | Opcode::Binary => payload_len.min(look),
        Opcode::Continuation => 0,
        Opcode::Close | Opcode::Ping | Opcode::Pong => payload_len,
    };
    let start = header.header_bytes();
    let consumed = start + looked;
    let Some(payload) = bytes.get(start..consumed) else { return Ok(Front::Partial(consumed)) };
    let seen = match header.opcode {
        Opcode::Text | Opcode::Binary => Some(Seen::Message(payload)),
        Opcode::Ping => Some(Seen::Ping(payload)),
        Opcode::Close => Some(Seen::Close(payload)),
        Opcode::Continuation | Opcode::Pong => None,
    };
    Ok(Front::Frame { seen, consumed, skip: header.payload_len - looked as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws;

    const LOOK: usize = 8;

    /// What was seen, by name and payload.
    type Log = Vec<(&'static str, Vec<u8>)>;

    fn seen(pieces: &[&[u8]]) -> Result<Log, ProtocolError> {
        let mut log = Log::new();
        let mut walk = Walk::default();
        for piece in pieces {
            walk.walk(piece, LOOK, |seen| {
                log.push(match seen {
                    Seen::Message(front) => ("message", front.to_vec()),
                    Seen::Ping(payload) => ("ping", payload.to_vec()),
                    Seen::Close(payload) => ("close", payload.to_vec()),
                });
            })?;
        }
        Ok(log)
    }

    fn wire() -> Vec<u8> {
        let mut wire = Vec::new();
        ws::push_frame(&mut wire, Opcode::Text, b"");
        ws::push_frame(&mut wire, Opcode::Binary, &[1; 300]);
        ws::push_frame(&mut wire, Opcode::Ping, b"are you there?");
        ws::push_header(&mut wire, Opcode::Text, false, 10);
        wire.extend(b"0123456789");
        ws::push_frame(&mut wire, Opcode::Pong, b"");
        ws::push_header(&mut wire, Opcode::Continuation, true, 12);
        wire.extend(b"continuation");
        ws::push_frame(&mut wire, Opcode::Binary, b"short");
        ws::push_frame(&mut wire, Opcode::Close, &1000_u16.to_be_bytes());
        wire
    }

    #[test]
    fn messages_are_looked_at_and_stepped_over() {
        let expected = [
            ("message", b"".to_vec()),
            ("message", vec![1; LOOK]),
            ("ping", b"are you there?".to_vec()),
            ("message", b"01234567".to_vec()),
            ("message", b"short".to_vec()),
            ("close", vec![3, 232]),
        ];
        assert_eq!(seen(&[&wire()]), Ok(expected.to_vec()));
    }

    #[test]
    fn any_split_shows_the_same_frames() {
        let wire = wire();
        let whole = seen(&[&wire]);
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(seen(&bytes), whole);
        for cut in 0..=wire.len() {
            let (front, back) = wire.split_at(cut);
            assert_eq!(seen(&[front, back]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_masked_frame_is_a_breach() {
        let mut wire = Vec::new();
        ws::push_masked_frame(&mut wire, Opcode::Text, b"x", [0; 4]);
        assert_eq!(seen(&[&wire]), Err(ProtocolError::MaskedFrame));
    }
}
