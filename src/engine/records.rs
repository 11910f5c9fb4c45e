//! Messages that come as binary records: each is published, acknowledged or refused by itself.
//!
//! Not here: how records look (`protocol::binary`), all that is no message (it comes as JSON).

use super::asking::Said;
use super::batch::Wire;
use super::metering::Toll;
use super::native::{Go, Native};
use super::session::Pause;
use super::shard::Shard;
use crate::api;
use crate::auth::{Grant, Ungranted};
use crate::broker::{ConnKey, Deflate, Disconnect, Encoding, ErrorCode, Now, RoomHandle, RoomName};
use crate::protocol::binary::{self, Op, Record};
use crate::ws::{Opcode, push_frame_with};

/// The room that a record is for.
#[derive(Clone, Debug)]
struct Addressed {
    room: RoomHandle,
    name: RoomName,
    /// Whether the connection gets its own messages.
    echo: bool,
    may_publish: bool,
    content_bytes_max: usize,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Handled {
    On,
    Wait(Pause),
    /// Too many were sent too fast.
    End,
}

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
            if let Some(pause) = self.must_pause(key, native).filter(|_| records.left() > 0) {
                return Go::Wait { pause, from: at };
            }
            let record = match records.next() {
                None => return Go::On,
                Some(Ok(record)) => record,
                Some(Err(bad)) => {
                    self.refuse_record(key, None, bad.code(), &bad.to_string());
                    return Go::On;
                }
            };
            match self.handle_record(key, native, &record, now) {
                Handled::On => {}
                Handled::Wait(pause) => return Go::Wait { pause, from: at },
                Handled::End => return Go::End(Disconnect::RateLimited),
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
    ) -> Handled {
        let number = record.request_id;
        match record.op {
            Op::Message => {}
            Op::Ack | Op::Error => {
                let message = "op: a client sends messages, op 1";
                self.refuse_record(key, number, ErrorCode::UnknownType, message);
                return Handled::On;
            }
        }
        let found = record.handle.and_then(|handle| self.room_of(key, native, handle));
        let Some(Addressed { room, name, echo, may_publish, content_bytes_max }) = found else {
            let message = "handle: you are in no room with that handle; room-joined has it";
            self.refuse_record(key, number, ErrorCode::NotInRoom, message);
            return Handled::On;
        };
        if !may_publish {
            self.counters.requests_forbidden += 1;
            let message = Ungranted { grant: Grant::Publish }.in_room(name.as_str());
            self.refuse_record(key, number, ErrorCode::Forbidden, &message);
            return Handled::On;
        }
        if !self.may_send_to(room.home) {
            return Handled::Wait(Pause::Credit(room.home));
        }
        if record.payload.len() > content_bytes_max {
            let message = format!("payload: it may have {content_bytes_max} bytes here");
            self.refuse_record(key, number, ErrorCode::TooLong, &message);
            return Handled::On;
        }
        if api::check_payload(record.kind, record.payload).is_err() {
            let message = "payload: it is not what its flags say; text is UTF-8, JSON one value";
            self.refuse_record(key, number, ErrorCode::BadField, message);
            return Handled::On;
        }
        match self.toll(key, record.payload.len(), now) {
            Toll::Go => {}
            Toll::Wait => return Handled::Wait(Pause::Answer),
            Toll::Refuse { retry_after_ms } => {
                let message =
                    format!("too much was sent in a short time: wait {retry_after_ms} ms");
                self.refuse_record(key, number, ErrorCode::RateLimited, &message);
                return Handled::On;
            }
            Toll::Close => return Handled::End,
        }
        let said = Said { kind: record.kind, payload: record.payload, key: "", dedupe: "" };
        self.say(key, native, (room, echo), (Wire::Binary(number), ""), &said, now);
        Handled::On
    }

