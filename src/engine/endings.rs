//! How connections end: by our decision, by the peer's, by a drain, or at once.
//!
//! Invariants: an ending is decided once, and its first reason stands; whoever ends has left its
//! room before the call returns; nothing follows a close frame.

use super::deadlines::{DRAIN_LEAD_MS, DRAIN_SPREAD_PER_CONN_MS};
use super::session::{Membership, Pause, Phase};
use super::shard::{Action, Notice, Shard};
use super::timers::tick_of;
use crate::api;
use crate::broker::{ConnKey, Disconnect, Now};
use crate::http::SendBody;
use crate::limits::LINGER_BYTES_MAX;
use crate::protocol::{self, raw};
use crate::ws;

impl Shard {
    /// Starts shutting down: idle requests end, WebSockets are closed one after another over the
    /// drain window, and every new request is answered 503.
    pub fn handle_drain(&mut self, now: Now) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        self.homes.flush_all();
        let keys: Vec<(u32, u32)> = self.sessions.keys().collect();
        let count = keys.len() as u64;
        let window = self.settings.drain_window_ms.min(count * DRAIN_SPREAD_PER_CONN_MS);
        for (nth, (index, generation)) in (0_u64..).zip(keys) {
            let key = ConnKey { index, generation };
            let Some(session) = self.session(key) else { continue };
            match &session.phase {
                Phase::Head(reader) if reader.is_idle() && session.served => {
                    self.finish(key, Disconnect::Draining, now);
                }
                // Just off the accept queue: what it asks for may be on its way.
                Phase::Proxied(_) => {
                    self.counters.connections_refused += 1;
                    self.refuse(key, &api::draining(), SendBody::Yes, now);
                }
                Phase::Head(reader) if reader.is_idle() => {
                    self.counters.connections_refused += 1;
                    self.refuse(key, &api::draining(), SendBody::Yes, now);
                }
                Phase::Raw(_) | Phase::Unauthenticated(_) | Phase::Echo(_) => {
                    let due = now.mono_ms + window * nth / count;
                    self.timers.set(index, tick_of(due));
                }
                Phase::Native(_) => {
                    let due = now.mono_ms + DRAIN_LEAD_MS + window * nth / count;
                    self.timers.set(index, tick_of(due));
                }
                Phase::Head(_)
                | Phase::Body(_)
                | Phase::Waiting(_)
                | Phase::Closing(_)
                | Phase::Linger(_)
                | Phase::Finishing
                | Phase::Gone => {}
            }
        }
    }

    /// Closes a WebSocket for a reason of ours. What is queued goes out first, unless it is what
    /// the peer does not take: then only the frame that has been begun does.
    pub(super) fn disconnect(&mut self, key: ConnKey, reason: Disconnect, now: Now) {
        let Some(phase) = self.take_phase(key) else { return };
        let reader = match phase {
            Phase::Raw(raw) => {
                self.leave(raw.membership, now);
                Some(raw.reader)
            }
            Phase::Native(native) => {
                self.end_native(key, &native, now);
                if reason == Disconnect::Draining {
                    self.advise(key);
                }
                Some(native.reader)
            }
            Phase::Unauthenticated(stranger) => Some(stranger.reader),
            Phase::Echo(reader) => Some(reader),
            Phase::Proxied(_)
            | Phase::Head(_)
            | Phase::Body(_)
            | Phase::Waiting(_)
            | Phase::Closing(_)
            | Phase::Linger(_)
            | Phase::Finishing
            | Phase::Gone => {
                self.put_phase(key, phase);
                return self.finish(key, reason, now);
            }
        };
        self.counters.websockets -= 1;
        let Some(code) = raw::close_code(reason) else { return self.end(key, reason) };
        self.note_ending(key, reason, code);
        if matches!(reason, Disconnect::SlowConsumer | Disconnect::NoPong) {
            self.drop_queued(key);
        }
        self.push_answer(key, |out| ws::push_close(out, code, ""));
        match reason {
            // Nobody is there to answer.
            Disconnect::NoPong => self.begin_phase(key, Phase::Finishing, now),
            Disconnect::Protocol | Disconnect::BadPayload | Disconnect::TooBig => {
                self.begin_phase(key, Phase::Closing(None), now);
            }
            Disconnect::Normal
            | Disconnect::Draining
            | Disconnect::WrongData
            | Disconnect::Policy
            | Disconnect::Unauthorized
            | Disconnect::RateLimited
            | Disconnect::Internal
            | Disconnect::OverCapacity
            | Disconnect::SlowConsumer
            | Disconnect::Superseded
            | Disconnect::RequestTimeout
            | Disconnect::CloseTimeout
            | Disconnect::Http
            | Disconnect::Io => self.begin_phase(key, Phase::Closing(reader), now),
        }
        // The answer that it waited for finds nobody, and its half of the close is to be read.
        if self.session(key).is_some_and(|session| session.pause == Pause::Answer) {
            self.unpause(key);
        }
    }

    /// Fails a WebSocket whose peer broke the protocol (RFC 6455 §7.1.7).
    pub(super) fn fail(&mut self, key: ConnKey, error: ws::ProtocolError, now: Now) {
        self.notice(Notice::Violation { key, error });
        self.disconnect(key, protocol::reason(error), now);
        if let Some(session) = self.session(key)
            && matches!(session.phase, Phase::Closing(Some(_)))
        {
            session.phase = Phase::Closing(None); // Its reader is not to be used again.
        }
    }

    /// Answers the peer's close with its own code, behind what was queued before it came; then the
    /// connection is closed by us first (RFC 6455 §7.1.1).
    pub(super) fn answer_close(&mut self, key: ConnKey, code: Option<u16>, now: Now) {
        let Some(phase) = self.take_phase(key) else { return };
        if phase.is_websocket() {
            self.counters.websockets -= 1;
        }
        match phase {
            Phase::Raw(raw) => self.leave(raw.membership, now),
            Phase::Native(native) => self.end_native(key, &native, now),
            Phase::Proxied(_)
            | Phase::Head(_)
            | Phase::Body(_)
            | Phase::Waiting(_)
            | Phase::Unauthenticated(_)
            | Phase::Echo(_)
            | Phase::Closing(_)
            | Phase::Linger(_)
            | Phase::Finishing
            | Phase::Gone => {}
        }
        self.note_ending(key, Disconnect::Normal, code.unwrap_or(0));
        self.push_answer(key, |out| match code {
            Some(code) => ws::push_close(out, code, ""),
            None => ws::push_frame(out, ws::Opcode::Close, &[]),
        });
        self.begin_phase(key, Phase::Finishing, now);
    }

    /// Lets what is queued go out, then closes.
    pub(super) fn finish(&mut self, key: ConnKey, reason: Disconnect, now: Now) {
        let Some(phase) = self.take_phase(key) else { return };
        if matches!(phase, Phase::Gone) {
            return;
        }
        self.note_ending(key, reason, 0);
        self.begin_phase(key, Phase::Finishing, now);
        self.settle_if_flushed(key, now);
    }

    /// After a response that ends the connection: the peer gets time to read it (RFC 9112 §9.6).
    pub(super) fn linger(&mut self, key: ConnKey, now: Now) {
        if self.take_phase(key).is_none() {
            return;
        }
        self.note_ending(key, Disconnect::Http, 0);
        self.begin_phase(key, Phase::Linger(LINGER_BYTES_MAX), now);
    }

    /// Ends a connection at once: it leaves its room, its outbox is given back, its socket is to
    /// be dropped.
    pub(super) fn close_now(&mut self, key: ConnKey, reason: Disconnect, now: Now) {
        let Some(phase) = self.take_phase(key) else { return };
        match phase {
            Phase::Gone => return, // Its close is under way.
            Phase::Raw(raw) => {
                self.counters.websockets -= 1;
                self.leave(raw.membership, now);
            }
            Phase::Native(native) => {
                self.counters.websockets -= 1;
                self.end_native(key, &native, now);
            }
            Phase::Unauthenticated(_) | Phase::Echo(_) => self.counters.websockets -= 1,
            Phase::Closing(_) | Phase::Linger(_) | Phase::Finishing => {}
            Phase::Proxied(_) | Phase::Head(_) | Phase::Body(_) | Phase::Waiting(_) => {}
        }
        self.end(key, reason);
    }

    /// What all endings have in common, once the phase has been taken out.
    fn end(&mut self, key: ConnKey, reason: Disconnect) {
        self.note_ending(key, reason, 0);
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        let queued = session.outbox.bytes() as u64;
        session.outbox.clear(&mut self.nodes, &mut self.buffers);
        self.counters.outbox_bytes -= queued;
        if let Some(unread) = session.unread.take() {
            self.counters.spill_bytes -= unread.bytes.capacity() as u64;
        }
        let (reason, code) = (session.reason, session.close_code);
        self.timers.clear(key.index);
        if let Some(count) = self.counters.connections_closed.get_mut(reason.index()) {
            *count += 1;
        }
        let code = (code != 0).then_some(code);
        self.actions.push_back(Action::Close { key, reason, code });
    }

    /// Keeps the first reason for an ending.
    fn note_ending(&mut self, key: ConnKey, reason: Disconnect, code: u16) {
        let Some(session) = self.session(key) else { return };
        if session.reason == Disconnect::Io {
            session.reason = reason;
        }
        if session.close_code == 0 {
            session.close_code = code;
        }
    }

    /// Gives back what is queued, but for the rest of a frame that has been begun.
    pub(super) fn drop_queued(&mut self, key: ConnKey) {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        let before = session.outbox.bytes() as u64;
        session.outbox.keep_begun(&mut self.nodes, &mut self.buffers);
        self.counters.outbox_bytes -= before - session.outbox.bytes() as u64;
        self.copy_out(key); // A peer that stalls would else keep the batch until its close is over.
    }

    /// Takes a member out of its room, here and at its home.
    pub(super) fn leave(&mut self, membership: Membership, now: Now) {
        // A pending join is answered with a leave when its reply finds the key stale.
        let Membership::Joined(place) = membership else { return };
        if let Some((room, encoding)) = self.leave_table(place) {
            self.tell_leave(room, encoding, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::deadlines::{DRAIN_LEAD_MS, DRAIN_SPREAD_PER_CONN_MS};
    use super::super::rig::Rig;
    use super::super::shard::Action;
    use crate::broker::{BatchOptions, Disconnect, RoomOptions};
    use crate::ws::{Opcode, push_masked_frame};

    #[test]
    fn who_is_closed_while_it_waits_for_an_answer_is_read_again() {
        let mut rig = Rig::new(RoomOptions::default());
        let key = rig.ask_for("/ws");
        let mut sent = Vec::new();
        for request in [
            r#"{"type":"join-room","room":"a"}"#,
            r#"{"type":"room-message","room":"a","content":1}"#,
        ] {
            push_masked_frame(&mut sent, Opcode::Text, request.as_bytes(), [1, 2, 3, 4]);
        }
        push_masked_frame(&mut sent, Opcode::Close, &4101_u16.to_be_bytes(), [1, 2, 3, 4]);
        rig.shard.handle_bytes(key, &mut sent, rig.now);
        rig.shard.disconnect(key, Disconnect::SlowConsumer, rig.now);
        rig.shard.end_tick(rig.now);
        rig.read_all(key);
        let ends: Vec<Action> = std::iter::from_fn(|| rig.shard.poll_action()).collect();
        assert!(matches!(ends[..], [.., Action::Shutdown(_) | Action::Close { .. }]), "{ends:?}");
    }

    #[test]
    fn what_waits_for_a_batch_as_a_drain_begins_comes_before_the_close() {
        let batch = BatchOptions { messages_max: 9, interval_ms: 10_000 };
        let mut rig = Rig::new(RoomOptions { batch, ..RoomOptions::default() });
        let key = rig.ask_for("/ws");
        let mut sent = Vec::new();
        for request in [
            r#"{"type":"hello","batch":true}"#,
            r#"{"type":"join-room","room":"a"}"#,
            r#"{"type":"room-message","room":"a","content":1}"#,
        ] {
            push_masked_frame(&mut sent, Opcode::Text, request.as_bytes(), [1, 2, 3, 4]);
        }
        let mut told = String::new();
        let mut tick = |rig: &mut Rig| {
            rig.shard.handle_deadlines(rig.now);
            rig.shard.end_tick(rig.now);
            told.push_str(&String::from_utf8_lossy(&rig.read_all(key)));
            told.clone()
        };
        rig.shard.handle_bytes(key, &mut sent, rig.now);
        tick(&mut rig);
        assert!(!tick(&mut rig).contains("message-batch"));
        rig.shard.handle_drain(rig.now);
        assert!(tick(&mut rig).contains("message-batch"));
        rig.now = rig.now.plus_ms(DRAIN_LEAD_MS + DRAIN_SPREAD_PER_CONN_MS);
        let told = tick(&mut rig);
        assert!(told.find("message-batch") < told.find("advice"), "{told}");
    }

    #[test]
    fn who_has_not_asked_yet_when_a_drain_begins_is_told() {
        let mut rig = Rig::new(RoomOptions::default());
        let key = rig.open();
        rig.shard.handle_drain(rig.now);
        assert!(rig.read_all(key).starts_with(b"HTTP/1.1 503 "));
        rig.shard.handle_eof(key, rig.now);
        while rig.shard.poll_action().is_some() {}
        assert!(rig.shard.is_drained());
    }
}
