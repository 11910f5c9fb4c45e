//! `cargo bench --bench adversary`: attacks on a fresh broker each, and what a bystander notices.
//!
//! The attacks last as long as they are told to; the bystander's figures, the broker's memory and
//! its CPU time are held against the attack's numbers. Not here: outcomes and accounted bytes,
//! which `./test` checks in short (`e2e_door`, `e2e_abuse`, `e2e_slow`, `e2e_faults`). Prints
//! Markdown. Invariant: an attack that can't be carried out is told and makes the exit code 1.

#[path = "adversary/attacks.rs"]
mod attacks;
#[path = "adversary/crowd.rs"]
mod crowd;
#[expect(dead_code, reason = "what the end-to-end tests share, of which this uses a part")]
#[path = "../tests/e2e/mod.rs"]
mod e2e;
#[path = "adversary/floods.rs"]
mod floods;
#[path = "adversary/runs.rs"]
mod runs;
#[path = "setting/mod.rs"]
mod setting;
#[expect(dead_code, reason = "the arithmetic of another bench, of which this uses a part")]
#[path = "load/stats.rs"]
mod stats;
#[path = "adversary/table.rs"]
mod table;
#[path = "adversary/watch.rs"]
mod watch;

use attacks::Attack;
use clap::Parser;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, time::Duration};

/// Attacks the broker, and watches what a bystander notices.
#[derive(Parser, Debug)]
struct Args {
    /// Seconds of each attack
    #[arg(long, value_name = "S", default_value_t = 10)]
    secs: u64,
    /// Only attacks whose name has this in it; may be repeated
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Print the names of the attacks, and attack nothing
    #[arg(long)]
    list: bool,
    /// Loops of the broker; one, so that the attacker and the bystander always share it
    #[arg(long, value_name = "N", default_value_t = 1)]
    loops: usize,
    /// Also write the table to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let is_wanted = |attack: &Attack| {
        args.only.is_empty() || args.only.iter().any(|text| attack.name().contains(text.as_str()))
    };
    let wanted: Vec<Attack> = Attack::ALL.into_iter().filter(is_wanted).collect();
    if args.list {
        for attack in &wanted {
            writeln!(io::stdout().lock(), "{:16} {}", attack.name(), attack.what())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if wanted.is_empty() {
        writeln!(io::stderr().lock(), "no attack has such a name: --list prints them")?;
        return Ok(ExitCode::from(2));
    }
    let mut text = format!(
        "{}\n- Each attack: {} s, against {} loop(s)\n\n{}\n",
        setting::setting("cargo bench --bench adversary"),
        args.secs,
        args.loops,
        table::HEAD
    );
    write!(io::stdout().lock(), "{text}")?;
    let (mut failed, mut missed) = (false, false);
    for attack in wanted {
        let row = match runs::run(attack, Duration::from_secs(args.secs), args.loops) {
            Ok(outcome) => {
                missed |= !table::complaints(&outcome, &attack.numbers()).is_empty();
                table::row(attack.name(), &outcome, &attack.numbers())
            }
            Err(error) => {
                failed = true;
                table::failed(attack.name(), &error)
            }
        };
        writeln!(io::stdout().lock(), "{row}")?;
        text.push_str(&row);
        text.push('\n');
    }
    if let Some(out) = &args.out {
        fs::write(out, text)?;
    }
    Ok(if failed || missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
