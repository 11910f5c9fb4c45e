//! Whether a user is there, in that user's own words.

/// What a user says of being there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Status {
    /// Connected, and there.
    #[default]
    Online,
    /// Connected, but not there.
    Away,
    /// Not connected, or wants to look so.
    Offline,
}

impl Status {
    /// Stable word, as in `status` on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Away => "away",
            Self::Offline => "offline",
        }
    }
}
