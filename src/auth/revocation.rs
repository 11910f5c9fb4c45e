//! Tokens that are not to be believed any more, though they have not ended.
//!
//! Not here: how every loop is told (`engine`), what a request must look like (`api`). Invariants:
//! the table is bounded; whom one revocation refuses is never let in again by a later one.

use super::TokenFacts;
use crate::limits::{REVOCATIONS_MAX, TOKEN_LEEWAY_S_MAX};
use std::collections::BTreeMap;
use std::fmt;

/// What is revoked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Revocation {
    /// Tokens of a user.
    User {
        /// The user's id.
        id: Box<str>,
        /// Those issued before that Unix second; without it, all that were issued up to now.
        issued_before_s: Option<u64>,
    },
    /// One token, by its `jti`.
    Token {
        /// The `jti`.
        id: Box<str>,
    },
    /// Tokens of everyone.
    IssuedBefore {
        /// Those issued before that Unix second.
        s: u64,
    },
}

impl Revocation {
    /// The same by the clock of who asked for it, so that it means the same wherever it comes in
    /// force a moment later.
    #[must_use]
    pub fn as_of(self, now_unix_s: u64) -> Self {
        match self {
            Self::User { id, issued_before_s: None } => {
                Self::User { id, issued_before_s: Some(now_unix_s.saturating_add(1)) }
            }
            Self::User { .. } | Self::Token { .. } | Self::IssuedBefore { .. } => self,
        }
    }
}

/// There are as many revocations as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RevocationsFull;

impl fmt::Display for RevocationsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{REVOCATIONS_MAX} revocations are in force, as many as there may be: revoke by \
             issuedBefore alone, which takes the place of all that is older"
        )
    }
}

/// All that is revoked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Revocations {
    /// Everyone's tokens issued before that second.
    issued_before_s: u64,
    /// By user: those issued before that second.
    users: BTreeMap<Box<str>, u64>,
    /// By `jti`: when it was revoked, in Unix seconds.
    tokens: BTreeMap<Box<str>, u64>,
}

impl Revocations {
    /// Puts `revocation`, which came at that time, in force. The same once more changes nothing.
    pub fn add(&mut self, revocation: &Revocation, now_unix_s: u64) -> Result<(), RevocationsFull> {
        let is_full = self.len() >= REVOCATIONS_MAX;
        match revocation {
            Revocation::User { id, issued_before_s } => {
                let before_s = issued_before_s.unwrap_or(now_unix_s.saturating_add(1));
                if before_s > self.issued_before_s {
                    let known_s = entry(&mut self.users, id, is_full)?;
                    *known_s = before_s.max(*known_s);
                }
            }
            Revocation::Token { id } => *entry(&mut self.tokens, id, is_full)? = now_unix_s,
            Revocation::IssuedBefore { s } => self.revoke_all(*s),
        }
        Ok(())
    }

    /// Whether a token with these facts, of that user, is revoked. O(log n).
    pub fn is_revoked(&self, user: &str, token: &TokenFacts) -> bool {
        let is_named = || token.id.as_ref().is_some_and(|id| self.tokens.contains_key(id));
        token.issued_s < self.issued_before_s
            || self.users.get(user).is_some_and(|before_s| token.issued_s < *before_s)
            || is_named()
    }

