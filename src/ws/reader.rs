//! Bytes into messages (RFC 6455 §5.4 to §5.7): fragments joined, control frames in between.
//!
//! Not here: answers to pings and closes, what a message means (`engine`, `protocol`), and what is
//! in a compressed one (`inflate`).
//! Invariants: any split of the bytes gives the same messages and the same error; a whole frame is
//! handed out from the input without a copy; at rest nothing is held, otherwise what was received
//! plus a constant, and never memory for what was only announced.

use super::fragments::Fragments;
use super::frame::First;
use super::{
    DataKind, Decoded, FrameHeader, Message, Opcode, Payload, ProtocolError, Rules, Step,
    compressed_bytes_max, mask, utf8,
};
use crate::limits::FRAME_HEADER_BYTES_MAX;
use std::mem;

/// Reads one direction of a connection. One per connection, as small as a pointer at rest.
#[derive(Debug, Default)]
pub struct Reader {
    held: Option<Box<Held>>,
}

const _: () = assert!(size_of::<Reader>() == size_of::<usize>());

/// What a reader holds while something is unfinished.
#[derive(Debug, Default)]
struct Held {
    /// The frame whose payload is arriving; its header is done with.
    frame: Option<Frame>,
    /// The message that has begun and is not finished.
    message: Option<Fragments>,
    /// An unfinished header, or the unfinished payload of the control frame in `frame`.
    pending: Vec<u8>,
}

/// A frame and how much of its payload was received.
#[derive(Clone, Copy, Debug)]
struct Frame {
    header: FrameHeader,
    received: u64,
}

/// A message, if one ended, and the input after it.
type Taken<'a> = Result<(Option<Message<'a>>, &'a mut [u8]), ProtocolError>;

impl Reader {
    /// Reads the next message from the front of `input`, unmasking in place.
    ///
    /// Without a message all of `input` is consumed: what is unfinished was taken in. After an
    /// error the reader holds nothing and must not be used again; the connection is to be closed.
    pub fn read<'a>(
        &mut self,
        input: &'a mut [u8],
        rules: &Rules,
    ) -> Result<Step<'a>, ProtocolError> {
        let step = self.advance(input, rules);
        if step.is_err() || self.held.as_deref().is_some_and(Held::is_at_rest) {
            self.held = None;
        }
        step
    }

    /// Memory held for what is unfinished, for accounting; 0 at rest.
    pub fn held_bytes(&self) -> usize {
        self.held.as_deref().map_or(0, |held| {
            let spilled = held.message.as_ref().map_or(0, |message| message.held_bytes());
            size_of::<Held>() + held.pending.capacity() + spilled
        })
    }

    /// Takes frame after frame until a message ends or the input does.
    fn advance<'a>(
        &mut self,
        input: &'a mut [u8],
        rules: &Rules,
    ) -> Result<Step<'a>, ProtocolError> {
        let total = input.len();
        let mut rest = input;
        loop {
            let (frame, payload) = self.next_frame(rest, rules)?;
            let Some(frame) = frame else { break };
            let (message, after) = if frame.header.opcode.is_control() {
                self.take_control(frame, payload)?
            } else {
                self.take_data(frame, payload)?
            };
            if message.is_some() {
                return Ok(Step { consumed: total - after.len(), message });
            }
            if after.is_empty() {
                break;
            }
            rest = after;
        }
        Ok(Step { consumed: total, message: None })
    }

    /// The frame whose payload comes next, and the input from there: the one that is arriving, or
    /// the one whose header ends in `input`. `None`: the header goes on beyond `input`.
    fn next_frame<'a>(
        &mut self,
        input: &'a mut [u8],
        rules: &Rules,
    ) -> Result<(Option<Frame>, &'a mut [u8]), ProtocolError> {
        if let Some(held) = self.held.as_deref_mut() {
            if let Some(frame) = held.frame.take() {
                return Ok((Some(frame), input));
            }
            if !held.pending.is_empty() {
                return held.end_header(input, rules);
            }
        }
        let message = self.held.as_deref().and_then(|held| held.message.as_ref());
        match judge(input, message, rules)? {
            Decoded::Complete(header) => {
                let payload = after(input, header.header_bytes());
                Ok((Some(Frame { header, received: 0 }), payload))
            }
            Decoded::Partial(_) => {
                if !input.is_empty() {
                    self.held.get_or_insert_default().pending.extend_from_slice(input);
                }
                Ok((None, &mut []))
            }
        }
    }

    /// Takes what `input` has of a data frame's payload.
    fn take_data<'a>(&mut self, mut frame: Frame, input: &'a mut [u8]) -> Taken<'a> {
        let header = frame.header;
        let (piece, rest) = frame.unmask_piece(input);
        let done = frame.is_done();
        let whole = piece.len() as u64 == header.payload_len;
        if whole
            && header.fin
            && let Some(kind) = header.opcode.data_kind()
        {
            if header.compressed {
                let payload = Payload::Borrowed(piece);
                return Ok((Some(Message::Compressed { kind, payload }), rest));
            }
            if kind == DataKind::Text {
                utf8::text(piece)?;
            }
            let payload = Payload::Borrowed(piece);
            return Ok((Some(Message::Data { kind, payload }), rest));
        }
        let held = self.held.get_or_insert_default();
        if piece.is_empty() && !done {
            held.frame = Some(frame); // Nothing to keep yet: it may still come whole.
            return Ok((None, rest));
        }
        let message = match held.message.as_mut() {
            Some(message) => message,
            None => {
                let kind =
                    header.opcode.data_kind().ok_or(ProtocolError::UnexpectedContinuation)?;
                held.message.insert(Fragments::new(kind, header.compressed))
            }
        };
        message.push(piece)?;
        if !done {
            held.frame = Some(frame);
            return Ok((None, rest));
        }
        if !header.fin {
            message.count_empty(&header)?;
            return Ok((None, rest));
        }
        let message = held.message.take().map(Fragments::finish).transpose()?;
        Ok((message, rest))
    }

    /// Takes what `input` has of a control frame's payload.
    fn take_control<'a>(&mut self, mut frame: Frame, input: &'a mut [u8]) -> Taken<'a> {
        let header = frame.header;
        let (piece, rest) = frame.unmask_piece(input);
        if piece.len() as u64 == header.payload_len {
            return Ok((Some(Message::control(header.opcode, Payload::Borrowed(piece))?), rest));
        }
        let held = self.held.get_or_insert_default();
        held.pending.extend_from_slice(piece);
        if !frame.is_done() {
            held.frame = Some(frame);
            return Ok((None, rest));
        }
        let payload = Payload::Owned(mem::take(&mut held.pending));
        Ok((Some(Message::control(header.opcode, payload)?), rest))
    }
}

