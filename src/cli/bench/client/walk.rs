//! Walks the frames of one connection in the buffer they were read into.
//!
//! Not here: validation beyond frame headers and their order, and payloads beyond their first
//! bytes: they are stepped over, but for compressed ones, which mean nothing in part. Invariants: a
//! message is told at the last byte of its last frame; however the bytes are cut, the same is seen;
//! between messages nothing is held, and of one under way at most a header, a control frame, and
//! the part of the payload that is looked at.

use super::unpack::COMPRESSED_BYTES_MAX;
use crate::ws::{Decoded, FrameHeader, Opcode, ProtocolError, Role, Rsv1};

/// Where a connection's stream of frames is: at the front of one, unless something is cut.
#[derive(Default, Debug)]
pub(super) struct Walk(Option<Box<Cut>>);

/// A frame that means something to a load tester.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen<'a> {
    /// A whole message.
    Message {
        /// As much of its payload as is looked at; all of it where it is compressed.
        front: &'a [u8],
        /// Payload bytes, those of all its fragments together.
        bytes: u64,
        /// Whether the payload is compressed (RFC 7692).
        compressed: bool,
    },
    /// To be answered with its payload.
    Ping(&'a [u8]),
    /// The server closes; the payload is its code and reason.
    Close(&'a [u8]),
}

impl Walk {
    /// Hands each message and control frame that ends in `input` to `see`, of messages the first
    /// `look` bytes. `rsv1` says whether they may be compressed.
    pub(super) fn walk(
        &mut self,
        input: &[u8],
        (look, rsv1): (usize, Rsv1),
        mut see: impl FnMut(Seen<'_>),
    ) -> Result<(), ProtocolError> {
        let mut rest = input;
        if self.0.is_some() {
            rest = self.go_on(rest, (look, rsv1), &mut see)?;
        }
        while !rest.is_empty() {
            match whole(rest, (look, rsv1))? {
                Some((seen, bytes)) => {
                    if let Some(seen) = seen {
                        see(seen);
                    }
                    rest = rest.get(bytes..).unwrap_or_default();
                }
                None => rest = self.go_on(rest, (look, rsv1), &mut see)?,
            }
        }
        Ok(())
    }

    /// Takes in what is cut or fragmented, until all that began is whole. Returns what is left.
    #[cold]
    fn go_on<'a>(
        &mut self,
        input: &'a [u8],
        (look, rsv1): (usize, Rsv1),
        see: &mut impl FnMut(Seen<'_>),
    ) -> Result<&'a [u8], ProtocolError> {
        let mut cut = self.0.take().unwrap_or_default();
        let mut rest = input;
        loop {
            rest = cut.step_over(rest, look);
            if cut.left == 0 && cut.message == Under::LastFrame {
                let Cut { front, bytes, compressed, .. } = &*cut;
                see(Seen::Message { front, bytes: *bytes, compressed: *compressed });
                return Ok(rest);
            }
            if rest.is_empty() {
                self.0 = Some(cut);
                return Ok(rest);
            }
            rest = cut.read_header(rest, rsv1, see)?;
            if cut.header.is_empty() && cut.message == Under::None {
                return Ok(rest); // A control frame between messages.
            }
        }
    }
}

/// The frame at the front of `bytes` and its length, if it is all there and no fragment.
fn whole(
    bytes: &[u8],
    (look, rsv1): (usize, Rsv1),
) -> Result<Option<(Option<Seen<'_>>, usize)>, ProtocolError> {
    let header = match FrameHeader::decode(bytes, Role::Client, rsv1)? {
        Decoded::Complete(header) => header,
        Decoded::Partial(_) => return Ok(None),
    };
    let start = header.header_bytes();
    let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
    let end = start.saturating_add(payload_len);
    let Some(payload) = bytes.get(start..end).filter(|_| header.fin) else { return Ok(None) };
    let seen = match header.opcode {
        Opcode::Text | Opcode::Binary => {
            let compressed = header.compressed;
            let front = payload.get(..look).filter(|_| !compressed).unwrap_or(payload);
            Some(Seen::Message { front, bytes: header.payload_len, compressed })
        }
        Opcode::Continuation => return Ok(None),
        Opcode::Ping => Some(Seen::Ping(payload)),
        Opcode::Close => Some(Seen::Close(payload)),
        Opcode::Pong => None,
    };
    Ok(Some((seen, end)))
}

/// What is under way where a read or a fragment ended.
#[derive(Default, Debug)]
struct Cut {
    /// The front of a header or of a control frame.
    header: Vec<u8>,
    message: Under,
    /// Payload bytes of the data frame under way that are still to come.
    left: u64,
    /// As much of the message as is looked at and was there.
    front: Vec<u8>,
    /// Payload bytes of the message's frames so far, this one's in full.
    bytes: u64,
    /// Whether the message is compressed.
    compressed: bool,
}

/// Which message is under way.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Under {
    #[default]
    None,
    /// One of which more frames come.
    Fragments,
    /// One in its last frame.
    LastFrame,
}

