//! `[[rooms]]` of a file: options of rooms by pattern, in order of precedence.

use super::Config;
use super::entries::Table;
use super::error::Place;
use super::layers::{Draft, File};
use super::options::{self, COMPRESSIONS, PRESENCES};
use super::value::{self, Value, Wanted};
use crate::broker::{
    BadPattern, BatchOptions, Compression, HistoryOptions, MayCreate, Overflow, PresenceMode,
    PresenceOptions, RawDrops, RoomOptions, RoomPattern,
};
use crate::limits::ROOM_PATTERNS_MAX;
use toml::Spanned;
use toml::de::DeValue;

/// Where options of rooms stand in a file.
pub(super) static TABLE: Table =
    Table { key: "rooms", most: ROOM_PATTERNS_MAX, keys: &ROOM_KEYS, secrets: &[] };

/// The keys of one `[[rooms]]`: name, default, meaning.
pub static ROOM_KEYS: [(&str, &str, &str); 19] = [
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
    ("history_messages_max", "as in `[history]`", "Newest messages kept; 0 keeps none"),
    ("history_bytes_max", "as in `[history]`", "Bytes kept"),
    ("history_age", "as in `[history]`", "How long a message is kept"),
    (
        "presence",
        "as in `[presence]`",
        "What members are told of each other: full, diff, count, off",
    ),
    ("presence_full_users_max", "as in `[presence]`", "Users up to which full stays full"),
    ("presence_diff_users_max", "as in `[presence]`", "Users up to which diff stays diff"),
    ("presence_interval", "as in `[presence]`", "Time over which diff and count collect"),
    ("batch_messages_max", "as in `[native]`", "Messages that a batch waits for"),
    ("batch_interval", "as in `[native]`", "Time that a batch waits for them"),
    ("echo", "true", "Whether native members get their own messages, where they don't say"),
    (
        "create",
        "\"anyone\"",
        "Who creates the room over the native protocol: anyone, users with an identity, or nobody",
    ),
    ("last_value", "false", "Whether a newcomer gets the latest message without asking"),
    ("content_bytes_max", "as in `[limits]`", "Largest content of a native message"),
];

const OVERFLOWS: &[(&str, Overflow)] = &[
    ("disconnect", Overflow::Disconnect),
    ("drop-oldest", Overflow::DropOldest),
    ("drop-newest", Overflow::DropNewest),
    ("latest", Overflow::Latest),
];

const CREATES: &[(&str, MayCreate)] =
    &[("anyone", MayCreate::Anyone), ("users", MayCreate::Users), ("nobody", MayCreate::Nobody)];

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
    history_messages_max: Option<u32>,
    history_bytes_max: Option<usize>,
    history_age_ms: Option<u64>,
    presence: Option<PresenceMode>,
    presence_full_users_max: Option<u32>,
    presence_diff_users_max: Option<u32>,
    presence_interval_ms: Option<u32>,
    batch_messages_max: Option<u32>,
    batch_interval_ms: Option<u32>,
    echo: Option<bool>,
    create: MayCreate,
    last_value: bool,
    content_bytes_max: Option<usize>,
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
            history: written.history(defaults.history),
            presence: written.presence(defaults.presence),
            batch: written.batch(defaults.batch),
            echo: written.echo.unwrap_or(defaults.echo),
            create: written.create,
            last_value: written.last_value,
            content_bytes_max: written.content_bytes_max.unwrap_or(defaults.content_bytes_max),
        }
    }
}

impl Written {
    fn history(&self, defaults: HistoryOptions) -> HistoryOptions {
        HistoryOptions {
            messages_max: self.history_messages_max.unwrap_or(defaults.messages_max),
            bytes_max: self.history_bytes_max.unwrap_or(defaults.bytes_max),
            age_ms: self.history_age_ms.unwrap_or(defaults.age_ms),
        }
    }

    fn presence(&self, defaults: PresenceOptions) -> PresenceOptions {
        PresenceOptions {
            mode: self.presence.unwrap_or(defaults.mode),
            full_users_max: self.presence_full_users_max.unwrap_or(defaults.full_users_max),
            diff_users_max: self.presence_diff_users_max.unwrap_or(defaults.diff_users_max),
            interval_ms: self.presence_interval_ms.unwrap_or(defaults.interval_ms),
        }
    }

    fn batch(&self, defaults: BatchOptions) -> BatchOptions {
        BatchOptions {
            messages_max: self.batch_messages_max.unwrap_or(defaults.messages_max),
            interval_ms: self.batch_interval_ms.unwrap_or(defaults.interval_ms),
        }
    }
}

/// The options of rooms that fit no pattern.
pub(super) fn defaults(config: &Config) -> RoomOptions {
    RoomOptions {
        outbox_bytes_max: config.outbox_bytes_max,
        outbox_messages_max: config.outbox_messages_max,
        compression: config.compression.rooms,
        history: config.history,
        presence: config.presence,
        batch: config.batch,
        content_bytes_max: config.content_bytes_max,
        ..RoomOptions::default()
    }
}

