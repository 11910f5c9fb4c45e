//! `/metrics`: the counters of all loops, summed and written as OpenMetrics 1.0 text.
//!
//! Not here: the counting, and the HTTP around the text (`api`). Invariants: nothing is kept
//! between two scrapes; every number in [`Counters`] is in the text; the list of
//! them is `catalogue`.

use super::catalogue::{METRICS, Value};
use super::{Counters, SizeHistogram};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// What `/metrics` says about the process, beside what its loops count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessFacts {
    /// Version of this build.
    pub version: &'static str,
    /// Time since the process started.
    pub uptime_ms: u64,
    /// Connections that the process may hold.
    pub connections_max: u64,
    /// Memory that the process uses, as it was last looked at.
    pub memory_bytes: u64,
    /// Memory that it may use; 0 is as much as there is.
    pub memory_max_bytes: u64,
}

/// Writes the sum of `loops` and the facts as OpenMetrics text, ready to be a response's body.
///
/// Called with the counters of every loop: were one left out, the sums would go backwards, and a
/// scraper would take that for a restart.
pub fn render(loops: &[Counters], extra: &ProcessFacts) -> String {
    let mut sum = Counters::default();
    for counters in loops {
        sum.add(counters);
    }
    let mut registry = Registry::with_prefix("fanfare");
    registry.register_collector(Box::new(Scrape { loops: loops.len() as u64, sum, facts: *extra }));
    let mut out = String::with_capacity(16 * 1024);
    text::encode(&mut out, &registry).expect("a String takes everything");
    out
}

/// All that one scrape knows.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) loops: u64,
    pub(super) sum: Counters,
    pub(super) facts: ProcessFacts,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in METRICS {
            let kind = kind(&metric.value);
            let encoder = encoder.encode_descriptor(metric.name, metric.help, metric.unit, kind)?;
            self.encode_value(&metric.value, encoder)?;
        }
        Ok(())
    }
}

impl Scrape {
    fn encode_value(&self, value: &Value, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match value {
            Value::Info(of) => encoder.encode_info(&[of(self)]),
            Value::Seconds(of) => encoder.encode_gauge(&of(self)),
            Value::Gauge(of) => encoder.encode_gauge(&of(self)),
            Value::Sum(of) => encoder.encode_gauge(&of(&self.sum)),
            Value::Counter(of) => encode_counter(of(&self.sum), &mut encoder),
            Value::Nanoseconds(of) => {
                let seconds = of(&self.sum) as f64 / 1e9;
                encoder.encode_counter::<NoLabelSet, f64, u64>(&seconds, None)
            }
            Value::Ratio(of) => {
                let (first, second) = of(&self.sum);
                encoder.encode_gauge(&(first as f64 / second.max(1) as f64))
            }
            Value::CounterBy(label, of) => {
                of(&self.sum).into_iter().try_for_each(|(value, count)| {
                    encode_counter(count, &mut encoder.encode_family(&[(*label, value)])?)
                })
            }
            Value::Histogram(of) => encode_histogram(of(&self.sum), &mut encoder),
        }
    }
}

const fn kind(value: &Value) -> MetricType {
    match value {
        Value::Info(_) => MetricType::Info,
        Value::Seconds(_) | Value::Gauge(_) | Value::Sum(_) | Value::Ratio(_) => MetricType::Gauge,
        Value::Counter(_) | Value::CounterBy(..) | Value::Nanoseconds(_) => MetricType::Counter,
        Value::Histogram(_) => MetricType::Histogram,
    }
}

fn encode_counter(count: u64, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, u64, u64>(&count, None)
}

