//! Members and publishers in rooms, and the load that they make and receive.
//!
//! Not here: flags and reports. The last members of a room to join are its publishers, so that
//! with a server that writes in the order of joining, a publisher's own message comes back last.
//! Invariants: a phase ends when all it published has arrived or nothing came for a while, so that
//! CPU time read between phases belongs to whole messages.

use super::client::{Draft, Ending, Fleet, Happening, Mark, STAMP_BYTES, Stamp, Tally, fill, mask};
use super::clock::Clock;
use super::error::BenchError;
use super::latency::Latency;
use super::pace::{Pace, Schedule};
use super::progress::Progress;
use crate::ws::{self, DataKind, Opcode};
use std::net::SocketAddr;
use std::time::Duration;

/// With a message template the stamp may be anywhere in the front of a payload.
const LOOK_TEMPLATED: usize = 1_024;
/// Silence after which what is missing counts as lost.
const QUIET_US: u64 = 2_000_000;
/// Longest wait for readiness: how soon the end of a phase or a progress line is noticed.
const TURN: Duration = Duration::from_millis(50);
/// Time after the last handshake for joins that a server finishes later.
const SETTLE_US: u64 = 100_000;

/// Who is where, and what is said.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// The name of the room, or of all rooms less their number.
    pub(super) room: String,
    pub(super) rooms: usize,
    /// Members of each room, its publishers among them.
    pub(super) members: usize,
    pub(super) publishers: usize,
    /// Payload bytes of a message.
    pub(super) size: usize,
    pub(super) kind: DataKind,
    pub(super) pace: Pace,
    /// The request target, `{room}` for the room's name.
    pub(super) path: String,
    /// What a message looks like, where it is not its payload alone.
    pub(super) message: Option<String>,
    /// What each member sends first, where joining takes more than a path.
    pub(super) join: Option<String>,
}

