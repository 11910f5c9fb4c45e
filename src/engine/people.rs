//! Requests that are about users and not about one room: words to one user and to everyone, who is
//! there, and lists that span loops.
//!
//! Not here: what the home of a user does (`directory`), how all loops are asked (`gather`).

use super::asking::plain_error;
use super::asks::{Asked, Tell, Told, What};
use super::batch::Topic;
use super::gather::{Asker, By};
use super::hash::home_of;
use super::joined::{Membership, PendingJoin, Standing};
use super::native::{Go, Native};
use super::session::{Pause, Phase};
use super::shard::Shard;
use super::told::{Notice, json_of};
use crate::auth::{Access, Grant, Ungranted};
use crate::broker::{
    ConnKey, ErrorCode, LoopId, Now, PresenceMode, ReceiptStatus, RoomHandle, RoomName, Status,
    User,
};
use crate::limits::{LIST_ENTRIES, STATUSES_PER_TICK_MAX};
use crate::protocol::json::{self, Ask, ErrorReply, RequestId};
use crate::ws::{Opcode, push_frame_with};
use std::borrow::Cow;
use std::sync::Arc;

/// Stands for no connection: nobody waits for the answer.
const NOBODY: ConnKey = ConnKey { index: u32::MAX, generation: u32::MAX };

