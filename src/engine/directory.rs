//! What the home of a user does: it knows the user's connections, tells them what is for the user,
//! and tells those who watch who came and went.
//!
//! Not here: the requests themselves (`people`), the list (`broker::Users`), rooms' own lists of
//! who is there (`told`). Invariants: a connection is in the directory from its welcome to its end;
//! who comes back within the grace was never told to be gone; the watchers of a home are the
//! members of a room of the broker's own, so that they are told in one run for each tick.

use super::answers::Asker;
use super::asks::{Tell, Told};
use super::batch::{JoinReply, NativeJoined, PastReply, Reply};
use super::shard::Shard;
use super::told::{Notice, json_of};
use crate::broker::{
    ConnKey, Encoding, Form, LoopId, Now, Online, RoomHandle, RoomName, RoomOptions, Status, User,
    Users,
};
use crate::protocol::json::{self, Entry, UserChange};
use crate::ws::{Opcode, push_frame_with};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The users at home on one loop, and those of them who may still come back.
#[derive(Debug)]
pub(super) struct Directory {
    users: Users,
    grace_ms: u64,
    /// Users without a connection, by id: what each said of being there, and when it is gone.
    absent: BTreeMap<Box<str>, Absence>,
    /// The same in order of time; who came back meanwhile is in here too.
    due: VecDeque<(u64, Arc<User>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Absence {
    status: Status,
    due_ms: u64,
}

impl Directory {
    pub(super) const fn new(grace_ms: u64) -> Self {
        Self { users: Users::new(), grace_ms, absent: BTreeMap::new(), due: VecDeque::new() }
    }

    /// Users that have a connection.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// Users who may still come back, and what is noted of when.
    pub(super) fn absences(&self) -> usize {
        self.absent.len().max(self.due.len())
    }

    /// Takes in a connection. True: others are to be told that the user is there.
    fn connect(&mut self, user: &Arc<User>, at: (LoopId, ConnKey), unix_ms: u64) -> bool {
        if !self.users.connect(user, at, unix_ms) {
            return false;
        }
        let absence = self.absent.remove(user.id());
        absence.is_none_or(|absence| absence.status != Status::Online)
    }

    /// Takes off a connection. True: others are to be told that the user is gone.
    fn disconnect(&mut self, user: &Arc<User>, at: (LoopId, ConnKey), now: Now) -> bool {
        let status = self.users.status(user.id());
        if !self.users.disconnect(user.id(), at) {
            return false;
        }
        if self.grace_ms == 0 {
            return status != Status::Offline;
        }
        let due_ms = now.mono_ms + self.grace_ms;
        self.absent.insert(user.id().into(), Absence { status, due_ms });
        self.due.push_back((due_ms, Arc::clone(user)));
        false
    }

    /// The next user of whom others are to be told that it is gone.
    fn poll_gone(&mut self, now: Now) -> Option<Arc<User>> {
        while let Some((due_ms, user)) = self.due.pop_front_if(|(due, _)| *due <= now.mono_ms) {
            let absence = self.absent.get(user.id()).copied();
            let Some(absence) = absence.filter(|absence| absence.due_ms == due_ms) else {
                continue;
            };
            self.absent.remove(user.id());
            if absence.status != Status::Offline {
                return Some(user);
            }
        }
        None
    }

    /// When [`Self::poll_gone`] next has something to look at.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.due.front().map(|(due_ms, _)| *due_ms)
    }

    /// A page of users in order of id, each with its entry's JSON.
    pub(super) fn page(&self, after: Option<&str>, limit: usize) -> Vec<(Box<str>, Box<[u8]>)> {
        let entry = |online: &Online| {
            let (user, status, since_ms) = (&*online.user, online.status, online.since_ms);
            let mut out = Vec::new();
            json::push_entry(&mut out, &Entry { user, status, since_ms, info: online.info() });
            (user.id().into(), out.into_boxed_slice())
        };
        self.users.page(after, limit).map(entry).collect()
    }
}

impl Shard {
    pub(super) fn apply_online(&mut self, asker: &Asker, user: &Arc<User>, now: Now) {
        if self.directory.connect(user, (asker.from, asker.key), now.unix_ms) {
            self.tell_watchers(UserChange::Online, user, Status::Online, now);
        }
    }