impl Held {
    /// Whether nothing is unfinished.
    fn is_at_rest(&self) -> bool {
        self.frame.is_none() && self.message.is_none() && self.pending.is_empty()
    }

    /// Ends the pending header with the front of `input`, or takes all of `input` into it.
    #[cold]
    fn end_header<'a>(
        &mut self,
        input: &'a mut [u8],
        rules: &Rules,
    ) -> Result<(Option<Frame>, &'a mut [u8]), ProtocolError> {
        let before = self.pending.len();
        self.pending.extend(input.iter().take(FRAME_HEADER_BYTES_MAX.saturating_sub(before)));
        match judge(&self.pending, self.message.as_ref(), rules)? {
            Decoded::Complete(header) => {
                self.pending.clear();
                let payload = after(input, header.header_bytes().saturating_sub(before));
                Ok((Some(Frame { header, received: 0 }), payload))
            }
            Decoded::Partial(_) => Ok((None, &mut [])),
        }
    }
}

impl Frame {
    /// Cuts what there is of this frame's payload off the front of `input` and unmasks it.
    fn unmask_piece<'a>(&mut self, input: &'a mut [u8]) -> (&'a mut [u8], &'a mut [u8]) {
        let missing = self.header.payload_len - self.received;
        let here = usize::try_from(missing).map_or(input.len(), |missing| missing.min(input.len()));
        let (piece, rest) = input.split_at_mut(here);
        if let Some(mask) = self.header.mask {
            // The mask has four bytes, so that the last two bits of the offset are all it takes.
            mask::apply(mask, (self.received % 4) as usize, piece);
        }
        self.received += here as u64;
        (piece, rest)
    }

    /// Whether all of the payload was received.
    const fn is_done(&self) -> bool {
        self.received == self.header.payload_len
    }
}