    /// The room with that handle, if the connection is in it.
    fn room_of(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        wire: RoomHandle,
    ) -> Option<Addressed> {
        let agreed = native.encoding(self.session(key)?.encoding);
        // A room that does not compress is had plain by those who agreed to compression.
        [agreed, Encoding { deflate: Deflate::Off, ..agreed }].into_iter().find_map(|encoding| {
            let (local, room) = self.members.find_wire(wire, encoding)?;
            let membership = native.rooms.in_room_mut(room.hash, local)?;
            Some(Addressed {
                room: room.handle,
                name: room.name.clone(),
                echo: membership.echo,
                may_publish: membership.may_publish,
                content_bytes_max: room.options.content_bytes_max,
            })
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

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use crate::broker::{Compression, ConnKey, PayloadKind, RoomHandle, RoomOptions};
    use crate::limits::{OUTBOX_HIGH_WATER_BYTES, REQUESTS_IN_FLIGHT_MAX};
    use crate::protocol::binary;
    use crate::ws::{self, ClientWindow, DeflateOffer, Opcode};

    /// A connection that speaks records, and the handle of the room that it has joined.
    fn member(rig: &mut Rig) -> (ConnKey, RoomHandle) {
        let key = rig.open();
        let mut sent = Vec::new();
        let terms = (None, Some("fanfare.v1.bin"));
        ws::client_request_speaking(&mut sent, "broker.test", "/ws", &[7; 16], terms);
        let join = br#"{"type":"join-room","room":"a"}"#;
        ws::push_masked_frame(&mut sent, Opcode::Text, join, [1, 2, 3, 4]);
        rig.shard.handle_bytes(key, &mut sent, rig.now);
        rig.shard.end_tick(rig.now);
        let joined = String::from_utf8_lossy(&rig.read_all(key)).into_owned();
        let handle = joined.split_once("\"handle\":").and_then(|(_, rest)| rest.split_once(','));
        let handle = handle.and_then(|(digits, _)| RoomHandle::from_wire(digits.parse().ok()?));
        (key, handle.expect("it has joined"))
    }

    #[test]
    fn one_message_of_many_bad_records_is_refused_as_its_sender_reads() {
        let mut rig = Rig::new(RoomOptions::default());
        let (key, handle) = member(&mut rig);
        let other = RoomHandle { slot: handle.slot + 1, ..handle };
        let (mut records, mut frame) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            binary::push_publish(&mut records, None, other, PayloadKind::Text, b"");
        }
        ws::push_masked_frame(&mut frame, Opcode::Binary, &records, [1, 2, 3, 4]);
        rig.shard.handle_bytes(key, &mut frame, rig.now);
        let mut turns = 0;
        loop {
            let queued = rig.shard.session(key).map_or(0, |session| session.outbox.bytes());
            assert!(queued < OUTBOX_HIGH_WATER_BYTES + 1_000, "{queued}");
            if rig.shard.counters().requests_refused == 20_000 {
                break;
            }
            rig.read_all(key);
            rig.shard.end_tick(rig.now);
            turns += 1;
            assert!(turns < 1_000, "it goes on as soon as there is room");
        }
    }

    #[test]
    fn one_message_of_many_records_waits_for_acks_as_many_messages_do() {
        let mut rig = Rig::new(RoomOptions::default());
        let (key, handle) = member(&mut rig);
        let (mut records, mut frame) = (Vec::new(), Vec::new());
        for number in 0..2_000 {
            binary::push_publish(&mut records, Some(number), handle, PayloadKind::Text, b"x");
        }
        ws::push_masked_frame(&mut frame, Opcode::Binary, &records, [1, 2, 3, 4]);
        rig.shard.handle_bytes(key, &mut frame, rig.now);
        for _ in 0..20 {
            let in_flight = rig.shard.native(key).map_or(0, |native| native.in_flight);
            assert!(in_flight <= REQUESTS_IN_FLIGHT_MAX, "{in_flight}");
            rig.shard.end_tick(rig.now);
            rig.read_all(key);
        }
        assert_eq!(rig.shard.counters().publications, 2_000);
    }

    #[test]
    fn who_agreed_to_compression_publishes_in_a_room_without_it() {
        let mut rig = Rig::new(RoomOptions { compression: Compression::Off, ..Default::default() });
        let offer = DeflateOffer {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: None,
            client_max_window_bits: ClientWindow::Unsaid,
        };
        let key = rig.open();
        let mut sent = Vec::new();
        let terms = (Some(offer), Some("fanfare.v1.bin"));
        ws::client_request_speaking(&mut sent, "broker.test", "/ws", &[7; 16], terms);
        let join = br#"{"type":"join-room","room":"a"}"#;
        ws::push_masked_frame(&mut sent, Opcode::Text, join, [1, 2, 3, 4]);
        rig.shard.handle_bytes(key, &mut sent, rig.now);
        rig.shard.end_tick(rig.now);
        let joined = String::from_utf8_lossy(&rig.read_all(key)).into_owned();
        let handle = joined.split_once("\"handle\":").and_then(|(_, rest)| rest.split_once(','));
        let handle = handle.and_then(|(digits, _)| RoomHandle::from_wire(digits.parse().ok()?));

        let (mut record, mut frame) = (Vec::new(), Vec::new());
        let handle = handle.expect("it has joined");
        binary::push_publish(&mut record, Some(1), handle, PayloadKind::Text, b"hi");
        ws::push_masked_frame(&mut frame, Opcode::Binary, &record, [1, 2, 3, 4]);
        rig.shard.handle_bytes(key, &mut frame, rig.now);
        rig.shard.end_tick(rig.now);
        let mut expected = Vec::new();
        ws::push_frame_with(&mut expected, Opcode::Binary, |out| {
            binary::push_message(out, handle, 1, PayloadKind::Text, b"hi");
        });
        assert!(rig.read_all(key).ends_with(&expected));
    }
}
