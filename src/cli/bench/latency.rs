//! Latencies of deliveries, counted at next to no cost.

use hdrhistogram::Histogram;

/// Latencies, where runs of equal ones cost as much as one.
#[derive(Debug)]
pub(super) struct Latency {
    /// By µs, once settled.
    pub(super) values: Histogram<u64>,
    run_us: u64,
    run: u64,
}

impl Latency {
    /// None yet.
    pub(super) fn new() -> Self {
        let values = Histogram::new(3).expect("three digits are within the crate's bounds");
        Self { values, run_us: 0, run: 0 }
    }

    /// Counts one.
    pub(super) fn record(&mut self, latency_us: u64) {
        if latency_us != self.run_us {
            self.settle();
            self.run_us = latency_us;
        }
        self.run += 1;
    }

    /// Moves what was counted last into [`Self::values`].
    pub(super) fn settle(&mut self) {
        let run = std::mem::take(&mut self.run);
        if run > 0 {
            let recorded = self.values.record_n(self.run_us, run);
            debug_assert!(recorded.is_ok(), "the histogram resizes itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_equal_latencies_are_all_counted() {
        let mut latency = Latency::new();
        for latency_us in [5, 5, 5, 9, 5, 5] {
            latency.record(latency_us);
        }
        latency.settle();
        assert_eq!((latency.values.len(), latency.values.count_at(5)), (6, 5));
    }
}
