//! What the command line prints: data to stdout, the rest to stderr, and no panic where either is
//! closed.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Writes one line to stdout, at once.
pub(super) fn say(line: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Writes text to stderr, ended by a newline. There is nobody to tell where that fails.
pub(super) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says why the command failed while running; the exit code for that.
pub(super) fn fail(reason: impl Display) -> ExitCode {
    note(format_args!("fanfare: {reason}"));
    ExitCode::FAILURE
}
