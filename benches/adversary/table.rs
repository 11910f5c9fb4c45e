//! What was seen of an attack, as a row, and whether it is within the attack's numbers.
//!
//! Pure; `tests/adversary_table.rs` tests it.

use crate::attacks::Numbers;
use crate::stats::quantile;

/// What was seen while the attack went on.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Outcome {
    /// How often the attacker did what it does.
    pub(crate) done: u64,
    /// What the bystander's pings took, in ms from when each was due.
    pub(crate) pings_ms: Vec<f64>,
    /// Pings that had no answer.
    pub(crate) lost: u64,
    /// What newcomers waited for their first answer, in ms from when each was due.
    pub(crate) newcomers_ms: Vec<f64>,
    /// Growth of the broker's resident memory: the most, and what was left afterwards.
    pub(crate) growth_kib: u64,
    pub(crate) kept_kib: u64,
    /// The most that the broker's own accounts grew by.
    pub(crate) held_kib: u64,
    /// Descriptors that were left behind.
    pub(crate) descriptors: u64,
    /// The broker's CPU time, as a share of a core.
    pub(crate) cores: f64,
    /// What of a core it was ready to use and did not get.
    pub(crate) waited: f64,
}

pub(crate) const HEAD: &str = "\
| Attack | Done | Pings, lost | p50 ms | p99 ms | worst ms | Newcomers, p99 ms | Memory + KiB | of \
which accounted | kept | Cores | lacked | Verdict |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|";

/// What of the outcome is beyond the numbers.
pub(crate) fn complaints(outcome: &Outcome, numbers: &Numbers) -> Vec<String> {
    let pings = &outcome.pings_ms;
    let mut found = Vec::new();
    if outcome.lost > 0 {
        found.push(format!("{} lost", outcome.lost));
    }
    if outcome.done == 0 || pings.is_empty() || outcome.newcomers_ms.is_empty() {
        found.push("nothing happened".to_owned());
    }
    for (what, ms, most) in [
        ("p99", quantile(pings, 99), numbers.p99_ms),
        ("worst", quantile(pings, 100), numbers.worst_ms),
    ] {
        if ms >= most {
            found.push(format!("{what} is to be below {most} ms"));
        }
    }
    if outcome.growth_kib >= numbers.growth_kib {
        found.push(format!("memory is to grow by less than {} KiB", numbers.growth_kib));
    }
    if outcome.descriptors > 0 {
        found.push(format!("{} descriptors left behind", outcome.descriptors));
    }
    found
}

/// The row of an attack.
pub(crate) fn row(name: &str, outcome: &Outcome, numbers: &Numbers) -> String {
    let complaints = complaints(outcome, numbers);
    let verdict = if complaints.is_empty() {
        "held".to_owned()
    } else {
        format!("**{}**", complaints.join("; "))
    };
    let ping = |percent| quantile(&outcome.pings_ms, percent);
    format!(
        "| {name} | {} | {}, {} | {:.2} | {:.2} | {:.2} | {}, {:.2} | {} | {} | {} | {:.2} | {:.2} | {verdict} |",
        outcome.done,
        outcome.pings_ms.len(),
        outcome.lost,
        ping(50),
        ping(99),
        ping(100),
        outcome.newcomers_ms.len(),
        quantile(&outcome.newcomers_ms, 99),
        outcome.growth_kib,
        outcome.held_kib,
        outcome.kept_kib,
        outcome.cores,
        outcome.waited,
    )
}

/// The row of an attack that could not be carried out.
pub(crate) fn failed(name: &str, why: &str) -> String {
    let why = why.replace(['|', '\n'], " ");
    format!("| {name} | - | - | - | - | - | - | - | - | - | - | - | **failed: {why}** |")
}
