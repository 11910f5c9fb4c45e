//! What happens because time passes: time-outs, heartbeats, closes spread over a drain.
//!
//! Activity never touches the wheel: it notes a time on the session, and a deadline that fires too
//! early is set again. Invariant: every connection has exactly one deadline until it is closed.

use super::credit::is_worth_a_batch;
use super::outbox::Content;
use super::session::{Pause, Phase, Session};
use super::shard::Shard;
use super::timers::{TICK_MS, tick_of};
use crate::api;
use crate::broker::{ConnKey, Disconnect, Now};
use crate::http::{RequestError, Response, SendBody};
use crate::limits::{
    BODY_BYTES_PER_SECOND_MIN, HEARTBEAT_PINGS, HELD_BATCH_RETRY_MS, HTTP_IDLE_TIMEOUT_MS,
};
use crate::ws;

/// A drain takes at most this long per connection, however long its window.
pub(super) const DRAIN_SPREAD_PER_CONN_MS: u64 = 1;

/// Native connections are closed so much later: what homes hold back for batches is sent as a drain
/// begins, and has to come first. Of two steps of the wheel, one is whole.
pub(super) const DRAIN_LEAD_MS: u64 = 2 * TICK_MS;

/// What a deadline means for its connection.
enum Verdict {
    /// It came too early: the next one is at that tick.
    Later(u32),
    Ping,
    End(Disconnect),
    /// The request did not come in time.
    TimedOut,
    /// The answer did not come in time.
    Unanswered,
    /// It did not say in time who it is.
    Unknown,
    /// It is one too many of its address.
    Beyond,
}

impl Shard {
    /// Acts on everything that is due.
    pub fn handle_deadlines(&mut self, now: Now) {
        let tick = tick_of(now.mono_ms);
        self.follow_clock(now);
        while let Some(index) = self.timers.poll_due(tick) {
            let Some(generation) = self.sessions.generation_at(index) else { continue };
            self.handle_due(ConnKey { index, generation }, tick, now);
        }
        self.settle_loans(now);
        self.end_absences(now);
        self.homes.handle_due(now);
        self.expire_sessions(now);
        self.counters.rooms_deleted += self.homes.expire(now) as u64;
        self.expire_gathers(now);
    }

