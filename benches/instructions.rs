//! `cargo bench --bench instructions`: user-space instructions of a delivery and of a visit, and
//! ceilings on them.
//!
//! Runs itself under valgrind twice, with few rounds and with many: the difference is what a round
//! costs, whatever it costs to fill the room. Not here: times. Invariant: the count depends on the
//! code and the compiler alone, so a rise is a change of ours.

#[path = "instructions/count.rs"]
mod count;
#[path = "hall/crowd.rs"]
mod crowd;
#[path = "hall/door.rs"]
mod door;
#[path = "hall/mod.rs"]
mod hall;
#[path = "hall/names.rs"]
mod names;
#[path = "instructions/work.rs"]
mod work;

use count::{Counter, ROUNDS};
use door::Place;
use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use work::Work;

/// The most instructions that one delivery or visit may take. A tenth above what was measured; to
/// be lowered with every gain, and raised only with a reason. (Deliveries in bursts went from 9 to
/// 13 when rooms got a history: each message is kept as JSON, once for all members.)
const CEILINGS: [(Work, f64); 5] = [
    (Work::Deliver(1), 525.0),
    (Work::Deliver(64), 14.0),
    (Work::PublishJson, 12_500.0),
    (Work::Visit, 21_500.0),
    (Work::VisitToken, 82_500.0),
];

/// Work that may not grow with the crowd, or with what an attacker chose: the same among few and
/// among many, and how much it may grow all the same: memory that is not at hand costs instructions
/// too (allocators, larger numbers), and a table in order is looked through in a few steps more.
const CONSTANT: [(Work, Work, f64); 5] = [
    (Work::Join(1), Work::Join(10_000), 1.25),
    (Work::Room(1), Work::Room(10_000), 1.25),
    (Work::Crash(100), Work::Crash(10_000), 1.25),
    (Work::Rooms(10_000), Work::Rooms(100_000), 2.0),
    (Work::Users(10_000), Work::Users(100_000), 2.0),
];

/// The same on the scale of a real attack, which takes minutes to count: with `--million` alone.
const MILLION: [(Work, Work, f64); 2] = [
    (Work::Rooms(10_000), Work::Rooms(1_000_000), 2.0),
    (Work::Users(10_000), Work::Users(1_000_000), 2.0),
];

/// Work that tokens and grants may not make dearer, but for so many instructions: they are looked
/// at where somebody comes in or joins, and never again. (An instruction for each pattern more is
/// less than any look at it would take.)
const SAME: [(Work, Work, f64); 3] = [
    (Work::Deliver(1), Work::DeliverGranted(1), 1.0),
    (Work::Deliver(64), Work::DeliverGranted(64), 1.0),
    (Work::PublishGranted(1), Work::PublishGranted(32), 31.0),
];

/// Secrets that are compared in a time that tells nothing of where they differ.
const SECRETS: [fn(Place) -> Work; 3] = [Work::Secret, Work::ApiKey, Work::Knock];

/// Work that may cost what it costs: patterns are looked through at a join.
const RECORDED: [Work; 2] = [Work::JoinGranted(1), Work::JoinGranted(256)];

fn main() -> ExitCode {
    // Under valgrind: fill the room, make rounds.
    if let Ok(line) = env::var(ROUNDS) {
        let (work, rounds) = line.rsplit_once('x').expect("WORKxROUNDS");
        Work::parse(work.trim()).run(rounds.trim().parse().expect("a number of rounds"));
        return ExitCode::SUCCESS;
    }
    let mut out = io::stdout().lock();
    match judge(&mut out) {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => {
            let _ = writeln!(out, "valgrind is missing or failed: nothing was counted");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything is as it should be.
fn judge(out: &mut impl Write) -> Option<bool> {
    // `cargo bench --bench instructions -- TEXT` counts what has the text in its name.
    let only = env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |work: &Work| only.as_ref().is_none_or(|text| work.name().contains(text));
    let million: &[_] = if env::args().any(|arg| arg == "--million") { &MILLION } else { &[] };
    let constant: Vec<_> = CONSTANT.iter().chain(million).filter(|row| wanted(&row.1)).collect();
    let named: Vec<Work> = constant.iter().map(|row| row.1).collect();
    let counter = Counter::new(&named)?;
    let mut good = true;
    for (work, ceiling) in CEILINGS.into_iter().filter(|(work, _)| wanted(work)) {
        let each = counter.each(work)?;
        let verdict = said(&mut good, each <= ceiling);
        let _ = writeln!(
            out,
            "{work}: {each:.2} instructions each, {verdict} the ceiling of {ceiling}"
        );
    }
    for &(among_few, among_many, most) in constant {
        let (few, many) = (counter.each(among_few)?, counter.each(among_many)?);
        let growth = many / few;
        let verdict = said(&mut good, growth <= most);
        let _ = writeln!(
            out,
            "{among_many}: {many:.0} instructions each, {growth:.3} of the {few:.0} of {among_few}, \
             {verdict} {most}"
        );
    }
    for (plain, granted, most) in SAME.into_iter().filter(|(_, granted, _)| wanted(granted)) {
        let (before, after) = (counter.each(plain)?, counter.each(granted)?);
        let more = after - before;
        let verdict = said(&mut good, more <= most);
        let _ = writeln!(
            out,
            "{granted}: {after:.2} instructions each, {more:+.2} to the {before:.2} of {plain}, \
             {verdict} {most}"
        );
    }
    for secret in SECRETS.into_iter().filter(|secret| wanted(&secret(Place::First))) {
        let counts = Place::ALL.map(|place| counter.more(secret(place)));
        let [Some(first), Some(middle), Some(last)] = counts else { return None };
        let verdict = if first == middle && middle == last { "the same" } else { "NOT THE SAME" };
        good &= verdict == "the same";
        let work = secret(Place::First);
        let _ = writeln!(
            out,
            "{work}, the middle one, the last: {first}, {middle}, {last} instructions: {verdict}"
        );
    }
    for work in RECORDED.into_iter().filter(wanted) {
        let each = counter.each(work)?;
        let _ = writeln!(out, "{work}: {each:.0} instructions each, recorded");
    }
    Some(good)
}

fn said(good: &mut bool, holds: bool) -> &'static str {
    *good &= holds;
    if holds { "below" } else { "ABOVE" }
}
