//! Commands on their way to a room's home, and what a home does with them; the end of a tick.
//!
//! Invariants: commands of one connection for one room are applied in the order in which they were
//! made; a home over its outgoing bound applies none but goes on draining publications, so that
//! two full loops can't wait for each other; what is parked is bounded by the credit given.

use super::asks::{Asked, Words};
use super::batch::{
    Answer, Batch, HomeCommand, JoinReply, Question, Reply, RoomRef, Say, Sender, SentRoom, Span,
    Spent, Topic,
};
use super::buffers::offset;
use super::credit::is_worth_a_batch;
use super::homes::Creator;
use super::publication::{self, Publication};
use super::raw_asks::{Post, RawJoin};
use super::shard::Shard;
use crate::broker::{CommandError, ConnKey, Encoding, LoopId, Now, RoomHandle};
use crate::limits::OUTGOING_BYTES_MAX;

/// The sequence of lots from which guests' numbers are drawn: that of the first loop.
const GUESTS: u64 = 1 << 8;

/// Whose keys those of HTTP requests are: no JSON, as the users of native members are.
const POSTER: &str = "server";

impl Shard {
    /// Handles what another loop sent.
    pub fn handle_batch(&mut self, mut batch: Batch, now: Now) {
        self.credits.refund(batch.from, std::mem::take(&mut batch.credit));
        self.wake_waiting(batch.from, now);
        self.take_in_batch(batch, now);
    }

    fn take_in_batch(&mut self, mut batch: Batch, now: Now) {
        let from = batch.from;
        for question in std::mem::take(&mut batch.questions) {
            self.handle_question(from, question, now);
        }
        if batch.runs.is_empty() && batch.replies.is_empty() {
            return self.park(batch, now);
        }
        if !batch.commands.is_empty() {
            let mut commands = Batch::new(from);
            commands.commands = std::mem::take(&mut batch.commands);
            commands.payloads = std::mem::take(&mut batch.payloads);
            self.park(commands, now);
        }
        self.deliver(batch, now);
    }

    /// Ends the tick: what rooms published is laid out for every loop, and this loop's own share
    /// is delivered.
    pub fn end_tick(&mut self, now: Now) {
        self.weigh_backlog();
        self.handle_steps(now);
        self.unpark(now);
        self.go_on(now);
        self.homes.lay_out(&mut self.outgoing, &mut self.packing, &mut self.counters, now);
        // A question to all loops comes back through the same batch, so there may be a second one.
        // Nobody goes on in between: who was let in then would be so before what came before it.
        while self.outgoing.get(self.id.index()).is_some_and(|batch| !batch.is_empty()) {
            let Some(own) = self.outgoing.get_mut(self.id.index()) else { break };
            let batch = std::mem::replace(own, Batch::new(self.id));
            self.take_in_batch(batch, now);
        }
        self.wake_waiting(self.id, now);
        self.contexts.rest();
        self.next_batch = 0;
    }

    /// After [`Self::end_tick`]: the next batch for another loop. One that its inbox does not take
    /// is to be given back by [`Self::handle_refused_batch`].
    pub fn poll_batch(&mut self) -> Option<(LoopId, Batch)> {
        while self.next_batch < usize::from(self.loops) {
            let at = self.next_batch;
            self.next_batch += 1;
            let to = LoopId(u8::try_from(at).ok()?);
            if to == self.id {
                continue;
            }
            let refused = self.refused.get_mut(at)?.take();
            if let Some(batch) = refused {
                return Some((to, batch));
            }
            let owed = self.owed.get_mut(at)?;
            let batch = self.outgoing.get_mut(at)?;
            if batch.is_empty() && !is_worth_a_batch(*owed) {
                continue;
            }
            batch.credit = std::mem::take(owed);
            self.counters.batches_out += 1;
            self.counters.batch_bytes.observe(batch.bytes() as u64);
            return Some((to, std::mem::replace(batch, Batch::new(self.id))));
        }
        None
    }

    /// Keeps a batch that an inbox did not take; it is offered again after the next tick, before
    /// anything newer for that loop.
    pub fn handle_refused_batch(&mut self, to: LoopId, batch: Batch) {
        self.counters.batches_held += 1;
        if let Some(place) = self.refused.get_mut(to.index()) {
            debug_assert!(place.is_none(), "one batch is offered at a time");
            *place = Some(batch);
        }
    }

    /// Whether a command for that home may be made now: there is credit, and where the home is
    /// here, the outgoing bound is not reached.
    pub(super) fn may_send_to(&self, home: LoopId) -> bool {
        if home == self.id { !self.is_over_bound() } else { self.credits.is_left(home) }
    }

