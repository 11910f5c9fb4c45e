//! What a peer can do wrong on an open connection, and the close code it earns.

use std::fmt;

/// A breach of RFC 6455 or RFC 7692, or of a bound of ours. It ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    /// A reserved bit is set where no extension that was agreed on has a use for it.
    ReservedBits,
    /// Opcode 3 to 7 or 11 to 15.
    ReservedOpcode,
    /// A control frame without FIN.
    FragmentedControl,
    /// A control frame that announces more than 125 bytes.
    LongControl,
    /// A frame from a client without a mask.
    UnmaskedFrame,
    /// A frame from a server with a mask.
    MaskedFrame,
    /// A length of 2^63 or more.
    LengthTopBit,
    /// A length in more bytes than it needs.
    LengthNotMinimal,
    /// A continuation frame while no message is open.
    UnexpectedContinuation,
    /// A new data message before the last one was finished.
    InterruptedMessage,
    /// A close frame with a payload of one byte.
    BadCloseLength,
    /// A close code that must not be sent.
    BadCloseCode,
    /// Text, or a close reason, that is not UTF-8.
    BadUtf8,
    /// A compressed message that is not DEFLATE, or ends within a block.
    BadDeflate,
    /// Too many empty fragments in a row.
    EmptyFragments,
    /// A message that announces more bytes than it may have, or has them once it is inflated.
    MessageTooBig,
}

const _: () = assert!(size_of::<ProtocolError>() <= 2);
const _: () = assert!(size_of::<Result<(), ProtocolError>>() <= 2);

impl ProtocolError {
    /// Every error.
    pub const ALL: [Self; 16] = [
        Self::ReservedBits,
        Self::ReservedOpcode,
        Self::FragmentedControl,
        Self::LongControl,
        Self::UnmaskedFrame,
        Self::MaskedFrame,
        Self::LengthTopBit,
        Self::LengthNotMinimal,
        Self::UnexpectedContinuation,
        Self::InterruptedMessage,
        Self::BadCloseLength,
        Self::BadCloseCode,
        Self::BadUtf8,
        Self::BadDeflate,
        Self::EmptyFragments,
        Self::MessageTooBig,
    ];

    /// The code of the close frame that answers this error (RFC 6455 §7.4.1).
    pub const fn close_code(self) -> u16 {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::FragmentedControl
            | Self::LongControl
            | Self::UnmaskedFrame
            | Self::MaskedFrame
            | Self::LengthTopBit
            | Self::LengthNotMinimal
            | Self::UnexpectedContinuation
            | Self::InterruptedMessage
            | Self::BadCloseLength
            | Self::BadCloseCode => 1002,
            Self::BadUtf8 | Self::BadDeflate => 1007,
            Self::EmptyFragments => 1008,
            Self::MessageTooBig => 1009,
        }
    }

    /// What was wrong, short enough for a close reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bit set",
            Self::ReservedOpcode => "reserved opcode",
            Self::FragmentedControl => "fragmented control frame",
            Self::LongControl => "control frame longer than 125 bytes",
            Self::UnmaskedFrame => "client frame without a mask",
            Self::MaskedFrame => "server frame with a mask",
            Self::LengthTopBit => "top bit of the length set",
            Self::LengthNotMinimal => "length in more bytes than it needs",
            Self::UnexpectedContinuation => "continuation of nothing",
            Self::InterruptedMessage => "new message before the last one was finished",
            Self::BadCloseLength => "close frame of one byte",
            Self::BadCloseCode => "close code that must not be sent",
            Self::BadUtf8 => "invalid UTF-8",
            Self::BadDeflate => "compressed data is broken",
            Self::EmptyFragments => "too many empty fragments",
            Self::MessageTooBig => "message too big",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::valid_close_code;

    #[test]
    fn every_error_has_a_code_and_a_reason_that_a_close_frame_can_carry() {
        for (index, error) in ProtocolError::ALL.into_iter().enumerate() {
            assert_eq!(error as usize, index, "{error:?} is listed once and in order");
            assert!(valid_close_code(error.close_code()), "{error:?}");
            assert!((1..=123).contains(&error.reason().len()), "{error:?}");
        }
    }
}
