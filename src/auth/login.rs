//! What comes of a name and a password.
//!
//! Not here: the checking, which takes long and has a thread of its own (`side`). Invariant: a
//! wrong user and a wrong password are the same.

use super::Secret;

/// How a login ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoginOutcome {
    /// The password is the user's.
    Granted(Box<Login>),
    /// There is no such user, or that is not the password.
    Wrong,
    /// That user has tried too often, or too many logins wait.
    TooMany {
        /// When to try again.
        retry_after_s: u32,
    },
    /// No token could be issued.
    Failed,
}

/// Who logged in, with what to show from now on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// The token.
    pub token: Secret,
    /// When it ends, in Unix seconds.
    pub expires_s: u64,
    /// The user's id, which is its name.
    pub user: Box<str>,
    /// The user's roles; none at all stand for a member's.
    pub roles: Vec<Box<str>>,
}
