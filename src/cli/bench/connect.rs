//! `fanfare bench connect`: connections that join, leave, and are followed by the next.

use super::client::{Ending, Fleet, Happening, STAMP_BYTES, fill};
use super::clock::Clock;
use super::error::BenchError;
use super::process::Process;
use super::progress::Progress;
use super::report::Side;
use super::run::{Timing, at_least_one};
use super::target::Target;
use crate::cli::output::{fail, say};
use serde::Serialize;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

const CLOSE_NORMAL: u16 = 1000;
const TURN: Duration = Duration::from_millis(50);
/// Silence after which what is under way is given up.
const QUIET_US: u64 = 2_000_000;

/// How many at once, and how they leave.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    timing: Timing,
    /// Connections under way at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one)]
    window: usize,
    /// Rooms that they are spread over
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one)]
    rooms: usize,
    /// How a connection leaves
    #[arg(long, value_enum, default_value_t = Leave::Frame)]
    leave: Leave,
    /// What the names of the rooms begin with
    #[arg(long, default_value = "bench")]
    room: String,
    /// The path of a room's WebSocket
    #[arg(long, value_name = "PATH", default_value = "/raw/{room}")]
    path_template: String,
}

/// How a connection leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Leave {
    /// By a close frame, which the server answers
    Frame,
    /// By hanging up
    Drop,
}

#[derive(Clone, Debug, Serialize)]
struct Report {
    seconds: f64,
    cycles: u64,
    cycles_per_second: f64,
    /// Connections that did not get through their cycle.
    failed: u64,
    first_failure: Option<String>,
    server: Option<Side>,
    client: Side,
}

/// What became of the connections of one phase.
#[derive(Default, Debug)]
struct Phase {
    elapsed_us: u64,
    cycles: u64,
    failed: u64,
    first_failure: Option<Ending>,
}

/// Measures and reports.
pub(super) fn run(args: &Args) -> ExitCode {
    let report = match measure(args) {
        Ok(report) => report,
        Err(error) => return fail(error),
    };
    let printed = if args.target.json {
        say(serde_json::to_string(&report).expect("plain numbers and text"))
    } else {
        say(&report)
    };
    if printed.is_ok() && report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn measure(args: &Args) -> Result<Report, BenchError> {
    args.target.prepare()?;
    let (server, own) = (args.target.process(), Process::own());
    let mut churn = Churn::new(args)?;
    churn.run_phase(args.timing.warm_up())?;
    let before = (server.as_ref().map(Process::cpu_time).transpose()?, own.cpu_time()?);
    let phase = churn.run_phase(args.timing.length())?;
    let after = (server.as_ref().map(Process::cpu_time).transpose()?, own.cpu_time()?);
    let server = match (&server, before.0, after.0) {
        (Some(server), Some(before), Some(after)) => {
            Some(Side::new(server.pid(), after.since(before), phase.cycles, phase.elapsed_us))
        }
        (_, _, _) => None,
    };
    let spent = after.1.since(before.1);
    let seconds = phase.elapsed_us as f64 / 1e6;
    Ok(Report {
        seconds,
        cycles: phase.cycles,
        cycles_per_second: phase.cycles as f64 / seconds.max(1e-6),
        failed: phase.failed,
        first_failure: phase.first_failure.map(|ending| ending.to_string()),
        server,
        client: Side::new(own.pid(), spent, phase.cycles, phase.elapsed_us),
    })
}

/// Connections that replace each other.
struct Churn<'a> {
    args: &'a Args,
    fleet: Fleet,
    clock: Clock,
    progress: Progress,
    dialled: usize,
}

impl<'a> Churn<'a> {
    fn new(args: &'a Args) -> Result<Self, BenchError> {
        let clock = Clock::start();
        let fleet = Fleet::new(args.target.addr, STAMP_BYTES, clock)?;
        Ok(Self { args, fleet, clock, progress: Progress::new(), dialled: 0 })
    }

    /// Lets connections follow each other for so long, then waits for the last ones.
    fn run_phase(&mut self, length: Duration) -> Result<Phase, BenchError> {
        let start_us = self.clock.now_us();
        let end_us = start_us + u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        let mut phase = Phase::default();
        let mut last_us = start_us;
        let mut idle: Vec<usize> = (0..self.args.window).collect();
        let (mut opened, mut left) = (Vec::new(), Vec::new());
        let mut under_way = 0;
        loop {
            let now_us = self.clock.now_us();
            if now_us < end_us {
                under_way += idle.len();
                for index in idle.drain(..) {
                    self.dial(index)?;
                }
            }
            if under_way == 0 || now_us > last_us + QUIET_US {
                phase.elapsed_us = last_us - start_us;
                return Ok(phase);
            }
            let leave = self.args.leave;
            self.fleet.turn(Some(TURN), |index, now_us, happening| match happening {
                Happening::Opened => opened.push(index),
                Happening::Message(_) => {}
                Happening::Closed(ending) => {
                    last_us = now_us;
                    left.push(index);
                    match ending {
                        Ending::Close(_) if leave == Leave::Frame => phase.cycles += 1,
                        Ending::Close(_)
                        | Ending::Eof
                        | Ending::Io(_)
                        | Ending::Handshake(_)
                        | Ending::Protocol(_) => phase.fail(ending),
                    }
                }
            })?;
            for index in opened.drain(..) {
                match leave {
                    Leave::Frame => {
                        if let Err(ending) = self.fleet.close(index, CLOSE_NORMAL) {
                            phase.fail(ending);
                            left.push(index);
                        }
                    }
                    Leave::Drop => {
                        phase.cycles += 1;
                        last_us = self.clock.now_us();
                        left.push(index);
                    }
                }
            }
            under_way -= left.len();
            idle.append(&mut left);
            self.progress.show(now_us, format_args!("{} cycles", phase.cycles));
        }
    }

    fn dial(&mut self, index: usize) -> Result<(), BenchError> {
        let room = format!("{}-{}", self.args.room, self.dialled % self.args.rooms);
        let target = fill(&self.args.path_template, &room);
        self.dialled += 1;
        let dialled = if index < self.fleet.len() {
            self.fleet.reopen(index, &target)
        } else {
            self.fleet.open(&target)
        };
        dialled.map_err(|error| BenchError::Dial(self.args.target.addr, error))
    }
}

impl Phase {
    fn fail(&mut self, ending: Ending) {
        self.failed += 1;
        self.first_failure.get_or_insert(ending);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "cycles      {} in {:.2} s: {:.0} a second, {} failed",
            self.cycles, self.seconds, self.cycles_per_second, self.failed
        )?;
        if let Some(failure) = &self.first_failure {
            writeln!(f, "            {failure}")?;
        }
        match &self.server {
            Some(side) => writeln!(f, "server      {side}")?,
            None => writeln!(f, "server      not found on this machine (--pid)")?,
        }
        write!(f, "client      {}", self.client)
    }
}
