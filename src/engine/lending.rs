//! Rates of users and addresses, whose connections may be on any loop: each has a bucket at its
//! home, which lends loops a little of it at a time.
//!
//! A [`Borrower`] is a loop's half, a [`Lender`] the home's; one may be both. Not here: how they
//! talk to each other, and when a connection that waits is read on. Invariants: a loop holds no
//! more than one loan of a holder, since it gives back what is left as it asks for more; so in any
//! stretch of time no more passes than the bucket allows and one loan for each loop; all loans
//! together are at most half a burst (or one message each), so that who keeps to the rate is not
//! refused for what lies on other loops; both forget whom nobody uses.

use super::address_seats::address_hash;
use super::bucket::{Bucket, Rate};
use super::hash::{HashKey, home_of};
use super::table::Table;
use crate::broker::{ConnKey, LoopId};
use crate::limits::{RATE_BURST_MS, RATE_LOAN_MS};
use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Full buckets are looked for this often: what has to be held a while longer costs a few words.
const SWEEP_MS: u64 = 1_000;

/// Whose rate it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Holder {
    /// A user, by its id.
    User(Box<str>),
    /// An address, or as much of it as counts.
    Address(u128),
}

impl Holder {
    /// The hash by which it finds its home, and its place in tables.
    pub(crate) fn hash(&self, key: HashKey) -> u64 {
        match self {
            Self::User(id) => key.name(id),
            Self::Address(address) => address_hash(key, *address),
        }
    }
}

/// The rates of all holders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SharedRates {
    /// Of each user.
    pub(crate) user: Rate,
    /// Of each address.
    pub(crate) address: Rate,
}

impl SharedRates {
    /// The rate that `holder` has to keep to.
    pub(crate) const fn of(&self, holder: &Holder) -> Rate {
        match holder {
            Holder::User(_) => self.user,
            Holder::Address(_) => self.address,
        }
    }
}

/// Messages and bytes that may pass. Of what has no limit, the number means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// What a home answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Loan {
    /// At least one message of the size that was asked for, or nothing at all.
    pub(crate) tokens: Tokens,
    /// Where it is nothing: milliseconds until there is enough. 0 otherwise.
    pub(crate) retry_ms: u64,
}

// --- at home ---------------------------------------------------------------------------------

#[derive(Debug)]
struct Lent {
    holder: Holder,
    hash: u64,
    bucket: Bucket,
}

/// The buckets at home on one loop: of those that are not full.
#[derive(Debug)]
pub(crate) struct Lender {
    key: HashKey,
    rates: SharedRates,
    loan_ms: u64,
    buckets: Table<Lent>,
    places: HashTable<u32>,
    /// Each bucket once, by when it may be full.
    due: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Lender {
    /// Lends to that many loops.
    pub(crate) fn new(key: HashKey, rates: SharedRates, loops: u8) -> Self {
        // What other loops hold is missing here: all of them together may not hold a burst.
        let loan_ms = RATE_LOAN_MS.min(RATE_BURST_MS / 2 / u64::from(loops.max(1)));
        let buckets = Table::new();
        Self { key, rates, loan_ms, buckets, places: HashTable::new(), due: BinaryHeap::new() }
    }

    /// Takes back what a loop has left, and lends it enough for a message of so many bytes, and
    /// some more where there is some.
    pub(crate) fn lend(
        &mut self,
        holder: &Holder,
        wanted_bytes: u64,
        returned: Tokens,
        now_ms: u64,
    ) -> Loan {
        let rate = self.rates.of(holder);
        let loan_ms = self.loan_ms;
        let Some(lent) = self.open(holder, now_ms) else {
            debug_assert!(false, "it was just made");
            return Loan { tokens: Tokens::default(), retry_ms: 1 };
        };
        let bucket = &mut lent.bucket;
        bucket.recover(rate, now_ms);
        bucket.put_back(returned.messages, returned.bytes);
        let retry_ms = bucket.wait_ms(rate, wanted_bytes);
        if retry_ms > 0 {
            return Loan { tokens: Tokens::default(), retry_ms };
        }
        let (messages, bytes) = bucket.left(rate);
        let share = |per_s: u64| per_s.saturating_mul(loan_ms) / 1_000;
        let messages = messages.min(share(rate.messages_per_s.into())).max(1);
        let bytes = bytes.min(share(rate.bytes_per_s)).max(wanted_bytes);
        bucket.spend(rate, messages, bytes);
        Loan { tokens: Tokens { messages, bytes }, retry_ms: 0 }
    }

    /// Takes back what was lent to `holder` and not spent, while it is remembered.
    pub(crate) fn give_back(&mut self, holder: &Holder, returned: Tokens, now_ms: u64) {
        let rate = self.rates.of(holder);
        let (hash, buckets) = (holder.hash(self.key), &self.buckets);
        let same = |slot: &u32| buckets.at(*slot).is_some_and(|lent| lent.holder == *holder);
        let Some(slot) = self.places.find(hash, same).copied() else { return };
        if let Some(lent) = self.buckets.at_mut(slot) {
            lent.bucket.recover(rate, now_ms);
            lent.bucket.put_back(returned.messages, returned.bytes);
        }
    }

    /// The bucket of that holder, made if need be.
    fn open(&mut self, holder: &Holder, now_ms: u64) -> Option<&mut Lent> {
        let hash = holder.hash(self.key);
        let buckets = &self.buckets;
        let same = |slot: &u32| buckets.at(*slot).is_some_and(|lent| lent.holder == *holder);
        if let Some(slot) = self.places.find(hash, same).copied() {
            return self.buckets.at_mut(slot);
        }
        let lent = Lent { holder: holder.clone(), hash, bucket: Bucket::default() };
        let (slot, _) = self.buckets.insert(lent);
        let buckets = &self.buckets;
        let hash_of = |slot: &u32| buckets.at(*slot).map_or(0, |lent| lent.hash);
        self.places.insert_unique(hash, slot, hash_of);
        self.due.push(Reverse((sweep(now_ms), slot)));
        self.buckets.at_mut(slot)
    }

    /// Forgets buckets that are full.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some(&Reverse((due, slot))) = self.due.peek().filter(|due| due.0.0 <= now_ms) {
            self.due.pop();
            let Some(lent) = self.buckets.at(slot) else { continue };
            let full_ms = lent.bucket.full_at_ms(self.rates.of(&lent.holder));
            if full_ms > now_ms {
                self.due.push(Reverse((sweep(full_ms.max(due)), slot)));
                continue;
            }
            if let Ok(place) = self.places.find_entry(lent.hash, |other| *other == slot) {
                place.remove();
            }
            let generation = self.buckets.generation_at(slot).unwrap_or_default();
            self.buckets.remove(slot, generation);
        }
        if self.buckets.len() == 0 && self.places.capacity() > 0 {
            (self.places, self.due) = (HashTable::new(), BinaryHeap::new());
        }
    }

    /// When [`Self::expire`] next has something to look at.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Buckets that are not full.
    pub(crate) const fn len(&self) -> usize {
        self.buckets.len()
    }
}

