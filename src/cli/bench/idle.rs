//! `fanfare bench idle`: what a connection that does nothing costs the server in memory.
//!
//! Invariants: a figure is of connections that all stood while it was read; one that was still
//! changing when the wait was over says so.

use super::bounds::{connections, path};
use super::client::{Fleet, Happening, Manner, STAMP_BYTES, fill};
use super::clock::Clock;
use super::error::BenchError;
use super::progress::Progress;
use super::run::refuse;
use super::target::Target;
use crate::cli::output::{fail, say};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

/// Connections that come and go before the first look at most, so that what is made once is there,
/// and again before the last one.
const WARM_UP_CONNS_MAX: usize = 64;
/// What those leave behind is used again by as many of those that are weighed, which then weigh
/// nothing: at most one of so many.
const WEIGHED_PER_WARM_UP: usize = 100;
/// Time between two looks at the memory.
const LOOK_US: u64 = 100_000;
/// The memory is settled when so many looks in a row saw the same: two seconds, longer than
/// allocators keep what is free.
const SETTLED_LOOKS: u32 = 20;
/// Longest wait for that.
const SETTLE_US_MAX: u64 = 15_000_000;

/// How many, where.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = connections)]
    conns: usize,
    /// Rooms that they are spread over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = connections)]
    rooms: usize,
    /// The room, or what the names of all rooms begin with
    #[arg(long, default_value = "bench")]
    room: String,
    /// Offer permessage-deflate
    #[arg(long)]
    deflate: bool,
    /// The path of a room's WebSocket
    #[arg(long, value_name = "PATH", default_value = "/raw/{room}")]
    path_template: String,
}

/// The server's memory before, with, and after the connections.
#[derive(Clone, Debug, Serialize)]
struct Report {
    /// The first of the server's processes.
    pid: u32,
    pids: Vec<u32>,
    connections: usize,
    /// Those that agreed on compression.
    compressing: usize,
    rooms: usize,
    before_bytes: u64,
    joined_bytes: u64,
    after_bytes: u64,
    bytes_per_connection: f64,
    /// What is kept after all have left.
    kept_bytes: i64,
    /// Whether the memory stood still at every look.
    settled: bool,
}

/// Measures and reports.
pub(super) fn run(args: &Args) -> ExitCode {
    if let Err(wrong) = path(&args.target_of(0)) {
        return refuse(wrong);
    }
    let report = match measure(args) {
        Ok(report) => report,
        Err(error) => return fail(error),
    };
    let printed = if args.target.json {
        say(serde_json::to_string(&report).expect("plain numbers"))
    } else {
        say(&report)
    };
    if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
fn measure(args: &Args) -> Result<Report, BenchError> {
    args.target.prepare(args.conns)?;
    let server = args.target.required_server()?;
    let clock = Clock::start();
    let mut progress = Progress::new();
    let manner = Manner { look: STAMP_BYTES, deflate: args.deflate, subprotocol: None };
    let tokens = args.target.tokens()?;
    let mut fleet = Fleet::new(args.target.addr, manner, clock)?.showing(tokens);
    let look = |fleet: &mut Fleet| settle(fleet, clock, SETTLE_US_MAX, || server.resident_bytes());
    fleet.open_all((0..args.warm_up_conns()).map(|nth| args.target_of(nth)), |_| {})?;
    fleet.drop_all();
    let before = look(&mut fleet)?;
    fleet.open_all((0..args.conns).map(|nth| args.target_of(nth)), |opened| {
        progress.show(clock.now_us(), format_args!("{opened} of {} connected", args.conns));
    })?;
    let joined = look(&mut fleet)?;
    let compressing = fleet.compressing();
    fleet.drop_all();
    let left = look(&mut fleet)?;
    // The same few as before the first look: allocators give memory back while they are used.
    fleet.open_all((0..args.warm_up_conns()).map(|nth| args.target_of(nth)), |_| {})?;
    fleet.drop_all();
    let after = look(&mut fleet)?;
    let signed = |look: &Look| i64::try_from(look.bytes).unwrap_or(i64::MAX);
    let grown_bytes = signed(&joined) - signed(&before);
    let pids = server.pids();
    Ok(Report {
        pid: pids.first().copied().unwrap_or_default(),
        pids,
        connections: args.conns,
        compressing,
        rooms: args.rooms,
        before_bytes: before.bytes,
        joined_bytes: joined.bytes,
        after_bytes: after.bytes,
        bytes_per_connection: grown_bytes as f64 / args.conns as f64,
        kept_bytes: signed(&after) - signed(&before),
        settled: [before, joined, left, after].iter().all(|look| look.settled),
    })
}

impl Args {
    fn warm_up_conns(&self) -> usize {
        (self.conns / WEIGHED_PER_WARM_UP).clamp(1, WARM_UP_CONNS_MAX)
    }

    fn target_of(&self, nth: usize) -> String {
        match self.rooms {
            1 => fill(&self.path_template, &self.room),
            rooms => fill(&self.path_template, &format!("{}-{}", self.room, nth % rooms)),
        }
    }
}

/// The server's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Look {
    bytes: u64,
    /// Whether it stood still.
    settled: bool,
}