fn encode_histogram(histogram: &SizeHistogram, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    let bound = |index| match SizeHistogram::bucket_value_max(index) {
        Some(max) => max as f64,
        None => f64::INFINITY,
    };
    let buckets: Vec<(f64, u64)> =
        histogram.buckets.iter().enumerate().map(|(index, count)| (bound(index), *count)).collect();
    let sum = histogram.sum as f64;
    encoder.encode_histogram::<NoLabelSet>(sum, histogram.count(), &buckets, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    const FACTS: ProcessFacts = ProcessFacts {
        version: "1.2.3",
        uptime_ms: 1_500,
        connections_max: 10_000,
        memory_bytes: 1 << 20,
        memory_max_bytes: 1 << 30,
    };

    /// One family, as read back from the text.
    struct Family {
        kind: String,
        help: String,
        samples: BTreeMap<String, f64>,
    }

    /// Reads OpenMetrics text, strictly: HELP, TYPE, UNIT, then samples, family by family; no
    /// family, no sample twice; suffixes as the type asks for; ends in `# EOF`.
    fn read(text: &str) -> BTreeMap<String, Family> {
        let body = text.strip_suffix("# EOF\n").expect("ends in # EOF");
        assert!(!body.contains("# EOF"));
        let mut families = BTreeMap::new();
        for block in body.split("# HELP ").skip(1) {
            let mut lines = block.lines();
            let (name, help) = lines.next().and_then(|line| line.split_once(' ')).expect("HELP");
            let typed = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
            let (typed_name, kind) = typed.and_then(|line| line.split_once(' ')).expect("TYPE");
            assert_eq!(typed_name, name);
            let mut samples = BTreeMap::new();
            for line in lines {
                if let Some(unit) = line.strip_prefix("# UNIT ") {
                    assert!(samples.is_empty(), "{line} comes before the samples");
                    let unit = unit.strip_prefix(name).expect(line).trim();
                    assert!(name.ends_with(&format!("_{unit}")), "{line}");
                    continue;
                }
                let (sample, value) = line.rsplit_once(' ').expect(line);
                check_sample(name, kind, sample);
                let twice = samples.insert(sample.to_owned(), value.parse().expect(line));
                assert_eq!(twice, None, "{sample} is there once");
            }
            assert!(!samples.is_empty(), "{name} has samples");
            let family = Family { kind: kind.to_owned(), help: help.to_owned(), samples };
            assert!(families.insert(name.to_owned(), family).is_none(), "{name} is there once");
        }
        families
    }

    fn check_sample(name: &str, kind: &str, sample: &str) {
        let (called, labels) = match sample.split_once('{') {
            Some((called, labels)) => (called, labels.strip_suffix('}').expect(sample)),
            None => (sample, ""),
        };
        let suffixes: &[&str] = match kind {
            "gauge" => &[""],
            "counter" => &["_total"],
            "info" => &["_info"],
            "histogram" => &["_sum", "_count", "_bucket"],
            other => panic!("{name} is of type {other}"),
        };
        let suffix = called.strip_prefix(name).expect(sample);
        assert!(suffixes.contains(&suffix), "{sample} does not fit {kind} {name}");
        assert!(name.starts_with("fanfare_"));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        if !labels.is_empty() {
            let (label, value) = labels.split_once('=').expect(labels);
            assert!(["le", "reason", "class", "version"].contains(&label), "{label} is bounded");
            assert!(value.len() > 2 && value.starts_with('"') && value.ends_with('"'), "{value}");
        }
    }

    fn sample(families: &BTreeMap<String, Family>, name: &str) -> f64 {
        *families.values().find_map(|family| family.samples.get(name)).expect(name)
    }

    #[test]
    fn the_text_is_well_formed_when_everything_is_zero_and_when_nothing_is() {
        let mut full = Counters::default();
        for (index, value) in (1..).zip(full.values_mut()) {
            *value = index * index;
        }
        read(&render(&[], &FACTS));
        read(&render(&[Counters::default()], &FACTS));
        read(&render(&[full.clone(), full], &FACTS));
    }

    #[test]
    fn each_number_of_a_loop_shows_in_the_text_and_each_in_another_place() {
        let values = Counters::default().values_mut().count();
        let mut texts = BTreeSet::from([render(&[Counters::default()], &FACTS)]);
        for index in 0..values {
            let mut counters = Counters::default();
            *counters.values_mut().nth(index).expect("counted") = 7;
            assert!(texts.insert(render(&[counters], &FACTS)), "number {index} does not show");
        }
    }

    #[test]
    fn loops_are_summed() {
        let one = Counters { connections: 2, messages_in: 40, ..Counters::default() };
        let two = Counters { connections: 3, messages_in: 2, ..Counters::default() };
        let families = read(&render(&[one, two], &FACTS));
        assert_eq!(sample(&families, "fanfare_connections"), 5.0);
        assert_eq!(sample(&families, "fanfare_messages_received_total"), 42.0);
        assert_eq!(sample(&families, "fanfare_loops"), 2.0);
    }

    #[test]
    fn facts_and_labels_are_told() {
        let mut counters = Counters { http_responses: [0, 9, 0, 4, 0], ..Counters::default() };
        let slow = crate::broker::Disconnect::SlowConsumer.index();
        counters.connections_closed[slow] = 6;
        let families = read(&render(&[counters], &FACTS));
        for (name, value) in [
            ("fanfare_build_info{version=\"1.2.3\"}", 1.0),
            ("fanfare_uptime_seconds", 1.5),
            ("fanfare_connections_max", 10_000.0),
            ("fanfare_http_responses_total{class=\"2xx\"}", 9.0),
            ("fanfare_http_responses_total{class=\"4xx\"}", 4.0),
            ("fanfare_connections_closed_total{reason=\"slow-consumer\"}", 6.0),
            ("fanfare_connections_closed_total{reason=\"normal\"}", 0.0),
        ] {
            assert_eq!(sample(&families, name), value, "{name}");
        }
    }

    #[test]
    fn histograms_are_cumulative_and_end_in_infinity() {
        let mut counters = Counters::default();
        for bytes in [0, 3, 4, 15, 16, 1 << 40] {
            counters.batch_bytes.observe(bytes);
        }
        let families = read(&render(&[counters], &FACTS));
        for (suffix, value) in [
            ("bucket{le=\"3.0\"}", 2.0),
            ("bucket{le=\"15.0\"}", 4.0),
            ("bucket{le=\"63.0\"}", 5.0),
            ("bucket{le=\"4194303.0\"}", 5.0),
            ("bucket{le=\"+Inf\"}", 6.0),
            ("count", 6.0),
            ("sum", 38.0 + (1_u64 << 40) as f64),
        ] {
            assert_eq!(sample(&families, &format!("fanfare_batch_bytes_{suffix}")), value);
        }
    }

    #[test]
    fn operations_md_lists_these_metrics_and_no_other() {
        let operations = include_str!("../../docs/operations.md");
        let rows = operations.lines().filter_map(|line| line.strip_prefix("| `fanfare_"));
        let documented: BTreeMap<String, (String, String)> = rows
            .map(|row| {
                let cells: Vec<&str> = row.split(" | ").collect();
                let &[name, kind, help] = &cells[..] else { panic!("three cells: {row}") };
                let name = format!("fanfare_{}", name.trim_end_matches('`'));
                (name, (kind.to_owned(), help.trim_end_matches(" |").to_owned()))
            })
            .collect();
        let rendered: BTreeMap<String, (String, String)> = read(&render(&[], &FACTS))
            .into_iter()
            .map(|(name, family)| {
                let first = family.samples.keys().next().expect("has samples");
                let shown = match first.split_once('=') {
                    Some(_) if family.kind == "histogram" => name,
                    Some((called, _)) => format!("{called}}}"),
                    None => first.clone(),
                };
                (shown, (family.kind, family.help))
            })
            .collect();
        assert_eq!(documented, rendered);
    }
}
