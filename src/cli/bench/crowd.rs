//! Members and publishers in rooms, and the load that they make and receive.
//!
//! Not here: flags and reports; which message counts (`round`). The last members of a room to join
//! are its publishers, so that with a server that writes in the order of joining, a publisher's own
//! message comes back last. Invariants: a phase ends when all it published has arrived or nothing
//! came for a while, so that CPU time read between phases belongs to whole messages; only the first
//! receipt of a message of this very phase is a latency and a credit.

use super::bounds::UNDER_WAY_BYTES_MAX;
use super::client::{
    Brought, Draft, Ending, Faults, Fleet, Happening, Manner, Receipt, STAMP_BYTES, Unpacker, fill,
    mask,
};
use super::clock::{Clock, busy_us};
use super::error::BenchError;
use super::latency::Latency;
use super::pace::{Pace, Schedule};
use super::progress::Progress;
use super::round::Round;
use super::shape::Shape;
use crate::ws::{self, Opcode};
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

/// The crowd, connected.
#[derive(Debug)]
pub(super) struct Crowd {
    shape: Shape,
    fleet: Fleet,
    clock: Clock,
    /// One for all rooms, or one each where the template names the room.
    drafts: Vec<Draft>,
    round: Round,
    /// The phase before.
    past: Option<Round>,
    members: Vec<Member>,
    publishers: Vec<Publisher>,
    /// Publishers with credit.
    ready: Vec<usize>,
    /// Connections with messages queued.
    unsent: Vec<usize>,
    stamp_at: usize,
    unpacker: Unpacker,
    wire: Wire,
    /// Bytes that may wait to be sent for one publisher.
    backlog_max: usize,
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

/// Messages as they came, the late and the faulty among them.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Wire {
    pub(super) messages: u64,
    pub(super) compressed: u64,
    /// Payload bytes, of compressed ones compressed.
    pub(super) bytes: u64,
}

