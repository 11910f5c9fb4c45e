//! RFC 6455: handshake, frames, messages and closes, for both sides of a connection.
//!
//! Not here: sockets, time, rooms, and what a message means. Slices go in, values come out; what is
//! incomplete is an answer, not an error. Invariants: a breach in a header or in text is found at
//! the first byte that proves it, whatever the pieces the bytes came in (in a close frame's payload
//! at its last byte); a [`Reader`] at rest holds nothing, and an unfinished message costs what was
//! received plus a constant.
#![deny(clippy::indexing_slicing)]

mod client;
mod close;
mod error;
mod fragments;
mod frame;
mod handshake;
mod mask;
mod message;
mod reader;
mod utf8;
mod writer;

pub use client::{ClientHandshakeError, check_response, client_request};
pub use close::{CloseFrame, push_close_payload, valid_close_code};
pub use error::ProtocolError;
pub use frame::{Decoded, FrameHeader, Opcode};
pub use handshake::{Refusal, Upgrade, accept_key, check, offered_subprotocols};
pub use mask::apply as apply_mask;
pub use message::{ControlPayload, Message, Payload, Step};
pub use reader::Reader;
pub use utf8::Utf8Check;
pub use writer::{frame_bytes, push_close, push_frame, push_header, push_masked_frame};

/// Whose side we are on: a server reads masked frames and writes bare ones, a client the reverse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// We accepted the connection.
    Server,
    /// We opened the connection.
    Client,
}

/// The two kinds of data messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataKind {
    /// UTF-8 text, validated.
    Text,
    /// Opaque bytes.
    Binary,
}

impl DataKind {
    /// The opcode of a frame that begins a message of this kind.
    pub const fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

/// What a [`Reader`] holds its input against. The same for all connections of a route.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Our side.
    pub role: Role,
    /// Payload bytes of one message, all its fragments together.
    pub message_bytes_max: usize,
}