/// The first look at or after that moment.
const fn sweep(ms: u64) -> u64 {
    (ms / SWEEP_MS + 1).saturating_mul(SWEEP_MS)
}

// --- on each loop ----------------------------------------------------------------------------

/// A holder as one loop knows it, for as long as a connection of the loop counts as it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    slot: u32,
    generation: u32,
}

/// A question for a holder's home, which is answered by one [`Loan`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ask {
    /// To whom the answer goes: [`Borrower::receive`].
    pub(crate) claim: Option<Claim>,
    /// Where it is to be asked.
    pub(crate) home: LoopId,
    /// For [`Lender::lend`], as is what follows.
    pub(crate) holder: Holder,
    pub(crate) wanted_bytes: u64,
    pub(crate) returned: Tokens,
}

/// What is to be done with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Take {
    /// It goes on its way.
    Go,
    /// Its connection waits until [`Borrower::receive`] names it, then it is tried again.
    Wait,
    /// It is refused, and its sender told when to come back.
    Refuse {
        /// Milliseconds after which it would pass.
        retry_after_ms: u64,
    },
}

#[derive(Debug)]
struct Borrowed {
    holder: Holder,
    hash: u64,
    /// Connections of this loop that count as it.
    connections: u32,
    tokens: Tokens,
    asked: bool,
    /// The home has said no to messages of that many bytes and more until then.
    denied: Option<(u64, u64)>,
    /// In the order in which they came.
    waiting: Vec<ConnKey>,
}

/// What one loop holds of others' buckets.
#[derive(Debug)]
pub(crate) struct Borrower {
    key: HashKey,
    rates: SharedRates,
    loops: u8,
    holders: Table<Borrowed>,
    places: HashTable<u32>,
    asks: VecDeque<Ask>,
}

impl Borrower {
    /// Holds nothing. `key` is that of all loops, of which there are so many.
    pub(crate) fn new(key: HashKey, rates: SharedRates, loops: u8) -> Self {
        let (holders, places) = (Table::new(), HashTable::new());
        Self { key, rates, loops, holders, places, asks: VecDeque::new() }
    }

    /// Counts a connection in as `holder`; none if that has no limit.
    pub(crate) fn enter(&mut self, holder: &Holder) -> Option<Claim> {
        if self.rates.of(holder).is_off() {
            return None;
        }
        let hash = holder.hash(self.key);
        let holders = &self.holders;
        let same = |slot: &u32| holders.at(*slot).is_some_and(|known| known.holder == *holder);
        if let Some(slot) = self.places.find(hash, same).copied() {
            let generation = self.holders.generation_at(slot)?;
            self.holders.at_mut(slot)?.connections += 1;
            return Some(Claim { slot, generation });
        }
        let (slot, generation) = self.holders.insert(Borrowed {
            holder: holder.clone(),
            hash,
            connections: 1,
            tokens: Tokens::default(),
            asked: false,
            denied: None,
            waiting: Vec::new(),
        });
        let holders = &self.holders;
        let hash_of = |slot: &u32| holders.at(*slot).map_or(0, |known| known.hash);
        self.places.insert_unique(hash, slot, hash_of);
        Some(Claim { slot, generation })
    }

