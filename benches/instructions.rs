//! `cargo bench --bench instructions`: user-space instructions of a delivery and of a visit, and
//! ceilings on them.
//!
//! Runs itself under valgrind twice, with few rounds and with many: the difference is what a round
//! costs, whatever it costs to fill the room. Not here: times. Invariant: the count depends on the
//! code and the compiler alone, so a rise is a change of ours.

#[path = "hall/mod.rs"]
mod hall;

use hall::Hall;
use std::env;
use std::fmt;
use std::io::{self, Write};
use std::process::{Command, ExitCode};

const MEMBERS: usize = 1_000;
const PAYLOAD_BYTES: usize = 128;
const ROUNDS_FEW: u64 = 10;
const ROUNDS_MANY: u64 = 110;

/// What is counted.
#[derive(Clone, Copy)]
enum Work {
    /// So many messages come together and go out to everybody.
    Deliver(usize),
    /// A member that speaks JSON publishes to a room of its own: bytes in, bytes out.
    PublishJson,
    /// Somebody comes, joins a room and closes.
    Visit,
}

/// The most instructions that one delivery or visit may take. A tenth above what was measured; to
/// be lowered with every gain, and raised only with a reason.
const CEILINGS: [(Work, f64); 4] = [
    (Work::Deliver(1), 530.0),
    (Work::Deliver(64), 10.0),
    (Work::PublishJson, 8_000.0),
    (Work::Visit, 20_000.0),
];

fn main() -> ExitCode {
    // Under valgrind: fill the room, make rounds.
    if let Ok(line) = env::var("FANFARE_ROUNDS") {
        let (work, rounds) = line.split_once('x').expect("WORKxROUNDS");
        Work::parse(work).run(rounds.parse().expect("a number of rounds"));
        return ExitCode::SUCCESS;
    }
    let mut out = io::stdout().lock();
    let mut broken = false;
    for (work, ceiling) in CEILINGS {
        let counted = count(work, ROUNDS_FEW).zip(count(work, ROUNDS_MANY));
        let Some((few, many)) = counted else {
            let _ = writeln!(out, "valgrind is missing or failed: nothing was counted");
            return ExitCode::FAILURE;
        };
        let units = (ROUNDS_MANY - ROUNDS_FEW) * work.units() as u64;
        let each = (many - few) as f64 / units as f64;
        broken |= each > ceiling;
        let verdict = if each > ceiling { "ABOVE" } else { "below" };
        let _ = writeln!(
            out,
            "{work}: {each:.2} instructions each, {verdict} the ceiling of {ceiling}"
        );
    }
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Work {
    fn parse(raw: &str) -> Self {
        match raw {
            "visit" => Self::Visit,
            "json" => Self::PublishJson,
            messages => Self::Deliver(messages.parse().expect("a number of messages")),
        }
    }

    fn run(self, rounds: u64) {
        let mut hall = match self {
            Self::Deliver(_) => Hall::new(MEMBERS, PAYLOAD_BYTES),
            Self::PublishJson => Hall::native(PAYLOAD_BYTES),
            Self::Visit => Hall::new(1, PAYLOAD_BYTES),
        };
        for _ in 0..rounds {
            match self {
                Self::Deliver(messages) => hall.tick(messages),
                Self::PublishJson => hall.tick(1),
                Self::Visit => hall.visit(),
            };
        }
    }

    /// Deliveries or visits in a round.
    const fn units(self) -> usize {
        match self {
            Self::Deliver(messages) => MEMBERS * messages,
            Self::PublishJson | Self::Visit => 1,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver(messages) => {
                write!(f, "delivery to {MEMBERS} members, {messages} x {PAYLOAD_BYTES} bytes")
            }
            Self::PublishJson => write!(f, "publish of {PAYLOAD_BYTES} bytes in JSON, one member"),
            Self::Visit => write!(f, "handshake, join and close"),
        }
    }
}

/// Instructions of this program when it makes so many rounds.
fn count(work: Work, rounds: u64) -> Option<u64> {
    let name = match work {
        Work::Deliver(messages) => messages.to_string(),
        Work::PublishJson => "json".to_owned(),
        Work::Visit => "visit".to_owned(),
    };
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().ok()?)
        .env("FANFARE_ROUNDS", format!("{name}x{rounds}"))
        .output()
        .ok()?;
    // `==123== Collected : 456`
    let text = String::from_utf8_lossy(&output.stderr);
    let (_, after) = text.split_once("Collected :")?;
    after.split_whitespace().next()?.parse().ok()
}
