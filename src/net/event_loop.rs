//! One loop: a turn of its wheel, from the poll to the last write.
//!
//! Not here: accepting and dealing (`arrivals`), reading, writing and the shard's actions
//! (`traffic`). Invariants: the clock is read once a tick; readiness is edge-triggered, so a tick
//! ends with a zero time-out ahead as long as anything that a budget cut short is left; the shard's
//! actions are carried out after every call that may bring some, before anything can open a
//! connection in a slot that they free.

use super::accept::{Accepted, Acceptor};
use super::accept_rate::AcceptRate;
use super::clock::Clock;
use super::deal::Dealer;
use super::errands::Asker;
use super::link::Inbox;
use super::log::Log;
use super::memory::MemoryWatch;
use super::peer::{Parcel, Peer};
use super::seats::Seats;
use super::socket::ReadSide;
use super::sockets::Sockets;
use super::token::Target;
use super::trim::Trim;
use super::wake::Countdown;
use crate::auth::TrustedProxies;
use crate::broker::{ConnKey, LoopId, Now};
use crate::engine::{Admission, Shard};
use crate::limits::{EVENTS_PER_TICK_MAX, INBOX_PARCELS_PER_TICK_MAX, RECV_BUFFER_BYTES};
use crate::side::Logins;
use mio::event::Event;
use mio::{Events, Poll};
use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// What all loops of a server share.
#[derive(Debug)]
pub(super) struct Shared {
    /// The clock.
    pub(super) clock: Clock,
    /// Every loop, by its id.
    pub(super) peers: Vec<Peer>,
    /// Connections served.
    pub(super) seats: Seats,
    /// Loops that still have connections, once they drain.
    pub(super) serving: Countdown,
    /// Peers whose word about their users is taken.
    pub(super) trusted_proxies: TrustedProxies,
    /// Whether it matters where connections come from.
    pub(super) asks_for_peers: bool,
    /// Bound on the drain.
    pub(super) drain_timeout_ms: u64,
}

/// One loop's half of the world that has system calls in it; the shard is the other.
#[derive(Debug)]
pub(super) struct EventLoop {
    pub(super) id: LoopId,
    pub(super) shared: Arc<Shared>,
    pub(super) shard: Shard,
    pub(super) poll: Poll,
    pub(super) sockets: Sockets,
    /// The one receive buffer.
    pub(super) buffer: Box<[u8]>,
    /// Connections with something to read, each once.
    pub(super) ready: VecDeque<ConnKey>,
    pub(super) acceptor: Acceptor,
    pub(super) accept_rate: AcceptRate,
    /// Off the accept queue, not yet placed; empty between ticks.
    pub(super) accepted: Vec<Accepted>,
    pub(super) dealer: Dealer,
    /// Refusals under way.
    pub(super) refusals: usize,
    pub(super) log: Log,
    /// Where passwords are checked, if anybody has one.
    pub(super) logins: Option<Logins<Asker>>,
    pub(super) memory: MemoryWatch,
    pub(super) trim: Trim,
    inbox: Inbox<Parcel>,
    inbox_state: InboxState,
    phase: Phase,
    now: Now,
}

/// What is known of the inbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum InboxState {
    /// Whoever pushes will wake us.
    Watched,
    /// There may be parcels.
    Waiting,
}

/// How far the loop is from its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Serving,
    /// No newcomers; connections are being closed until the given time.
    Draining {
        ends_ms: u64,
    },
    /// None left here. Other loops have some, whose rooms may be at home here.
    Drained {
        ends_ms: u64,
    },
    /// None left anywhere; the inbox is looked through once more for a connection dealt late.
    Ending {
        ends_ms: u64,
    },
}

