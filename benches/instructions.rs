//! `cargo bench --bench instructions`: user-space instructions of a delivery and of a visit, and
//! ceilings on them.
//!
//! Runs itself under valgrind twice, with few rounds and with many: the difference is what a round
//! costs, whatever it costs to fill the room. Not here: times. Invariant: the count depends on the
//! code and the compiler alone, so a rise is a change of ours.

#[path = "hall/crowd.rs"]
mod crowd;
#[path = "hall/mod.rs"]
mod hall;

use crowd::Crowd;
use hall::Hall;
use std::env;
use std::fmt;
use std::hint::black_box;
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
    /// A native connection joins a room of so many members and leaves it.
    Join(usize),
    /// A native connection joins one of so many rooms, publishes in it and leaves it.
    Room(usize),
    /// So many members of a room, all but one, lose their connections in the same tick.
    Crash(usize),
}

/// The most instructions that one delivery or visit may take. A tenth above what was measured; to
/// be lowered with every gain, and raised only with a reason. (Deliveries in bursts went from 9 to
/// 13 when rooms got a history: each message is kept as JSON, once for all members.)
const CEILINGS: [(Work, f64); 4] = [
    (Work::Deliver(1), 525.0),
    (Work::Deliver(64), 14.0),
    (Work::PublishJson, 12_500.0),
    (Work::Visit, 21_500.0),
];

/// Work that may not grow with the crowd: the same among few and among many.
const CONSTANT: [(Work, Work); 3] = [
    (Work::Join(1), Work::Join(10_000)),
    (Work::Room(1), Work::Room(10_000)),
    (Work::Crash(100), Work::Crash(10_000)),
];
/// How much it may: memory that is not at hand costs instructions too (allocators, larger numbers).
const GROWTH_MAX: f64 = 1.25;

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
        let Some(each) = each(work) else { return uncounted(&mut out) };
        broken |= each > ceiling;
        let verdict = if each > ceiling { "ABOVE" } else { "below" };
        let _ = writeln!(
            out,
            "{work}: {each:.2} instructions each, {verdict} the ceiling of {ceiling}"
        );
    }
    for (among_few, among_many) in CONSTANT {
        let Some((few, many)) = each(among_few).zip(each(among_many)) else {
            return uncounted(&mut out);
        };
        let growth = many / few;
        broken |= growth > GROWTH_MAX;
        let verdict = if growth > GROWTH_MAX { "ABOVE" } else { "below" };
        let _ = writeln!(
            out,
            "{among_many}: {many:.0} instructions each, {growth:.3} of the {few:.0} of {among_few}, \
             {verdict} {GROWTH_MAX}"
        );
    }
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn uncounted(out: &mut impl Write) -> ExitCode {
    let _ = writeln!(out, "valgrind is missing or failed: nothing was counted");
    ExitCode::FAILURE
}

/// Instructions of one unit of that work.
fn each(work: Work) -> Option<f64> {
    let (few, many) = work.rounds();
    let units = (many - few) * work.units() as u64;
    let (few, many) = count(work, few).zip(count(work, many))?;
    Some((many - few) as f64 / units as f64)
}

impl Work {
    fn parse(raw: &str) -> Self {
        match raw {
            "visit" => Self::Visit,
            "json" => Self::PublishJson,
            raw if raw.starts_with("join") => Self::Join(number(raw, "join")),
            raw if raw.starts_with("crash") => Self::Crash(number(raw, "crash")),
            raw if raw.starts_with("room") => Self::Room(number(raw, "room")),
            messages => Self::Deliver(messages.parse().expect("a number of messages")),
        }
    }

    fn run(self, rounds: u64) {
        match self {
            Self::Deliver(messages) => {
                let mut hall = Hall::new(MEMBERS, PAYLOAD_BYTES);
                repeat(rounds, || hall.tick(messages));
            }
            Self::PublishJson => {
                let mut hall = Hall::native(PAYLOAD_BYTES);
                repeat(rounds, || hall.tick(1));
            }
            Self::Visit => {
                let mut hall = Hall::new(1, PAYLOAD_BYTES);
                repeat(rounds, || hall.visit());
            }
            Self::Join(members) => {
                let mut crowd = Crowd::crowded(members, 1);
                repeat(rounds, || crowd.errand(false));
            }
            Self::Room(rooms) => {
                let mut crowd = Crowd::crowded(1, rooms);
                repeat(rounds, || crowd.errand(true));
            }
            Self::Crash(members) => {
                let mut crowd = Crowd::gathered(members);
                repeat(rounds, || crowd.crash());
            }
        }
    }

    /// Few rounds and many.
    const fn rounds(self) -> (u64, u64) {
        match self {
            Self::Crash(_) => (0, 1),
            Self::Deliver(_) | Self::PublishJson | Self::Visit | Self::Join(_) | Self::Room(_) => {
                (ROUNDS_FEW, ROUNDS_MANY)
            }
        }
    }

    /// Deliveries, visits or members in a round.
    const fn units(self) -> usize {
        match self {
            Self::Deliver(messages) => MEMBERS * messages,
            Self::Crash(members) => members,
            Self::PublishJson | Self::Visit | Self::Join(_) | Self::Room(_) => 1,
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
            Self::Join(members) => write!(f, "join and leave, {members} members"),
            Self::Room(rooms) => write!(f, "join, publish and leave, {rooms} rooms"),
            Self::Crash(members) => write!(f, "one of {members} members that are lost at once"),
        }
    }
}

fn repeat(rounds: u64, mut work: impl FnMut() -> usize) {
    for _ in 0..rounds {
        black_box(work());
    }
}

fn number(raw: &str, prefix: &str) -> usize {
    raw.trim_start_matches(prefix).parse().expect("a number of members or rooms")
}

/// Instructions of this program when it makes so many rounds.
fn count(work: Work, rounds: u64) -> Option<u64> {
    let name = match work {
        Work::Deliver(messages) => messages.to_string(),
        Work::PublishJson => "json".to_owned(),
        Work::Visit => "visit".to_owned(),
        Work::Join(members) => format!("join{members}"),
        Work::Room(rooms) => format!("room{rooms}"),
        Work::Crash(members) => format!("crash{members}"),
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
