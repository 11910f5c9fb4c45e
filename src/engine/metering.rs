//! What connections, users and addresses may send in a second, taken from their buckets.
//!
//! A connection's own bucket is here; those of users and addresses are at their homes, which lend
//! this loop a tenth of a second's worth at a time (`lending`). Not here: what is told to whom is
//! refused. Invariants: where no rate is set nothing is looked up; one message is paid for once,
//! however often it has to wait.

use super::batch::{HomeCommand, Reply};
use super::bucket::{Meter, Rate, Verdict};
use super::door::Caller;
use super::lending::{Ask, Claim, Holder, Loan, SharedRates, Take};
use super::session::Pause;
use super::shard::{Notice, Shard};
use super::timers::tick_of;
use crate::api::Intent;
use crate::broker::{ConnKey, LoopId, Now, PeerAddr};
use crate::http::Head;

/// The rates of all connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// Of each connection.
    pub connection: Rate,
    /// Of each user, over all its connections.
    pub user: Rate,
    /// Of each address, IPv6 by its first 64 bits.
    pub address: Rate,
}

impl Rates {
    pub(crate) const fn are_off(&self) -> bool {
        self.connection.is_off() && self.user.is_off() && self.address.is_off()
    }

    pub(crate) const fn shared(&self) -> SharedRates {
        SharedRates { user: self.user, address: self.address }
    }
}

/// What one connection pays from.
#[derive(Debug, Default)]
pub(crate) struct Metered {
    meter: Meter,
    /// Its own part of a message that waits is paid.
    is_paid: bool,
    claims: Vec<Claim>,
    /// For whom the claims are.
    user: Option<Box<str>>,
    address: Option<PeerAddr>,
}

/// Whether a message may pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Toll {
    Go,
    /// The connection is to be paused until a loan comes.
    Wait,
    Refuse {
        retry_after_ms: u64,
    },
    /// It was refused too often.
    Close,
}

impl Toll {
    /// How long who was refused has to wait.
    pub(super) const fn wait_ms(self) -> u64 {
        match self {
            Self::Refuse { retry_after_ms } => retry_after_ms,
            Self::Go | Self::Wait | Self::Close => LAST_WAIT_MS,
        }
    }
}

/// How long who is to be closed may be kept waiting instead, where closing is no answer.
const LAST_WAIT_MS: u64 = 1_000;

impl Shard {
    /// Has a connection pay as that user and from that address from now on.
    pub(super) fn meter_as(&mut self, key: ConnKey, user: Option<&str>, address: Option<PeerAddr>) {
        if !self.is_metered {
            return;
        }
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else { return };
        let metered = session.papers_mut().metered.get_or_insert_default();
        if metered.user.as_deref() == user && metered.address == address {
            return;
        }
        for claim in metered.claims.drain(..) {
            self.borrower.leave(claim, key);
        }
        let holders = [
            user.map(|user| Holder::User(user.into())),
            address
                .filter(|address| *address != PeerAddr::Unix)
                .map(|address| Holder::Address(address.bucket().bits())),
        ];
        let borrower = &mut self.borrower;
        let claims = holders.iter().flatten().filter_map(|holder| borrower.enter(holder));
        metered.claims.extend(claims);
        (metered.user, metered.address) = (user.map(Into::into), address);
    }

    /// Has a request paid for by whoever makes it; says whether it has to be. A server that shows
    /// its key pays for nothing, and who only looks neither.
    pub(super) fn meter_caller(
        &mut self,
        key: ConnKey,
        head: &Head<'_>,
        caller: &Caller,
        intent: &Intent,
    ) -> bool {
        let only_looks = matches!(intent, Intent::Health | Intent::Ready | Intent::Metrics);
        if !self.is_metered || only_looks {
            return false;
        }
        let user = match caller {
            Caller::User(access) => Some(access.user.id()),
            Caller::Server if self.authority.guards_api() && *intent != Intent::Login => {
                return false;
            }
            Caller::Server => None,
        };
        let address = self.client_address(key, head);
        self.meter_as(key, user, address);
        true
    }

    /// Has a connection pay for a message of so many bytes.
    pub(super) fn toll(&mut self, key: ConnKey, bytes: usize, now: Now) -> Toll {
        if !self.is_metered {
            return Toll::Go;
        }
        let toll = self.take_toll(key, bytes, now);
        match toll {
            Toll::Refuse { .. } | Toll::Close => {
                self.counters.rate_limited += 1;
                self.notice(Notice::RateLimited { key });
            }
            Toll::Go | Toll::Wait => {}
        }
        toll
    }

