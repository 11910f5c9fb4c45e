//! Native connections: what each one's loop knows of it, and its frames taken in.
//!
//! Not here: what a request does (`asking`), what homes answer (`answered`). Invariants: requests
//! are handled in the order in which they came; one that has to wait (for credit, for a room whose
//! join is not answered) waits with its connection, which is not read meanwhile.

use super::asking::plain_error;
use super::joined::Joined;
use super::metering::Toll;
use super::resuming::Resuming;
use super::session::{Pause, Phase};
use super::shard::Shard;
use super::told::json_of;
use crate::auth::Access;
use crate::broker::{ConnKey, Disconnect, Encoding, ErrorCode, Form, Now, SessionId, User};
use crate::limits::REQUESTS_IN_FLIGHT_MAX;
use crate::protocol::json::{self, ErrorReply};
use crate::ws::{self, DataKind, Message, Opcode, ProtocolError, push_frame_with};
use std::sync::Arc;

/// One native connection.
#[derive(Debug)]
pub(crate) struct Native {
    pub(crate) reader: ws::Reader,
    pub(crate) speaks: Speaks,
    pub(crate) user: Arc<User>,
    /// What it was let in with, and so what it may do.
    pub(crate) access: Arc<Access>,
    /// The user as the JSON that goes into each message.
    pub(crate) sender: Box<[u8]>,
    pub(crate) session: SessionId,
    /// Tells its own messages from others.
    pub(crate) tag: u64,
    pub(crate) rooms: Joined,
    /// A message that has to wait.
    pub(crate) held: Option<Box<Held>>,
    /// Requests whose answers are on the way.
    pub(crate) in_flight: u32,
    /// Joins so far.
    pub(crate) tickets: u32,
    /// Those of them that its client did not ask for: rooms in which it is from the start.
    pub(crate) given: u32,
    /// The session that it is taking up.
    pub(crate) resuming: Option<Box<Resuming>>,
    pub(crate) beats: Beats,
    /// It wants the rooms that it joins from now on in batches.
    pub(crate) batch: bool,
    /// It is told who is online.
    pub(crate) watches: bool,
    /// Its token was refreshed: its deadline is to be set again.
    pub(crate) rearm: bool,
}

/// How a native connection writes what it publishes, and gets what others do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaks {
    Json,
    Binary,
}

/// How a native connection is asked for a sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Beats {
    /// By pings.
    Pings,
    /// By messages: its client does not see pings.
    Messages,
    /// The same, and the last one is not answered yet.
    Asked,
}

/// A message that has to wait, handled up to a place.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) kind: DataKind,
    pub(crate) payload: Vec<u8>,
    pub(crate) from: usize,
    /// It was taken from the buckets of who sent it.
    pub(crate) paid: bool,
}

/// What who sends too much is told.
const RATE_LIMITED: &str = "too much was sent in a short time: wait and send it again";

/// What becomes of a connection after a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Go {
    /// The next one may come.
    On,
    /// This one, from that byte on, has to wait.
    Wait { pause: Pause, from: usize },
    /// The connection is to be closed.
    End(Disconnect),
}

/// Why a connection's input is not handled any further.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Pause(Pause),
    End(Disconnect),
    Fail(ProtocolError),
    /// The peer closed, with that code.
    Closed(Option<u16>),
}

impl Go {
    const fn stop(self) -> Option<Stop> {
        match self {
            Self::On => None,
            Self::Wait { pause, .. } => Some(Stop::Pause(pause)),
            Self::End(reason) => Some(Stop::End(reason)),
        }
    }
}

impl Native {
    /// Bytes allocated for what is unfinished.
    pub(crate) fn held_bytes(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.payload.capacity());
        self.reader.held_bytes() + held
    }

    /// Is from now on what a new token says: the same user, who may do other things.
    pub(super) fn become_user(&mut self, access: &Arc<Access>) {
        self.access = Arc::clone(access);
        self.user = Arc::clone(&access.user);
        self.sender = json_of(&access.user).into_boxed_slice();
        for membership in self.rooms.iter_mut() {
            membership.may_publish = false; // Until it is looked at (`leave_ungranted`).
        }
    }

    /// The ticket of one more join.
    pub(super) fn next_ticket(&mut self) -> u32 {
        self.tickets = self.tickets.wrapping_add(1);
        self.tickets
    }

    /// The encoding in which it gets the rooms that it joins from now on.
    pub(super) fn encoding(&self, encoding: Encoding) -> Encoding {
        let form = match (self.speaks, self.batch) {
            (Speaks::Json, false) => Form::Json,
            (Speaks::Json, true) => Form::Batch,
            (Speaks::Binary, _) => Form::Binary,
        };
        Encoding { form, ..encoding }
    }
}

impl Shard {
    /// Handles input of a native connection; returns how much was consumed.
    pub(super) fn read_native(
        &mut self,
        key: ConnKey,
        mut native: Box<Native>,
        input: &mut [u8],
        now: Now,
    ) -> usize {
        let mut at = 0;
        let stop = match native.has_joins_to_make() {
            true => Some(Stop::Pause(self.rejoin(key, &mut native, now))),
            false => self.read_frames(key, &mut native, input, &mut at, now),
        };
        let rearm = std::mem::take(&mut native.rearm);
        self.put_phase(key, Phase::Native(native));
        if rearm {
            self.arm(key);
        }
        match stop {
            None => return at,
            Some(Stop::Pause(pause)) => {
                self.pause(key, pause);
                return at;
            }
            Some(Stop::End(reason)) => self.disconnect(key, reason, now),
            Some(Stop::Fail(error)) => self.fail(key, error, now),
            Some(Stop::Closed(code)) => self.answer_close(key, code, now),
        }
        input.len()
    }