    pub(super) fn apply_offline(&mut self, asker: &Asker, user: &Arc<User>, now: Now) {
        if self.directory.disconnect(user, (asker.from, asker.key), now) {
            self.tell_watchers(UserChange::Offline, user, Status::Offline, now);
        }
    }

    pub(super) fn apply_status(
        &mut self,
        user: &User,
        (status, info): (Status, Option<&str>),
        now: Now,
    ) {
        if self.directory.users.set_status(user.id(), status, info) {
            self.tell_watchers(UserChange::Status, user, status, now);
        }
    }

    /// Tells of users whose time to come back is up.
    pub(super) fn end_absences(&mut self, now: Now) {
        while let Some(user) = self.directory.poll_gone(now) {
            self.tell_watchers(UserChange::Offline, &user, Status::Offline, now);
        }
    }

    fn tell_watchers(&mut self, change: UserChange, user: &User, status: Status, now: Now) {
        let hash = self.room_key.name(RoomName::WATCHERS);
        let Some(room) = self.homes.find(RoomName::WATCHERS, hash) else { return };
        self.homes.tell(room, Notice::Kept, None, |out, _| {
            json::push_user_status(out, change, &json_of(user), status, now.unix_ms);
        });
    }

    /// Counts a watcher in: it is told of what comes after this.
    pub(super) fn apply_watch(
        &mut self,
        asker: &Asker,
        user: Arc<User>,
        (encoding, ticket): (Encoding, u32),
        now: Now,
    ) {
        let (name, hash) = (RoomName::watchers(), self.room_key.name(RoomName::WATCHERS));
        let room: RoomHandle = self.homes.open_internal(&name, hash, now);
        let Some(home) = self.homes.join(room, asker.from, encoding) else { return };
        let (epoch, seq) = (home.room.epoch(), home.room.seq());
        let options: RoomOptions = *home.options;
        let past = PastReply::default();
        let native = Some(NativeJoined { ticket, user, echo: true, proven: seq, past });
        let Some(batch) = self.outgoing.get_mut(asker.from.index()) else { return };
        let key = asker.key;
        batch.push_joined(JoinReply {
            key,
            room,
            name,
            hash,
            encoding,
            epoch,
            seq,
            options,
            native,
        });
    }

    /// Passes something on to all connections of a user.
    pub(super) fn apply_tell(&mut self, asker: &Asker, tell: &Tell) {
        let connections = self.directory.users.connections(&tell.to);
        let receivers = u32::try_from(connections.len()).unwrap_or(u32::MAX);
        for (loop_id, batch) in (0..self.loops).map(LoopId).zip(&mut self.outgoing) {
            let there = connections.iter().filter(|(at, _)| *at == loop_id);
            let keys: Box<[ConnKey]> = there.map(|(_, key)| *key).collect();
            if keys.is_empty() {
                continue;
            }
            self.told_bytes += tell.text.len();
            batch.push_told(keys, tell.notice, |out| {
                push_frame_with(out, Opcode::Text, |out| out.extend_from_slice(&tell.text));
            });
        }
        self.say_receivers(asker, tell.told, receivers);
    }

    /// Passes a notice on to a room's native members; who publishes raw payloads can't be told.
    pub(super) fn apply_notify(
        &mut self,
        asker: &Asker,
        (name, hash): (&RoomName, u64),
        text: &[u8],
    ) {
        let room = self.homes.find(name.as_str(), hash);
        let members = room.and_then(|room| self.homes.room(room)).map_or(0, |home| {
            let told = Form::ALL.into_iter().filter(|form| form.has_notices());
            told.map(|form| home.room.members_in(form)).sum()
        });
        if let Some(room) = room {
            self.homes.tell(room, Notice::Kept, None, |out, _| out.extend_from_slice(text));
        }
        self.say_receivers(asker, Told::Request, members);
    }

