//! Credit: how much a loop may have under way at each home, and who waits for more.
//!
//! A fast publisher is slowed, not buffered: out of credit, the connection that needs it is not
//! read, and TCP pushes back. Invariant: what is spent comes back when the home has applied it, so
//! the sum of spent and left is constant.

use super::batch::Spent;
use crate::broker::{ConnKey, LoopId};
use crate::limits::{CREDIT_BYTES, CREDIT_COMMANDS};
use std::collections::VecDeque;

/// What is left at one home; one message may overdraw it.
#[derive(Debug)]
struct Account {
    commands: i64,
    bytes: i64,
    waiting: VecDeque<ConnKey>,
}

/// A loop's credit at every home.
#[derive(Debug)]
pub(crate) struct Credits {
    accounts: Vec<Account>,
}

impl Credits {
    pub(crate) fn new(loops: u8) -> Self {
        let account = || Account {
            commands: i64::from(CREDIT_COMMANDS),
            bytes: i64::from(CREDIT_BYTES),
            waiting: VecDeque::new(),
        };
        Self { accounts: (0..loops).map(|_| account()).collect() }
    }

    /// Whether one more command may be sent to `home`.
    pub(crate) fn is_left(&self, home: LoopId) -> bool {
        self.accounts
            .get(home.index())
            .is_some_and(|account| account.commands > 0 && account.bytes > 0)
    }

    /// Takes the cost of one command with that payload.
    pub(crate) fn spend(&mut self, home: LoopId, payload_bytes: usize) {
        if let Some(account) = self.accounts.get_mut(home.index()) {
            account.commands -= 1;
            account.bytes -= i64::try_from(payload_bytes).unwrap_or(i64::MAX);
        }
    }

    /// Takes in what `home` gives back.
    pub(crate) fn refund(&mut self, home: LoopId, spent: Spent) {
        if let Some(account) = self.accounts.get_mut(home.index()) {
            account.commands += i64::from(spent.commands);
            account.bytes += i64::from(spent.bytes);
            debug_assert!(account.commands <= i64::from(CREDIT_COMMANDS), "given back twice");
        }
    }

    /// Notes that `key` is not read until `home` has credit for it.
    pub(crate) fn wait(&mut self, home: LoopId, key: ConnKey) {
        if let Some(account) = self.accounts.get_mut(home.index()) {
            account.waiting.push_back(key);
        }
    }

    /// The next connection that may go on at `home`; at most as many are to be taken at a time as
    /// are waiting now.
    pub(crate) fn poll_waiting(&mut self, home: LoopId) -> Option<ConnKey> {
        self.accounts.get_mut(home.index())?.waiting.pop_front()
    }

    /// Connections waiting for `home`.
    pub(crate) fn waiting(&self, home: LoopId) -> usize {
        self.accounts.get(home.index()).map_or(0, |account| account.waiting.len())
    }
}

/// Whether so much is owed that it goes back even if nothing else does.
pub(crate) const fn is_worth_a_batch(owed: Spent) -> bool {
    owed.commands >= CREDIT_COMMANDS / 4 || owed.bytes >= CREDIT_BYTES / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: LoopId = LoopId(1);

    #[test]
    fn credit_runs_out_by_commands_and_by_bytes_and_comes_back() {
        let mut credits = Credits::new(2);
        for _ in 0..CREDIT_COMMANDS {
            assert!(credits.is_left(HOME));
            credits.spend(HOME, 1);
        }
        assert!(!credits.is_left(HOME));
        assert!(credits.is_left(LoopId(0)), "each home has an account of its own");
        credits.refund(HOME, Spent { commands: CREDIT_COMMANDS, bytes: CREDIT_COMMANDS });
        credits.spend(HOME, CREDIT_BYTES as usize);
        assert!(!credits.is_left(HOME));
        credits.refund(HOME, Spent { commands: 1, bytes: CREDIT_BYTES });
        assert!(credits.is_left(HOME));
    }

    #[test]
    fn a_quarter_of_either_is_worth_a_batch() {
        assert!(!is_worth_a_batch(Spent { commands: 1, bytes: 1 }));
        assert!(is_worth_a_batch(Spent { commands: CREDIT_COMMANDS / 4, bytes: 0 }));
        assert!(is_worth_a_batch(Spent { commands: 1, bytes: CREDIT_BYTES / 4 }));
    }
}
