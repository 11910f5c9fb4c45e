//! The log on stderr, written by a thread of its own, so that a slow stderr never stalls a loop.

use super::output::note;
use crate::config::{Log, LogFilter, LogFormat, LogLevel};
use std::env;
use std::io::{self, IsTerminal};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

/// Starts the log. What is still queued is written when the guard is dropped.
pub(super) fn start(log: &Log) -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking(io::stderr());
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_env_filter(filter(&log.filter))
        .with_ansi(colours(terminal, is_set("NO_COLOR"), is_set("CLICOLOR_FORCE")));
    let started = if is_json(log.format, terminal) {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.try_init()
    };
    if let Err(error) = started {
        note(format_args!("fanfare: no log: {error}"));
    }
    guard
}

fn filter(filter: &LogFilter) -> EnvFilter {
    match filter {
        LogFilter::Level(level) => EnvFilter::new(level.as_str()),
        LogFilter::Directives(directives) => EnvFilter::try_new(directives).unwrap_or_else(|e| {
            note(format_args!("fanfare: RUST_LOG is not read: {e}"));
            EnvFilter::new(LogLevel::Info.as_str())
        }),
    }
}

const fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Pretty => false,
        LogFormat::Json => true,
    }
}

/// Whether to colour: <https://no-color.org> first, then a wish to force it, then the terminal.
const fn colours(terminal: bool, forbidden: bool, forced: bool) -> bool {
    !forbidden && (forced || terminal)
}

/// Whether an environment variable is there and not empty.
fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_json_where_nobody_looks() {
        assert!(is_json(LogFormat::Auto, false) && !is_json(LogFormat::Auto, true));
        assert!(is_json(LogFormat::Json, true) && !is_json(LogFormat::Pretty, false));
    }

    #[test]
    fn no_color_wins_over_force_and_force_over_the_terminal() {
        assert!(colours(true, false, false) && !colours(false, false, false));
        assert!(colours(false, false, true) && !colours(true, true, true));
    }
}