    /// Asks a room's home to count the connection in.
    pub(super) fn submit_join(
        &mut self,
        home: LoopId,
        key: ConnKey,
        name: &str,
        join: RawJoin,
        now: Now,
    ) {
        if home == self.id {
            return self.apply_join(self.id, key, name, join, now);
        }
        let Some(batch) = self.outgoing.get_mut(home.index()) else { return };
        let name = batch.push_payload(name.as_bytes());
        batch.commands.push(HomeCommand::Join { key, name, join });
    }

    /// Sends a message to its room's home.
    pub(super) fn submit_publish(
        &mut self,
        home: LoopId,
        room: RoomRef<'_>,
        post: Post<'_>,
        sender: Sender,
        now: Now,
    ) {
        if home == self.id {
            return self.apply_publish(self.id, room, post, sender, now);
        }
        let Post { kind, payload, dedupe, sender: said_by, may_create } = post;
        self.credits.spend(home, post.bytes());
        let Some(batch) = self.outgoing.get_mut(home.index()) else { return };
        let room = match room {
            RoomRef::Handle(handle) => SentRoom::Handle(handle),
            RoomRef::Name { name, hash } => {
                SentRoom::Name { name: batch.push_payload(name.as_bytes()), hash }
            }
        };
        let payload = batch.push_payload(payload);
        let dedupe = batch.push_payload(dedupe.as_bytes());
        let said_by = batch.push_payload(said_by);
        batch.commands.push(HomeCommand::Publish {
            room,
            kind,
            payload,
            dedupe,
            said_by,
            may_create,
            sender,
        });
    }

    /// Tells a room's home that a member of this loop is gone. Needs no credit: there are at most
    /// as many leaves as memberships.
    pub(super) fn tell_leave(&mut self, room: RoomHandle, encoding: Encoding, now: Now) {
        if room.home == self.id {
            return self.homes.leave(room, self.id, encoding, 1, now);
        }
        let Some(batch) = self.outgoing.get_mut(room.home.index()) else { return };
        match batch.commands.last_mut() {
            Some(HomeCommand::Leave { room: last, encoding: same, count })
                if *last == room && *same == encoding =>
            {
                *count += 1;
            }
            _ => batch.commands.push(HomeCommand::Leave { room, encoding, count: 1 }),
        }
    }

    /// Whether more waits for another loop than a home may hold for one of them, or for the
    /// connections of this one.
    fn is_over_bound(&self) -> bool {
        let made = self.homes.staged_bytes() + self.told_bytes;
        self.backlog_bytes + made > OUTGOING_BYTES_MAX || self.is_behind()
    }

    /// Looks how much waits for the loop whose inbox is furthest behind. Once a tick: a loop that
    /// takes its batches leaves nothing behind, and what one that doesn't gets on top within a
    /// tick is bounded by what is staged.
    fn weigh_backlog(&mut self) {
        (self.told_bytes, self.statuses) = (0, 0);
        let behind = self.refused.iter().zip(&self.outgoing);
        let waiting =
            behind.filter_map(|(refused, making)| Some(refused.as_ref()?.bytes() + making.bytes()));
        self.backlog_bytes = waiting.max().unwrap_or(0);
    }

    /// Applies a batch's commands behind all that are parked, as far as the bound allows.
    fn park(&mut self, batch: Batch, now: Now) {
        if batch.commands.is_empty() {
            return;
        }
        self.parked.push_back((batch, 0));
        if self.parked.len() == 1 {
            self.unpark(now);
        } else {
            self.counters.commands_parked += 1;
        }
    }

    fn unpark(&mut self, now: Now) {
        while let Some((mut batch, mut next)) = self.parked.pop_front() {
            while next < batch.commands.len() {
                if self.is_over_bound() {
                    self.counters.commands_parked += 1;
                    self.parked.push_front((batch, next));
                    return;
                }
                self.apply(&mut batch, next, now);
                next += 1;
            }
        }
    }