/// The crowd, connected.
#[derive(Debug)]
pub(super) struct Crowd {
    shape: Shape,
    fleet: Fleet,
    clock: Clock,
    mark: Mark,
    /// One for all rooms, or one each where the template names the room.
    drafts: Vec<Draft>,
    tally: Tally,
    members: Vec<Member>,
    publishers: Vec<Publisher>,
    /// Publishers with credit.
    ready: Vec<usize>,
    /// Connections with messages queued.
    unsent: Vec<usize>,
    published: u64,
    stamp_at: usize,
    ended: Ended,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    room: u32,
    /// Its place among the publishers of all rooms, and its number within its own.
    publisher: Option<(usize, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Publisher {
    conn: usize,
    room: u32,
    number: u32,
    sent: u32,
    /// Messages it may send now.
    credit: u32,
}

/// Connections that ended before we let them go.
#[derive(Default, Debug)]
pub(super) struct Ended {
    pub(super) count: usize,
    pub(super) first: Option<Ending>,
}

impl Ended {
    fn note(&mut self, ending: Ending) {
        self.count += 1;
        self.first.get_or_insert(ending);
    }
}

/// What one phase was.
#[derive(Debug)]
pub(super) struct Phase {
    pub(super) elapsed_us: u64,
    pub(super) published: u64,
    pub(super) deliveries: u64,
    /// From when a message was due to its arrival, in µs.
    pub(super) latency: Latency,
    /// The most that we ourselves sent a message after it was due, in µs.
    pub(super) behind_us_max: u64,
}

impl Crowd {
    /// Connects everybody to the server at `address`, publishers last.
    pub(super) fn gather(
        address: SocketAddr,
        shape: Shape,
        clock: Clock,
        progress: &mut Progress,
    ) -> Result<Self, BenchError> {
        let look = if shape.message.is_some() { LOOK_TEMPLATED } else { STAMP_BYTES };
        let mut fleet = Fleet::new(address, look, clock)?;
        let members = seats(&shape);
        let publishers = publishers(&members);
        let wanted = members.len();
        let (first, last) = members.split_at(wanted - publishers.len());
        for group in [first, last] {
            let targets = group.iter().map(|member| shape.target(member.room));
            fleet.open_all(targets, |opened| {
                progress.show(clock.now_us(), format_args!("{opened} of {wanted} connected"));
            })?;
        }
        let mut crowd = Self {
            mark: Mark::new(&mut fastrand::Rng::new()),
            drafts: shape.drafts(),
            tally: Tally::new(wanted, shape.publishers),
            shape,
            fleet,
            clock,
            members,
            publishers,
            ready: Vec::new(),
            unsent: Vec::new(),
            published: 0,
            stamp_at: 0,
            ended: Ended::default(),
        };
        crowd.join()?;
        Ok(crowd)
    }

    /// Sends what joining takes, and gives the server time for it.
    fn join(&mut self) -> Result<(), BenchError> {
        if let Some(template) = &self.shape.join {
            for (conn, member) in self.members.iter().enumerate() {
                let text = fill(template, &self.shape.room_name(member.room));
                self.fleet.queue(conn, |out| {
                    ws::push_masked_frame(out, Opcode::Text, text.as_bytes(), mask());
                });
                if let Err(ending) = self.fleet.flush(conn) {
                    self.ended.note(ending);
                }
            }
        }
        let settled_us = self.clock.now_us() + SETTLE_US;
        let ended = &mut self.ended;
        while self.clock.now_us() < settled_us {
            self.fleet.turn(Some(TURN), |_, _, happening| match happening {
                Happening::Closed(ending) => ended.note(ending),
                Happening::Opened | Happening::Message(_) => {}
            })?;
        }
        Ok(())
    }

    /// Publishes for so long, then waits for what is under way.
    pub(super) fn run_phase(
        &mut self,
        length: Duration,
        progress: &mut Progress,
    ) -> Result<Phase, BenchError> {
        let start_us = self.clock.now_us();
        let end_us = start_us + u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        let before = (self.published, self.tally.received());
        let mut schedule = Schedule::new(self.shape.pace, start_us, end_us);
        let mut latency = Latency::new();
        let (mut behind_us_max, mut last_us) = (0, start_us);
        self.grant();
        loop {
            let now_us = self.clock.now_us();
            if now_us < end_us {
                self.publish_credit(now_us);
            }
            while let Some(due_us) = schedule.pop_due(now_us) {
                behind_us_max = behind_us_max.max(now_us - due_us);
                self.publish_next(due_us);
            }
            self.flush();
            let received = self.tally.received();
            let is_quiet = now_us > last_us.max(end_us) + QUIET_US;
            if now_us >= end_us && (received >= self.expected() || is_quiet) {
                break;
            }
            if let Some(next_us) = schedule.next_us() {
                self.fleet.wake_in(next_us.saturating_sub(self.clock.now_us()))?;
            }
            self.turn(&mut latency)?;
            if self.tally.received() > received {
                last_us = self.clock.now_us();
            }
            progress.show(now_us, format_args!("{received} messages received"));
        }
        latency.settle();
        let (published, received) = before;
        Ok(Phase {
            elapsed_us: last_us - start_us,
            published: self.published - published,
            deliveries: self.tally.received() - received,
            latency,
            behind_us_max,
        })
    }

    /// Reads what came.
    fn turn(&mut self, latency: &mut Latency) -> Result<(), BenchError> {
        let Self { fleet, tally, members, publishers, ended, mark, stamp_at, ready, .. } = self;
        fleet.turn(Some(TURN), |conn, now_us, happening| match happening {
            Happening::Message(payload) => {
                let Some(member) = members.get(conn) else { return };
                let Some(stamp) = mark.find(payload, stamp_at).filter(|s| s.room == member.room)
                else {
                    tally.count_unknown();
                    return;
                };
                tally.count(conn, stamp.publisher, stamp.sequence);
                latency.record(now_us.saturating_sub(u64::from(stamp.due_us)));
                if let Some((place, number)) = member.publisher
                    && number == stamp.publisher
                    && let Some(publisher) = publishers.get_mut(place)
                {
                    if publisher.credit == 0 {
                        ready.push(place);
                    }
                    publisher.credit += 1;
                }
            }
            Happening::Closed(ending) => ended.note(ending),
            Happening::Opened => {}
        })?;
        Ok(())
    }

    /// Gives every publisher its window for a new phase.
    fn grant(&mut self) {
        let window = match self.shape.pace {
            Pace::Window(window) => window,
            Pace::Rate(_) => 0,
        };
        self.publishers.iter_mut().for_each(|publisher| publisher.credit = window);
        self.ready.clear();
        self.ready.extend(0..self.publishers.len());
    }

    /// Lets publishers use the credit they have, where credit is the pace.
    fn publish_credit(&mut self, now_us: u64) {
        let mut ready = std::mem::take(&mut self.ready);
        for place in ready.drain(..) {
            let publisher = self.publishers.get_mut(place);
            let credit = publisher.map_or(0, |publisher| std::mem::take(&mut publisher.credit));
            match self.shape.pace {
                Pace::Window(_) => (0..credit).for_each(|_| self.publish(place, now_us)),
                Pace::Rate(_) => {}
            }
        }
        self.ready = ready;
    }

    /// The next publisher in turn publishes.
    fn publish_next(&mut self, due_us: u64) {
        let turn = usize::try_from(self.published).unwrap_or_default();
        self.publish(turn % self.publishers.len().max(1), due_us);
    }

    /// Queues one message.
    fn publish(&mut self, place: usize, due_us: u64) {
        let Some(publisher) = self.publishers.get_mut(place) else { return };
        let Publisher { conn, room, number, sent, .. } = *publisher;
        let due_us = u32::try_from(due_us).expect("a run is bounded to an hour");
        let stamp = Stamp { room, publisher: number, sequence: sent, due_us };
        let draft = room as usize % self.drafts.len().max(1);
        let Some(draft) = self.drafts.get_mut(draft) else { return };
        publisher.sent += 1;
        self.published += 1;
        self.fleet.queue(conn, |out| draft.push(out, self.mark, &stamp, mask()));
        if self.unsent.last() != Some(&conn) {
            self.unsent.push(conn);
        }
    }

    fn flush(&mut self) {
        for conn in self.unsent.drain(..) {
            if let Err(ending) = self.fleet.flush(conn) {
                self.ended.note(ending);
            }
        }
    }

    /// Deliveries that should have come of what was published.
    pub(super) fn expected(&self) -> u64 {
        self.published * self.shape.members as u64
    }

    /// What went wrong so far.
    pub(super) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Connections that are gone.
    pub(super) const fn ended(&self) -> &Ended {
        &self.ended
    }
}

impl Shape {
    fn room_name(&self, room: u32) -> String {
        if self.rooms == 1 { self.room.clone() } else { format!("{}-{room}", self.room) }
    }

    fn target(&self, room: u32) -> String {
        fill(&self.path, &self.room_name(room))
    }

    fn drafts(&self) -> Vec<Draft> {
        match &self.message {
            None => vec![Draft::plain(self.kind, self.size)],
            Some(template) => (0..)
                .take(self.rooms)
                .map(|room| Draft::templated(template, &self.room_name(room), self.size))
                .collect(),
        }
    }
}

/// Everybody in the order of connecting: rooms in turn, publishers of all rooms last.
fn seats(shape: &Shape) -> Vec<Member> {
    let Shape { rooms, members, publishers, .. } = *shape;
    let rooms_of = |_| (0..).take(rooms);
    let others =
        (0..members - publishers).flat_map(rooms_of).map(|room| Member { room, publisher: None });
    let last = (0..publishers).flat_map(|number| rooms_of(number).map(move |room| (room, number)));
    let last = last.enumerate().map(|(place, (room, number))| {
        let number = u32::try_from(number).expect("fewer publishers than descriptors");
        Member { room, publisher: Some((place, number)) }
    });
    others.chain(last).collect()
}

fn publishers(members: &[Member]) -> Vec<Publisher> {
    let publisher = |(conn, member): (usize, &Member)| {
        let (_, number) = member.publisher?;
        Some(Publisher { conn, room: member.room, number, sent: 0, credit: 0 })
    };
    members.iter().enumerate().filter_map(publisher).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(rooms: usize, members: usize, publishers: usize) -> Shape {
        Shape {
            room: "r".to_owned(),
            rooms,
            members,
            publishers,
            size: 128,
            kind: DataKind::Binary,
            pace: Pace::Window(1),
            path: "/raw/{room}".to_owned(),
            message: None,
            join: None,
        }
    }

    #[test]
    fn publishers_are_the_last_to_join_and_every_room_has_its_own() {
        let members = seats(&shape(3, 4, 2));
        assert_eq!(members.len(), 12);
        for room in 0..3 {
            assert_eq!(members.iter().filter(|member| member.room == room).count(), 4);
        }
        let publishers = publishers(&members);
        let told: Vec<_> = publishers.iter().map(|p| (p.conn, p.room, p.number)).collect();
        assert_eq!(told, [(6, 0, 0), (7, 1, 0), (8, 2, 0), (9, 0, 1), (10, 1, 1), (11, 2, 1)]);
        for (place, publisher) in publishers.iter().enumerate() {
            assert_eq!(members[publisher.conn].publisher, Some((place, publisher.number)));
        }
    }

    #[test]
    fn many_rooms_have_numbers_and_one_has_none() {
        assert_eq!(shape(1, 1, 1).target(0), "/raw/r");
        assert_eq!(shape(2, 1, 1).target(1), "/raw/r-1");
    }
}
