//! Bytes from a socket, handed to whatever phase the connection is in.
//!
//! Not here: what a request or a frame means (`requests`, `websocket`). Invariant: input is
//! consumed in order; what a paused connection can't take yet is kept, at most one receive buffer.

use super::session::{Pause, Phase, Session, Unread};
use super::shard::{Action, Appetite, Shard};
use super::timers::tick_of;
use crate::broker::{ConnKey, Disconnect, Now};
use crate::limits::LINGER_BYTES_MAX;

impl Shard {
    /// Handles what was read from a connection. The bytes may be changed in place.
    pub fn handle_bytes(&mut self, key: ConnKey, input: &mut [u8], now: Now) -> Appetite {
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else {
            return Appetite::Pause;
        };
        session.heard = tick_of(now.mono_ms);
        session.pings = 0;
        self.counters.bytes_in += input.len() as u64;
        let (consumed, appetite) = self.ingest(key, input, now);
        self.keep(key, input.get(consumed..).unwrap_or_default());
        appetite
    }

    /// Handles the end of what the peer sends.
    pub fn handle_eof(&mut self, key: ConnKey, now: Now) {
        let Some(session) = self.session(key) else { return };
        session.eof = true;
        if session.unread.is_some() || session.holds_input() {
            return; // The end comes after what was not handled yet.
        }
        self.apply_eof(key, now);
    }

    /// Handles a failed read or write: the connection is gone.
    pub fn handle_error(&mut self, key: ConnKey, now: Now) {
        self.close_now(key, Disconnect::Io, now);
    }

    /// Goes on with connections whose pause is over, as far as their kept input lets them.
    pub(super) fn go_on(&mut self, now: Now) {
        for _ in 0..self.resumed.len() {
            let Some(key) = self.resumed.pop_front() else { break };
            let goes_on = |session: &&mut Session| {
                session.pause == Pause::No && !matches!(session.phase, Phase::Gone)
            };
            let Some(session) = self.session(key).filter(goes_on) else { continue };
            if let Some(mut unread) = session.unread.take() {
                let input = unread.bytes.get_mut(unread.from..).unwrap_or_default();
                let (consumed, appetite) = self.ingest(key, input, now);
                if appetite == Appetite::Pause {
                    unread.from += consumed;
                    self.put_back(key, unread);
                    continue;
                }
                self.counters.spill_bytes -= unread.bytes.capacity() as u64;
            } else if self.ingest(key, &mut [], now).1 == Appetite::Pause {
                continue;
            }
            let eof = self.session(key).is_some_and(|session| session.eof);
            if eof { self.apply_eof(key, now) } else { self.actions.push_back(Action::Resume(key)) }
        }
    }

    /// Handles input as far as the connection may go; says how far that was.
    pub(super) fn ingest(&mut self, key: ConnKey, input: &mut [u8], now: Now) -> (usize, Appetite) {
        let mut at = 0;
        loop {
            let Some(session) = self.session(key) else { return (at, Appetite::Pause) };
            let rest = input.get_mut(at..).unwrap_or_default();
            if session.pause != Pause::No {
                return (at, Appetite::Pause);
            }
            if rest.is_empty() && !session.holds_something() {
                return (at, Appetite::More);
            }
            let Some(phase) = self.take_phase(key) else { return (at, Appetite::Pause) };
            at += match phase {
                Phase::Proxied(reader) => self.read_proxied(key, reader, rest, now),
                Phase::Head(reader) => self.read_head(key, reader, rest, now),
                Phase::Body(body) => self.read_body(key, body, rest, now),
                Phase::Raw(raw) => self.read_raw(key, raw, rest, now),
                Phase::Unauthenticated(stranger) => {
                    self.read_unauthenticated(key, stranger, rest, now)
                }
                Phase::Native(native) => self.read_native(key, native, rest, now),
                Phase::Echo(reader) => self.read_echo(key, reader, rest, now),
                Phase::Closing(reader) => self.read_closing(key, reader, rest, now),
                Phase::Linger(left) => self.discard(key, left, rest.len(), now),
                Phase::Waiting(exchange) => {
                    debug_assert!(false, "a request under way pauses its connection");
                    self.put_phase(key, Phase::Waiting(exchange));
                    self.pause(key, Pause::Answer);
                    0
                }
                Phase::Finishing => {
                    self.put_phase(key, Phase::Finishing);
                    rest.len()
                }
                Phase::Gone => return (at, Appetite::Pause),
            };
        }
    }

