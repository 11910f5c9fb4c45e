//! Who a connection is, what it may do, and until when.

use super::{Grant, Grants};
use crate::broker::{RoomName, User};
use std::sync::Arc;

/// What a connection was let in with: fixed until its token is refreshed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// Who it is.
    pub user: Arc<User>,
    /// The roles by name, as clients are told.
    pub roles: Box<[Box<str>]>,
    /// What it may do: by its roles and by its token.
    pub grants: Arc<Grants>,
    /// The token that said so; none for guests and for users that a proxy names.
    pub token: Option<TokenFacts>,
    /// Rooms that it is in from the start.
    pub autojoin: Box<[RoomName]>,
    /// What others are told of it in lists of who is online: JSON.
    pub info: Option<Box<str>>,
}

/// What has to be remembered of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenFacts {
    /// Its name (`jti`), by which it may be revoked.
    pub id: Option<Box<str>>,
    /// When it was issued (`iat`), in Unix seconds; a token that does not say is older than all.
    pub issued_s: u64,
    /// When it ends (`exp`), in Unix seconds.
    pub expires_s: u64,
}

impl Access {
    /// Whether it may do that in the room of that name. O(patterns of that grant).
    pub fn allows(&self, grant: Grant, room: &str) -> bool {
        self.grants.allows(grant, room, self.user.id())
    }

    /// When it ends, in Unix milliseconds.
    pub fn expires_ms(&self) -> Option<u64> {
        self.token.as_ref().map(|token| token.expires_s.saturating_mul(1_000))
    }
}