/// Judges the header at the front of `bytes`, as far as it is there, after the open `message`.
///
/// Checks come in the order of the bytes they need, so that a header in pieces fails as a whole
/// one.
fn judge(
    bytes: &[u8],
    message: Option<&Fragments>,
    rules: &Rules,
) -> Result<Decoded<FrameHeader>, ProtocolError> {
    let Some(&first) = bytes.first() else { return Ok(Decoded::Partial(2)) };
    let first = First::decode(first, rules.rsv1)?;
    match (first.opcode, message) {
        (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
        (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::InterruptedMessage),
        (Opcode::Continuation, Some(_)) | (Opcode::Text | Opcode::Binary, None) => {}
        (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {
            return FrameHeader::decode(bytes, rules.role, rules.rsv1);
        }
    }
    let decoded = FrameHeader::decode(bytes, rules.role, rules.rsv1)?;
    let announced = match decoded {
        Decoded::Complete(header) => header.payload_len,
        Decoded::Partial(_) => FrameHeader::payload_len_min(bytes),
    };
    // Earlier frames are complete by now: what they announced is what the spill has.
    let before = message.map_or(0, |message| message.len() as u64);
    let bytes_max = match first.compressed || message.is_some_and(Fragments::is_compressed) {
        true => compressed_bytes_max(rules.message_bytes_max),
        false => rules.message_bytes_max,
    };
    match before.checked_add(announced) {
        Some(sum) if sum <= bytes_max as u64 => Ok(decoded),
        Some(_) | None => Err(ProtocolError::MessageTooBig), // RFC 6455 §7.4.1
    }
}

/// What comes after the first `len` bytes of `input`.
fn after(input: &mut [u8], len: usize) -> &mut [u8] {
    input.get_mut(len..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{Role, Rsv1};

    const SERVER: Rules =
        Rules { role: Role::Server, rsv1: Rsv1::Reserved, message_bytes_max: 1 << 20 };
    const CLIENT: Rules =
        Rules { role: Role::Client, rsv1: Rsv1::Reserved, message_bytes_max: 1 << 20 };
    const MASK: [u8; 4] = [0xa1, 0x02, 0x7f, 0xff];

    /// A masked frame.
    fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let payload_len = payload.len() as u64;
        FrameHeader { fin, opcode, compressed: false, mask: Some(MASK), payload_len }
            .encode(&mut out);
        let start = out.len();
        out.extend(payload);
        mask::apply(MASK, 0, &mut out[start..]);
        out
    }

    /// Everything in `wire`, as text for comparison.
    fn read_all(reader: &mut Reader, mut wire: Vec<u8>, rules: &Rules) -> Vec<String> {
        let (mut input, mut seen) = (&mut wire[..], Vec::new());
        loop {
            let len = input.len();
            match reader.read(input, rules) {
                Err(error) => {
                    seen.push(format!("{error:?}"));
                    return seen;
                }
                Ok(Step { consumed, message: None }) => {
                    assert_eq!(consumed, len, "without a message all is consumed");
                    return seen;
                }
                Ok(Step { consumed, message: Some(message) }) => {
                    seen.push(shown(&message));
                    wire.drain(..consumed);
                    input = &mut wire[..];
                }
            }
        }
    }

    fn shown(message: &Message<'_>) -> String {
        let text = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
        match message {
            Message::Data { kind, payload } => format!("{kind:?} {}", text(payload)),
            Message::Compressed { kind, payload } => format!("{kind:?}, {payload:02x?}"),
            Message::Ping(payload) => format!("Ping {}", text(payload)),
            Message::Pong(payload) => format!("Pong {}", text(payload)),
            Message::Close(close) => format!("Close {:?} {}", close.code, close.reason),
        }
    }

    #[test]
    fn the_rfc_examples_read_as_the_rfc_says() {
        let long_256 = [&[0x82, 0x7E, 0x01, 0x00][..], &[b'x'; 256]].concat();
        let long_64k = [&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0][..], &[b'x'; 65_536]].concat();
        for (rules, wire, expected) in [
            (CLIENT, b"\x81\x05\x48\x65\x6c\x6c\x6f".to_vec(), "Text Hello".to_owned()),
            (
                SERVER,
                b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(),
                "Text Hello".to_owned(),
            ),
            (CLIENT, b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f".to_vec(), "Text Hello".to_owned()),
            (CLIENT, b"\x89\x05\x48\x65\x6c\x6c\x6f".to_vec(), "Ping Hello".to_owned()),
            (
                SERVER,
                b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(),
                "Pong Hello".to_owned(),
            ),
            (CLIENT, long_256, format!("Binary {}", "x".repeat(256))),
            (CLIENT, long_64k, format!("Binary {}", "x".repeat(65_536))),
        ] {
            let mut reader = Reader::default();
            assert_eq!(read_all(&mut reader, wire, &rules), [expected]);
            assert_eq!(reader.held_bytes(), 0);
        }
    }

    #[test]
    fn whole_frames_are_handed_out_without_a_copy() {
        let mut reader = Reader::default();
        let mut wire = frame(true, Opcode::Text, b"one");
        let (ping_at, part_at) = (wire.len(), wire.len() * 2);
        wire.extend(frame(true, Opcode::Ping, b"two"));
        wire.extend(&frame(true, Opcode::Binary, b"three")[..7]);

        let step = reader.read(&mut wire, &SERVER).expect("a whole frame");
        assert_eq!(step.consumed, ping_at);
        let Some(Message::Data { payload: Payload::Borrowed(b"one"), .. }) = step.message else {
            panic!("{step:?}");
        };
        let step = reader.read(&mut wire[ping_at..], &SERVER).expect("a whole frame");
        assert_eq!(step.consumed, part_at - ping_at);
        assert!(matches!(step.message, Some(Message::Ping(payload)) if &*payload == b"two"));
        assert_eq!(reader.held_bytes(), 0, "what lies ahead is not taken in");
        let step = reader.read(&mut wire[part_at..], &SERVER).expect("a part of a frame");
        assert!(step.message.is_none() && step.consumed == 7);
        assert!(reader.held_bytes() > 0);
    }

    #[test]
    fn a_payload_that_follows_its_header_whole_is_not_copied_either() {
        let mut reader = Reader::default();
        let mut wire = frame(true, Opcode::Text, b"whole");
        let (header, payload) = wire.split_at_mut(6);
        assert!(reader.read(header, &SERVER).is_ok_and(|step| step.message.is_none()));
        let step = reader.read(payload, &SERVER).expect("the rest of a frame");
        let Some(Message::Data { payload: Payload::Borrowed(b"whole"), .. }) = step.message else {
            panic!("{step:?}");
        };
        assert_eq!(reader.held_bytes(), 0);
    }

    #[test]
    fn control_frames_cut_in_between_fragments() {
        let wire = [
            frame(false, Opcode::Text, b"Hel"),
            frame(true, Opcode::Ping, b"!"),
            frame(false, Opcode::Continuation, b""),
            frame(true, Opcode::Pong, b""),
            frame(true, Opcode::Continuation, b"lo"),
            frame(true, Opcode::Close, b"\x03\xe8bye"),
        ];
        let seen = read_all(&mut Reader::default(), wire.concat(), &SERVER);
        assert_eq!(seen, ["Ping !", "Pong ", "Text Hello", "Close Some(1000) bye"]);
    }

    #[test]
    fn fragments_out_of_order_are_errors() {
        let open = frame(false, Opcode::Binary, b"a");
        for (wire, expected) in [
            (frame(true, Opcode::Continuation, b"a"), "UnexpectedContinuation"),
            (frame(false, Opcode::Continuation, b"a"), "UnexpectedContinuation"),
            ([open.clone(), frame(true, Opcode::Text, b"b")].concat(), "InterruptedMessage"),
            ([open.clone(), open].concat(), "InterruptedMessage"),
        ] {
            assert_eq!(read_all(&mut Reader::default(), wire, &SERVER), [expected]);
        }
    }

    #[test]
    fn size_is_judged_when_it_is_announced_and_over_all_fragments() {
        let rules = Rules { message_bytes_max: 10, ..SERVER };
        let just =
            [frame(false, Opcode::Text, b"12345"), frame(true, Opcode::Continuation, b"67890")];
        assert_eq!(read_all(&mut Reader::default(), just.concat(), &rules), ["Text 1234567890"]);
        for wire in [
            vec![0x81, 0x8B],
            vec![0x82, 0xFE, 1],
            vec![0x82, 0xFF, 0, 0, 0, 1],
            vec![0x82, 0xFF, 0x7F],
            [frame(false, Opcode::Text, b"12345"), vec![0x80, 0x86]].concat(),
            [frame(false, Opcode::Text, b"12345"), vec![0x00, 0xFF, 0x7F, 0xFF]].concat(),
        ] {
            assert_eq!(read_all(&mut Reader::default(), wire, &rules), ["MessageTooBig"]);
        }
        let ping = frame(true, Opcode::Ping, &[b'x'; 125]);
        let seen = read_all(&mut Reader::default(), ping, &rules);
        assert_eq!(seen.len(), 1, "control frames have a bound of their own");
    }
}