    /// Milliseconds until the shard wants another tick; `None` when nothing is due.
    pub fn poll_timeout(&self, now: Now) -> Option<u64> {
        let staged = self.homes.staged_bytes() > 0; // By who was let go on as the tick ended.
        let has_steps = !self.steps.is_empty();
        if staged
            || has_steps
            || !self.resumed.is_empty()
            || !self.actions.is_empty()
            || self.has_dirty()
        {
            return Some(0);
        }
        // What a write left behind (a leave), what stands behind a batch that was taken at last
        // (credit may be all there is), and who waits for this loop's own backlog: all need a tick,
        // and nothing else asks.
        let held = !self.parked.is_empty()
            || self.credits.waiting(self.id) > 0
            || self.refused.iter().any(Option::is_some)
            || self.outgoing.iter().any(|batch| !batch.is_empty())
            || self.owed.iter().any(|owed| is_worth_a_batch(*owed));
        let timer = self.timers.next_due().map(|tick| {
            let ahead = tick.saturating_sub(tick_of(now.mono_ms));
            u64::from(ahead) * TICK_MS + TICK_MS - now.mono_ms % TICK_MS
        });
        let until = |due: u64| due.saturating_sub(now.mono_ms);
        [
            held.then_some(HELD_BATCH_RETRY_MS),
            timer,
            self.homes.next_expiry_ms().map(until),
            self.homes.next_due_ms().map(until),
            self.directory.next_due_ms().map(until),
            self.next_session_expiry_ms().map(until),
            self.gathers.next_deadline_ms().map(until),
            self.lender.next_expiry_ms().map(until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Sets the deadline that the connection's phase asks for. While the process drains, that of a
    /// WebSocket is its turn to be closed, and stays.
    pub(super) fn arm(&mut self, key: ConnKey) {
        let Some(session) = self.sessions.get(key.index, key.generation) else { return };
        if self.draining && session.phase.is_websocket() {
            return;
        }
        let due = self.due(session);
        self.timers.set(key.index, due);
    }

    /// When something is due on the connection, as far as is known now.
    fn due(&self, session: &Session) -> u32 {
        let is_websocket = session.phase.is_websocket();
        let expiry = if is_websocket { self.expiry_due(session) } else { None };
        let rest = session.papers.as_deref().and_then(|papers| papers.rests_until);
        [expiry, rest].into_iter().flatten().fold(self.phase_due(session), u32::min)
    }

    /// When its phase ends by itself, or wants a sign of life.
    fn phase_due(&self, session: &Session) -> u32 {
        let settings = &self.settings;
        let (from, ms) = match &session.phase {
            Phase::Head(reader) if reader.is_idle() && session.served => {
                (session.since, HTTP_IDLE_TIMEOUT_MS)
            }
            Phase::Head(_) if session.is_beyond_address() && !session.holds_head() => {
                (session.since, 0)
            }
            Phase::Proxied(_) | Phase::Head(_) | Phase::Waiting(_) => {
                (session.since, settings.handshake_timeout_ms)
            }
            Phase::Body(body) => {
                let paid = body.reader.received() as u64 * 1000 / BODY_BYTES_PER_SECOND_MIN;
                (session.since, settings.handshake_timeout_ms + paid)
            }
            Phase::Unauthenticated(_) => (session.since, settings.auth_timeout_ms),
            Phase::Raw(_) | Phase::Native(_) | Phase::Echo(_) => {
                let pings = u64::from(session.pings);
                let wait = settings.heartbeat_timeout_ms * pings / u64::from(HEARTBEAT_PINGS);
                (session.heard, settings.heartbeat_interval_ms + wait)
            }
            Phase::Closing(_) | Phase::Linger(_) | Phase::Finishing | Phase::Gone => {
                (session.since, settings.close_timeout_ms)
            }
        };
        from.saturating_add(u32::try_from(ms.div_ceil(TICK_MS)).unwrap_or(u32::MAX / 2))
    }

    fn handle_due(&mut self, key: ConnKey, tick: u32, now: Now) {
        self.leave_idle(key, tick, now);
        match self.verdict(key, tick, now) {
            Verdict::Later(due) => return self.timers.set(key.index, due),
            Verdict::Ping => {
                self.counters.pings_out += 1;
                self.mark_sent(key);
                if !self.ask_by_message(key) {
                    self.push_control(key, Content::Control, |out| {
                        ws::push_frame(out, ws::Opcode::Ping, &[]);
                    });
                }
            }
            Verdict::End(Disconnect::CloseTimeout) => {
                return self.close_now(key, Disconnect::CloseTimeout, now);
            }
            Verdict::End(reason @ (Disconnect::Http | Disconnect::RequestTimeout)) => {
                return self.close_now(key, reason, now);
            }
            Verdict::End(reason) => return self.disconnect(key, reason, now),
            Verdict::Unknown => {
                self.counters.auth_timeouts += 1;
                return self.disconnect(key, Disconnect::Unauthorized, now);
            }
            Verdict::Beyond => {
                return self.refuse(key, &api::beyond_address(), SendBody::Yes, now);
            }
            Verdict::TimedOut => {
                return self.refuse(key, &RequestError::Timeout.response(), SendBody::Yes, now);
            }
            Verdict::Unanswered => {
                let text = "the answer did not come in time; try again";
                return self.refuse(key, &Response::problem(503, text), SendBody::Yes, now);
            }
        }
        self.arm(key);
    }

    fn verdict(&mut self, key: ConnKey, tick: u32, now: Now) -> Verdict {
        let draining = self.draining;
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else {
            return Verdict::End(Disconnect::Internal);
        };
        let is_websocket = session.phase.is_websocket();
        if draining && is_websocket {
            return Verdict::End(Disconnect::Draining);
        }
        self.end_rest(key, tick);
        if is_websocket && self.check_expiry(key, now) {
            return Verdict::End(Disconnect::Unauthorized);
        }
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else {
            return Verdict::End(Disconnect::Internal);
        };
        // The clock stands still while we are the ones who don't listen. Who does not take what it
        // made us send is not one of them.
        let waits_for_us = match session.pause {
            Pause::Credit(_) => true,
            Pause::Answer => session.phase.is_websocket(),
            Pause::No | Pause::Output => false,
        };
        if waits_for_us {
            session.heard = tick;
            session.pings = 0;
            if matches!(session.phase, Phase::Body(_)) {
                session.since = tick;
            }
        }
        let (due, next) = match self.sessions.get(key.index, key.generation) {
            Some(session) => (self.phase_due(session), self.due(session)),
            None => (tick, tick),
        };
        if due > tick {
            // A token that ends now by one clock and not yet by the other is looked at again: that
            // its deadline has come is no silence of the peer's.
            return Verdict::Later(next.max(tick.saturating_add(1)));
        }
        let share_ms = self.settings.heartbeat_timeout_ms / u64::from(HEARTBEAT_PINGS);
        let Some(session) = self.session(key) else { return Verdict::End(Disconnect::Internal) };
        match &session.phase {
            Phase::Head(reader) if reader.is_idle() && session.served => {
                Verdict::End(Disconnect::Http)
            }
            Phase::Head(_) if session.is_beyond_address() => Verdict::Beyond,
            Phase::Proxied(_) => Verdict::End(Disconnect::RequestTimeout),
            Phase::Head(reader) if reader.is_idle() => Verdict::End(Disconnect::RequestTimeout),
            Phase::Head(_) | Phase::Body(_) => Verdict::TimedOut,
            Phase::Waiting(_) => Verdict::Unanswered,
            Phase::Unauthenticated(_) => Verdict::Unknown,
            Phase::Raw(_) | Phase::Native(_) | Phase::Echo(_)
                if session.pings >= HEARTBEAT_PINGS =>
            {
                Verdict::End(Disconnect::NoPong)
            }
            Phase::Raw(_) | Phase::Native(_) | Phase::Echo(_) => {
                // When the process was suspended, every step is due at once. Whoever could not be
                // asked in time still gets all of its time to answer.
                let late = tick.saturating_sub(due);
                if u64::from(late) * TICK_MS > share_ms {
                    session.heard = session.heard.saturating_add(late);
                }
                session.pings += 1;
                Verdict::Ping
            }
            Phase::Closing(_) | Phase::Linger(_) | Phase::Finishing | Phase::Gone => {
                Verdict::End(Disconnect::CloseTimeout)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::super::shard::{Action, Appetite, Progress};
    use super::*;
    use crate::broker::RoomOptions;
    use crate::limits::OUTBOX_HIGH_WATER_BYTES;
    use std::sync::Arc;

    /// When a member is closed for silence, if what its kernel takes of our pings is all there is.
    fn closed_at(answers: bool) -> Option<u64> {
        let mut rig = Rig::new(RoomOptions::default());
        let key = rig.settled(true);
        for _ in 0..1_200 {
            rig.now = rig.now.plus_ms(TICK_MS);
            rig.shard.handle_deadlines(rig.now);
            rig.shard.end_tick(rig.now);
            if !rig.read_all(key).is_empty() && answers {
                let mut pong = Vec::new();
                ws::push_masked_frame(&mut pong, ws::Opcode::Pong, &[], [0; 4]);
                rig.shard.handle_bytes(key, &mut pong, rig.now);
            }
            if let Some(Action::Close { reason: Disconnect::NoPong, .. }) = rig.shard.poll_action()
            {
                return Some(rig.now.mono_ms);
            }
        }
        None
    }

    #[test]
    fn a_dead_peer_is_closed_within_40_s_though_its_kernel_takes_our_pings() {
        let closed = closed_at(false).expect("it is closed");
        assert!((40_000..=40_500).contains(&closed), "{closed} ms");
        assert_eq!(closed_at(true), None, "who answers stays");
    }

    #[test]
    fn who_was_not_asked_while_the_process_stood_still_is_asked_before_it_is_closed() {
        let mut rig = Rig::new(RoomOptions::default());
        let key = rig.settled(true);
        let asleep_ms = 3_600_000;
        rig.now = rig.now.plus_ms(asleep_ms);
        let mut pings = Vec::new();
        for ms in (0..20_000).step_by(100) {
            rig.shard.handle_deadlines(rig.now);
            rig.shard.end_tick(rig.now);
            let sent = rig.read_all(key);
            pings.extend(sent.windows(2).filter(|bytes| *bytes == [0x89, 0]).map(|_| ms));
            if let Some(Action::Close { reason, .. }) = rig.shard.poll_action() {
                assert_eq!(reason, Disconnect::NoPong);
                assert_eq!(pings, [0, 3_400, 6_700], "as at any other time");
                assert_eq!(ms, 10_000);
                return;
            }
            rig.now = rig.now.plus_ms(TICK_MS);
        }
        panic!("who never answers is closed");
    }

    #[test]
    fn who_does_not_take_its_echoes_is_closed_as_silent() {
        let mut rig = Rig::new(RoomOptions::default());
        Arc::make_mut(&mut rig.shard.settings).echo_route = true;
        let key = rig.open();
        let mut input = Vec::new();
        ws::client_request(&mut input, "broker.test", "/echo", &[7; 16], None);
        for _ in 0..2 {
            let payload = vec![0; OUTBOX_HIGH_WATER_BYTES + 1];
            ws::push_masked_frame(&mut input, ws::Opcode::Binary, &payload, [0; 4]);
        }
        assert_eq!(rig.shard.handle_bytes(key, &mut input, rig.now), Appetite::Pause);
        rig.write(key, 0, Progress::Blocked);
        rig.now = rig.now.plus_ms(30_000);
        for _ in 0..12 {
            rig.shard.handle_deadlines(rig.now);
            rig.now = rig.now.plus_ms(1_000);
        }
        let session = rig.shard.session(key).expect("its close waits for its socket");
        assert_eq!(session.reason, Disconnect::NoPong);
    }

    #[test]
    fn a_drain_lets_queued_answers_go_out() {
        let mut rig = Rig::new(RoomOptions::default());
        let key = rig.open();
        let request = b"POST /v1/rooms/r/messages HTTP/1.1\r\nHost: h\r\n\r\n";
        rig.shard.handle_bytes(key, &mut request.to_vec(), rig.now);
        rig.shard.end_tick(rig.now);
        rig.shard.handle_drain(rig.now);
        assert!(rig.read_all(key).starts_with(b"HTTP/1.1 200 "));
        assert!(matches!(rig.shard.poll_action(), Some(Action::Close { .. })));
        assert!(rig.shard.is_drained());
    }
}
