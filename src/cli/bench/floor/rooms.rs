//! The floor's rooms: who gets what this turn brought, as bytes ready to be sent.
//!
//! Invariant: all frames of one room and turn lie in one buffer, in the order of their coming.

use crate::ws::{self, Decoded, FrameHeader, Opcode, ProtocolError, Role};
use std::collections::HashMap;
use std::ops::Range;

/// Rooms by path.
#[derive(Default, Debug)]
pub(super) struct Rooms {
    by_path: HashMap<String, usize>,
    rooms: Vec<Room>,
    /// Rooms with something to send.
    dirty: Vec<usize>,
}

/// One room.
#[derive(Default, Debug)]
pub(super) struct Room {
    /// Its members, by their place.
    pub(super) members: Vec<usize>,
    /// This turn's frames.
    pub(super) frames: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

/// What stopped the reading of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The next frame is not complete; so many bytes were.
    Incomplete(usize),
    /// The client closes.
    Close,
}

impl Rooms {
    /// The room of that path, with one more member.
    pub(super) fn join(&mut self, path: &str, member: usize) -> usize {
        let next = self.rooms.len();
        let index = *self.by_path.entry(path.to_owned()).or_insert(next);
        if index == next {
            self.rooms.push(Room::default());
        }
        if let Some(room) = self.rooms.get_mut(index) {
            room.members.push(member);
        }
        index
    }

    /// Takes a member off a room. The order of the others stays.
    pub(super) fn leave(&mut self, index: usize, member: usize) {
        if let Some(room) = self.rooms.get_mut(index) {
            room.members.retain(|other| *other != member);
        }
    }

    /// Unmasks the frames in `input` and puts them, ready to be sent, into the room.
    pub(super) fn publish(
        &mut self,
        index: usize,
        input: &mut [u8],
    ) -> Result<Stop, ProtocolError> {
        let Some(room) = self.rooms.get_mut(index) else { return Ok(Stop::Close) };
        if room.ends.is_empty() {
            self.dirty.push(index);
        }
        push_frames(input, |opcode, payload| {
            ws::push_frame(&mut room.frames, opcode, payload);
            room.ends.push(room.frames.len());
        })
    }

    /// The next room that has something to send, taken out: give it back with [`Self::put`].
    pub(super) fn take_dirty(&mut self) -> Option<(usize, Room)> {
        let index = self.dirty.pop()?;
        self.rooms.get_mut(index).map(|room| (index, std::mem::take(room)))
    }

    /// Puts a room back, its frames sent.
    pub(super) fn put(&mut self, index: usize, mut room: Room) {
        room.frames.clear();
        room.ends.clear();
        if let Some(place) = self.rooms.get_mut(index) {
            *place = room;
        }
    }
}

impl Room {
    /// The parts of [`Self::frames`] that are one send each: up to `join` frames.
    pub(super) fn sends(&self, join: usize) -> impl Iterator<Item = Range<usize>> {
        let mut start = 0;
        self.ends.chunks(join.max(1)).filter_map(|chunk| chunk.last().copied()).map(move |end| {
            let range = start..end;
            start = end;
            range
        })
    }
}

/// Unmasks each whole data frame of `input` in place and hands it to `push`.
pub(super) fn push_frames(
    input: &mut [u8],
    mut push: impl FnMut(Opcode, &[u8]),
) -> Result<Stop, ProtocolError> {
    let mut at = 0;
    loop {
        let rest = input.get_mut(at..).unwrap_or_default();
        let Decoded::Complete(header) = FrameHeader::decode(rest, Role::Server)? else {
            return Ok(Stop::Incomplete(at));
        };
        let start = header.header_bytes();
        let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        let Some(payload) = rest.get_mut(start..start.saturating_add(payload_len)) else {
            return Ok(Stop::Incomplete(at));
        };
        ws::apply_mask(header.mask.unwrap_or_default(), 0, payload);
        match header.opcode {
            Opcode::Close => return Ok(Stop::Close),
            Opcode::Text | Opcode::Binary => push(header.opcode, payload),
            Opcode::Continuation | Opcode::Ping | Opcode::Pong => {}
        }
        at += start + payload_len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(payloads: &[&[u8]]) -> Vec<u8> {
        let mut wire = Vec::new();
        for payload in payloads {
            ws::push_masked_frame(&mut wire, Opcode::Binary, payload, [1, 2, 3, 4]);
        }
        wire
    }

    #[test]
    fn what_arrives_together_is_sent_in_parts_of_so_many_frames() {
        let mut rooms = Rooms::default();
        let index = rooms.join("/raw/a", 7);
        let mut input = wire(&[b"one", b"two", b"three"]);
        let len = input.len();
        assert_eq!(rooms.publish(index, &mut input), Ok(Stop::Incomplete(len)));
        let (_, room) = rooms.take_dirty().expect("it has something to send");
        assert_eq!(room.members, [7]);
        assert_eq!(room.frames, b"\x82\x03one\x82\x03two\x82\x05three");
        assert_eq!(room.sends(1).collect::<Vec<_>>(), [0..5, 5..10, 10..17]);
        assert_eq!(room.sends(2).collect::<Vec<_>>(), [0..10, 10..17]);
        assert_eq!(room.sends(64).last(), Some(0..17));
        rooms.put(index, room);
        assert!(rooms.take_dirty().is_none());
    }

    #[test]
    fn a_cut_frame_waits_and_a_close_stops() {
        let mut input = wire(&[b"whole", b"cut"]);
        input.pop();
        let mut seen = Vec::new();
        let stop = push_frames(&mut input, |_, payload| seen.push(payload.to_vec()));
        assert_eq!((stop, seen), (Ok(Stop::Incomplete(11)), vec![b"whole".to_vec()]));
        let mut close = Vec::new();
        ws::push_masked_frame(&mut close, Opcode::Close, &[3, 232], [0; 4]);
        assert_eq!(push_frames(&mut close, |_, _| {}), Ok(Stop::Close));
    }

    #[test]
    fn rooms_go_by_path() {
        let mut rooms = Rooms::default();
        let (a, b) = (rooms.join("/raw/a", 0), rooms.join("/raw/b", 1));
        assert_ne!(a, b);
        assert_eq!(rooms.join("/raw/a", 2), a);
        rooms.leave(a, 0);
        let len = wire(&[b"x"]).len();
        assert_eq!(rooms.publish(a, &mut wire(&[b"x"])), Ok(Stop::Incomplete(len)));
        assert_eq!(rooms.take_dirty().expect("a").1.members, [2]);
    }
}
