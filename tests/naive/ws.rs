//! RFC 6455 read in the plainest way: byte after byte over the whole wire. The twin of `ws::Reader`
//! for `tests/ws_laws.rs` and the fuzz target. What is compressed is read, not inflated.

use fanfare::limits::{EMPTY_FRAGMENTS_MAX, SPILL_SLACK_BYTES};
use fanfare::ws::{
    DataKind, Message, ProtocolError, Reader, Role, Rsv1, Rules, compressed_bytes_max,
};
use std::str;

/// What was read, in terms on which both twins can be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Data(DataKind, Vec<u8>),
    Compressed(DataKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Breach(ProtocolError),
}

/// One fuzz input: a byte of settings, sizes of pieces, and the wire.
pub(crate) fn check(input: &[u8]) {
    let Some((&settings, rest)) = input.split_first() else { return };
    let (sizes, wire) = rest.split_at(usize::from(settings & 0x0F).min(rest.len()));
    let role = if settings & 0x10 == 0 { Role::Server } else { Role::Client };
    for rsv1 in [Rsv1::Reserved, Rsv1::Compressed] {
        let rules = Rules { role, rsv1, message_bytes_max: 1 << (2 * (settings >> 5)) };
        let sizes = sizes.iter().map(|&size| usize::from(size));
        assert_eq!(read(wire, sizes, &rules), parse(wire, &rules));
    }
}

/// What a [`Reader`] sees in `wire` when it comes in pieces of `sizes`, the last one all the rest.
/// Ends with a close or a breach, if there is one.
pub(crate) fn read(wire: &[u8], sizes: impl Iterator<Item = usize>, rules: &Rules) -> Vec<Event> {
    let (mut reader, mut seen) = (Reader::default(), Vec::new());
    let (mut wire, mut fed) = (wire.to_vec(), 0_usize);
    for size in sizes.chain([usize::MAX]) {
        let end = fed.saturating_add(size).min(wire.len());
        loop {
            let input = &mut wire[fed..end];
            let len = input.len();
            let (consumed, event) = match reader.read(input, rules) {
                Ok(step) => (step.consumed, step.message.map(owned)),
                Err(error) => (len, Some(Event::Breach(error))),
            };
            fed += consumed;
            assert!(reader.held_bytes() <= fed + fed / 64 + SPILL_SLACK_BYTES + 512, "{reader:?}");
            let Some(event) = event else {
                assert_eq!(consumed, len, "without a message all is consumed");
                break;
            };
            seen.push(event);
            match seen.last() {
                Some(Event::Close(..)) => return seen,
                Some(Event::Breach(_)) => {
                    assert_eq!(reader.held_bytes(), 0, "a breach lets go of everything");
                    return seen;
                }
                _ => {}
            }
        }
    }
    seen
}

fn owned(message: Message<'_>) -> Event {
    match message {
        Message::Data { kind, payload } => Event::Data(kind, payload.to_vec()),
        Message::Compressed { kind, payload } => Event::Compressed(kind, payload.to_vec()),
        Message::Ping(payload) => Event::Ping(payload.to_vec()),
        Message::Pong(payload) => Event::Pong(payload.to_vec()),
        Message::Close(close) => Event::Close(close.code, close.reason.into()),
    }
}

/// What the RFC sees in `wire`. Ends with a close or a breach, if there is one.
pub(crate) fn parse(wire: &[u8], rules: &Rules) -> Vec<Event> {
    let mut naive = Naive { wire: wire.iter(), rules, open: None, compressed: false, empty: 0 };
    let mut seen = Vec::new();
    loop {
        match naive.frame() {
            Ok(event) => seen.extend(event),
            Err(Stop::OutOfBytes) => return seen,
            Err(Stop::At(event)) => {
                seen.push(event);
                return seen;
            }
        }
    }
}

enum Stop {
    OutOfBytes,
    At(Event),
}

fn breach<T>(error: ProtocolError) -> Result<T, Stop> {
    Err(Stop::At(Event::Breach(error)))
}

struct Naive<'a> {
    wire: std::slice::Iter<'a, u8>,
    rules: &'a Rules,
    open: Option<(DataKind, Vec<u8>)>,
    /// Whether the open message is compressed.
    compressed: bool,
    empty: u16,
}

