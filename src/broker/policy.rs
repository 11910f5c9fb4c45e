//! How a room treats a member that is too slow, and which rooms get which options.
//!
//! Patterns: segments between `:`; `*` stands for one segment, a last `**` for one or more.
//! The first pattern that fits decides; a room that fits none gets the defaults.

use crate::limits::{
    BATCH_MESSAGES_MAX, CONTENT_BYTES_MAX, HISTORY_AGE_MS, HISTORY_BYTES_MAX, HISTORY_MESSAGES_MAX,
    OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX, PRESENCE_DIFF_USERS_MAX, PRESENCE_FULL_USERS_MAX,
    PRESENCE_INTERVAL_MS, ROOM_PATTERNS_MAX,
};
use std::fmt;
use std::sync::Arc;

/// What happens when a member's outbox is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overflow {
    /// The member is disconnected as a slow consumer.
    #[default]
    Disconnect,
    /// The oldest queued messages of the room make way.
    DropOldest,
    /// The new message is not queued.
    DropNewest,
    /// Only the newest message of the room stays queued.
    Latest,
}

/// What happens to raw members, which can't be told of a gap, when messages are dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RawDrops {
    /// They are disconnected instead (no silent loss).
    #[default]
    Disconnect,
    /// They miss messages without being told: for data where only the newest counts.
    Silent,
}

/// How messages are compressed for clients that agreed to permessage-deflate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// The extension is not agreed to.
    Off,
    /// Each message by itself, once for all who get it.
    #[default]
    Shared,
    /// With what the connection was sent before as context, once for each connection; as `Shared`
    /// where there is no context left to give.
    Private,
}

/// How much of a room's past is kept; nothing where `messages_max` is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryOptions {
    /// Newest messages kept.
    pub messages_max: u32,
    /// Bytes of the buffers that keep them.
    pub bytes_max: usize,
    /// How long each is kept.
    pub age_ms: u64,
}

/// How much members are told of each other. A room that grows past a mode's limit goes on in the
/// next cheaper one, until it is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PresenceMode {
    /// Nothing.
    Off,
    /// How many there are, now and then.
    Count,
    /// Who came and went, now and then, in one notice.
    Diff,
    /// Who came and went, each time.
    #[default]
    Full,
}

/// A room's presence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PresenceOptions {
    /// The mode it begins with.
    pub mode: PresenceMode,
    /// Users up to which `Full` stays `Full`.
    pub full_users_max: u32,
    /// Users up to which `Diff` stays `Diff`.
    pub diff_users_max: u32,
    /// Time over which `Diff` and `Count` collect what changed.
    pub interval_ms: u32,
}

/// When members that take a room's messages in batches get one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchOptions {
    /// As soon as that many wait.
    pub messages_max: u32,
    /// At the latest after that time; 0 is at the end of each tick.
    pub interval_ms: u32,
}

/// Who creates a room by joining it or by asking for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MayCreate {
    /// Everyone.
    #[default]
    Anyone,
    /// Users with an identity.
    Users,
    /// Nobody but the HTTP API and raw members' routes.
    Nobody,
}

/// The options of one room, fixed when it is created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoomOptions {
    /// What happens when a member's outbox is full.
    pub overflow: Overflow,
    /// What drops mean to raw members.
    pub raw_drops: RawDrops,
    /// Bytes a member's outbox may hold while the kernel takes no more.
    pub outbox_bytes_max: usize,
    /// Messages a member's outbox may hold while the kernel takes no more.
    pub outbox_messages_max: u32,
    /// How its messages are compressed.
    pub compression: Compression,
    /// What is kept of its past.
    pub history: HistoryOptions,
    /// What its members are told of each other.
    pub presence: PresenceOptions,
    /// When members that asked for batches get one.
    pub batch: BatchOptions,
    /// Whether members get their own messages, where they don't say.
    pub echo: bool,
    /// Who may create it.
    pub create: MayCreate,
    /// Whether a newcomer gets the latest message without asking.
    pub last_value: bool,
    /// Largest content of one message.
    pub content_bytes_max: usize,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self {
            messages_max: HISTORY_MESSAGES_MAX,
            bytes_max: HISTORY_BYTES_MAX,
            age_ms: HISTORY_AGE_MS,
        }
    }
}

impl Default for PresenceOptions {
    fn default() -> Self {
        Self {
            mode: PresenceMode::default(),
            full_users_max: PRESENCE_FULL_USERS_MAX,
            diff_users_max: PRESENCE_DIFF_USERS_MAX,
            interval_ms: PRESENCE_INTERVAL_MS,
        }
    }
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { messages_max: BATCH_MESSAGES_MAX, interval_ms: 0 }
    }
}

