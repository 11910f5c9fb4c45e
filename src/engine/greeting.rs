//! The first and the last of a native connection: who it is, what it is told, what it agrees on.
//!
//! Not here: requests (`asking`).

use super::asking::{By, Wish};
use super::asks::What;
use super::door::Visitor;
use super::joined::{Joined, Standing};
use super::native::{Beats, Go, Native, Speaks, prove};
use super::session::{Pause, Phase};
use super::shard::Shard;
use crate::auth::Access;
use crate::broker::{ConnKey, Now, Role, SessionId, Status, User};
use crate::limits::REQUEST_ID_BYTES_MAX;
use crate::protocol::json::{self, AdviceReason, Agreed, Hello, Limits, RequestId, Welcome};
use crate::ws;
use std::sync::Arc;

/// The subprotocols of `/ws`; JSON also where none is offered.
pub(super) const SUBPROTOCOLS: &[&str] = &[JSON, BINARY];
/// The one of raw rooms, for clients that have to offer one.
pub(super) const RAW: &str = "fanfare.v1.raw";
const JSON: &str = "fanfare.v1.json";
const BINARY: &str = "fanfare.v1.bin";

/// Sequences of lots: those of the first loop.
const SESSIONS: u64 = 2 << 8;
const SESSIONS_LOW: u64 = 3 << 8;
const TAGS: u64 = 4 << 8;

impl Shard {
    /// Greets a connection that is known, or a guest; waits for the word of any other.
    pub(super) fn open_native_door(
        &mut self,
        key: ConnKey,
        subprotocol: Option<&'static str>,
        visitor: Visitor,
        now: Now,
    ) {
        let access = match visitor {
            Visitor::Known(access) => access,
            Visitor::Guest => {
                let user = User::guest(self.guest_number(self.id, key));
                Arc::new(self.authority.access_of(user))
            }
            Visitor::Unknown => return self.await_token(key, subprotocol, now),
        };
        self.count_websocket(key);
        self.open_native(key, subprotocol, access, ws::Reader::default(), now);
    }

    /// Greets a connection that became a native one, and lets it into the rooms in which it is from
    /// the start.
    pub(super) fn open_native(
        &mut self,
        key: ConnKey,
        subprotocol: Option<&str>,
        access: Arc<Access>,
        reader: ws::Reader,
        now: Now,
    ) {
        let user = Arc::clone(&access.user);
        let speaks = if subprotocol == Some(BINARY) { Speaks::Binary } else { Speaks::Json };
        let mut sender = Vec::new();
        json::push_user(&mut sender, &user);
        self.sessions_drawn += 1;
        let lot =
            |sequence: u64| self.lots.number(sequence + u64::from(self.id.0), self.sessions_drawn);
        let session = u128::from(lot(SESSIONS)) << 64 | u128::from(lot(SESSIONS_LOW));
        let mut native = Box::new(Native {
            reader,
            speaks,
            user,
            access: Arc::clone(&access),
            sender: sender.into_boxed_slice(),
            session: SessionId(session),
            tag: lot(TAGS) | 1,
            rooms: Joined::default(),
            held: None,
            in_flight: 0,
            tickets: 0,
            given: 0,
            resuming: None,
            beats: Beats::Pings,
            batch: false,
            watches: false,
            rearm: false,
        });
        self.counters.natives += 1;
        self.begin_session(key, &native, now);
        self.welcome(key, &native, None, now);
        self.come_online(key, &native, now);
        if let Some(info) = &access.info {
            let home = self.home_of_user(native.user.id());
            let what = What::Status { status: Status::Online, info: Some(info.clone()) };
            self.ask(key, &mut native, (home, None), (what, false), now);
        }
        let settings = Arc::clone(&self.settings);
        for room in settings.native.default_rooms.iter().chain(&access.autojoin) {
            let wish = Wish { by: By::Us, ..Wish::default() };
            self.join_native(key, &mut native, (room.as_str(), None), wish, now);
        }
        native.given = native.tickets;
        let user = Some(access.user.id()).filter(|_| access.user.role() != Role::Guest);
        self.meter_as(key, user, self.address(key));
        self.let_in(key, Some(access));
        self.begin_phase(key, Phase::Native(native), now);
    }

