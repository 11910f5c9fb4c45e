//! Frame headers (RFC 6455 §5.2): 2 to 14 bytes, decoded from slices, encoded into vectors.
//!
//! Not here: payloads, and the order in which frames may come (`reader`). Invariants: decoding
//! never consumes; of several breaches the one at the earliest byte is reported; a decoded header
//! is valid by existing and encodes to the bytes it came from.

use super::{DataKind, ProtocolError, Role, Rsv1};
use crate::limits::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX};

const FIN: u8 = 0x80;
/// The bit that permessage-deflate claims on a message's first frame (RFC 7692 §6).
const RSV1: u8 = 0x40;
const RSV2_AND_RSV3: u8 = 0x30;
const MASK: u8 = 0x80;
/// Values of the 7-bit length that say how many more bytes the length has.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What was found at the front of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded<T> {
    /// It is all there.
    Complete(T),
    /// It is not: at least so many bytes from the front are needed.
    Partial(usize),
}

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opcode {
    /// The next fragment of the open message.
    Continuation,
    /// The first, often only, fragment of a text message.
    Text,
    /// The first, often only, fragment of a binary message.
    Binary,
    /// The begin or the answer of the close handshake.
    Close,
    /// To be answered with a pong of the same payload.
    Ping,
    /// An answer to a ping, or an unasked sign of life.
    Pong,
}

impl Opcode {
    /// The opcode of its four bits; `None` for those that are reserved.
    const fn decode(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// The four bits of the opcode.
    const fn encode(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    /// Whether frames of this opcode are control frames: short, whole, allowed between fragments.
    pub const fn is_control(self) -> bool {
        match self {
            Self::Continuation | Self::Text | Self::Binary => false,
            Self::Close | Self::Ping | Self::Pong => true,
        }
    }

    /// The kind of the message that a frame of this opcode begins, if it begins one.
    pub const fn data_kind(self) -> Option<DataKind> {
        match self {
            Self::Text => Some(DataKind::Text),
            Self::Binary => Some(DataKind::Binary),
            Self::Continuation | Self::Close | Self::Ping | Self::Pong => None,
        }
    }
}

/// The header of one frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// Whether it begins a compressed message (RFC 7692 §6); never so of other frames.
    pub compressed: bool,
    /// The mask of its payload: frames from clients have one, frames from servers have none.
    pub mask: Option<[u8; 4]>,
    /// Payload bytes that follow the header; below 2^63.
    pub payload_len: u64,
}

impl FrameHeader {
    /// Reads a frame header that `role` received from the front of `input`. Consumes nothing.
    ///
    /// Fails as soon as the bytes that are there prove a breach.
    pub fn decode(input: &[u8], role: Role, rsv1: Rsv1) -> Result<Decoded<Self>, ProtocolError> {
        let Some((&first, rest)) = input.split_first() else { return Ok(Decoded::Partial(2)) };
        let First { fin, opcode, compressed } = First::decode(first, rsv1)?;
        let Some((&second, rest)) = rest.split_first() else { return Ok(Decoded::Partial(2)) };
        match (role, second & MASK != 0) {
            (Role::Server, true) | (Role::Client, false) => {}
            (Role::Server, false) => return Err(ProtocolError::UnmaskedFrame), // RFC 6455 §5.1
            (Role::Client, true) => return Err(ProtocolError::MaskedFrame),
        }
        let short = second & !MASK;
        if opcode.is_control() && usize::from(short) > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(ProtocolError::LongControl); // RFC 6455 §5.5
        }
        if opcode == Opcode::Close && short == 1 {
            return Err(ProtocolError::BadCloseLength); // RFC 6455 §5.5.1: none, or a whole code.
        }
        let length_bytes = length_bytes(short);
        let (length, rest) = rest.split_at(length_bytes.min(rest.len()));
        check_length(short, length)?;
        let mask = match role {
            Role::Server => match rest.first_chunk::<4>() {
                Some(mask) => Some(*mask),
                None => return Ok(Decoded::Partial(2 + length_bytes + 4)),
            },
            Role::Client if length.len() < length_bytes => {
                return Ok(Decoded::Partial(2 + length_bytes));
            }
            Role::Client => None,
        };
        let payload_len = announced(short, length);
        Ok(Decoded::Complete(Self { fin, opcode, compressed, mask, payload_len }))
    }

