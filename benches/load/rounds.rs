//! How each kind of shape is measured: which processes run, in which turns.
//!
//! Invariants: every run is of fresh processes; the servers of a round follow each other in an
//! order of their own ([`stats::order`](crate::stats::order)).

use crate::figures::{Asked, BUSY_CORES, Run, number};
use crate::processes::{Cores, Load, Rank, Server, TOOLS, two_cores};
use crate::shapes::{Kind, LARGE_ROOM_LOAD, LARGE_ROOM_MEMBERS, Shape};
use crate::stats::{median, order};
use crate::table::{self, Backlog, FLOOR_AND_BROKER, ONE_AND_TWO, Outcome, Round};
use crate::tokens::Tokens;
use crate::{Args, backlog, note};
use fanfare::auth::TokenAlg;
use serde_json::Value;
use std::io;
use std::path::Path;

/// Rounds of what is no ratio and hardly varies.
const MEMORY_ROUNDS_MAX: usize = 3;

/// Runs by which the floor's peak is found, and what is outstanding in them.
const PEAK_RUNS: usize = 3;
const PEAK_WINDOW: usize = 16;

/// What a client takes before it measures, in seconds: a process, its warm-up, joining.
const WARM_UP_SECS: f64 = 0.5;
const START_SECS: f64 = 0.4;
const CONNECTIONS_PER_SEC: f64 = 5_000.0;

/// What weighing takes, in seconds: memory that comes to rest, thrice and more.
const WEIGH_SECS: f64 = 6.0;

/// How much longer than the small rooms' load the large room's is.
const BESIDE_SECS: f64 = 4.0;

/// Measures a shape.
pub(crate) fn measure(args: &Args, shape: &Shape) -> io::Result<Outcome> {
    let few = || args.pairs.min(MEMORY_ROUNDS_MAX);
    match shape.kind {
        Kind::Cpu => {
            let rounds = against_floor(args, shape, |_, server| load(args, shape, server))?;
            Ok(table::cpu(&shape.name, FLOOR_AND_BROKER, &rounds))
        }
        Kind::Loops => {
            let start = |nth| args.broker(if nth == 1 { 2 } else { 1 });
            let rounds = rounds(args, shape, start, |_, server| load(args, shape, server))?;
            Ok(table::cpu(&shape.name, ONE_AND_TWO, &rounds))
        }
        Kind::Tokens(alg) => with_tokens(args, shape, alg),
        Kind::Compressed | Kind::Enveloped => {
            let plain = of_wire_size(args, shape)?;
            let run = |which, server: &Server| {
                load(args, if which == BROKER { shape } else { &plain }, server)
            };
            let rounds = against_floor(args, shape, run)?;
            Ok(table::cpu(&plain.name, FLOOR_AND_BROKER, &rounds))
        }
        Kind::Latency => latency(args, shape),
        Kind::HalfOfPeak => latency(args, &at_half_of_peak(args, shape)?),
        Kind::Beside => {
            let nth = |nth| {
                note(&format!("{}: round {nth} of {}", shape.name, args.pairs));
                beside(args, shape, &args.broker(1)?)
            };
            let runs: io::Result<Vec<Run>> = (1..=args.pairs).map(nth).collect();
            Ok(table::beside(&shape.name, &runs?))
        }
        Kind::Memory => {
            let weigh = |_| args.broker(1)?.measure(&shape.client, args.client_cpu);
            let reports: io::Result<Vec<Value>> = (0..few()).map(weigh).collect();
            table::memory(&shape.name, &reports?, offers_compression(shape))
                .map_err(io::Error::other)
        }
        Kind::Backlog => {
            let looks: io::Result<Vec<Backlog>> =
                (0..few()).map(|_| backlog::measure(args, shape)).collect();
            Ok(table::backlog(&shape.name, &looks?))
        }
    }
}

