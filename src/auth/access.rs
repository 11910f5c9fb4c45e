//! Who a connection is, what it may do, and until when.

use super::grants::USER_ROOMS;
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

    /// Prefixes of the names of all rooms that it may join, in order, none of them within another.
    pub fn join_prefixes(&self) -> Vec<Box<str>> {
        let patterns = self.grants.patterns(Grant::Join).iter();
        let literal = |pattern: &str| pattern.split('*').next().unwrap_or_default().into();
        let mut prefixes: Vec<Box<str>> =
            patterns.map(|pattern| literal(pattern.as_str())).collect();
        prefixes.push(format!("{USER_ROOMS}:{}", self.user.id()).into());
        prefixes.sort_unstable();
        prefixes.dedup_by(|later, earlier| later.starts_with(&**earlier));
        prefixes
    }

    /// When it ends, in Unix milliseconds.
    pub fn expires_ms(&self) -> Option<u64> {
        self.token.as_ref().map(|token| token.expires_s.saturating_mul(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Role, RoomPattern};

    #[test]
    fn the_prefixes_of_what_may_be_joined_stand_in_order_and_none_within_another() {
        let patterns = ["chat:*", "a", "chat:1", "org:42:**", "a:*", "org:4*"];
        let patterns = patterns.into_iter().filter_map(|raw| RoomPattern::parse(raw).ok());
        let access = Access {
            user: Arc::new(User::new("ada", "Ada", Role::Member).expect("a user")),
            roles: Box::default(),
            grants: Arc::new(Grants::default().with(Grant::Join, patterns)),
            token: None,
            autojoin: Box::default(),
            info: None,
        };
        let prefixes = access.join_prefixes();
        assert!(prefixes.iter().map(|prefix| &**prefix).eq(["a", "chat:", "org:42:", "user:ada"]));
    }
}