    fn take_toll(&mut self, key: ConnKey, bytes: usize, now: Now) -> Toll {
        let rate = self.settings.rates.connection;
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else {
            return Toll::Go;
        };
        let metered =
            session.papers.as_deref_mut().and_then(|papers| papers.metered.as_deref_mut());
        let Some(metered) = metered else { return Toll::Go };
        if !metered.is_paid {
            match metered.meter.take(rate, bytes, now.mono_ms) {
                Verdict::Go => metered.is_paid = true,
                Verdict::Refuse { retry_after_ms } => return Toll::Refuse { retry_after_ms },
                Verdict::Close => return Toll::Close,
            }
        }
        let mut taken = self.borrower.take(&metered.claims, bytes, now.mono_ms, key);
        if taken == Take::Wait {
            // If the home is here, the loan is too.
            self.send_borrower_asks(now);
            taken = match self.metered(key) {
                Some(claims) => self.borrower.take(&claims, bytes, now.mono_ms, key),
                None => Take::Go,
            };
        }
        let Some(session) = self.sessions.get_mut(key.index, key.generation) else {
            return Toll::Go;
        };
        let metered =
            session.papers.as_deref_mut().and_then(|papers| papers.metered.as_deref_mut());
        let Some(metered) = metered else { return Toll::Go };
        metered.is_paid = taken == Take::Wait;
        match taken {
            Take::Go => Toll::Go,
            Take::Wait => Toll::Wait,
            Take::Refuse { retry_after_ms } => {
                match metered.meter.refuse(retry_after_ms, now.mono_ms) {
                    Verdict::Go => Toll::Go,
                    Verdict::Refuse { retry_after_ms } => Toll::Refuse { retry_after_ms },
                    Verdict::Close => Toll::Close,
                }
            }
        }
    }

    fn metered(&mut self, key: ConnKey) -> Option<Vec<Claim>> {
        let papers = self.session(key)?.papers.as_deref()?;
        Some(papers.metered.as_deref()?.claims.clone())
    }

    /// Sends what this loop wants to borrow, or gives back, on its way.
    fn send_borrower_asks(&mut self, now: Now) {
        while let Some(ask) = self.borrower.poll_ask() {
            if ask.home == self.id {
                if let Some(loan) = self.lend(&ask, now) {
                    self.receive_loan(&ask, loan, now);
                }
            } else if let Some(batch) = self.outgoing.get_mut(ask.home.index()) {
                batch.commands.push(HomeCommand::Borrow(Box::new(ask)));
            }
        }
    }

    fn lend(&mut self, ask: &Ask, now: Now) -> Option<Loan> {
        if ask.claim.is_none() {
            self.lender.give_back(&ask.holder, ask.returned, now.mono_ms);
            return None;
        }
        Some(self.lender.lend(&ask.holder, ask.wanted_bytes, ask.returned, now.mono_ms))
    }

    /// At the home of a user or an address.
    pub(super) fn apply_borrow(&mut self, from: LoopId, ask: Box<Ask>, now: Now) {
        if let Some(loan) = self.lend(&ask, now) {
            self.push_reply(from, Reply::Lent { ask, loan });
        }
    }

    /// A loan has come, or word when to ask again.
    pub(super) fn receive_loan(&mut self, ask: &Ask, loan: Loan, now: Now) {
        for key in self.borrower.receive(ask, loan, now.mono_ms) {
            if self.session(key).is_some_and(|session| session.pause == Pause::Answer) {
                self.unpause(key);
            }
        }
    }

    /// Lets go of what a connection paid from that is gone.
    pub(super) fn stop_metering(&mut self, key: ConnKey, metered: Option<Box<Metered>>) {
        for claim in metered.into_iter().flat_map(|metered| metered.claims) {
            self.borrower.leave(claim, key);
        }
    }

    /// Has a connection wait so long before it is read on: one that can't be told.
    pub(super) fn rest(&mut self, key: ConnKey, ms: u64, now: Now) {
        if let Some(session) = self.session(key) {
            session.papers_mut().rests_until = Some(tick_of(now.mono_ms + ms).saturating_add(1));
        }
        self.pause(key, Pause::Answer);
    }

    /// Lets a connection go on that has rested.
    pub(super) fn end_rest(&mut self, key: ConnKey, tick: u32) {
        let papers = self.session(key).and_then(|session| session.papers.as_deref_mut());
        let Some(papers) = papers else { return };
        if papers.rests_until.is_some_and(|until| until <= tick) {
            papers.rests_until = None;
            self.unpause(key);
        }
    }

    /// Sends what is still to be sent of loans, and forgets buckets that are full again.
    pub(super) fn settle_loans(&mut self, now: Now) {
        if self.is_metered {
            self.send_borrower_asks(now);
            self.lender.expire(now.mono_ms);
        }
    }
}

#[cfg(test)]
#[path = "metering_tests.rs"]
mod tests;
