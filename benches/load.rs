//! `cargo load`: the broker against the floor, in alternating runs on the same cores.
//!
//! Each round runs the floor, the broker and the floor again, each as a fresh process on one core
//! with the client on another; what counts is the ratio within a round, and the floor against
//! itself says how far a ratio can be trusted. Not here: peers. Prints Markdown. Invariant: a shape
//! that can't be measured is told and makes the exit code 1; it never becomes a number.

#[path = "load/backlog.rs"]
mod backlog;
#[path = "load/figures.rs"]
mod figures;
#[path = "setting/keys.rs"]
mod keys;
#[path = "load/processes.rs"]
mod processes;
#[path = "load/rounds.rs"]
mod rounds;
#[path = "setting/mod.rs"]
mod setting;
#[path = "load/shapes.rs"]
mod shapes;
#[path = "load/stats.rs"]
mod stats;
#[path = "load/table.rs"]
mod table;
#[path = "load/tokens.rs"]
mod tokens;

use clap::Parser;
use shapes::{Kind, Shape};
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Compares the broker with the floor.
#[derive(Parser, Debug)]
struct Args {
    /// Rounds of each shape
    #[arg(long, default_value_t = 11, value_parser = at_least_one)]
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
    /// Take the texts of --only for whole names
    #[arg(long)]
    exact: bool,
    /// Only shapes that have a target
    #[arg(long)]
    targets: bool,
    /// Print the names of the shapes, and measure nothing
    #[arg(long)]
    list: bool,
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

/// Of no rounds there is no median.
fn at_least_one(raw: &str) -> Result<usize, String> {
    raw.parse().ok().filter(|count| *count > 0).ok_or_else(|| "a number from 1".to_owned())
}

fn main() -> io::Result<ExitCode> {
    let mut args = Args::parse();
    if args.quick {
        (args.pairs, args.secs) = (3, 0.5);
    }
    let shapes = shapes::wanted(&args.only, args.exact, args.targets);
    if args.list {
        for shape in &shapes {
            writeln!(io::stdout().lock(), "{}", shape.name)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if shapes.is_empty() {
        note("no shape has such a name: --list prints them");
        return Ok(ExitCode::from(2));
    }
    let seconds: f64 = shapes.iter().map(|shape| rounds::seconds(&args, shape)).sum();
    note(&format!("{} shapes, about {:.0} minutes", shapes.len(), (seconds / 60.0).ceil()));
    let mut report = Report { out: args.out.as_ref().map(fs::File::create).transpose()? };
    report.line(&setting::setting("cargo load --"))?;
    if shapes.iter().any(|shape| shape.kind == Kind::Beside) {
        let may = if processes::may_be_ahead() { "at a higher" } else { "at the same" };
        report
            .line(&format!("- Beside a large room: the small rooms' client is {may} priority"))?;
    }
    compare(&args, &shapes, &mut report)
}

/// Measures every shape, a table for each kind, and holds the figures against the targets.
fn compare(args: &Args, shapes: &[Shape], report: &mut Report) -> io::Result<ExitCode> {
    let (mut last, mut verdicts, mut failed) = ("", Vec::new(), false);
    for shape in shapes {
        let head = table::head(shape.kind);
        if head != last {
            report.line(&format!("\n{head}"))?;
            last = head;
        }
        match rounds::measure(args, shape) {
            Ok(outcome) => {
                report.line(&outcome.rows.join("\n"))?;
                verdicts.extend(table::verdicts(shape, Some(&outcome)));
            }
            Err(error) => {
                failed = true;
                note(&format!("{}: {error}", shape.name));
                report.line(&table::failed(&shape.name, &error.to_string()))?;
                verdicts.extend(table::verdicts(shape, None));
            }
        }
    }
    if !verdicts.is_empty() {
        report.line(&format!("\n{}", table::TARGETS_HEAD))?;
        report.line(&verdicts.join("\n"))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// For the person at the terminal; the tables go to stdout.
fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}"); // Nobody to tell if it fails.
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