    /// Keeps what a paused connection could not take.
    fn keep(&mut self, key: ConnKey, rest: &[u8]) {
        let Some(session) = self.session(key) else { return };
        if rest.is_empty() || matches!(session.phase, Phase::Gone) {
            return;
        }
        debug_assert!(session.unread.is_none(), "a paused connection is not read");
        let unread = Box::new(Unread { bytes: rest.to_vec(), from: 0 });
        let held = unread.bytes.capacity() as u64;
        session.unread = Some(unread);
        self.counters.spill_bytes += held;
    }

    /// Keeps what a connection that was paused again could not take, where it is.
    fn put_back(&mut self, key: ConnKey, unread: Box<Unread>) {
        let is_done = unread.from >= unread.bytes.len();
        let goes_on = |session: &&mut Session| !is_done && !matches!(session.phase, Phase::Gone);
        let capacity = unread.bytes.capacity() as u64;
        match self.sessions.get_mut(key.index, key.generation).filter(goes_on) {
            Some(session) => session.unread = Some(unread),
            None => self.counters.spill_bytes -= capacity,
        }
    }

    /// Throws input away after a response that ends the connection, up to a bound.
    fn discard(&mut self, key: ConnKey, left: usize, bytes: usize, now: Now) -> usize {
        debug_assert!(left <= LINGER_BYTES_MAX);
        match left.checked_sub(bytes) {
            Some(left) => self.put_phase(key, Phase::Linger(left)),
            None => {
                self.put_phase(key, Phase::Linger(0));
                self.close_now(key, Disconnect::Http, now);
            }
        }
        bytes
    }

    fn apply_eof(&mut self, key: ConnKey, now: Now) {
        let Some(session) = self.session(key) else { return };
        match &session.phase {
            // The answer still goes out: the peer has only ended its own half.
            Phase::Waiting(_) | Phase::Finishing => {}
            Phase::Body(body) if body.done => {}
            Phase::Proxied(_) | Phase::Head(_) | Phase::Body(_) | Phase::Linger(_) => {
                let queued = !session.outbox.is_empty();
                if queued {
                    self.finish(key, Disconnect::Http, now);
                } else {
                    self.close_now(key, Disconnect::Http, now);
                }
            }
            Phase::Raw(_) | Phase::Unauthenticated(_) | Phase::Native(_) | Phase::Echo(_) => {
                self.close_now(key, Disconnect::Io, now);
            }
            Phase::Closing(_) => {
                let reason = session.reason;
                self.close_now(key, reason, now);
            }
            Phase::Gone => {}
        }
    }
}

impl Session {
    /// Whether something of its input waits that its phase takes up again. What waits for a phase
    /// that is over is nobody's: whoever ends takes nothing up.
    fn holds_something(&self) -> bool {
        match &self.phase {
            Phase::Head(_) => self.holds_head(),
            Phase::Raw(_) => self.holds_message(),
            Phase::Body(body) => body.done,
            Phase::Native(native) => native.held.is_some() || native.has_joins_to_make(),
            Phase::Proxied(_)
            | Phase::Waiting(_)
            | Phase::Unauthenticated(_)
            | Phase::Echo(_)
            | Phase::Closing(_)
            | Phase::Linger(_)
            | Phase::Finishing
            | Phase::Gone => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;
    use crate::broker::RoomOptions;

    #[test]
    fn who_sends_on_after_a_refusal_is_closed_at_the_bound() {
        let mut rig = Rig::new(RoomOptions::default());
        let key = rig.open();
        rig.shard.handle_bytes(key, &mut b"no request\r\n\r\n".to_vec(), rig.now);
        assert!(rig.read_all(key).starts_with(b"HTTP/1.1 400 "));
        rig.shard.handle_bytes(key, &mut vec![0; LINGER_BYTES_MAX], rig.now);
        assert_eq!(rig.shard.poll_action(), Some(Action::Shutdown(key)));
        assert_eq!(rig.shard.poll_action(), None, "the bound is not reached");
        rig.shard.handle_bytes(key, &mut [0], rig.now);
        let close = Action::Close { key, reason: Disconnect::Http, code: None };
        assert_eq!(rig.shard.poll_action(), Some(close));
        assert_eq!(rig.shard.counters().connections, 0);
    }

    #[test]
    fn a_body_without_bytes_is_complete_at_once() {
        let mut rig = Rig::new(RoomOptions::default());
        for length in ["Content-Length: 0\r\n", ""] {
            let key = rig.open();
            let head = format!("POST /v1/rooms/r/messages HTTP/1.1\r\nHost: h\r\n{length}\r\n");
            rig.shard.handle_bytes(key, &mut head.into_bytes(), rig.now);
            rig.shard.end_tick(rig.now);
            assert!(rig.read_all(key).starts_with(b"HTTP/1.1 200 "), "{length}");
        }
    }
}
