//! What native connections ask for: done here where the answer is at hand, and sent to a home where
//! it is not.
//!
//! Not here: what homes do (`answers`), records (`records`). Invariant: a request gets one answer,
//! or none where the protocol has none.

use super::asks::{Asked, Join, What, Words};
use super::batch::{Say, Span, Wire};
use super::hash::home_of;
use super::joined::{Membership, PendingJoin, Standing};
use super::members::{Place, RoomMembers};
use super::native::{Go, Native};
use super::session::Pause;
use super::shard::Shard;
use crate::auth::{Access, Grant, Ungranted};
use crate::broker::{
    Compression, ConnKey, Deflate, Disconnect, Encoding, ErrorCode, LoopId, Now, PayloadKind,
    Position, RoomHandle, RoomName,
};
use crate::limits::{HISTORY_PAGE_MESSAGES, LIST_ENTRIES, PAGES_IN_FLIGHT_MAX};
use crate::protocol::json::{self, Ask, ErrorReply, Request, RequestId};
use std::sync::Arc;

const EMPTY: Span = Span { start: 0, end: 0 };

/// How a connection stands to a room.
#[derive(Clone, Copy, Debug)]
enum Stands {
    Apart,
    Pending,
    Joined { place: Place, room: RoomHandle, echo: bool, may_publish: bool },
}

/// What a connection publishes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) kind: PayloadKind,
    pub(super) payload: &'a [u8],
    pub(super) key: &'a str,
    pub(super) dedupe: &'a str,
}

impl Shard {
    pub(super) fn handle_request(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        request: Request<'_>,
        now: Now,
    ) -> Go {
        let id = request.id;
        if has_long_answer(&request.ask) && native.in_flight >= PAGES_IN_FLIGHT_MAX {
            return Go::Wait { pause: Pause::Answer, from: 0 };
        }
        match request.ask {
            Ask::Publish { room, content, key: conflate_by, dedupe } => {
                let said = Said {
                    kind: PayloadKind::Json,
                    payload: content.as_bytes(),
                    key: conflate_by.as_deref().unwrap_or_default(),
                    dedupe: dedupe.as_deref().unwrap_or_default(),
                };
                self.say_in(key, native, (&room, id), &said, now)
            }
            Ask::Join { room, since, history, presence, echo } => {
                let wish = Wish { since, history, presence, echo, by: By::Client };
                self.join_native(key, native, (&room, id), wish, now)
            }
            Ask::Leave { room } => self.leave_native(key, native, (&room, id), now),
            Ask::Typing { .. }
            | Ask::Receipt { .. }
            | Ask::Members { .. }
            | Ask::History { .. }
            | Ask::Create { .. }
            | Ask::Room { .. } => self.ask_home(key, native, id, request.ask, now),
            Ask::Hello(hello) => self.handle_hello(key, native, id, &hello, now),
            Ask::Ping => {
                self.answer_now(key, |out| json::push_pong(out, id));
                Go::On
            }
            Ask::Heartbeat => {
                self.take_heartbeat(key, native, id);
                Go::On
            }
            Ask::Auth { .. } if native.access.token.is_none() => {
                let (code, message) =
                    (ErrorCode::Unauthorized, "no keys for tokens are configured");
                self.answer_now(key, |out| json::push_auth_failed(out, id, code, message));
                Go::End(Disconnect::Unauthorized)
            }
            Ask::Refresh { .. } if native.access.token.is_none() => {
                let message = "the connection has no token to refresh";
                self.answer_error(key, &plain_error(ErrorCode::Unauthorized, message, id));
                Go::On
            }
            Ask::Auth { token } | Ask::Refresh { token } => {
                self.refresh(key, native, (&token, id), now)
            }
            Ask::Direct { .. }
            | Ask::Broadcast { .. }
            | Ask::Presence { .. }
            | Ask::Rooms { .. }
            | Ask::OnlineUsers { .. } => self.handle_people(key, native, id, request.ask, now),
        }
    }