impl Default for RoomOptions {
    fn default() -> Self {
        Self {
            overflow: Overflow::default(),
            raw_drops: RawDrops::default(),
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            outbox_messages_max: OUTBOX_MESSAGES_MAX,
            compression: Compression::default(),
            history: HistoryOptions::default(),
            presence: PresenceOptions::default(),
            batch: BatchOptions::default(),
            echo: true,
            create: MayCreate::default(),
            last_value: false,
            content_bytes_max: CONTENT_BYTES_MAX,
        }
    }
}

impl RoomOptions {
    /// The policy that holds for a member that can't be told of gaps.
    pub const fn raw_overflow(&self) -> Overflow {
        match self.raw_drops {
            RawDrops::Disconnect => Overflow::Disconnect,
            RawDrops::Silent => self.overflow,
        }
    }
}

/// A pattern over room names, such as `chat:*` or `org:42:**`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomPattern(Box<str>);

/// The text is no pattern; [`fmt::Display`] says what would be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadPattern;

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a pattern is room-name segments between ':', each a literal or '*'; the last may be '**'",
        )
    }
}

impl RoomPattern {
    /// Takes `raw` as a pattern.
    pub fn parse(raw: &str) -> Result<Self, BadPattern> {
        super::RoomName::check(raw).map_err(|_| BadPattern)?;
        let mut segments = raw.split(':').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            let fits = match segment {
                "*" => true,
                "**" => last,
                literal => !literal.is_empty() && !literal.contains('*'),
            };
            if !fits {
                return Err(BadPattern);
            }
        }
        Ok(Self(raw.into()))
    }

    /// Whether `name` fits the pattern.
    pub fn matches(&self, name: &str) -> bool {
        let mut names = name.split(':');
        for wanted in self.0.split(':') {
            match (wanted, names.next()) {
                ("**", Some(_)) => return true,
                ("*", Some(_)) => {}
                (literal, Some(segment)) if literal == segment => {}
                (_, _) => return false,
            }
        }
        names.next().is_none()
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which rooms get which options: defaults, and patterns in order of precedence.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RoomPolicies {
    defaults: Arc<RoomOptions>,
    patterns: Vec<(RoomPattern, Arc<RoomOptions>)>,
}

impl RoomPolicies {
    /// `patterns` in order of precedence, at most [`ROOM_PATTERNS_MAX`] (the config refuses more).
    pub fn new(defaults: RoomOptions, patterns: Vec<(RoomPattern, RoomOptions)>) -> Self {
        debug_assert!(patterns.len() <= ROOM_PATTERNS_MAX);
        let shared = |(pattern, options)| (pattern, Arc::new(options));
        Self { defaults: Arc::new(defaults), patterns: patterns.into_iter().map(shared).collect() }
    }

    /// The options of the room called `name`. O(patterns): call it once per room.
    pub fn options(&self, name: &str) -> &Arc<RoomOptions> {
        let fitting = self.patterns.iter().find(|(pattern, _)| pattern.matches(name));
        fitting.map_or(&self.defaults, |(_, options)| options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_one_segment_and_double_stars_for_the_rest() {
        for (pattern, name, fits) in [
            ("chat:*", "chat:1", true),
            ("chat:*", "chat", false),
            ("chat:*", "chat:1:2", false),
            ("org:42:**", "org:42:a:b", true),
            ("org:42:**", "org:42", false),
            ("*:log", "a:log", true),
            ("lobby", "lobby", true),
            ("lobby", "lobby:1", false),
            ("**", "anything:at:all", true),
        ] {
            let parsed = RoomPattern::parse(pattern).expect(pattern);
            assert_eq!(parsed.matches(name), fits, "{pattern} against {name}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in ["", "a**", "a:**:b", "a::b", "a b", ":", "*a"] {
            assert_eq!(RoomPattern::parse(pattern), Err(BadPattern), "{pattern}");
        }
    }

    #[test]
    fn the_first_fitting_pattern_decides() {
        let latest = RoomOptions { overflow: Overflow::Latest, ..RoomOptions::default() };
        let oldest = RoomOptions { overflow: Overflow::DropOldest, ..RoomOptions::default() };
        let patterns = [("tick:gold", latest), ("tick:*", oldest)]
            .map(|(raw, options)| (RoomPattern::parse(raw).expect(raw), options));
        let policies = RoomPolicies::new(RoomOptions::default(), patterns.into());
        assert_eq!(**policies.options("tick:gold"), latest);
        assert_eq!(**policies.options("tick:oil"), oldest);
        assert_eq!(**policies.options("lobby"), RoomOptions::default());
    }

    #[test]
    fn raw_members_are_disconnected_unless_the_room_drops_silently() {
        let mut options = RoomOptions { overflow: Overflow::Latest, ..RoomOptions::default() };
        assert_eq!(options.raw_overflow(), Overflow::Disconnect);
        options.raw_drops = RawDrops::Silent;
        assert_eq!(options.raw_overflow(), Overflow::Latest);
    }
}
