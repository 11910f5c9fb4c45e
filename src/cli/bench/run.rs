//! `fanfare bench`: members in rooms, publishers at a pace, and what became of every message.

pub(super) use super::bounds::at_least_one;
use super::bounds::{SECONDS_MAX, connections, positive, rate, seconds};
use super::client::{Content, Masking, Protocol, parse_template};
use super::clock::Clock;
use super::crowd::Crowd;
use super::error::BenchError;
use super::pace::Pace;
use super::progress::Progress;
use super::report::Report;
use super::scrape::Totals;
use super::shape::Shape;
use super::sides::Sides;
use super::target::Target;
use crate::cli::output::{fail, note, say};
use crate::ws::DataKind;
use std::process::ExitCode;
use std::time::Duration;

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
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = connections)]
    rooms: usize,
    /// Members of each room
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = connections)]
    subs: usize,
    /// How many members of each room publish; they get their own messages too
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = connections)]
    pubs: usize,
    /// Payload bytes of each message, from 40 to 16777216
    #[arg(long, value_name = "B", default_value_t = 128)]
    size: usize,
    /// Messages a second in all, whether the last ones arrived or not; latency counts from when
    /// each was due
    #[arg(long, value_name = "MSG/S", value_parser = rate, conflicts_with = "window")]
    rate: Option<f64>,
    /// Messages each publisher has under way, counted by its own coming back [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    window: Option<u32>,
    /// Send text instead of binary messages
    #[arg(long)]
    text: bool,
    /// Mask what is published with zeros, so that a server may send it on as it lies in its buffer
    #[arg(long)]
    zero_mask: bool,
    /// What messages are made of
    #[arg(long, value_enum, default_value_t = Content::Dots, conflicts_with = "message_template")]
    content: Content,
    /// Offer permessage-deflate; what is published is not compressed
    #[arg(long)]
    deflate: bool,
    /// What is spoken in rooms
    #[arg(
        long, value_enum, default_value_t = Protocol::Raw,
        conflicts_with_all = ["message_template", "join_template", "text", "content"]
    )]
    protocol: Protocol,
    /// Ask for several messages in one frame, where the protocol is json
    #[arg(long, requires = "protocol")]
    batch: bool,
    /// The path of a room's WebSocket [default: /raw/{room}, or /ws where the protocol is not raw]
    #[arg(long, value_name = "PATH")]
    path_template: Option<String>,
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
    /// How long to measure; with the warm-up at most an hour
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    secs: f64,
    /// How long to make the same load before
    #[arg(long, value_name = "S", default_value = "0.5", value_parser = seconds)]
    warm_up: f64,
}

/// What makes the exit code 1.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Fail if more messages are lost, those of the warm-up included
    #[arg(long, value_name = "N")]
    max_loss: Option<u64>,
    /// Fail if the 99th percentile of the latency is higher
    #[arg(long, value_name = "MS", value_parser = positive)]
    max_p99: Option<f64>,
}

/// Measures and reports.
pub(super) fn run(args: &Args) -> ExitCode {
    execute(&args.target, args.shape(), args.timing, args.limits)
}

/// Makes a load, prints its report and judges it.
pub(super) fn execute(target: &Target, shape: Shape, timing: Timing, limits: Limits) -> ExitCode {
    if let Err(wrong) = shape.check().and_then(|()| timing.check()) {
        return refuse(wrong);
    }
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

/// Says what can't be asked for; the exit code for that.
pub(super) fn refuse(wrong: String) -> ExitCode {
    note(format_args!("fanfare: {wrong}"));
    ExitCode::from(2)
}

fn measure(target: &Target, shape: Shape, timing: Timing) -> Result<Report, BenchError> {
    target.prepare(shape.connections())?;
    let tokens = target.tokens()?;
    let clock = Clock::start();
    let sides = Sides::new(target.server(), clock);
    let mut progress = Progress::new();
    let mut crowd = Crowd::gather((target.addr, tokens), shape.clone(), clock, &mut progress)?;
    crowd.run_phase(timing.warm_up(), &mut progress)?;
    // What asking for the totals costs the server is outside of what is measured.
    let totals = Totals::scrape(target.addr);
    let before = sides.look()?;
    let phase = crowd.run_phase(timing.length(), &mut progress)?;
    let after = sides.look()?;
    let messages_per_send =
        totals.and_then(|before| Totals::scrape(target.addr)?.messages_per_send(before));
    let (server, client) = sides.between(&before, &after, phase.deliveries);
    Ok(Report::new(&shape, &crowd, &phase, server, client).with_sends(messages_per_send))
}

impl Args {
    fn shape(&self) -> Shape {
        let (window, path) = (self.window.unwrap_or(1), self.protocol.path_template());
        Shape {
            room: self.room.clone(),
            rooms: self.rooms,
            members: self.subs,
            publishers: self.pubs,
            size: self.size,
            kind: if self.text { DataKind::Text } else { DataKind::Binary },
            masking: if self.zero_mask { Masking::Zeros } else { Masking::Random },
            content: self.content,
            deflate: self.deflate,
            protocol: self.protocol,
            batch: self.batch,
            pace: self.rate.map_or(Pace::Window(window), Pace::Rate),
            path: self.path_template.as_deref().unwrap_or(path).to_owned(),
            message: self.message_template.clone(),
            join: self.join_template.clone(),
        }
    }
}

impl Timing {
    /// Says what about it can't be asked for.
    pub(super) fn check(self) -> Result<(), String> {
        let sum = self.secs + self.warm_up;
        let rule = || format!("{sum} s are more than {SECONDS_MAX} (--secs, --warm-up)");
        if sum <= SECONDS_MAX { Ok(()) } else { Err(rule()) }
    }

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
    /// What makes a report a failure, in words.
    fn broken(self, report: &Report) -> Vec<String> {
        let mut broken = Vec::new();
        if report.deliveries == 0 {
            broken.push("nothing was delivered".to_owned());
        }
        let (lost, before) = (report.lost, report.warm_up_lost);
        if let Some(most) = self.max_loss.filter(|most| lost.saturating_add(before) > *most) {
            let warm_up = if before > 0 { format!(" and {before} before") } else { String::new() };
            broken.push(format!("{lost} messages lost{warm_up}, more than {most}"));
        }
        #[expect(clippy::cast_precision_loss, reason = "latencies are below an hour")]
        let p99_ms = report.latency_us.p99.map(|p99_us| p99_us as f64 / 1e3);
        match (self.max_p99, p99_ms) {
            (Some(most), Some(p99_ms)) if p99_ms > most => {
                broken.push(format!("p99 is {p99_ms} ms, more than {most} ms"));
            }
            (Some(most), None) => broken.push(format!("no p99 that is at most {most} ms")),
            (_, _) => {}
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_phases_together_are_at_most_an_hour() {
        let timing = |secs, warm_up| Timing { secs, warm_up };
        assert_eq!(timing(3_600.0 - 0.5, 0.5).check(), Ok(()));
        let wrong = timing(3_600.0, 700.0).check().expect_err("too long");
        assert_eq!(wrong, "4300 s are more than 3600 (--secs, --warm-up)");
    }
}
