//! What a user may do in which rooms.
//!
//! Checked where something is asked for (a join, a publish) and never where a message is
//! delivered. Not here: where grants come from (`token`, `roles`). Invariant: what is not granted
//! is refused, and the rooms of a user are that user's, whatever anyone else is granted.

use crate::broker::RoomPattern;
use std::fmt;

/// Something that may be granted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Grant {
    /// To be in a room.
    Join,
    /// To publish in it.
    Publish,
    /// To read what it keeps of its past.
    History,
    /// To ask who is in it.
    Presence,
    /// To create it, by joining it or by asking for it.
    Create,
    /// To speak to everyone and every user, and to revoke tokens: no matter of rooms.
    Admin,
}

/// The first segment of the rooms of users: `user:42` and what is below it are the user 42's.
pub(super) const USER_ROOMS: &str = "user";

/// Kinds of grants that are given by patterns of rooms.
const ROOM_GRANTS: usize = 5;

/// What a user may do. The default is nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grants {
    rooms: [Vec<RoomPattern>; ROOM_GRANTS],
    /// Which of them are given in all rooms, so that most need no look at patterns.
    everywhere: [bool; ROOM_GRANTS],
    admin: bool,
}

/// The pattern of all rooms.
const ALL_ROOMS: &str = "**";

impl Grant {
    /// All that is granted by patterns of rooms.
    pub const OF_ROOMS: [Self; ROOM_GRANTS] =
        [Self::Join, Self::Publish, Self::History, Self::Presence, Self::Create];

    /// Its word, in claims, settings and refusals.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Publish => "publish",
            Self::History => "history",
            Self::Presence => "presence",
            Self::Create => "create",
            Self::Admin => "admin",
        }
    }
}

/// Something that was asked for and is not granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ungranted {
    /// What is missing.
    pub grant: Grant,
}

impl Ungranted {
    /// Says so, for people.
    pub fn in_room(self, room: &str) -> String {
        match self.grant {
            Grant::Admin => {
                "admin is not granted: neither by the token nor by its roles".to_owned()
            }
            grant @ (Grant::Join
            | Grant::Publish
            | Grant::History
            | Grant::Presence
            | Grant::Create) => {
                format!("{grant} in `{room}` is not granted: neither by the token nor by its roles")
            }
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Grants {
    /// Everything in all rooms; not [`Grant::Admin`].
    pub fn all_rooms() -> Self {
        let everywhere = || RoomPattern::parse(ALL_ROOMS).into_iter();
        Grant::OF_ROOMS
            .into_iter()
            .fold(Self::default(), |all, grant| all.with(grant, everywhere()))
    }

    /// Adds a grant in all rooms that fit one of `patterns`. [`Grant::Admin`] has no rooms.
    #[must_use]
    pub fn with(mut self, grant: Grant, patterns: impl IntoIterator<Item = RoomPattern>) -> Self {
        match self.rooms.get_mut(grant as usize) {
            Some(rooms) => rooms.extend(patterns),
            None => self.admin = true,
        }
        self.note_everywhere();
        self
    }

    /// Adds [`Grant::Admin`].
    #[must_use]
    pub fn with_admin(self) -> Self {
        self.with(Grant::Admin, [])
    }

    /// Adds all that `other` grants.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.rooms.iter_mut().zip(&other.rooms) {
            for pattern in theirs {
                if !mine.contains(pattern) {
                    mine.push(pattern.clone());
                }
            }
        }
        self.admin |= other.admin;
        self.note_everywhere();
    }

    fn note_everywhere(&mut self) {
        for (everywhere, rooms) in self.everywhere.iter_mut().zip(&self.rooms) {
            *everywhere = rooms.iter().any(|pattern| pattern.as_str() == ALL_ROOMS);
        }
    }

    /// The patterns of the rooms in which `grant` is given.
    pub fn patterns(&self, grant: Grant) -> &[RoomPattern] {
        self.rooms.get(grant as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether `user` may do that in the room called `room`. O(patterns of that grant).
    ///
    /// A room below `user:<id>` is that user's: nobody else is let in, and the user needs no grant
    /// to read it. To publish there is for the user, if granted, and for admins.
    pub fn allows(&self, grant: Grant, room: &str, user: &str) -> bool {
        let is_granted = || {
            self.everywhere.get(grant as usize).is_some_and(|everywhere| *everywhere)
                || self.patterns(grant).iter().any(|pattern| pattern.matches(room))
        };
        match (owner(room), grant) {
            (_, Grant::Admin) => self.admin,
            (None, _) => is_granted(),
            (Some(owner), Grant::Publish) => (owner == user || self.admin) && is_granted(),
            (Some(owner), Grant::Join | Grant::History | Grant::Presence | Grant::Create) => {
                owner == user
            }
        }
    }

    /// Whether [`Grant::Admin`] is given.
    pub const fn is_admin(&self) -> bool {
        self.admin
    }
}

/// The user whose room that is.
fn owner(room: &str) -> Option<&str> {
    let below = room.strip_prefix(USER_ROOMS)?.strip_prefix(':')?;
    below.split(':').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(raw: &[&str]) -> Vec<RoomPattern> {
        raw.iter().map(|raw| RoomPattern::parse(raw).expect(raw)).collect()
    }

    #[test]
    fn what_is_not_granted_is_refused() {
        let grants = Grants::default().with(Grant::Join, patterns(&["chat:*", "org:42:**"]));
        for (grant, room, allowed) in [
            (Grant::Join, "chat:1", true),
            (Grant::Join, "chat:1:2", false),
            (Grant::Join, "org:42:a:b", true),
            (Grant::Join, "org:43:a", false),
            (Grant::Publish, "chat:1", false),
            (Grant::Create, "chat:1", false),
            (Grant::Admin, "chat:1", false),
        ] {
            assert_eq!(grants.allows(grant, room, "ada"), allowed, "{grant} in {room}");
        }
    }

    #[test]
    fn the_rooms_of_a_user_are_that_users_whatever_others_are_granted() {
        let all = Grants::all_rooms();
        let none = Grants::default();
        for room in ["user:ada", "user:ada:inbox"] {
            for grant in Grant::OF_ROOMS {
                assert!(all.allows(grant, room, "ada"), "{grant}");
                assert!(!all.allows(grant, room, "bob"), "{grant}");
                assert_eq!(none.allows(grant, room, "ada"), grant != Grant::Publish, "{grant}");
            }
        }
        let admin = Grants::all_rooms().with_admin();
        assert!(admin.allows(Grant::Publish, "user:ada", "root"));
        assert!(!admin.allows(Grant::Join, "user:ada", "root"));
        assert!(
            all.allows(Grant::Join, "user", "bob") && all.allows(Grant::Join, "users:1", "bob")
        );
    }

    #[test]
    fn grants_add_up() {
        let mut grants = Grants::default().with(Grant::Join, patterns(&["a"]));
        grants.add(&Grants::default().with(Grant::Join, patterns(&["a", "b"])).with_admin());
        assert_eq!(grants.patterns(Grant::Join), patterns(&["a", "b"]));
        assert!(grants.is_admin() && grants.allows(Grant::Admin, "", ""));
        assert!(!Grants::all_rooms().is_admin());
    }
}
