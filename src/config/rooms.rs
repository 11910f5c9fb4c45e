//! `[[rooms]]` of a file: options of rooms by pattern, in order of precedence.

use super::Config;
use super::error::{ConfigError, Place, near};
use super::file::{place_at, unknown_key, value};
use super::layers::{Draft, File, named};
use super::setting::{outbox_bytes, outbox_messages};
use super::value::{self, Value, Wanted};
use crate::broker::{BadPattern, Compression, Overflow, RawDrops, RoomOptions, RoomPattern};
use crate::limits::ROOM_PATTERNS_MAX;
use toml::Spanned;
use toml::de::DeValue;

/// The key under which patterns stand in a file.
pub(super) const KEY: &str = "rooms";

/// The keys of one `[[rooms]]`: name, default, meaning.
pub static ROOM_KEYS: [(&str, &str, &str); 6] = [
    (
        "pattern",
        "none, must be given",
        "Names of the rooms: `*` is one segment between `:`, a \
      last `**` one or more; the first pattern that fits decides",
    ),
    ("overflow", "\"disconnect\"", "What happens when a member's outbox is full"),
    ("raw_drops", "\"disconnect\"", "What drops mean to raw members, which can't be told of them"),
    ("outbox_bytes_max", "as in `[limits]`", "Bytes that may wait for one slow member"),
    ("outbox_messages_max", "as in `[limits]`", "Messages that may wait for one slow member"),
    ("compression", "as in `[compression]`", "How messages are compressed: shared, off or private"),
];

const OVERFLOWS: &[(&str, Overflow)] = &[
    ("disconnect", Overflow::Disconnect),
    ("drop-oldest", Overflow::DropOldest),
    ("drop-newest", Overflow::DropNewest),
    ("latest", Overflow::Latest),
];

/// The ways of compressing; also those of `[compression]`.
pub(super) const COMPRESSIONS: &[(&str, Compression)] = &[
    ("shared", Compression::Shared),
    ("off", Compression::Off),
    ("private", Compression::Private),
];

const RAW_DROPS: &[(&str, RawDrops)] =
    &[("disconnect", RawDrops::Disconnect), ("silent", RawDrops::Silent)];

/// What one entry says; what it leaves out follows the process.
#[derive(Clone, Debug, Default)]
struct Written {
    pattern: Option<RoomPattern>,
    overflow: Overflow,
    raw_drops: RawDrops,
    outbox_bytes_max: Option<usize>,
    outbox_messages_max: Option<u32>,
    compression: Option<Compression>,
}

/// One entry without mistakes of its own.
#[derive(Clone, Debug)]
pub(super) struct RoomDraft {
    /// Its place among them, from 1.
    pub(super) nth: usize,
    /// Where it stands.
    pub(super) place: Place,
    /// Which rooms it is about.
    pub(super) pattern: RoomPattern,
    written: Written,
}

impl RoomDraft {
    /// The options of these rooms, over the defaults of the process.
    pub(super) fn options(&self, defaults: &RoomOptions) -> RoomOptions {
        let written = &self.written;
        RoomOptions {
            overflow: written.overflow,
            raw_drops: written.raw_drops,
            outbox_bytes_max: written.outbox_bytes_max.unwrap_or(defaults.outbox_bytes_max),
            outbox_messages_max: written
                .outbox_messages_max
                .unwrap_or(defaults.outbox_messages_max),
            compression: written.compression.unwrap_or(defaults.compression),
            ..*defaults
        }
    }
}

/// The options of rooms that fit no pattern.
pub(super) fn defaults(config: &Config) -> RoomOptions {
    RoomOptions {
        outbox_bytes_max: config.outbox_bytes_max,
        outbox_messages_max: config.outbox_messages_max,
        compression: config.compression.rooms,
        ..RoomOptions::default()
    }
}

/// Reads the `nth` entry, noting its mistakes.
pub(super) fn apply(draft: &mut Draft, file: &File<'_>, nth: usize, entry: &Spanned<DeValue<'_>>) {
    let place = place_at(file, entry.span().start);
    let DeValue::Table(table) = entry.get_ref() else {
        let found = format!("is {}", value(entry.get_ref()));
        draft.errors.push(wrong(&place, "", nth, &found, "it takes a table: write [[rooms]]"));
        return;
    };
    if nth > ROOM_PATTERNS_MAX {
        if nth == ROOM_PATTERNS_MAX + 1 {
            let right = format!("there may be {ROOM_PATTERNS_MAX}");
            draft.errors.push(wrong(&place, "", nth, "is one too many", &right));
        }
        return;
    }
    let before = draft.errors.len();
    let mut written = Written::default();
    for (key, item) in table {
        let name = key.get_ref().as_ref();
        let found = value(item.get_ref());
        let at = key.span().start;
        match set(&mut written, name, &found) {
            Some(Ok(())) => {}
            Some(Err(wanted)) => {
                let (found, right) = (format!("is {found}"), format!("it takes {wanted}"));
                draft.errors.push(wrong(&place_at(file, at), name, nth, &found, &right));
            }
            None => {
                let meant = near(name, ROOM_KEYS.iter().map(|(key, ..)| (*key, *key)));
                let table = format!("[[{KEY}]] #{nth}");
                draft.errors.push(unknown_key(file, at, name, Some(&table), meant));
            }
        }
    }
    if draft.errors.len() > before {
        return;
    }
    match written.pattern.clone() {
        Some(pattern) => draft.rooms.push(RoomDraft { nth, place, pattern, written }),
        None => {
            let right = "say which rooms, as in pattern = \"chat:*\"";
            draft.errors.push(wrong(&place, "", nth, "has no pattern", right));
        }
    }
}