    fn apply(&mut self, batch: &mut Batch, at: usize, now: Now) {
        let from = batch.from;
        let Some(place) = batch.commands.get_mut(at) else { return };
        match std::mem::replace(place, HomeCommand::Done) {
            HomeCommand::Say(say) => {
                let (words, payload) = (batch.payload(say.words), batch.payload(say.payload));
                self.apply_say(from, &say, (words, payload), now);
                self.owe(from, words.len() + payload.len());
            }
            HomeCommand::Ask(asked) => {
                let spent = asked.spends();
                self.apply_ask(from, *asked, now);
                if let Some(bytes) = spent {
                    self.owe(from, bytes);
                }
            }
            HomeCommand::Join { key, name, join } => {
                let name = std::str::from_utf8(batch.payload(name)).unwrap_or_default();
                self.apply_join(from, key, name, join, now);
            }
            HomeCommand::Leave { room, encoding, count } => {
                self.homes.leave(room, from, encoding, count, now);
            }
            HomeCommand::Publish { room, kind, payload, dedupe, said_by, may_create, sender } => {
                let room = match room {
                    SentRoom::Handle(handle) => RoomRef::Handle(handle),
                    SentRoom::Name { name, hash } => {
                        let name = std::str::from_utf8(batch.payload(name)).unwrap_or_default();
                        RoomRef::Name { name, hash }
                    }
                };
                let payload = batch.payload(payload);
                let dedupe = std::str::from_utf8(batch.payload(dedupe)).unwrap_or_default();
                let said_by = batch.payload(said_by);
                let post = Post { kind, payload, dedupe, sender: said_by, may_create };
                self.apply_publish(from, room, post, sender, now);
                self.owe(from, post.bytes());
            }
            HomeCommand::Seat(ask) => self.apply_seat(from, ask),
            HomeCommand::Borrow(ask) => self.apply_borrow(from, ask, now),
            HomeCommand::Done => debug_assert!(false, "a command is applied once"),
        }
    }

    /// Notes the credit that a loop gets back for a command that was applied.
    fn owe(&mut self, to: LoopId, payload_bytes: usize) {
        if let Some(owed) = self.owed.get_mut(to.index()) {
            let Spent { commands, bytes } = *owed;
            *owed = Spent { commands: commands + 1, bytes: bytes + offset(payload_bytes) };
        }
    }

    fn apply_join(
        &mut self,
        from: LoopId,
        key: ConnKey,
        name: &str,
        RawJoin { hash, encoding, may_create }: RawJoin,
        now: Now,
    ) {
        let creator = if may_create { Creator::Route } else { Creator::Ungranted };
        let room = match self.open_room((name, hash), creator, now) {
            Ok(room) => room,
            Err(error) => {
                self.counters.rooms_refused += 1;
                return self.push_reply(from, Reply::JoinRefused { key, error });
            }
        };
        let Some(home) = self.homes.join(room, from, encoding) else { return };
        let joined = JoinReply {
            key,
            room,
            name: home.name.clone(),
            hash,
            encoding,
            epoch: home.room.epoch(),
            seq: home.room.seq(),
            options: *home.options,
            native: None,
        };
        if let Some(batch) = self.outgoing.get_mut(from.index()) {
            batch.push_joined(joined);
        }
    }

    fn apply_publish(
        &mut self,
        from: LoopId,
        room: RoomRef<'_>,
        post: Post<'_>,
        sender: Sender,
        now: Now,
    ) {
        let Post { kind, payload, dedupe, sender: said_by, may_create } = post;
        let creator = if may_create { Creator::Route } else { Creator::Ungranted };
        let handle = match room {
            RoomRef::Handle(handle) => Ok(handle),
            RoomRef::Name { name, hash } => self.open_room((name, hash), creator, now),
        };
        let (left_out, guest) = match sender {
            Sender::LeftOut(key) => (Some((from, key)), Some(self.guest_number(from, key))),
            Sender::Member(key) => (None, Some(self.guest_number(from, key))),
            Sender::Outsider(_) => (None, None),
        };
        let guest = guest.map(publication::guest);
        let sender_json = match &guest {
            _ if !said_by.is_empty() => said_by,
            Some(guest) => guest.as_slice(),
            None => publication::SERVER,
        };
        // Keys are of whoever published; those of servers belong to nobody else.
        let poster = str::from_utf8(said_by).ok().filter(|said_by| !said_by.is_empty());
        let dedupe = (poster.unwrap_or(POSTER), dedupe);
        let published = handle.and_then(|handle| {
            if let Some(published) = self.find_key(handle, dedupe, now) {
                return Ok((published, false));
            }
            let (tag, id, mark) = (0, None, 0);
            let sender = sender_json;
            let publication = Publication { kind, payload, sender, tag, id, mark, left_out };
            let published = self.homes.publish(handle, &publication, now)?;
            self.remember_key(handle, dedupe, published, now);
            Ok((published, true))
        });
        match (published, sender) {
            (Ok((published, is_new)), Sender::Outsider(key)) => {
                self.counters.publications += u64::from(is_new);
                self.push_reply(from, Reply::Ack { key, published });
            }
            (Ok(_), Sender::Member(_) | Sender::LeftOut(_)) => self.counters.publications += 1,
            (Err(error), Sender::Outsider(key)) => {
                self.counters.rooms_refused += 1;
                self.push_reply(from, Reply::PublishRefused { key, error });
            }
            // Its join was refused too, and that ends the connection.
            (Err(_), Sender::Member(_) | Sender::LeftOut(_)) => {}
        }
    }

