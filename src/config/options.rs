//! Readers of the options of rooms: settings give the defaults, `[[rooms]]` those of some.
//!
//! Invariant: an option is read alike in both places.

use super::value::{self, Value, Wanted};
use crate::broker::{Compression, PresenceMode, RoomName};
use crate::limits::{
    BATCH_INTERVAL_MS_MAX, DEFAULT_ROOMS_MAX, MESSAGE_BYTES_CEILING, PAGES_IN_FLIGHT_MAX,
};

/// Largest outbox a config may ask for: its ranges are 32-bit.
const OUTBOX_BYTES_CEILING: usize = 4 * MESSAGE_BYTES_CEILING;
/// Longest history of a room a config may ask for: what of it is on the way to one connection is
/// counted in 32 bits.
const HISTORY_BYTES_CEILING: usize = 1 << 28;
const _: () = assert!(PAGES_IN_FLIGHT_MAX as usize * HISTORY_BYTES_CEILING <= 1 << 30);
/// Longest interval of presence notices: an hour. Beyond it is a slip.
const PRESENCE_INTERVAL_MS_MAX: u64 = 60 * 60 * 1000;
const _: () = assert!(PRESENCE_INTERVAL_MS_MAX <= u32::MAX as u64);
const _: () = assert!(BATCH_INTERVAL_MS_MAX <= u32::MAX as u64);

/// The ways of compressing.
pub(super) const COMPRESSIONS: &[(&str, Compression)] = &[
    ("shared", Compression::Shared),
    ("off", Compression::Off),
    ("private", Compression::Private),
];

/// The modes of presence.
pub(super) const PRESENCES: &[(&str, PresenceMode)] = &[
    ("full", PresenceMode::Full),
    ("diff", PresenceMode::Diff),
    ("count", PresenceMode::Count),
    ("off", PresenceMode::Off),
];

/// An outbox's bound in bytes.
pub(super) fn outbox_bytes(value: &Value<'_>) -> Result<usize, Wanted> {
    value::size(value, 1..=OUTBOX_BYTES_CEILING)
}

/// An outbox's bound in messages.
pub(super) fn outbox_messages(value: &Value<'_>) -> Result<u32, Wanted> {
    value::number32(value, 1..=u32::MAX)
}

/// A history's bound in messages; 0 keeps none.
pub(super) fn history_messages(value: &Value<'_>) -> Result<u32, Wanted> {
    value::number32(value, 0..=u32::MAX)
}

/// A history's bound in bytes.
pub(super) fn history_bytes(value: &Value<'_>) -> Result<usize, Wanted> {
    value::size(value, 0..=HISTORY_BYTES_CEILING)
}

/// How long a message is kept.
pub(super) fn history_age(value: &Value<'_>) -> Result<u64, Wanted> {
    value::duration_ms(value, 1)
}

/// Users up to which a mode of presence holds.
pub(super) fn presence_users(value: &Value<'_>) -> Result<u32, Wanted> {
    value::number32(value, 0..=u32::MAX)
}

/// Time over which presence is collected.
pub(super) fn presence_interval(value: &Value<'_>) -> Result<u32, Wanted> {
    interval(value, 1, PRESENCE_INTERVAL_MS_MAX)
}

/// Messages that a batch waits for.
pub(super) fn batch_messages(value: &Value<'_>) -> Result<u32, Wanted> {
    value::number32(value, 1..=u32::MAX)
}

/// Time that a batch waits.
pub(super) fn batch_interval(value: &Value<'_>) -> Result<u32, Wanted> {
    interval(value, 0, BATCH_INTERVAL_MS_MAX)
}

/// Largest content of a message.
pub(super) fn content_bytes(value: &Value<'_>) -> Result<usize, Wanted> {
    value::size(value, 1..=MESSAGE_BYTES_CEILING)
}

/// The rooms that every connection is in.
pub(super) fn default_rooms(value: &Value<'_>) -> Result<Vec<RoomName>, Wanted> {
    let names = value::texts_or_none(value, "a room's name, or a list of them")?;
    if names.len() > DEFAULT_ROOMS_MAX {
        return Err(format!("at most {DEFAULT_ROOMS_MAX} rooms"));
    }
    let mut rooms = Vec::with_capacity(names.len());
    for name in names {
        let room = RoomName::parse(name)
            .map_err(|rule| format!("names of rooms, and {name:?} is none: {rule}"))?;
        if rooms.contains(&room) {
            return Err(format!("each room once, and {name:?} is there twice"));
        }
        rooms.push(room);
    }
    Ok(rooms)
}

fn interval(value: &Value<'_>, least_ms: u64, most_ms: u64) -> Result<u32, Wanted> {
    value::duration_ms_within(value, least_ms..=most_ms)
        .and_then(|ms| u32::try_from(ms).map_err(|_| "a shorter time".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_rooms_are_names_each_once_and_not_too_many() {
        let rooms = default_rooms(&Value::Bare("lobby, news:all")).expect("two rooms");
        assert!(rooms.iter().map(RoomName::as_str).eq(["lobby", "news:all"]));
        assert_eq!(default_rooms(&Value::Text("none")), Ok(Vec::new()));
        let names: Vec<String> = (0..=DEFAULT_ROOMS_MAX).map(|n| format!("r{n}")).collect();
        let list = |n: usize| Value::List(names.iter().take(n).map(|n| Value::Text(n)).collect());
        assert_eq!(default_rooms(&list(DEFAULT_ROOMS_MAX)).map(|rooms| rooms.len()), Ok(16));
        for (wrong, wanted) in [
            (list(DEFAULT_ROOMS_MAX + 1), "at most 16 rooms"),
            (Value::Bare("a,b,a"), "\"a\" is there twice"),
            (Value::Bare("a,"), "\"\" is none: a room's name is"),
            (Value::Text("two words"), "\"two words\" is none"),
            (Value::Integer(1), "a room's name, or a list of them"),
        ] {
            let error = default_rooms(&wrong).expect_err(wanted);
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn intervals_have_bounds_of_their_own() {
        assert_eq!(batch_interval(&Value::Text("10s")), Ok(10_000));
        assert_eq!(batch_interval(&Value::Text("0s")), Ok(0));
        assert!(batch_interval(&Value::Text("10001ms")).is_err());
        assert_eq!(presence_interval(&Value::Text("1h")), Ok(3_600_000));
        assert!(presence_interval(&Value::Text("0s")).is_err());
        assert!(presence_interval(&Value::Text("61m")).is_err());
    }
}