    /// Handles what is held and then frame after frame, up to `at`; says why it stops before the
    /// end of the input.
    fn read_frames(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        input: &mut [u8],
        at: &mut usize,
        now: Now,
    ) -> Option<Stop> {
        if let Some(held) = native.held.take() {
            let message = (held.kind, held.payload.as_slice(), held.from);
            let (go, paid) = self.handle_metered(key, native, message, held.paid, now);
            if let Go::Wait { from, .. } = go {
                native.held = Some(Box::new(Held { from, paid, ..*held }));
            }
            if let Some(stop) = go.stop() {
                return Some(stop);
            }
        }
        let rules = self.rules(key);
        while *at < input.len() {
            if let Some(pause) = self.must_pause(key, native) {
                return Some(Stop::Pause(pause));
            }
            let rest = input.get_mut(*at..).unwrap_or_default();
            let step = match native.reader.read(rest, &rules) {
                Ok(step) => step,
                Err(error) => return Some(Stop::Fail(error)),
            };
            *at += step.consumed;
            let mut go = Go::On;
            match step.message {
                None => break,
                Some(Message::Data { kind, payload }) => {
                    self.counters.messages_in += 1;
                    go = self.take_message(key, native, kind, &payload, now);
                }
                Some(Message::Compressed { kind, payload }) => {
                    self.counters.messages_in += 1;
                    let inflated = self.inflate(key, kind, &payload, |shard, payload| {
                        go = shard.take_message(key, native, kind, payload, now);
                    });
                    if let Err(error) = inflated {
                        return Some(Stop::Fail(error));
                    }
                }
                Some(Message::Close(frame)) => return Some(Stop::Closed(frame.code)),
                Some(Message::Ping(payload)) => self.pong(key, &payload),
                Some(Message::Pong(_)) => {
                    self.counters.pongs_in += 1;
                    prove(native);
                }
            }
            if let Some(stop) = go.stop() {
                return Some(stop);
            }
        }
        None
    }

    /// Whether it has to wait before it is read on: for what it asked for, or until it has taken
    /// what it was sent.
    pub(super) fn must_pause(&mut self, key: ConnKey, native: &Native) -> Option<Pause> {
        if native.in_flight >= REQUESTS_IN_FLIGHT_MAX || native.resuming.is_some() {
            return Some(Pause::Answer);
        }
        self.has_high_water(key).then_some(Pause::Output)
    }

    /// Handles a message, and keeps it if it has to wait.
    fn take_message(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        kind: DataKind,
        payload: &[u8],
        now: Now,
    ) -> Go {
        let (go, paid) = self.handle_metered(key, native, (kind, payload, 0), false, now);
        if let Go::Wait { from, .. } = go {
            native.held = Some(Box::new(Held { kind, payload: payload.to_vec(), from, paid }));
        }
        go
    }

    /// Handles a message once it is paid for; says whether it is. Records are paid for one by one.
    fn handle_metered(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        message: (DataKind, &[u8], usize),
        paid: bool,
        now: Now,
    ) -> (Go, bool) {
        let (kind, payload, from) = message;
        let are_records = kind == DataKind::Binary && native.speaks == Speaks::Binary;
        if !paid && !are_records {
            match self.toll(key, payload.len(), now) {
                Toll::Go => {}
                Toll::Wait => return (Go::Wait { pause: Pause::Answer, from }, false),
                Toll::Refuse { retry_after_ms } => {
                    self.refuse_rate(key, payload, retry_after_ms);
                    return (Go::On, true);
                }
                Toll::Close => return (Go::End(Disconnect::RateLimited), true),
            }
        }
        (self.handle_message(key, native, message, now), true)
    }

    #[cold]
    fn refuse_rate(&mut self, key: ConnKey, payload: &[u8], retry_after_ms: u64) {
        let request = json::decode(payload);
        let id = match &request {
            Ok(request) => request.id,
            Err(mistake) => mistake.id,
        };
        let error = plain_error(ErrorCode::RateLimited, RATE_LIMITED, id);
        self.answer_error(key, &ErrorReply { retry_after_ms: Some(retry_after_ms), ..error });
    }

    fn handle_message(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        (kind, payload, from): (DataKind, &[u8], usize),
        now: Now,
    ) -> Go {
        match (kind, native.speaks) {
            (DataKind::Text, _) => match json::decode(payload) {
                Ok(request) => self.handle_request(key, native, request, now),
                Err(mistake) => {
                    self.answer_error(key, &mistake.reply());
                    Go::On
                }
            },
            (DataKind::Binary, Speaks::Binary) => {
                self.handle_records(key, native, payload, from, now)
            }
            (DataKind::Binary, Speaks::Json) => {
                let message = "requests are JSON in text messages; records in binary ones need the \
                               subprotocol fanfare.v1.bin";
                self.answer_error(
                    key,
                    &ErrorReply {
                        code: ErrorCode::BadJson,
                        message,
                        field: None,
                        room: None,
                        id: None,
                        retry_after_ms: None,
                    },
                );
                Go::On
            }
        }
    }

    /// Answers with one JSON object, at once.
    pub(super) fn answer_now(&mut self, key: ConnKey, write: impl FnOnce(&mut Vec<u8>)) {
        self.push_answer(key, |out| {
            push_frame_with(out, Opcode::Text, write);
        });
    }

    /// Tells of a mistake; the connection is kept.
    pub(super) fn answer_error(&mut self, key: ConnKey, error: &ErrorReply<'_>) {
        self.counters.requests_refused += 1;
        self.answer_now(key, |out| json::push_error(out, error));
    }
}

/// A pong came: what went out before the ping was read.
pub(super) fn prove(native: &mut Native) {
    for membership in native.rooms.iter_mut() {
        membership.proven = membership.proven.max(membership.marked);
    }
}