    /// The number by which a connection without an identity is known.
    pub(super) fn guest_number(&self, at: LoopId, key: ConnKey) -> u64 {
        let sequence = GUESTS + u64::from(at.0);
        self.lots.number(sequence, u64::from(key.generation) << 32 | u64::from(key.index))
    }

    pub(super) fn open_room(
        &mut self,
        name: (&str, u64),
        creator: Creator,
        now: Now,
    ) -> Result<RoomHandle, CommandError> {
        let before = self.homes.len();
        let opened = self.homes.open(name, creator, now);
        self.counters.rooms_created += (self.homes.len() - before) as u64;
        opened
    }

    /// Sends a native member's message to its room's home.
    pub(super) fn submit_say(&mut self, say: Say, words: &Words<'_>, payload: &[u8], now: Now) {
        let home = say.room.home;
        if home == self.id {
            let mut all = std::mem::take(&mut self.scratch);
            words.append(&mut all);
            self.apply_say(self.id, &say, (&all, payload), now);
            all.clear();
            self.scratch = all;
            return;
        }
        self.credits.spend(home, payload.len() + words.len());
        let Some(batch) = self.outgoing.get_mut(home.index()) else { return };
        let start = offset(batch.payloads.len());
        words.append(&mut batch.payloads);
        let words = Span { start, end: offset(batch.payloads.len()) };
        let payload = batch.push_payload(payload);
        batch.commands.push(HomeCommand::Say(Say { words, payload, ..say }));
    }

    /// Asks a home for something; takes credit, unless it is a leave: there are at most as many of
    /// those as memberships.
    pub(super) fn submit_ask(&mut self, home: LoopId, asked: Asked, now: Now) {
        if home == self.id {
            return self.apply_ask(self.id, asked, now);
        }
        if let Some(bytes) = asked.spends() {
            self.credits.spend(home, bytes);
        }
        if let Some(batch) = self.outgoing.get_mut(home.index()) {
            batch.push_ask(asked);
        }
    }

    pub(super) fn push_reply(&mut self, to: LoopId, reply: Reply) {
        if let Some(batch) = self.outgoing.get_mut(to.index()) {
            batch.replies.push(reply);
        }
    }

    /// Lets connections that waited for a home go on, one after another and as long as it lets
    /// them: the others need not look.
    fn wake_waiting(&mut self, home: LoopId, now: Now) {
        for _ in 0..self.credits.waiting(home) {
            if !self.may_send_to(home) {
                return;
            }
            let Some(key) = self.credits.poll_waiting(home) else { return };
            self.unpause(key);
            self.go_on(now);
        }
    }

