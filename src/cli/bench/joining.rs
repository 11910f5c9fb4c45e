//! How connections become members of their rooms, and what is published there from then on.
//!
//! Invariant: in the native protocol nobody publishes before everybody has been told that they are
//! members; elsewhere servers say nothing, and are given time.

use super::client::{
    Answer, Draft, Fleet, Happening, Protocol, Unpacker, answer, batch_request, fill, join_request,
    mask, record_draft,
};
use super::clock::Clock;
use super::crowd::Ended;
use super::error::BenchError;
use super::seats::Member;
use super::shape::Shape;
use crate::ws::{self, Opcode};
use std::time::Duration;

/// Longest wait for readiness.
const TURN: Duration = Duration::from_millis(50);
/// Time after the last handshake for joins that a server finishes later.
const SETTLE_US: u64 = 100_000;
/// Time in which some join must be answered.
const PATIENCE_US: u64 = 10_000_000;

/// Connections that stand and are to be members.
pub(super) struct Joining<'a> {
    pub(super) shape: &'a Shape,
    pub(super) fleet: &'a mut Fleet,
    pub(super) clock: Clock,
    pub(super) ended: &'a mut Ended,
}

impl Joining<'_> {
    /// Does what joining takes. Returns what is published, by room or for all rooms.
    pub(super) fn join(
        &mut self,
        members: &[Member],
        unpacker: &mut Unpacker,
    ) -> Result<Vec<Draft>, BenchError> {
        let drafts = match self.shape.protocol {
            Protocol::Raw => {
                if let Some(template) = &self.shape.join {
                    self.ask(members, |room| vec![fill(template, room)]);
                }
                self.shape.drafts()
            }
            Protocol::Json | Protocol::Binary => {
                let batch = self.shape.batch;
                self.ask(members, |room| {
                    let hello = batch.then(batch_request);
                    hello.into_iter().chain([join_request(room)]).collect()
                });
                let handles = self.await_answers(members, unpacker)?;
                let size = self.shape.size;
                match self.shape.protocol {
                    Protocol::Binary => {
                        handles.into_iter().map(|handle| record_draft(handle, size)).collect()
                    }
                    Protocol::Raw | Protocol::Json => self.shape.drafts(),
                }
            }
        };
        self.settle()?;
        Ok(drafts)
    }

    /// Sends each member's texts.
    fn ask(&mut self, members: &[Member], texts: impl Fn(&str) -> Vec<String>) {
        for (conn, member) in members.iter().enumerate() {
            for text in texts(&self.shape.room_name(member.room)) {
                self.fleet.queue(conn, |out| {
                    ws::push_masked_frame(out, Opcode::Text, text.as_bytes(), mask());
                });
            }
            if let Err(ending) = self.fleet.flush(conn) {
                self.ended.note(ending);
            }
        }
    }

    /// Waits until everybody is a member. Returns the rooms' handles.
    fn await_answers(
        &mut self,
        members: &[Member],
        unpacker: &mut Unpacker,
    ) -> Result<Vec<u64>, BenchError> {
        let mut handles = vec![0; self.shape.rooms];
        let mut is_in = vec![false; members.len()];
        let (mut joined, mut why) = (0, None);
        let mut deadline_us = self.clock.now_us() + PATIENCE_US;
        while joined < members.len() {
            let before = joined;
            self.fleet.turn(Some(TURN), |conn, _, happening| {
                let text = match happening {
                    Happening::Message { front, compressed: false, .. } => front,
                    Happening::Message { front, .. } => {
                        unpacker.unpack(front).map_or(&[][..], |(text, _)| text)
                    }
                    Happening::Closed(ending) => return why = Some(ending.to_string()),
                    Happening::Opened => return,
                };
                let member = members.get(conn).zip(is_in.get_mut(conn));
                let Some((member, is_in)) = member.filter(|(_, is_in)| !**is_in) else { return };
                match answer(text) {
                    Answer::Joined(handle) => {
                        *is_in = true;
                        joined += 1;
                        if let Some(place) = handles.get_mut(member.room as usize) {
                            *place = handle;
                        }
                    }
                    Answer::Refused(said) => why = Some(said),
                    Answer::Other => {}
                }
            })?;
            let now_us = self.clock.now_us();
            if joined > before {
                deadline_us = now_us + PATIENCE_US;
            } else if now_us > deadline_us {
                why.get_or_insert_with(|| "the server does not answer a join-room".to_owned());
            }
            if let Some(why) = why {
                return Err(BenchError::Joining { joined, wanted: members.len(), why });
            }
        }
        Ok(handles)
    }

    /// Gives the server time.
    fn settle(&mut self) -> Result<(), BenchError> {
        let settled_us = self.clock.now_us() + SETTLE_US;
        let ended = &mut *self.ended;
        while self.clock.now_us() < settled_us {
            self.fleet.turn(Some(TURN), |_, _, happening| match happening {
                Happening::Closed(ending) => ended.note(ending),
                Happening::Opened | Happening::Message { .. } => {}
            })?;
        }
        Ok(())
    }
}
