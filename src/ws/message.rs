//! What a reader hands out: messages, borrowed from the input where they were whole in it.
//!
//! Invariants: everything is unmasked and validated, but for what is compressed, which nobody has
//! looked into yet; a control payload has at most 125 bytes.

use super::{CloseFrame, DataKind, Opcode, ProtocolError};
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;
use std::ops::Deref;

/// What one call of [`super::Reader::read`] came to.
#[derive(Debug)]
pub struct Step<'a> {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// The message that ended there; `None` when all of the input was taken in without one.
    pub message: Option<Message<'a>>,
}

/// One message, or one control frame. Borrows from the input, never from the reader.
#[derive(Debug)]
pub enum Message<'a> {
    /// A whole data message; its text is valid UTF-8.
    Data {
        /// As the sender said.
        kind: DataKind,
        /// All fragments, unmasked.
        payload: Payload<'a>,
    },
    /// A whole data message, compressed. Only where [`super::Rsv1::Compressed`] is the rule.
    Compressed {
        /// As the sender said. Whether text is UTF-8 is not known yet.
        kind: DataKind,
        /// All fragments, unmasked, for [`super::Inflater::message`].
        payload: Payload<'a>,
    },
    /// To be answered with a pong of the same payload.
    Ping(ControlPayload<'a>),
    /// An answer to a ping of ours, or unasked.
    Pong(ControlPayload<'a>),
    /// The peer closes. What comes after it is not to be read (RFC 6455 §5.5.1).
    Close(CloseFrame),
}

/// The payload of a data message.
#[derive(Debug)]
pub enum Payload<'a> {
    /// It was whole in the input.
    Borrowed(&'a [u8]),
    /// It came in pieces.
    Owned(Vec<u8>),
}

/// The payload of a ping or pong, at most [`CONTROL_PAYLOAD_BYTES_MAX`] bytes.
#[derive(Debug)]
pub struct ControlPayload<'a>(Payload<'a>);

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Deref for ControlPayload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> Message<'a> {
    /// A whole control frame as a message.
    pub(super) fn control(opcode: Opcode, payload: Payload<'a>) -> Result<Self, ProtocolError> {
        debug_assert!(payload.len() <= CONTROL_PAYLOAD_BYTES_MAX, "judged at the header");
        match opcode {
            Opcode::Ping => Ok(Self::Ping(ControlPayload(payload))),
            Opcode::Pong => Ok(Self::Pong(ControlPayload(payload))),
            Opcode::Close => CloseFrame::decode(&payload).map(Self::Close),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                Err(ProtocolError::ReservedOpcode)
            }
        }
    }
}
