//! One record: what it can carry, how it is read, and how it is written.
//!
//! The bytes: varint length of all that follows, u8 op, u8 flags, then as the flags say a varint
//! request id, a varint room handle, a varint `seq`; the rest is payload. Bits of the flags, from
//! the lowest: request id, room handle, `seq`, (reserved), two bits for the payload's kind (0
//! binary, 1 text, 2 JSON), (reserved, reserved).

use super::varint;
use crate::broker::{ErrorCode, PayloadKind, RoomHandle};
use std::fmt;

const HAS_REQUEST_ID: u8 = 1 << 0;
const HAS_HANDLE: u8 = 1 << 1;
const HAS_SEQ: u8 = 1 << 2;
const KIND_SHIFT: u8 = 4;
const KIND_BITS: u8 = 0b11 << KIND_SHIFT;
const RESERVED_BITS: u8 = !(HAS_REQUEST_ID | HAS_HANDLE | HAS_SEQ | KIND_BITS);

/// What a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// From a client: publish the payload to the room, and acknowledge it if there is a request id.
    /// To a client: a message of the room, with its `seq`.
    Message,
    /// To a client: a message was taken, with its `seq`; the payload is the room's epoch (8 bytes,
    /// highest first) and the varint number of receivers.
    Ack,
    /// To a client: a request was refused; the payload is the stable word, a space and a sentence.
    Error,
}

/// One record, as read or to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// What it is.
    pub op: Op,
    /// What the payload is.
    pub kind: PayloadKind,
    /// The number that the client gave its request.
    pub request_id: Option<u64>,
    /// The room, by the handle that its join's reply gave.
    pub handle: Option<RoomHandle>,
    /// The message's number. From a client it means nothing.
    pub seq: Option<u64>,
    /// All the rest.
    pub payload: &'a [u8],
}

/// Why bytes are no record; [`fmt::Display`] says what would be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadRecord {
    /// A frame without a record in it.
    Empty,
    /// The length is no number, or less than a record has, or more than the frame has.
    Length,
    /// No such op.
    Op,
    /// A reserved bit, or a kind that there is not.
    Flags,
    /// The request id is no number.
    RequestId,
    /// The room handle is no number, or one that no room has.
    Handle,
    /// The `seq` is no number.
    Seq,
}

impl Op {
    /// Every op.
    pub const ALL: [Self; 3] = [Self::Message, Self::Ack, Self::Error];

    const fn byte(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::Ack => 2,
            Self::Error => 3,
        }
    }
}

impl BadRecord {
    /// What was wrong, as the code of an error; all that is in a frame behind it is lost.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Empty | Self::Length | Self::Op | Self::Flags => ErrorCode::BadJson,
            Self::RequestId | Self::Handle | Self::Seq => ErrorCode::BadField,
        }
    }
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a binary frame has one record or more",
            Self::Length => "a record begins with the length of all that follows, at least 2",
            Self::Op => "op: 1 is a message, 2 an ack, 3 an error",
            Self::Flags => "flags: bits 3, 6 and 7 are 0, and bits 4 and 5 are 0, 1 or 2",
            Self::RequestId => "request id: a number below 2^64 in its shortest form",
            Self::Handle => "handle: the number that `room-joined` gave",
            Self::Seq => "seq: a number below 2^64 in its shortest form",
        })
    }
}

