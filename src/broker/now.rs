//! Time as an argument: read once a tick by `net`, made up by the simulator.

/// The two clocks, as of the start of a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Milliseconds since the process started; never goes back. Every timer uses this one.
    pub mono_ms: u64,
    /// Milliseconds since 1970-01-01 UTC; may jump. Only shown, never waited for.
    pub unix_ms: u64,
}

impl Now {
    /// This moment, `ms` milliseconds on.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self { mono_ms: self.mono_ms + ms, unix_ms: self.unix_ms + ms }
    }
}
