//! What was measured, as rows of Markdown tables, and as figures that targets are held against.
//!
//! Pure; `tests/load_tables.rs` tests it.

use crate::figures::{Run, number};
use crate::shapes::{Kind, Measure, Shape};
use crate::stats::{median, spread};
use serde_json::Value;
use std::fmt::Write as _;

/// The three runs of one round: what it is compared with, what is compared, the first again.
#[derive(Clone, Default, Debug)]
pub(crate) struct Round(pub(crate) [Run; 3]);

/// A figure of a run.
type Of = fn(&Run) -> f64;

/// What the servers of a round are called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names(pub(crate) [&'static str; 3]);

/// Broker against floor.
pub(crate) const FLOOR_AND_BROKER: Names = Names(["floor", "broker", "floor again"]);

/// Two loops against one.
pub(crate) const ONE_AND_TWO: Names = Names(["one loop", "two loops", "one loop again"]);

/// Tokens against none.
pub(crate) const WITHOUT_AND_WITH: Names = Names(["without", "with", "without again"]);

/// What became of a shape.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<String>,
    pub(crate) figures: Vec<Figure>,
    /// Why the figures can't be judged, if they can't.
    pub(crate) spoiled: Option<&'static str>,
}

/// A figure that may have a target.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Figure {
    pub(crate) measure: Measure,
    pub(crate) value: f64,
    /// The same figure of the control, where there is one.
    pub(crate) control: Option<f64>,
}

/// The title and the head of the table of a kind; kinds in a row that have the same share it.
pub(crate) const fn head(kind: Kind) -> &'static str {
    match kind {
        Kind::Cpu | Kind::Compressed | Kind::Enveloped => {
            "## CPU time of the server for each delivery or cycle\n\n\
             | shape | floor µs (user) | broker µs (user) | broker : floor | floor : floor \
             | messages per send, floor / broker | client busy | faults |\n\
             |---|---|---|---|---|---|---|---|"
        }
        Kind::Tokens(_) => {
            "## CPU time of the server for each handshake with a token\n\n\
             Every connection shows another user's token. The rate is of handshakes per second of \
             CPU time.\n\n\
             | shape | without µs (user) | with µs (user) | rate with : without \
             | without : without | client busy | faults |\n\
             |---|---|---|---|---|---|---|"
        }
        Kind::Loops => {
            "## Two loops against one\n\n\
             Recorded, not judged: on two cores the client shares one of them.\n\n\
             | shape | one loop µs (user) | two loops µs (user) | two : one | one : one \
             | messages per send, one / two | client busy | faults |\n\
             |---|---|---|---|---|---|---|---|"
        }
        Kind::Latency | Kind::HalfOfPeak => {
            "## Latency\n\n\
             | shape | | floor ms | broker ms | broker : floor | floor : floor | client busy \
             | faults |\n|---|---|---|---|---|---|---|---|"
        }
        Kind::Beside => {
            "## Latency in small rooms beside a busy large one\n\n\
             | shape | p50 ms | p99 ms | p99.9 ms | clients busy | faults |\n\
             |---|---|---|---|---|---|"
        }
        Kind::Memory => {
            "## Resident memory at rest\n\n\
             | shape | bytes per connection | kept after all left |\n|---|---|---|"
        }
        Kind::Backlog => {
            "## Resident memory of a slow reader at its bound\n\n\
             | shape | outbox, of its bound | resident growth, of the bound | faults |\n\
             |---|---|---|---|"
        }
    }
}

/// CPU times.
pub(crate) fn cpu(name: &str, names: Names, rounds: &[Round]) -> Outcome {
    let each = |nth: usize, of: Of| median(&values(rounds, nth, of));
    let time = |nth| format!("{:.3} ({:.3})", each(nth, |r| r.cpu_us), each(nth, |r| r.user_us));
    let [ratio, control] = [1, 2].map(|nth| ratios(rounds, nth, |run| run.cpu_us));
    let (busy, _) = client(runs_of(rounds));
    let row = format!(
        "| {name} | {} | {} | {} | {} | {} / {} | {busy} | {} |",
        time(0),
        time(1),
        spread(&ratio),
        spread(&control),
        per_send(rounds, 0),
        per_send(rounds, 1),
        faults(names, rounds),
    );
    let figure =
        Figure { measure: Measure::Cpu, value: median(&ratio), control: Some(median(&control)) };
    let spoiled = has_faults(rounds).then_some("there were faults");
    Outcome { rows: vec![row], figures: vec![figure], spoiled }
}

/// Handshakes with tokens against those without.
pub(crate) fn tokens(name: &str, rounds: &[Round]) -> Outcome {
    let each = |nth: usize, of: Of| median(&values(rounds, nth, of));
    let time = |nth| format!("{:.3} ({:.3})", each(nth, |r| r.cpu_us), each(nth, |r| r.user_us));
    let [ratio, control] = [1, 2].map(|nth| ratios(rounds, nth, |run| 1.0 / run.cpu_us));
    let (busy, _) = client(runs_of(rounds));
    let row = format!(
        "| {name} | {} | {} | {} | {} | {busy} | {} |",
        time(0),
        time(1),
        spread(&ratio),
        spread(&control),
        faults(WITHOUT_AND_WITH, rounds)
    );
    let (value, control) = (median(&ratio), Some(median(&control)));
    let figure = Figure { measure: Measure::Handshakes, value, control };
    let spoiled = has_faults(rounds).then_some("there were faults");
    Outcome { rows: vec![row], figures: vec![figure], spoiled }
}