/// Reads the `nth` entry, noting its mistakes.
pub(super) fn apply(draft: &mut Draft, file: &File<'_>, nth: usize, entry: &Spanned<DeValue<'_>>) {
    let mut written = Written::default();
    let set = |name: &str, value: &Value<'_>| set(&mut written, name, value);
    let Some(place) = TABLE.read(draft, file, (nth, entry), set) else { return };
    match written.pattern.clone() {
        Some(pattern) => draft.rooms.push(RoomDraft { nth, place, pattern, written }),
        None => {
            let right = "say which rooms, as in pattern = \"chat:*\"";
            draft.errors.push(TABLE.wrong(&place, "", nth, "has no pattern", right));
        }
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
        "outbox_bytes_max" => {
            options::outbox_bytes(value).map(|n| written.outbox_bytes_max = Some(n))
        }
        "outbox_messages_max" => {
            options::outbox_messages(value).map(|n| written.outbox_messages_max = Some(n))
        }
        "compression" => {
            value::choice(value, COMPRESSIONS).map(|how| written.compression = Some(how))
        }
        _ => return set_native(written, name, value),
    })
}

/// The keys that are about the native protocol.
fn set_native(written: &mut Written, name: &str, value: &Value<'_>) -> Option<Result<(), Wanted>> {
    Some(match name {
        "history_messages_max" => {
            options::history_messages(value).map(|n| written.history_messages_max = Some(n))
        }
        "history_bytes_max" => {
            options::history_bytes(value).map(|n| written.history_bytes_max = Some(n))
        }
        "history_age" => options::history_age(value).map(|ms| written.history_age_ms = Some(ms)),
        "presence" => value::choice(value, PRESENCES).map(|mode| written.presence = Some(mode)),
        "presence_full_users_max" => {
            options::presence_users(value).map(|n| written.presence_full_users_max = Some(n))
        }
        "presence_diff_users_max" => {
            options::presence_users(value).map(|n| written.presence_diff_users_max = Some(n))
        }
        "presence_interval" => {
            options::presence_interval(value).map(|ms| written.presence_interval_ms = Some(ms))
        }
        "batch_messages_max" => {
            options::batch_messages(value).map(|n| written.batch_messages_max = Some(n))
        }
        "batch_interval" => {
            options::batch_interval(value).map(|ms| written.batch_interval_ms = Some(ms))
        }
        "echo" => value::boolean(value).map(|on| written.echo = Some(on)),
        "create" => value::choice(value, CREATES).map(|who| written.create = who),
        "last_value" => value::boolean(value).map(|on| written.last_value = on),
        "content_bytes_max" => {
            options::content_bytes(value).map(|n| written.content_bytes_max = Some(n))
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
    fn options_of_the_native_protocol_follow_the_process_too() {
        let config = parse(
            "[history]\nmessages_max = 7\nage = \"1m\"\n[presence]\nmode = \"diff\"\n\
             [native]\nbatch_interval = \"100ms\"\n[limits]\ncontent_bytes_max = 100\n\
             [[rooms]]\npattern = \"own\"\nhistory_messages_max = 0\nhistory_bytes_max = 9\n\
             history_age = \"2s\"\npresence = \"off\"\npresence_full_users_max = 1\n\
             presence_diff_users_max = 2\npresence_interval = \"3s\"\nbatch_messages_max = 4\n\
             batch_interval = \"5ms\"\necho = false\ncreate = \"users\"\nlast_value = true\n\
             content_bytes_max = \"6KiB\"\n[[rooms]]\npattern = \"other\"\n",
        )
        .expect("a good file");
        let all = RoomOptions {
            outbox_bytes_max: config.outbox_bytes_max,
            history: HistoryOptions {
                messages_max: 7,
                age_ms: 60_000,
                ..HistoryOptions::default()
            },
            presence: PresenceOptions { mode: PresenceMode::Diff, ..PresenceOptions::default() },
            batch: BatchOptions { interval_ms: 100, ..BatchOptions::default() },
            content_bytes_max: 100,
            ..RoomOptions::default()
        };
        assert_eq!(**config.rooms.options("lobby"), all);
        assert_eq!(**config.rooms.options("other"), all);
        let own = RoomOptions {
            history: HistoryOptions { messages_max: 0, bytes_max: 9, age_ms: 2_000 },
            presence: PresenceOptions {
                mode: PresenceMode::Off,
                full_users_max: 1,
                diff_users_max: 2,
                interval_ms: 3_000,
            },
            batch: BatchOptions { messages_max: 4, interval_ms: 5 },
            echo: false,
            create: MayCreate::Users,
            last_value: true,
            content_bytes_max: 6 << 10,
            ..all
        };
        assert_eq!(**config.rooms.options("own"), own);
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