/// About how many seconds a shape takes.
#[expect(clippy::cast_precision_loss, reason = "few rounds of few connections")]
pub(crate) fn seconds(args: &Args, shape: &Shape) -> f64 {
    let joining = shape.connections() as f64 / CONNECTIONS_PER_SEC;
    let run = START_SECS + WARM_UP_SECS + args.secs + joining;
    let (pairs, few) = (args.pairs as f64, args.pairs.min(MEMORY_ROUNDS_MAX) as f64);
    match shape.kind {
        Kind::Cpu | Kind::Tokens(_) | Kind::Loops | Kind::Latency => 3.0 * pairs * run,
        Kind::Compressed | Kind::Enveloped => (3.0 * pairs + 1.0) * run,
        Kind::HalfOfPeak => (3.0 * pairs + PEAK_RUNS as f64) * run,
        Kind::Beside => pairs * (run + BESIDE_SECS),
        Kind::Memory => few * (WEIGH_SECS + joining),
        Kind::Backlog => few * WEIGH_SECS,
    }
}

fn latency(args: &Args, shape: &Shape) -> io::Result<Outcome> {
    let rounds = against_floor(args, shape, |_, server| load(args, shape, server))?;
    Ok(table::latency(&shape.name, &rounds))
}

/// Without tokens, with them, and without again.
fn with_tokens(args: &Args, shape: &Shape, alg: TokenAlg) -> io::Result<Outcome> {
    note(&format!("{}: signing", shape.name));
    let tokens = Tokens::sign(alg)?;
    let mut shown = shape.clone();
    shown.client.extend(["--tokens".to_owned(), tokens.list().display().to_string()]);
    let start = |nth| match nth {
        BROKER => args.broker_of(1, &["--config".into(), tokens.settings().display().to_string()]),
        _ => args.broker(1),
    };
    let run =
        |which, server: &Server| load(args, if which == BROKER { &shown } else { shape }, server);
    Ok(table::tokens(&shape.name, &rounds(args, shape, start, run)?))
}

/// Which of a round's three runs is the broker's.
const BROKER: usize = 1;

/// Floor, broker and floor.
fn against_floor(
    args: &Args,
    shape: &Shape,
    run: impl Fn(usize, &Server) -> io::Result<Run>,
) -> io::Result<Vec<Round>> {
    let start = |nth| if nth == BROKER { args.broker(1) } else { args.floor(shape) };
    rounds(args, shape, start, run)
}

fn rounds(
    args: &Args,
    shape: &Shape,
    start: impl Fn(usize) -> io::Result<Server>,
    run: impl Fn(usize, &Server) -> io::Result<Run>,
) -> io::Result<Vec<Round>> {
    (0..args.pairs)
        .map(|nth| {
            note(&format!("{}: round {} of {}", shape.name, nth + 1, args.pairs));
            let mut round = Round::default();
            for which in order(nth) {
                let measured = run(which, &start(which)?)?;
                if let Some(place) = round.0.get_mut(which) {
                    *place = measured;
                }
            }
            Ok(round)
        })
        .collect()
}

/// One run of a client.
fn load(args: &Args, shape: &Shape, server: &Server) -> io::Result<Run> {
    let report = server.measure(&for_secs(&shape.client, args.secs), args.client_cpu)?;
    read(&report, shape)
}

/// One run of a client in small rooms, while another one keeps a large room busy.
fn beside(args: &Args, shape: &Shape, server: &Server) -> io::Result<Run> {
    let words: Vec<String> = LARGE_ROOM_LOAD.split_whitespace().map(str::to_owned).collect();
    let line = for_secs(&words, args.secs + BESIDE_SECS);
    let mut large = Load::start(server, &line, args.client_cpu, Rank::Usual)?;
    server.await_files(LARGE_ROOM_MEMBERS)?;
    let line = for_secs(&shape.client, args.secs);
    let small = Load::start(server, &line, args.client_cpu, Rank::Ahead)?.report()?;
    if large.is_over()? {
        return Err(io::Error::other(
            "the large room's load ended before the small rooms': more than there is room for",
        ));
    }
    let (mut run, large) = (read(&small, shape)?, read(&large.report()?, shape)?);
    run.client_cores += large.client_cores;
    run.is_client_bottleneck |= large.is_client_bottleneck || run.client_cores > BUSY_CORES;
    run.faults.extend(large.faults);
    Ok(run)
}

