//! RFC 6455 and RFC 7692: handshake, frames, messages, compression and closes, for both sides of a
//! connection.
//!
//! Not here: sockets, time, rooms, and what a message means. Slices go in, values come out; what is
//! incomplete is an answer, not an error. Invariants: a breach in a header or in text is found at
//! the first byte that proves it, whatever the pieces the bytes came in (in a close frame's payload
//! at its last byte, in a compressed message once it is inflated); a [`Reader`] at rest holds
//! nothing, and an unfinished message costs what was received plus a constant.
#![deny(clippy::indexing_slicing)]

mod agreement;
mod client;
mod close;
mod deflate;
mod error;
mod extensions;
mod fragments;
mod frame;
mod handshake;
mod inflate;
mod mask;
mod message;
mod reader;
mod subprotocol;
mod utf8;
mod writer;

pub use agreement::{
    Agreement, ClientWindow, DeflateOffer, DeflatePolicy, WindowBits, WindowClass, agree_on_deflate,
};
pub use client::{
    Accepted, ClientHandshakeError, check_response, check_response_speaking, client_request,
    client_request_speaking,
};
pub use close::{CloseFrame, push_close_payload, valid_close_code};
pub use deflate::{Deflated, Deflater, Level};
pub use error::ProtocolError;
pub use frame::{Decoded, FrameHeader, Opcode};
pub use handshake::{Refusal, Upgrade, accept_key, check};
pub use inflate::{Inflater, compressed_bytes_max};
pub use mask::apply as apply_mask;
pub use message::{ControlPayload, Message, Payload, Step};
pub use reader::Reader;
pub use subprotocol::{UnknownSubprotocols, choose_subprotocol};
pub use utf8::Utf8Check;
pub use writer::{
    frame_bytes, push_close, push_frame, push_frame_with, push_header, push_masked_frame,
};

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

/// What the first reserved bit of a frame means on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rsv1 {
    /// Nothing: it must not be set.
    Reserved,
    /// permessage-deflate was agreed on: it marks the first frame of a compressed message.
    Compressed,
}

/// Whether a compressor or decompressor remembers earlier messages (RFC 7692 §7.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// Each message stands for itself, so that one context serves any number of connections.
    Reset,
    /// A message may refer to those before it: the context belongs to one direction of one
    /// connection.
    Kept,
}

/// What a [`Reader`] holds its input against. The same for all connections of a route.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Our side.
    pub role: Role,
    /// Whether messages may be compressed.
    pub rsv1: Rsv1,
    /// Payload bytes of one message, all its fragments together; of a compressed one once it is
    /// inflated, while on the wire it may have [`compressed_bytes_max`] of them.
    pub message_bytes_max: usize,
}
