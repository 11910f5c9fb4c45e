//! `fanfare bench`: members in rooms, publishers at a pace, and what became of every message.

use super::client::{STAMP_BYTES, parse_template};
use super::clock::Clock;
use super::crowd::{Crowd, Shape};
use super::error::BenchError;
use super::pace::Pace;
use super::process::Process;
use super::progress::Progress;
use super::report::{Report, Side};
use super::target::Target;
use crate::cli::output::{fail, note, say};
use crate::ws::DataKind;
use std::process::ExitCode;
use std::time::Duration;

/// Stamps count microseconds in 32 bits.
const SECONDS_MAX: f64 = 3_600.0;

/// The load.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    timing: Timing,
    /// The room, or what the names of all rooms begin with
    #[arg(long, default_value = "bench")]
    room: String,
    /// Rooms
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    rooms: usize,
    /// Members of each room
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one)]
    subs: usize,
    /// How many members of each room publish; they get their own messages too
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pubs: usize,
    /// Payload bytes of each message, at least 40
    #[arg(long, value_name = "B", default_value_t = 128)]
    size: usize,
    /// Messages a second in all, whether the last ones arrived or not; latency counts from when
    /// each was due
    #[arg(long, value_name = "MSG/S", value_parser = positive, conflicts_with = "window")]
    rate: Option<f64>,
    /// Messages each publisher has under way, counted by its own coming back [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    window: Option<u32>,
    /// Send text instead of binary messages
    #[arg(long)]
    text: bool,
    /// The path of a room's WebSocket
    #[arg(long, value_name = "PATH", default_value = "/raw/{room}")]
    path_template: String,
    /// What a message looks like, with {payload} and perhaps {room} in it
    #[arg(long, value_name = "TEXT", value_parser = parse_template)]
    message_template: Option<String>,
    /// What each member sends first, for servers that are joined by a message; may have {room}
    #[arg(long, value_name = "TEXT")]
    join_template: Option<String>,
}

/// How long.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Timing {
    /// How long to measure
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    secs: f64,
    /// How long to make the same load before
    #[arg(long, value_name = "S", default_value = "0.5", value_parser = seconds)]
    warm_up: f64,
}

/// What makes the exit code 1.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Fail if more messages are lost
    #[arg(long, value_name = "N")]
    max_loss: Option<u64>,
    /// Fail if the 99th percentile of the latency is higher
    #[arg(long, value_name = "MS", value_parser = positive)]
    max_p99: Option<f64>,
}

/// Measures and reports.
pub(super) fn run(args: &Args) -> ExitCode {
    match args.shape() {
        Ok(shape) => execute(&args.target, shape, args.timing, args.limits),
        Err(wrong) => {
            note(format_args!("fanfare: {wrong}"));
            ExitCode::from(2)
        }
    }
}

/// Makes a load, prints its report and judges it.
pub(super) fn execute(target: &Target, shape: Shape, timing: Timing, limits: Limits) -> ExitCode {
    let report = match measure(target, shape, timing) {
        Ok(report) => report,
        Err(error) => return fail(error),
    };
    let printed = if target.json {
        say(serde_json::to_string(&report).expect("plain numbers and text"))
    } else {
        say(&report)
    };
    let broken = limits.broken(&report);
    for limit in &broken {
        note(format_args!("fanfare: {limit}"));
    }
    if broken.is_empty() && printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(target: &Target, shape: Shape, timing: Timing) -> Result<Report, BenchError> {
    target.prepare()?;
    let (server, own) = (target.process(), Process::own());
    let mut progress = Progress::new();
    let mut crowd = Crowd::gather(target.addr, shape.clone(), Clock::start(), &mut progress)?;
    crowd.run_phase(timing.warm_up(), &mut progress)?;
    let before = (server.as_ref().map(Process::cpu_time).transpose()?, own.cpu_time()?);
    let phase = crowd.run_phase(timing.length(), &mut progress)?;
    let after = (server.as_ref().map(Process::cpu_time).transpose()?, own.cpu_time()?);
    let side = |process: &Process, before, after: super::process::CpuTime| {
        Side::new(process.pid(), after.since(before), phase.deliveries, phase.elapsed_us)
    };
    let server = match (&server, before.0, after.0) {
        (Some(server), Some(before), Some(after)) => Some(side(server, before, after)),
        (_, _, _) => None,
    };
    let client = side(&own, before.1, after.1);
    Ok(Report::new(&shape, &crowd, &phase, server, client))
}

impl Args {
    fn shape(&self) -> Result<Shape, String> {
        if self.pubs > self.subs {
            return Err(format!(
                "{} publishers of {} members (--pubs, --subs)",
                self.pubs, self.subs
            ));
        }
        if self.size < STAMP_BYTES {
            return Err(format!(
                "--size is at least {STAMP_BYTES}: what a message says about itself"
            ));
        }
        let window = self.window.unwrap_or(1);
        Ok(Shape {
            room: self.room.clone(),
            rooms: self.rooms,
            members: self.subs,
            publishers: self.pubs,
            size: self.size,
            kind: if self.text { DataKind::Text } else { DataKind::Binary },
            pace: self.rate.map_or(Pace::Window(window), Pace::Rate),
            path: self.path_template.clone(),
            message: self.message_template.clone(),
            join: self.join_template.clone(),
        })
    }
}

impl Timing {
    /// How long to measure.
    pub(super) fn length(self) -> Duration {
        Duration::from_secs_f64(self.secs)
    }

    /// How long to make the load before.
    pub(super) fn warm_up(self) -> Duration {
        Duration::from_secs_f64(self.warm_up)
    }
}

impl Limits {
    /// The limits that the report breaks, in words.
    fn broken(self, report: &Report) -> Vec<String> {
        #[expect(clippy::cast_precision_loss, reason = "latencies are below an hour")]
        let p99_ms = report.latency_us.p99 as f64 / 1e3;
        let lost = self.max_loss.filter(|most| report.lost > *most);
        let late = self.max_p99.filter(|most| p99_ms > *most);
        let lost = lost.map(|most| format!("{} messages lost, more than {most}", report.lost));
        let late = late.map(|most| format!("p99 is {p99_ms} ms, more than {most} ms"));
        lost.into_iter().chain(late).collect()
    }
}

pub(super) fn at_least_one(raw: &str) -> Result<usize, String> {
    raw.parse().ok().filter(|count| *count > 0).ok_or_else(|| "a number from 1".to_owned())
}

pub(super) fn positive(raw: &str) -> Result<f64, String> {
    let number: Option<f64> = raw.parse().ok();
    number.filter(|n| n.is_finite() && *n > 0.0).ok_or_else(|| "a number above 0".to_owned())
}

pub(super) fn seconds(raw: &str) -> Result<f64, String> {
    let rule = || format!("seconds above 0, at most {SECONDS_MAX}");
    positive(raw).ok().filter(|seconds| *seconds <= SECONDS_MAX).ok_or_else(rule)
}
