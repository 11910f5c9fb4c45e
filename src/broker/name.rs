//! Room names, parsed at the door.

use crate::limits::ROOM_NAME_BYTES_MAX;
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The name of a room: 1 to 128 bytes of printable ASCII without spaces. Valid by existing.
///
/// ASCII, so that no two names look alike and differ: what people see is the user's own content.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RoomName(Arc<str>);

/// The text is no room name; [`fmt::Display`] says what would be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadRoomName;

impl RoomName {
    /// Checks that `raw` is a room name, without keeping it.
    pub fn check(raw: &str) -> Result<&str, BadRoomName> {
        let fits = (1..=ROOM_NAME_BYTES_MAX).contains(&raw.len());
        let printable = raw.bytes().all(|byte| byte.is_ascii_graphic());
        if fits && printable { Ok(raw) } else { Err(BadRoomName) }
    }

    /// Takes `raw` as a room's name.
    pub fn parse(raw: &str) -> Result<Self, BadRoomName> {
        Self::check(raw).map(|name| Self(name.into()))
    }

    /// The name of the room of those who want to know which users are at home on a loop. No client
    /// can name it: it does not parse.
    pub fn watchers() -> Self {
        Self(Self::WATCHERS.into())
    }

    /// What [`Self::watchers`] is as text.
    pub const WATCHERS: &str = "\u{1}users";

    /// Whether it is a room of the broker's own, which is not shown to anyone.
    pub fn is_internal(&self) -> bool {
        Self::check(&self.0).is_err()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RoomName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BadRoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a room's name is 1 to {ROOM_NAME_BYTES_MAX} bytes of printable ASCII without spaces"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_names_of_any_allowed_length_parse() {
        for name in ["a", "lobby", "chat:42", "org:42:**", "a/b", &"x".repeat(ROOM_NAME_BYTES_MAX)]
        {
            assert_eq!(RoomName::parse(name).map(|name| name.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn no_client_can_name_a_room_of_the_brokers_own() {
        let watchers = RoomName::watchers();
        assert!(watchers.is_internal() && watchers.as_str() == RoomName::WATCHERS);
        assert_eq!(RoomName::parse(watchers.as_str()), Err(BadRoomName));
        assert!(!RoomName::parse("users").expect("a name").is_internal());
    }

    #[test]
    fn empty_long_and_unprintable_names_are_refused() {
        let long = "x".repeat(ROOM_NAME_BYTES_MAX + 1);
        for name in ["", "a b", "a\nb", "a\0", "ä", "\u{430}", "\x7f", &long] {
            assert_eq!(RoomName::parse(name), Err(BadRoomName), "{name:?}");
        }
    }
}
