//! `fanfare check [FILE]`: says whether a configuration is right, as `fanfare serve` would read it.

use super::output::{fail, note, say};
use super::settings::{self, Flags};
use std::path::PathBuf;
use std::process::ExitCode;

/// What to check.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The file to check; without one, the environment is checked over the defaults
    /// [env: FANFARE_CONFIG]
    file: Option<PathBuf>,
}

/// Prints ok, or every mistake.
pub(super) fn run(args: &Args) -> ExitCode {
    let file = settings::file_named(args.file.as_deref());
    let (config, authority) = match settings::load_all(file.as_deref(), Flags::default()) {
        Ok(all) => all,
        Err(errors) => return settings::refuse(&errors),
    };
    let warnings = config.warnings.iter().map(String::as_str);
    for warning in warnings.chain(settings::open_to_all(&authority)) {
        note(format_args!("warning: {warning}"));
    }
    let checked = match file {
        Some(file) => file.display().to_string(),
        None => "no file; environment and defaults".to_owned(),
    };
    match say(format_args!("ok: {checked}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format_args!("cannot write to stdout: {error}")),
    }
}
