//! `cargo bench --bench instructions`: user-space instructions per delivery, and a ceiling on them.
//!
//! Runs itself under valgrind twice, with few ticks and with many: the difference is what a tick
//! costs, whatever it costs to fill the room. Not here: times. Invariant: the count depends on the
//! code and the compiler alone, so a rise is a change of ours.

#[path = "hall/mod.rs"]
mod hall;

use hall::Hall;
use std::env;
use std::io::{self, Write};
use std::process::{Command, ExitCode};

const MEMBERS: usize = 1_000;
const PAYLOAD_BYTES: usize = 128;
const TICKS_FEW: u64 = 10;
const TICKS_MANY: u64 = 110;

/// Messages that come together, and the most instructions that one delivery of them may take. A
/// tenth above what was measured; to be lowered with every gain, and raised only with a reason.
const CEILINGS: [(usize, f64); 2] = [(1, 530.0), (64, 10.0)];

fn main() -> ExitCode {
    // Under valgrind: fill the room, make ticks.
    if let Ok(ticks) = env::var("FANFARE_TICKS") {
        let (messages, ticks) = ticks.split_once('x').expect("MESSAGESxTICKS");
        let messages = messages.parse().expect("a number of messages");
        let mut hall = Hall::new(MEMBERS, PAYLOAD_BYTES);
        for _ in 0..ticks.parse::<u64>().expect("a number of ticks") {
            hall.tick(messages);
        }
        return ExitCode::SUCCESS;
    }
    let mut out = io::stdout().lock();
    let mut broken = false;
    for (messages, ceiling) in CEILINGS {
        let counted = count(messages, TICKS_FEW).zip(count(messages, TICKS_MANY));
        let Some((few, many)) = counted else {
            let _ = writeln!(out, "valgrind is missing or failed: nothing was counted");
            return ExitCode::FAILURE;
        };
        let deliveries = (TICKS_MANY - TICKS_FEW) * (MEMBERS * messages) as u64;
        let each = (many - few) as f64 / deliveries as f64;
        broken |= each > ceiling;
        let verdict = if each > ceiling { "ABOVE" } else { "below" };
        let _ = writeln!(
            out,
            "{MEMBERS} members, {messages} x {PAYLOAD_BYTES} bytes: {each:.2} instructions per \
             delivery, {verdict} the ceiling of {ceiling}"
        );
    }
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Instructions of this program when it makes so many ticks.
fn count(messages: usize, ticks: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().ok()?)
        .env("FANFARE_TICKS", format!("{messages}x{ticks}"))
        .output()
        .ok()?;
    // `==123== Collected : 456`
    let text = String::from_utf8_lossy(&output.stderr);
    let (_, after) = text.split_once("Collected :")?;
    after.split_whitespace().next()?.parse().ok()
}
