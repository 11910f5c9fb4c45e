//! Settings of the log: which lines, and how they look.

/// Least level that is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What needs someone now.
    Error,
    /// What needs someone soon.
    Warn,
    /// Starts, stops, and what changed between.
    Info,
    /// Each connection.
    Debug,
    /// Each message's size and kind.
    Trace,
}

pub(super) const LOG_LEVELS: &[(&str, LogLevel)] = &[
    ("off", LogLevel::Off),
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

impl LogLevel {
    /// The word by which it is set.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Which lines are logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogFilter {
    /// Everything at this level and above.
    Level(LogLevel),
    /// The directives of `RUST_LOG`, not checked here.
    Directives(String),
}

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// [`Self::Pretty`] on a terminal, else [`Self::Json`].
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

pub(super) const LOG_FORMATS: &[(&str, LogFormat)] =
    &[("auto", LogFormat::Auto), ("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];

/// The settings of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// Which lines are logged.
    pub filter: LogFilter,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: LogFilter::Level(LogLevel::Info), format: LogFormat::Auto }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_set_by_its_own_word() {
        for (word, level) in LOG_LEVELS {
            assert_eq!(level.as_str(), *word);
        }
    }
}
