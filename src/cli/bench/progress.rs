//! One line on a terminal that says how far the measurement is, and nothing anywhere else.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Time between two looks of the line, in µs.
const EVERY_US: u64 = 200_000;

/// The line, on stderr.
#[derive(Debug)]
pub(super) struct Progress {
    is_terminal: bool,
    next_us: u64,
}

impl Progress {
    /// A line if stderr is a terminal.
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), next_us: 0 }
    }

    /// Shows `line` in the place of the last one, if that has stood long enough.
    pub(super) fn show(&mut self, now_us: u64, line: impl Display) {
        if self.is_terminal && now_us >= self.next_us {
            self.next_us = now_us + EVERY_US;
            let _ = write!(io::stderr().lock(), "\r\x1b[K{line}"); // Nobody to tell if it fails.
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
