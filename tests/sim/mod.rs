//! The simulator: real shards over virtual links, virtual time and virtual clients, in one thread.
//!
//! Not here: sockets, threads, clocks. Invariant: a seed and a mutation give the same run every
//! time. `tests/sim.rs` draws operations from a seed; the fuzz target takes them from its input.

mod bearer;
mod bearer_laws;
mod bearer_ops;
mod client;
mod guard;
mod laws;
mod mutation;
mod native;
mod native_laws;
mod native_ops;
mod native_reading;
mod ops;
mod rest;
mod tick;
mod world;

pub(crate) use bearer::Meetings;
pub(crate) use mutation::Mutation;
pub(crate) use native::Met;
pub(crate) use ops::run;
pub(crate) use world::World;

/// The laws of the house, as far as a run can break them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Law {
    /// 1: all members of a room see the same messages in the same order.
    Order,
    /// 2: a member gets a message, or is told.
    Loss,
    /// 3: from its join on, none missing and none twice.
    Join,
    /// 5: a slow reader hurts itself alone, and no more than its bound.
    Alone,
    /// 6: credit is never exceeded and never lost; what is pending moves on.
    Credit,
    /// 8: nothing is left of who left.
    Close,
    /// Silent peers are closed, responsive ones never.
    Heartbeat,
    /// A drain ends, and everyone is told.
    Drain,
    /// What members believe of who is there is so.
    Presence,
    /// Who may do something can, and nobody else: by what its token grants.
    Grant,
    /// Who may come and stay does, and nobody else: by its token's time, and by what is revoked.
    Access,
    /// No address has more than its share, or less.
    Share,
    /// The bytes on a wire are what RFC 6455 and HTTP allow.
    Wire,
}

/// A law that was broken, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Violation {
    pub(crate) law: Law,
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn garbled(client: u32, what: &str) -> Self {
        Self { law: Law::Wire, what: format!("client {client}: {what}") }
    }
}

/// Whether a law holds, with the words for the case that it doesn't.
pub(crate) fn hold(law: Law, holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { law, what: what() }) }
}
