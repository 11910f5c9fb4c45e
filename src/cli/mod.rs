//! The command line: reads arguments, files and environment, runs one subcommand, prints, exits.
//!
//! Not here: what settings mean (`config`), the broker itself (`net`). Exit codes are a contract:
//! 0 done, 1 failed while running, 2 a bad flag (clap's), 78 a bad configuration, 130 and 143 a
//! second SIGINT or SIGTERM. Data goes to stdout, everything else to stderr.

mod banner;
mod bench;
mod check;
mod client;
mod keys;
mod logging;
mod output;
mod password;
mod publish;
mod serve;
mod settings;
mod side;
mod signals;
mod subscribe;
mod token;
mod url;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// A single-binary WebSocket fan-out broker. Without a command it serves.
#[derive(Parser, Debug)]
#[command(name = "fanfare", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Args,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the broker (also without a command)
    Serve(serve::Args),
    /// Say whether a configuration is right, and if not, where and why
    Check(check::Args),
    /// Join a room and print its messages
    Sub(subscribe::Args),
    /// Send one message to a room
    Pub(publish::Args),
    /// Print a token, signed by the configured key
    Token(token::Args),
    /// Read a password from stdin and print its hash, for [[users]]
    Password(password::Args),
    /// Make a load on a WebSocket server, and measure
    Bench(Box<bench::Args>),
}

/// Runs what the process was called with.
pub fn run() -> ExitCode {
    let line = CommandLine::parse();
    match line.command {
        None => serve::run(line.serve),
        Some(Command::Serve(args)) => serve::run(args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Sub(args)) => subscribe::run(&args),
        Some(Command::Pub(args)) => publish::run(&args),
        Some(Command::Token(args)) => token::run(&args),
        Some(Command::Password(args)) => password::run(&args),
        Some(Command::Bench(args)) => bench::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_consistent() {
        CommandLine::command().debug_assert();
    }
}