    /// Sends a request to the home of its room.
    fn ask_home(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        id: Option<RequestId<'_>>,
        ask: Ask<'_>,
        now: Now,
    ) -> Go {
        if let Some((grant, room)) = grant_for(&ask)
            && !native.access.allows(grant, room)
        {
            return self.ungranted(key, grant, (room, id));
        }
        let mut in_room = |name: &str, what: &dyn Fn(RoomHandle) -> (What, bool)| {
            self.ask_room(key, native, (name, id), now, what)
        };
        match ask {
            Ask::Typing { room, is_typing } => {
                in_room(&room, &|room| (What::Typing { room, is_typing }, false))
            }
            Ask::Receipt { room, seq, status } => {
                in_room(&room, &|room| (What::Receipt { room, seq, status }, false))
            }
            Ask::Members { room, limit, after } => in_room(&room, &|room| {
                let after = after.as_deref().map(Into::into);
                (What::Members { room, after, limit: limit.unwrap_or(LIST_ENTRIES) }, true)
            }),
            Ask::History { room, limit, before, since } => in_room(&room, &|room| {
                let limit = limit.unwrap_or(HISTORY_PAGE_MESSAGES);
                (What::History { room, limit, before, since }, true)
            }),
            Ask::Create { room, options } => {
                self.ask_name(key, native, (&room, id), now, |name, hash| What::Create {
                    name,
                    hash,
                    options,
                })
            }
            Ask::Room { room } => {
                self.ask_name(key, native, (&room, id), now, |name, hash| What::Info { name, hash })
            }
            Ask::Hello(_)
            | Ask::Auth { .. }
            | Ask::Refresh { .. }
            | Ask::Join { .. }
            | Ask::Leave { .. }
            | Ask::Publish { .. }
            | Ask::Direct { .. }
            | Ask::Broadcast { .. }
            | Ask::Presence { .. }
            | Ask::Rooms { .. }
            | Ask::OnlineUsers { .. }
            | Ask::Ping
            | Ask::Heartbeat => {
                debug_assert!(false, "it is about no room's home");
                Go::On
            }
        }
    }

