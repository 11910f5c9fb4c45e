//! What a member missed, and why: the engine emits one for every drop (no silent loss).

/// Messages of one room that one member will not get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// First `seq` that may be missing.
    pub from: u64,
    /// Last `seq` that may be missing.
    pub to: u64,
    /// How many of `from..=to` were dropped; the rest was received.
    pub count: u64,
    /// Why they were dropped.
    pub reason: GapReason,
}

/// Why messages were dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GapReason {
    /// The member's outbox was full.
    SlowConsumer,
    /// The member's outbox was full and the room keeps only the latest message.
    Conflated,
}

impl GapReason {
    /// Stable word, as in `reason` on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::SlowConsumer => "slow-consumer",
            Self::Conflated => "conflated",
        }
    }
}
