//! `fanfare bench connect`: connections that join, leave, and are followed by the next.
//!
//! Invariants: a connection leaves exactly once, by a cycle or by a failure; what was still under
//! way when waiting was given up has failed.

use super::bounds::{connections, path};
use super::client::{Ending, Fleet, Happening, Manner, STAMP_BYTES, fill};
use super::clock::Clock;
use super::error::BenchError;
use super::progress::Progress;
use super::report::BOTTLENECK;
use super::run::{Timing, refuse};
use super::sides::{Side, Sides, is_bottleneck};
use super::target::Target;
use crate::cli::output::{fail, note, say};
use serde::Serialize;
use std::fmt;
use std::io;
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
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = connections)]
    window: usize,
    /// Rooms that they are spread over
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = connections)]
    rooms: usize,
    /// How a connection leaves
    #[arg(long, value_enum, default_value_t = Leave::Frame)]
    leave: Leave,
    /// What the names of the rooms begin with
    #[arg(long, default_value = "bench")]
    room: String,
    /// Offer permessage-deflate
    #[arg(long)]
    deflate: bool,
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
    /// The same of the warm-up.
    warm_up_failed: u64,
    first_failure: Option<String>,
    server: Option<Side>,
    client: Side,
    /// Whether we were so busy that the rate may be our own.
    client_is_bottleneck: bool,
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
    let target = fill(&args.path_template, &args.room);
    if let Err(wrong) = args.timing.check().and_then(|()| path(&target)) {
        return refuse(wrong);
    }
    let report = match measure(args) {
        Ok(report) => report,
        Err(error) => return fail(error),
    };
    let printed = if args.target.json {
        say(serde_json::to_string(&report).expect("plain numbers and text"))
    } else {
        say(&report)
    };
    if report.cycles == 0 {
        note("fanfare: no connection got through its cycle");
    }
    let is_good = report.cycles > 0 && report.failed + report.warm_up_failed == 0;
    if printed.is_ok() && is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn measure(args: &Args) -> Result<Report, BenchError> {
    args.target.prepare(args.window)?;
    let mut churn = Churn::new(args)?;
    let sides = Sides::new(args.target.server(), churn.clock);
    let warm_up = churn.run_phase(args.timing.warm_up())?;
    let before = sides.look()?;
    let phase = churn.run_phase(args.timing.length())?;
    let after = sides.look()?;
    let (server, client) = sides.between(&before, &after, phase.cycles);
    let seconds = phase.elapsed_us as f64 / 1e6;
    let first_failure = warm_up.first_failure.or(phase.first_failure);
    Ok(Report {
        seconds,
        cycles: phase.cycles,
        cycles_per_second: phase.cycles as f64 / seconds.max(1e-6),
        failed: phase.failed,
        warm_up_failed: warm_up.failed,
        first_failure: first_failure.map(|ending| ending.to_string()),
        server,
        client_is_bottleneck: is_bottleneck(client.cores),
        client,
    })
}

/// Connections that replace each other.
struct Churn<'a> {
    args: &'a Args,
    fleet: Fleet,
    clock: Clock,
    progress: Progress,
    dialled: usize,
    stages: Stages,
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Not there, or gone.
    Away,
    /// Under way until it has said goodbye.
    Joining,
    /// Its close frame is sent.
    Leaving,
}

/// How far each connection is, and whose turn it is to be followed by another.
#[derive(Debug)]
struct Stages {
    of: Vec<Stage>,
    idle: Vec<usize>,
}

impl Stages {
    /// Nobody is there.
    fn new(count: usize) -> Self {
        Self { of: vec![Stage::Away; count], idle: (0..count).collect() }
    }

    fn under_way(&self) -> usize {
        self.of.len() - self.idle.len()
    }

    /// The connection is at `stage` now. Returns where it was; who was away stays so.
    fn go_on(&mut self, index: usize, stage: Stage) -> Stage {
        let Some(place) = self.of.get_mut(index) else { return Stage::Away };
        let before = *place;
        if before != Stage::Away {
            *place = stage;
            if stage == Stage::Away {
                self.idle.push(index);
            }
        }
        before
    }

    /// Somebody new is in every place that was idle.
    fn fill(&mut self) -> Vec<usize> {
        for index in &self.idle {
            if let Some(place) = self.of.get_mut(*index) {
                *place = Stage::Joining;
            }
        }
        std::mem::take(&mut self.idle)
    }

    /// Nobody is there any more. Returns how many were.
    fn clear(&mut self) -> usize {
        let under_way = self.under_way();
        *self = Self::new(self.of.len());
        under_way
    }
}

impl<'a> Churn<'a> {
    fn new(args: &'a Args) -> Result<Self, BenchError> {
        let clock = Clock::start();
        let manner = Manner { look: STAMP_BYTES, deflate: args.deflate, subprotocol: None };
        let tokens = args.target.tokens()?;
        let fleet = Fleet::new(args.target.addr, manner, clock)?.showing(tokens);
        let stages = Stages::new(args.window);
        Ok(Self { args, fleet, clock, progress: Progress::new(), dialled: 0, stages })
    }

