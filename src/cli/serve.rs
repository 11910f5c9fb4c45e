//! `fanfare serve`: starts the broker, says where it is, and waits until it has drained.

use super::output::fail;
use super::settings::{self, Flags};
use super::{banner, logging, side, signals};
use crate::net::Server;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Where the settings come from.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Read settings from this TOML file; environment and flags win over it
    /// [env: FANFARE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// Serves until a signal has drained every loop.
pub(super) fn run(args: Args) -> ExitCode {
    let file = settings::file_named(args.config.as_deref());
    let (config, authority) = match settings::load_all(file.as_deref(), args.flags) {
        Ok(all) => all,
        Err(errors) => return settings::refuse(&errors),
    };
    let side = match side::work(&config) {
        Ok(side) => side,
        Err(errors) => return settings::refuse(&errors),
    };
    let _flushed_at_the_end = logging::start(&config.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(warning) = settings::open_to_all(&authority) {
        tracing::warn!("{warning}");
    }
    // Before the start: a signal that comes while it binds must drain, not kill.
    let signals = match signals::Watch::new() {
        Ok(signals) => signals,
        Err(error) => return fail(format_args!("cannot watch for signals: {error}")),
    };
    let server = match Server::start(&config, Arc::new(authority), side) {
        Ok(server) => server,
        Err(error) => return fail(error),
    };
    banner::show(&config, &server);
    if let Err(error) = signals.drain_on_signal(server.drainer()) {
        return fail(format_args!("cannot start the signal thread: {error}"));
    }
    server.join();
    tracing::info!("stopped");
    ExitCode::SUCCESS
}
