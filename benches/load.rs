//! `cargo load`: the broker against the floor, in alternating runs on the same cores.
//!
//! Each round runs the floor, the broker and the floor again, each as a fresh process on one core
//! with the client on another; what counts is the ratio within a round, and the floor against
//! itself says how far a ratio can be trusted. Not here: peers. Prints Markdown.

#[path = "load/processes.rs"]
mod processes;
#[path = "load/shapes.rs"]
mod shapes;
#[path = "load/table.rs"]
mod table;

use clap::Parser;
use processes::Server;
use serde_json::Value;
use shapes::{Kind, Shape};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use table::{Round, Run, cpu_row, head, latency_row, memory_row};

/// Compares the broker with the floor.
#[derive(Parser, Debug)]
struct Args {
    /// Rounds of each shape
    #[arg(long, default_value_t = 11)]
    pairs: usize,
    /// Seconds of each run
    #[arg(long, default_value_t = 2.0)]
    secs: f64,
    /// Three rounds of half a second: to see that it works, not to quote
    #[arg(long)]
    quick: bool,
    /// Only shapes whose name has this in it; may be repeated
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Also write the tables to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Another build of the broker to measure
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_fanfare"))]
    broker: PathBuf,
    /// The servers' core
    #[arg(long, value_name = "N", default_value_t = 0)]
    server_cpu: usize,
    /// The client's core
    #[arg(long, value_name = "N", default_value_t = 1)]
    client_cpu: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The floor and the client are always of this build.
const TOOLS: &str = env!("CARGO_BIN_EXE_fanfare");

fn main() -> io::Result<()> {
    let mut args = Args::parse();
    if args.quick {
        (args.pairs, args.secs) = (3, 0.5);
    }
    let mut report = Report { out: args.out.as_ref().map(fs::File::create).transpose()? };
    report.line(&setting())?;
    let wanted = |shape: &Shape| {
        args.only.is_empty() || args.only.iter().any(|text| shape.name.contains(text))
    };
    let shapes: Vec<Shape> = shapes::all().into_iter().filter(wanted).collect();
    for kind in [Kind::Cpu, Kind::Latency, Kind::Memory] {
        let mut of_kind = shapes.iter().filter(|shape| shape.kind == kind).peekable();
        if of_kind.peek().is_some() {
            report.line("")?;
            report.line(head(kind))?;
        }
        for shape in of_kind {
            report.line(&row(&args, shape)?)?;
        }
    }
    Ok(())
}

fn row(args: &Args, shape: &Shape) -> io::Result<String> {
    match shape.kind {
        Kind::Cpu => Ok(cpu_row(&shape.name, &rounds(args, shape)?)),
        Kind::Latency => Ok(latency_row(&shape.name, &rounds(args, shape)?)),
        Kind::Memory => {
            let reports = (0..args.pairs.min(3)).map(|_| args.broker()?.idle(args, shape));
            Ok(memory_row(&shape.name, &reports.collect::<io::Result<Vec<Value>>>()?))
        }
    }
}

/// Every round begins with another server, so that none always follows the same one.
fn rounds(args: &Args, shape: &Shape) -> io::Result<Vec<Round>> {
    (0..args.pairs)
        .map(|nth| {
            let mut runs = [Run::default(); 3];
            for turn in 0..3 {
                let which = (nth + turn) % 3;
                let server = if which == 1 { args.broker()? } else { args.floor(shape)? };
                let report = server.load(args, shape)?;
                if let Some(run) = runs.get_mut(which) {
                    *run = Run::of(&report);
                }
            }
            let [floor, broker, control] = runs;
            Ok(Round { floor, broker, control })
        })
        .collect()
}

impl Args {
    fn broker(&self) -> io::Result<Server> {
        let line = "serve --listen 127.0.0.1:0 --loops 1 --connections-max 16000 --echo-route";
        let line: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Server::start(&self.broker, &line, self.server_cpu)
    }

    fn floor(&self, shape: &Shape) -> io::Result<Server> {
        let line = ["bench", "floor", "--listen", "127.0.0.1:0"].map(str::to_owned);
        let line = [&line[..], &shape.floor].concat();
        Server::start(Path::new(TOOLS), &line, self.server_cpu)
    }
}

impl Server {
    fn load(&self, args: &Args, shape: &Shape) -> io::Result<Value> {
        let line = [&shape.client[..], &["--secs".to_owned(), args.secs.to_string()]].concat();
        self.measure(Path::new(TOOLS), &line, args.client_cpu)
    }

    fn idle(&self, args: &Args, shape: &Shape) -> io::Result<Value> {
        self.measure(Path::new(TOOLS), &shape.client, args.client_cpu)
    }
}

/// Where the tables go.
struct Report {
    out: Option<fs::File>,
}

impl Report {
    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{text}")?;
        match &mut self.out {
            Some(file) => writeln!(file, "{text}"),
            None => Ok(()),
        }
    }
}

/// What a number is worth nothing without: commit, processor, kernel, command.
fn setting() -> String {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok();
        let text = output.filter(|output| output.status.success()).map(|output| output.stdout);
        text.map(|text| String::from_utf8_lossy(&text).trim().to_owned())
    };
    let unknown = || "unknown".to_owned();
    let commit = said("git", &["describe", "--always", "--dirty"]).unwrap_or_else(unknown);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| unknown());
    let command: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    format!(
        "- Commit: {commit}\n- CPU: {}, {cores} cores\n- Kernel: {}\n- Command: `cargo load -- {}`",
        model.unwrap_or("unknown"),
        kernel.trim(),
        command.join(" ")
    )
}
