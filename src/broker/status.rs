//! What users say of themselves, and what they say of messages: the words of presence and receipts.

/// Whether a user is there, as it says itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Status {
    /// There.
    #[default]
    Online,
    /// Connected, and not looking.
    Away,
    /// Gone, or wants to seem so.
    Offline,
}

/// What became of a message, told to who sent it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReceiptStatus {
    /// It arrived.
    Delivered,
    /// It was seen.
    Read,
}

impl Status {
    /// Every status, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Online, Self::Away, Self::Offline];

    /// Stable word, as in `status` on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Away => "away",
            Self::Offline => "offline",
        }
    }
}

impl ReceiptStatus {
    /// Every status, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::Delivered, Self::Read];

    /// Stable word, as in `status` on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}