/// The shape as it is to be asked of the floor: without compression and envelopes, and with
/// payloads as long as those that the broker makes of its messages.
fn of_wire_size(args: &Args, shape: &Shape) -> io::Result<Shape> {
    note(&format!("{}: how long its messages are on the wire", shape.name));
    let line = for_secs(&shape.client, args.secs);
    let report = args.broker(1)?.measure(&line, args.client_cpu)?;
    read(&report, shape)?;
    let bytes = number(&report, "/wire_bytes_each").map_err(io::Error::other)?.round();
    let mut plain = shape.clone();
    plain.name = format!("{}, {bytes} B on the wire", shape.name);
    plain.client.retain(|word| word != "--deflate");
    if let Some(at) = plain.client.iter().position(|word| word == "--protocol") {
        plain.client.drain(at..plain.client.len().min(at + 2));
    }
    let size = plain.client.iter().position(|word| word == "--size").map(|at| at + 1);
    if let Some(place) = size.and_then(|at| plain.client.get_mut(at)) {
        *place = bytes.to_string();
    }
    Ok(plain)
}

/// The shape at half of the rate at which the floor can do no more.
fn at_half_of_peak(args: &Args, shape: &Shape) -> io::Result<Shape> {
    let window = ["--window".to_owned(), PEAK_WINDOW.to_string()];
    let line = for_secs(&[&shape.client[..], &window[..]].concat(), args.secs);
    let (mut rates, mut members) = (Vec::new(), f64::NAN);
    for nth in 1..=PEAK_RUNS {
        note(&format!("{}: the floor's peak, {nth} of {PEAK_RUNS}", shape.name));
        let report = args.floor(shape)?.measure(&line, args.client_cpu)?;
        read(&report, shape)?;
        let number = |pointer| number(&report, pointer).map_err(io::Error::other);
        rates.push(number("/deliveries_per_second")?);
        members = number("/members_per_room")?;
    }
    let rate = (median(&rates) / members / 2.0).round().max(1.0);
    let mut shape = shape.clone();
    shape.name = format!("{}: {rate} msg/s", shape.name);
    shape.client.extend(["--rate".to_owned(), rate.to_string()]);
    Ok(shape)
}

fn read(report: &Value, shape: &Shape) -> io::Result<Run> {
    let cycles = shape.client.first().is_some_and(|word| word == "connect");
    let asked = match (cycles, offers_compression(shape)) {
        (true, _) => Asked::Cycles,
        (false, true) => Asked::Compressed,
        (false, false) => Asked::Deliveries,
    };
    Run::of(report, asked).map_err(|lack| io::Error::other(format!("{lack} in {report}")))
}

fn offers_compression(shape: &Shape) -> bool {
    shape.client.iter().any(|word| word == "--deflate")
}

fn for_secs(words: &[String], secs: f64) -> Vec<String> {
    [words, &["--secs".to_owned(), secs.to_string()][..]].concat()
}

impl Args {
    fn broker(&self, loops: usize) -> io::Result<Server> {
        self.broker_of(loops, &[])
    }

    fn broker_of(&self, loops: usize, more: &[String]) -> io::Result<Server> {
        let line = "serve --listen 127.0.0.1:0 --connections-max 16000 --echo-route --loops";
        let mut line: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        line.push(loops.to_string());
        line.extend_from_slice(more);
        let cores = match loops {
            1 => Cores::One(self.server_cpu),
            _ => Cores::Several(two_cores(self.server_cpu, self.client_cpu)),
        };
        Server::start(&self.broker, &line, &cores)
    }

    fn floor(&self, shape: &Shape) -> io::Result<Server> {
        let line = ["bench", "floor", "--listen", "127.0.0.1:0"].map(str::to_owned);
        let line = [&line[..], &shape.floor].concat();
        Server::start(Path::new(TOOLS), &line, &Cores::One(self.server_cpu))
    }
}
