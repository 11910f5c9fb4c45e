//! The native protocol in records (`fanfare.v1.bin`): one or more to a binary message.
//!
//! Not here: all that is no message, ack or error; it travels as JSON in text frames on the same
//! connection (`json`). Invariants: each record has one form; what goes to all members of a room
//! has no field that depends on one; a record that can't be read ends its frame, since nobody
//! knows where the next begins.

mod record;
mod varint;

pub use record::{BadRecord, Op, Record, push_record};

use crate::broker::{ErrorCode, PayloadKind, RoomHandle};

/// The records of one binary message, in their order. After an error there is nothing more.
pub const fn decode(frame: &[u8]) -> Records<'_> {
    Records { rest: frame, step: Step::First }
}

/// What [`decode`] reads, one by one.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    First,
    Next,
    Done,
}

impl Records<'_> {
    /// Bytes that have not been read.
    pub const fn left(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = match (self.step, self.rest) {
            (Step::Done, _) | (Step::Next, []) => return None,
            (Step::First, []) => Err(BadRecord::Empty),
            (Step::First | Step::Next, rest) => record::read(rest),
        };
        let (step, rest) = read.map_or((Step::Done, &[][..]), |(_, rest)| (Step::Next, rest));
        (self.step, self.rest) = (step, rest);
        Some(read.map(|(record, _)| record))
    }
}

/// Appends a message as a room's binary members get it.
pub fn push_message(
    out: &mut Vec<u8>,
    handle: RoomHandle,
    seq: u64,
    kind: PayloadKind,
    payload: &[u8],
) {
    let (handle, seq) = (Some(handle), Some(seq));
    push_record(out, &Record { op: Op::Message, kind, request_id: None, handle, seq, payload });
}

/// Appends a message as a client publishes it.
pub fn push_publish(
    out: &mut Vec<u8>,
    request_id: Option<u64>,
    handle: RoomHandle,
    kind: PayloadKind,
    payload: &[u8],
) {
    let handle = Some(handle);
    push_record(out, &Record { op: Op::Message, kind, request_id, handle, seq: None, payload });
}

/// Appends the acknowledgement of a message.
pub fn push_ack(
    out: &mut Vec<u8>,
    request_id: Option<u64>,
    handle: RoomHandle,
    seq: u64,
    epoch: u64,
    receivers: u32,
) {
    let mut payload = Vec::with_capacity(8 + varint::BYTES_MAX);
    payload.extend_from_slice(&epoch.to_be_bytes());
    varint::push(&mut payload, receivers.into());
    let record = Record {
        op: Op::Ack,
        kind: PayloadKind::Binary,
        request_id,
        handle: Some(handle),
        seq: Some(seq),
        payload: &payload,
    };
    push_record(out, &record);
}

/// Appends what a client is told of a mistake.
pub fn push_error(out: &mut Vec<u8>, request_id: Option<u64>, code: ErrorCode, message: &str) {
    let payload = [code.word().as_bytes(), b" ", message.as_bytes()].concat();
    let record = Record {
        op: Op::Error,
        kind: PayloadKind::Text,
        request_id,
        handle: None,
        seq: None,
        payload: &payload,
    };
    push_record(out, &record);
}

/// What the payload of an ack says: the room's epoch and how many got the message.
pub fn ack_of(payload: &[u8]) -> Option<(u64, u32)> {
    let (epoch, rest) = payload.split_first_chunk()?;
    let (receivers, rest) = varint::read(rest)?;
    let receivers = u32::try_from(receivers).ok().filter(|_| rest.is_empty())?;
    Some((u64::from_be_bytes(*epoch), receivers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(wire: u64) -> RoomHandle {
        RoomHandle::from_wire(wire).expect("below 2^53")
    }

    #[test]
    fn what_is_written_reads_back_in_its_order() {
        for seed in 0..2_000 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let payloads: Vec<Vec<u8>> = (0..dice.usize(1..5))
                .map(|_| (0..dice.usize(..300)).map(|_| dice.u8(..)).collect())
                .collect();
            let mut number = |bits: u32| {
                let short = dice.u64(..) >> dice.u32(64 - bits..64);
                dice.bool().then_some(short)
            };
            let records: Vec<Record<'_>> = payloads
                .iter()
                .enumerate()
                .map(|(place, payload)| Record {
                    op: Op::ALL[place % 3],
                    kind: [PayloadKind::Binary, PayloadKind::Text, PayloadKind::Json]
                        [payload.len() % 3],
                    request_id: number(64),
                    handle: number(53).map(handle),
                    seq: number(64),
                    payload,
                })
                .collect();
            let mut frame = Vec::new();
            for record in &records {
                push_record(&mut frame, record);
            }
            let read: Result<Vec<Record<'_>>, _> = decode(&frame).collect();
            assert_eq!(read.as_deref(), Ok(&records[..]), "seed {seed}");
        }
    }

    #[test]
    fn nothing_is_read_behind_a_mistake() {
        let mut frame = Vec::new();
        push_publish(&mut frame, None, handle(65), PayloadKind::Text, b"hi");
        frame.extend_from_slice(&[2, 9, 0, 2, 1, 0]);
        let mut records = decode(&frame);
        assert!(records.next().is_some_and(|record| record.is_ok()));
        assert_eq!(records.next(), Some(Err(BadRecord::Op)));
        assert_eq!(records.next(), None);
        assert_eq!(decode(&[]).collect::<Vec<_>>(), [Err(BadRecord::Empty)]);
    }

    #[test]
    fn what_the_server_says_is_laid_out_as_documented() {
        let mut out = Vec::new();
        push_message(&mut out, handle(65), 9, PayloadKind::Text, b"hi");
        assert_eq!(out, [6, 1, 0x16, 65, 9, b'h', b'i']);
        out.clear();
        push_ack(&mut out, Some(5), handle(65), 9, 0xf00d, 300);
        assert_eq!(out, [15, 2, 0x07, 5, 65, 9, 0, 0, 0, 0, 0, 0, 0xf0, 0x0d, 0xac, 0x02]);
        assert_eq!(ack_of(&out[6..]), Some((0xf00d, 300)));
        for cut in 6..16 {
            assert_eq!(ack_of(&out[6..cut]), None, "cut at {cut}");
        }
        out.clear();
        push_error(&mut out, None, ErrorCode::NotInRoom, "join it");
        assert_eq!(out, [&[21, 3, 0x10][..], b"not-in-room join it"].concat());
    }
}
