//! `fanfare bench floor`: the denominator, what the kernel alone costs.
//!
//! A bare loop that reads, finds where frames end, and sends ready-made frames by non-blocking
//! sends, from the buffer they were read into. Not here, on purpose: everything a broker has (order
//! across publishers, history, limits, heartbeats, slow readers, errors of clients). Invariant: per
//! member there is one send, and nothing else.

mod buffers;
mod frames;
mod greeting;
mod peer;
mod rooms;
mod server;

use super::target::pin;
use crate::cli::output::{fail, say};
use server::Floor;
use std::net::SocketAddr;
use std::process::ExitCode;

/// Where, and as what.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// What is done with a message
    #[arg(long, value_enum, default_value_t = Kind::Fanout)]
    kind: Kind,
    /// Put up to so many messages that arrived together into one send per socket
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = super::run::at_least_one)]
    join: usize,
    /// Run on this core alone
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
}

/// What the floor does with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Kind {
    /// Send it to everybody with the same path
    Fanout,
    /// Send it back
    Echo,
    /// Nothing: connections only come and go
    Connect,
}

/// Serves until it is killed.
pub(super) fn run(args: &Args) -> ExitCode {
    crate::net::raise_descriptor_limit();
    let floor = pin(args.cpu).and_then(|()| Floor::listen(args.listen, args.kind, args.join));
    let served = floor.and_then(|floor| {
        say(format_args!("listening on {}", floor.address()))?;
        floor.serve()
    });
    match served {
        Ok(never) => match never {},
        Err(error) => fail(error),
    }
}