/// Latencies, a row for each percentile.
pub(crate) fn latency(name: &str, rounds: &[Round]) -> Outcome {
    let (busy, is_bottleneck) = client(runs_of(rounds));
    let faults = faults(FLOOR_AND_BROKER, rounds);
    let percentiles: [(&str, Measure, Of); 3] = [
        ("p50", Measure::P50, |run| run.latency_us[0]),
        ("p99", Measure::P99, |run| run.latency_us[1]),
        ("p99.9", Measure::P99_9, |run| run.latency_us[2]),
    ];
    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    for (percentile, measure, of) in percentiles {
        let [floor, broker] = [0, 1].map(|nth| median(&values(rounds, nth, of)) / 1e3);
        let [ratio, control] = [1, 2].map(|nth| ratios(rounds, nth, of));
        rows.push(format!(
            "| {name} | {percentile} | {floor:.2} | {broker:.2} | {} | {} | {busy} | {faults} |",
            spread(&ratio),
            spread(&control),
        ));
        let control = Some(median(&control));
        figures.push(Figure { measure, value: median(&ratio), control });
    }
    Outcome { rows, figures, spoiled: spoiled(has_faults(rounds), is_bottleneck) }
}

/// Latencies of the broker alone.
pub(crate) fn beside(name: &str, runs: &[Run]) -> Outcome {
    let ms = |of: Of| runs.iter().map(of).map(|us| us / 1e3).collect::<Vec<f64>>();
    let p99 = ms(|run| run.latency_us[1]);
    let (busy, is_bottleneck) = client(runs.iter());
    let found = sum(runs.iter().flat_map(|run| &run.faults));
    let row = format!(
        "| {name} | {} | {} | {} | {busy} | {} |",
        spread(&ms(|run| run.latency_us[0])),
        spread(&p99),
        spread(&ms(|run| run.latency_us[2])),
        if found.is_empty() { "0" } else { &found },
    );
    let figure = Figure { measure: Measure::P99Ms, value: median(&p99), control: None };
    let spoiled = spoiled(!found.is_empty(), is_bottleneck);
    Outcome { rows: vec![row], figures: vec![figure], spoiled }
}

/// Why latencies can't be judged, if they can't.
const fn spoiled(has_faults: bool, is_bottleneck: bool) -> Option<&'static str> {
    match (has_faults, is_bottleneck) {
        (true, _) => Some("there were faults"),
        (false, true) => Some("the client was the bottleneck"),
        (false, false) => None,
    }
}

/// Memory at rest, from the client's reports, of connections that must all have agreed on
/// compression if it was `offered`; in words what they lack.
pub(crate) fn memory(name: &str, reports: &[Value], offered: bool) -> Result<Outcome, String> {
    for report in reports.iter().filter(|_| offered) {
        let [agreed, all] = [number(report, "/compressing")?, number(report, "/connections")?];
        if agreed < all {
            return Err(format!("{agreed} of {all} connections agreed on compression"));
        }
    }
    let middle = |pointer: &str| -> Result<f64, String> {
        let values: Result<Vec<f64>, String> =
            reports.iter().map(|report| number(report, pointer)).collect();
        Ok(median(&values?))
    };
    let each = middle("/bytes_per_connection")?;
    let kept = middle("/kept_bytes")? / 1024.0;
    let figure = |measure, value| Figure { measure, value, control: None };
    Ok(Outcome {
        rows: vec![format!("| {name} | {each:.1} | {kept:.0} KiB |")],
        figures: vec![figure(Measure::BytesEach, each), figure(Measure::KeptMib, kept / 1024.0)],
        spoiled: None,
    })
}