    /// Lets connections follow each other for so long, then waits for the last ones.
    fn run_phase(&mut self, length: Duration) -> Result<Phase, BenchError> {
        let start_us = self.clock.now_us();
        let end_us = start_us + u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        let mut phase = Phase::default();
        let mut last_us = start_us;
        let mut opened = Vec::new();
        loop {
            let now_us = self.clock.now_us();
            if now_us < end_us {
                for index in self.stages.fill() {
                    self.dial(index)?;
                }
            }
            let is_quiet = now_us > last_us + QUIET_US;
            if self.stages.under_way() == 0 || is_quiet {
                for _ in 0..self.stages.clear() {
                    phase.fail(Ending::Io(io::ErrorKind::TimedOut.into()));
                }
                let until_us = if phase.cycles > 0 { last_us } else { now_us };
                phase.elapsed_us = until_us - start_us;
                return Ok(phase);
            }
            let Self { fleet, stages, .. } = self;
            fleet.turn(Some(TURN), |index, now_us, happening| match happening {
                Happening::Opened => opened.push(index),
                Happening::Message { .. } => {}
                Happening::Closed(ending) => {
                    last_us = now_us;
                    match (stages.go_on(index, Stage::Away), ending) {
                        // RFC 6455 §5.5.1: who answers a close gives back its code, or none.
                        (Stage::Leaving, Ending::Close(Some(CLOSE_NORMAL) | None)) => {
                            phase.cycles += 1;
                        }
                        (Stage::Joining | Stage::Leaving, ending) => phase.fail(ending),
                        (Stage::Away, _) => {}
                    }
                }
            })?;
            for index in opened.drain(..) {
                self.leave(index, &mut phase, &mut last_us);
            }
            self.progress.show(now_us, format_args!("{} cycles", phase.cycles));
        }
    }

    /// Says goodbye for a connection that has joined, unless it is gone already.
    fn leave(&mut self, index: usize, phase: &mut Phase, last_us: &mut u64) {
        let stage = match self.args.leave {
            Leave::Frame => Stage::Leaving,
            Leave::Drop => Stage::Away,
        };
        if self.stages.go_on(index, stage) == Stage::Away {
            return;
        }
        match self.args.leave {
            Leave::Frame => {
                if let Err(ending) = self.fleet.close(index, CLOSE_NORMAL) {
                    self.stages.go_on(index, Stage::Away);
                    phase.fail(ending);
                }
            }
            Leave::Drop => {
                self.fleet.hang_up(index);
                phase.cycles += 1;
                *last_us = self.clock.now_us();
            }
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
        if self.warm_up_failed > 0 {
            writeln!(f, "            {} failed in the warm-up", self.warm_up_failed)?;
        }
        if let Some(failure) = &self.first_failure {
            writeln!(f, "            {failure}")?;
        }
        match &self.server {
            Some(side) => writeln!(f, "server      {side}")?,
            None => writeln!(f, "server      not found on this machine (--pid)")?,
        }
        write!(f, "client      {}", self.client)?;
        if self.client_is_bottleneck {
            write!(f, "\n{BOTTLENECK}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_leaves_exactly_once() {
        let mut stages = Stages::new(2);
        assert_eq!((stages.under_way(), stages.fill()), (0, vec![0, 1]));
        assert_eq!(stages.under_way(), 2);
        assert_eq!(stages.go_on(1, Stage::Away), Stage::Joining);
        for again in [Stage::Away, Stage::Leaving] {
            assert_eq!(stages.go_on(1, again), Stage::Away);
        }
        assert_eq!((stages.under_way(), &stages.idle), (1, &vec![1]));
        assert_eq!(stages.go_on(0, Stage::Leaving), Stage::Joining);
        assert_eq!(stages.go_on(0, Stage::Away), Stage::Leaving);
        assert_eq!((stages.under_way(), stages.fill()), (0, vec![1, 0]));
        assert_eq!((stages.clear(), stages.under_way()), (2, 0));
        assert_eq!(stages.go_on(7, Stage::Away), Stage::Away, "nobody has that place");
    }

    #[test]
    fn a_busy_client_is_told() {
        let sides = Sides::new(None, Clock::start());
        let look = || sides.look().expect("our own");
        let (server, client) = sides.between(&look(), &look(), 0);
        let mut report = Report {
            seconds: 1.0,
            cycles: 0,
            cycles_per_second: 0.0,
            failed: 0,
            warm_up_failed: 0,
            first_failure: None,
            server,
            client,
            client_is_bottleneck: false,
        };
        assert!(!report.to_string().contains("warning"));
        report.client_is_bottleneck = true;
        assert!(report.to_string().contains("warning"));
    }
}
