//! `fanfare bench`: makes a load, measures what becomes of it, on any WebSocket server.
//!
//! Not here: the comparison of several servers (`benches/load.rs`). Invariants: one thread, one
//! poll, one receive buffer, so that the client costs less than the server; CPU time of both sides
//! is always told, because who was the bottleneck decides what the numbers mean.

mod bounds;
mod client;
mod clock;
mod connect;
mod crowd;
mod echo;
mod error;
mod floor;
mod idle;
mod joining;
mod latency;
mod listening;
mod pace;
mod process;
mod progress;
mod report;
mod round;
mod run;
mod scrape;
mod seats;
mod shape;
mod sides;
mod target;
mod tokens;

use std::process::ExitCode;

/// A load, or one of the other measurements.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Args,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Memory of connections that do nothing
    Idle(idle::Args),
    /// Connections that come, join and leave
    Connect(connect::Args),
    /// Messages sent back to their sender
    Echo(echo::Args),
    /// Run the bare server that others are measured against
    Floor(floor::Args),
}

/// Measures what was asked for.
pub(super) fn run(args: &Args) -> ExitCode {
    match &args.command {
        None => run::run(&args.run),
        Some(Command::Idle(args)) => idle::run(args),
        Some(Command::Connect(args)) => connect::run(args),
        Some(Command::Echo(args)) => echo::run(args),
        Some(Command::Floor(args)) => floor::run(args),
    }
}
