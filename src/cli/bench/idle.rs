//! `fanfare bench idle`: what a connection that does nothing costs the server in memory.

use super::client::{Fleet, STAMP_BYTES, fill};
use super::clock::Clock;
use super::error::BenchError;
use super::process::Process;
use super::progress::Progress;
use super::run::at_least_one;
use super::target::Target;
use crate::cli::output::{fail, say};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

/// Connections that come and go before the first look, so that what is made once is there, and
/// again before the last one.
const WARM_UP_CONNS: usize = 64;
/// Time between two looks at the memory.
const LOOK_US: u64 = 100_000;
/// The memory is settled when so many looks in a row saw the same.
const SETTLED_LOOKS: u32 = 5;
/// Longest wait for that.
const SETTLE_US_MAX: u64 = 15_000_000;

/// How many, where.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = at_least_one)]
    conns: usize,
    /// Rooms that they are spread over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    rooms: usize,
    /// The room, or what the names of all rooms begin with
    #[arg(long, default_value = "bench")]
    room: String,
    /// The path of a room's WebSocket
    #[arg(long, value_name = "PATH", default_value = "/raw/{room}")]
    path_template: String,
}

/// The server's memory before, with, and after the connections.
#[derive(Clone, Copy, Debug, Serialize)]
struct Report {
    pid: u32,
    connections: usize,
    rooms: usize,
    before_bytes: u64,
    joined_bytes: u64,
    after_bytes: u64,
    bytes_per_connection: f64,
    /// What is kept after all have left.
    kept_bytes: i64,
}

/// Measures and reports.
pub(super) fn run(args: &Args) -> ExitCode {
    let report = match measure(args) {
        Ok(report) => report,
        Err(error) => return fail(error),
    };
    let printed = if args.target.json {
        say(serde_json::to_string(&report).expect("plain numbers"))
    } else {
        say(report)
    };
    if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
fn measure(args: &Args) -> Result<Report, BenchError> {
    args.target.prepare()?;
    let server = args.target.required_process()?;
    let clock = Clock::start();
    let mut progress = Progress::new();
    let mut fleet = Fleet::new(args.target.addr, STAMP_BYTES, clock)?;
    fleet.open_all((0..WARM_UP_CONNS).map(|nth| args.target_of(nth)), |_| {})?;
    fleet.drop_all();
    let before_bytes = settled(&server, &mut fleet, clock)?;
    fleet.open_all((0..args.conns).map(|nth| args.target_of(nth)), |opened| {
        progress.show(clock.now_us(), format_args!("{opened} of {} connected", args.conns));
    })?;
    let joined_bytes = settled(&server, &mut fleet, clock)?;
    fleet.drop_all();
    settled(&server, &mut fleet, clock)?;
    // The same few as before the first look: allocators give memory back while they are used.
    fleet.open_all((0..WARM_UP_CONNS).map(|nth| args.target_of(nth)), |_| {})?;
    fleet.drop_all();
    let after_bytes = settled(&server, &mut fleet, clock)?;
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let grown_bytes = signed(joined_bytes) - signed(before_bytes);
    Ok(Report {
        pid: server.pid(),
        connections: args.conns,
        rooms: args.rooms,
        before_bytes,
        joined_bytes,
        after_bytes,
        bytes_per_connection: grown_bytes as f64 / args.conns as f64,
        kept_bytes: signed(after_bytes) - signed(before_bytes),
    })
}

impl Args {
    fn target_of(&self, nth: usize) -> String {
        match self.rooms {
            1 => fill(&self.path_template, &self.room),
            rooms => fill(&self.path_template, &format!("{}-{}", self.room, nth % rooms)),
        }
    }
}

/// The server's resident bytes once they stand still; pings are answered meanwhile.
fn settled(server: &Process, fleet: &mut Fleet, clock: Clock) -> Result<u64, BenchError> {
    let give_up_us = clock.now_us() + SETTLE_US_MAX;
    let mut last_bytes = server.resident_bytes()?;
    let mut same = 0;
    while same < SETTLED_LOOKS && clock.now_us() < give_up_us {
        let next_us = clock.now_us() + LOOK_US;
        while clock.now_us() < next_us {
            let left_us = next_us.saturating_sub(clock.now_us());
            fleet.turn(Some(Duration::from_micros(left_us)), |_, _, _| {})?;
        }
        let bytes = server.resident_bytes()?;
        same = if bytes == last_bytes { same + 1 } else { 0 };
        last_bytes = bytes;
    }
    Ok(last_bytes)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "connections  {} in {} rooms (process {})",
            self.connections, self.rooms, self.pid
        )?;
        writeln!(
            f,
            "resident     {} KiB before, {} KiB joined, {} KiB after",
            self.before_bytes / 1024,
            self.joined_bytes / 1024,
            self.after_bytes / 1024
        )?;
        write!(
            f,
            "each         {:.1} bytes; {} KiB kept after all left",
            self.bytes_per_connection,
            self.kept_bytes / 1024
        )
    }
}