    /// Counts the connection `key` out. What the last one leaves behind is lost to its holder.
    pub(crate) fn leave(&mut self, claim: Claim, key: ConnKey) {
        let Some(known) = self.holders.get_mut(claim.slot, claim.generation) else {
            debug_assert!(false, "a connection leaves once");
            return;
        };
        known.waiting.retain(|waiting| *waiting != key);
        known.connections -= 1;
        if known.connections > 0 {
            return;
        }
        let (returned, home) = (known.tokens, home_of(known.hash, self.loops));
        if returned != Tokens::default() {
            let holder = known.holder.clone();
            self.asks.push_back(Ask { claim: None, home, holder, wanted_bytes: 0, returned });
        }
        if let Ok(place) = self.places.find_entry(known.hash, |other| *other == claim.slot) {
            place.remove();
        }
        self.holders.remove(claim.slot, claim.generation);
    }

    /// Takes a message of so many bytes of the connection `key` off all that it counts as, or off
    /// none: what one of them refuses costs the others nothing, and who waits for one does not pay
    /// another twice.
    pub(crate) fn take(
        &mut self,
        claims: &[Claim],
        bytes: usize,
        now_ms: u64,
        key: ConnKey,
    ) -> Take {
        let (bytes, mut short) = (bytes as u64, None);
        for claim in claims {
            let Some(known) = self.holders.get_mut(claim.slot, claim.generation) else { continue };
            match known.look(self.rates.of(&known.holder), bytes, now_ms) {
                Take::Go => {}
                Take::Wait => short = short.or(Some(*claim)),
                refused @ Take::Refuse { .. } => return refused,
            }
        }
        if let Some(claim) = short {
            if let Some(known) = self.holders.get_mut(claim.slot, claim.generation) {
                if !known.waiting.contains(&key) {
                    known.waiting.push(key);
                }
                self.asks.extend(known.ask(claim, bytes, self.loops));
            }
            return Take::Wait;
        }
        for claim in claims {
            let Some(known) = self.holders.get_mut(claim.slot, claim.generation) else { continue };
            known.spend(self.rates.of(&known.holder), bytes);
        }
        Take::Go
    }

    /// The next question for a home.
    pub(crate) fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// Takes in what a home has answered; returns who waited for it, first come first. An answer
    /// to who has gone misses.
    pub(crate) fn receive(&mut self, ask: &Ask, loan: Loan, now_ms: u64) -> Vec<ConnKey> {
        let known = ask.claim.and_then(|claim| self.holders.get_mut(claim.slot, claim.generation));
        let Some(known) = known else {
            if loan.tokens != Tokens::default() {
                let (home, holder) = (ask.home, ask.holder.clone());
                let returned = loan.tokens;
                self.asks.push_back(Ask { claim: None, home, holder, wanted_bytes: 0, returned });
            }
            return Vec::new();
        };
        known.asked = false;
        known.tokens.messages = known.tokens.messages.saturating_add(loan.tokens.messages);
        known.tokens.bytes = known.tokens.bytes.saturating_add(loan.tokens.bytes);
        let until_ms = now_ms.saturating_add(loan.retry_ms);
        known.denied = (loan.retry_ms > 0).then_some((ask.wanted_bytes, until_ms));
        std::mem::take(&mut known.waiting)
    }

    /// Holders that connections of this loop count as.
    pub(crate) const fn len(&self) -> usize {
        self.holders.len()
    }
}

impl Borrowed {
    fn has(&self, rate: Rate, bytes: u64) -> bool {
        (rate.messages_per_s == 0 || self.tokens.messages > 0)
            && (rate.bytes_per_s == 0 || self.tokens.bytes >= bytes)
    }

    fn look(&mut self, rate: Rate, bytes: u64, now_ms: u64) -> Take {
        if self.has(rate, bytes) {
            return Take::Go;
        }
        match self.denied {
            Some((_, until_ms)) if until_ms <= now_ms => self.denied = None,
            Some((denied_bytes, until_ms)) if bytes >= denied_bytes => {
                return Take::Refuse { retry_after_ms: until_ms - now_ms };
            }
            // A smaller one may pass.
            Some(_) | None => {}
        }
        Take::Wait
    }

    fn spend(&mut self, rate: Rate, bytes: u64) {
        if rate.messages_per_s > 0 {
            self.tokens.messages = self.tokens.messages.saturating_sub(1);
        }
        if rate.bytes_per_s > 0 {
            self.tokens.bytes = self.tokens.bytes.saturating_sub(bytes);
        }
    }

    /// The question, unless one is on its way.
    fn ask(&mut self, claim: Claim, wanted_bytes: u64, loops: u8) -> Option<Ask> {
        if std::mem::replace(&mut self.asked, true) {
            return None;
        }
        let returned = std::mem::take(&mut self.tokens);
        let (home, holder) = (home_of(self.hash, loops), self.holder.clone());
        Some(Ask { claim: Some(claim), home, holder, wanted_bytes, returned })
    }
}

#[cfg(test)]
#[path = "lending_tests.rs"]
mod tests;