/// What a slow reader's backlog was, and what it cost: ratios to its bound.
#[derive(Clone, Default, Debug)]
pub(crate) struct Backlog {
    pub(crate) queued: f64,
    pub(crate) resident: f64,
    pub(crate) faults: Vec<(&'static str, f64)>,
}

/// Memory of slow readers.
pub(crate) fn backlog(name: &str, looks: &[Backlog]) -> Outcome {
    let of = |of: fn(&Backlog) -> f64| looks.iter().map(of).collect::<Vec<f64>>();
    let resident = of(|look| look.resident);
    let found = sum(looks.iter().flat_map(|look| &look.faults));
    let told = if found.is_empty() { "0".to_owned() } else { found.clone() };
    Outcome {
        rows: vec![format!(
            "| {name} | {:.3} | {} | {told} |",
            median(&of(|look| look.queued)),
            spread(&resident)
        )],
        figures: vec![Figure {
            measure: Measure::OfBound,
            value: median(&resident),
            control: None,
        }],
        spoiled: (!found.is_empty()).then_some("there were faults"),
    }
}

/// The row of a shape that could not be measured.
pub(crate) fn failed(name: &str, why: &str) -> String {
    format!("| {name} | failed: {} |", why.replace('|', "/").replace('\n', " "))
}

/// The head of the table of targets.
pub(crate) const TARGETS_HEAD: &str = "## Against the targets\n\n\
    | shape | what | target | here | the control | |\n|---|---|---|---|---|---|";

/// What became of the targets of a shape, a row each; `None` is a shape that failed.
pub(crate) fn verdicts(shape: &Shape, outcome: Option<&Outcome>) -> Vec<String> {
    let verdict = |(measure, target): &(Measure, f64)| {
        let figures = outcome.map(|outcome| &outcome.figures[..]).unwrap_or_default();
        let figure = figures.iter().find(|figure| figure.measure == *measure);
        let (here, control) = match figure {
            Some(figure) => {
                let control = figure.control.map(|control| format!("{control:.3}"));
                (format!("{:.3}", figure.value), control.unwrap_or_default())
            }
            None => ("-".to_owned(), String::new()),
        };
        let is_off = figure.and_then(|figure| figure.control).is_some_and(|c| !is_near_one(c));
        let doubt = if is_off { ", but the control is off" } else { "" };
        let said = match (figure, outcome.and_then(|outcome| outcome.spoiled)) {
            (None, _) => "**not measured**".to_owned(),
            (Some(_), Some(why)) => format!("**not judged**: {why}"),
            (Some(figure), None) if is_met(figure, *target) => format!("met{doubt}"),
            (Some(_), None) => format!("**missed**{doubt}"),
        };
        let least = if measure.is_to_be_large() { "at least " } else { "" };
        format!("| {} | {measure} | {least}{target} | {here} | {control} | {said} |", shape.name)
    };
    shape.targets.iter().map(verdict).collect()
}

/// Whether it is on the right side of its target; no number is on neither.
fn is_met(figure: &Figure, target: f64) -> bool {
    match figure.measure.is_to_be_large() {
        true => figure.value >= target,
        false => figure.value <= target,
    }
}

/// Whether a control is where it should be: within 5 %, which is "no worse".
fn is_near_one(control: f64) -> bool {
    (control - 1.0).abs() <= 0.05
}

fn values(rounds: &[Round], nth: usize, of: Of) -> Vec<f64> {
    rounds.iter().filter_map(|Round(runs)| runs.get(nth).map(of)).collect()
}

/// A run's figure to that of the first of the same round.
fn ratios(rounds: &[Round], nth: usize, of: Of) -> Vec<f64> {
    let pairs = values(rounds, nth, of).into_iter().zip(values(rounds, 0, of));
    pairs.map(|(mine, first)| mine / first).collect()
}

fn runs_of(rounds: &[Round]) -> impl Iterator<Item = &Run> + Clone {
    rounds.iter().flat_map(|Round(runs)| runs)
}

/// How busy the client was, marked where it was the bottleneck of any run; and whether it was.
fn client<'a>(runs: impl Iterator<Item = &'a Run> + Clone) -> (String, bool) {
    let cores: Vec<f64> = runs.clone().map(|run| run.client_cores).collect();
    let is_bottleneck = runs.into_iter().any(|run| run.is_client_bottleneck);
    let mark = if is_bottleneck { " !" } else { "" };
    (format!("{:.0} %{mark}", median(&cores) * 100.0), is_bottleneck)
}

fn per_send(rounds: &[Round], nth: usize) -> String {
    let runs = rounds.iter().filter_map(|Round(runs)| runs.get(nth));
    let known: Vec<f64> = runs.filter_map(|run| run.messages_per_send).collect();
    if known.is_empty() { "-".to_owned() } else { format!("{:.1}", median(&known)) }
}

fn has_faults(rounds: &[Round]) -> bool {
    runs_of(rounds).any(|run| !run.faults.is_empty())
}

/// The faults of each server by name; 0 where there were none.
fn faults(names: Names, rounds: &[Round]) -> String {
    let mut told = String::new();
    for (nth, name) in names.0.into_iter().enumerate() {
        let runs = rounds.iter().filter_map(|Round(runs)| runs.get(nth));
        let found = sum(runs.flat_map(|run| &run.faults));
        if !found.is_empty() {
            let separator = if told.is_empty() { "" } else { "; " };
            let _ = write!(told, "{separator}{name}: {found}");
        }
    }
    if told.is_empty() { "0".to_owned() } else { told }
}

/// Faults added up by name, in words; nothing where there are none.
fn sum<'a>(faults: impl Iterator<Item = &'a (&'static str, f64)>) -> String {
    let mut sums: Vec<(&str, f64)> = Vec::new();
    for (name, count) in faults {
        match sums.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += count,
            None => sums.push((name, *count)),
        }
    }
    let told: Vec<String> =
        sums.iter().map(|(name, count)| format!("{count} {}", name.replace('_', " "))).collect();
    told.join(", ")
}