/// The memory that `resident` tells, once it stands still or `patience_us` have passed; pings are
/// answered meanwhile. An error if a connection ends: what is weighed must be there.
fn settle(
    fleet: &mut Fleet,
    clock: Clock,
    patience_us: u64,
    resident: impl Fn() -> Result<u64, BenchError>,
) -> Result<Look, BenchError> {
    let give_up_us = clock.now_us() + patience_us;
    let mut bytes = resident()?;
    let mut same = 0;
    while same < SETTLED_LOOKS && clock.now_us() < give_up_us {
        let next_us = clock.now_us() + LOOK_US;
        while clock.now_us() < next_us {
            let left_us = next_us.saturating_sub(clock.now_us());
            let mut ended = None;
            fleet.turn(
                Some(Duration::from_micros(left_us)),
                |_, _, happening| match happening {
                    Happening::Closed(ending) => ended = Some(ending),
                    Happening::Opened | Happening::Message { .. } => {}
                },
            )?;
            if let Some(ending) = ended {
                return Err(BenchError::Ended(ending));
            }
        }
        let now_bytes = resident()?;
        same = if now_bytes == bytes { same + 1 } else { 0 };
        bytes = now_bytes;
    }
    Ok(Look { bytes, settled: same >= SETTLED_LOOKS })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "connections  {} in {} rooms (process {})",
            self.connections, self.rooms, self.pid
        )?;
        if self.compressing > 0 {
            writeln!(f, "compression  {} agreed on it", self.compressing)?;
        }
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
        )?;
        if !self.settled {
            let seconds = SETTLE_US_MAX / 1_000_000;
            write!(f, "\nwarning      the memory did not stand still within {seconds} s")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn look(patience_us: u64, next: impl Fn(u64) -> u64) -> Look {
        let clock = Clock::start();
        let address = "127.0.0.1:1".parse().expect("an address");
        let mut fleet = Fleet::new(
            address,
            Manner { look: STAMP_BYTES, deflate: false, subprotocol: None },
            clock,
        )
        .expect("a poll");
        let bytes = Cell::new(0);
        let resident = || Ok(bytes.replace(next(bytes.get())));
        settle(&mut fleet, clock, patience_us, resident).expect("nobody leaves")
    }

    #[test]
    fn memory_that_stands_still_is_settled_and_what_grows_is_not() {
        assert_eq!(look(60_000_000, |bytes| bytes), Look { bytes: 0, settled: true });
        let later = look(60_000_000, |bytes| (bytes + 1).min(3));
        assert_eq!(later, Look { bytes: 3, settled: true });
        assert!(!look(2 * LOOK_US, |bytes| bytes + 1).settled);
        assert!(!look(2 * LOOK_US, |bytes| bytes).settled, "too few looks");
    }

    #[test]
    fn what_did_not_settle_is_told() {
        let mut report = Report {
            pid: 1,
            pids: vec![1],
            connections: 1,
            compressing: 0,
            rooms: 1,
            before_bytes: 0,
            joined_bytes: 0,
            after_bytes: 0,
            bytes_per_connection: 0.0,
            kept_bytes: 0,
            settled: true,
        };
        assert!(!report.to_string().contains("warning"));
        report.settled = false;
        assert!(report.to_string().contains("warning"));
        let json = serde_json::to_value(&report).expect("plain numbers");
        assert_eq!(json["settled"], false);
    }
}
