//! What clients speak over a WebSocket: the only room where `broker` and `ws` words meet.
//!
//! Not here: frames (`ws`), what a command does (`broker`, `engine`). Invariant: each protocol maps
//! [`broker::Disconnect`](crate::broker::Disconnect) by one exhaustive `const fn`, and
//! `docs/close-codes.md` is compared with it by a test.
#![deny(clippy::indexing_slicing)]

pub mod binary;
pub mod json;
pub mod raw;

use crate::broker::Disconnect;
use crate::ws::ProtocolError;

/// Why a peer that broke RFC 6455 is disconnected; agrees with [`ProtocolError::close_code`].
pub const fn reason(error: ProtocolError) -> Disconnect {
    match error {
        ProtocolError::ReservedBits
        | ProtocolError::ReservedOpcode
        | ProtocolError::FragmentedControl
        | ProtocolError::LongControl
        | ProtocolError::UnmaskedFrame
        | ProtocolError::MaskedFrame
        | ProtocolError::LengthTopBit
        | ProtocolError::LengthNotMinimal
        | ProtocolError::UnexpectedContinuation
        | ProtocolError::InterruptedMessage
        | ProtocolError::BadCloseLength
        | ProtocolError::BadCloseCode => Disconnect::Protocol,
        ProtocolError::BadUtf8 | ProtocolError::BadDeflate => Disconnect::BadPayload,
        ProtocolError::EmptyFragments => Disconnect::Policy,
        ProtocolError::MessageTooBig => Disconnect::TooBig,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_closes_with_the_code_of_its_reason() {
        for error in ProtocolError::ALL {
            assert_eq!(raw::close_code(reason(error)), Some(error.close_code()), "{error}");
        }
    }
}
