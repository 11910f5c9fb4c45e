//! Newcomers: who gets a seat, who is told why it gets none, and on which loop they go.
//!
//! Invariants: a connection has a seat or is one of a few refusals, and gives either back when it
//! ends; refusals stay where they were accepted; a loop whose inbox is full is dealt nothing.

use super::accept::Accepted;
use super::event_loop::EventLoop;
use super::listener::Spread;
use super::peer::Sent;
use super::socket::Socket;
use super::sockets::{Entry, Seat};
use super::token::Target;
use crate::auth::Trust;
use crate::broker::{Now, PeerAddr};
use crate::engine::Admission;
use crate::limits::REFUSALS_MAX;

impl EventLoop {
    /// Accepts a tick's worth and places it.
    pub(super) fn accept(&mut self, now: Now) {
        if self.acceptor.poll_timeout(now.mono_ms) != Some(0) {
            return;
        }
        if let Some(shortage) = self.acceptor.accept(now.mono_ms, &mut self.accepted) {
            let counters = self.shard.counters_mut();
            counters.accepts_exhausted += 1;
            counters.connections_refused += shortage.shed as u64;
            self.log.shortage(&shortage, now);
        }
        self.place_accepted(Self::admit, now);
    }

    /// Accepts all that wait, for the last time.
    pub(super) fn accept_rest(&mut self, now: Now) {
        self.acceptor.accept_rest(&mut self.accepted);
        self.place_accepted(|this, _| this.seat(), now);
    }

    fn place_accepted(&mut self, admit: impl Fn(&mut Self, Now) -> Admission, now: Now) {
        let mut accepted = std::mem::take(&mut self.accepted);
        for Accepted { socket, spread } in accepted.drain(..) {
            match admit(self, now) {
                Admission::Served => self.place(socket, spread, now),
                refusal if self.refusals < REFUSALS_MAX => {
                    self.refusals += 1;
                    self.open(socket, refusal, now);
                }
                // Too many are being told already; this one sees its connection end.
                Admission::OverCapacity => self.shard.counters_mut().connections_refused += 1,
                Admission::TooFast { .. } | Admission::ShortOfMemory => {}
            }
        }
        self.accepted = accepted; // Keeps what it allocated.
    }

    /// Whether there is memory, time and a seat for one more; takes the seat.
    fn admit(&mut self, now: Now) -> Admission {
        if self.shard.is_short_of_memory() {
            self.shard.counters_mut().pressure_refused += 1;
            return Admission::ShortOfMemory;
        }
        if let Err(retry_after_s) = self.accept_rate.admit(now.mono_ms) {
            self.shard.counters_mut().accepts_limited += 1;
            self.log.too_fast(retry_after_s, now);
            return Admission::TooFast { retry_after_s };
        }
        self.seat()
    }

    fn seat(&self) -> Admission {
        if self.shared.seats.take() { Admission::Served } else { Admission::OverCapacity }
    }

    /// Gives a connection that has a seat to a loop.
    fn place(&mut self, socket: Socket, spread: Spread, now: Now) {
        let seats = &self.shared.seats;
        let to = match spread {
            Spread::Here => self.id,
            Spread::Dealt => self.dealer.pick(|id| seats.load(id)),
        };
        seats.place(to);
        let Some(peer) = self.shared.peers.get(to.index()).filter(|_| to != self.id) else {
            return self.open(socket, Admission::Served, now);
        };
        match peer.send_conn(socket) {
            Ok(sent) => self.shard.counters_mut().wakes += u64::from(sent == Sent::Woke),
            Err(socket) => {
                seats.unplace(to);
                seats.place(self.id);
                self.open(socket, Admission::Served, now);
            }
        }
    }

    /// Takes a connection that is counted already into this loop.
    pub(super) fn open(&mut self, mut socket: Socket, admission: Admission, now: Now) {
        let seat = match admission {
            Admission::Served => Seat::Served,
            Admission::OverCapacity | Admission::TooFast { .. } | Admission::ShortOfMemory => {
                Seat::Refused
            }
        };
        let peer = self.peer_of(&socket);
        let trust = peer.map_or(Trust::Stranger, |peer| self.shared.trusted_proxies.trust(&peer));
        let key = self.shard.handle_open(admission, trust, peer, now);
        let registered = socket.register(self.poll.registry(), Target::Connection(key).token());
        self.sockets.insert(key, Entry::new(socket, seat));
        if registered.is_err() {
            self.shard.handle_error(key, now); // No memory left for another watch.
        }
        self.act();
    }

    /// Where whoever is behind `socket` is, if anyone asks; that takes a system call.
    fn peer_of(&self, socket: &Socket) -> Option<PeerAddr> {
        if self.shared.asks_for_peers { socket.peer().ok() } else { None }
    }

    /// Gives back what a connection was counted against.
    pub(super) fn free(&mut self, seat: Seat) {
        match seat {
            Seat::Served => self.shared.seats.free(self.id),
            Seat::Refused => self.refusals -= 1,
        }
    }
}
