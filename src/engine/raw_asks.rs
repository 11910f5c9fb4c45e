//! What raw members and HTTP requests ask of a home: to be let in, and to publish.

use crate::broker::{Encoding, PayloadKind};

/// What is published by who is no native member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post<'a> {
    pub(crate) kind: PayloadKind,
    pub(crate) payload: &'a [u8],
    /// The key under which a repeat is recognised; empty for none.
    pub(crate) dedupe: &'a str,
    /// Who is told to have sent it, as JSON; empty for a guest or a server.
    pub(crate) sender: &'a [u8],
    /// Whether the room may be created for it.
    pub(crate) may_create: bool,
}

impl Post<'_> {
    /// What it takes of the credit at its room's home.
    pub(crate) const fn bytes(&self) -> usize {
        self.payload.len() + self.dedupe.len() + self.sender.len()
    }
}

/// How a raw connection joins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawJoin {
    /// Of the room's name.
    pub(crate) hash: u64,
    pub(crate) encoding: Encoding,
    /// Whether the room may be created for it.
    pub(crate) may_create: bool,
}