    /// Tells a connection what holds for it.
    pub(super) fn welcome(
        &mut self,
        key: ConnKey,
        native: &Native,
        id: Option<RequestId<'_>>,
        now: Now,
    ) {
        let session = native.session.to_string();
        let welcome = self.welcome_of(native, &session, id, now);
        self.answer_now(key, |out| json::push_welcome(out, &welcome));
    }

    pub(super) fn welcome_of<'a>(
        &self,
        native: &'a Native,
        session: &'a str,
        id: Option<RequestId<'a>>,
        now: Now,
    ) -> Welcome<'a> {
        let settings = &self.settings;
        Welcome {
            id,
            session: self.keeps_sessions().then_some(session),
            version: env!("CARGO_PKG_VERSION"),
            time_ms: now.unix_ms,
            heartbeat_interval_ms: settings.heartbeat_interval_ms,
            heartbeat_timeout_ms: settings.heartbeat_timeout_ms,
            limits: Limits {
                message_bytes: settings.message_bytes_max as u64,
                content_bytes: settings.native.content_bytes_max as u64,
                rooms: settings.native.rooms_per_conn_max as u64,
                request_id_bytes: REQUEST_ID_BYTES_MAX as u64,
            },
            user: Some(json::Identity {
                user: &native.user,
                roles: &native.access.roles,
                expires_ms: native.access.expires_ms(),
            }),
            agreed: Agreed { batch: native.batch, presence: native.watches },
        }
    }

    /// Agrees on what a client asks for.
    pub(super) fn handle_hello(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        id: Option<RequestId<'_>>,
        hello: &Hello<'_>,
        now: Now,
    ) -> Go {
        native.beats = match hello.heartbeat {
            Some(true) => Beats::Messages,
            Some(false) => Beats::Pings,
            None => native.beats,
        };
        if let Some(go) = self.resume(key, native, id, hello, now) {
            return go;
        }
        if let Some(home) = self.watch(key, native, hello.presence, now) {
            return Go::Wait { pause: Pause::Credit(home), from: 0 };
        }
        native.batch = hello.batch.unwrap_or(native.batch);
        self.welcome(key, native, id, now);
        Go::On
    }

    /// What has to be done where a native connection ends.
    pub(super) fn end_native(&mut self, key: ConnKey, native: &Native, now: Now) {
        self.counters.natives -= 1;
        self.end_session(key, native, now);
        self.leave_all(key, native, now);
        self.go_offline(key, native, now);
    }

    /// Tells a native client when to come back.
    pub(super) fn advise(&mut self, key: ConnKey) {
        let window_ms = self.settings.drain_window_ms.max(1);
        let after_ms = 1_000 + self.guest_number(self.id, key) % window_ms; // Spread.
        self.answer_now(key, |out| json::push_advice(out, after_ms, AdviceReason::Drain, &[]));
    }

    /// Asks a native client for a sign of life by a message, if that is how it wants to be asked.
    pub(super) fn ask_by_message(&mut self, key: ConnKey) -> bool {
        let Some(native) = self.native(key) else { return false };
        if native.beats == Beats::Pings {
            return false;
        }
        native.beats = Beats::Asked;
        self.answer_now(key, |out| json::push_heartbeat(out, None));
        true
    }

    /// Takes a sign of life: one that was asked for, or one that asks for the same.
    pub(super) fn take_heartbeat(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        id: Option<RequestId<'_>>,
    ) {
        if native.beats == Beats::Asked && id.is_none() {
            native.beats = Beats::Messages;
            return prove(native);
        }
        self.answer_now(key, |out| json::push_heartbeat(out, id));
    }

    /// Before a ping: if all that was queued went out, the pong will prove that it was read.
    pub(super) fn mark_sent(&mut self, key: ConnKey) {
        let Self { sessions, members, .. } = self;
        let Some(session) = sessions.get_mut(key.index, key.generation) else { return };
        let is_flushed = session.outbox.is_empty();
        let Phase::Native(native) = &mut session.phase else { return };
        for membership in native.rooms.iter_mut().filter(|_| is_flushed) {
            if let Standing::Joined(place) = &membership.standing
                && let Some(room) = members.get(place.room)
            {
                membership.marked = room.last_seq;
            }
        }
    }
}
