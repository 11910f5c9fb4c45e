//! Seats: how many connections one address has at once, counted at the address's home.
//!
//! A connection asks as soon as its client's address is known: as it comes, after the header of the
//! PROXY protocol, or with the head of a request that a trusted proxy passes on. Its request waits
//! for the answer. Not here: the count itself (`address_seats`). Invariant: a seat that was given
//! is given back once, also if the answer comes too late.

use super::address_seats::address_hash;
use super::batch::{HomeCommand, Reply};
use super::hash::home_of;
use super::papers::Papers;
use super::session::{Pause, Phase, Session};
use super::shard::{Notice, Shard};
use crate::auth::Trust;
use crate::broker::{AddressKey, ConnKey, LoopId, PeerAddr};
use crate::http::Head;

/// How a connection stands to its address's home.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Seat {
    /// It was not asked for.
    #[default]
    None,
    /// The answer is on the way.
    Asked(AddressKey),
    Held(AddressKey),
    /// The address has as many as it may. Whose it is, so that nobody asks again and again.
    Refused(AddressKey),
}

/// Something about seats, for the home of an address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SeatAsk {
    Take { key: ConnKey, address: AddressKey },
    Free { address: AddressKey },
}

impl Shard {
    /// Asks for a seat for a connection of that address, if those are counted; gives back the one
    /// of another address that it may have had.
    pub(super) fn ask_for_seat(&mut self, key: ConnKey, address: PeerAddr) {
        if self.settings.connections_per_address_max == 0 || address == PeerAddr::Unix {
            return;
        }
        let address = address.bucket();
        let Some(session) = self.session(key) else { return };
        let seat = &mut session.papers_mut().seat;
        let held = match *seat {
            Seat::Asked(other) | Seat::Held(other) | Seat::Refused(other) if other == address => {
                return;
            }
            // Its answer finds that another one was asked for, and is given back.
            Seat::None | Seat::Asked(_) | Seat::Refused(_) => None,
            Seat::Held(other) => Some(other),
        };
        *seat = Seat::Asked(address);
        if let Some(address) = held {
            self.submit_seat(SeatAsk::Free { address });
        }
        self.submit_seat(SeatAsk::Take { key, address });
    }

    /// Whether a request has to wait until it is known if its address has a seat for it.
    pub(super) fn must_wait_for_seat(&mut self, key: ConnKey, head: &Head<'_>) -> bool {
        if self.settings.connections_per_address_max == 0 {
            return false;
        }
        let is_proxys = self.session(key).is_some_and(|session| session.trust == Trust::Proxy);
        if is_proxys
            && let Some(client) = self.client_address(key, head)
            && !self.settings.trusted_proxies.contains(&client)
        {
            self.ask_for_seat(key, client);
        }
        let papers = self.session(key).and_then(|session| session.papers.as_deref());
        papers.is_some_and(|papers| matches!(papers.seat, Seat::Asked(_)))
    }

    /// Gives back what a connection held that is gone.
    pub(super) fn free_seat(&mut self, seat: Seat) {
        match seat {
            Seat::Held(address) => self.submit_seat(SeatAsk::Free { address }),
            // The answer finds nobody, and is given back then.
            Seat::Asked(_) | Seat::None | Seat::Refused(_) => {}
        }
    }

    fn submit_seat(&mut self, ask: SeatAsk) {
        let (SeatAsk::Take { address, .. } | SeatAsk::Free { address }) = ask;
        let home = home_of(address_hash(self.room_key, address.bits()), self.loops);
        if home == self.id {
            return self.apply_seat(self.id, ask);
        }
        if let Some(batch) = self.outgoing.get_mut(home.index()) {
            batch.commands.push(HomeCommand::Seat(ask));
        }
    }

    /// At the home of the address.
    pub(super) fn apply_seat(&mut self, from: LoopId, ask: SeatAsk) {
        match ask {
            SeatAsk::Free { address } => self.address_seats.free(address.bits()),
            SeatAsk::Take { key, address } => {
                let most = self.settings.connections_per_address_max;
                let granted = self.address_seats.take(address.bits(), most);
                if from == self.id {
                    return self.handle_seat(key, address, granted);
                }
                self.push_reply(from, Reply::Seat { key, address, granted });
            }
        }
    }

    /// The home has answered: the request goes on, or is refused.
    pub(super) fn handle_seat(&mut self, key: ConnKey, address: AddressKey, granted: bool) {
        let asked = |seat: &Seat| *seat == Seat::Asked(address);
        let session = self.sessions.get_mut(key.index, key.generation);
        let is_open = |session: &&mut Session| !matches!(session.phase, Phase::Gone);
        let papers = session.filter(is_open).and_then(|session| session.papers.as_deref_mut());
        let Some(papers) = papers.filter(|papers| asked(&papers.seat)) else {
            if granted {
                self.submit_seat(SeatAsk::Free { address });
            }
            return;
        };
        papers.seat = if granted { Seat::Held(address) } else { Seat::Refused(address) };
        if !granted {
            self.counters.addresses_refused += 1;
            self.notice(Notice::AddressFull { key, address });
        }
        if self.session(key).is_some_and(|session| session.holds_head()) {
            self.unpause(key);
        } else if !granted {
            self.arm(key); // It is told at once: who says nothing does not stay.
        }
    }

    /// Keeps a complete head until it is known whether its address has a seat for it.
    pub(super) fn hold_head(&mut self, key: ConnKey, head: &[u8]) {
        if let Some(session) = self.session(key) {
            session.papers_mut().head = Some(head.into());
            self.counters.spill_bytes += head.len() as u64;
            self.pause(key, Pause::Answer);
        }
    }

    /// The head that was kept.
    pub(super) fn take_held_head(&mut self, key: ConnKey) -> Option<Box<[u8]>> {
        let head = self.session(key)?.papers.as_deref_mut()?.head.take()?;
        self.counters.spill_bytes -= head.len() as u64;
        Some(head)
    }

    /// Whether the connection is one too many of its address.
    pub(super) fn is_beyond_address(&mut self, key: ConnKey) -> bool {
        self.session(key).is_some_and(|session| session.is_beyond_address())
    }

    /// Gives back what a connection held that is gone.
    pub(super) fn drop_papers(&mut self, key: ConnKey, papers: Papers) {
        if let Some(head) = &papers.head {
            self.counters.spill_bytes -= head.len() as u64;
        }
        if let Some(held) = &papers.held {
            self.counters.spill_bytes -= held.1.len() as u64;
        }
        self.free_seat(papers.seat);
        self.stop_metering(key, papers.metered);
    }
}

impl Session {
    /// Whether it is one too many of its address.
    pub(crate) fn is_beyond_address(&self) -> bool {
        let papers = self.papers.as_deref();
        papers.is_some_and(|papers| matches!(papers.seat, Seat::Refused(_)))
    }

    /// Whether a message waits here to be paid for.
    pub(crate) fn holds_message(&self) -> bool {
        self.papers.as_deref().is_some_and(|papers| papers.held.is_some())
    }

    /// Whether something that was read waits here: a head, or a message.
    pub(crate) fn holds_input(&self) -> bool {
        let held = matches!(&self.phase, Phase::Native(native) if native.held.is_some());
        held || self.holds_head() || self.holds_message()
    }

    /// Whether a complete head waits here to be looked into.
    pub(crate) fn holds_head(&self) -> bool {
        matches!(self.phase, Phase::Head(_))
            && self.papers.as_deref().is_some_and(|papers| papers.head.is_some())
    }
}

#[cfg(test)]
#[path = "seating_tests.rs"]
mod tests;
