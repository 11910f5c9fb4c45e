//! Messages that come as binary records: each is published, acknowledged or refused by itself.
//!
//! Not here: how records look (`protocol::binary`), all that is no message (it comes as JSON).

use super::asking::Said;
use super::batch::Wire;
use super::native::{Go, Native};
use super::session::Pause;
use super::shard::Shard;
use crate::api;
use crate::broker::{ConnKey, Deflate, Encoding, ErrorCode, Now, RoomHandle};
use crate::protocol::binary::{self, Op, Record};
use crate::ws::{Opcode, push_frame_with};

impl Shard {
    /// Handles the records of a binary message, from that byte on.
    pub(super) fn handle_records(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        payload: &[u8],
        from: usize,
        now: Now,
    ) -> Go {
        let mut records = binary::decode(payload.get(from..).unwrap_or_default());
        loop {
            let at = payload.len() - records.left();
            let record = match records.next() {
                None => return Go::On,
                Some(Ok(record)) => record,
                Some(Err(bad)) => {
                    self.refuse_record(key, None, bad.code(), &bad.to_string());
                    return Go::On;
                }
            };
            if let Some(pause) = self.handle_record(key, native, &record, now) {
                return Go::Wait { pause, from: at };
            }
        }
    }

    /// Handles one record, unless it has to wait.
    fn handle_record(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        record: &Record<'_>,
        now: Now,
    ) -> Option<Pause> {
        let number = record.request_id;
        match record.op {
            Op::Message => {}
            Op::Ack | Op::Error => {
                let message = "op: a client sends messages, op 1";
                self.refuse_record(key, number, ErrorCode::UnknownType, message);
                return None;
            }
        }
        let found = record.handle.and_then(|handle| self.room_of(key, native, handle));
        let Some((room, echo, content_bytes_max)) = found else {
            let message = "handle: you are in no room with that handle; room-joined has it";
            self.refuse_record(key, number, ErrorCode::NotInRoom, message);
            return None;
        };
        if !self.may_send_to(room.home) {
            return Some(Pause::Credit(room.home));
        }
        if record.payload.len() > content_bytes_max {
            let message = format!("payload: it may have {content_bytes_max} bytes here");
            self.refuse_record(key, number, ErrorCode::TooLong, &message);
            return None;
        }
        if api::check_payload(record.kind, record.payload).is_err() {
            let message = "payload: it is not what its flags say; text is UTF-8, JSON one value";
            self.refuse_record(key, number, ErrorCode::BadField, message);
            return None;
        }
        let said = Said { kind: record.kind, payload: record.payload, key: "", dedupe: "" };
        self.say(key, native, (room, echo), (Wire::Binary(number), ""), &said, now);
        None
    }

    /// The room with that handle, if the connection is in it, whether it gets its own messages
    /// there, and how long they may be.
    fn room_of(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        wire: RoomHandle,
    ) -> Option<(RoomHandle, bool, usize)> {
        let agreed = native.encoding(self.session(key)?.encoding);
        // In a room that does not compress, it is among those who get all plain.
        let plain = Encoding { deflate: Deflate::Off, ..agreed };
        [agreed, plain].into_iter().find_map(|encoding| {
            let (local, room) = self.members.find_wire(wire, encoding)?;
            let membership = native.rooms.in_room_mut(room.hash, local)?;
            Some((room.handle, membership.echo, room.options.content_bytes_max))
        })
    }

    fn refuse_record(&mut self, key: ConnKey, number: Option<u64>, code: ErrorCode, message: &str) {
        self.counters.requests_refused += 1;
        self.push_answer(key, |out| {
            push_frame_with(out, Opcode::Binary, |out| {
                binary::push_error(out, number, code, message);
            });
        });
    }
}
