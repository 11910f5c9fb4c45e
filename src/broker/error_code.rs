//! The stable words by which a client is told what was wrong with a request.

/// What was wrong. The wire has its word, and a sentence for people beside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorCode {
    /// Not one JSON object, or no record.
    BadJson,
    /// A field is missing, or not what it must be.
    BadField,
    /// No request of that name.
    UnknownType,
    /// Content, key or message beyond its limit.
    TooLong,
    /// No valid identity.
    Unauthorized,
    /// Not allowed to this user.
    Forbidden,
    /// The request needs a membership.
    NotInRoom,
    /// The room does not exist, and this request does not create it.
    NoSuchRoom,
    /// The process holds as many rooms as it may.
    RoomLimit,
    /// Too fast.
    RateLimited,
    /// The history does not reach back to the position.
    UnrecoverablePosition,
    /// Not now: too much is under way, or a loop did not answer.
    Unavailable,
    /// The connection is in as many rooms as it may be.
    TooManyRooms,
    /// The same thing is there already.
    Duplicate,
}

impl ErrorCode {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::BadJson,
        Self::BadField,
        Self::UnknownType,
        Self::TooLong,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotInRoom,
        Self::NoSuchRoom,
        Self::RoomLimit,
        Self::RateLimited,
        Self::UnrecoverablePosition,
        Self::Unavailable,
        Self::TooManyRooms,
        Self::Duplicate,
    ];

    /// The code on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BadJson => "bad-json",
            Self::BadField => "bad-field",
            Self::UnknownType => "unknown-type",
            Self::TooLong => "too-long",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotInRoom => "not-in-room",
            Self::NoSuchRoom => "no-such-room",
            Self::RoomLimit => "room-limit",
            Self::RateLimited => "rate-limited",
            Self::UnrecoverablePosition => "unrecoverable-position",
            Self::Unavailable => "unavailable",
            Self::TooManyRooms => "too-many-rooms",
            Self::Duplicate => "duplicate",
        }
    }
}