    /// The least payload that the header at the front of `input` can announce, whatever bytes of
    /// it are still to come; 0 when they leave it open.
    pub(super) fn payload_len_min(input: &[u8]) -> u64 {
        match input {
            [_, second, rest @ ..] => {
                let short = second & !MASK;
                announced(short, rest.get(..length_bytes(short)).unwrap_or(rest))
            }
            _ => 0,
        }
    }

    /// Bytes of the header on the wire.
    pub const fn header_bytes(&self) -> usize {
        let mask_bytes = if self.mask.is_some() { 4 } else { 0 };
        2 + mask_bytes
            + match self.payload_len {
                0..=125 => 0,
                126..=0xFFFF => 2,
                _ => 8,
            }
    }

    /// Appends the header to `out`, its length in as few bytes as it needs.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let fin = if self.fin { FIN } else { 0 };
        let rsv1 = if self.compressed { RSV1 } else { 0 };
        let masked = if self.mask.is_some() { MASK } else { 0 };
        out.push(fin | rsv1 | self.opcode.encode());
        let [.., high, low] = self.payload_len.to_be_bytes();
        match self.payload_len {
            0..=125 => out.push(masked | low),
            126..=0xFFFF => out.extend_from_slice(&[masked | LENGTH_16, high, low]),
            _ => {
                out.push(masked | LENGTH_64);
                out.extend_from_slice(&self.payload_len.to_be_bytes());
            }
        }
        out.extend_from_slice(self.mask.as_ref().map_or(&[], |mask| mask.as_slice()));
    }
}

const _: () = assert!(2 + 8 + 4 == FRAME_HEADER_BYTES_MAX);

/// What the first byte of a frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct First {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) compressed: bool,
}

impl First {
    /// Reads the first byte of a frame.
    pub(super) const fn decode(byte: u8, rsv1: Rsv1) -> Result<Self, ProtocolError> {
        let compressed = byte & RSV1 != 0;
        let opcode = Opcode::decode(byte & 0x0F);
        let may_be = match (rsv1, opcode) {
            // RFC 7692 §6.1: not on control frames, and of a message on its first frame alone.
            (Rsv1::Compressed, Some(opcode)) => opcode.data_kind().is_some(),
            (Rsv1::Compressed, None) | (Rsv1::Reserved, _) => false,
        };
        if byte & RSV2_AND_RSV3 != 0 || compressed && !may_be {
            return Err(ProtocolError::ReservedBits);
        }
        let Some(opcode) = opcode else { return Err(ProtocolError::ReservedOpcode) };
        let fin = byte & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControl); // RFC 6455 §5.5
        }
        Ok(Self { fin, opcode, compressed })
    }
}

/// Length bytes that follow the 7-bit length `short`.
const fn length_bytes(short: u8) -> usize {
    match short {
        LENGTH_16 => 2,
        LENGTH_64 => 8,
        _ => 0,
    }
}

/// Judges the bytes of an extended length that are there (RFC 6455 §5.2).
const fn check_length(short: u8, length: &[u8]) -> Result<(), ProtocolError> {
    match (short, length) {
        (LENGTH_64, [0x80..=0xFF, ..]) => Err(ProtocolError::LengthTopBit),
        (LENGTH_16, [0, 0..=125, ..]) | (LENGTH_64, [0, 0, 0, 0, 0, 0, ..]) => {
            Err(ProtocolError::LengthNotMinimal)
        }
        _ => Ok(()),
    }
}

