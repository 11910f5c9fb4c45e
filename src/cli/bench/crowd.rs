//! Members and publishers in rooms, and the load that they make and receive.
//!
//! Not here: flags and reports; which message counts (`round`); how members join (`joining`).
//! Invariants: a phase ends when all it published has arrived or nothing
//! came for a while, so that CPU time read between phases belongs to whole messages; only the first
//! receipt of a message of this very phase is a latency and a credit.

use super::bounds::UNDER_WAY_BYTES_MAX;
use super::client::{
    Brought, Draft, Ending, Faults, Fleet, Happening, Manner, Receipt, STAMP_BYTES, Unpacker,
};
use super::clock::{Clock, busy_us};
use super::error::BenchError;
use super::joining::Joining;
use super::latency::Latency;
use super::pace::{Pace, Schedule};
use super::progress::Progress;
use super::round::Round;
use super::seats::{Member, Publisher, publishers, seats};
use super::shape::Shape;
use super::tokens::Tokens;
use std::net::SocketAddr;
use std::time::Duration;

/// With a message template the stamp may be anywhere in the front of a payload.
const LOOK_TEMPLATED: usize = 1_024;
/// Silence after which what is missing counts as lost.
const QUIET_US: u64 = 2_000_000;
/// Longest wait for readiness: how soon the end of a phase or a progress line is noticed.
const TURN: Duration = Duration::from_millis(50);

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

/// What takes note of a message that came.
struct Intake<'a> {
    round: &'a mut Round,
    past: &'a mut Option<Round>,
    publishers: &'a mut [Publisher],
    ready: &'a mut Vec<usize>,
    stamp_at: &'a mut usize,
    latency: &'a mut Latency,
}

impl Intake<'_> {
    /// Counts a message of `bytes` bytes that a member got, by the stamp in its `front`.
    fn take(&mut self, (conn, member): (usize, &Member), now_us: u64, front: &[u8], bytes: u64) {
        let Some(stamp) = self.round.mark.find(front, self.stamp_at) else {
            // What the phase before is still owed is no fault and no delivery of this one.
            let late = self.past.as_mut().and_then(|past| {
                let stamp = past.mark.find(front, self.stamp_at)?;
                Some(past.receive(conn, member.room, &stamp, bytes))
            });
            if late.is_none() {
                self.round.receive_unknown();
            }
            return;
        };
        if self.round.receive(conn, member.room, &stamp, bytes) == Receipt::Fault {
            return;
        }
        let due_us = self.round.start_us + u64::from(stamp.due_us);
        self.latency.record(now_us.saturating_sub(due_us));
        if let Some((place, number)) = member.publisher
            && number == stamp.publisher
            && let Some(publisher) = self.publishers.get_mut(place)
        {
            if publisher.credit == 0 {
                self.ready.push(place);
            }
            publisher.credit += 1;
        }
    }
}

/// Connections that ended before we let them go.
#[derive(Default, Debug)]
pub(super) struct Ended {
    pub(super) count: usize,
    pub(super) first: Option<Ending>,
}

impl Ended {
    /// Counts one, and remembers how the first ended.
    pub(super) fn note(&mut self, ending: Ending) {
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
    /// Connects everybody to the server at `address`, each with the next token, publishers last.
    pub(super) fn gather(
        (address, tokens): (SocketAddr, Tokens),
        shape: Shape,
        clock: Clock,
        progress: &mut Progress,
    ) -> Result<Self, BenchError> {
        let look = match (&shape.message, shape.protocol.look(shape.batch)) {
            (Some(_), _) => LOOK_TEMPLATED,
            (None, enveloped) => enveloped.unwrap_or(STAMP_BYTES),
        };
        let subprotocol = shape.protocol.subprotocol();
        let manner = Manner { look, deflate: shape.deflate, subprotocol };
        let mut fleet = Fleet::new(address, manner, clock)?.showing(tokens);
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
        let (mut ended, mut unpacker) = (Ended::default(), Unpacker::new(look));
        let mut joining = Joining { shape: &shape, fleet: &mut fleet, clock, ended: &mut ended };
        let drafts = joining.join(&members, &mut unpacker)?;
        Ok(Self {
            drafts,
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
            unpacker,
            wire: Wire::default(),
            ended,
        })
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
        let (unpacker, wire, shape) = (&mut self.unpacker, &mut self.wire, &self.shape);
        let mut intake = Intake { round, past, publishers, ready, stamp_at, latency };
        fleet.turn(Some(TURN), |conn, now_us, happening| match happening {
            Happening::Message { front, bytes, compressed } => {
                let Some(member) = members.get(conn) else { return };
                let (front, whole_bytes) = match compressed {
                    // What can't be inflated has no stamp either.
                    true => unpacker.unpack(front).unwrap_or_default(),
                    false => (front, bytes),
                };
                let mut found = 0;
                shape.protocol.contents(front, whole_bytes, shape.size, |content, bytes| {
                    found += 1;
                    intake.take((conn, member), now_us, content, bytes);
                });
                if found > 0 {
                    wire.messages += found;
                    wire.bytes += bytes;
                    wire.compressed += if compressed { found } else { 0 };
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