    fn handle_question(&mut self, from: LoopId, question: Question, now: Now) {
        match question {
            Question::Ask { id, what } => {
                let answer = match what {
                    Topic::Health => Answer::Alive,
                    Topic::Metrics => Answer::Counted(Box::new(self.counters())),
                    Topic::Rooms { prefix, after, limit, access } => {
                        let page = (&*prefix, after.as_deref(), limit + 1);
                        Answer::Rooms(self.page_of_rooms(page, &access))
                    }
                    Topic::Users { after, limit } => {
                        Answer::Users(self.directory.page(after.as_deref(), limit + 1))
                    }
                    Topic::Revoke(revocation) => self.apply_revocation(&revocation, now),
                    Topic::Broadcast { frame, left_out } => {
                        let here = left_out.filter(|(id, _)| *id == self.id);
                        let left_out = here.map(|(_, key)| key);
                        Answer::Told(self.tell_everyone(frame, left_out, now))
                    }
                };
                if let Some(batch) = self.outgoing.get_mut(from.index()) {
                    batch.push_question(Question::Answer { id, answer });
                }
            }
            Question::Answer { id, answer } => self.handle_answer(from, id, answer, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::SentRoom;
    use super::super::hash::{HashKey, home_of};
    use super::super::packing::Stopwatch;
    use super::super::rig::Rig;
    use super::super::settings::Settings;
    use super::super::shard::Setup;
    use super::*;
    use crate::broker::PayloadKind;
    use crate::broker::RoomOptions;
    use crate::limits::{CREDIT_COMMANDS, HELD_BATCH_RETRY_MS};
    use crate::ws::{self, Opcode};
    use std::sync::Arc;

    const HERE: LoopId = LoopId(0);
    const THERE: LoopId = LoopId(1);
    const ROOM_KEY: HashKey = HashKey([1, 2]);

    /// A name whose room is at home here, and its hash.
    fn name_at_home(prefix: &str) -> (String, u64) {
        let names = (0..).map(|nth| format!("{prefix}-{nth}"));
        let mut hashed = names.map(|name| (ROOM_KEY.name(&name), name));
        let (hash, name) = hashed.find(|(hash, _)| home_of(*hash, 2) == HERE).expect("one in two");
        (name, hash)
    }

    #[test]
    fn credit_owed_behind_a_batch_that_was_held_asks_for_a_tick() {
        let now = Now::default();
        let settings = Arc::<Settings>::default();
        let (room_key, epoch_key) = (ROOM_KEY, HashKey([3, 4]));
        let stopwatch: Stopwatch = || 0;
        let setup = Setup { id: HERE, loops: 2, room_key, epoch_key, settings, stopwatch };
        let mut home = Shard::new(setup, now);

        let (name, hash) = name_at_home("joined");
        let mut join = Batch::new(THERE);
        let key = ConnKey { index: 0, generation: 0 };
        let name = join.push_payload(name.as_bytes());
        let raw = RawJoin { hash, encoding: Encoding::RAW, may_create: true };
        join.commands.push(HomeCommand::Join { key, name, join: raw });
        home.handle_batch(join, now);
        home.end_tick(now);
        let (to, reply) = home.poll_batch().expect("a reply");
        home.handle_refused_batch(to, reply);

        let (name, hash) = name_at_home("empty");
        let mut publishes = Batch::new(THERE);
        let name = publishes.push_payload(name.as_bytes());
        let publish = HomeCommand::Publish {
            room: SentRoom::Name { name, hash },
            kind: PayloadKind::Text,
            payload: name,
            dedupe: Span { start: 0, end: 0 },
            sender: Sender::Member(key),
            said_by: Span { start: 0, end: 0 },
            may_create: true,
        };
        publishes.commands = vec![publish; CREDIT_COMMANDS as usize];
        home.handle_batch(publishes, now);
        home.end_tick(now);
        let (_, held) = home.poll_batch().expect("the reply once more");
        assert_eq!((held.credit.commands, home.poll_batch().is_none()), (0, true));

        assert_eq!(home.poll_timeout(now), Some(HELD_BATCH_RETRY_MS));
        home.end_tick(now);
        let (_, batch) = home.poll_batch().expect("the credit");
        assert_eq!(batch.credit.commands, CREDIT_COMMANDS);
    }

    #[test]
    fn who_joins_when_a_full_home_goes_on_gets_nothing_that_came_before() {
        let mut rig = Rig::new(RoomOptions::default());
        let say = |rig: &mut Rig, key: ConnKey, opcode: Opcode, payloads: &[&[u8]]| {
            let mut input = Vec::new();
            for payload in payloads {
                ws::push_masked_frame(&mut input, opcode, payload, [1, 2, 3, 4]);
            }
            rig.shard.handle_bytes(key, &mut input, rig.now);
        };
        let (first, other) = (rig.settled(true), rig.settled(true));
        let second = rig.ask_for("/ws");
        say(&mut rig, second, Opcode::Text, &[br#"{"type":"join-room","room":"other"}"#]);
        rig.shard.end_tick(rig.now);
        rig.read_all(second);

        let large = vec![b'x'; OUTGOING_BYTES_MAX / 4];
        say(&mut rig, first, Opcode::Binary, &[&large, &large, &large, &large]);
        say(&mut rig, other, Opcode::Binary, &[b"before"]);
        let message = br#"{"type":"room-message","room":"other","content":1}"#;
        let join = br#"{"type":"join-room","room":"room"}"#;
        say(&mut rig, second, Opcode::Text, &[message, join]); // Both wait for the home.
        let mut told = Vec::new();
        for _ in 0..3 {
            rig.shard.end_tick(rig.now);
            while rig.shard.poll_dirty().is_some() {}
            rig.read_all(first);
            rig.read_all(other);
            told.extend(rig.read_all(second));
        }
        let told = String::from_utf8_lossy(&told);
        assert!(told.contains(r#""seq":5,"recovered":false"#), "{told}");
        assert!(!told.contains(r#""type":"room-message","room":"room""#), "{told}");
    }
}
