//! The broker's own accounts, as it tells them at `/metrics`.
//!
//! Invariant: one kept-alive connection asks all questions of a test, so that asking changes
//! nothing that is counted but itself.

use super::broker::Broker;
use super::http::Http;
use super::wait::until;
use std::collections::BTreeMap;
use std::fmt;

/// The accounts of bytes.
const HELD: [&str; 4] = ["spill_bytes", "outbox_bytes", "pinned_bytes", "outgoing_bytes"];

/// What a loop keeps at hand for answers, such as the one to a scrape.
const ANSWERS_BYTES_MAX: u64 = 128 * 1024;

/// What the question for the numbers itself is worth on its way to another loop.
const QUESTION_BYTES_MAX: u64 = 64;

/// The connection that asks.
#[derive(Debug)]
pub(crate) struct Scraper(Http);

/// The numbers of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Scraper {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self(Http::connect(broker.address()))
    }

    /// Asks.
    pub(crate) fn metrics(&mut self) -> Metrics {
        let answer = self.0.get("/metrics");
        let text = String::from_utf8(answer.body).expect("text");
        assert_eq!(answer.status, 200, "{text}");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| line.rsplit_once(' '));
        Metrics(
            samples.map(|(name, value)| (name.to_owned(), value.parse().expect(name))).collect(),
        )
    }

    /// Asks until `holds`; what was told then.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&Metrics) -> bool) -> Metrics {
        let mut last = None;
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(what, || {
                let metrics = self.metrics();
                let found = holds(&metrics).then(|| metrics.clone());
                last = Some(metrics);
                found
            })
        }));
        waited.unwrap_or_else(|panic| {
            if let Some(last) = last {
                eprintln!("--- the last metrics: {:#?}", last.0);
            }
            std::panic::resume_unwind(panic)
        })
    }
}

impl fmt::Display for Metrics {
    /// What is held, by account.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HELD.iter().try_for_each(|name| write!(f, "{name} {} ", self.value(name)))
    }
}

impl Metrics {
    /// The value of `fanfare_{name}`, labels included where there are any.
    pub(crate) fn value(&self, name: &str) -> u64 {
        let value = self.0.get(&format!("fanfare_{name}")).copied();
        let value = value.unwrap_or_else(|| panic!("no metric fanfare_{name}"));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
        let whole = value as u64;
        whole
    }

    /// Connections closed for `reason`.
    pub(crate) fn closed(&self, reason: &str) -> u64 {
        self.value(&format!("connections_closed_total{{reason=\"{reason}\"}}"))
    }

    /// Bytes that the broker holds for connections and between loops.
    pub(crate) fn held_bytes(&self) -> u64 {
        HELD.iter().map(|name| self.value(name)).sum()
    }

    /// Whether nothing is held for anyone: what is left are the loops' own buffers for answers.
    pub(crate) fn is_at_rest(&self) -> bool {
        let own = self.value("loops") * ANSWERS_BYTES_MAX;
        let asked = self.value("loops") * QUESTION_BYTES_MAX;
        (self.value("spill_bytes"), self.value("outbox_bytes")) == (0, 0)
            && self.value("outgoing_bytes") <= asked
            && self.value("pinned_bytes") <= own
    }

    /// Every sample.
    pub(crate) const fn samples(&self) -> &BTreeMap<String, f64> {
        &self.0
    }
}