    /// Revocations in force: users, tokens, and the one by time alone.
    pub fn len(&self) -> usize {
        self.users.len() + self.tokens.len() + usize::from(self.issued_before_s > 0)
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops what this covers. A token was issued before it was revoked, but by a clock that may
    /// be ahead of ours.
    fn revoke_all(&mut self, before_s: u64) {
        self.issued_before_s = before_s.max(self.issued_before_s);
        let before_s = self.issued_before_s;
        self.users.retain(|_, user_s| *user_s > before_s);
        self.tokens.retain(|_, added_s| added_s.saturating_add(TOKEN_LEEWAY_S_MAX) >= before_s);
    }
}

/// The entry of `id`, made if there is place for one.
fn entry<'a>(
    table: &'a mut BTreeMap<Box<str>, u64>,
    id: &str,
    is_full: bool,
) -> Result<&'a mut u64, RevocationsFull> {
    if is_full && !table.contains_key(id) {
        return Err(RevocationsFull);
    }
    Ok(table.entry(id.into()).or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: Option<&str>, issued_s: u64) -> TokenFacts {
        TokenFacts { id: id.map(Into::into), issued_s, expires_s: u64::MAX }
    }

    fn user(id: &str, issued_before_s: Option<u64>) -> Revocation {
        Revocation::User { id: id.into(), issued_before_s }
    }

    fn named(id: &str) -> Revocation {
        Revocation::Token { id: id.into() }
    }

    #[test]
    fn each_kind_revokes_what_it_says_and_nothing_else() {
        let cases = [
            (user("ada", None), [("ada", 100, true), ("ada", 101, false), ("bob", 0, false)]),
            (user("ada", Some(50)), [("ada", 49, true), ("ada", 50, false), ("bob", 49, false)]),
            (
                Revocation::IssuedBefore { s: 50 },
                [("ada", 49, true), ("bob", 0, true), ("bob", 50, false)],
            ),
        ];
        for (revocation, wanted) in cases {
            let mut revocations = Revocations::default();
            assert_eq!(revocations.add(&revocation, 100), Ok(()));
            assert_eq!(revocations.add(&revocation, 100), Ok(()), "again");
            assert_eq!(revocations.len(), 1);
            for (user, issued_s, is_revoked) in wanted {
                let found = revocations.is_revoked(user, &token(Some("t"), issued_s));
                assert_eq!(found, is_revoked, "{user} {issued_s} after {revocation:?}");
            }
        }
        let mut revocations = Revocations::default();
        assert!(revocations.is_empty() && !revocations.is_revoked("ada", &token(None, 0)));
        assert_eq!(revocations.add(&named("t"), 100), Ok(()));
        assert!(revocations.is_revoked("ada", &token(Some("t"), 1_000)));
        assert!(!revocations.is_revoked("ada", &token(Some("u"), 0)));
        assert!(!revocations.is_revoked("ada", &token(None, 0)));
    }

    #[test]
    fn by_time_alone_only_the_latest_counts_and_what_it_covers_is_dropped() {
        let mut revocations = Revocations::default();
        for (revocation, now_s) in [
            (user("ada", Some(50)), 10),
            (user("bob", Some(51)), 10),
            (named("old"), 49 - TOKEN_LEEWAY_S_MAX),
            (named("new"), 50 - TOKEN_LEEWAY_S_MAX),
            (Revocation::IssuedBefore { s: 50 }, 60),
            (Revocation::IssuedBefore { s: 40 }, 61),
            (user("eve", Some(50)), 62),
        ] {
            assert_eq!(revocations.add(&revocation, now_s), Ok(()));
        }
        assert_eq!(revocations.len(), 3, "{revocations:?}");
        assert!(revocations.is_revoked("bob", &token(None, 50)));
        assert!(!revocations.is_revoked("ada", &token(None, 50)));
        assert!(revocations.is_revoked("ada", &token(None, 49)));
        assert!(revocations.is_revoked("ada", &token(Some("new"), 99)));
    }

    #[test]
    fn a_full_table_takes_what_it_knows_and_what_is_by_time_alone() {
        let mut revocations = Revocations::default();
        for n in 0..REVOCATIONS_MAX {
            let one = if n % 2 == 0 { user(&n.to_string(), None) } else { named(&n.to_string()) };
            assert_eq!(revocations.add(&one, 100), Ok(()));
        }
        assert_eq!(revocations.add(&user("ada", None), 100), Err(RevocationsFull));
        assert_eq!(revocations.add(&named("t"), 100), Err(RevocationsFull));
        assert_eq!(revocations.add(&user("0", None), 200), Ok(()));
        assert!(revocations.is_revoked("0", &token(None, 200)));
        let all = Revocation::IssuedBefore { s: 102 + TOKEN_LEEWAY_S_MAX };
        assert_eq!(revocations.add(&all, 200), Ok(()));
        assert_eq!(revocations.len(), 2, "the user revoked at 200, and all");
        assert_eq!(revocations.add(&user("ada", None), 200), Ok(()));
    }

    /// The law of the table: what any revocation refuses stays refused, whatever comes after it.
    #[test]
    fn whom_one_revocation_refuses_no_later_one_lets_in() {
        for seed in 0..300 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (mut revocations, mut all) = (Revocations::default(), Vec::new());
            for now_s in (100..400).step_by(10) {
                let id = dice.u8(0..4).to_string();
                let revocation = match dice.u8(0..4) {
                    0 => user(&id, None),
                    1 => user(&id, Some(dice.u64(0..now_s))),
                    2 => named(&id),
                    _ => Revocation::IssuedBefore { s: dice.u64(0..now_s) },
                };
                assert_eq!(revocations.add(&revocation, now_s), Ok(()));
                all.push((revocation, now_s));
                let (id, owner) = (dice.u8(0..4).to_string(), dice.u8(0..4).to_string());
                // A token has been issued by the time at which it is looked at.
                let token = token(Some(&id), dice.u64(0..=now_s));
                let wanted = all.iter().any(|(revocation, at_s)| match revocation {
                    Revocation::User { id, issued_before_s } => {
                        **id == *owner && token.issued_s < issued_before_s.unwrap_or(at_s + 1)
                    }
                    Revocation::Token { id: revoked } => {
                        **revoked == *id && token.issued_s <= at_s + TOKEN_LEEWAY_S_MAX
                    }
                    Revocation::IssuedBefore { s } => token.issued_s < *s,
                });
                let found = revocations.is_revoked(&owner, &token);
                assert!(found || !wanted, "seed {seed} at {now_s}");
            }
        }
    }
}