/// A mistake in the `nth` entry; `key` is empty where it is about the entry as a whole.
pub(super) fn wrong(place: &Place, key: &str, nth: usize, is: &str, right: &str) -> ConfigError {
    let key = if key.is_empty() {
        format!("[[{KEY}]] #{nth}")
    } else {
        format!("{key} in [[{KEY}]] #{nth}")
    };
    ConfigError {
        wrong: format!("{} {is}", named(&key, place)),
        place: place.clone(),
        key,
        right: Some(right.to_owned()),
        suggestion: None,
    }
}

/// Sets one key of an entry; `None` where there is no such key.
fn set(written: &mut Written, name: &str, value: &Value<'_>) -> Option<Result<(), Wanted>> {
    Some(match name {
        "pattern" => value::text(value)
            .and_then(|raw| RoomPattern::parse(raw).ok())
            .map(|pattern| written.pattern = Some(pattern))
            .ok_or_else(|| format!("a pattern, and {BadPattern}")),
        "overflow" => value::choice(value, OVERFLOWS).map(|how| written.overflow = how),
        "raw_drops" => value::choice(value, RAW_DROPS).map(|how| written.raw_drops = how),
        "outbox_bytes_max" => outbox_bytes(value).map(|n| written.outbox_bytes_max = Some(n)),
        "outbox_messages_max" => {
            outbox_messages(value).map(|n| written.outbox_messages_max = Some(n))
        }
        "compression" => {
            value::choice(value, COMPRESSIONS).map(|how| written.compression = Some(how))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Layers;
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let file = Some(File { name: "fanfare.toml", text });
        Config::parse(&Layers { file, ..Layers::default() }).map_err(|errors| errors.to_string())
    }

    #[test]
    fn the_first_fitting_entry_decides_and_the_rest_follows_the_process() {
        let config = parse(
            "[limits]\noutbox_messages_max = 9\n\
             [[rooms]]\npattern = \"tick:*\"\noverflow = \"latest\"\nraw_drops = \"silent\"\n\
             [[rooms]]\npattern = \"**\"\noutbox_bytes_max = \"2MiB\"\noutbox_messages_max = 5\n",
        )
        .expect("a good file");
        let options = config.rooms.options("tick:gold");
        assert_eq!((options.overflow, options.raw_drops), (Overflow::Latest, RawDrops::Silent));
        assert_eq!(options.outbox_messages_max, 9);
        assert_eq!(options.outbox_bytes_max, config.outbox_bytes_max);
        let options = config.rooms.options("lobby");
        assert_eq!((options.outbox_bytes_max, options.outbox_messages_max), (2 << 20, 5));
        assert_eq!(config.warnings, [""; 0]);
    }

    #[test]
    fn mistakes_name_the_entry_the_key_and_the_line() {
        for (text, message) in [
            (
                "[[rooms]]\npattern = \"a\"\n[[rooms]]\npattern = \"b\"\noverflw = \"latest\"",
                "line 5: unknown key \"overflw\" in [[rooms]] #2 of fanfare.toml; did you mean \
                 \"overflow\"?",
            ),
            (
                "[[rooms]]\npattern = \"a\"\noverflow = \"drop\"",
                "line 3: overflow in [[rooms]] #1 of fanfare.toml is \"drop\"; it takes one of \
                 \"disconnect\", \"drop-oldest\", \"drop-newest\", \"latest\"",
            ),
            (
                "[[rooms]]\noverflow = \"latest\"",
                "line 1: [[rooms]] #1 of fanfare.toml has no pattern; say which rooms, as in \
                 pattern = \"chat:*\"",
            ),
        ] {
            assert_eq!(parse(text), Err(message.to_owned()));
        }
        let wrong = parse("[[rooms]]\npattern = \"a b\"").expect_err("a bad pattern");
        assert!(wrong.contains("it takes a pattern, and a pattern is"), "{wrong}");
    }

    #[test]
    fn there_is_a_bound_on_entries() {
        let entries = |n: usize| {
            (0..n).map(|i| format!("[[rooms]]\npattern = \"r{i}\"\n")).collect::<String>()
        };
        assert!(parse(&entries(ROOM_PATTERNS_MAX)).is_ok());
        let wrong = parse(&entries(ROOM_PATTERNS_MAX + 2)).expect_err("too many");
        assert!(wrong.contains("[[rooms]] #257 of fanfare.toml is one too many"), "{wrong}");
    }

    #[test]
    fn every_documented_key_is_a_key() {
        for (key, ..) in ROOM_KEYS {
            assert!(set(&mut Written::default(), key, &Value::Integer(1)).is_some(), "{key}");
        }
    }
}