/// The parts of a loop that are made before its thread is.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) id: LoopId,
    pub(super) shared: Arc<Shared>,
    pub(super) shard: Shard,
    pub(super) poll: Poll,
    pub(super) acceptor: Acceptor,
    pub(super) accept_rate: AcceptRate,
    pub(super) dealer: Dealer,
    pub(super) memory: MemoryWatch,
    pub(super) inbox: Inbox<Parcel>,
    pub(super) logins: Option<Logins<Asker>>,
}

impl EventLoop {
    /// Puts a loop together. Called on its own thread, so that its buffers are local to its core.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { id, shared, shard, poll, acceptor, accept_rate, dealer, .. } = parts;
        let Parts { memory, inbox, logins, .. } = parts;
        let now = shared.clock.now();
        Self {
            id,
            shared,
            shard,
            poll,
            sockets: Sockets::default(),
            buffer: vec![0; RECV_BUFFER_BYTES].into(),
            ready: VecDeque::new(),
            acceptor,
            accept_rate,
            accepted: Vec::new(),
            dealer,
            refusals: 0,
            log: Log::new(id),
            logins,
            memory,
            trim: Trim::default(),
            inbox,
            inbox_state: InboxState::Waiting,
            phase: Phase::Serving,
            now,
        }
    }

    /// Turns until it has drained. An error is the poll's: the loop can't go on.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TICK_MAX);
        while self.tick(&mut events)?.is_continue() {}
        Ok(())
    }

    fn tick(&mut self, events: &mut Events) -> io::Result<ControlFlow<()>> {
        self.look(events)?;
        let now = self.shared.clock.now(); // The tick's only look at the clock.
        self.now = now;
        self.shard.counters_mut().ticks += 1;
        self.watch_memory(now);
        for event in &*events {
            self.handle_event(event, now);
        }
        self.drain_inbox(now);
        self.accept(now);
        self.read_ready(now);
        self.shard.handle_deadlines(now);
        self.act();
        self.shard.end_tick(now);
        self.act();
        self.run_errands(now);
        self.send_batches();
        self.write_dirty(now);
        self.trim.handle_tick(self.sockets.len(), now.mono_ms);
        while let Some(notice) = self.shard.poll_notice() {
            self.log.notice(&notice, now);
        }
        Ok(self.advance_phase(now))
    }

    /// Polls. Who was interrupted has not seen what there is: after a suspension, deadlines would
    /// pass for peers whose bytes have long been here. So it looks again, without sleeping.
    fn look(&mut self, events: &mut Events) -> io::Result<()> {
        let mut timeout = self.timeout();
        loop {
            match self.poll.poll(events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    timeout = Some(Duration::ZERO);
                }
                polled => return polled,
            }
        }
    }

    /// How long the poll may sleep.
    fn timeout(&self) -> Option<Duration> {
        let is_busy = !self.ready.is_empty()
            || self.inbox_state == InboxState::Waiting
            || self.shard.has_dirty();
        if is_busy {
            return Some(Duration::ZERO);
        }
        // As of the last tick, whose own length is what a timer may be late by.
        let now = self.now;
        let end = match self.phase {
            Phase::Serving => None,
            Phase::Draining { ends_ms }
            | Phase::Drained { ends_ms }
            | Phase::Ending { ends_ms } => Some(ends_ms.saturating_sub(now.mono_ms)),
        };
        let (shard, acceptor) =
            (self.shard.poll_timeout(now), self.acceptor.poll_timeout(now.mono_ms));
        let (memory, trim) =
            (self.memory.poll_timeout(now.mono_ms), self.trim.poll_timeout(now.mono_ms));
        let clock = self.shard.poll_clock_ms();
        let due = [shard, clock, acceptor, memory, trim, end];
        due.into_iter().flatten().min().map(Duration::from_millis)
    }

    /// Notes what became possible; the doing comes later in the tick.
    fn handle_event(&mut self, event: &Event, now: Now) {
        match Target::of(event.token()) {
            Target::Wake => self.inbox_state = InboxState::Waiting,
            Target::Listener(place) => self.acceptor.handle_edge(place),
            Target::Connection(key) => self.handle_edge(key, event, now),
        }
    }

    fn handle_edge(&mut self, key: ConnKey, event: &Event, now: Now) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        // With an error the reads that follow find what is left, then the error.
        let closed = event.is_read_closed() || event.is_error();
        if closed || event.is_readable() {
            entry.side.handle_edge(closed);
            if entry.wants_queueing() {
                self.ready.push_back(key);
            }
        }
        let is_unread = entry.paused || entry.side == ReadSide::Ended;
        if event.is_error() && is_unread {
            // No read will find it, and what we hold back has nobody to go to.
            self.shard.handle_error(key, now);
            self.act();
        } else if event.is_writable() && std::mem::take(&mut entry.blocked) {
            self.shard.handle_writable(key, now);
            self.act();
        }
    }

    /// Takes parcels, so many a tick, and notices a request to drain.
    fn drain_inbox(&mut self, now: Now) {
        if self.inbox_state == InboxState::Watched {
            return;
        }
        self.inbox.disarm();
        if self.phase == Phase::Serving && self.inbox.is_draining() {
            self.begin_drain(now);
        }
        for _ in 0..INBOX_PARCELS_PER_TICK_MAX {
            if self.shard.is_behind() {
                return; // What is there goes out first; the inbox is looked into again then.
            }
            match self.inbox.pop() {
                Some(Parcel::Batch(batch)) => {
                    self.shard.handle_batch(*batch, now);
                    self.act();
                }
                Some(Parcel::Conn(socket)) => self.open(socket, Admission::Served, now),
                Some(Parcel::Authority(authority)) => self.shard.handle_authority(authority),
                Some(Parcel::Login { key, outcome }) => {
                    self.shard.handle_login(key, &outcome, now);
                    self.act();
                }
                None => {
                    self.inbox_state = InboxState::Watched;
                    return;
                }
            }
        }
    }

    /// Ends accepting: who waits is told, who comes later is refused by the kernel.
    fn begin_drain(&mut self, now: Now) {
        self.log.draining(self.sockets.len());
        // The drain closes who has asked for nothing; what has been asked is to be answered first.
        self.read_all_ready(now);
        self.shard.handle_drain(now);
        self.act();
        // After it, so that these get to ask and are told.
        self.accept_rest(now);
        self.acceptor.close(self.poll.registry());
        self.phase = Phase::Draining { ends_ms: now.mono_ms + self.shared.drain_timeout_ms };
    }

    /// Looks how far the drain is. A loop without connections goes on until no loop has any: it is
    /// the home of rooms in which others still publish.
    fn advance_phase(&mut self, now: Now) -> ControlFlow<()> {
        let (Phase::Draining { ends_ms } | Phase::Drained { ends_ms } | Phase::Ending { ends_ms }) =
            self.phase
        else {
            return ControlFlow::Continue(());
        };
        if now.mono_ms >= ends_ms {
            if self.sockets.len() > 0 {
                self.log.cut_short(self.sockets.len());
            }
            if matches!(self.phase, Phase::Draining { .. }) {
                self.finish();
            }
            return ControlFlow::Break(());
        }
        if matches!(self.phase, Phase::Draining { .. }) && self.shard.is_drained() {
            self.phase = Phase::Drained { ends_ms };
            self.finish();
        }
        if matches!(self.phase, Phase::Drained { .. }) && self.shared.serving.is_over() {
            self.phase = Phase::Ending { ends_ms };
            self.inbox_state = InboxState::Waiting;
        } else if matches!(self.phase, Phase::Ending { .. })
            && self.inbox_state == InboxState::Watched
            && self.shard.is_drained()
        {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Counts this loop out; the last one tells the others.
    fn finish(&self) {
        if self.shared.serving.finish() {
            for peer in &self.shared.peers {
                peer.nudge();
            }
        }
    }
}