    /// Publishes in a room that the connection is in.
    pub(super) fn say_in(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        (name, id): (&str, Option<RequestId<'_>>),
        said: &Said<'_>,
        now: Now,
    ) -> Go {
        let (place, room, echo, may_publish) = match self.stands(native, name) {
            Stands::Apart => return self.not_in_room(key, name, id),
            Stands::Pending => return Go::Wait { pause: Pause::Answer, from: 0 },
            Stands::Joined { place, room, echo, may_publish } => (place, room, echo, may_publish),
        };
        if !may_publish {
            return self.ungranted(key, Grant::Publish, (name, id));
        }
        if !self.may_send_to(room.home) {
            return Go::Wait { pause: Pause::Credit(room.home), from: 0 };
        }
        let options = self.members.get(place.room).map(|room| &room.options);
        let content_bytes_max = options.map_or(0, |options| options.content_bytes_max);
        if said.payload.len() > content_bytes_max {
            let message = format!("content: it may have {content_bytes_max} bytes here");
            let error = ErrorReply {
                field: Some("content"),
                room: Some(name),
                ..plain_error(ErrorCode::TooLong, &message, id)
            };
            self.answer_error(key, &error);
            return Go::On;
        }
        let id = id.map_or("", RequestId::json);
        self.say(key, native, (room, echo), (Wire::Json, id), said, now);
        Go::On
    }

    /// Sends a message to the home of a room that the connection is in.
    pub(super) fn say(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        (room, echo): (RoomHandle, bool),
        (wire, id): (Wire, &str),
        said: &Said<'_>,
        now: Now,
    ) {
        // Who does not get its own messages knows by their acks which those are.
        let wants_ack = !echo
            || match wire {
                Wire::Json => !id.is_empty(),
                Wire::Binary(number) => number.is_some(),
            };
        native.in_flight += u32::from(wants_ack);
        let words =
            Words { sender: &native.sender, id: id.as_bytes(), dedupe: said.dedupe.as_bytes() };
        let mark = match said.key {
            "" => 0,
            by => u32::try_from(self.room_key.name(by) >> 32).unwrap_or(0) | 1,
        };
        let say = Say {
            room,
            key,
            kind: said.kind,
            payload: EMPTY,
            words: EMPTY,
            lengths: words.lengths(),
            mark,
            tag: native.tag,
            echo,
            wants_ack,
            wire,
        };
        self.submit_say(say, &words, said.payload, now);
    }

    pub(super) fn join_native(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        (name, id): (&str, Option<RequestId<'_>>),
        mut wish: Wish,
        now: Now,
    ) -> Go {
        let Ok(room) = RoomName::parse(name) else {
            debug_assert!(false, "names are checked when they are decoded");
            return Go::On;
        };
        if wish.by == By::Client
            && let Some(missing) = missing_grant(&native.access, name, &wish)
        {
            return self.ungranted(key, missing, (name, id));
        }
        let hash = self.room_key.name(name);
        let home = home_of(hash, self.loops);
        let stands = self.stands(native, name);
        if matches!(stands, Stands::Pending) {
            return Go::Wait { pause: Pause::Answer, from: 0 };
        }
        if wish.by == By::Client && !self.may_send_to(home) {
            return Go::Wait { pause: Pause::Credit(home), from: 0 };
        }
        let encoding = self.encoding_in(key, native, name);
        let ticket = match stands {
            Stands::Joined { place, echo, .. } => {
                wish.echo = wish.echo.or(Some(echo)); // What it does not name stays.
                if let Some(membership) = native.rooms.in_room_mut(hash, place.room) {
                    membership.echo = wish.echo.unwrap_or(echo);
                    membership.presence = wish.presence.unwrap_or(membership.presence);
                }
                None
            }
            Stands::Apart | Stands::Pending => {
                let rooms_max = self.settings.native.rooms_per_conn_max;
                if native.rooms.len().saturating_sub(self.watched(native)) >= rooms_max {
                    let message =
                        format!("a connection may be in {rooms_max} rooms; leave one first");
                    let error = ErrorReply {
                        room: Some(name),
                        ..plain_error(ErrorCode::TooManyRooms, &message, id)
                    };
                    self.answer_error(key, &error);
                    return Go::On;
                }
                let ticket = native.next_ticket();
                native.rooms.push(Membership {
                    hash,
                    standing: Standing::Pending(Box::new(PendingJoin {
                        name: room.clone(),
                        ticket,
                    })),
                    echo: wish.echo.unwrap_or(true),
                    presence: wish.presence.unwrap_or(false),
                    may_publish: native.access.allows(Grant::Publish, name),
                    proven: 0,
                    marked: 0,
                });
                Some(ticket)
            }
        };
        let join = Join {
            name: room.clone(),
            hash,
            encoding,
            ticket,
            since: wish.since,
            history: wish.history.unwrap_or(0),
            presence: wish.presence.unwrap_or(false),
            echo: wish.echo,
            may_read: native.access.allows(Grant::History, name),
            may_create: wish.by == By::Us || native.access.allows(Grant::Create, room.as_str()),
        };
        self.ask(key, native, (home, id), (What::Join(join), true), now);
        Go::On
    }

    fn leave_native(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        (name, id): (&str, Option<RequestId<'_>>),
        now: Now,
    ) -> Go {
        let place = match self.stands(native, name) {
            Stands::Apart => return self.not_in_room(key, name, id),
            Stands::Pending => return Go::Wait { pause: Pause::Answer, from: 0 },
            Stands::Joined { place, .. } => place,
        };
        let hash = self.room_key.name(name);
        let is_it = |membership: &Membership| match &membership.standing {
            Standing::Joined(other) => other.room == place.room,
            Standing::Pending(_) => false,
        };
        native.rooms.remove(hash, is_it);
        if let Some((room, encoding)) = self.leave_table(place) {
            let what = What::Leave { room, encoding, answer: true };
            self.ask(key, native, (room.home, id), (what, true), now);
        }
        Go::On
    }

    /// Leaves the rooms that a connection may not be in any more, and looks anew where it may
    /// publish.
    pub(super) fn leave_ungranted(&mut self, key: ConnKey, native: &mut Native, now: Now) {
        let mut ungranted = Vec::new();
        for membership in native.rooms.iter_mut() {
            let Standing::Joined(place) = &membership.standing else { continue };
            let Some(room) = self.members.get(place.room) else { continue };
            let name = room.name.as_str();
            membership.may_publish = native.access.allows(Grant::Publish, name);
            if !room.name.is_internal() && !self.may_be_in(&native.access, &room.name) {
                ungranted.push(room.name.clone());
            }
        }
        for name in ungranted {
            let answered = self.ungranted(key, Grant::Join, (name.as_str(), None));
            debug_assert_eq!(answered, Go::On);
            self.leave_native(key, native, (name.as_str(), None), now);
        }
    }

    /// Whether a connection may be in a room: if it is granted, or if it is put there.
    pub(super) fn may_be_in(&self, access: &Access, name: &RoomName) -> bool {
        access.allows(Grant::Join, name.as_str()) || self.is_put_in(access, name)
    }

    /// Whether a connection is in a room from the start.
    pub(super) fn is_put_in(&self, access: &Access, name: &RoomName) -> bool {
        access.autojoin.contains(name) || self.settings.native.default_rooms.contains(name)
    }

    /// Refuses what is not granted.
    pub(super) fn ungranted(
        &mut self,
        key: ConnKey,
        grant: Grant,
        (room, id): (&str, Option<RequestId<'_>>),
    ) -> Go {
        self.counters.requests_forbidden += 1;
        let message = Ungranted { grant }.in_room(room);
        let error = plain_error(ErrorCode::Forbidden, &message, id);
        self.answer_error(key, &ErrorReply { room: Some(room), ..error });
        Go::On
    }

    /// Asks the home of a room that the connection is in.
    fn ask_room(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        (name, id): (&str, Option<RequestId<'_>>),
        now: Now,
        what: &dyn Fn(RoomHandle) -> (What, bool),
    ) -> Go {
        let room = match self.stands(native, name) {
            Stands::Apart => return self.not_in_room(key, name, id),
            Stands::Pending => return Go::Wait { pause: Pause::Answer, from: 0 },
            Stands::Joined { room, .. } => room,
        };
        if !self.may_send_to(room.home) {
            return Go::Wait { pause: Pause::Credit(room.home), from: 0 };
        }
        self.ask(key, native, (room.home, id), what(room), now);
        Go::On
    }

    /// Asks the home of a room, whether or not the connection is in it.
    fn ask_name(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        (name, id): (&str, Option<RequestId<'_>>),
        now: Now,
        what: impl FnOnce(RoomName, u64) -> What,
    ) -> Go {
        let hash = self.room_key.name(name);
        let home = home_of(hash, self.loops);
        if !self.may_send_to(home) {
            return Go::Wait { pause: Pause::Credit(home), from: 0 };
        }
        if let Ok(name) = RoomName::parse(name) {
            self.ask(key, native, (home, id), (what(name, hash), true), now);
        }
        Go::On
    }

    /// Sends a request to a home; `answered` says whether an answer comes.
    pub(super) fn ask(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        (home, id): (LoopId, Option<RequestId<'_>>),
        (what, answered): (What, bool),
        now: Now,
    ) {
        native.in_flight += u32::from(answered);
        let asked = Asked {
            key,
            id: id.map(|id| id.json().into()),
            user: Arc::clone(&native.user),
            tag: native.tag,
            what,
        };
        self.submit_ask(home, asked, now);
    }

    fn stands(&self, native: &Native, name: &str) -> Stands {
        let hash = self.room_key.name(name);
        let is_it = |membership: &Membership| match &membership.standing {
            Standing::Pending(pending) => pending.name.as_str() == name,
            Standing::Joined(place) => {
                let room = self.members.get(place.room);
                room.is_some_and(|room| room.name.as_str() == name)
            }
        };
        let Some(membership) = native.rooms.find(hash, is_it) else { return Stands::Apart };
        match &membership.standing {
            Standing::Pending(_) => Stands::Pending,
            Standing::Joined(place) => match self.members.get(place.room) {
                Some(RoomMembers { handle, .. }) => Stands::Joined {
                    place: *place,
                    room: *handle,
                    echo: membership.echo,
                    may_publish: membership.may_publish,
                },
                None => Stands::Apart,
            },
        }
    }

    /// Takes a native member out of its room's list here; says which room it was.
    pub(super) fn leave_table(&mut self, place: Place) -> Option<(RoomHandle, Encoding)> {
        let hash = self.members.get(place.room).map_or(0, |room| room.hash);
        let left = self.members.leave(place)?;
        self.counters.leaves += 1;
        if let Some(index) = left.moved {
            self.note_moved(index, hash, place);
        }
        Some((left.room, left.encoding))
    }

    /// The encoding in which a connection gets a room that it joins now.
    pub(super) fn encoding_in(&self, key: ConnKey, native: &Native, name: &str) -> Encoding {
        let session = self.sessions.get(key.index, key.generation);
        let encoding = native.encoding(session.map_or(Encoding::RAW, |session| session.encoding));
        match self.settings.policies.options(name).compression {
            Compression::Off => Encoding { deflate: Deflate::Off, ..encoding },
            Compression::Shared | Compression::Private => encoding,
        }
    }

    fn not_in_room(&mut self, key: ConnKey, name: &str, id: Option<RequestId<'_>>) -> Go {
        let message = "you are not in that room; join-room comes first";
        let error =
            ErrorReply { room: Some(name), ..plain_error(ErrorCode::NotInRoom, message, id) };
        self.answer_error(key, &error);
        Go::On
    }
}

/// How a connection wants to join.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wish {
    pub(super) since: Option<Position>,
    pub(super) history: Option<u32>,
    pub(super) presence: Option<bool>,
    pub(super) echo: Option<bool>,
    pub(super) by: By,
}

/// Who wants a connection to join.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum By {
    /// Its client, as far as it may.
    #[default]
    Client,
    /// The settings, or its token. It goes without credit: nobody is there to ask again.
    Us,
}

/// What a join needs and has not been granted.
fn missing_grant(access: &Access, room: &str, wish: &Wish) -> Option<Grant> {
    let asks = [
        (Grant::Join, true),
        (Grant::History, wish.since.is_some() || wish.history.is_some_and(|count| count > 0)),
        (Grant::Presence, wish.presence == Some(true)),
    ];
    let mut missing =
        asks.into_iter().filter(|(grant, asked)| *asked && !access.allows(*grant, room));
    missing.next().map(|(grant, _)| grant)
}

/// What a request about one room needs to be granted, beside being in it.
fn grant_for<'a>(ask: &'a Ask<'_>) -> Option<(Grant, &'a str)> {
    match ask {
        Ask::Typing { room, .. } | Ask::Receipt { room, .. } => Some((Grant::Publish, room)),
        Ask::Members { room, .. } => Some((Grant::Presence, room)),
        Ask::History { room, .. } => Some((Grant::History, room)),
        Ask::Create { room, .. } => Some((Grant::Create, room)),
        Ask::Room { room } => Some((Grant::Join, room)),
        Ask::Hello(_)
        | Ask::Auth { .. }
        | Ask::Refresh { .. }
        | Ask::Join { .. }
        | Ask::Leave { .. }
        | Ask::Publish { .. }
        | Ask::Direct { .. }
        | Ask::Broadcast { .. }
        | Ask::Presence { .. }
        | Ask::Rooms { .. }
        | Ask::OnlineUsers { .. }
        | Ask::Ping
        | Ask::Heartbeat => None,
    }
}

/// Whether the answer may be much longer than the request: what one connection has of those on the
/// way is what it can make the broker hold.
const fn has_long_answer(ask: &Ask<'_>) -> bool {
    match ask {
        Ask::Join { since, history, presence, .. } => {
            since.is_some() || history.is_some() || matches!(presence, Some(true))
        }
        Ask::Members { .. } | Ask::History { .. } | Ask::Rooms { .. } | Ask::OnlineUsers { .. } => {
            true
        }
        Ask::Hello(_)
        | Ask::Auth { .. }
        | Ask::Refresh { .. }
        | Ask::Leave { .. }
        | Ask::Create { .. }
        | Ask::Publish { .. }
        | Ask::Direct { .. }
        | Ask::Broadcast { .. }
        | Ask::Typing { .. }
        | Ask::Receipt { .. }
        | Ask::Presence { .. }
        | Ask::Room { .. }
        | Ask::Ping
        | Ask::Heartbeat => false,
    }
}

/// An error that is about no field and no room.
pub(super) const fn plain_error<'a>(
    code: ErrorCode,
    message: &'a str,
    id: Option<RequestId<'a>>,
) -> ErrorReply<'a> {
    ErrorReply { code, message, field: None, room: None, id, retry_after_ms: None }
}
