//! What was measured, as rows of a Markdown table.

use crate::shapes::Kind;
use serde_json::Value;

/// One run of one server.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Run {
    pub(crate) cpu_us: f64,
    pub(crate) user_us: f64,
    pub(crate) client_us: f64,
    pub(crate) latency_us: [f64; 3],
    pub(crate) faults: f64,
}

impl Run {
    /// Reads the client's report.
    pub(crate) fn of(report: &Value) -> Self {
        let number = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
        let faults = ["/lost", "/duplicated", "/reordered", "/failed", "/connections_ended"];
        Self {
            cpu_us: number("/server/cpu_us_each"),
            user_us: number("/server/user_us_each"),
            client_us: number("/client/cpu_us_each"),
            latency_us: ["p50", "p99", "p99_9"].map(|p| number(&format!("/latency_us/{p}"))),
            faults: faults.into_iter().map(number).sum(),
        }
    }
}

/// The runs of one round: the floor, the broker, the floor again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) floor: Run,
    pub(crate) broker: Run,
    pub(crate) control: Run,
}

/// The head of the table of a kind.
pub(crate) const fn head(kind: Kind) -> &'static str {
    match kind {
        Kind::Cpu => {
            "| shape | floor µs (user) | broker µs (user) | broker : floor | floor : floor \
             | client µs | faults |\n|---|---|---|---|---|---|---|"
        }
        Kind::Latency => {
            "| shape | floor p50 / p99 / p99.9 ms | broker p50 / p99 / p99.9 ms \
             | p99, broker : floor | p99, floor : floor | faults |\n|---|---|---|---|---|---|"
        }
        Kind::Memory => "| shape | bytes per connection | kept after all left |\n|---|---|---|",
    }
}

/// One row of CPU times.
pub(crate) fn cpu_row(name: &str, rounds: &[Round]) -> String {
    let each = |of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
    format!(
        "| {name} | {:.3} ({:.3}) | {:.3} ({:.3}) | {} | {} | {:.3} | {} |",
        median(&each(|r| r.floor.cpu_us)),
        median(&each(|r| r.floor.user_us)),
        median(&each(|r| r.broker.cpu_us)),
        median(&each(|r| r.broker.user_us)),
        spread(&each(|r| r.broker.cpu_us / r.floor.cpu_us)),
        spread(&each(|r| r.control.cpu_us / r.floor.cpu_us)),
        median(&each(|r| r.broker.client_us)),
        each(|r| r.floor.faults + r.broker.faults + r.control.faults).iter().sum::<f64>(),
    )
}

/// One row of latencies.
pub(crate) fn latency_row(name: &str, rounds: &[Round]) -> String {
    let ms = |of: fn(&Round) -> [f64; 3]| {
        let runs: Vec<[f64; 3]> = rounds.iter().map(of).collect();
        let middle = |at: usize| {
            let values: Vec<f64> = runs.iter().filter_map(|run| run.get(at).copied()).collect();
            median(&values) / 1e3
        };
        format!("{:.2} / {:.2} / {:.2}", middle(0), middle(1), middle(2))
    };
    let p99 = |run: &Run| run.latency_us[1];
    let ratios = |of: fn(&Round) -> Run| -> Vec<f64> {
        rounds.iter().map(|round| p99(&of(round)) / p99(&round.floor)).collect()
    };
    let faults: f64 = rounds.iter().map(|r| r.floor.faults + r.broker.faults).sum();
    format!(
        "| {name} | {} | {} | {} | {} | {faults} |",
        ms(|r| r.floor.latency_us),
        ms(|r| r.broker.latency_us),
        spread(&ratios(|r| r.broker)),
        spread(&ratios(|r| r.control)),
    )
}

/// One row of memory, from the client's reports.
pub(crate) fn memory_row(name: &str, reports: &[Value]) -> String {
    let each = |key: &str| -> Vec<f64> {
        reports.iter().filter_map(|report| report.get(key)?.as_f64()).collect()
    };
    format!(
        "| {name} | {:.1} | {:.0} KiB |",
        median(&each("bytes_per_connection")),
        median(&each("kept_bytes")) / 1024.0
    )
}

/// Median, and the range of the middle half.
fn spread(values: &[f64]) -> String {
    let [low, middle, high] = [25, 50, 75].map(|percent| quantile(values, percent));
    format!("**{middle:.3}** ({low:.3} to {high:.3})")
}

fn median(values: &[f64]) -> f64 {
    quantile(values, 50)
}

/// The value below which so many percent of them lie; between two, the mean of both.
fn quantile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = percent * sorted.len().saturating_sub(1);
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(place / 100), at(place.div_ceil(100)))
}