impl Shard {
    pub(super) fn handle_people(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        id: Option<RequestId<'_>>,
        ask: Ask<'_>,
        now: Now,
    ) -> Go {
        let limit = |limit: Option<u32>| limit.unwrap_or(LIST_ENTRIES) as usize;
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| text.as_ref().into());
        match ask {
            Ask::Direct { user, content } => {
                self.handle_direct(key, native, id, (&user, content), now)
            }
            Ask::Broadcast { content, echo } => {
                self.handle_broadcast(key, native, id, (content, echo.unwrap_or(true)), now)
            }
            Ask::Presence { status, info } => {
                self.handle_presence(key, native, (status, info), now)
            }
            Ask::Rooms { prefix, limit: most, after } => {
                let prefix = prefix.unwrap_or_default().as_ref().into();
                let access = Arc::clone(&native.access);
                let (after, limit) = (owned(after), limit(most));
                let topic = Topic::Rooms { prefix, after, limit, access };
                self.ask_everywhere(key, native, (id, true), topic, now)
            }
            Ask::OnlineUsers { limit: most, after } => {
                let topic = Topic::Users { after: owned(after), limit: limit(most) };
                self.ask_everywhere(key, native, (id, true), topic, now)
            }
            Ask::Hello(_)
            | Ask::Auth { .. }
            | Ask::Refresh { .. }
            | Ask::Join { .. }
            | Ask::Leave { .. }
            | Ask::Create { .. }
            | Ask::Publish { .. }
            | Ask::Typing { .. }
            | Ask::Receipt { .. }
            | Ask::Room { .. }
            | Ask::Members { .. }
            | Ask::History { .. }
            | Ask::Ping
            | Ask::Heartbeat => {
                debug_assert!(false, "it is about a room, or about the connection");
                Go::On
            }
        }
    }

    fn handle_direct(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        id: Option<RequestId<'_>>,
        (to, content): (&str, &str),
        now: Now,
    ) -> Go {
        let home = self.home_of_user(to);
        if !self.may_send_to(home) {
            return Go::Wait { pause: Pause::Credit(home), from: 0 };
        }
        if !self.check_content(key, id, content) {
            return Go::On;
        }
        let mut text = Vec::new();
        json::push_direct(&mut text, &native.sender, now.unix_ms, content);
        let told = if id.is_some() { Told::Native } else { Told::Nobody };
        let (to, text, notice) = (to.into(), text.into_boxed_slice(), Notice::Kept);
        let what = What::Tell(Tell { to, text, notice, told });
        self.ask(key, native, (home, id), (what, id.is_some()), now);
        Go::On
    }

    fn handle_broadcast(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        id: Option<RequestId<'_>>,
        (content, echo): (&str, bool),
        now: Now,
    ) -> Go {
        if !native.access.grants.is_admin() {
            self.counters.requests_forbidden += 1;
            let message = Ungranted { grant: Grant::Admin }.in_room("");
            self.answer_error(key, &plain_error(ErrorCode::Forbidden, &message, id));
            return Go::On;
        }
        if !self.check_content(key, id, content) {
            return Go::On;
        }
        let frame = admin_message(&native.sender, content.as_bytes(), now);
        let left_out = (!echo).then_some((self.id, key));
        let topic = Topic::Broadcast { frame, left_out };
        self.ask_everywhere(key, native, (id, id.is_some()), topic, now)
    }

    /// Whether content that goes to no room is short enough; if not, that was said.
    fn check_content(&mut self, key: ConnKey, id: Option<RequestId<'_>>, content: &str) -> bool {
        let bytes_max = self.settings.native.content_bytes_max;
        if content.len() <= bytes_max {
            return true;
        }
        let message = format!("content: it may have {bytes_max} bytes here");
        let field = Some("content");
        let error = ErrorReply { field, ..plain_error(ErrorCode::TooLong, &message, id) };
        self.answer_error(key, &error);
        false
    }

    /// Tells the home of the user what it says of being there, and those of its rooms where that is
    /// listed.
    fn handle_presence(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        (status, info): (Status, Option<&str>),
        now: Now,
    ) -> Go {
        if self.statuses > STATUSES_PER_TICK_MAX {
            return Go::Wait { pause: Pause::Credit(self.id), from: 0 };
        }
        let members = &self.members;
        let rooms: Vec<RoomHandle> = native
            .rooms
            .iter()
            .filter_map(|membership| match &membership.standing {
                Standing::Pending(_) => None,
                Standing::Joined(place) => members.get(place.room),
            })
            .filter(|room| match room.options.presence.mode {
                PresenceMode::Off | PresenceMode::Count => false,
                PresenceMode::Diff | PresenceMode::Full => true,
            })
            .map(|room| room.handle)
            .collect();
        let home = self.home_of_user(native.user.id());
        let mut homes = rooms.iter().map(|room| room.home).chain([home]);
        if let Some(home) = homes.find(|home| !self.may_send_to(*home)) {
            return Go::Wait { pause: Pause::Credit(home), from: 0 };
        }
        self.statuses += rooms.len();
        let what = What::Status { status, info: info.map(Into::into) };
        self.ask(key, native, (home, None), (what, false), now);
        for room in rooms {
            let what = What::StatusIn { room, status };
            self.ask(key, native, (room.home, None), (what, false), now);
        }
        Go::On
    }

    /// Asks every loop on behalf of a native connection.
    fn ask_everywhere(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        (id, is_answered): (Option<RequestId<'_>>, bool),
        what: Topic,
        now: Now,
    ) -> Go {
        let id_text = id.map(|id| id.json().into());
        let by = By::Native { id: id_text, is_answered };
        if self.ask_all(Asker { key, by, what }, now) {
            native.in_flight += u32::from(is_answered);
        } else {
            let message = "too many questions to all loops are under way; try again";
            self.answer_error(key, &plain_error(ErrorCode::Unavailable, message, id));
        }
        Go::On
    }

    /// Passes on what became of a message to who sent it. It is the first to go where there is too
    /// much to do.
    pub(super) fn relay_receipt(
        &mut self,
        room: RoomHandle,
        (seq, status): (u64, ReceiptStatus),
        user: &Arc<User>,
        now: Now,
    ) {
        let Some(home) = self.homes.room(room) else { return };
        let sender = home.past.as_ref().and_then(|past| past.history.sender(seq));
        let Some(to) = sender.and_then(json::sender_id) else { return };
        if to == user.id() {
            return;
        }
        let mut text = Vec::new();
        let name = home.name.as_str();
        json::push_receipt(&mut text, name, seq, status, &json_of(user), now.unix_ms);
        let to: Box<str> = to.as_ref().into();
        let user_home = self.home_of_user(&to);
        if !self.may_send_to(user_home) {
            self.counters.volatile_dropped += 1;
            return;
        }
        let (text, notice, told) = (text.into_boxed_slice(), Notice::Volatile, Told::Nobody);
        let what = What::Tell(Tell { to, text, notice, told });
        let asked = Asked { key: NOBODY, id: None, user: Arc::clone(user), tag: 0, what };
        self.submit_ask(user_home, asked, now);
    }

    /// Notes that a connection of its user is there.
    pub(super) fn come_online(&mut self, key: ConnKey, native: &Native, now: Now) {
        self.tell_directory(key, native, What::Online, now);
    }

    /// Notes that it is no longer there.
    pub(super) fn go_offline(&mut self, key: ConnKey, native: &Native, now: Now) {
        self.tell_directory(key, native, What::Offline, now);
    }

    fn tell_directory(&mut self, key: ConnKey, native: &Native, what: What, now: Now) {
        let home = self.home_of_user(native.user.id());
        let asked = Asked { key, id: None, user: Arc::clone(&native.user), tag: 0, what };
        self.submit_ask(home, asked, now);
    }

    /// The loop that knows that user's connections.
    pub(super) fn home_of_user(&self, id: &str) -> LoopId {
        home_of(self.room_key.name(id), self.loops)
    }

    /// Begins or ends to tell a connection who is online. The home without credit for that, if
    /// there is one: then nothing was done.
    pub(super) fn watch(
        &mut self,
        key: ConnKey,
        native: &mut Native,
        wanted: Option<bool>,
        now: Now,
    ) -> Option<LoopId> {
        match wanted {
            Some(wanted) if wanted != native.watches => {}
            Some(_) | None => return None,
        }
        if native.watches {
            self.unwatch(native, now);
            return None;
        }
        let mut homes = (0..self.loops).map(LoopId);
        let without = homes.find(|home| !self.may_send_to(*home));
        if without.is_some() {
            return without;
        }
        self.begin_to_watch(key, native, now);
        None
    }

    /// Lets a connection into the rooms in which every home tells who is online.
    pub(super) fn begin_to_watch(&mut self, key: ConnKey, native: &mut Native, now: Now) {
        native.watches = true;
        let homes = (0..self.loops).map(LoopId);
        let (name, hash) = (RoomName::watchers(), self.room_key.name(RoomName::WATCHERS));
        let encoding = self.encoding_in(key, native, name.as_str());
        for home in homes {
            let ticket = native.next_ticket();
            let pending = Box::new(PendingJoin { name: name.clone(), ticket });
            native.rooms.push(Membership {
                hash,
                standing: Standing::Pending(pending),
                echo: true,
                presence: false,
                may_publish: false,
                proven: 0,
                marked: 0,
            });
            self.ask(key, native, (home, None), (What::Watch { encoding, ticket }, true), now);
        }
    }

    fn unwatch(&mut self, native: &mut Native, now: Now) {
        native.watches = false;
        let hash = self.room_key.name(RoomName::WATCHERS);
        loop {
            let members = &self.members;
            let left = native.rooms.remove(hash, |membership| match &membership.standing {
                Standing::Pending(pending) => pending.name.is_internal(),
                Standing::Joined(place) => {
                    members.get(place.room).is_some_and(|room| room.name.is_internal())
                }
            });
            match left.map(|membership| membership.standing) {
                None => return,
                // Its answer finds nobody, and is answered with a leave.
                Some(Standing::Pending(_)) => {}
                Some(Standing::Joined(place)) => {
                    if let Some((room, encoding)) = self.leave_table(place) {
                        self.tell_leave(room, encoding, now);
                    }
                }
            }
        }
    }

    /// Memberships that a connection has beside those that it asked for.
    pub(super) fn watched(&self, native: &Native) -> usize {
        if native.watches { usize::from(self.loops) } else { 0 }
    }

    /// A page of the rooms at home here that somebody may join.
    pub(super) fn page_of_rooms(
        &self,
        (prefix, after, limit): (&str, Option<&str>, usize),
        access: &Access,
    ) -> Vec<(RoomName, u32)> {
        // Only where there may be something to see is looked at.
        let prefixes = access.join_prefixes();
        let pages = prefixes.iter().filter_map(|granted| match granted.starts_with(prefix) {
            true => Some(self.homes.page(granted, after)),
            false if prefix.starts_with(&**granted) => Some(self.homes.page(prefix, after)),
            false => None,
        });
        let visible = pages.flatten().filter(|(name, _)| access.allows(Grant::Join, name.as_str()));
        visible.take(limit).map(|(name, members)| (name.clone(), members)).collect()
    }

    /// Passes a frame on to every native connection of this loop but the one that is left out; how
    /// many there are.
    pub(super) fn tell_everyone(
        &mut self,
        frame: Arc<Vec<u8>>,
        left_out: Option<ConnKey>,
        now: Now,
    ) -> u32 {
        let natives: Vec<ConnKey> = self
            .sessions
            .keys()
            .filter(|(index, generation)| {
                let session = self.sessions.get(*index, *generation);
                session.is_some_and(|session| matches!(session.phase, Phase::Native(_)))
            })
            .map(|(index, generation)| ConnKey { index, generation })
            .filter(|key| left_out != Some(*key))
            .collect();
        let told = self.push_to_all(&natives, frame, Notice::Kept);
        self.end_doomed(now);
        told
    }
}

/// The frame of a message to everyone; `content` is JSON.
pub(super) fn admin_message(sender: &[u8], content: &[u8], now: Now) -> Arc<Vec<u8>> {
    let mut frame = Vec::new();
    push_frame_with(&mut frame, Opcode::Text, |out| {
        json::push_admin_message(out, sender, now.unix_ms, content);
    });
    Arc::new(frame)
}

#[cfg(test)]
#[path = "people_tests.rs"]
mod tests;