impl Naive<'_> {
    fn next(&mut self) -> Result<u8, Stop> {
        self.wire.next().copied().ok_or(Stop::OutOfBytes)
    }

    /// One frame: the event that it completes, if any.
    fn frame(&mut self) -> Result<Option<Event>, Stop> {
        let first = self.next()?;
        let (fin, opcode) = (first >= 0x80, first % 16);
        let begins = self.rules.rsv1 == Rsv1::Compressed && matches!(first & 0x7F, 0x41 | 0x42);
        if first & 0x70 != 0 && !begins {
            return breach(ProtocolError::ReservedBits);
        }
        match (opcode, &self.open) {
            (0, None) => return breach(ProtocolError::UnexpectedContinuation),
            (1 | 2, Some(_)) => return breach(ProtocolError::InterruptedMessage),
            (0..=2, _) => {}
            (8..=10, _) if fin => {}
            (8..=10, _) => return breach(ProtocolError::FragmentedControl),
            _ => return breach(ProtocolError::ReservedOpcode),
        }
        if matches!(opcode, 1 | 2) {
            self.compressed = begins;
        }
        let len = self.length(opcode)?;
        let mut mask = [0; 4];
        if self.rules.role == Role::Server {
            for byte in &mut mask {
                *byte = self.next()?;
            }
        }
        if opcode < 8 { self.data(opcode, fin, len, mask) } else { self.control(opcode, len, mask) }
    }

    /// The second byte and the length bytes after it.
    fn length(&mut self, opcode: u8) -> Result<u64, Stop> {
        let second = self.next()?;
        match (self.rules.role, second >= 0x80) {
            (Role::Server, false) => return breach(ProtocolError::UnmaskedFrame),
            (Role::Client, true) => return breach(ProtocolError::MaskedFrame),
            _ => {}
        }
        let mut len = u64::from(second % 128);
        if opcode >= 8 {
            return match len {
                126.. => breach(ProtocolError::LongControl),
                1 if opcode == 8 => breach(ProtocolError::BadCloseLength),
                _ => Ok(len),
            };
        }
        let open_len = self.open.as_ref().map_or(0, |(_, payload)| payload.len());
        let max = match self.compressed {
            true => compressed_bytes_max(self.rules.message_bytes_max),
            false => self.rules.message_bytes_max,
        };
        let max = (max - open_len) as u64;
        let bytes = match len {
            126 => 2,
            127 => 8,
            _ if len > max => return breach(ProtocolError::MessageTooBig),
            _ => return Ok(len),
        };
        len = 0;
        for index in 0..bytes {
            let byte = self.next()?;
            len |= u64::from(byte) << (8 * (bytes - 1 - index));
            if bytes == 8 && index == 0 && byte >= 0x80 {
                return breach(ProtocolError::LengthTopBit);
            }
            if (bytes, index) == (2, 1) && len < 126 || (bytes, index) == (8, 5) && len == 0 {
                return breach(ProtocolError::LengthNotMinimal);
            }
            if len > max {
                return breach(ProtocolError::MessageTooBig);
            }
        }
        Ok(len)
    }

    fn data(
        &mut self,
        opcode: u8,
        fin: bool,
        len: u64,
        mask: [u8; 4],
    ) -> Result<Option<Event>, Stop> {
        let first = if opcode == 1 { DataKind::Text } else { DataKind::Binary };
        let (kind, mut payload) = self.open.take().unwrap_or((first, Vec::new()));
        let mut out_of_bytes = false;
        for index in 0..len {
            let Ok(byte) = self.next() else {
                out_of_bytes = true;
                break;
            };
            payload.push(byte ^ mask[(index % 4) as usize]);
        }
        if kind == DataKind::Text
            && !self.compressed
            && let Err(error) = str::from_utf8(&payload)
            && (error.error_len().is_some() || fin && !out_of_bytes)
        {
            return breach(ProtocolError::BadUtf8);
        }
        if out_of_bytes {
            return Err(Stop::OutOfBytes);
        }
        if fin {
            self.empty = 0;
            return Ok(Some(match self.compressed {
                true => Event::Compressed(kind, payload),
                false => Event::Data(kind, payload),
            }));
        }
        self.empty = if len == 0 { self.empty + 1 } else { 0 };
        if self.empty > EMPTY_FRAGMENTS_MAX {
            return breach(ProtocolError::EmptyFragments);
        }
        self.open = Some((kind, payload));
        Ok(None)
    }

    fn control(&mut self, opcode: u8, len: u64, mask: [u8; 4]) -> Result<Option<Event>, Stop> {
        let mut payload = Vec::new();
        for index in 0..len {
            payload.push(self.next()? ^ mask[(index % 4) as usize]);
        }
        match opcode {
            9 => return Ok(Some(Event::Ping(payload))),
            10 => return Ok(Some(Event::Pong(payload))),
            _ => {}
        }
        if payload.is_empty() {
            return Err(Stop::At(Event::Close(None, String::new())));
        }
        let code = u16::from(payload[0]) * 256 + u16::from(payload[1]);
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return breach(ProtocolError::BadCloseCode);
        }
        match String::from_utf8(payload.split_off(2)) {
            Ok(reason) => Err(Stop::At(Event::Close(Some(code), reason))),
            Err(_) => breach(ProtocolError::BadUtf8),
        }
    }
}
