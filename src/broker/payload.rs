//! What a message carries, and the forms in which a room's members may get it.

/// The kind of a payload, kept from the publisher to every member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadKind {
    /// UTF-8 text.
    Text,
    /// Opaque bytes.
    Binary,
    /// One JSON value; raw members get its bytes in a text frame.
    Json,
}

/// The wire form of a room's messages. All members of one encoding get the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// Bare payloads in WebSocket frames, for `/raw/{room}`.
    Raw,
    /// The same, compressed where that pays, for clients that keep a window of 32 KiB.
    RawDeflate,
    /// The same, compressed for a window of 512 bytes, which fits every smaller one.
    RawDeflateSmall,
}

impl Encoding {
    /// How many encodings there are; the length of any table with an entry for each.
    pub const COUNT: usize = 3;

    /// Every encoding, in the order of [`Self::index`].
    pub const ALL: [Self; Self::COUNT] = [Self::Raw, Self::RawDeflate, Self::RawDeflateSmall];

    /// Place in a table with one entry per encoding.
    pub const fn index(self) -> usize {
        self as usize
    }
}