/// What one phase was. All of it is about the messages that were published in it.
#[derive(Debug)]
pub(super) struct Phase {
    /// From its begin to the last delivery; to its end where there was none.
    pub(super) elapsed_us: u64,
    pub(super) published: u64,
    pub(super) deliveries: u64,
    /// From when a message was due to its arrival, in µs.
    pub(super) latency: Latency,
    /// The most that we ourselves sent a message after it was due, in µs.
    pub(super) behind_us_max: u64,
    pub(super) faults: Faults,
    /// What our reads brought.
    pub(super) brought: Brought,
    pub(super) wire: Wire,
    /// The share of a core that we used while there was something to publish.
    pub(super) busy_share: f64,
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
        let mut fleet = Fleet::new(address, Manner { look, deflate: shape.deflate }, clock)?;
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
            drafts: shape.drafts(),
            round: Round::new(&shape, clock.now_us(), &mut fastrand::Rng::new()),
            past: None,
            backlog_max: UNDER_WAY_BYTES_MAX / publishers.len().max(1),
            shape,
            fleet,
            clock,
            members,
            publishers,
            ready: Vec::new(),
            unsent: Vec::new(),
            stamp_at: 0,
            unpacker: Unpacker::new(look),
            wire: Wire::default(),
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
                Happening::Opened | Happening::Message { .. } => {}
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
        let round = Round::new(&self.shape, start_us, &mut fastrand::Rng::new());
        self.past = Some(std::mem::replace(&mut self.round, round));
        self.wire = Wire::default();
        let (brought, busy) = (self.fleet.brought(), Busy::since(start_us));
        let mut busy_share = None;
        let mut schedule = Schedule::new(self.shape.pace, start_us, end_us);
        let mut latency = Latency::new();
        let (mut behind_us_max, mut last_us) = (0, start_us);
        self.grant();
        let now_us = loop {
            let now_us = self.clock.now_us();
            if now_us < end_us {
                self.publish_credit(now_us);
            } else {
                busy_share.get_or_insert_with(|| busy.share(now_us));
            }
            while let Some(due_us) = schedule.pop_due(now_us) {
                behind_us_max = behind_us_max.max(now_us - due_us);
                self.publish_next(due_us)?;
            }
            self.flush();
            let received = self.round.received();
            let is_quiet = now_us > last_us.max(end_us) + QUIET_US;
            if now_us >= end_us && (received >= self.round.expected() || is_quiet) {
                break now_us;
            }
            if let Some(next_us) = schedule.next_us() {
                self.fleet.wake_in(next_us.saturating_sub(self.clock.now_us()))?;
            }
            self.turn(&mut latency)?;
            if self.round.received() > received {
                last_us = self.clock.now_us();
            }
            progress.show(now_us, format_args!("{received} messages received"));
        };
        latency.settle();
        let deliveries = self.round.received();
        Ok(Phase {
            elapsed_us: if deliveries > 0 { last_us } else { now_us } - start_us,
            published: self.round.published,
            deliveries,
            latency,
            behind_us_max,
            faults: self.round.faults(),
            brought: self.fleet.brought().since(brought),
            wire: self.wire,
            busy_share: busy_share.unwrap_or_default(),
        })
    }

    /// Reads what came.
    fn turn(&mut self, latency: &mut Latency) -> Result<(), BenchError> {
        let Self { fleet, round, past, members, publishers, ended, stamp_at, ready, .. } = self;
        let (unpacker, wire) = (&mut self.unpacker, &mut self.wire);
        fleet.turn(Some(TURN), |conn, now_us, happening| match happening {
            Happening::Message { front, bytes, compressed } => {
                let Some(member) = members.get(conn) else { return };
                wire.messages += 1;
                wire.bytes += bytes;
                wire.compressed += u64::from(compressed);
                let (front, bytes) = match compressed {
                    // What can't be inflated has no stamp either.
                    true => unpacker.unpack(front).unwrap_or_default(),
                    false => (front, bytes),
                };
                let Some(stamp) = round.mark.find(front, stamp_at) else {
                    // What the phase before is still owed is no fault and no delivery of this one.
                    let late = past.as_mut().and_then(|past| {
                        let stamp = past.mark.find(front, stamp_at)?;
                        Some(past.receive(conn, member.room, &stamp, bytes))
                    });
                    if late.is_none() {
                        round.receive_unknown();
                    }
                    return;
                };
                if round.receive(conn, member.room, &stamp, bytes) == Receipt::Fault {
                    return;
                }
                let due_us = round.start_us + u64::from(stamp.due_us);
                latency.record(now_us.saturating_sub(due_us));
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
                Pace::Window(_) => (0..credit).for_each(|_| {
                    self.publish(place, now_us);
                }),
                Pace::Rate(_) => {}
            }
        }
        self.ready = ready;
    }

    /// The next publisher in turn publishes; an error if the server takes too little of it.
    fn publish_next(&mut self, due_us: u64) -> Result<(), BenchError> {
        let turn = usize::try_from(self.round.published).unwrap_or_default();
        let waiting_bytes = self.publish(turn % self.publishers.len().max(1), due_us);
        // One message may always wait, however many publishers share the bound.
        let is_backed_up = waiting_bytes > self.backlog_max.max(2 * self.shape.size);
        if is_backed_up { Err(BenchError::Backlog) } else { Ok(()) }
    }

    /// Queues one message. Returns the bytes that are held for its publisher.
    fn publish(&mut self, place: usize, due_us: u64) -> usize {
        let Some(publisher) = self.publishers.get(place) else { return 0 };
        let Publisher { conn, room, number, .. } = *publisher;
        let draft = room as usize % self.drafts.len().max(1);
        let Some(draft) = self.drafts.get_mut(draft) else { return 0 };
        let masking = self.shape.masking;
        let Some(stamp) = self.round.stamp(place, room, number, due_us) else { return 0 };
        if self.unsent.last() != Some(&conn) {
            self.unsent.push(conn);
        }
        self.fleet.queue(conn, |out| draft.push(out, self.round.mark, &stamp, masking.mask()))
    }

    fn flush(&mut self) {
        for conn in self.unsent.drain(..) {
            if let Err(ending) = self.fleet.flush(conn) {
                self.ended.note(ending);
            }
        }
    }

    /// Messages of the phase before the last that have not come to this day.
    pub(super) fn lost_before(&self) -> u64 {
        self.past.as_ref().map_or(0, |past| past.faults().lost)
    }

    /// Connections that are gone.
    pub(super) const fn ended(&self) -> &Ended {
        &self.ended
    }
}

/// When we began to be watched, and what CPU time we had used by then.
struct Busy {
    start_us: u64,
    busy_us: u64,
}

impl Busy {
    fn since(start_us: u64) -> Self {
        Self { start_us, busy_us: busy_us() }
    }

    #[expect(clippy::cast_precision_loss, reason = "an hour in µs is far below 2^53")]
    fn share(&self, now_us: u64) -> f64 {
        let used_us = busy_us().saturating_sub(self.busy_us);
        used_us as f64 / now_us.saturating_sub(self.start_us).max(1) as f64
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
        Some(Publisher { conn, room: member.room, number, credit: 0 })
    };
    members.iter().enumerate().filter_map(publisher).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_are_the_last_to_join_and_every_room_has_its_own() {
        let members = seats(&Shape::of(3, 4, 2));
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
}