impl Cut {
    /// Steps over the payload under way, and keeps what of it is looked at.
    fn step_over<'a>(&mut self, input: &'a [u8], look: usize) -> &'a [u8] {
        let step = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        let (payload, rest) = input.split_at(step);
        let look = if self.compressed { COMPRESSED_BYTES_MAX } else { look };
        let kept = look.saturating_sub(self.front.len()).min(step);
        self.front.extend_from_slice(payload.get(..kept).unwrap_or_default());
        self.left -= step as u64;
        rest
    }

    /// Reads a header, or a control frame up to its end, as far as it is there. Returns the rest.
    fn read_header<'a>(
        &mut self,
        input: &'a [u8],
        rsv1: Rsv1,
        see: &mut impl FnMut(Seen<'_>),
    ) -> Result<&'a [u8], ProtocolError> {
        let mut rest = input;
        loop {
            let needed = match FrameHeader::decode(&self.header, Role::Client, rsv1)? {
                Decoded::Partial(needed) => needed,
                Decoded::Complete(header) if header.opcode.is_control() => {
                    let start = header.header_bytes();
                    let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
                    if let Some(payload) = self.header.get(start..start + payload_len) {
                        match header.opcode {
                            Opcode::Ping => see(Seen::Ping(payload)),
                            Opcode::Close => see(Seen::Close(payload)),
                            Opcode::Pong | Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                            }
                        }
                        self.header.clear();
                        return Ok(rest);
                    }
                    start + payload_len
                }
                Decoded::Complete(header) => {
                    self.begin(&header)?;
                    return Ok(rest);
                }
            };
            let missing = needed.saturating_sub(self.header.len()).min(rest.len());
            if missing == 0 {
                return Ok(rest);
            }
            let (more, after) = rest.split_at(missing);
            self.header.extend_from_slice(more);
            rest = after;
        }
    }

    /// Begins a data frame.
    fn begin(&mut self, header: &FrameHeader) -> Result<(), ProtocolError> {
        match (header.opcode.data_kind(), self.message) {
            (Some(_), Under::Fragments) => return Err(ProtocolError::InterruptedMessage),
            (None, Under::None) => return Err(ProtocolError::UnexpectedContinuation),
            (_, _) => {}
        }
        self.header.clear();
        self.message = if header.fin { Under::LastFrame } else { Under::Fragments };
        self.compressed |= header.compressed;
        self.left = header.payload_len;
        self.bytes = self.bytes.saturating_add(header.payload_len);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws;

    const LOOK: usize = 8;

    /// What was seen: name, payload as far as it is looked at, payload bytes.
    type Log = Vec<(&'static str, Vec<u8>, u64)>;

    fn log(log: &mut Log, seen: Seen<'_>) {
        log.push(match seen {
            Seen::Message { front, bytes, compressed: false } => ("message", front.to_vec(), bytes),
            Seen::Message { front, bytes, compressed: true } => ("packed", front.to_vec(), bytes),
            Seen::Ping(payload) => ("ping", payload.to_vec(), payload.len() as u64),
            Seen::Close(payload) => ("close", payload.to_vec(), payload.len() as u64),
        });
    }

    fn seen(pieces: &[&[u8]]) -> Result<Log, ProtocolError> {
        let mut all = Log::new();
        let mut walk = Walk::default();
        for piece in pieces {
            walk.walk(piece, (LOOK, Rsv1::Compressed), |seen| log(&mut all, seen))?;
        }
        assert!(walk.0.is_none(), "something is held at rest");
        Ok(all)
    }

    fn wire() -> Vec<u8> {
        let mut wire = Vec::new();
        ws::push_frame(&mut wire, Opcode::Text, b"");
        ws::push_frame(&mut wire, Opcode::Binary, &[1; 300]);
        ws::push_frame(&mut wire, Opcode::Ping, b"are you there?");
        ws::push_header(&mut wire, Opcode::Text, false, 5);
        wire.extend(b"01234");
        ws::push_frame(&mut wire, Opcode::Pong, b"");
        ws::push_header(&mut wire, Opcode::Continuation, false, 0);
        ws::push_frame(&mut wire, Opcode::Ping, b"still?");
        ws::push_header(&mut wire, Opcode::Continuation, true, 12);
        wire.extend(b"continuation");
        ws::push_frame(&mut wire, Opcode::Binary, &[2; 70_000]);
        wire.extend(b"\xc2\x0bpacked, all\xc2\x00"); // 0xC2: FIN, RSV1, binary.
        wire.extend(b"\x42\x05packe\x80\x07d twice");
        ws::push_frame(&mut wire, Opcode::Binary, b"short");
        ws::push_frame(&mut wire, Opcode::Close, &1000_u16.to_be_bytes());
        wire
    }

    fn expected() -> Log {
        vec![
            ("message", b"".to_vec(), 0),
            ("message", vec![1; LOOK], 300),
            ("ping", b"are you there?".to_vec(), 14),
            ("ping", b"still?".to_vec(), 6),
            ("message", b"01234con".to_vec(), 17),
            ("message", vec![2; LOOK], 70_000),
            ("packed", b"packed, all".to_vec(), 11),
            ("packed", b"".to_vec(), 0),
            ("packed", b"packed twice".to_vec(), 12),
            ("message", b"short".to_vec(), 5),
            ("close", vec![3, 232], 2),
        ]
    }

    #[test]
    fn messages_are_looked_at_and_measured() {
        assert_eq!(seen(&[&wire()]), Ok(expected()));
    }

    #[test]
    fn any_split_shows_the_same_messages() {
        let wire = wire();
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(seen(&bytes), Ok(expected()));
        let near_an_edge = (0..=1_000).chain(wire.len() - 1_000..=wire.len());
        for cut in near_an_edge {
            let (front, back) = wire.split_at(cut);
            assert_eq!(seen(&[front, back]), Ok(expected()), "cut at {cut}");
        }
        for seed in 0..200 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (mut pieces, mut rest) = (Vec::new(), &wire[..]);
            while !rest.is_empty() {
                let most = if dice.bool() { 40 } else { 40_000 };
                let (piece, after) = rest.split_at(dice.usize(1..=most).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            assert_eq!(seen(&pieces), Ok(expected()), "seed {seed}");
        }
    }

    #[test]
    fn a_message_is_told_at_its_very_last_byte() {
        for frames in [&[(Opcode::Binary, true, 300)][..], &FRAGMENTS] {
            let mut wire = Vec::new();
            for (opcode, fin, bytes) in frames {
                ws::push_header(&mut wire, *opcode, *fin, *bytes);
                wire.resize(wire.len() + bytes, b'x');
            }
            let (last, before) = wire.split_last().expect("bytes");
            let (mut walk, mut all) = (Walk::default(), Log::new());
            walk.walk(before, (LOOK, Rsv1::Reserved), |seen| log(&mut all, seen)).expect("frames");
            assert_eq!(all, []);
            let held = walk.0.as_ref().expect("a message is under way");
            assert!(held.front.len() <= LOOK && held.header.is_empty());
            walk.walk(&[*last], (LOOK, Rsv1::Reserved), |seen| log(&mut all, seen))
                .expect("frames");
            assert_eq!(all, [("message", vec![b'x'; LOOK], 300)]);
            assert!(walk.0.is_none());
        }
    }

    const FRAGMENTS: [(Opcode, bool, usize); 3] = [
        (Opcode::Binary, false, 100),
        (Opcode::Continuation, false, 100),
        (Opcode::Continuation, true, 100),
    ];

    #[test]
    fn fragments_out_of_order_are_a_breach_however_they_are_cut() {
        let mut stray = Vec::new();
        ws::push_frame(&mut stray, Opcode::Continuation, b"x");
        let mut interrupted = Vec::new();
        ws::push_header(&mut interrupted, Opcode::Text, false, 0);
        ws::push_frame(&mut interrupted, Opcode::Text, b"x");
        for (wire, breach) in [
            (stray, ProtocolError::UnexpectedContinuation),
            (interrupted, ProtocolError::InterruptedMessage),
        ] {
            assert_eq!(seen(&[&wire]), Err(breach));
            assert_eq!(seen(&wire.chunks(1).collect::<Vec<_>>()), Err(breach));
        }
    }

    #[test]
    fn lengths_that_add_up_to_more_than_can_be_counted_are_no_crash() {
        let mut walk = Walk::default();
        let mut cut = Cut { message: Under::Fragments, bytes: u64::MAX - 1, ..Cut::default() };
        let header = FrameHeader {
            fin: true,
            opcode: Opcode::Continuation,
            compressed: false,
            mask: None,
            payload_len: 5,
        };
        cut.begin(&header).expect("a last fragment");
        walk.0 = Some(Box::new(cut));
        let mut all = Log::new();
        walk.walk(b"12345", (LOOK, Rsv1::Reserved), |seen| log(&mut all, seen)).expect("a message");
        assert_eq!(all, [("message", b"12345".to_vec(), u64::MAX)]);
    }

    #[test]
    fn of_a_compressed_message_without_end_not_all_is_held() {
        const FRAME: usize = 1024 * 1024;
        let mut wire = b"\x42\x7f".to_vec(); // RSV1, binary, more to come.
        wire.extend((FRAME as u64).to_be_bytes());
        wire.resize(wire.len() + FRAME, 7);
        let mut walk = Walk::default();
        for nth in 0..128 {
            wire[0] = if nth == 0 { 0x42 } else { 0x00 };
            walk.walk(&wire, (LOOK, Rsv1::Compressed), |_| {}).expect("a fragment");
        }
        let held = walk.0.as_ref().expect("a message is under way").front.len();
        assert_eq!(held, COMPRESSED_BYTES_MAX);
    }

    #[test]
    fn a_masked_frame_is_a_breach() {
        let mut wire = Vec::new();
        ws::push_masked_frame(&mut wire, Opcode::Text, b"x", [0; 4]);
        assert_eq!(seen(&[&wire]), Err(ProtocolError::MaskedFrame));
    }
}