/// Reads the record at the front of `frame`, and gives what is behind it.
pub(super) fn read(frame: &[u8]) -> Result<(Record<'_>, &[u8]), BadRecord> {
    let (length, rest) = varint::read(frame).ok_or(BadRecord::Length)?;
    let length = usize::try_from(length).map_err(|_| BadRecord::Length)?;
    let (body, behind) = rest.split_at_checked(length).ok_or(BadRecord::Length)?;
    let [op, flags, body @ ..] = body else { return Err(BadRecord::Length) };
    let op = Op::ALL.into_iter().find(|known| known.byte() == *op).ok_or(BadRecord::Op)?;
    if flags & RESERVED_BITS != 0 {
        return Err(BadRecord::Flags);
    }
    let kind = match (flags & KIND_BITS) >> KIND_SHIFT {
        0 => PayloadKind::Binary,
        1 => PayloadKind::Text,
        2 => PayloadKind::Json,
        _ => return Err(BadRecord::Flags),
    };
    let number = |flag: u8, body, bad| match flags & flag {
        0 => Ok((None, body)),
        _ => varint::read(body).map(|(number, rest)| (Some(number), rest)).ok_or(bad),
    };
    let (request_id, body) = number(HAS_REQUEST_ID, body, BadRecord::RequestId)?;
    let (wire, body) = number(HAS_HANDLE, body, BadRecord::Handle)?;
    let handle = wire.map(|wire| RoomHandle::from_wire(wire).ok_or(BadRecord::Handle));
    let handle = handle.transpose()?;
    let (seq, payload) = number(HAS_SEQ, body, BadRecord::Seq)?;
    Ok((Record { op, kind, request_id, handle, seq, payload }, behind))
}

/// Appends a record.
pub fn push_record(out: &mut Vec<u8>, record: &Record<'_>) {
    let wire = record.handle.map(RoomHandle::to_wire);
    let numbers = [record.request_id, wire, record.seq];
    let numbers_bytes: usize = numbers.into_iter().flatten().map(varint::bytes).sum();
    let length = 2 + numbers_bytes + record.payload.len();
    out.reserve(varint::BYTES_MAX + length);
    varint::push(out, length as u64);
    out.extend_from_slice(&[record.op.byte(), flags(record)]);
    for number in numbers.into_iter().flatten() {
        varint::push(out, number);
    }
    out.extend_from_slice(record.payload);
}

const fn flags(record: &Record<'_>) -> u8 {
    let kind = match record.kind {
        PayloadKind::Binary => 0,
        PayloadKind::Text => 1,
        PayloadKind::Json => 2,
    };
    let mut flags = kind << KIND_SHIFT;
    if record.request_id.is_some() {
        flags |= HAS_REQUEST_ID;
    }
    if record.handle.is_some() {
        flags |= HAS_HANDLE;
    }
    if record.seq.is_some() {
        flags |= HAS_SEQ;
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &[u8] = &[7, 1, 0x27, 5, 65, 9, b'h', b'i'];

    #[test]
    fn a_record_is_laid_out_as_documented() {
        let record = Record {
            op: Op::Message,
            kind: PayloadKind::Json,
            request_id: Some(5),
            handle: RoomHandle::from_wire(65),
            seq: Some(9),
            payload: b"hi",
        };
        let mut out = Vec::new();
        push_record(&mut out, &record);
        assert_eq!(out, WIRE);
        assert_eq!(read(&out), Ok((record, &[][..])));
    }

    #[test]
    fn what_is_no_record_is_refused_for_what_it_is() {
        for (wire, bad) in [
            (&[][..], BadRecord::Length),
            (&[0], BadRecord::Length),
            (&[1, 1], BadRecord::Length),
            (&[2, 1], BadRecord::Length),
            (&[0x82, 0x00, 1, 0], BadRecord::Length),
            (&[2, 0, 0], BadRecord::Op),
            (&[2, 4, 0], BadRecord::Op),
            (&[2, 1, 0x08], BadRecord::Flags),
            (&[2, 1, 0x40], BadRecord::Flags),
            (&[2, 1, 0x80], BadRecord::Flags),
            (&[2, 1, 0x30], BadRecord::Flags),
            (&[2, 1, 0x01], BadRecord::RequestId),
            (&[3, 1, 0x02, 0x80], BadRecord::Handle),
            // 2^53: seven bytes of nothing, then bit 4.
            (&[10, 1, 0x02, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10], BadRecord::Handle),
            (&[4, 1, 0x04, 0x80, 0x00], BadRecord::Seq),
        ] {
            assert_eq!(read(wire), Err(bad), "{wire:x?}");
        }
    }
}