/// The length that `short` and the bytes after it announce; bytes that are missing count as 0.
fn announced(short: u8, length: &[u8]) -> u64 {
    match length_bytes(short) {
        0 => u64::from(short),
        total => (0..total)
            .fold(0, |sum, index| (sum << 8) | u64::from(length.get(index).copied().unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [u64; 14] =
        [0, 1, 2, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 1 << 32, (1 << 63) - 1];

    fn headers() -> impl Iterator<Item = FrameHeader> {
        use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
        [Continuation, Text, Binary, Close, Ping, Pong].into_iter().flat_map(|opcode| {
            LENGTHS.into_iter().flat_map(move |payload_len| {
                [(true, None), (false, None), (true, Some([1, 2, 3, 4])), (false, Some([0; 4]))]
                    .into_iter()
                    .flat_map(move |(fin, mask)| {
                        let plain =
                            FrameHeader { fin, opcode, compressed: false, mask, payload_len };
                        [plain, FrameHeader { compressed: true, ..plain }]
                    })
            })
        })
    }

    fn allowed(header: &FrameHeader) -> bool {
        let close = header.opcode == Opcode::Close;
        match header.opcode.is_control() {
            true => {
                let short = header.payload_len <= 125 && !(close && header.payload_len == 1);
                header.fin && short && !header.compressed
            }
            false => !header.compressed || header.opcode != Opcode::Continuation,
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_itself_and_every_prefix_is_partial() {
        for header in headers().filter(allowed) {
            let role = if header.mask.is_some() { Role::Server } else { Role::Client };
            let mut wire = Vec::new();
            header.encode(&mut wire);
            assert_eq!(wire.len(), header.header_bytes(), "{header:?}");
            assert_eq!(FrameHeader::payload_len_min(&wire), header.payload_len, "{header:?}");
            for len in 0..wire.len() {
                let Ok(Decoded::Partial(needed)) =
                    FrameHeader::decode(&wire[..len], role, Rsv1::Compressed)
                else {
                    panic!("{len} bytes of {header:?} are no header");
                };
                assert!((len + 1..=wire.len()).contains(&needed), "{header:?}");
                assert!(FrameHeader::payload_len_min(&wire[..len]) <= header.payload_len);
            }
            wire.extend(b"payload");
            let decoded = FrameHeader::decode(&wire, role, Rsv1::Compressed);
            assert_eq!(decoded, Ok(Decoded::Complete(header)));
            let without = FrameHeader::decode(&wire, role, Rsv1::Reserved);
            if header.compressed {
                assert_eq!(without, Err(ProtocolError::ReservedBits), "{header:?}");
            } else {
                assert_eq!(without, decoded, "{header:?}");
            }
        }
    }

    #[test]
    fn every_breach_is_found_at_the_byte_that_proves_it() {
        use ProtocolError::*;
        for (wire, role, expected) in [
            (&[0xC1][..], Role::Server, ReservedBits),
            (&[0xA1], Role::Server, ReservedBits),
            (&[0x91], Role::Client, ReservedBits),
            (&[0x83], Role::Server, ReservedOpcode),
            (&[0x8B], Role::Server, ReservedOpcode),
            (&[0x09], Role::Server, FragmentedControl),
            (&[0x08], Role::Client, FragmentedControl),
            (&[0x81, 0x05], Role::Server, UnmaskedFrame),
            (&[0x81, 0x85], Role::Client, MaskedFrame),
            (&[0x89, 0xFE], Role::Server, LongControl),
            (&[0x8A, 0x7F], Role::Client, LongControl),
            (&[0x88, 0x81], Role::Server, BadCloseLength),
            (&[0x82, 0xFE, 0, 125], Role::Server, LengthNotMinimal),
            (&[0x82, 0x7E, 0, 0], Role::Client, LengthNotMinimal),
            (&[0x82, 0xFF, 0, 0, 0, 0, 0, 0], Role::Server, LengthNotMinimal),
            (&[0x82, 0xFF, 0x80], Role::Server, LengthTopBit),
            (&[0x82, 0x7F, 0xFF], Role::Client, LengthTopBit),
        ] {
            let (_, before) = wire.split_last().expect("no case is empty");
            let decode = |bytes: &[u8]| FrameHeader::decode(bytes, role, Rsv1::Reserved);
            assert!(decode(before).is_ok(), "{wire:?} fails too early");
            assert_eq!(decode(wire), Err(expected), "{wire:?}");
            let mut more = wire.to_vec();
            more.extend([0; 14]);
            assert_eq!(decode(&more), Err(expected), "{more:?}");
        }
    }

    #[test]
    fn a_kind_is_the_kind_of_its_opcode() {
        for kind in [DataKind::Text, DataKind::Binary] {
            assert_eq!(kind.opcode().data_kind(), Some(kind));
        }
    }

    #[test]
    fn every_first_byte_is_judged_as_the_rfc_says() {
        for byte in 0..=u8::MAX {
            let legal = match byte & 0x0F {
                0x0..=0x2 => byte & 0x70 == 0,
                0x8..=0xA => byte & 0xF0 == 0x80,
                _ => false,
            };
            assert_eq!(First::decode(byte, Rsv1::Reserved).is_ok(), legal, "{byte:#04x}");
            let begins = byte & 0x7F == 0x41 || byte & 0x7F == 0x42;
            let judged = First::decode(byte, Rsv1::Compressed);
            assert_eq!(judged.is_ok(), legal || begins, "{byte:#04x}");
            assert_eq!(judged.is_ok_and(|first| first.compressed), begins, "{byte:#04x}");
        }
    }
}
