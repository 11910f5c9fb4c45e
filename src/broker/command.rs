//! What a client asks of the broker, and what it is told when that can't be.

use super::PayloadKind;

/// One request of one client, decoded from whatever wire it speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command<'a> {
    /// Send `payload` to every member of the connection's room.
    Publish {
        /// How the payload is to be read.
        kind: PayloadKind,
        /// The bytes, kept as sent.
        payload: &'a [u8],
    },
}

/// Why a command was not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommandError {
    /// The process holds as many rooms as it may.
    RoomLimit,
    /// The room does not exist, and there is no memory for another.
    ShortOfMemory,
    /// The room does not exist, and the user may not create it.
    MayNotCreate,
}