    fn say_receivers(&mut self, asker: &Asker, told: Told, receivers: u32) {
        match told {
            Told::Nobody => {}
            Told::Native => self.answer_json(asker, |_, out| {
                json::push_ack_receivers(out, asker.id(), receivers);
            }),
            Told::Request => {
                self.push_reply(asker.from, Reply::Receivers { key: asker.key, receivers });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Role;

    const GRACE_MS: u64 = 10;

    fn user(id: u32) -> Arc<User> {
        Arc::new(User::new(&id.to_string(), "name", Role::Member).expect("a good id"))
    }

    fn at(index: u32) -> (LoopId, ConnKey) {
        (LoopId(0), ConnKey { index, generation: 0 })
    }

    /// One user, as a list of its connections and a note of what others were told of it.
    #[derive(Clone, Default)]
    struct Reference {
        connections: Vec<u32>,
        told_online: bool,
        gone_at: Option<u64>,
    }

    #[test]
    fn what_others_are_told_is_what_they_would_see_if_they_looked_after_the_grace() {
        for seed in 0..300 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let mut directory = Directory::new(GRACE_MS);
            let mut users = vec![Reference::default(); 4];
            let mut now = Now::default();
            for step in 0..300 {
                let why = format!("seed {seed}, step {step}");
                now = now.plus_ms(dice.u64(0..4));
                while let Some(gone) = directory.poll_gone(now) {
                    let id: usize = gone.id().parse().expect("a number");
                    let due = users[id].gone_at.take();
                    assert!(due.is_some_and(|due| due <= now.mono_ms), "{why}");
                    assert!(users[id].connections.is_empty() && users[id].told_online, "{why}");
                    users[id].told_online = false;
                }
                let overdue = |one: &Reference| one.gone_at.is_some_and(|due| due <= now.mono_ms);
                assert!(!users.iter().any(overdue), "{why}");
                let (id, index) = (dice.u32(0..4), dice.u32(0..3));
                let one = &mut users[id as usize];
                let known = one.connections.iter().position(|known| *known == index);
                match known {
                    None => {
                        let told = directory.connect(&user(id), at(index), 0);
                        assert_eq!(told, !one.told_online, "{why}");
                        one.connections.push(index);
                        (one.told_online, one.gone_at) = (true, None);
                    }
                    Some(place) => {
                        assert!(!directory.disconnect(&user(id), at(index), now), "{why}");
                        one.connections.remove(place);
                        let is_last = one.connections.is_empty();
                        one.gone_at = is_last.then_some(now.mono_ms + GRACE_MS);
                    }
                }
            }
        }
    }

    #[test]
    fn without_a_grace_the_last_connection_ends_it() {
        let (mut directory, now) = (Directory::new(0), Now::default());
        assert!(directory.connect(&user(1), at(1), 0));
        assert!(!directory.connect(&user(1), at(2), 0));
        assert!(!directory.disconnect(&user(1), at(1), now));
        assert!(directory.disconnect(&user(1), at(2), now));
        assert_eq!((directory.len(), directory.next_due_ms()), (0, None));
    }

    #[test]
    fn who_wanted_to_look_offline_is_not_told_to_go() {
        for grace_ms in [0, GRACE_MS] {
            let (mut directory, now) = (Directory::new(grace_ms), Now::default());
            directory.connect(&user(1), at(1), 0);
            directory.users.set_status("1", Status::Offline, None);
            assert!(!directory.disconnect(&user(1), at(1), now));
            let later = now.plus_ms(grace_ms);
            assert!(directory.poll_gone(later).is_none());
            assert!(directory.connect(&user(1), at(1), 0), "it is seen again");
        }
    }
}
